//! What went wrong, as something a person can act on.
import type { CombinedError } from "@urql/core";
import { t, has } from "~/i18n";

export interface Problem {
  code: string;
  /** What happened and what to do, in the language of the console. */
  sentence: string;
  /** The gateway's own words, which name what is wrong. */
  detail: string | null;
  /** The path in the input, such as `input.schedule.timeZone`. */
  field: string | null;
  /** What the gateway's log has more under, or what names this failure when somebody asks for help. */
  id: string;
}

export function problemOf(error: CombinedError): Problem {
  const first = error.graphQLErrors[0];
  if (!first) return problem(error.networkError ? "OFFLINE" : "INTERNAL", null);
  const extensions = first.extensions as { code?: string; field?: string; id?: string; retryAfterMs?: number };
  const code = extensions.code ?? "INTERNAL";
  const own = code === "VALIDATION_FAILED" || code === "CONFLICT" || code === "FORBIDDEN" || code === "UNAVAILABLE";
  return problem(code, own ? sentenceCase(first.message) : null, extensions.field ?? null, extensions.id);
}

export function problem(code: string, detail: string | null, field: string | null = null, id?: string): Problem {
  const key = `error.${code}`;
  const sentence = has(key) ? t(key as "error.INTERNAL") : t("error.INTERNAL");
  return { code, sentence, detail, field, id: id ?? `${code}-${Date.now().toString(36)}` };
}

export function sentenceCase(text: string): string {
  const trimmed = text.trim();
  const start = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(start) ? start : `${start}.`;
}

/** Whether `problem` is about the input called `name`: `input.name` or `input.components[1].text`. */
export const isAbout = (problem: Problem | null, name: string): boolean =>
  !!problem?.field && problem.field.replace(/^input\./, "").split(/[.[]/)[0] === name;
