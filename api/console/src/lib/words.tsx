//! The gateway's terms in people's words, each with the tone it is said in.
import type { AccountStatus, CampaignStatus, ConsentStatus, MessageStatus, QualityRating, TemplateStatus, WebhookEndpointStatus } from "~/gen/graphql";
import { has, t, type Key } from "~/i18n";
import { Badge, type Tone } from "~/ui/parts";
import { sentenceCase } from "./errors";

const account: Record<AccountStatus, Tone> = { CONNECTED: "good", PAUSED: "warn", DISCONNECTED: "muted" };
const template: Record<TemplateStatus, Tone> = {
  DRAFT: "muted", PENDING: "info", APPROVED: "good", REJECTED: "bad", PAUSED: "warn", DISABLED: "bad", DELETED: "muted",
};
const campaign: Record<CampaignStatus, Tone> = {
  DRAFT: "muted", SCHEDULED: "info", RUNNING: "live", PAUSED: "warn", COMPLETED: "good", CANCELLED: "muted",
};
const message: Record<MessageStatus, Tone> = {
  SKIPPED: "warn", SCHEDULED: "info", QUEUED: "info", SENDING: "info", ACCEPTED: "info", SENT: "info", DELIVERED: "good", READ: "good",
  FAILED: "bad", CANCELLED: "muted", EXPIRED: "bad", IN_DOUBT: "warn", RECEIVED: "muted",
};
const consent: Record<ConsentStatus, Tone> = { UNKNOWN: "muted", OPTED_IN: "good", OPTED_OUT: "bad" };
const quality: Record<QualityRating, Tone> = { GREEN: "good", YELLOW: "warn", RED: "bad", UNKNOWN: "muted" };
const endpoint: Record<WebhookEndpointStatus, Tone> = { ACTIVE: "good", PAUSED: "warn", DISABLED: "bad", DELETED: "muted" };

export const AccountBadge = ({ status }: { status: AccountStatus }) => <Badge tone={account[status]}>{t(`account.status.${status}`)}</Badge>;
export const TemplateBadge = ({ status }: { status: TemplateStatus }) => <Badge tone={template[status]}>{t(`template.status.${status}`)}</Badge>;
export const CampaignBadge = ({ status, awaits }: { status: CampaignStatus; awaits?: boolean }) =>
  awaits ? <Badge tone="warn">{t("campaign.awaitsApproval")}</Badge> : <Badge tone={campaign[status]}>{t(`campaign.status.${status}`)}</Badge>;
export const MessageBadge = ({ status }: { status: MessageStatus }) => <Badge tone={message[status]}>{t(`message.status.${status}`)}</Badge>;
export const ConsentBadge = ({ status }: { status: ConsentStatus }) => <Badge tone={consent[status]}>{t(`consent.${status}`)}</Badge>;
export const QualityBadge = ({ rating }: { rating: QualityRating }) => <Badge tone={quality[rating]}>{t(`quality.${rating}`)}</Badge>;
export const EndpointBadge = ({ status }: { status: WebhookEndpointStatus }) => <Badge tone={endpoint[status]}>{t(`endpoint.status.${status}`)}</Badge>;

export const messageStatuses = Object.keys(message) as MessageStatus[];
export const campaignStatuses = Object.keys(campaign) as CampaignStatus[];
export const templateStatuses = Object.keys(template) as TemplateStatus[];

/** What an event type means, in words; types that are younger than the console are shown as they are. */
export function eventName(type: string): string {
  const key = `event.${type}`;
  return has(key) ? t(key as Key) : sentenceCase(type.replace(/[._]/g, " ")).replace(/\.$/, "");
}

const tones: [RegExp, Tone][] = [
  [/failed|rejected|disabled|revoked|opted_out|erased|disconnected|expired/, "bad"],
  [/delivered|read$|approved|connected|completed|played|undone/, "good"],
  [/paused|skipped|cancelled|doubt|restricted/, "warn"],
  [/sent|accepted|started|launched|scheduled|replied|clicked|received/, "info"],
];
export const eventTone = (type: string): Tone => tones.find(([pattern]) => pattern.test(type))?.[1] ?? "muted";

/** What to do about one of WhatsApp's error codes, where there is something to do. */
export function remedy(code: number | null | undefined): string | null {
  const key = `remedy.${code}`;
  return code && has(key) ? t(key as Key) : null;
}
