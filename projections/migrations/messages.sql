-- The messages projector's tables; {g} is the generation. The same text runs on SQLite and PostgreSQL: ids are UUIDs
-- (16 bytes on SQLite), instants are milliseconds since 1970, doc is the folded message, packed. wamid_hash is a sixth of
-- what it stands for: who finds by it looks into doc. stage: 0 waits or is being sent, 1 is with WhatsApp, 2 is neither.
-- Once a message is with WhatsApp, what its statuses change is in no index, so that on PostgreSQL a status rewrites the row
-- within its page ({filled} leaves room there) and touches no index.
CREATE TABLE IF NOT EXISTS messages{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  account_id UUID NOT NULL,
  contact_id UUID NOT NULL,
  campaign_id UUID,
  direction BIGINT NOT NULL,
  is_test BIGINT NOT NULL,
  category TEXT,
  created_at BIGINT NOT NULL,
  status TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  last_requested_at BIGINT,
  wamid_hash BIGINT,
  external_id TEXT,
  replied_at BIGINT,
  clicked_at BIGINT,
  stage BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  doc {bytes} NOT NULL
){filled};
CREATE INDEX IF NOT EXISTS messages{g}_workspace ON messages{g} (workspace_id, created_at, id);
CREATE INDEX IF NOT EXISTS messages{g}_account ON messages{g} (account_id, created_at, id);
CREATE INDEX IF NOT EXISTS messages{g}_contact ON messages{g} (contact_id, created_at, id);
CREATE INDEX IF NOT EXISTS messages{g}_campaign ON messages{g} (campaign_id, created_at, id)
  WHERE campaign_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages{g}_campaign_stage ON messages{g} (campaign_id, stage, created_at, id)
  WHERE campaign_id IS NOT NULL AND stage <> 1;
CREATE INDEX IF NOT EXISTS messages{g}_requested ON messages{g} (account_id, last_requested_at)
  WHERE last_requested_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages{g}_marketing ON messages{g} (contact_id, last_requested_at)
  WHERE category = 'MARKETING' AND last_requested_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages{g}_wamid ON messages{g} (wamid_hash) WHERE wamid_hash IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages{g}_external ON messages{g} (external_id) WHERE external_id IS NOT NULL;

-- What dispatch still has to do something about. campaign_id is nil where there is none, so that it can be walked.
-- kind: 0 due at, 1 sending until, 2 in doubt until.
CREATE TABLE IF NOT EXISTS agenda{g} (
  message_id UUID NOT NULL PRIMARY KEY,
  account_id UUID NOT NULL,
  campaign_id UUID NOT NULL,
  contact_id UUID NOT NULL,
  template_id UUID,
  priority BIGINT NOT NULL,
  content_kind TEXT NOT NULL,
  category TEXT,
  kind BIGINT NOT NULL,
  at BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  expires_at BIGINT
);
CREATE INDEX IF NOT EXISTS agenda{g}_due ON agenda{g} (account_id, kind, campaign_id, priority, at, message_id);
CREATE INDEX IF NOT EXISTS agenda{g}_campaign ON agenda{g} (campaign_id, kind, message_id);

-- When a person last wrote to a number in a way that opens the service window.
CREATE TABLE IF NOT EXISTS windows{g} (
  account_id UUID NOT NULL,
  contact_id UUID NOT NULL,
  last_inbound_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, contact_id)
);

-- Until when WhatsApp wants a person left alone with marketing.
CREATE TABLE IF NOT EXISTS marketing_blocks{g} (
  contact_id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  until BIGINT NOT NULL
);

-- Until when nothing is to be sent to a person, because WhatsApp cannot reach them or they want nothing.
CREATE TABLE IF NOT EXISTS unreachable{g} (
  contact_id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  until BIGINT NOT NULL
);

-- A campaign's counts as they are now.
CREATE TABLE IF NOT EXISTS campaign_counts{g} (
  campaign_id UUID NOT NULL PRIMARY KEY,
  doc TEXT NOT NULL
);

-- The counts as they were after the last event of each second (later on: minute) that changed them. at is that event's.
CREATE TABLE IF NOT EXISTS campaign_ticks{g} (
  campaign_id UUID NOT NULL,
  bucket BIGINT NOT NULL,
  at BIGINT NOT NULL,
  doc TEXT NOT NULL,
  PRIMARY KEY (campaign_id, bucket)
);

-- When a number last heard from WhatsApp, by the log's clock.
CREATE TABLE IF NOT EXISTS account_activity{g} (
  account_id UUID NOT NULL PRIMARY KEY,
  last_inbound_at BIGINT,
  last_outbound_at BIGINT,
  last_status_at BIGINT
);

-- The minutes (since 1970) in which a number heard from WhatsApp, each with the first and the last time.
CREATE TABLE IF NOT EXISTS heard{g} (
  account_id UUID NOT NULL,
  minute BIGINT NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, minute)
);

-- What deliveryStats tells, by quarters of an hour (since 1970), which every zone's hours and days are made of. basis: 0 by
-- when a message was accepted, 1 by when each thing happened. Counts are added to and never read to be kept.
CREATE TABLE IF NOT EXISTS stats{g} (
  account_id UUID NOT NULL,
  basis BIGINT NOT NULL,
  quarter BIGINT NOT NULL,
  group_id UUID NOT NULL,
  queued BIGINT NOT NULL,
  accepted BIGINT NOT NULL,
  sent BIGINT NOT NULL,
  delivered BIGINT NOT NULL,
  read BIGINT NOT NULL,
  replied BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  skipped BIGINT NOT NULL,
  in_doubt BIGINT NOT NULL,
  expired BIGINT NOT NULL,
  cancelled BIGINT NOT NULL,
  PRIMARY KEY (account_id, basis, quarter, group_id)
){filled}{clustered};

-- What has more kinds than columns. kind: 0 time to deliver, 1 time to read (part: the bin of a logarithmic histogram), 2 what
-- WhatsApp bills (part: country, category, billable, assumed, day), 3 failures (part: the code, else the title).
CREATE TABLE IF NOT EXISTS stats_parts{g} (
  account_id UUID NOT NULL,
  basis BIGINT NOT NULL,
  quarter BIGINT NOT NULL,
  group_id UUID NOT NULL,
  kind BIGINT NOT NULL,
  part TEXT NOT NULL,
  count BIGINT NOT NULL,
  PRIMARY KEY (account_id, basis, quarter, group_id, kind, part)
){filled}{clustered};

-- What messages that are counted together have in common; id is a hash of the rest.
CREATE TABLE IF NOT EXISTS stats_groups{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  account_id UUID NOT NULL,
  campaign_id UUID,
  template_id UUID,
  language TEXT,
  category TEXT NOT NULL,
  country TEXT
){clustered};

-- What failures mean, as told with the first of each.
CREATE TABLE IF NOT EXISTS stats_failures{g} (
  part TEXT NOT NULL PRIMARY KEY,
  code BIGINT,
  title TEXT NOT NULL
){clustered};

-- A number and a person who wrote to it. opened_at: null while its own stream does not say so. first, last_inbound: what the
-- person wrote first and last; last: the newest of either side; window_at: when they last wrote what opens the service
-- window; read: up to where it was read. unread: whether last_inbound lies behind that. continues: the conversation of a
-- merged contact that this one takes the place of, while its own stream does not say so.
CREATE TABLE IF NOT EXISTS conversations{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  account_id UUID NOT NULL,
  contact_id UUID NOT NULL,
  opened_at BIGINT,
  first_at BIGINT NOT NULL,
  first_id UUID NOT NULL,
  last_activity_at BIGINT NOT NULL,
  last_message_id UUID NOT NULL,
  last_inbound_at BIGINT NOT NULL,
  last_inbound_id UUID NOT NULL,
  window_at BIGINT,
  read_at BIGINT,
  read_id UUID,
  unread BIGINT NOT NULL,
  handling TEXT NOT NULL,
  assigned_to UUID,
  continues UUID
);
CREATE INDEX IF NOT EXISTS conversations{g}_workspace ON conversations{g} (workspace_id, last_activity_at, id);
CREATE INDEX IF NOT EXISTS conversations{g}_account ON conversations{g} (account_id, last_activity_at, id);
CREATE INDEX IF NOT EXISTS conversations{g}_contact ON conversations{g} (contact_id);
CREATE INDEX IF NOT EXISTS conversations{g}_unread ON conversations{g} (workspace_id, last_activity_at, id)
  WHERE unread = 1;
CREATE INDEX IF NOT EXISTS conversations{g}_account_unread ON conversations{g} (account_id, last_activity_at, id)
  WHERE unread = 1;
CREATE INDEX IF NOT EXISTS conversations{g}_assigned ON conversations{g} (assigned_to, last_activity_at, id)
  WHERE assigned_to IS NOT NULL;
CREATE INDEX IF NOT EXISTS conversations{g}_unopened ON conversations{g} (id) WHERE opened_at IS NULL;

-- Contacts who went into others, and whom they are in the end.
CREATE TABLE IF NOT EXISTS merged_people{g} (
  half_id UUID NOT NULL PRIMARY KEY,
  kept_id UUID NOT NULL
);
CREATE INDEX IF NOT EXISTS merged_people{g}_kept ON merged_people{g} (kept_id);
