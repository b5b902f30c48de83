//! Files of contacts: sent as they are, so that the gateway finds delimiter and encoding by itself.
import { t } from "~/i18n";
import { problem, sentenceCase, type Problem } from "./errors";
import { remember } from "./gateway";
import { requestHeaders } from "./session";

export interface ImportPlan {
  mapping: Record<string, string>;
  defaultRegion: string;
  tags: string[];
  consent: "OPTED_IN" | "OPTED_OUT" | "UNKNOWN";
  consentSource: string;
}

export async function startImport(file: File, plan: ImportPlan, dryRun: boolean, idempotencyKey: string): Promise<{ id: string } | Problem> {
  const query = new URLSearchParams({ dryRun: String(dryRun), mapping: JSON.stringify(plan.mapping), fileName: file.name, idempotencyKey });
  if (plan.defaultRegion) query.set("defaultRegion", plan.defaultRegion);
  if (plan.consent !== "UNKNOWN") query.set("consent", plan.consent);
  if (plan.consentSource) query.set("consentSource", plan.consentSource);
  for (const tag of plan.tags) query.append("tags", tag);
  try {
    const response = await fetch(`/imports?${query}`, { method: "POST", headers: { "content-type": "text/csv", ...requestHeaders() }, body: file });
    const answer = (await response.json()) as { import?: { id: string }; position?: string; error?: { code: string; message: string; field?: string; id?: string } };
    if (answer.error) return problem(answer.error.code, sentenceCase(answer.error.message), answer.error.field ?? null, answer.error.id);
    if (!answer.import) return problem("INTERNAL", null);
    if (answer.position) remember(answer.position);
    return { id: answer.import.id };
  } catch {
    return problem("OFFLINE", t("import.notSent"));
  }
}

const mappings = "console.import-mappings";
const kept_max = 20;

const read = <T,>(key: string, otherwise: T): T => {
  try {
    return (JSON.parse(localStorage.getItem(key) ?? "null") as T) ?? otherwise;
  } catch {
    return otherwise;
  }
};
const write = (key: string, value: unknown): void => {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Nothing is lost but a convenience.
  }
};

/** What somebody said columns of these names mean, the last time. */
export const knownMapping = (header: string[]): Record<string, string> | null => read<Record<string, Record<string, string>>>(mappings, {})[header.join("\u001f")] ?? null;

export function keepMapping(header: string[], mapping: Record<string, string>): void {
  const all = Object.entries({ ...read<Record<string, unknown>>(mappings, {}), [header.join("\u001f")]: mapping });
  write(mappings, Object.fromEntries(all.slice(-kept_max)));
}
