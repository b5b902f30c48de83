//! What a template leaves open, as fields: text, and the file of a header.
import { t } from "~/i18n";
import { isAbout, type Problem } from "~/lib/errors";
import { TextInput } from "./fields";

export const placeholders = ["{{first_name | default: there}}", "{{name}}", "{{external_id}}"];
const placeholderWords = (): Record<string, string> => ({ [placeholders[0] as string]: t("import.field.first_name"), [placeholders[1] as string]: t("import.field.name"), [placeholders[2] as string]: t("contact.externalId") });

/** Nothing is sent with a slot that is empty: the fields say it better than the gateway's names of them. */
export const isUnfilled = (problem: Problem | null, names: readonly string[], values: Record<string, string>): boolean =>
  isAbout(problem, "parameters") && names.some((name) => !values[name]?.trim());

const mediaSlot = /(^|\.)header\.(image|video|document)$/;
const kindOf = (name: string) => mediaSlot.exec(name)?.[2] as "image" | "video" | "document" | undefined;

export function parameterName(name: string): string {
  const kind = kindOf(name);
  if (kind) return t(`wizard.header.${kind}`);
  const [part, key] = name.split(".");
  if (part === "body") return t("wizard.inBody", { name: `{{${key}}}` });
  if (part === "header") return t("wizard.inHeader", { name: key === undefined ? "" : `{{${key}}}` });
  if (part === "button") return t("wizard.inButton", { n: Number(key) + 1 });
  return name;
}

/** As sends name them: a file by its link, else by the id of an upload. */
export const toParameters = (values: Record<string, string>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => {
    const file = value.trim();
    return [name, kindOf(name) ? (/^https?:|\{\{/.test(file) ? file : { id: file }) : value];
  }));

export const fromParameters = (parameters: unknown): Record<string, string> =>
  Object.fromEntries(Object.entries((parameters ?? {}) as Record<string, unknown>).map(([name, value]) => {
    if (typeof value === "string") return [name, value];
    const { id, link } = (value ?? {}) as { id?: unknown; link?: unknown };
    return [name, String(link ?? id ?? JSON.stringify(value))];
  }));

/** `withPlaceholders`: each person's own values may stand in them. `samples`: what the template was reviewed with, by slot. */
export function ParameterFields({ names, values, onChange, problem, withPlaceholders, samples = {} }: {
  samples?: Record<string, string>; names: readonly string[]; values: Record<string, string>; onChange: (values: Record<string, string>) => void; problem: Problem | null; withPlaceholders?: boolean;
}) {
  const set = (name: string, value: string) => {
    const next = { ...values, [name]: value };
    if (!value) delete next[name];
    onChange(next);
  };
  return names.map((name) => (
    <div key={name} className="stack tight">
      <TextInput label={parameterName(name)} value={values[name] ?? ""} onChange={(value) => set(name, value)} help={kindOf(name) ? t("wizard.fileHelp") : undefined}
        placeholder={kindOf(name) ? "https://example.com/picture.jpg" : samples[name] ? t("wizard.suchAs", { sample: samples[name] }) : undefined}
        error={isUnfilled(problem, [name], values) ? t("wizard.fillIn") : isAbout(problem, "parameters") || isAbout(problem, "template") ? (problem?.field?.includes(name) ? problem.detail : null) : null} />
      {withPlaceholders && !kindOf(name) && <div className="row small"><span className="muted">{t("wizard.insert")}</span>{Object.entries(placeholderWords()).map(([placeholder, word]) => <button key={placeholder} type="button" className="linklike" title={placeholder} onClick={() => set(name, (values[name] ?? "") + placeholder)}>{word}</button>)}</div>}
    </div>
  ));
}
