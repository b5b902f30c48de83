//! A segment's rule between the gateway's form and rows of a form, in groups that may hold groups. What the form does not know
//! is edited as JSON.

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

/** All of them hold, any of them, or none. */
export type Join = "all" | "any" | "not";

export interface RuleForm {
  join: Join;
  items: (Condition | RuleForm)[];
}

export const isGroup = (item: Condition | RuleForm): item is RuleForm => "join" in item;

/** As the gateway has it: levels of groups, and conditions and groups together. */
export const limits = { depth: 8, nodes: 100 } as const;

export const nodes = (form: RuleForm): number => 1 + form.items.reduce((sum, item) => sum + (isGroup(item) ? nodes(item) : item.isNot ? 2 : 1), 0);

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

export const ruleOf = ({ join, items }: RuleForm): Json => ({ [join]: items.map((item) => (isGroup(item) ? ruleOf(item) : conditionOf(item))) });

export const isComplete = ({ items }: RuleForm): boolean => items.length > 0 && items.every((item) => (isGroup(item) ? isComplete(item) : isWhole(item)));

const isWhole = ({ kind, value, name, op, when, date }: Condition): boolean =>
  kind === "attribute" ? !!name.trim() && (op === "exists" || op === "missing" || !!value.trim())
  : kind === "campaign" ? !!name
  : kind === "lastMessage" ? !!value || (when !== "any" && !!date)
  : !!value.trim();

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

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value]);

function readItem(rule: unknown, depth: number): Condition | RuleForm | null {
  const condition = readCondition(rule);
  return condition ?? readGroup(rule, depth);
}

function readGroup(rule: unknown, depth: number): RuleForm | null {
  if (!rule || typeof rule !== "object" || depth > limits.depth) return null;
  const keys = Object.keys(rule);
  const join = (["all", "any", "not"] as const).find((each) => each === keys[0]);
  if (!join || keys.length !== 1) return null;
  const items = list((rule as Json)[join]).map((each) => readItem(each, depth + 1));
  return items.every((item) => item !== null) ? { join, items } : null;
}

/** Null where the form cannot show all of it. */
export function formOf(rule: unknown): RuleForm | null {
  const single = readCondition(rule);
  return single ? { join: "all", items: [single] } : readGroup(rule, 1);
}
