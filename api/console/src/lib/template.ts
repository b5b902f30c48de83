//! A template between WhatsApp's array of components and a form, and the rules that WhatsApp reviews it by.
import type { TemplateCategory, TemplateRowFragment } from "~/gen/graphql";
import { t } from "~/i18n";

export type ButtonKind = "QUICK_REPLY" | "URL" | "PHONE_NUMBER" | "COPY_CODE";

export interface TemplateButton {
  kind: ButtonKind;
  text: string;
  /** URL, number or code. */
  value: string;
  /** What stands for `{{1}}` at the end of a URL. */
  sample: string;
}

export const headerFormats = ["TEXT", "IMAGE", "VIDEO", "DOCUMENT"] as const;
export type HeaderFormat = (typeof headerFormats)[number];

export interface Draft {
  name: string;
  language: string;
  category: TemplateCategory;
  headerFormat: HeaderFormat;
  header: string;
  headerSample: string;
  /** WhatsApp's handle of the sample file, where the header is one. */
  headerHandle: string;
  body: string;
  /** By the name of the variable: "1", "2" or "first_name". */
  samples: Record<string, string>;
  footer: string;
  buttons: TemplateButton[];
  /** Of one-time codes, whose text is WhatsApp's own. */
  securityAdvice: boolean;
  expiryMinutes: string;
  /** Components that the form does not know; they stay as they are. */
  others: Component[];
}

export type Component = Record<string, unknown>;

export const limits = { body: 1024, header: 60, footer: 60, button: 25, buttons: 10, name: 512 } as const;

export const emptyDraft = (): Draft => ({
  name: "", language: "en", category: "MARKETING", headerFormat: "TEXT", header: "", headerSample: "", headerHandle: "", body: "", samples: {}, footer: "", buttons: [],
  securityAdvice: true, expiryMinutes: "10", others: [],
});

/** The variables of a text, each once, in order. */
export const variables = (text: string): string[] => [...new Set([...text.matchAll(/\{\{\s*([\w]+)\s*\}\}/g)].map((match) => match[1] as string))];

const str = (value: unknown): string => (typeof value === "string" ? value : "");
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

export function components(draft: Draft): Component[] {
  if (draft.category === "AUTHENTICATION") {
    const minutes = Number(draft.expiryMinutes);
    return [
      { type: "BODY", add_security_recommendation: draft.securityAdvice },
      ...(minutes > 0 ? [{ type: "FOOTER", code_expiration_minutes: minutes }] : []),
      { type: "BUTTONS", buttons: [{ type: "OTP", otp_type: "COPY_CODE" }] },
    ];
  }
  const found: Component[] = [...draft.others];
  if (draft.headerFormat !== "TEXT") found.push({ type: "HEADER", format: draft.headerFormat, example: { header_handle: [draft.headerHandle] } });
  else if (draft.header.trim()) {
    const isVariable = variables(draft.header).length > 0;
    found.push({ type: "HEADER", format: "TEXT", text: draft.header.trim(), ...(isVariable ? { example: { header_text: [draft.headerSample] } } : {}) });
  }
  const names = variables(draft.body);
  const isNamed = names.some((name) => !/^\d+$/.test(name));
  const example = isNamed
    ? { body_text_named_params: names.map((name) => ({ param_name: name, example: draft.samples[name] ?? "" })) }
    : { body_text: [names.map((name) => draft.samples[name] ?? "")] };
  found.push({ type: "BODY", text: draft.body.trim(), ...(names.length > 0 ? { example } : {}) });
  if (draft.footer.trim()) found.push({ type: "FOOTER", text: draft.footer.trim() });
  if (draft.buttons.length > 0) {
    found.push({
      type: "BUTTONS",
      buttons: draft.buttons.map(({ kind, text, value, sample }) => ({
        type: kind,
        ...(kind === "COPY_CODE" ? { example: value } : { text: text.trim() }),
        ...(kind === "URL" ? { url: value.trim(), ...(variables(value).length > 0 ? { example: [value.replace(/\{\{\s*1\s*\}\}/, sample)] } : {}) } : {}),
        ...(kind === "PHONE_NUMBER" ? { phone_number: value.trim() } : {}),
      })),
    });
  }
  return found;
}

export function draftOf(template: { name: string; language: string; category: TemplateCategory; components: unknown }): Draft {
  const draft: Draft = { ...emptyDraft(), name: template.name, language: template.language, category: template.category };
  for (const component of list(template.components) as Component[]) {
    const example = (component.example ?? {}) as Record<string, unknown>;
    const type = str(component.type).toUpperCase();
    if (type === "HEADER" && str(component.format).toUpperCase() === "TEXT") {
      draft.header = str(component.text);
      draft.headerSample = str(list(example.header_text)[0]);
    } else if (type === "HEADER" && ["IMAGE", "VIDEO", "DOCUMENT"].includes(str(component.format).toUpperCase())) {
      draft.headerFormat = str(component.format).toUpperCase() as HeaderFormat;
      draft.headerHandle = str(list(example.header_handle)[0]);
    } else if (type === "BODY") {
      draft.body = str(component.text);
      if (typeof component.add_security_recommendation === "boolean") draft.securityAdvice = component.add_security_recommendation;
      const positional = list(list(example.body_text)[0]);
      variables(draft.body).forEach((name, index) => (draft.samples[name] = str(positional[index])));
      for (const named of list(example.body_text_named_params) as Component[]) draft.samples[str(named.param_name)] = str(named.example);
    } else if (type === "FOOTER") {
      draft.footer = str(component.text);
      if (component.code_expiration_minutes) draft.expiryMinutes = String(component.code_expiration_minutes);
    } else if (type === "BUTTONS" && template.category !== "AUTHENTICATION") {
      draft.buttons = (list(component.buttons) as Component[]).map((button) => {
        const kind = str(button.type).toUpperCase() as ButtonKind;
        const value = kind === "URL" ? str(button.url) : kind === "PHONE_NUMBER" ? str(button.phone_number) : str(button.example);
        const filled = str(list(button.example)[0]);
        return { kind, text: str(button.text), value, sample: filled.startsWith(value.replace(/\{\{.*$/, "")) ? filled.slice(value.replace(/\{\{.*$/, "").length) : filled };
      });
    } else if (template.category !== "AUTHENTICATION") draft.others.push(component);
  }
  return draft;
}

/** What stands in the slots while somebody looks on: the samples that it was reviewed with. */
export const samplesOf = (template: Pick<TemplateRowFragment, "name" | "language" | "category" | "components">): Record<string, string> => preview(draftOf(template));

/** By the slots that sends name. */
export function preview(draft: Draft): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [name, sample] of Object.entries(draft.samples)) if (sample) values[`body.${name}`] = sample;
  const header = variables(draft.header)[0];
  if (header && draft.headerSample) values[`header.${header}`] = draft.headerSample;
  return values;
}

export type Rule = { level: "wrong" | "advice"; field: keyof Draft; text: string };

const nameOf = (name: string) => `{{${name}}}`;

/** What WhatsApp would refuse, and what its reviewers often do. */
export function check(draft: Draft): Rule[] {
  const found: Rule[] = [];
  const wrong = (field: keyof Draft, text: string) => found.push({ level: "wrong", field, text });
  const advice = (field: keyof Draft, text: string) => found.push({ level: "advice", field, text });
  if (!draft.name) wrong("name", t("rule.nameMissing"));
  else if (!/^[a-z0-9_]+$/.test(draft.name)) wrong("name", t("rule.nameForm"));
  if (draft.category === "AUTHENTICATION") return found;

  const body = draft.body.trim();
  const names = variables(body);
  if (!body) wrong("body", t("rule.bodyMissing"));
  if (body.length > limits.body) wrong("body", t("rule.tooLong", { over: body.length - limits.body, max: limits.body }));
  if (/^\{\{[^}]*\}\}/.test(body)) wrong("body", t("rule.startsWithVariable"));
  if (/\{\{[^}]*\}\}[.!?]?$/.test(body)) wrong("body", t("rule.endsWithVariable"));
  if (/\}\}\s*\{\{/.test(body)) wrong("body", t("rule.adjacent"));
  if (/\n{3,}/.test(draft.body)) wrong("body", t("rule.blankLines"));
  const numbers = names.filter((name) => /^\d+$/.test(name)).map(Number);
  if (numbers.length > 0 && numbers.length < names.length) wrong("body", t("rule.mixed"));
  else if ([...numbers].sort((a, b) => a - b).some((number, index) => number !== index + 1)) wrong("body", t("rule.gap"));
  for (const name of names) if (!draft.samples[name]?.trim()) wrong("samples", t("rule.sampleMissing", { name: nameOf(name) }));
  const words = body.replace(/\{\{[^}]*\}\}/g, "").split(/\s+/).filter(Boolean).length;
  if (names.length > 0 && words < names.length * 3) wrong("body", t("rule.fewWords"));

  if (draft.headerFormat !== "TEXT") {
    if (!draft.headerHandle) wrong("headerHandle", t("rule.headerFile"));
  } else if (draft.header.length > limits.header) wrong("header", t("rule.tooLong", { over: draft.header.length - limits.header, max: limits.header }));
  if (draft.headerFormat === "TEXT" && variables(draft.header).length > 1) wrong("header", t("rule.headerVariables"));
  if (draft.headerFormat === "TEXT" && variables(draft.header).length === 1 && !draft.headerSample.trim()) wrong("header", t("rule.headerSample"));
  if (draft.footer.length > limits.footer) wrong("footer", t("rule.tooLong", { over: draft.footer.length - limits.footer, max: limits.footer }));
  if (variables(draft.footer).length > 0) wrong("footer", t("rule.footerVariables"));

  if (draft.buttons.length > limits.buttons) wrong("buttons", t("rule.manyButtons", { max: limits.buttons }));
  draft.buttons.forEach((button, index) => {
    const n = index + 1;
    if (button.kind !== "COPY_CODE" && !button.text.trim()) wrong("buttons", t("rule.buttonText", { n }));
    if (button.text.length > limits.button) wrong("buttons", t("rule.buttonLong", { n, max: limits.button }));
    if (button.kind !== "QUICK_REPLY" && !button.value.trim()) wrong("buttons", t("rule.buttonValue", { n }));
    if (button.kind === "URL" && button.value && !/^https?:\/\/[^\s]+$/.test(button.value)) wrong("buttons", t("rule.buttonUrl", { n }));
    if (button.kind === "URL" && variables(button.value).length > 0 && !/\{\{1\}\}$/.test(button.value)) wrong("buttons", t("rule.buttonUrlEnd", { n, slot: "{{1}}" }));
    if (button.kind === "URL" && variables(button.value).length > 0 && !button.sample.trim()) wrong("buttons", t("rule.buttonSample", { n }));
  });
  const kinds = draft.buttons.map(({ kind }) => (kind === "QUICK_REPLY" ? "reply" : "action"));
  if (kinds.filter((kind, index) => index > 0 && kind !== kinds[index - 1]).length > 1) wrong("buttons", t("rule.grouped"));

  if (draft.category === "MARKETING" && !/\bstop\b|\bsair\b|\bparar\b|\bbaja\b|\bunsubscribe\b|opt.?out/i.test(`${draft.body} ${draft.footer} ${draft.buttons.map(({ text }) => text).join(" ")}`))
    advice("footer", t("rule.noWayOut"));
  if (draft.category === "UTILITY" && /%|\boff\b|\bsale\b|\boffer|discount|promo|desconto|oferta|descuento|rebaja/i.test(body)) advice("category", t("rule.looksLikeMarketing"));
  if (/https?:\/\/(bit\.ly|tinyurl|t\.co|goo\.gl|wa\.me)/i.test(`${body} ${draft.buttons.map(({ value }) => value).join(" ")}`)) advice("body", t("rule.shortLink"));
  return found;
}

/** The words on buttons and in the text that a person would see, for a list. */
export function bodyText(value: unknown): string {
  const body = (list(value) as Component[]).find(({ type }) => str(type).toUpperCase() === "BODY");
  return str(body?.text);
}
