//! A segment's rule between the gateway's form and rows of a form. Rules that nest deeper than the form are edited as JSON.

export type ConditionKind = "tag" | "attribute" | "consent" | "language" | "timeZone" | "lastMessage" | "campaign";

export interface Condition {
  kind: ConditionKind;
  isNot: boolean;
  /** Tag, consent, language or zone; an attribute's value; a status. */
  value: string;
  /** An attribute's name, or a campaign's id. */
  name: string;
  op: string;
  /** Of the last message: how it lies to `date`. */
  when: "any" | "before" | "after";
  date: string;
}

export interface RuleForm {
  join: "all" | "any";
  conditions: Condition[];
}

export const emptyCondition = (kind: ConditionKind = "tag"): Condition => ({
  kind, isNot: false, name: "", op: "eq", when: "any", date: "",
  value: kind === "consent" ? "OPTED_IN" : kind === "campaign" || kind === "lastMessage" ? "DELIVERED" : "",
});

export const operators = ["eq", "ne", "contains", "starts_with", "lt", "lte", "gt", "gte", "exists", "missing"] as const;
export const outcomes = ["DELIVERED", "READ", "REPLIED", "CLICKED", "FAILED", "SKIPPED", "SENT"] as const;

type Json = Record<string, unknown>;

function conditionOf(condition: Condition): Json {
  const { kind, value, name, op, when, date } = condition;
  const rule: Json =
    kind === "attribute" ? { attribute: name.trim(), op, ...(op === "exists" || op === "missing" ? {} : { value: value.trim() }) }
    : kind === "campaign" ? { campaign: { id: name, ...(value ? { status: value } : {}) } }
    : kind === "lastMessage" ? { lastMessage: { ...(value ? { status: value } : {}), ...(when !== "any" && date ? { [when]: date } : {}) } }
    : { [kind]: value.trim() };
  return condition.isNot ? { not: [rule] } : rule;
}

export const ruleOf = ({ join, conditions }: RuleForm): Json => ({ [join]: conditions.map(conditionOf) });

export const isComplete = ({ conditions }: RuleForm): boolean =>
  conditions.length > 0 &&
  conditions.every(({ kind, value, name, op, when, date }) =>
    kind === "attribute" ? !!name.trim() && (op === "exists" || op === "missing" || !!value.trim())
    : kind === "campaign" ? !!name
    : kind === "lastMessage" ? !!value || (when !== "any" && !!date)
    : !!value.trim());

function readCondition(rule: unknown, isNot = false): Condition | null {
  if (!rule || typeof rule !== "object" || Array.isArray(rule)) return null;
  const object = rule as Json;
  const text = (value: unknown) => (typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : "");
  if ("not" in object && !isNot) {
    const inner = Array.isArray(object.not) ? object.not : [object.not];
    return inner.length === 1 ? readCondition(inner[0], true) : null;
  }
  for (const kind of ["tag", "consent", "language", "timeZone"] as const)
    if (kind in object) return { ...emptyCondition(kind), isNot, value: text(object[kind]) };
  if ("attribute" in object) return { ...emptyCondition("attribute"), isNot, name: text(object.attribute), op: text(object.op), value: text(object.value) };
  if ("campaign" in object) {
    const { id, status } = object.campaign as Json;
    return { ...emptyCondition("campaign"), isNot, name: text(id), value: text(status) };
  }
  if ("lastMessage" in object) {
    const { status, before, after } = object.lastMessage as Json;
    if (before && after) return null;
    return { ...emptyCondition("lastMessage"), isNot, value: text(status), when: before ? "before" : after ? "after" : "any", date: text(before ?? after).slice(0, 10) };
  }
  return null;
}

/** Null where the form cannot show all of it. */
export function formOf(rule: unknown): RuleForm | null {
  const object = (rule ?? {}) as Json;
  const join = "all" in object ? "all" : "any" in object ? "any" : null;
  if (!join) {
    const single = readCondition(rule);
    return single && { join: "all", conditions: [single] };
  }
  const rules = Array.isArray(object[join]) ? object[join] : [object[join]];
  const conditions = rules.map((each) => readCondition(each));
  return conditions.every((condition) => condition !== null) ? { join, conditions } : null;
}
