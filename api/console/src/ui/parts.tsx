//! The small parts that screens are made of.
import { Link, type LinkProps } from "@tanstack/react-router";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { Button as AriaButton, type ButtonProps } from "react-aria-components";
import { t, type Key } from "~/i18n";
import type { Problem } from "~/lib/errors";
import { age, instant, number, percent, shortInstant } from "~/lib/format";
import { Icon, type IconName } from "./icons";

type Look = "primary" | "danger" | "quiet";
const classes = (look?: Look, extra = "") => ["btn", look, extra].filter(Boolean).join(" ");

export function Button({ look, icon, compact, busy, children, ...props }: Omit<ButtonProps, "children"> & {
  look?: Look; icon?: IconName; compact?: boolean; busy?: boolean | string; children?: ReactNode;
}) {
  const extra = [compact && "compact", !children && "icon"].filter(Boolean).join(" ");
  return (
    <AriaButton {...props} isDisabled={props.isDisabled || !!busy} className={classes(look, extra)}>
      {icon && <Icon name={icon} size={16} />}
      {busy ? (busy === true ? t("common.saving") : busy) : children}
    </AriaButton>
  );
}

export function ButtonLink({ look, icon, compact, children, ...props }: LinkProps & { look?: Look; icon?: IconName; compact?: boolean; children: ReactNode }) {
  return (
    <Link {...(props as LinkProps)} className={classes(look, compact ? "compact" : "")}>
      {icon && <Icon name={icon} size={16} />}
      {children}
    </Link>
  );
}

export type Tone = "good" | "warn" | "bad" | "info" | "muted" | "live";

export const Badge = ({ tone = "muted", children }: { tone?: Tone; children: ReactNode }) => (
  <span className="badge" data-tone={tone}>{children}</span>
);

/** The page's heading takes the focus when its route opens, so that a screen reader says where it is. */
export function Page({ title, status, back, actions, intro, children }: {
  title: string; status?: ReactNode; back?: ReactNode; actions?: ReactNode; intro?: ReactNode; children: ReactNode;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · WhatsApp Gateway`;
  }, [title]);
  useEffect(() => {
    if (document.activeElement === document.body || document.activeElement === null) heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <div className="page">
      <header className="page-head">
        <div className="title">
          {back}
          <div className="row">
            <h1 ref={heading} tabIndex={-1} className="break">{title}</h1>
            {status}
          </div>
          {intro && <p className="muted measure">{intro}</p>}
        </div>
        {actions && <div className="row">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

export function Back({ children, ...props }: LinkProps & { children: ReactNode }) {
  return (
    <Link {...(props as LinkProps)} className="crumb">
      <Icon name="back" size={14} flip />
      {children}
    </Link>
  );
}

export function Card({ title, actions, foot, children, tight }: {
  title?: string; actions?: ReactNode; foot?: ReactNode; children: ReactNode; tight?: boolean;
}) {
  return (
    <section className="card" aria-label={title}>
      {(title || actions) && (
        <div className="card-head">
          {title && <h2>{title}</h2>}
          {actions && <div className="row">{actions}</div>}
        </div>
      )}
      <div className={tight ? "card-body tight" : "card-body"}>{children}</div>
      {foot && <div className="card-foot">{foot}</div>}
    </section>
  );
}

export function Callout({ tone = "info", title, children, action }: { tone?: "info" | "good" | "warn" | "bad"; title?: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="callout" data-tone={tone} role={tone === "bad" ? "alert" : undefined}>
      <div className="body">
        {title && <p className="strong">{title}</p>}
        {children}
      </div>
      {action}
    </div>
  );
}

/** A failure: what happened, what to do, and an id to copy. */
export function Failure({ problem, retry }: { problem: Problem | null; retry?: () => void }) {
  if (!problem) return null;
  return (
    <Callout tone="bad" title={problem.sentence}>
      {problem.detail && <p className="break">{problem.detail}</p>}
      <div className="row small">
        <span className="muted">{t("error.reference")} <code className="break">{problem.id}</code></span>
        <Copy text={problem.id} label={t("error.copyReference")} />
        {retry && <button type="button" className="linklike" onClick={retry}>{t("common.tryAgain")}</button>}
      </div>
    </Callout>
  );
}

export function Empty({ icon, title, children, action }: { icon: IconName; title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="empty">
      <span className="art"><Icon name={icon} /></span>
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {action}
    </div>
  );
}

const widths = ["72%", "48%", "61%", "39%", "66%", "53%"];

/** Appears only where an answer takes longer than 300 ms. */
export const Skeleton = ({ lines = 4 }: { lines?: number }) => (
  <div className="stack" role="status" aria-label={t("common.loading")}>
    {Array.from({ length: lines }, (_, line) => (
      <div key={line} className="skeleton" style={{ inlineSize: widths[line % widths.length] }} />
    ))}
  </div>
);

/** A time with its zone; the whole of it, in UTC too, on hover. */
export function Time({ at, long = false, relative = false }: { at: string | null | undefined; long?: boolean; relative?: boolean }) {
  if (!at) return <span className="muted">–</span>;
  const whole = `${instant(at, undefined, true)} · ${instant(at, "UTC", true)}`;
  return <time dateTime={at} title={whole} dir="auto">{relative ? age(at) : long ? instant(at, undefined, true) : shortInstant(at)}</time>;
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [isCopied, setCopied] = useState(false);
  return (
    <Button look="quiet" compact icon={isCopied ? "check" : "copy"} aria-label={isCopied ? t("common.copied") : label}
      onPress={() => void navigator.clipboard.writeText(text).then(() => { setCopied(true); setTimeout(() => setCopied(false), 2_000); })} />
  );
}

export function Facts({ items, layout = "lines" }: { items: [string, ReactNode][]; layout?: "lines" | "grid" }) {
  return (
    <dl className={`kv ${layout}`}>
      {items.map(([name, value]) => (
        <div key={name}><dt>{name}</dt><dd>{value ?? <span className="muted">–</span>}</dd></div>
      ))}
    </dl>
  );
}

export interface Bar {
  label: string;
  value: number;
  tone?: "bad" | "quiet";
  hint?: string;
}

/** Each bar as a share of `whole`; the numbers stand beside them, so that nothing hangs on a length. */
export function Funnel({ bars, whole }: { bars: Bar[]; whole: number }) {
  return (
    <ul className="funnel">
      {bars.map(({ label, value, tone, hint }) => (
        <li key={label} data-tone={tone} title={hint}>
          <span>{label}</span>
          <span className="bar" aria-hidden="true"><span style={{ inlineSize: `${whole ? Math.min(100, (value / whole) * 100) : 0}%` }} /></span>
          <span className="value"><b>{number(value)}</b><small>{percent(value, whole)}</small></span>
        </li>
      ))}
    </ul>
  );
}

export const Stat = ({ label, children }: { label: string; children: ReactNode }) => (
  <div className="stat"><span>{label}</span><b>{children}</b></div>
);

/** Links that look like tabs: what is open is part of the address. `undefined` is the first one. */
export function Tabs({ label, name = "tab", items }: { label: string; name?: string; items: { label: string; value?: string }[] }) {
  return (
    <nav className="tabs" aria-label={label}>
      {items.map(({ label: text, value }) => (
        <Link key={text} to="." search={((before: Record<string, unknown>) => ({ ...before, [name]: value })) as never} replace
          activeOptions={{ exact: true, includeSearch: true }}>{text}</Link>
      ))}
    </nav>
  );
}

export const count = (key: Key, value: number): string => t(key, { count: value, n: number(value) });
