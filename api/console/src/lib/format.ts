//! Numbers, amounts and times as people read them. A time is never shown without saying in which zone it is.
import { t } from "~/i18n";
import { preferences } from "./preferences";

export const browserZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
export const shownZone = (): string => (preferences().zone === "local" ? browserZone() : preferences().zone);

const locale = (): string => ({ en: "en-GB", pt: "pt-BR", es: "es" })[preferences().language];

const formats = new Map<string, Intl.DateTimeFormat>();
function dateFormat(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const id = locale() + JSON.stringify(options);
  let format = formats.get(id);
  if (!format) formats.set(id, (format = new Intl.DateTimeFormat(locale(), options)));
  return format;
}

/** 27 Nov 2026, 20:31 GMT */
export function instant(at: string, zone = shownZone(), seconds = false): string {
  return dateFormat({
    timeZone: zone,
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
    timeZoneName: "short",
  }).format(new Date(at));
}

/** 20:31 GMT, and with the day unless it is today. */
export function shortInstant(at: string, zone = shownZone()): string {
  const date = new Date(at);
  const day = dateFormat({ timeZone: zone, day: "numeric", month: "short", year: "numeric" });
  const time = dateFormat({ timeZone: zone, hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
  if (day.format(date) === day.format(new Date())) return time.format(date);
  const thisYear = date.getFullYear() === new Date().getFullYear();
  const short = dateFormat({ timeZone: zone, day: "numeric", month: "short", ...(thisYear ? {} : { year: "numeric" }) });
  return `${short.format(date)}, ${time.format(date)}`;
}

/** Mon 30 Nov 2026, 09:00, of a wall clock that has no zone of its own. */
export function wallClock(local: string): string {
  return dateFormat({
    timeZone: "UTC",
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  }).format(new Date(`${local.slice(0, 16)}Z`));
}

const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** "3 minutes ago", "in 2 days"; "just now" within the minute. */
export function age(at: string, now = Date.now()): string {
  const seconds = Math.round((new Date(at).getTime() - now) / 1000);
  const unit = units.find(([, size]) => Math.abs(seconds) >= size);
  if (!unit) return seconds > 5 ? t("time.inAMoment") : t("time.justNow");
  return new Intl.RelativeTimeFormat(locale(), { numeric: "auto" }).format(Math.trunc(seconds / unit[1]), unit[0]);
}

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 86_400), "day"],
    [Math.floor((whole % 86_400) / 3_600), "hour"],
    [Math.floor((whole % 3_600) / 60), "minute"],
    [whole % 60, "second"],
  ];
  const shown = parts.filter(([count]) => count > 0).slice(0, 2);
  if (shown.length === 0) shown.push([0, "second"]);
  return shown
    .map(([count, unit]) => new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "short" }).format(count))
    .join(" ");
}

export const number = (value: number, digits = 0): string =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value);

export const percent = (part: number, whole: number): string =>
  whole === 0 ? "–" : new Intl.NumberFormat(locale(), { style: "percent", maximumFractionDigits: part / whole < 0.1 ? 1 : 0 }).format(part / whole);

/** The gateway counts exactly to 10,000 and then says "more". */
export const total = (count: number, exact: boolean): string => (exact ? number(count) : `${number(count - 1)}+`);

export function money(amount: string, currency: string): string {
  try {
    return new Intl.NumberFormat(locale(), { style: "currency", currency }).format(Number(amount));
  } catch {
    return `${amount} ${currency}`;
  }
}

export const zoneNames = (): string[] => {
  const names = Intl.supportedValuesOf("timeZone");
  return names.includes("UTC") ? names : ["UTC", ...names];
};

/** "UTC+01:00" at `at`, so that a zone's name is never the only thing to go by. */
export function offset(zone: string, at = new Date()): string {
  try {
    const part = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" })
      .formatToParts(at)
      .find(({ type }) => type === "timeZoneName")?.value;
    return part === "GMT" ? "UTC" : (part ?? "").replace("GMT", "UTC");
  } catch {
    return "";
  }
}

/** "Europe/London (UTC+00:00)"; a zone that is UTC needs no more words. */
export const zoneWithOffset = (zone: string, at?: Date): string => (zone === "UTC" ? "UTC" : `${zone.replaceAll("_", " ")} (${offset(zone, at)})`);

/** Midnight of today in the shown zone, as an instant. */
export function startOfToday(): string {
  const zone = shownZone();
  const parts = Object.fromEntries(
    new Intl.DateTimeFormat("en-CA", { timeZone: zone, hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" })
      .formatToParts(new Date())
      .map(({ type, value }) => [type, Number(value)]),
  );
  const since = ((parts.hour ?? 0) * 3600 + (parts.minute ?? 0) * 60 + (parts.second ?? 0)) * 1000;
  return new Date(Math.floor((Date.now() - since) / 1000) * 1000).toISOString();
}

/** The value that `<input type="datetime-local">` wants, for an instant in the browser's zone. */
export function toInputValue(date: Date, seconds = false): string {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, seconds ? 19 : 16);
}

/** 20:31, where the zone stands above it. */
export const clock = (at: string, zone = shownZone()): string => dateFormat({ timeZone: zone, hour: "2-digit", minute: "2-digit" }).format(new Date(at));

/** "Friday 27 November", with the year unless it is this one. */
export function day(at: string, zone = shownZone()): string {
  const date = new Date(at);
  const year = (of: Date) => dateFormat({ timeZone: zone, year: "numeric" }).format(of);
  return dateFormat({ timeZone: zone, weekday: "long", day: "numeric", month: "long", ...(year(date) === year(new Date()) ? {} : { year: "numeric" }) }).format(date);
}

/** "3 min ago", "in 2 days", as short as the language has it. */
export function shortAge(at: string, now = Date.now()): string {
  const seconds = Math.round((new Date(at).getTime() - now) / 1000);
  const unit = units.find(([, size]) => Math.abs(seconds) >= size);
  if (!unit) return t("time.justNow");
  return new Intl.RelativeTimeFormat(locale(), { numeric: "auto", style: "short" }).format(Math.trunc(seconds / unit[1]), unit[0]);
}
