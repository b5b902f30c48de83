/* eslint-disable */
/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { DocumentTypeDecoration } from '@graphql-typed-document-node/core';
/** Where an account's messages go. */
export type AccountProvider =
  /** Meta's WhatsApp Cloud API. */
  | 'CLOUD_API'
  /** The sandbox inside the gateway: nobody's phone rings. */
  | 'SANDBOX';

/** Whether an account sends. */
export type AccountStatus =
  /** Sends and receives. */
  | 'CONNECTED'
  /** Neither sends nor receives any more; its history stays. */
  | 'DISCONNECTED'
  /** Receives; what is to be sent waits. */
  | 'PAUSED';

/** What kind of actor caused an event. */
export type ActorKind =
  /** An integrator's program, by its API key. */
  | 'API_KEY'
  /** The assistant. */
  | 'ASSISTANT'
  /** One of the gateway's own process managers. */
  | 'PROCESS'
  /** The gateway itself, or whoever owns its files. */
  | 'SYSTEM'
  /** A person at the console. */
  | 'USER'
  /** WhatsApp, by a webhook or an answer. */
  | 'WHATSAPP';

/** A person to add: a number, a user id or both. */
export type AddContactInput = {
  /** An object of the integrator's own facts. */
  attributes?: unknown;
  /**
   * What the person said about being written to. OPTED_IN never takes back an opt-out that is on record; recordConsent
   * does. UNKNOWN records nothing.
   */
  consent?: ConsentStatus | null | undefined;
  /** Where that is known from. */
  consentSource?: string | null | undefined;
  /** The integrator's own id; unique in the workspace. */
  externalId?: string | null | undefined;
  /** The same key with the same input answers the first result again. */
  idempotencyKey?: string | null | undefined;
  /** The person's language, such as de or pt_BR. */
  language?: string | null | undefined;
  /** The person's name. */
  name?: string | null | undefined;
  /** In E.164, or in national form with the region of the workspace's account. */
  phoneNumber?: string | null | undefined;
  /** The integrator's own groups. */
  tags?: Array<string> | null | undefined;
  /** Where the person's clock is. */
  timeZone?: string | null | undefined;
  /** WhatsApp's business-scoped user id. */
  userId?: string | null | undefined;
  /** May be left out where the key has only one. */
  workspaceId?: string | number | null | undefined;
};

/** Union of segments, contacts and tags, less `exclude`. Empty is VALIDATION_FAILED; everyone is `all: true`. */
export type AudienceInput = {
  /** Everyone in the workspace. */
  all?: boolean | null | undefined;
  /** These contacts. */
  contactIds?: Array<string | number> | null | undefined;
  /** Less these. */
  exclude?: AudienceInput | null | undefined;
  /** Whoever is in any of these segments. */
  segmentIds?: Array<string | number> | null | undefined;
  /** Whoever has any of these tags. */
  tags?: Array<string> | null | undefined;
};

/** What WhatsApp bills a message as. */
export type BillingCategory =
  /** Authentication templates. */
  | 'AUTHENTICATION'
  /** Authentication templates to countries where foreign businesses pay more. */
  | 'AUTHENTICATION_INTERNATIONAL'
  /** Marketing templates. */
  | 'MARKETING'
  /** Marketing templates sent by WhatsApp's own marketing interface. */
  | 'MARKETING_LITE'
  /** Everything that is no template. */
  | 'SERVICE'
  /** Utility templates. */
  | 'UTILITY';

/** Which campaigns; what is left out does not narrow. */
export type CampaignFilter = {
  /** Of any of these accounts. */
  accountIds?: Array<string | number> | null | undefined;
  /** Part of the name. */
  search?: string | null | undefined;
  /** Any of these. */
  status?: Array<CampaignStatus> | null | undefined;
};

/** When a campaign starts. A local time in a DST gap moves forward by the gap; in an overlap the first one counts. */
export type CampaignScheduleInput = {
  /** Each recipient at startAt in their own zone. */
  recipientLocal?: boolean | null | undefined;
  /** RFC 5545 RRULE, daily or slower and with an end, like FREQ=MONTHLY;BYMONTHDAY=1;COUNT=12. */
  recurrence?: string | null | undefined;
  /** Messages fall only inside this window of the recipient's day; outside it they wait for its next opening. */
  sendWindow?: QuietHoursInput | null | undefined;
  /** By the wall clock. */
  startAt: string;
  /** The zone startAt is read in, unless recipientLocal. */
  timeZone: string;
  /** Recipients whose local time has passed when the campaign starts. */
  whenPast?: WhenPast | null | undefined;
};

/** How far a campaign is. */
export type CampaignStatus =
  /** Ended by a person; what was not sent stays unsent. */
  | 'CANCELLED'
  /** Every recipient is settled. */
  | 'COMPLETED'
  /** May be changed; sends nothing. */
  | 'DRAFT'
  /** Sends nothing until it is resumed. */
  | 'PAUSED'
  /** Sends. */
  | 'RUNNING'
  /** Starts at its time. */
  | 'SCHEDULED';

/** A number to connect. */
export type ConnectAccountInput = {
  /** The token that calls are made with; as phoneNumberId. */
  accessToken?: string | null | undefined;
  /** The Meta app's secret, which webhooks are signed with; as phoneNumberId. */
  appSecret?: string | null | undefined;
  /** ISO 3166 region for numbers in national form. */
  defaultRegion?: string | null | undefined;
  /** The same key with the same input answers the first result again. */
  idempotencyKey?: string | null | undefined;
  /** 1 to 1,000,000; what WhatsApp grants where absent. */
  messagesPerSecond?: number | null | undefined;
  /** What people call it. */
  name: string;
  /** Required for CLOUD_API; made up for SANDBOX where absent. */
  phoneNumberId?: string | null | undefined;
  /** Two-step PIN, when the number has to be registered. */
  pin?: string | null | undefined;
  /** The business portfolio, where several numbers share one. */
  portfolioId?: string | null | undefined;
  /** Where its messages go. */
  provider: AccountProvider;
  /** When marketing waits. */
  quietHours?: QuietHoursInput | null | undefined;
  /** The zone of quiet hours, and of whoever has none. */
  timeZone: string;
  /** Made up where absent. */
  verifyToken?: string | null | undefined;
  /** The WhatsApp Business Account; as phoneNumberId. */
  wabaId?: string | null | undefined;
  /** May be left out where the key has only one. */
  workspaceId?: string | number | null | undefined;
};

/** What a person said about being written to. */
export type ConsentStatus =
  /** They agreed. */
  | 'OPTED_IN'
  /** They asked not to be. */
  | 'OPTED_OUT'
  /** Nothing is on record. */
  | 'UNKNOWN';

/** Which contacts; what is left out does not narrow. */
export type ContactFilter = {
  /** Any of these. */
  consent?: Array<ConsentStatus> | null | undefined;
  /** Any of these. Scope PERSONAL. */
  phoneNumbers?: Array<string> | null | undefined;
  /** Part of the name, number or externalId. Scope PERSONAL. */
  search?: string | null | undefined;
  /** In this segment. Scope PERSONAL where its rule asks for attributes. */
  segmentId?: string | number | null | undefined;
  /** With all of these tags. */
  tags?: Array<string> | null | undefined;
  /** Of this workspace. */
  workspaceId?: string | number | null | undefined;
};

export type ConversationFilter = {
  accountIds?: Array<string | number> | null | undefined;
  assignedTo?: string | number | null | undefined;
  handling?: Array<ConversationHandling> | null | undefined;
  search?: string | null | undefined;
  unread?: boolean | null | undefined;
  workspaceId?: string | number | null | undefined;
};

export type ConversationHandling =
  | 'ASSISTANT'
  | 'NONE'
  | 'PEOPLE';

/** A key to make. */
export type CreateApiKeyInput = {
  /** The accounts it is limited to; null: every one of its workspaces. */
  accountIds?: Array<string | number> | null | undefined;
  /** When it ends by itself. */
  expiresAt?: string | null | undefined;
  /** The same key with the same input answers the first result again, without the secret. */
  idempotencyKey?: string | null | undefined;
  /** What people call it. */
  name: string;
  /** What it may do. */
  scopes: Array<Scope>;
  /** The workspaces it is limited to; null: every one. */
  workspaceIds?: Array<string | number> | null | undefined;
};

/** A campaign to draft. */
export type CreateCampaignInput = {
  /** The account that sends it. */
  accountId: string | number;
  /** Whom it goes to. */
  audience: AudienceInput;
  /** The integrator's own id. */
  externalId?: string | null | undefined;
  /** At most this many marketing messages to one person in so many hours, over all campaigns. */
  frequencyCap?: FrequencyCapInput | null | undefined;
  /** The same key with the same input answers the first result again. */
  idempotencyKey?: string | null | undefined;
  /** At most this many messages per second. */
  messagesPerSecond?: number | null | undefined;
  /** The integrator's own facts, at most 20 keys and 2 kB. */
  metadata?: unknown;
  /** What people call it. */
  name: string;
  /** Template parameter → literal, or {{name}}, {{attributes.city}} filled per contact, with {{x | default: y}}. */
  parameters?: unknown;
  /** When it starts; at launch where left out. */
  schedule?: CampaignScheduleInput | null | undefined;
  /** What is sent. */
  templateId: string | number;
  /** Give up on a recipient not accepted by then, in seconds after it fell due. */
  timeToLive?: number | null | undefined;
};

/**
 * A rule: {all|any|not: [...]} over {tag}, {attribute, op, value}, {consent}, {language}, {timeZone},
 * {lastMessage: {status, before|after}}, {campaign: {id, status}}; depth 8, 100 nodes.
 */
export type CreateSegmentInput = {
  /** The same key with the same input answers the first result again. */
  idempotencyKey?: string | null | undefined;
  /** What people call it; unique in the workspace. */
  name: string;
  /** The rule. */
  rule: unknown;
  /** May be left out where the key has only one. */
  workspaceId?: string | number | null | undefined;
};

/** A template to draft. */
export type CreateTemplateInput = {
  /** The account whose business it belongs to. */
  accountId: string | number;
  /** WhatsApp's category. */
  category: TemplateCategory;
  /** WhatsApp's own components array. */
  components: unknown;
  /** The same key with the same input answers the first result again. */
  idempotencyKey?: string | null | undefined;
  /** WhatsApp's code of its language, such as en_US. */
  language: string;
  /** Lower case letters, digits and underscores. */
  name: string;
};

/** An endpoint to make. */
export type CreateWebhookEndpointInput = {
  /** The accounts whose events it is sent; none: all, and what belongs to none. */
  accountIds?: Array<string | number> | null | undefined;
  /** Begins behind this position; left out: with what is recorded from now on. */
  after?: string | null | undefined;
  /** Whether up to 100 events come in one request, as a CloudEvents batch. */
  batch?: boolean | null | undefined;
  /** Events in a second, at most. */
  eventsPerSecond?: number | null | undefined;
  /** The same key with the same input answers the first result again, without the secret. */
  idempotencyKey?: string | null | undefined;
  /** Whether personal data leaves in the clear. Scope PERSONAL. */
  includePersonal?: boolean | null | undefined;
  /** Types such as message.delivered; none: all. */
  types?: Array<string> | null | undefined;
  /** Where events are posted to: https, and no private address. Put no credentials in it; the signature says who sends. */
  url: string;
  /** May be left out where the key has only one. */
  workspaceId?: string | number | null | undefined;
};

/** Which events; what is left out does not narrow. */
export type EventFilter = {
  /** The accounts they belong to. */
  accountIds?: Array<string | number> | null | undefined;
  /** The things they happened to. */
  aggregateIds?: Array<string | number> | null | undefined;
  /** What kind of thing they happened to, such as message. */
  aggregateType?: string | null | undefined;
  /** Everything that one request set off. */
  correlationId?: string | number | null | undefined;
  /** Recorded at or after this instant. */
  recordedFrom?: string | null | undefined;
  /** Recorded before this instant. */
  recordedTo?: string | null | undefined;
  /** Types such as message.delivered. */
  types?: Array<string> | null | undefined;
};

/**
 * At most this many marketing messages to one person in so many hours, over all campaigns and single messages. Who has had
 * as many is SKIPPED with FREQUENCY_CAP.
 */
export type FrequencyCapInput = {
  /** 1 to 8,784 (a year). */
  hours: number;
  /** 1 to 1,000. */
  messages: number;
};

/** Contacts as CSV. */
export type ImportContactsInput = {
  /** What they all said about being written to; a column `consent` goes before it. */
  consent?: ConsentStatus | null | undefined;
  /** Where that is known from. */
  consentSource?: string | null | undefined;
  /** CSV text with a header row: at most 1 MB here; larger files go to POST /imports. */
  csv: string;
  /** ISO 3166 region for numbers in national form. */
  defaultRegion?: string | null | undefined;
  /** Only reports what would happen. */
  dryRun?: boolean | null | undefined;
  /** The same key with the same input answers the first result again. */
  idempotencyKey?: string | null | undefined;
  /** An object of header → field, where the aliases do not fit. */
  mapping?: unknown;
  /** Tags for every contact of the file. */
  tags?: Array<string> | null | undefined;
  /** May be left out where the key has only one. */
  workspaceId?: string | number | null | undefined;
};

/** How far an import is. */
export type ImportStatus =
  /** All rows are read, and lists show them. */
  | 'COMPLETED'
  /** The file could not be read to its end. */
  | 'FAILED'
  /** Rows are being read. */
  | 'RUNNING';

/** What happens to a message in doubt after the grace period. */
export type InDoubtAction =
  /** A person decides. */
  | 'HOLD'
  /** It is sent again; a duplicate is possible. */
  | 'SEND_AGAIN';

/** Changes to the policy; what is left out stays. */
export type InDoubtPolicyInput = {
  /** One-time codes. */
  authentication?: InDoubtAction | null | undefined;
  /** How long a status is waited for, in seconds. */
  graceSeconds?: number | null | undefined;
  /** Marketing templates. */
  marketing?: InDoubtAction | null | undefined;
  /** Free-form messages inside the service window. */
  service?: InDoubtAction | null | undefined;
  /** Utility templates. */
  utility?: InDoubtAction | null | undefined;
};

/** How a person settles a message in doubt. */
export type InDoubtResolution =
  /** It counts as failed. */
  | 'GIVE_UP'
  /** It is sent again; a duplicate is possible. */
  | 'SEND_AGAIN'
  /** It counts as sent. */
  | 'TREAT_AS_SENT';

/** Somebody to invite. */
export type InviteUserInput = {
  /** The accounts they are limited to; null: every one that the caller has. */
  accountIds?: Array<string | number> | null | undefined;
  /** What they will sign in with. */
  email: string;
  /** The same key with the same input answers the first result again, without the link. */
  idempotencyKey?: string | null | undefined;
  /** What people call them. */
  name: string;
  /** What they are for. */
  role: Role;
  /** The workspaces they are limited to; null: every one that the caller has. */
  workspaceIds?: Array<string | number> | null | undefined;
};

export type LoopTestState =
  | 'EXPIRED'
  | 'FAILED'
  | 'PASSED'
  | 'WAITING_FOR_ACCEPTANCE'
  | 'WAITING_FOR_DELIVERY'
  | 'WAITING_FOR_INBOUND';

/** Media by link or by id. */
export type MediaInput = {
  /** The text under it. */
  caption?: string | null | undefined;
  /** The name a document is saved under. */
  filename?: string | null | undefined;
  /** What kind it is. */
  kind: MediaKind;
  /** Where WhatsApp fetches it from. */
  link?: string | null | undefined;
  /** An upload's id. */
  mediaId?: string | null | undefined;
};

/** What kind of media a message carries. */
export type MediaKind =
  /** A voice note or other sound. */
  | 'AUDIO'
  /** A file. */
  | 'DOCUMENT'
  /** JPEG or PNG. */
  | 'IMAGE'
  /** WebP. */
  | 'STICKER'
  /** MP4 or 3GPP. */
  | 'VIDEO';

/** Who wrote a message. */
export type MessageDirection =
  /** The person. */
  | 'INBOUND'
  /** The business. */
  | 'OUTBOUND';

/** Which messages; what is left out does not narrow. */
export type MessageFilter = {
  /** Of any of these accounts. */
  accountIds?: Array<string | number> | null | undefined;
  /** Of any of these campaigns. */
  campaignIds?: Array<string | number> | null | undefined;
  /** To or from any of these people. */
  contactIds?: Array<string | number> | null | undefined;
  /** Made at or after this instant. */
  createdFrom?: string | null | undefined;
  /** Made before this instant. */
  createdTo?: string | null | undefined;
  /** Only to, or only from people. */
  direction?: MessageDirection | null | undefined;
  /** With any of these ids of the integrator's own. */
  externalIds?: Array<string> | null | undefined;
  /** Any of these. */
  status?: Array<MessageStatus> | null | undefined;
  /** Of this workspace. */
  workspaceId?: string | number | null | undefined;
};

/** What a message is now. */
export type MessageStatus =
  /** WhatsApp took it. */
  | 'ACCEPTED'
  /** Taken back before it was sent. */
  | 'CANCELLED'
  /** On the phone. */
  | 'DELIVERED'
  /** Its time to live ran out before it was accepted. */
  | 'EXPIRED'
  /** Not delivered; see the failure. */
  | 'FAILED'
  /** WhatsApp never told what became of the call. */
  | 'IN_DOUBT'
  /** Due, and waiting for its turn. */
  | 'QUEUED'
  /** Read (or played). */
  | 'READ'
  /** From a person. */
  | 'RECEIVED'
  /** Due later. */
  | 'SCHEDULED'
  /** The call to WhatsApp is under way. */
  | 'SENDING'
  /** On its way to the phone. */
  | 'SENT'
  /** Left out before sending, with a reason. Final. */
  | 'SKIPPED';

/** How a read model does. */
export type ProjectionStatus =
  /** Stopped; see the gateway's log. */
  | 'FAILED'
  /** Follows the log. */
  | 'LIVE'
  /** Is built anew beside the one that answers. */
  | 'REBUILDING';

/** How WhatsApp rates a number or a template. */
export type QualityRating =
  /** High. */
  | 'GREEN'
  /** Low: fewer messages, or none, may follow. */
  | 'RED'
  /** WhatsApp has not said. */
  | 'UNKNOWN'
  /** Medium. */
  | 'YELLOW';

/** A part of the day, by the wall clock; it may go over midnight. */
export type QuietHoursInput = {
  /** When it begins. */
  from: string;
  /** When it ends. */
  to: string;
};

/** What one message costs. Without countries and calling codes: in every country that no line of this category names. */
export type RateInput = {
  /** For one message. */
  amount: string;
  /** Like 49: every country that has one of these. */
  callingCodes?: Array<string> | null | undefined;
  /** What WhatsApp bills it as. */
  category: BillingCategory;
  /** ISO 3166, like DE. */
  countries?: Array<string> | null | undefined;
  /** ISO 4217, like EUR. */
  currency: string;
  /** From this day on (UTC). */
  validFrom: string;
};

/** What a person said. */
export type RecordConsentInput = {
  /** About what; about everything where left out. */
  category?: TemplateCategory | null | undefined;
  /** Who said it. */
  contactId: string | number;
  /** What proves it. */
  evidence?: string | null | undefined;
  /** When they said it; now where left out. */
  occurredAt?: string | null | undefined;
  /** Where that is known from. */
  source: string;
  /** What they said. */
  status: ConsentStatus;
};

export type ReplyInput = {
  conversationId: string | number;
  idempotencyKey?: string | null | undefined;
  media?: MediaInput | null | undefined;
  replyTo?: string | null | undefined;
  template?: TemplateMessageInput | null | undefined;
  text?: string | null | undefined;
};

/** Which recipients a campaign tries again. */
export type RetryScope =
  /** Both, and those whose failure is permanent. */
  | 'ALL'
  /** Those that failed and may succeed another time. */
  | 'FAILED'
  /** Those that were skipped, judged anew by what is known now. */
  | 'SKIPPED';

/** What a user of the console is for. */
export type Role =
  /** Accounts, templates, contacts, campaigns and sending. */
  | 'MANAGER'
  /** Everything, users and API keys included. */
  | 'OWNER'
  /** Sending, and steering what is being sent. */
  | 'SENDER'
  /** Looks, and sees personal data masked. */
  | 'VIEWER';

/** New credentials; what is left out stays. */
export type RotateAccountCredentialsInput = {
  /** The token that calls are made with. */
  accessToken?: string | null | undefined;
  /** The Meta app's secret, which webhooks are signed with. */
  appSecret?: string | null | undefined;
  /** Which account. */
  id: string | number;
  /** What Meta's verification is answered for. */
  verifyToken?: string | null | undefined;
};

/** What an API key may do. */
export type Scope =
  /** Everything, keys and workspaces included. */
  | 'ADMIN'
  /** Change accounts, templates, contacts, segments and campaigns. */
  | 'MANAGE'
  /** See numbers, names, attributes and contents unmasked, and search by them. */
  | 'PERSONAL'
  /** Read, with personal data masked. */
  | 'READ'
  /** Send messages; launch, pause and cancel campaigns. */
  | 'SEND';

/** One message to one person. */
export type SendMessageInput = {
  /** The account that sends it. */
  accountId: string | number;
  /** A contact that is known. */
  contactId?: string | number | null | undefined;
  /** Contact cards, in WhatsApp's own form. */
  contacts?: unknown;
  /** The integrator's own id. */
  externalId?: string | null | undefined;
  /** The same key with the same input answers the first result again. */
  idempotencyKey?: string | null | undefined;
  /** Buttons or a list, in WhatsApp's own form. */
  interactive?: unknown;
  /** {latitude, longitude, name, address}. */
  location?: unknown;
  /** A picture, film, sound, file or sticker. */
  media?: MediaInput | null | undefined;
  /** The integrator's own facts, at most 20 keys and 2 kB. */
  metadata?: unknown;
  /** {messageId, emoji}. */
  reaction?: unknown;
  /** The wamid this answers. */
  replyTo?: string | null | undefined;
  /** Later, instead of now; refused where it is more than 5 min ago. */
  sendAt?: string | null | undefined;
  /** Exactly one of template, text, media, interactive, location, contacts, reaction. */
  template?: TemplateMessageInput | null | undefined;
  /** Free text, inside the service window. */
  text?: string | null | undefined;
  /** Seconds; default 10 min for authentication, 24 h for utility and service, 72 h for marketing. */
  timeToLive?: number | null | undefined;
  /** One of to, userId, contactId. A number of a contact who was merged into another means that one, at their own number. */
  to?: string | null | undefined;
  /** WhatsApp's business-scoped user id. */
  userId?: string | null | undefined;
};

/** A whole rate card, in place of the one there is. */
export type SetRateCardInput = {
  /** The sequence of the last event that the change is based on; CONFLICT where there is a newer one. */
  expectedSequence?: number | null | undefined;
  /** At most 2,000 lines. */
  rates: Array<RateInput>;
  /** Whose card it is; may be left out where the key has one workspace only. */
  workspaceId?: string | number | null | undefined;
};

/** Why a recipient was left out before sending. */
export type SkipReason =
  /** The contact's time zone is none. */
  | 'BAD_TIME_ZONE'
  /** The same person is a recipient already. */
  | 'DUPLICATE'
  /** The person was erased. */
  | 'ERASED'
  /** The person had as many marketing messages as the cap allows. */
  | 'FREQUENCY_CAP'
  /** The recipient's local time had passed. */
  | 'LOCAL_TIME_PAST'
  /** WhatsApp delivers no marketing to this person. */
  | 'MARKETING_BLOCKED'
  /** A parameter of the template has no value. */
  | 'MISSING_PARAMETER'
  /** Marketing, and the person never agreed. */
  | 'NO_CONSENT'
  /** Neither a number nor a WhatsApp user id is known. */
  | 'NO_IDENTITY'
  /** The person asked not to be written to. */
  | 'OPTED_OUT'
  /** A parameter is longer than WhatsApp takes. */
  | 'PARAMETER_TOO_LONG'
  /** The template may not be sent now. */
  | 'TEMPLATE_NOT_APPROVED'
  /** The number is known not to be on WhatsApp. */
  | 'UNREACHABLE'
  /** Free-form content, more than 24 h after the person's last message. */
  | 'WINDOW_CLOSED';

/** WhatsApp's category of a template. */
export type TemplateCategory =
  /** One-time codes. */
  | 'AUTHENTICATION'
  /** Offers and news: needs the person's consent. */
  | 'MARKETING'
  /** About something the person asked for. */
  | 'UTILITY';

/** Which templates; what is left out does not narrow. */
export type TemplateFilter = {
  /** Of any of these accounts. */
  accountIds?: Array<string | number> | null | undefined;
  /** Any of these. */
  category?: Array<TemplateCategory> | null | undefined;
  /** Part of the name. */
  search?: string | null | undefined;
  /** Any of these. */
  status?: Array<TemplateStatus> | null | undefined;
};

/** A template by id, or by name and language. */
export type TemplateMessageInput = {
  /** WhatsApp's code of its language. */
  language?: string | null | undefined;
  /** Its name at WhatsApp. */
  name?: string | null | undefined;
  /** {"body.1": "Ana", "header.image": {"link": …}, "button.0.url": "a1"}, or by parameter name. */
  parameters?: unknown;
  /** Its id. */
  templateId?: string | number | null | undefined;
};

/** Where a template is in its life. */
export type TemplateStatus =
  /** May be sent. */
  | 'APPROVED'
  /** Deleted. */
  | 'DELETED'
  /** WhatsApp disabled it for good. */
  | 'DISABLED'
  /** Only here. */
  | 'DRAFT'
  /** WhatsApp paused it for low quality. */
  | 'PAUSED'
  /** WhatsApp reviews it. */
  | 'PENDING'
  /** WhatsApp refused it; see the reason. */
  | 'REJECTED';

/** Changes to an account: what is left out stays, null clears. */
export type UpdateAccountInput = {
  /** ISO 3166 region for numbers in national form. */
  defaultRegion?: string | null | undefined;
  /** The sequence of the last event that the change is based on; CONFLICT where there is a newer one. */
  expectedSequence?: number | null | undefined;
  /** Which account. */
  id: string | number;
  /** What happens to messages whose outcome WhatsApp never told. */
  inDoubtPolicy?: InDoubtPolicyInput | null | undefined;
  /** 1 to 1,000,000; null: what WhatsApp grants. */
  messagesPerSecond?: number | null | undefined;
  /** What people call it. */
  name?: string | null | undefined;
  /** The business portfolio, where several numbers share one. */
  portfolioId?: string | null | undefined;
  /** When marketing waits. */
  quietHours?: QuietHoursInput | null | undefined;
  /** The zone of quiet hours, and of whoever has none. */
  timeZone?: string | null | undefined;
};

/** Changes to a draft: what is left out stays, null clears. */
export type UpdateCampaignInput = {
  /** Whom it goes to. */
  audience?: AudienceInput | null | undefined;
  /** The sequence of the last event that the change is based on; CONFLICT where there is a newer one. */
  expectedSequence?: number | null | undefined;
  /** At most this many marketing messages to one person in so many hours, over all campaigns. */
  frequencyCap?: FrequencyCapInput | null | undefined;
  /** Which campaign. */
  id: string | number;
  /** At most this many messages per second. */
  messagesPerSecond?: number | null | undefined;
  /** What people call it. */
  name?: string | null | undefined;
  /** Template parameter → value. */
  parameters?: unknown;
  /** When it starts. */
  schedule?: CampaignScheduleInput | null | undefined;
  /** What is sent. */
  templateId?: string | number | null | undefined;
  /** Give up on a recipient not accepted by then, in seconds after it fell due. */
  timeToLive?: number | null | undefined;
};

/** Changes to a contact: what is left out stays, null clears. */
export type UpdateContactInput = {
  /** Tags to add. */
  addTags?: Array<string> | null | undefined;
  /** An object of the integrator's own facts, in place of the old one; upsertContact and imports add to it instead. */
  attributes?: unknown;
  /** The sequence of the last event that the change is based on; CONFLICT where there is a newer one. */
  expectedSequence?: number | null | undefined;
  /** The integrator's own id; unique in the workspace. */
  externalId?: string | null | undefined;
  /** Which contact. */
  id: string | number;
  /** The person's language, such as de or pt_BR. */
  language?: string | null | undefined;
  /** The person's name. */
  name?: string | null | undefined;
  /** Tags to take away. */
  removeTags?: Array<string> | null | undefined;
  /** Where the person's clock is. */
  timeZone?: string | null | undefined;
};

/** Changes to a template: what is left out stays. */
export type UpdateTemplateInput = {
  /** WhatsApp's category. */
  category?: TemplateCategory | null | undefined;
  /** WhatsApp's own components array. */
  components?: unknown;
  /** The sequence of the last event that the change is based on; CONFLICT where there is a newer one. */
  expectedSequence?: number | null | undefined;
  /** Which template. */
  id: string | number;
};

/** What is to be different. Left out: stays. */
export type UpdateUserInput = {
  /** The accounts they are limited to; null: every one that the caller has. Others end their sessions. */
  accountIds?: Array<string | number> | null | undefined;
  /** What they sign in with. */
  email?: string | null | undefined;
  /** Refused with CONFLICT where it was changed meanwhile. */
  expectedSequence?: number | null | undefined;
  /** Whom it is about. */
  id: string | number;
  /** What people call them. */
  name?: string | null | undefined;
  /** What they are for. Another role ends their sessions. */
  role?: Role | null | undefined;
  /** The workspaces they are limited to; null: every one that the caller has. Others end their sessions. */
  workspaceIds?: Array<string | number> | null | undefined;
};

/** What is to be different. Left out: stays. */
export type UpdateWebhookEndpointInput = {
  /** The accounts whose events it is sent; null or none: all. */
  accountIds?: Array<string | number> | null | undefined;
  /** Whether up to 100 events come in one request, as a CloudEvents batch. */
  batch?: boolean | null | undefined;
  /** False pauses it, true resumes it where it stood. */
  enabled?: boolean | null | undefined;
  /** Events in a second, at most; null: as many as it takes. */
  eventsPerSecond?: number | null | undefined;
  /** Which endpoint. */
  id: string | number;
  /** Types such as message.delivered; null or none: all. */
  types?: Array<string> | null | undefined;
  /** Where events are posted to. Scope PERSONAL where the endpoint is sent personal data. */
  url?: string | null | undefined;
};

/** Changes to a workspace: what is left out stays, null clears. */
export type UpdateWorkspaceInput = {
  /** A campaign to more people than this is launched by two keys: one launches, another approves. Null: by one. */
  approvalThreshold?: number | null | undefined;
  /** The sequence of the last event that the change is based on; CONFLICT where there is a newer one. */
  expectedSequence?: number | null | undefined;
  /** Which workspace. */
  id: string | number;
  /** What people call it. */
  name?: string | null | undefined;
};

/** Whether events are sent to a webhook endpoint. */
export type WebhookEndpointStatus =
  /** They are. */
  | 'ACTIVE'
  /** Never again. */
  | 'DELETED'
  /** It answered 410 Gone; once enabled it goes on where it stood. */
  | 'DISABLED'
  /** Not for now; it goes on where it stood. */
  | 'PAUSED';

/** Why a webhook endpoint is paused. */
export type WebhookPauseReason =
  /** It took nothing for five days. */
  | 'FAILING'
  /** Somebody asked for it. */
  | 'REQUESTED';

/** What becomes of recipients whose local time has passed when the campaign starts. */
export type WhenPast =
  /** They get it at that time of the next day. */
  | 'NEXT_DAY'
  /** They get it at once. */
  | 'SEND_NOW'
  /** They are left out, with LOCAL_TIME_PAST. */
  | 'SKIP';

export type AccountRowFragment = { id: string, workspaceId: string, name: string, provider: AccountProvider, status: AccountStatus, statusReason: string | null, pausedUntil: string | null, phoneNumber: string | null, verifiedName: string | null, timeZone: string, defaultRegion: string, qualityRating: QualityRating, messagesPerSecond: number, connectedAt: string, reach: { limit: number | null, used: number, resetsAt: string | null }, health: Array<{ check: string, ok: boolean, at: string | null, detail: string | null, remedy: string | null }> };

export type LoopTestFieldsFragment = { startedAt: string, expiresAt: string, state: LoopTestState, inboundAt: string | null, acceptedAt: string | null, deliveredAt: string | null, message: { id: string, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, failure: { code: number | null, title: string, details: string | null } | null } | null };

export type AccountsQueryVariables = Exact<{
  minPosition?: string | null | undefined;
}>;


export type AccountsQuery = { accounts: { nodes: Array<{ id: string, workspaceId: string, name: string, provider: AccountProvider, status: AccountStatus, statusReason: string | null, pausedUntil: string | null, phoneNumber: string | null, verifiedName: string | null, timeZone: string, defaultRegion: string, qualityRating: QualityRating, messagesPerSecond: number, connectedAt: string, reach: { limit: number | null, used: number, resetsAt: string | null }, health: Array<{ check: string, ok: boolean, at: string | null, detail: string | null, remedy: string | null }> }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type AccountQueryVariables = Exact<{
  id: string | number;
  minPosition?: string | null | undefined;
}>;


export type AccountQuery = { account: { phoneNumberId: string, wabaId: string, portfolioId: string | null, webhookPath: string, webhookUrl: string | null, id: string, workspaceId: string, name: string, provider: AccountProvider, status: AccountStatus, statusReason: string | null, pausedUntil: string | null, phoneNumber: string | null, verifiedName: string | null, timeZone: string, defaultRegion: string, qualityRating: QualityRating, messagesPerSecond: number, connectedAt: string, loopTest: { startedAt: string, expiresAt: string, state: LoopTestState, inboundAt: string | null, acceptedAt: string | null, deliveredAt: string | null, message: { id: string, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, failure: { code: number | null, title: string, details: string | null } | null } | null } | null, quietHours: { from: string, to: string } | null, inDoubtPolicy: { marketing: InDoubtAction, utility: InDoubtAction, authentication: InDoubtAction, service: InDoubtAction, graceSeconds: number }, reach: { limit: number | null, used: number, resetsAt: string | null }, health: Array<{ check: string, ok: boolean, at: string | null, detail: string | null, remedy: string | null }> } | null };

export type AccountHistoryQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type AccountHistoryQuery = { account: { id: string, history: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type ProbeCredentialsMutationVariables = Exact<{
  accessToken: string;
  appSecret?: string | null | undefined;
}>;


export type ProbeCredentialsMutation = { probeCredentials: { ok: boolean, permissions: Array<string>, expiresAt: string | null, problems: Array<string>, wabas: Array<{ id: string, name: string | null, numbers: Array<{ id: string, displayPhoneNumber: string, verifiedName: string | null, qualityRating: QualityRating }> }> } };

export type ConnectAccountMutationVariables = Exact<{
  input: ConnectAccountInput;
}>;


export type ConnectAccountMutation = { connectAccount: { position: string, account: { id: string } } };

export type UpdateAccountMutationVariables = Exact<{
  input: UpdateAccountInput;
}>;


export type UpdateAccountMutation = { updateAccount: { position: string, account: { id: string } } };

export type RotateCredentialsMutationVariables = Exact<{
  input: RotateAccountCredentialsInput;
}>;


export type RotateCredentialsMutation = { rotateAccountCredentials: { position: string, account: { id: string } } };

export type PauseAccountMutationVariables = Exact<{
  id: string | number;
  reason: string;
}>;


export type PauseAccountMutation = { pauseAccount: { position: string } };

export type ResumeAccountMutationVariables = Exact<{
  id: string | number;
}>;


export type ResumeAccountMutation = { resumeAccount: { position: string } };

export type DisconnectAccountMutationVariables = Exact<{
  id: string | number;
  reason: string;
}>;


export type DisconnectAccountMutation = { disconnectAccount: { position: string } };

export type TestAccountMutationVariables = Exact<{
  id: string | number;
  phone: string;
}>;


export type TestAccountMutation = { testAccount: { position: string, account: { id: string, loopTest: { startedAt: string, expiresAt: string, state: LoopTestState, inboundAt: string | null, acceptedAt: string | null, deliveredAt: string | null, message: { id: string, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, failure: { code: number | null, title: string, details: string | null } | null } | null } | null } } };

export type LoopTestQueryVariables = Exact<{
  id: string | number;
  minPosition?: string | null | undefined;
}>;


export type LoopTestQuery = { account: { id: string, loopTest: { startedAt: string, expiresAt: string, state: LoopTestState, inboundAt: string | null, acceptedAt: string | null, deliveredAt: string | null, message: { id: string, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, failure: { code: number | null, title: string, details: string | null } | null } | null } | null } | null };

export type CampaignRowFragment = { id: string, name: string, accountId: string, status: CampaignStatus, awaitsApproval: boolean, statusReason: string | null, waitingFor: string | null, createdAt: string, startedAt: string | null, startAt: string | null, completedAt: string | null, schedule: { startAt: string, timeZone: string, recipientLocal: boolean, recurrence: string | null } | null, progress: { recipients: number, pending: number, accepted: number, delivered: number, read: number, failed: number, skipped: number, messagesPerSecond: number } };

export type CampaignsQueryVariables = Exact<{
  filter?: CampaignFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type CampaignsQuery = { campaigns: { nodes: Array<{ id: string, name: string, accountId: string, status: CampaignStatus, awaitsApproval: boolean, statusReason: string | null, waitingFor: string | null, createdAt: string, startedAt: string | null, startAt: string | null, completedAt: string | null, schedule: { startAt: string, timeZone: string, recipientLocal: boolean, recurrence: string | null } | null, progress: { recipients: number, pending: number, accepted: number, delivered: number, read: number, failed: number, skipped: number, messagesPerSecond: number } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type CampaignQueryVariables = Exact<{
  id: string | number;
  asOf?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type CampaignQuery = { campaign: { id: string, name: string, externalId: string | null, accountId: string, status: CampaignStatus, awaitsApproval: boolean, statusReason: string | null, waitingFor: string | null, maxRecipients: number | null, maxCost: string | null, parameters: unknown, messagesPerSecond: number | null, timeToLive: number | null, startAt: string | null, createdAt: string, startedAt: string | null, completedAt: string | null, audience: { all: boolean, segmentIds: Array<string>, contactIds: Array<string>, tags: Array<string>, exclude: { segmentIds: Array<string>, contactIds: Array<string>, tags: Array<string> } | null }, schedule: { startAt: string, timeZone: string, recipientLocal: boolean, whenPast: WhenPast, recurrence: string | null, sendWindow: { from: string, to: string } | null } | null, frequencyCap: { messages: number, hours: number } | null, account: { id: string, name: string, timeZone: string, status: AccountStatus, phoneNumber: string | null, messagesPerSecond: number, quietHours: { from: string, to: string } | null, reach: { limit: number | null, used: number, resetsAt: string | null } } | null, template: { id: string, accountId: string, name: string, language: string, category: TemplateCategory, status: TemplateStatus, statusReason: string | null, quality: QualityRating, components: unknown, parameters: Array<string>, createdAt: string }, cancellation: { left: number, stopped: number } | null, progress: { campaignId: string, status: CampaignStatus, recipients: number, pending: number, accepted: number, sent: number, delivered: number, read: number, replied: number, clicked: number, optedOut: number, failed: number, cancelled: number, skipped: number, inDoubt: number, messagesPerSecond: number, estimatedCompletion: string | null, buttons: Array<{ label: string, count: number }>, skips: Array<{ reason: SkipReason, count: number }>, failures: Array<{ code: number | null, title: string, count: number }>, cost: { amount: string | null, currency: string, estimated: boolean } | null } } | null };

export type CampaignMessagesQueryVariables = Exact<{
  id: string | number;
  status?: Array<MessageStatus> | MessageStatus | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type CampaignMessagesQuery = { messages: { nodes: Array<{ id: string, accountId: string, campaignId: string | null, contactId: string | null, direction: MessageDirection, to: string | null, from: string | null, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, createdAt: string, dueAt: string | null, isTest: boolean, failure: { code: number | null, title: string } | null, contact: { id: string, name: string | null } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type CampaignHistoryQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type CampaignHistoryQuery = { campaign: { id: string, history: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type CampaignCurveQueryVariables = Exact<{
  id: string | number;
}>;


export type CampaignCurveQuery = { campaign: { id: string, progressOverTime: Array<{ at: string, queued: number, accepted: number, delivered: number, read: number, failed: number }> } | null };

export type CampaignRecordQueryVariables = Exact<{
  id: string | number;
  after?: string | null | undefined;
}>;


export type CampaignRecordQuery = { campaign: { id: string, history: { edges: Array<{ cursor: string, node: { position: string, sequence: number } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type ForecastQueryVariables = Exact<{
  id: string | number;
}>;


export type ForecastQuery = { campaignForecast: { recipients: number, toSend: number, expired: number, firstSendAt: string | null, lastSendAt: string | null, limitedBy: string | null, warnings: Array<string>, asOf: string, skipped: Array<{ reason: SkipReason, count: number }>, cost: { amount: string | null, currency: string, estimated: boolean } | null, zones: Array<{ timeZone: string, source: string, count: number, firstSendAt: string | null }>, sample: Array<{ contactId: string, sendAt: string, localTime: string, timeZone: string, preview: string }> } };

export type CampaignProgressSubscriptionVariables = Exact<{
  id: string | number;
}>;


export type CampaignProgressSubscription = { campaignProgress: { campaignId: string, status: CampaignStatus, recipients: number, pending: number, accepted: number, sent: number, delivered: number, read: number, replied: number, clicked: number, optedOut: number, failed: number, cancelled: number, skipped: number, inDoubt: number, messagesPerSecond: number, estimatedCompletion: string | null, buttons: Array<{ label: string, count: number }>, skips: Array<{ reason: SkipReason, count: number }>, failures: Array<{ code: number | null, title: string, count: number }>, cost: { amount: string | null, currency: string, estimated: boolean } | null } };

export type CreateCampaignMutationVariables = Exact<{
  input: CreateCampaignInput;
}>;


export type CreateCampaignMutation = { createCampaign: { position: string, campaign: { id: string } } };

export type UpdateCampaignMutationVariables = Exact<{
  input: UpdateCampaignInput;
}>;


export type UpdateCampaignMutation = { updateCampaign: { position: string, campaign: { id: string } } };

export type LaunchCampaignMutationVariables = Exact<{
  id: string | number;
  maxRecipients?: number | null | undefined;
  idempotencyKey?: string | null | undefined;
}>;


export type LaunchCampaignMutation = { launchCampaign: { position: string, campaign: { id: string, status: CampaignStatus, awaitsApproval: boolean } } };

export type ApproveCampaignMutationVariables = Exact<{
  id: string | number;
}>;


export type ApproveCampaignMutation = { approveCampaign: { position: string } };

export type CloneCampaignMutationVariables = Exact<{
  id: string | number;
  name?: string | null | undefined;
}>;


export type CloneCampaignMutation = { cloneCampaign: { position: string, campaign: { id: string } } };

export type DeleteCampaignMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteCampaignMutation = { deleteCampaign: { position: string } };

export type PauseCampaignMutationVariables = Exact<{
  id: string | number;
  reason?: string | null | undefined;
}>;


export type PauseCampaignMutation = { pauseCampaign: { position: string } };

export type ResumeCampaignMutationVariables = Exact<{
  id: string | number;
}>;


export type ResumeCampaignMutation = { resumeCampaign: { position: string } };

export type CancelCampaignMutationVariables = Exact<{
  id: string | number;
  reason?: string | null | undefined;
}>;


export type CancelCampaignMutation = { cancelCampaign: { position: string } };

export type RetryCampaignMutationVariables = Exact<{
  id: string | number;
  scope: RetryScope;
}>;


export type RetryCampaignMutation = { retryCampaign: { position: string } };

export type TestCampaignMutationVariables = Exact<{
  id: string | number;
  to: string;
  idempotencyKey?: string | null | undefined;
}>;


export type TestCampaignMutation = { testCampaign: { position: string, message: { id: string, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null } } };

export type PageFragment = { hasNextPage: boolean, endCursor: string | null };

export type EventFieldsFragment = { position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } };

export type ProgressFieldsFragment = { campaignId: string, status: CampaignStatus, recipients: number, pending: number, accepted: number, sent: number, delivered: number, read: number, replied: number, clicked: number, optedOut: number, failed: number, cancelled: number, skipped: number, inDoubt: number, messagesPerSecond: number, estimatedCompletion: string | null, buttons: Array<{ label: string, count: number }>, skips: Array<{ reason: SkipReason, count: number }>, failures: Array<{ code: number | null, title: string, count: number }>, cost: { amount: string | null, currency: string, estimated: boolean } | null };

export type ViewerQueryVariables = Exact<{ [key: string]: never; }>;


export type ViewerQuery = { viewer: { kind: ActorKind, id: string, name: string | null, scopes: Array<Scope>, workspaceIds: Array<string> | null, accountIds: Array<string> | null }, workspaces: Array<{ id: string, name: string, approvalThreshold: number | null }> };

export type ContactRowFragment = { id: string, name: string | null, phoneNumber: string | null, userId: string | null, externalId: string | null, language: string | null, timeZone: string | null, tags: Array<string>, createdAt: string | null, erased: boolean, consent: { status: ConsentStatus, source: string | null, recordedAt: string | null } };

export type ContactsQueryVariables = Exact<{
  filter?: ContactFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ContactsQuery = { contacts: { nodes: Array<{ id: string, name: string | null, phoneNumber: string | null, userId: string | null, externalId: string | null, language: string | null, timeZone: string | null, tags: Array<string>, createdAt: string | null, erased: boolean, consent: { status: ConsentStatus, source: string | null, recordedAt: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type ContactCountQueryVariables = Exact<{
  filter?: ContactFilter | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ContactCountQuery = { contacts: { totalCount: number, totalCountExact: boolean } };

export type ContactQueryVariables = Exact<{
  id: string | number;
  asOf?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ContactQuery = { contact: { username: string | null, otherPhoneNumbers: Array<string>, otherExternalIds: Array<string>, attributes: unknown, mergedIntoId: string | null, id: string, name: string | null, phoneNumber: string | null, userId: string | null, externalId: string | null, language: string | null, timeZone: string | null, tags: Array<string>, createdAt: string | null, erased: boolean, consent: { status: ConsentStatus, source: string | null, recordedAt: string | null, categories: Array<{ category: TemplateCategory, status: ConsentStatus, source: string | null, evidence: string | null, recordedAt: string }> } } | null };

export type ContactNameQueryVariables = Exact<{
  id: string | number;
}>;


export type ContactNameQuery = { contact: { id: string, name: string | null, phoneNumber: string | null, erased: boolean } | null };

export type ContactMessagesQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ContactMessagesQuery = { messages: { nodes: Array<{ id: string, accountId: string, campaignId: string | null, contactId: string | null, direction: MessageDirection, to: string | null, from: string | null, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, createdAt: string, dueAt: string | null, isTest: boolean, failure: { code: number | null, title: string } | null, contact: { id: string, name: string | null } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type ContactHistoryQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type ContactHistoryQuery = { contact: { id: string, history: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type AddContactMutationVariables = Exact<{
  input: AddContactInput;
}>;


export type AddContactMutation = { addContact: { position: string, contact: { id: string } } };

export type UpdateContactMutationVariables = Exact<{
  input: UpdateContactInput;
}>;


export type UpdateContactMutation = { updateContact: { position: string } };

export type RecordConsentMutationVariables = Exact<{
  input: RecordConsentInput;
}>;


export type RecordConsentMutation = { recordConsent: { position: string } };

export type MergeContactsMutationVariables = Exact<{
  keep: string | number;
  merge: string | number;
}>;


export type MergeContactsMutation = { mergeContacts: { position: string, contact: { id: string } } };

export type EraseContactMutationVariables = Exact<{
  id: string | number;
  reason: string;
}>;


export type EraseContactMutation = { eraseContact: { position: string } };

export type ImportFieldsFragment = { id: string, status: ImportStatus, reason: string | null, dryRun: boolean, rows: number, added: number, updated: number, rejected: number, errorsTruncated: boolean, startedAt: string | null, undoneAt: string | null };

export type ImportQueryVariables = Exact<{
  id: string | number;
  minPosition?: string | null | undefined;
}>;


export type ImportQuery = { import: { id: string, status: ImportStatus, reason: string | null, dryRun: boolean, rows: number, added: number, updated: number, rejected: number, errorsTruncated: boolean, startedAt: string | null, undoneAt: string | null, errors: Array<{ row: number, column: string | null, message: string }> } | null };

export type ImportsQueryVariables = Exact<{
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ImportsQuery = { imports: { nodes: Array<{ id: string, status: ImportStatus, reason: string | null, dryRun: boolean, rows: number, added: number, updated: number, rejected: number, errorsTruncated: boolean, startedAt: string | null, undoneAt: string | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type ImportContactsMutationVariables = Exact<{
  input: ImportContactsInput;
}>;


export type ImportContactsMutation = { importContacts: { position: string, import: { id: string } } };

export type UndoImportMutationVariables = Exact<{
  id: string | number;
}>;


export type UndoImportMutation = { undoImport: { position: string, import: { id: string } } };

export type SegmentsQueryVariables = Exact<{
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type SegmentsQuery = { segments: { nodes: Array<{ id: string, name: string, rule: unknown, size: number }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type SegmentQueryVariables = Exact<{
  id: string | number;
  minPosition?: string | null | undefined;
}>;


export type SegmentQuery = { segment: { id: string, name: string, rule: unknown, size: number } | null };

export type SegmentHistoryQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type SegmentHistoryQuery = { segment: { id: string, history: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type AudiencePreviewQueryVariables = Exact<{
  audience: AudienceInput;
}>;


export type AudiencePreviewQuery = { audiencePreview: { count: number, sample: Array<{ id: string, name: string | null, phoneNumber: string | null, tags: Array<string> }> } };

export type TagsQueryVariables = Exact<{
  search?: string | null | undefined;
  first?: number | null | undefined;
}>;


export type TagsQuery = { tags: Array<{ tag: string, count: number }> };

export type PreviewSegmentQueryVariables = Exact<{
  rule: unknown;
}>;


export type PreviewSegmentQuery = { previewSegment: { count: number, sample: Array<{ id: string, name: string | null, phoneNumber: string | null, tags: Array<string> }> } };

export type CreateSegmentMutationVariables = Exact<{
  input: CreateSegmentInput;
}>;


export type CreateSegmentMutation = { createSegment: { position: string, segment: { id: string } } };

export type UpdateSegmentMutationVariables = Exact<{
  id: string | number;
  name?: string | null | undefined;
  rule?: unknown;
}>;


export type UpdateSegmentMutation = { updateSegment: { position: string } };

export type DeleteSegmentMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteSegmentMutation = { deleteSegment: { position: string } };

export type EventsQueryVariables = Exact<{
  after?: string | null | undefined;
  filter?: EventFilter | null | undefined;
  first?: number | null | undefined;
}>;


export type EventsQuery = { events: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type FollowEventsSubscriptionVariables = Exact<{
  after?: string | null | undefined;
  filter?: EventFilter | null | undefined;
}>;


export type FollowEventsSubscription = { events: { position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } } };

export type ApiKeysQueryVariables = Exact<{
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ApiKeysQuery = { apiKeys: { nodes: Array<{ id: string, name: string, scopes: Array<Scope>, workspaceIds: Array<string> | null, accountIds: Array<string> | null, createdAt: string, lastUsedAt: string | null, expiresAt: string | null, revokedAt: string | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type CreateApiKeyMutationVariables = Exact<{
  input: CreateApiKeyInput;
}>;


export type CreateApiKeyMutation = { createApiKey: { position: string, secret: string, apiKey: { id: string, name: string } } };

export type RevokeApiKeyMutationVariables = Exact<{
  id: string | number;
}>;


export type RevokeApiKeyMutation = { revokeApiKey: { position: string } };

export type EndpointRowFragment = { id: string, url: string, types: Array<string>, accountIds: Array<string> | null, batch: boolean, eventsPerSecond: number | null, enabled: boolean, status: WebhookEndpointStatus, pauseReason: WebhookPauseReason | null, includePersonal: boolean, createdAt: string, deliveredPosition: string, lag: number, previousSecretUntil: string | null, replay: { after: string, until: string } | null, lastFailure: { at: string, status: number | null, error: string, nextAttemptAt: string | null } | null };

export type WebhookEndpointsQueryVariables = Exact<{
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type WebhookEndpointsQuery = { webhookEndpoints: { nodes: Array<{ id: string, url: string, types: Array<string>, accountIds: Array<string> | null, batch: boolean, eventsPerSecond: number | null, enabled: boolean, status: WebhookEndpointStatus, pauseReason: WebhookPauseReason | null, includePersonal: boolean, createdAt: string, deliveredPosition: string, lag: number, previousSecretUntil: string | null, replay: { after: string, until: string } | null, lastFailure: { at: string, status: number | null, error: string, nextAttemptAt: string | null } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type WebhookEndpointQueryVariables = Exact<{
  id: string | number;
  minPosition?: string | null | undefined;
}>;


export type WebhookEndpointQuery = { webhookEndpoint: { id: string, url: string, types: Array<string>, accountIds: Array<string> | null, batch: boolean, eventsPerSecond: number | null, enabled: boolean, status: WebhookEndpointStatus, pauseReason: WebhookPauseReason | null, includePersonal: boolean, createdAt: string, deliveredPosition: string, lag: number, previousSecretUntil: string | null, replay: { after: string, until: string } | null, lastFailure: { at: string, status: number | null, error: string, nextAttemptAt: string | null } | null } | null };

export type WebhookDeliveriesQueryVariables = Exact<{
  id: string | number;
  failedOnly?: boolean | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type WebhookDeliveriesQuery = { webhookEndpoint: { id: string, deliveries: { nodes: Array<{ id: string, eventPosition: string, eventId: string, events: number, attempt: number, isReplay: boolean, status: number | null, error: string | null, latencyMs: number, at: string, response: string | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type CreateWebhookEndpointMutationVariables = Exact<{
  input: CreateWebhookEndpointInput;
}>;


export type CreateWebhookEndpointMutation = { createWebhookEndpoint: { position: string, secret: string | null, endpoint: { id: string } } };

export type UpdateWebhookEndpointMutationVariables = Exact<{
  input: UpdateWebhookEndpointInput;
}>;


export type UpdateWebhookEndpointMutation = { updateWebhookEndpoint: { position: string } };

export type RotateWebhookSecretMutationVariables = Exact<{
  id: string | number;
}>;


export type RotateWebhookSecretMutation = { rotateWebhookSecret: { position: string, secret: string | null } };

export type ReplayWebhookMutationVariables = Exact<{
  id: string | number;
  after: string;
  recordedFrom?: string | null | undefined;
}>;


export type ReplayWebhookMutation = { replayWebhook: { position: string } };

export type ResendWebhookMutationVariables = Exact<{
  id: string | number;
  eventPosition: string;
}>;


export type ResendWebhookMutation = { resendWebhook: { position: string } };

export type DeleteWebhookEndpointMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteWebhookEndpointMutation = { deleteWebhookEndpoint: { position: string } };

export type SettingsQueryVariables = Exact<{
  minPosition?: string | null | undefined;
}>;


export type SettingsQuery = { rateCard: { workspaceId: string, rates: Array<{ countries: Array<string>, category: BillingCategory, currency: string, amount: string, validFrom: string }> }, projections: Array<{ name: string, position: string, lag: number, status: ProjectionStatus, rebuildProgress: number | null }> };

export type UpdateWorkspaceMutationVariables = Exact<{
  input: UpdateWorkspaceInput;
}>;


export type UpdateWorkspaceMutation = { updateWorkspace: { position: string } };

export type SetRateCardMutationVariables = Exact<{
  input: SetRateCardInput;
}>;


export type SetRateCardMutation = { setRateCard: { position: string } };

export type RebuildProjectionMutationVariables = Exact<{
  name: string;
}>;


export type RebuildProjectionMutation = { rebuildProjection: { projection: { name: string, status: ProjectionStatus } } };

export type HomeCountsQueryVariables = Exact<{ [key: string]: never; }>;


export type HomeCountsQuery = { contacts: { nodes: Array<{ id: string }> }, templates: { nodes: Array<{ id: string }> }, approved: { nodes: Array<{ id: string }> }, outbound: { nodes: Array<{ id: string }> }, campaigns: { nodes: Array<{ id: string }> }, webhookEndpoints: { nodes: Array<{ id: string }> }, loops: { nodes: Array<{ id: string, status: AccountStatus, loopTest: { state: LoopTestState } | null }> } };

export type DueNextQueryVariables = Exact<{ [key: string]: never; }>;


export type DueNextQuery = { running: { nodes: Array<{ id: string, name: string, accountId: string, status: CampaignStatus, awaitsApproval: boolean, statusReason: string | null, waitingFor: string | null, createdAt: string, startedAt: string | null, startAt: string | null, completedAt: string | null, schedule: { startAt: string, timeZone: string, recipientLocal: boolean, recurrence: string | null } | null, progress: { recipients: number, pending: number, accepted: number, delivered: number, read: number, failed: number, skipped: number, messagesPerSecond: number } }> }, scheduled: { nodes: Array<{ id: string, name: string, accountId: string, status: CampaignStatus, awaitsApproval: boolean, statusReason: string | null, waitingFor: string | null, createdAt: string, startedAt: string | null, startAt: string | null, completedAt: string | null, schedule: { startAt: string, timeZone: string, recipientLocal: boolean, recurrence: string | null } | null, progress: { recipients: number, pending: number, accepted: number, delivered: number, read: number, failed: number, skipped: number, messagesPerSecond: number } }> }, drafts: { nodes: Array<{ id: string, name: string, accountId: string, status: CampaignStatus, awaitsApproval: boolean, statusReason: string | null, waitingFor: string | null, createdAt: string, startedAt: string | null, startAt: string | null, completedAt: string | null, schedule: { startAt: string, timeZone: string, recipientLocal: boolean, recurrence: string | null } | null, progress: { recipients: number, pending: number, accepted: number, delivered: number, read: number, failed: number, skipped: number, messagesPerSecond: number } }> } };

export type ConversationRowFragment = { id: string, workspaceId: string, accountId: string, handling: ConversationHandling, assignedTo: string | null, windowExpiresAt: string | null, unread: number, lastActivityAt: string, openedAt: string, contact: { id: string, name: string | null, phoneNumber: string | null, userId: string | null, externalId: string | null, language: string | null, timeZone: string | null, tags: Array<string>, createdAt: string | null, erased: boolean, consent: { status: ConsentStatus, source: string | null, recordedAt: string | null } }, lastMessage: { id: string, direction: MessageDirection, preview: string | null, status: MessageStatus, createdAt: string } | null };

export type ThreadMessageFragment = { id: string, accountId: string, contactId: string | null, campaignId: string | null, templateId: string | null, direction: MessageDirection, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, content: unknown, wamid: string | null, isTest: boolean, createdAt: string, failure: { code: number | null, title: string, details: string | null, retryable: boolean } | null, campaign: { id: string, name: string } | null };

export type ConversationsQueryVariables = Exact<{
  filter?: ConversationFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ConversationsQuery = { conversations: { nodes: Array<{ id: string, workspaceId: string, accountId: string, handling: ConversationHandling, assignedTo: string | null, windowExpiresAt: string | null, unread: number, lastActivityAt: string, openedAt: string, contact: { id: string, name: string | null, phoneNumber: string | null, userId: string | null, externalId: string | null, language: string | null, timeZone: string | null, tags: Array<string>, createdAt: string | null, erased: boolean, consent: { status: ConsentStatus, source: string | null, recordedAt: string | null } }, lastMessage: { id: string, direction: MessageDirection, preview: string | null, status: MessageStatus, createdAt: string } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type UnreadConversationsQueryVariables = Exact<{
  minPosition?: string | null | undefined;
}>;


export type UnreadConversationsQuery = { conversations: { totalCount: number, totalCountExact: boolean } };

export type ConversationQueryVariables = Exact<{
  id: string | number;
  minPosition?: string | null | undefined;
}>;


export type ConversationQuery = { conversation: { id: string, workspaceId: string, accountId: string, handling: ConversationHandling, assignedTo: string | null, windowExpiresAt: string | null, unread: number, lastActivityAt: string, openedAt: string, contact: { id: string, name: string | null, phoneNumber: string | null, userId: string | null, externalId: string | null, language: string | null, timeZone: string | null, tags: Array<string>, createdAt: string | null, erased: boolean, consent: { status: ConsentStatus, source: string | null, recordedAt: string | null } }, lastMessage: { id: string, direction: MessageDirection, preview: string | null, status: MessageStatus, createdAt: string } | null } | null };

export type ThreadQueryVariables = Exact<{
  id: string | number;
  last?: number | null | undefined;
  before?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type ThreadQuery = { conversation: { id: string, messages: { nodes: Array<{ id: string, accountId: string, contactId: string | null, campaignId: string | null, templateId: string | null, direction: MessageDirection, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, content: unknown, wamid: string | null, isTest: boolean, createdAt: string, failure: { code: number | null, title: string, details: string | null, retryable: boolean } | null, campaign: { id: string, name: string } | null }>, pageInfo: { hasPreviousPage: boolean, startCursor: string | null } } } | null };

export type ConversationHistoryQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type ConversationHistoryQuery = { conversation: { id: string, history: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type ConversationActivitySubscriptionVariables = Exact<{
  accountId?: string | number | null | undefined;
}>;


export type ConversationActivitySubscription = { conversationActivity: { id: string, accountId: string, contactId: string | null, campaignId: string | null, templateId: string | null, direction: MessageDirection, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, content: unknown, wamid: string | null, isTest: boolean, createdAt: string, contact: { id: string, name: string | null } | null, failure: { code: number | null, title: string, details: string | null, retryable: boolean } | null, campaign: { id: string, name: string } | null } };

export type ReplyToConversationMutationVariables = Exact<{
  input: ReplyInput;
}>;


export type ReplyToConversationMutation = { replyToConversation: { position: string, message: { id: string, accountId: string, contactId: string | null, campaignId: string | null, templateId: string | null, direction: MessageDirection, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, content: unknown, wamid: string | null, isTest: boolean, createdAt: string, failure: { code: number | null, title: string, details: string | null, retryable: boolean } | null, campaign: { id: string, name: string } | null } } };

export type MarkConversationReadMutationVariables = Exact<{
  id: string | number;
  upTo?: string | number | null | undefined;
  showReceipt?: boolean | null | undefined;
}>;


export type MarkConversationReadMutation = { markConversationRead: { position: string, conversation: { id: string, unread: number } } };

export type AssignConversationMutationVariables = Exact<{
  id: string | number;
  userId?: string | number | null | undefined;
}>;


export type AssignConversationMutation = { assignConversation: { position: string, conversation: { id: string, assignedTo: string | null } } };

export type SetConversationHandlingMutationVariables = Exact<{
  id: string | number;
  handling: ConversationHandling;
}>;


export type SetConversationHandlingMutation = { setConversationHandling: { position: string, conversation: { id: string, handling: ConversationHandling } } };

export type MessageRowFragment = { id: string, accountId: string, campaignId: string | null, contactId: string | null, direction: MessageDirection, to: string | null, from: string | null, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, createdAt: string, dueAt: string | null, isTest: boolean, failure: { code: number | null, title: string } | null, contact: { id: string, name: string | null } | null };

export type MessagesQueryVariables = Exact<{
  filter?: MessageFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type MessagesQuery = { messages: { nodes: Array<{ id: string, accountId: string, campaignId: string | null, contactId: string | null, direction: MessageDirection, to: string | null, from: string | null, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, createdAt: string, dueAt: string | null, isTest: boolean, failure: { code: number | null, title: string } | null, contact: { id: string, name: string | null } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type MessageCountsQueryVariables = Exact<{
  from: string;
}>;


export type MessageCountsQuery = { counts: { recipients: number, pending: number, accepted: number, delivered: number, read: number, failed: number, skipped: number }, received: { totalCount: number, totalCountExact: boolean } };

export type MessageQueryVariables = Exact<{
  id: string | number;
  asOf?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type MessageQuery = { message: { externalId: string | null, metadata: unknown, templateId: string | null, wamid: string | null, content: unknown, attempts: number, pricing: unknown, acceptedAt: string | null, sentAt: string | null, deliveredAt: string | null, readAt: string | null, repliedAt: string | null, clickedAt: string | null, failedAt: string | null, id: string, accountId: string, campaignId: string | null, contactId: string | null, direction: MessageDirection, to: string | null, from: string | null, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null, preview: string | null, createdAt: string, dueAt: string | null, isTest: boolean, failure: { code: number | null, title: string, details: string | null, retryable: boolean } | null, account: { id: string, name: string, timeZone: string } | null, launchedBy: { kind: ActorKind, id: string, name: string | null } | null, campaign: { id: string, name: string } | null, contact: { id: string, name: string | null } | null } | null };

export type MessageHistoryQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type MessageHistoryQuery = { message: { id: string, history: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type SendMessageMutationVariables = Exact<{
  input: SendMessageInput;
}>;


export type SendMessageMutation = { sendMessage: { position: string, message: { id: string, status: MessageStatus, statusReason: string | null, skipReason: SkipReason | null } } };

export type RescheduleMessageMutationVariables = Exact<{
  id: string | number;
  sendAt: string;
}>;


export type RescheduleMessageMutation = { rescheduleMessage: { position: string } };

export type CancelMessageMutationVariables = Exact<{
  id: string | number;
  reason?: string | null | undefined;
}>;


export type CancelMessageMutation = { cancelMessage: { position: string } };

export type ResolveInDoubtMutationVariables = Exact<{
  id: string | number;
  resolution: InDoubtResolution;
}>;


export type ResolveInDoubtMutation = { resolveInDoubt: { position: string } };

export type UserRowFragment = { id: string, email: string, name: string, role: Role, workspaceIds: Array<string> | null, accountIds: Array<string> | null, hasSecondFactor: boolean, invitedAt: string, joinedAt: string | null, signedInAt: string | null, suspendedAt: string | null };

export type UsersQueryVariables = Exact<{
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type UsersQuery = { users: { nodes: Array<{ id: string, email: string, name: string, role: Role, workspaceIds: Array<string> | null, accountIds: Array<string> | null, hasSecondFactor: boolean, invitedAt: string, joinedAt: string | null, signedInAt: string | null, suspendedAt: string | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type InviteUserMutationVariables = Exact<{
  input: InviteUserInput;
}>;


export type InviteUserMutation = { inviteUser: { position: string, link: string, user: { id: string, email: string, name: string, role: Role, workspaceIds: Array<string> | null, accountIds: Array<string> | null, hasSecondFactor: boolean, invitedAt: string, joinedAt: string | null, signedInAt: string | null, suspendedAt: string | null } } };

export type UpdateUserMutationVariables = Exact<{
  input: UpdateUserInput;
}>;


export type UpdateUserMutation = { updateUser: { position: string } };

export type ResetUserMutationVariables = Exact<{
  id: string | number;
}>;


export type ResetUserMutation = { resetUser: { position: string, link: string, user: { id: string, email: string, name: string, role: Role, workspaceIds: Array<string> | null, accountIds: Array<string> | null, hasSecondFactor: boolean, invitedAt: string, joinedAt: string | null, signedInAt: string | null, suspendedAt: string | null } } };

export type SuspendUserMutationVariables = Exact<{
  id: string | number;
}>;


export type SuspendUserMutation = { suspendUser: { position: string } };

export type ReinstateUserMutationVariables = Exact<{
  id: string | number;
}>;


export type ReinstateUserMutation = { reinstateUser: { position: string } };

export type RevokeUserSessionsMutationVariables = Exact<{
  id: string | number;
}>;


export type RevokeUserSessionsMutation = { revokeUserSessions: { position: string } };

export type RemoveUserMutationVariables = Exact<{
  id: string | number;
}>;


export type RemoveUserMutation = { removeUser: { position: string } };

export type TemplateRowFragment = { id: string, accountId: string, name: string, language: string, category: TemplateCategory, status: TemplateStatus, statusReason: string | null, quality: QualityRating, components: unknown, parameters: Array<string>, createdAt: string };

export type TemplatesQueryVariables = Exact<{
  filter?: TemplateFilter | null | undefined;
  first?: number | null | undefined;
  after?: string | null | undefined;
  minPosition?: string | null | undefined;
}>;


export type TemplatesQuery = { templates: { nodes: Array<{ id: string, accountId: string, name: string, language: string, category: TemplateCategory, status: TemplateStatus, statusReason: string | null, quality: QualityRating, components: unknown, parameters: Array<string>, createdAt: string }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type TemplateQueryVariables = Exact<{
  id: string | number;
  minPosition?: string | null | undefined;
}>;


export type TemplateQuery = { template: { id: string, accountId: string, name: string, language: string, category: TemplateCategory, status: TemplateStatus, statusReason: string | null, quality: QualityRating, components: unknown, parameters: Array<string>, createdAt: string } | null };

export type TemplateHistoryQueryVariables = Exact<{
  id: string | number;
  first?: number | null | undefined;
  after?: string | null | undefined;
}>;


export type TemplateHistoryQuery = { template: { id: string, history: { nodes: Array<{ position: string, id: string, type: string, version: number, aggregateType: string, aggregateId: string, sequence: number, accountId: string | null, occurredAt: string, recordedAt: string, correlationId: string, causationId: string | null, data: unknown, actor: { kind: ActorKind, id: string, name: string | null } }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } } | null };

export type CreateTemplateMutationVariables = Exact<{
  input: CreateTemplateInput;
}>;


export type CreateTemplateMutation = { createTemplate: { position: string, template: { id: string } } };

export type UpdateTemplateMutationVariables = Exact<{
  input: UpdateTemplateInput;
}>;


export type UpdateTemplateMutation = { updateTemplate: { position: string, template: { id: string } } };

export type SubmitTemplateMutationVariables = Exact<{
  id: string | number;
}>;


export type SubmitTemplateMutation = { submitTemplate: { position: string, template: { id: string } } };

export type DeleteTemplateMutationVariables = Exact<{
  id: string | number;
}>;


export type DeleteTemplateMutation = { deleteTemplate: { position: string } };

export type SyncTemplatesMutationVariables = Exact<{
  accountId: string | number;
}>;


export type SyncTemplatesMutation = { syncTemplates: { added: number, changed: number, removed: number, position: string } };

export type UploadTemplateSampleMutationVariables = Exact<{
  accountId: string | number;
  fileName: string;
  mimeType: string;
  data: string;
}>;


export type UploadTemplateSampleMutation = { uploadTemplateSample: { handle: string } };

export class TypedDocumentString<TResult, TVariables>
  extends String
  implements DocumentTypeDecoration<TResult, TVariables>
{
  __apiType?: NonNullable<DocumentTypeDecoration<TResult, TVariables>['__apiType']>;
  private value: string;
  public __meta__?: Record<string, any> | undefined;

  constructor(value: string, __meta__?: Record<string, any> | undefined) {
    super(value);
    this.value = value;
    this.__meta__ = __meta__;
  }

  override toString(): string & DocumentTypeDecoration<TResult, TVariables> {
    return this.value;
  }
}
export const AccountRowFragmentDoc = new TypedDocumentString(`
    fragment AccountRow on Account {
  id
  workspaceId
  name
  provider
  status
  statusReason
  pausedUntil
  phoneNumber
  verifiedName
  timeZone
  defaultRegion
  qualityRating
  messagesPerSecond
  connectedAt
  reach {
    limit
    used
    resetsAt
  }
  health {
    check
    ok
    at
    detail
    remedy
  }
}
    `, {"fragmentName":"AccountRow"}) as unknown as TypedDocumentString<AccountRowFragment, unknown>;
export const LoopTestFieldsFragmentDoc = new TypedDocumentString(`
    fragment LoopTestFields on LoopTest {
  startedAt
  expiresAt
  state
  inboundAt
  acceptedAt
  deliveredAt
  message {
    id
    status
    statusReason
    skipReason
    failure {
      code
      title
      details
    }
  }
}
    `, {"fragmentName":"LoopTestFields"}) as unknown as TypedDocumentString<LoopTestFieldsFragment, unknown>;
export const CampaignRowFragmentDoc = new TypedDocumentString(`
    fragment CampaignRow on Campaign {
  id
  name
  accountId
  status
  awaitsApproval
  statusReason
  waitingFor
  createdAt
  startedAt
  startAt
  completedAt
  schedule {
    startAt
    timeZone
    recipientLocal
    recurrence
  }
  progress {
    recipients
    pending
    accepted
    delivered
    read
    failed
    skipped
    messagesPerSecond
  }
}
    `, {"fragmentName":"CampaignRow"}) as unknown as TypedDocumentString<CampaignRowFragment, unknown>;
export const PageFragmentDoc = new TypedDocumentString(`
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
    `, {"fragmentName":"Page"}) as unknown as TypedDocumentString<PageFragment, unknown>;
export const EventFieldsFragmentDoc = new TypedDocumentString(`
    fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}
    `, {"fragmentName":"EventFields"}) as unknown as TypedDocumentString<EventFieldsFragment, unknown>;
export const ProgressFieldsFragmentDoc = new TypedDocumentString(`
    fragment ProgressFields on CampaignProgress {
  campaignId
  status
  recipients
  pending
  accepted
  sent
  delivered
  read
  replied
  clicked
  optedOut
  failed
  cancelled
  skipped
  inDoubt
  messagesPerSecond
  estimatedCompletion
  buttons {
    label
    count
  }
  skips {
    reason
    count
  }
  failures {
    code
    title
    count
  }
  cost {
    amount
    currency
    estimated
  }
}
    `, {"fragmentName":"ProgressFields"}) as unknown as TypedDocumentString<ProgressFieldsFragment, unknown>;
export const ImportFieldsFragmentDoc = new TypedDocumentString(`
    fragment ImportFields on ContactImport {
  id
  status
  reason
  dryRun
  rows
  added
  updated
  rejected
  errorsTruncated
  startedAt
  undoneAt
}
    `, {"fragmentName":"ImportFields"}) as unknown as TypedDocumentString<ImportFieldsFragment, unknown>;
export const EndpointRowFragmentDoc = new TypedDocumentString(`
    fragment EndpointRow on WebhookEndpoint {
  id
  url
  types
  accountIds
  batch
  eventsPerSecond
  enabled
  status
  pauseReason
  includePersonal
  createdAt
  deliveredPosition
  lag
  previousSecretUntil
  replay {
    after
    until
  }
  lastFailure {
    at
    status
    error
    nextAttemptAt
  }
}
    `, {"fragmentName":"EndpointRow"}) as unknown as TypedDocumentString<EndpointRowFragment, unknown>;
export const ContactRowFragmentDoc = new TypedDocumentString(`
    fragment ContactRow on Contact {
  id
  name
  phoneNumber
  userId
  externalId
  language
  timeZone
  tags
  createdAt
  erased
  consent {
    status
    source
    recordedAt
  }
}
    `, {"fragmentName":"ContactRow"}) as unknown as TypedDocumentString<ContactRowFragment, unknown>;
export const ConversationRowFragmentDoc = new TypedDocumentString(`
    fragment ConversationRow on Conversation {
  id
  workspaceId
  accountId
  handling
  assignedTo
  windowExpiresAt
  unread
  lastActivityAt
  openedAt
  contact {
    ...ContactRow
  }
  lastMessage {
    id
    direction
    preview
    status
    createdAt
  }
}
    fragment ContactRow on Contact {
  id
  name
  phoneNumber
  userId
  externalId
  language
  timeZone
  tags
  createdAt
  erased
  consent {
    status
    source
    recordedAt
  }
}`, {"fragmentName":"ConversationRow"}) as unknown as TypedDocumentString<ConversationRowFragment, unknown>;
export const ThreadMessageFragmentDoc = new TypedDocumentString(`
    fragment ThreadMessage on Message {
  id
  accountId
  contactId
  campaignId
  templateId
  direction
  status
  statusReason
  skipReason
  preview
  content
  wamid
  isTest
  createdAt
  failure {
    code
    title
    details
    retryable
  }
  campaign {
    id
    name
  }
}
    `, {"fragmentName":"ThreadMessage"}) as unknown as TypedDocumentString<ThreadMessageFragment, unknown>;
export const MessageRowFragmentDoc = new TypedDocumentString(`
    fragment MessageRow on Message {
  id
  accountId
  campaignId
  contactId
  direction
  to
  from
  status
  statusReason
  skipReason
  preview
  createdAt
  dueAt
  isTest
  failure {
    code
    title
  }
  contact {
    id
    name
  }
}
    `, {"fragmentName":"MessageRow"}) as unknown as TypedDocumentString<MessageRowFragment, unknown>;
export const UserRowFragmentDoc = new TypedDocumentString(`
    fragment UserRow on User {
  id
  email
  name
  role
  workspaceIds
  accountIds
  hasSecondFactor
  invitedAt
  joinedAt
  signedInAt
  suspendedAt
}
    `, {"fragmentName":"UserRow"}) as unknown as TypedDocumentString<UserRowFragment, unknown>;
export const TemplateRowFragmentDoc = new TypedDocumentString(`
    fragment TemplateRow on Template {
  id
  accountId
  name
  language
  category
  status
  statusReason
  quality
  components
  parameters
  createdAt
}
    `, {"fragmentName":"TemplateRow"}) as unknown as TypedDocumentString<TemplateRowFragment, unknown>;
export const AccountsDocument = new TypedDocumentString(`
    query Accounts($minPosition: Position) {
  accounts(first: 100, minPosition: $minPosition) {
    nodes {
      ...AccountRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment AccountRow on Account {
  id
  workspaceId
  name
  provider
  status
  statusReason
  pausedUntil
  phoneNumber
  verifiedName
  timeZone
  defaultRegion
  qualityRating
  messagesPerSecond
  connectedAt
  reach {
    limit
    used
    resetsAt
  }
  health {
    check
    ok
    at
    detail
    remedy
  }
}
fragment Page on PageInfo {
  hasNextPage
  endCursor
}`) as unknown as TypedDocumentString<AccountsQuery, AccountsQueryVariables>;
export const AccountDocument = new TypedDocumentString(`
    query Account($id: ID!, $minPosition: Position) {
  account(id: $id, minPosition: $minPosition) {
    ...AccountRow
    phoneNumberId
    wabaId
    portfolioId
    webhookPath
    webhookUrl
    loopTest {
      ...LoopTestFields
    }
    quietHours {
      from
      to
    }
    inDoubtPolicy {
      marketing
      utility
      authentication
      service
      graceSeconds
    }
  }
}
    fragment AccountRow on Account {
  id
  workspaceId
  name
  provider
  status
  statusReason
  pausedUntil
  phoneNumber
  verifiedName
  timeZone
  defaultRegion
  qualityRating
  messagesPerSecond
  connectedAt
  reach {
    limit
    used
    resetsAt
  }
  health {
    check
    ok
    at
    detail
    remedy
  }
}
fragment LoopTestFields on LoopTest {
  startedAt
  expiresAt
  state
  inboundAt
  acceptedAt
  deliveredAt
  message {
    id
    status
    statusReason
    skipReason
    failure {
      code
      title
      details
    }
  }
}`) as unknown as TypedDocumentString<AccountQuery, AccountQueryVariables>;
export const AccountHistoryDocument = new TypedDocumentString(`
    query AccountHistory($id: ID!, $first: Int, $after: String) {
  account(id: $id) {
    id
    history(first: $first, after: $after) {
      nodes {
        ...EventFields
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<AccountHistoryQuery, AccountHistoryQueryVariables>;
export const ProbeCredentialsDocument = new TypedDocumentString(`
    mutation ProbeCredentials($accessToken: String!, $appSecret: String) {
  probeCredentials(accessToken: $accessToken, appSecret: $appSecret) {
    ok
    permissions
    expiresAt
    problems
    wabas {
      id
      name
      numbers {
        id
        displayPhoneNumber
        verifiedName
        qualityRating
      }
    }
  }
}
    `) as unknown as TypedDocumentString<ProbeCredentialsMutation, ProbeCredentialsMutationVariables>;
export const ConnectAccountDocument = new TypedDocumentString(`
    mutation ConnectAccount($input: ConnectAccountInput!) {
  connectAccount(input: $input) {
    position
    account {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<ConnectAccountMutation, ConnectAccountMutationVariables>;
export const UpdateAccountDocument = new TypedDocumentString(`
    mutation UpdateAccount($input: UpdateAccountInput!) {
  updateAccount(input: $input) {
    position
    account {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<UpdateAccountMutation, UpdateAccountMutationVariables>;
export const RotateCredentialsDocument = new TypedDocumentString(`
    mutation RotateCredentials($input: RotateAccountCredentialsInput!) {
  rotateAccountCredentials(input: $input) {
    position
    account {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<RotateCredentialsMutation, RotateCredentialsMutationVariables>;
export const PauseAccountDocument = new TypedDocumentString(`
    mutation PauseAccount($id: ID!, $reason: String!) {
  pauseAccount(id: $id, reason: $reason) {
    position
  }
}
    `) as unknown as TypedDocumentString<PauseAccountMutation, PauseAccountMutationVariables>;
export const ResumeAccountDocument = new TypedDocumentString(`
    mutation ResumeAccount($id: ID!) {
  resumeAccount(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<ResumeAccountMutation, ResumeAccountMutationVariables>;
export const DisconnectAccountDocument = new TypedDocumentString(`
    mutation DisconnectAccount($id: ID!, $reason: String!) {
  disconnectAccount(id: $id, reason: $reason) {
    position
  }
}
    `) as unknown as TypedDocumentString<DisconnectAccountMutation, DisconnectAccountMutationVariables>;
export const TestAccountDocument = new TypedDocumentString(`
    mutation TestAccount($id: ID!, $phone: PhoneNumber!) {
  testAccount(id: $id, phone: $phone) {
    position
    account {
      id
      loopTest {
        ...LoopTestFields
      }
    }
  }
}
    fragment LoopTestFields on LoopTest {
  startedAt
  expiresAt
  state
  inboundAt
  acceptedAt
  deliveredAt
  message {
    id
    status
    statusReason
    skipReason
    failure {
      code
      title
      details
    }
  }
}`) as unknown as TypedDocumentString<TestAccountMutation, TestAccountMutationVariables>;
export const LoopTestDocument = new TypedDocumentString(`
    query LoopTest($id: ID!, $minPosition: Position) {
  account(id: $id, minPosition: $minPosition) {
    id
    loopTest {
      ...LoopTestFields
    }
  }
}
    fragment LoopTestFields on LoopTest {
  startedAt
  expiresAt
  state
  inboundAt
  acceptedAt
  deliveredAt
  message {
    id
    status
    statusReason
    skipReason
    failure {
      code
      title
      details
    }
  }
}`) as unknown as TypedDocumentString<LoopTestQuery, LoopTestQueryVariables>;
export const CampaignsDocument = new TypedDocumentString(`
    query Campaigns($filter: CampaignFilter, $first: Int, $after: String, $minPosition: Position) {
  campaigns(
    filter: $filter
    first: $first
    after: $after
    minPosition: $minPosition
  ) {
    nodes {
      ...CampaignRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment CampaignRow on Campaign {
  id
  name
  accountId
  status
  awaitsApproval
  statusReason
  waitingFor
  createdAt
  startedAt
  startAt
  completedAt
  schedule {
    startAt
    timeZone
    recipientLocal
    recurrence
  }
  progress {
    recipients
    pending
    accepted
    delivered
    read
    failed
    skipped
    messagesPerSecond
  }
}
fragment Page on PageInfo {
  hasNextPage
  endCursor
}`) as unknown as TypedDocumentString<CampaignsQuery, CampaignsQueryVariables>;
export const CampaignDocument = new TypedDocumentString(`
    query Campaign($id: ID!, $asOf: DateTime, $minPosition: Position) {
  campaign(id: $id, asOf: $asOf, minPosition: $minPosition) {
    id
    name
    externalId
    accountId
    status
    awaitsApproval
    statusReason
    waitingFor
    maxRecipients
    maxCost
    parameters
    audience {
      all
      segmentIds
      contactIds
      tags
      exclude {
        segmentIds
        contactIds
        tags
      }
    }
    schedule {
      startAt
      timeZone
      recipientLocal
      sendWindow {
        from
        to
      }
      whenPast
      recurrence
    }
    messagesPerSecond
    frequencyCap {
      messages
      hours
    }
    timeToLive
    startAt
    createdAt
    startedAt
    completedAt
    account {
      id
      name
      timeZone
      status
      phoneNumber
      messagesPerSecond
      quietHours {
        from
        to
      }
      reach {
        limit
        used
        resetsAt
      }
    }
    template {
      ...TemplateRow
    }
    cancellation {
      left
      stopped
    }
    progress {
      ...ProgressFields
    }
  }
}
    fragment ProgressFields on CampaignProgress {
  campaignId
  status
  recipients
  pending
  accepted
  sent
  delivered
  read
  replied
  clicked
  optedOut
  failed
  cancelled
  skipped
  inDoubt
  messagesPerSecond
  estimatedCompletion
  buttons {
    label
    count
  }
  skips {
    reason
    count
  }
  failures {
    code
    title
    count
  }
  cost {
    amount
    currency
    estimated
  }
}
fragment TemplateRow on Template {
  id
  accountId
  name
  language
  category
  status
  statusReason
  quality
  components
  parameters
  createdAt
}`) as unknown as TypedDocumentString<CampaignQuery, CampaignQueryVariables>;
export const CampaignMessagesDocument = new TypedDocumentString(`
    query CampaignMessages($id: ID!, $status: [MessageStatus!], $first: Int, $after: String, $minPosition: Position) {
  messages(
    filter: {campaignIds: [$id], status: $status}
    first: $first
    after: $after
    minPosition: $minPosition
  ) {
    nodes {
      ...MessageRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment MessageRow on Message {
  id
  accountId
  campaignId
  contactId
  direction
  to
  from
  status
  statusReason
  skipReason
  preview
  createdAt
  dueAt
  isTest
  failure {
    code
    title
  }
  contact {
    id
    name
  }
}`) as unknown as TypedDocumentString<CampaignMessagesQuery, CampaignMessagesQueryVariables>;
export const CampaignHistoryDocument = new TypedDocumentString(`
    query CampaignHistory($id: ID!, $first: Int, $after: String) {
  campaign(id: $id) {
    id
    history(first: $first, after: $after) {
      nodes {
        ...EventFields
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<CampaignHistoryQuery, CampaignHistoryQueryVariables>;
export const CampaignCurveDocument = new TypedDocumentString(`
    query CampaignCurve($id: ID!) {
  campaign(id: $id) {
    id
    progressOverTime(points: 240) {
      at
      queued
      accepted
      delivered
      read
      failed
    }
  }
}
    `) as unknown as TypedDocumentString<CampaignCurveQuery, CampaignCurveQueryVariables>;
export const CampaignRecordDocument = new TypedDocumentString(`
    query CampaignRecord($id: ID!, $after: String) {
  campaign(id: $id) {
    id
    history(first: 500, after: $after) {
      edges {
        cursor
        node {
          position
          sequence
        }
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}`) as unknown as TypedDocumentString<CampaignRecordQuery, CampaignRecordQueryVariables>;
export const ForecastDocument = new TypedDocumentString(`
    query Forecast($id: ID!) {
  campaignForecast(id: $id) {
    recipients
    toSend
    expired
    firstSendAt
    lastSendAt
    limitedBy
    warnings
    asOf
    skipped {
      reason
      count
    }
    cost {
      amount
      currency
      estimated
    }
    zones {
      timeZone
      source
      count
      firstSendAt
    }
    sample(first: 5) {
      contactId
      sendAt
      localTime
      timeZone
      preview
    }
  }
}
    `) as unknown as TypedDocumentString<ForecastQuery, ForecastQueryVariables>;
export const CampaignProgressDocument = new TypedDocumentString(`
    subscription CampaignProgress($id: ID!) {
  campaignProgress(id: $id) {
    ...ProgressFields
  }
}
    fragment ProgressFields on CampaignProgress {
  campaignId
  status
  recipients
  pending
  accepted
  sent
  delivered
  read
  replied
  clicked
  optedOut
  failed
  cancelled
  skipped
  inDoubt
  messagesPerSecond
  estimatedCompletion
  buttons {
    label
    count
  }
  skips {
    reason
    count
  }
  failures {
    code
    title
    count
  }
  cost {
    amount
    currency
    estimated
  }
}`) as unknown as TypedDocumentString<CampaignProgressSubscription, CampaignProgressSubscriptionVariables>;
export const CreateCampaignDocument = new TypedDocumentString(`
    mutation CreateCampaign($input: CreateCampaignInput!) {
  createCampaign(input: $input) {
    position
    campaign {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<CreateCampaignMutation, CreateCampaignMutationVariables>;
export const UpdateCampaignDocument = new TypedDocumentString(`
    mutation UpdateCampaign($input: UpdateCampaignInput!) {
  updateCampaign(input: $input) {
    position
    campaign {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<UpdateCampaignMutation, UpdateCampaignMutationVariables>;
export const LaunchCampaignDocument = new TypedDocumentString(`
    mutation LaunchCampaign($id: ID!, $maxRecipients: Int, $idempotencyKey: String) {
  launchCampaign(
    id: $id
    maxRecipients: $maxRecipients
    idempotencyKey: $idempotencyKey
  ) {
    position
    campaign {
      id
      status
      awaitsApproval
    }
  }
}
    `) as unknown as TypedDocumentString<LaunchCampaignMutation, LaunchCampaignMutationVariables>;
export const ApproveCampaignDocument = new TypedDocumentString(`
    mutation ApproveCampaign($id: ID!) {
  approveCampaign(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<ApproveCampaignMutation, ApproveCampaignMutationVariables>;
export const CloneCampaignDocument = new TypedDocumentString(`
    mutation CloneCampaign($id: ID!, $name: String) {
  cloneCampaign(id: $id, name: $name) {
    position
    campaign {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<CloneCampaignMutation, CloneCampaignMutationVariables>;
export const DeleteCampaignDocument = new TypedDocumentString(`
    mutation DeleteCampaign($id: ID!) {
  deleteCampaign(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<DeleteCampaignMutation, DeleteCampaignMutationVariables>;
export const PauseCampaignDocument = new TypedDocumentString(`
    mutation PauseCampaign($id: ID!, $reason: String) {
  pauseCampaign(id: $id, reason: $reason) {
    position
  }
}
    `) as unknown as TypedDocumentString<PauseCampaignMutation, PauseCampaignMutationVariables>;
export const ResumeCampaignDocument = new TypedDocumentString(`
    mutation ResumeCampaign($id: ID!) {
  resumeCampaign(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<ResumeCampaignMutation, ResumeCampaignMutationVariables>;
export const CancelCampaignDocument = new TypedDocumentString(`
    mutation CancelCampaign($id: ID!, $reason: String) {
  cancelCampaign(id: $id, reason: $reason) {
    position
  }
}
    `) as unknown as TypedDocumentString<CancelCampaignMutation, CancelCampaignMutationVariables>;
export const RetryCampaignDocument = new TypedDocumentString(`
    mutation RetryCampaign($id: ID!, $scope: RetryScope!) {
  retryCampaign(id: $id, scope: $scope) {
    position
  }
}
    `) as unknown as TypedDocumentString<RetryCampaignMutation, RetryCampaignMutationVariables>;
export const TestCampaignDocument = new TypedDocumentString(`
    mutation TestCampaign($id: ID!, $to: PhoneNumber!, $idempotencyKey: String) {
  testCampaign(id: $id, to: $to, idempotencyKey: $idempotencyKey) {
    position
    message {
      id
      status
      statusReason
      skipReason
    }
  }
}
    `) as unknown as TypedDocumentString<TestCampaignMutation, TestCampaignMutationVariables>;
export const ViewerDocument = new TypedDocumentString(`
    query Viewer {
  viewer {
    kind
    id
    name
    scopes
    workspaceIds
    accountIds
  }
  workspaces {
    id
    name
    approvalThreshold
  }
}
    `) as unknown as TypedDocumentString<ViewerQuery, ViewerQueryVariables>;
export const ContactsDocument = new TypedDocumentString(`
    query Contacts($filter: ContactFilter, $first: Int, $after: String, $minPosition: Position) {
  contacts(
    filter: $filter
    first: $first
    after: $after
    minPosition: $minPosition
  ) {
    nodes {
      ...ContactRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment ContactRow on Contact {
  id
  name
  phoneNumber
  userId
  externalId
  language
  timeZone
  tags
  createdAt
  erased
  consent {
    status
    source
    recordedAt
  }
}`) as unknown as TypedDocumentString<ContactsQuery, ContactsQueryVariables>;
export const ContactCountDocument = new TypedDocumentString(`
    query ContactCount($filter: ContactFilter, $minPosition: Position) {
  contacts(filter: $filter, first: 1, minPosition: $minPosition) {
    totalCount
    totalCountExact
  }
}
    `) as unknown as TypedDocumentString<ContactCountQuery, ContactCountQueryVariables>;
export const ContactDocument = new TypedDocumentString(`
    query Contact($id: ID!, $asOf: DateTime, $minPosition: Position) {
  contact(id: $id, asOf: $asOf, minPosition: $minPosition) {
    ...ContactRow
    username
    otherPhoneNumbers
    otherExternalIds
    attributes
    mergedIntoId
    consent {
      status
      source
      recordedAt
      categories {
        category
        status
        source
        evidence
        recordedAt
      }
    }
  }
}
    fragment ContactRow on Contact {
  id
  name
  phoneNumber
  userId
  externalId
  language
  timeZone
  tags
  createdAt
  erased
  consent {
    status
    source
    recordedAt
  }
}`) as unknown as TypedDocumentString<ContactQuery, ContactQueryVariables>;
export const ContactNameDocument = new TypedDocumentString(`
    query ContactName($id: ID!) {
  contact(id: $id) {
    id
    name
    phoneNumber
    erased
  }
}
    `) as unknown as TypedDocumentString<ContactNameQuery, ContactNameQueryVariables>;
export const ContactMessagesDocument = new TypedDocumentString(`
    query ContactMessages($id: ID!, $first: Int, $after: String, $minPosition: Position) {
  messages(
    filter: {contactIds: [$id]}
    first: $first
    after: $after
    minPosition: $minPosition
  ) {
    nodes {
      ...MessageRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment MessageRow on Message {
  id
  accountId
  campaignId
  contactId
  direction
  to
  from
  status
  statusReason
  skipReason
  preview
  createdAt
  dueAt
  isTest
  failure {
    code
    title
  }
  contact {
    id
    name
  }
}`) as unknown as TypedDocumentString<ContactMessagesQuery, ContactMessagesQueryVariables>;
export const ContactHistoryDocument = new TypedDocumentString(`
    query ContactHistory($id: ID!, $first: Int, $after: String) {
  contact(id: $id) {
    id
    history(first: $first, after: $after) {
      nodes {
        ...EventFields
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<ContactHistoryQuery, ContactHistoryQueryVariables>;
export const AddContactDocument = new TypedDocumentString(`
    mutation AddContact($input: AddContactInput!) {
  addContact(input: $input) {
    position
    contact {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<AddContactMutation, AddContactMutationVariables>;
export const UpdateContactDocument = new TypedDocumentString(`
    mutation UpdateContact($input: UpdateContactInput!) {
  updateContact(input: $input) {
    position
  }
}
    `) as unknown as TypedDocumentString<UpdateContactMutation, UpdateContactMutationVariables>;
export const RecordConsentDocument = new TypedDocumentString(`
    mutation RecordConsent($input: RecordConsentInput!) {
  recordConsent(input: $input) {
    position
  }
}
    `) as unknown as TypedDocumentString<RecordConsentMutation, RecordConsentMutationVariables>;
export const MergeContactsDocument = new TypedDocumentString(`
    mutation MergeContacts($keep: ID!, $merge: ID!) {
  mergeContacts(keep: $keep, merge: $merge) {
    position
    contact {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<MergeContactsMutation, MergeContactsMutationVariables>;
export const EraseContactDocument = new TypedDocumentString(`
    mutation EraseContact($id: ID!, $reason: String!) {
  eraseContact(id: $id, reason: $reason) {
    position
  }
}
    `) as unknown as TypedDocumentString<EraseContactMutation, EraseContactMutationVariables>;
export const ImportDocument = new TypedDocumentString(`
    query Import($id: ID!, $minPosition: Position) {
  import(id: $id, minPosition: $minPosition) {
    ...ImportFields
    errors(first: 200) {
      row
      column
      message
    }
  }
}
    fragment ImportFields on ContactImport {
  id
  status
  reason
  dryRun
  rows
  added
  updated
  rejected
  errorsTruncated
  startedAt
  undoneAt
}`) as unknown as TypedDocumentString<ImportQuery, ImportQueryVariables>;
export const ImportsDocument = new TypedDocumentString(`
    query Imports($first: Int, $after: String, $minPosition: Position) {
  imports(first: $first, after: $after, minPosition: $minPosition) {
    nodes {
      ...ImportFields
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment ImportFields on ContactImport {
  id
  status
  reason
  dryRun
  rows
  added
  updated
  rejected
  errorsTruncated
  startedAt
  undoneAt
}`) as unknown as TypedDocumentString<ImportsQuery, ImportsQueryVariables>;
export const ImportContactsDocument = new TypedDocumentString(`
    mutation ImportContacts($input: ImportContactsInput!) {
  importContacts(input: $input) {
    position
    import {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<ImportContactsMutation, ImportContactsMutationVariables>;
export const UndoImportDocument = new TypedDocumentString(`
    mutation UndoImport($id: ID!) {
  undoImport(id: $id) {
    position
    import {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<UndoImportMutation, UndoImportMutationVariables>;
export const SegmentsDocument = new TypedDocumentString(`
    query Segments($first: Int, $after: String, $minPosition: Position) {
  segments(first: $first, after: $after, minPosition: $minPosition) {
    nodes {
      id
      name
      rule
      size
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}`) as unknown as TypedDocumentString<SegmentsQuery, SegmentsQueryVariables>;
export const SegmentDocument = new TypedDocumentString(`
    query Segment($id: ID!, $minPosition: Position) {
  segment(id: $id, minPosition: $minPosition) {
    id
    name
    rule
    size
  }
}
    `) as unknown as TypedDocumentString<SegmentQuery, SegmentQueryVariables>;
export const SegmentHistoryDocument = new TypedDocumentString(`
    query SegmentHistory($id: ID!, $first: Int, $after: String) {
  segment(id: $id) {
    id
    history(first: $first, after: $after) {
      nodes {
        ...EventFields
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<SegmentHistoryQuery, SegmentHistoryQueryVariables>;
export const AudiencePreviewDocument = new TypedDocumentString(`
    query AudiencePreview($audience: AudienceInput!) {
  audiencePreview(audience: $audience, first: 6) {
    count
    sample {
      id
      name
      phoneNumber
      tags
    }
  }
}
    `) as unknown as TypedDocumentString<AudiencePreviewQuery, AudiencePreviewQueryVariables>;
export const TagsDocument = new TypedDocumentString(`
    query Tags($search: String, $first: Int) {
  tags(search: $search, first: $first) {
    tag
    count
  }
}
    `) as unknown as TypedDocumentString<TagsQuery, TagsQueryVariables>;
export const PreviewSegmentDocument = new TypedDocumentString(`
    query PreviewSegment($rule: JSON!) {
  previewSegment(rule: $rule, first: 6) {
    count
    sample {
      id
      name
      phoneNumber
      tags
    }
  }
}
    `) as unknown as TypedDocumentString<PreviewSegmentQuery, PreviewSegmentQueryVariables>;
export const CreateSegmentDocument = new TypedDocumentString(`
    mutation CreateSegment($input: CreateSegmentInput!) {
  createSegment(input: $input) {
    position
    segment {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<CreateSegmentMutation, CreateSegmentMutationVariables>;
export const UpdateSegmentDocument = new TypedDocumentString(`
    mutation UpdateSegment($id: ID!, $name: String, $rule: JSON) {
  updateSegment(id: $id, name: $name, rule: $rule) {
    position
  }
}
    `) as unknown as TypedDocumentString<UpdateSegmentMutation, UpdateSegmentMutationVariables>;
export const DeleteSegmentDocument = new TypedDocumentString(`
    mutation DeleteSegment($id: ID!) {
  deleteSegment(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<DeleteSegmentMutation, DeleteSegmentMutationVariables>;
export const EventsDocument = new TypedDocumentString(`
    query Events($after: Position, $filter: EventFilter, $first: Int) {
  events(after: $after, filter: $filter, first: $first) {
    nodes {
      ...EventFields
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<EventsQuery, EventsQueryVariables>;
export const FollowEventsDocument = new TypedDocumentString(`
    subscription FollowEvents($after: Position, $filter: EventFilter) {
  events(after: $after, filter: $filter) {
    ...EventFields
  }
}
    fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<FollowEventsSubscription, FollowEventsSubscriptionVariables>;
export const ApiKeysDocument = new TypedDocumentString(`
    query ApiKeys($first: Int, $after: String, $minPosition: Position) {
  apiKeys(first: $first, after: $after, minPosition: $minPosition) {
    nodes {
      id
      name
      scopes
      workspaceIds
      accountIds
      createdAt
      lastUsedAt
      expiresAt
      revokedAt
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}`) as unknown as TypedDocumentString<ApiKeysQuery, ApiKeysQueryVariables>;
export const CreateApiKeyDocument = new TypedDocumentString(`
    mutation CreateApiKey($input: CreateApiKeyInput!) {
  createApiKey(input: $input) {
    position
    secret
    apiKey {
      id
      name
    }
  }
}
    `) as unknown as TypedDocumentString<CreateApiKeyMutation, CreateApiKeyMutationVariables>;
export const RevokeApiKeyDocument = new TypedDocumentString(`
    mutation RevokeApiKey($id: ID!) {
  revokeApiKey(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<RevokeApiKeyMutation, RevokeApiKeyMutationVariables>;
export const WebhookEndpointsDocument = new TypedDocumentString(`
    query WebhookEndpoints($first: Int, $after: String, $minPosition: Position) {
  webhookEndpoints(first: $first, after: $after, minPosition: $minPosition) {
    nodes {
      ...EndpointRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EndpointRow on WebhookEndpoint {
  id
  url
  types
  accountIds
  batch
  eventsPerSecond
  enabled
  status
  pauseReason
  includePersonal
  createdAt
  deliveredPosition
  lag
  previousSecretUntil
  replay {
    after
    until
  }
  lastFailure {
    at
    status
    error
    nextAttemptAt
  }
}`) as unknown as TypedDocumentString<WebhookEndpointsQuery, WebhookEndpointsQueryVariables>;
export const WebhookEndpointDocument = new TypedDocumentString(`
    query WebhookEndpoint($id: ID!, $minPosition: Position) {
  webhookEndpoint(id: $id, minPosition: $minPosition) {
    ...EndpointRow
  }
}
    fragment EndpointRow on WebhookEndpoint {
  id
  url
  types
  accountIds
  batch
  eventsPerSecond
  enabled
  status
  pauseReason
  includePersonal
  createdAt
  deliveredPosition
  lag
  previousSecretUntil
  replay {
    after
    until
  }
  lastFailure {
    at
    status
    error
    nextAttemptAt
  }
}`) as unknown as TypedDocumentString<WebhookEndpointQuery, WebhookEndpointQueryVariables>;
export const WebhookDeliveriesDocument = new TypedDocumentString(`
    query WebhookDeliveries($id: ID!, $failedOnly: Boolean, $first: Int, $after: String, $minPosition: Position) {
  webhookEndpoint(id: $id, minPosition: $minPosition) {
    id
    deliveries(failedOnly: $failedOnly, first: $first, after: $after) {
      nodes {
        id
        eventPosition
        eventId
        events
        attempt
        isReplay
        status
        error
        latencyMs
        at
        response
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}`) as unknown as TypedDocumentString<WebhookDeliveriesQuery, WebhookDeliveriesQueryVariables>;
export const CreateWebhookEndpointDocument = new TypedDocumentString(`
    mutation CreateWebhookEndpoint($input: CreateWebhookEndpointInput!) {
  createWebhookEndpoint(input: $input) {
    position
    secret
    endpoint {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<CreateWebhookEndpointMutation, CreateWebhookEndpointMutationVariables>;
export const UpdateWebhookEndpointDocument = new TypedDocumentString(`
    mutation UpdateWebhookEndpoint($input: UpdateWebhookEndpointInput!) {
  updateWebhookEndpoint(input: $input) {
    position
  }
}
    `) as unknown as TypedDocumentString<UpdateWebhookEndpointMutation, UpdateWebhookEndpointMutationVariables>;
export const RotateWebhookSecretDocument = new TypedDocumentString(`
    mutation RotateWebhookSecret($id: ID!) {
  rotateWebhookSecret(id: $id) {
    position
    secret
  }
}
    `) as unknown as TypedDocumentString<RotateWebhookSecretMutation, RotateWebhookSecretMutationVariables>;
export const ReplayWebhookDocument = new TypedDocumentString(`
    mutation ReplayWebhook($id: ID!, $after: Position!, $recordedFrom: DateTime) {
  replayWebhook(id: $id, after: $after, recordedFrom: $recordedFrom) {
    position
  }
}
    `) as unknown as TypedDocumentString<ReplayWebhookMutation, ReplayWebhookMutationVariables>;
export const ResendWebhookDocument = new TypedDocumentString(`
    mutation ResendWebhook($id: ID!, $eventPosition: Position!) {
  resendWebhook(id: $id, eventPosition: $eventPosition) {
    position
  }
}
    `) as unknown as TypedDocumentString<ResendWebhookMutation, ResendWebhookMutationVariables>;
export const DeleteWebhookEndpointDocument = new TypedDocumentString(`
    mutation DeleteWebhookEndpoint($id: ID!) {
  deleteWebhookEndpoint(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<DeleteWebhookEndpointMutation, DeleteWebhookEndpointMutationVariables>;
export const SettingsDocument = new TypedDocumentString(`
    query Settings($minPosition: Position) {
  rateCard(minPosition: $minPosition) {
    workspaceId
    rates {
      countries
      category
      currency
      amount
      validFrom
    }
  }
  projections {
    name
    position
    lag
    status
    rebuildProgress
  }
}
    `) as unknown as TypedDocumentString<SettingsQuery, SettingsQueryVariables>;
export const UpdateWorkspaceDocument = new TypedDocumentString(`
    mutation UpdateWorkspace($input: UpdateWorkspaceInput!) {
  updateWorkspace(input: $input) {
    position
  }
}
    `) as unknown as TypedDocumentString<UpdateWorkspaceMutation, UpdateWorkspaceMutationVariables>;
export const SetRateCardDocument = new TypedDocumentString(`
    mutation SetRateCard($input: SetRateCardInput!) {
  setRateCard(input: $input) {
    position
  }
}
    `) as unknown as TypedDocumentString<SetRateCardMutation, SetRateCardMutationVariables>;
export const RebuildProjectionDocument = new TypedDocumentString(`
    mutation RebuildProjection($name: String!) {
  rebuildProjection(name: $name) {
    projection {
      name
      status
    }
  }
}
    `) as unknown as TypedDocumentString<RebuildProjectionMutation, RebuildProjectionMutationVariables>;
export const HomeCountsDocument = new TypedDocumentString(`
    query HomeCounts {
  contacts(first: 1) {
    nodes {
      id
    }
  }
  templates(first: 1) {
    nodes {
      id
    }
  }
  approved: templates(first: 1, filter: {status: [APPROVED]}) {
    nodes {
      id
    }
  }
  outbound: messages(
    first: 1
    filter: {direction: OUTBOUND, status: [DELIVERED, READ]}
  ) {
    nodes {
      id
    }
  }
  campaigns(first: 1, filter: {status: [RUNNING, PAUSED, COMPLETED, SCHEDULED]}) {
    nodes {
      id
    }
  }
  webhookEndpoints(first: 1) {
    nodes {
      id
    }
  }
  loops: accounts(first: 50) {
    nodes {
      id
      status
      loopTest {
        state
      }
    }
  }
}
    `) as unknown as TypedDocumentString<HomeCountsQuery, HomeCountsQueryVariables>;
export const DueNextDocument = new TypedDocumentString(`
    query DueNext {
  running: campaigns(first: 10, filter: {status: [RUNNING, PAUSED]}) {
    nodes {
      ...CampaignRow
    }
  }
  scheduled: campaigns(first: 50, filter: {status: [SCHEDULED]}) {
    nodes {
      ...CampaignRow
    }
  }
  drafts: campaigns(first: 3, filter: {status: [DRAFT]}) {
    nodes {
      ...CampaignRow
    }
  }
}
    fragment CampaignRow on Campaign {
  id
  name
  accountId
  status
  awaitsApproval
  statusReason
  waitingFor
  createdAt
  startedAt
  startAt
  completedAt
  schedule {
    startAt
    timeZone
    recipientLocal
    recurrence
  }
  progress {
    recipients
    pending
    accepted
    delivered
    read
    failed
    skipped
    messagesPerSecond
  }
}`) as unknown as TypedDocumentString<DueNextQuery, DueNextQueryVariables>;
export const ConversationsDocument = new TypedDocumentString(`
    query Conversations($filter: ConversationFilter, $first: Int, $after: String, $minPosition: Position) {
  conversations(
    filter: $filter
    first: $first
    after: $after
    minPosition: $minPosition
  ) {
    nodes {
      ...ConversationRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment ContactRow on Contact {
  id
  name
  phoneNumber
  userId
  externalId
  language
  timeZone
  tags
  createdAt
  erased
  consent {
    status
    source
    recordedAt
  }
}
fragment ConversationRow on Conversation {
  id
  workspaceId
  accountId
  handling
  assignedTo
  windowExpiresAt
  unread
  lastActivityAt
  openedAt
  contact {
    ...ContactRow
  }
  lastMessage {
    id
    direction
    preview
    status
    createdAt
  }
}`) as unknown as TypedDocumentString<ConversationsQuery, ConversationsQueryVariables>;
export const UnreadConversationsDocument = new TypedDocumentString(`
    query UnreadConversations($minPosition: Position) {
  conversations(filter: {unread: true}, first: 1, minPosition: $minPosition) {
    totalCount
    totalCountExact
  }
}
    `) as unknown as TypedDocumentString<UnreadConversationsQuery, UnreadConversationsQueryVariables>;
export const ConversationDocument = new TypedDocumentString(`
    query Conversation($id: ID!, $minPosition: Position) {
  conversation(id: $id, minPosition: $minPosition) {
    ...ConversationRow
  }
}
    fragment ContactRow on Contact {
  id
  name
  phoneNumber
  userId
  externalId
  language
  timeZone
  tags
  createdAt
  erased
  consent {
    status
    source
    recordedAt
  }
}
fragment ConversationRow on Conversation {
  id
  workspaceId
  accountId
  handling
  assignedTo
  windowExpiresAt
  unread
  lastActivityAt
  openedAt
  contact {
    ...ContactRow
  }
  lastMessage {
    id
    direction
    preview
    status
    createdAt
  }
}`) as unknown as TypedDocumentString<ConversationQuery, ConversationQueryVariables>;
export const ThreadDocument = new TypedDocumentString(`
    query Thread($id: ID!, $last: Int, $before: String, $minPosition: Position) {
  conversation(id: $id, minPosition: $minPosition) {
    id
    messages(last: $last, before: $before) {
      nodes {
        ...ThreadMessage
      }
      pageInfo {
        hasPreviousPage
        startCursor
      }
    }
  }
}
    fragment ThreadMessage on Message {
  id
  accountId
  contactId
  campaignId
  templateId
  direction
  status
  statusReason
  skipReason
  preview
  content
  wamid
  isTest
  createdAt
  failure {
    code
    title
    details
    retryable
  }
  campaign {
    id
    name
  }
}`) as unknown as TypedDocumentString<ThreadQuery, ThreadQueryVariables>;
export const ConversationHistoryDocument = new TypedDocumentString(`
    query ConversationHistory($id: ID!, $first: Int, $after: String) {
  conversation(id: $id) {
    id
    history(first: $first, after: $after) {
      nodes {
        ...EventFields
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<ConversationHistoryQuery, ConversationHistoryQueryVariables>;
export const ConversationActivityDocument = new TypedDocumentString(`
    subscription ConversationActivity($accountId: ID) {
  conversationActivity(accountId: $accountId) {
    ...ThreadMessage
    contact {
      id
      name
    }
  }
}
    fragment ThreadMessage on Message {
  id
  accountId
  contactId
  campaignId
  templateId
  direction
  status
  statusReason
  skipReason
  preview
  content
  wamid
  isTest
  createdAt
  failure {
    code
    title
    details
    retryable
  }
  campaign {
    id
    name
  }
}`) as unknown as TypedDocumentString<ConversationActivitySubscription, ConversationActivitySubscriptionVariables>;
export const ReplyToConversationDocument = new TypedDocumentString(`
    mutation ReplyToConversation($input: ReplyInput!) {
  replyToConversation(input: $input) {
    position
    message {
      ...ThreadMessage
    }
  }
}
    fragment ThreadMessage on Message {
  id
  accountId
  contactId
  campaignId
  templateId
  direction
  status
  statusReason
  skipReason
  preview
  content
  wamid
  isTest
  createdAt
  failure {
    code
    title
    details
    retryable
  }
  campaign {
    id
    name
  }
}`) as unknown as TypedDocumentString<ReplyToConversationMutation, ReplyToConversationMutationVariables>;
export const MarkConversationReadDocument = new TypedDocumentString(`
    mutation MarkConversationRead($id: ID!, $upTo: ID, $showReceipt: Boolean) {
  markConversationRead(id: $id, upTo: $upTo, showReceipt: $showReceipt) {
    position
    conversation {
      id
      unread
    }
  }
}
    `) as unknown as TypedDocumentString<MarkConversationReadMutation, MarkConversationReadMutationVariables>;
export const AssignConversationDocument = new TypedDocumentString(`
    mutation AssignConversation($id: ID!, $userId: ID) {
  assignConversation(id: $id, userId: $userId) {
    position
    conversation {
      id
      assignedTo
    }
  }
}
    `) as unknown as TypedDocumentString<AssignConversationMutation, AssignConversationMutationVariables>;
export const SetConversationHandlingDocument = new TypedDocumentString(`
    mutation SetConversationHandling($id: ID!, $handling: ConversationHandling!) {
  setConversationHandling(id: $id, handling: $handling) {
    position
    conversation {
      id
      handling
    }
  }
}
    `) as unknown as TypedDocumentString<SetConversationHandlingMutation, SetConversationHandlingMutationVariables>;
export const MessagesDocument = new TypedDocumentString(`
    query Messages($filter: MessageFilter, $first: Int, $after: String, $minPosition: Position) {
  messages(
    filter: $filter
    first: $first
    after: $after
    minPosition: $minPosition
  ) {
    nodes {
      ...MessageRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment MessageRow on Message {
  id
  accountId
  campaignId
  contactId
  direction
  to
  from
  status
  statusReason
  skipReason
  preview
  createdAt
  dueAt
  isTest
  failure {
    code
    title
  }
  contact {
    id
    name
  }
}`) as unknown as TypedDocumentString<MessagesQuery, MessagesQueryVariables>;
export const MessageCountsDocument = new TypedDocumentString(`
    query MessageCounts($from: DateTime!) {
  counts: messageCounts(from: $from) {
    recipients
    pending
    accepted
    delivered
    read
    failed
    skipped
  }
  received: messages(filter: {direction: INBOUND, createdFrom: $from}, first: 1) {
    totalCount
    totalCountExact
  }
}
    `) as unknown as TypedDocumentString<MessageCountsQuery, MessageCountsQueryVariables>;
export const MessageDocument = new TypedDocumentString(`
    query Message($id: ID!, $asOf: DateTime, $minPosition: Position) {
  message(id: $id, asOf: $asOf, minPosition: $minPosition) {
    ...MessageRow
    externalId
    metadata
    templateId
    wamid
    content
    attempts
    pricing
    acceptedAt
    sentAt
    deliveredAt
    readAt
    repliedAt
    clickedAt
    failedAt
    failure {
      code
      title
      details
      retryable
    }
    account {
      id
      name
      timeZone
    }
    launchedBy {
      kind
      id
      name
    }
    campaign {
      id
      name
    }
  }
}
    fragment MessageRow on Message {
  id
  accountId
  campaignId
  contactId
  direction
  to
  from
  status
  statusReason
  skipReason
  preview
  createdAt
  dueAt
  isTest
  failure {
    code
    title
  }
  contact {
    id
    name
  }
}`) as unknown as TypedDocumentString<MessageQuery, MessageQueryVariables>;
export const MessageHistoryDocument = new TypedDocumentString(`
    query MessageHistory($id: ID!, $first: Int, $after: String) {
  message(id: $id) {
    id
    history(first: $first, after: $after) {
      nodes {
        ...EventFields
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<MessageHistoryQuery, MessageHistoryQueryVariables>;
export const SendMessageDocument = new TypedDocumentString(`
    mutation SendMessage($input: SendMessageInput!) {
  sendMessage(input: $input) {
    position
    message {
      id
      status
      statusReason
      skipReason
    }
  }
}
    `) as unknown as TypedDocumentString<SendMessageMutation, SendMessageMutationVariables>;
export const RescheduleMessageDocument = new TypedDocumentString(`
    mutation RescheduleMessage($id: ID!, $sendAt: DateTime!) {
  rescheduleMessage(id: $id, sendAt: $sendAt) {
    position
  }
}
    `) as unknown as TypedDocumentString<RescheduleMessageMutation, RescheduleMessageMutationVariables>;
export const CancelMessageDocument = new TypedDocumentString(`
    mutation CancelMessage($id: ID!, $reason: String) {
  cancelMessage(id: $id, reason: $reason) {
    position
  }
}
    `) as unknown as TypedDocumentString<CancelMessageMutation, CancelMessageMutationVariables>;
export const ResolveInDoubtDocument = new TypedDocumentString(`
    mutation ResolveInDoubt($id: ID!, $resolution: InDoubtResolution!) {
  resolveInDoubt(id: $id, resolution: $resolution) {
    position
  }
}
    `) as unknown as TypedDocumentString<ResolveInDoubtMutation, ResolveInDoubtMutationVariables>;
export const UsersDocument = new TypedDocumentString(`
    query Users($first: Int, $after: String, $minPosition: Position) {
  users(first: $first, after: $after, minPosition: $minPosition) {
    nodes {
      ...UserRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment UserRow on User {
  id
  email
  name
  role
  workspaceIds
  accountIds
  hasSecondFactor
  invitedAt
  joinedAt
  signedInAt
  suspendedAt
}`) as unknown as TypedDocumentString<UsersQuery, UsersQueryVariables>;
export const InviteUserDocument = new TypedDocumentString(`
    mutation InviteUser($input: InviteUserInput!) {
  inviteUser(input: $input) {
    position
    link
    user {
      ...UserRow
    }
  }
}
    fragment UserRow on User {
  id
  email
  name
  role
  workspaceIds
  accountIds
  hasSecondFactor
  invitedAt
  joinedAt
  signedInAt
  suspendedAt
}`) as unknown as TypedDocumentString<InviteUserMutation, InviteUserMutationVariables>;
export const UpdateUserDocument = new TypedDocumentString(`
    mutation UpdateUser($input: UpdateUserInput!) {
  updateUser(input: $input) {
    position
  }
}
    `) as unknown as TypedDocumentString<UpdateUserMutation, UpdateUserMutationVariables>;
export const ResetUserDocument = new TypedDocumentString(`
    mutation ResetUser($id: ID!) {
  resetUser(id: $id) {
    position
    link
    user {
      ...UserRow
    }
  }
}
    fragment UserRow on User {
  id
  email
  name
  role
  workspaceIds
  accountIds
  hasSecondFactor
  invitedAt
  joinedAt
  signedInAt
  suspendedAt
}`) as unknown as TypedDocumentString<ResetUserMutation, ResetUserMutationVariables>;
export const SuspendUserDocument = new TypedDocumentString(`
    mutation SuspendUser($id: ID!) {
  suspendUser(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<SuspendUserMutation, SuspendUserMutationVariables>;
export const ReinstateUserDocument = new TypedDocumentString(`
    mutation ReinstateUser($id: ID!) {
  reinstateUser(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<ReinstateUserMutation, ReinstateUserMutationVariables>;
export const RevokeUserSessionsDocument = new TypedDocumentString(`
    mutation RevokeUserSessions($id: ID!) {
  revokeUserSessions(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<RevokeUserSessionsMutation, RevokeUserSessionsMutationVariables>;
export const RemoveUserDocument = new TypedDocumentString(`
    mutation RemoveUser($id: ID!) {
  removeUser(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<RemoveUserMutation, RemoveUserMutationVariables>;
export const TemplatesDocument = new TypedDocumentString(`
    query Templates($filter: TemplateFilter, $first: Int, $after: String, $minPosition: Position) {
  templates(
    filter: $filter
    first: $first
    after: $after
    minPosition: $minPosition
  ) {
    nodes {
      ...TemplateRow
    }
    pageInfo {
      ...Page
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment TemplateRow on Template {
  id
  accountId
  name
  language
  category
  status
  statusReason
  quality
  components
  parameters
  createdAt
}`) as unknown as TypedDocumentString<TemplatesQuery, TemplatesQueryVariables>;
export const TemplateDocument = new TypedDocumentString(`
    query Template($id: ID!, $minPosition: Position) {
  template(id: $id, minPosition: $minPosition) {
    ...TemplateRow
  }
}
    fragment TemplateRow on Template {
  id
  accountId
  name
  language
  category
  status
  statusReason
  quality
  components
  parameters
  createdAt
}`) as unknown as TypedDocumentString<TemplateQuery, TemplateQueryVariables>;
export const TemplateHistoryDocument = new TypedDocumentString(`
    query TemplateHistory($id: ID!, $first: Int, $after: String) {
  template(id: $id) {
    id
    history(first: $first, after: $after) {
      nodes {
        ...EventFields
      }
      pageInfo {
        ...Page
      }
    }
  }
}
    fragment Page on PageInfo {
  hasNextPage
  endCursor
}
fragment EventFields on Event {
  position
  id
  type
  version
  aggregateType
  aggregateId
  sequence
  accountId
  occurredAt
  recordedAt
  actor {
    kind
    id
    name
  }
  correlationId
  causationId
  data
}`) as unknown as TypedDocumentString<TemplateHistoryQuery, TemplateHistoryQueryVariables>;
export const CreateTemplateDocument = new TypedDocumentString(`
    mutation CreateTemplate($input: CreateTemplateInput!) {
  createTemplate(input: $input) {
    position
    template {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<CreateTemplateMutation, CreateTemplateMutationVariables>;
export const UpdateTemplateDocument = new TypedDocumentString(`
    mutation UpdateTemplate($input: UpdateTemplateInput!) {
  updateTemplate(input: $input) {
    position
    template {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<UpdateTemplateMutation, UpdateTemplateMutationVariables>;
export const SubmitTemplateDocument = new TypedDocumentString(`
    mutation SubmitTemplate($id: ID!) {
  submitTemplate(id: $id) {
    position
    template {
      id
    }
  }
}
    `) as unknown as TypedDocumentString<SubmitTemplateMutation, SubmitTemplateMutationVariables>;
export const DeleteTemplateDocument = new TypedDocumentString(`
    mutation DeleteTemplate($id: ID!) {
  deleteTemplate(id: $id) {
    position
  }
}
    `) as unknown as TypedDocumentString<DeleteTemplateMutation, DeleteTemplateMutationVariables>;
export const SyncTemplatesDocument = new TypedDocumentString(`
    mutation SyncTemplates($accountId: ID!) {
  syncTemplates(accountId: $accountId) {
    added
    changed
    removed
    position
  }
}
    `) as unknown as TypedDocumentString<SyncTemplatesMutation, SyncTemplatesMutationVariables>;
export const UploadTemplateSampleDocument = new TypedDocumentString(`
    mutation UploadTemplateSample($accountId: ID!, $fileName: String!, $mimeType: String!, $data: String!) {
  uploadTemplateSample(
    accountId: $accountId
    fileName: $fileName
    mimeType: $mimeType
    data: $data
  ) {
    handle
  }
}
    `) as unknown as TypedDocumentString<UploadTemplateSampleMutation, UploadTemplateSampleMutationVariables>;