//! A campaign while it is being planned. Until it has an audience and a template it lives in this browser; from then on it is
//! a draft at the gateway, and every change is saved there, unless somebody else has changed the same thing meanwhile.
import type { AudienceInput, CampaignQuery, CampaignScheduleInput, CreateCampaignInput, UpdateCampaignInput } from "~/gen/graphql";

import { fromParameters, toParameters } from "~/ui/parameters";

export interface Groups {
  segmentIds: string[];
  tags: string[];
}

export interface Plan {
  name: string;
  accountId: string;
  templateId: string;
  all: boolean;
  groups: Groups;
  contactIds: string[];
  exclude: Groups;
  parameters: Record<string, string>;
  start: "now" | "zone" | "recipient";
  startAt: string;
  timeZone: string;
  hasWindow: boolean;
  windowFrom: string;
  windowTo: string;
  whenPast: "SEND_NOW" | "NEXT_DAY" | "SKIP";
  repeat: "never" | "DAILY" | "WEEKLY" | "MONTHLY" | "other";
  times: string;
  /** Of a rule that the form does not offer. */
  recurrence: string;
  messagesPerSecond: string;
  hasCap: boolean;
  capMessages: string;
  capHours: string;
}

export const emptyPlan = (timeZone: string): Plan => ({
  name: "", accountId: "", templateId: "", all: false, groups: { segmentIds: [], tags: [] }, contactIds: [], exclude: { segmentIds: [], tags: [] }, parameters: {},
  start: "now", startAt: "", timeZone, hasWindow: false, windowFrom: "09:00", windowTo: "20:00", whenPast: "NEXT_DAY", repeat: "never", times: "4", recurrence: "",
  messagesPerSecond: "", hasCap: false, capMessages: "2", capHours: "168",
});

export const hasAudience = ({ all, groups, contactIds }: Plan): boolean => all || groups.segmentIds.length + groups.tags.length + contactIds.length > 0;

export function audience(plan: Plan): AudienceInput {
  const { exclude } = plan;
  const less = exclude.segmentIds.length + exclude.tags.length > 0 ? { exclude: { segmentIds: exclude.segmentIds, tags: exclude.tags } } : {};
  return plan.all ? { all: true, ...less } : { segmentIds: plan.groups.segmentIds, tags: plan.groups.tags, contactIds: plan.contactIds, ...less };
}

function recurrence({ repeat, times, recurrence: other }: Plan): string | null {
  if (repeat === "never") return null;
  return repeat === "other" ? other : `FREQ=${repeat};COUNT=${Math.max(1, Number(times) || 1)}`;
}

function schedule(plan: Plan): CampaignScheduleInput | null {
  if (plan.start === "now" || !plan.startAt) return null;
  return {
    startAt: plan.startAt, timeZone: plan.timeZone, recipientLocal: plan.start === "recipient", whenPast: plan.whenPast,
    sendWindow: plan.hasWindow ? { from: plan.windowFrom, to: plan.windowTo } : null, recurrence: recurrence(plan),
  };
}

const settings = (plan: Plan) => ({
  name: plan.name.trim(),
  parameters: toParameters(plan.parameters),
  audience: audience(plan),
  schedule: schedule(plan),
  messagesPerSecond: Number(plan.messagesPerSecond) > 0 ? Number(plan.messagesPerSecond) : null,
  frequencyCap: plan.hasCap ? { messages: Number(plan.capMessages) || 1, hours: Number(plan.capHours) || 24 } : null,
});

export const createInput = (plan: Plan, idempotencyKey: string): CreateCampaignInput => ({ ...settings(plan), accountId: plan.accountId, templateId: plan.templateId, idempotencyKey });
export const updateInput = (plan: Plan, id: string, expectedSequence: number): UpdateCampaignInput => ({ ...settings(plan), id, templateId: plan.templateId, expectedSequence });

export function planOf(campaign: NonNullable<CampaignQuery["campaign"]>, zone: string): Plan {
  const { audience: who, schedule: when, frequencyCap: cap } = campaign;
  const repeat = /^FREQ=(DAILY|WEEKLY|MONTHLY);COUNT=(\d+)$/.exec(when?.recurrence ?? "");
  return {
    ...emptyPlan(zone),
    name: campaign.name, accountId: campaign.accountId, templateId: campaign.template.id, all: who.all,
    groups: { segmentIds: [...who.segmentIds], tags: [...who.tags] }, contactIds: [...who.contactIds],
    exclude: { segmentIds: [...(who.exclude?.segmentIds ?? [])], tags: [...(who.exclude?.tags ?? [])] },
    parameters: fromParameters(campaign.parameters),
    start: !when ? "now" : when.recipientLocal ? "recipient" : "zone",
    startAt: when?.startAt.slice(0, 16) ?? "", timeZone: when?.timeZone ?? zone,
    hasWindow: !!when?.sendWindow, windowFrom: when?.sendWindow?.from.slice(0, 5) ?? "09:00", windowTo: when?.sendWindow?.to.slice(0, 5) ?? "20:00",
    whenPast: when?.whenPast ?? "NEXT_DAY",
    repeat: !when?.recurrence ? "never" : ((repeat?.[1] as "DAILY" | undefined) ?? "other"), times: repeat?.[2] ?? "4", recurrence: when?.recurrence ?? "",
    messagesPerSecond: campaign.messagesPerSecond ? String(campaign.messagesPerSecond) : "",
    hasCap: !!cap, capMessages: String(cap?.messages ?? 2), capHours: String(cap?.hours ?? 168),
  };
}

/** What belongs together when two people change the same draft. */
export const parts = {
  name: ["name"],
  audience: ["all", "groups", "contactIds", "exclude"],
  message: ["templateId", "parameters"],
  schedule: ["start", "startAt", "timeZone", "hasWindow", "windowFrom", "windowTo", "whenPast", "repeat", "times", "recurrence"],
  limits: ["messagesPerSecond", "hasCap", "capMessages", "capHours"],
} as const satisfies Record<string, readonly (keyof Plan)[]>;
export type Part = keyof typeof parts;

const isSame = (a: Plan, b: Plan, part: Part): boolean => parts[part].every((key) => JSON.stringify(a[key]) === JSON.stringify(b[key]));

/** `part` of `plan`, in the place of what `into` has there. */
export const take = (into: Plan, plan: Plan, part: Part): Plan => ({ ...into, ...Object.fromEntries(parts[part].map((key) => [key, plan[key]])) });

/** What both have made of `base`: each part by whoever changed it; `both`: the parts that both changed, which are left as mine. */
export function merge(base: Plan, mine: Plan, theirs: Plan): { plan: Plan; both: Part[] } {
  let plan = mine;
  const both: Part[] = [];
  for (const part of Object.keys(parts) as Part[]) {
    if (isSame(base, theirs, part)) continue;
    if (isSame(base, mine, part)) plan = take(plan, theirs, part);
    else if (!isSame(mine, theirs, part)) both.push(part);
  }
  return { plan, both };
}

const kept = "console.campaign-plan";

export function keptPlan(zone: string): Plan {
  try {
    return { ...emptyPlan(zone), ...(JSON.parse(localStorage.getItem(kept) ?? "{}") as Partial<Plan>) };
  } catch {
    return emptyPlan(zone);
  }
}

export function keepPlan(plan: Plan | null): void {
  try {
    if (plan) localStorage.setItem(kept, JSON.stringify(plan));
    else localStorage.removeItem(kept);
  } catch {
    // The plan is lost with the tab; nothing was promised to anybody yet.
  }
}
