-- The contacts projector's tables; {g} is the generation. phone, external_id and search are null once a contact was
-- erased or merged away: it is found by its id alone then.
CREATE TABLE IF NOT EXISTS contacts{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  created_at BIGINT NOT NULL,
  -- the position of contact.added
  added_at BIGINT NOT NULL,
  phone TEXT,
  external_id TEXT,
  -- name, numbers, external ids and username in lower case
  search TEXT,
  language TEXT,
  time_zone TEXT,
  consent_status TEXT NOT NULL,
  consent_marketing_status TEXT NOT NULL,
  erased BIGINT NOT NULL,
  merged_into UUID,
  sequence BIGINT NOT NULL,
  doc {bytes} NOT NULL
);
CREATE INDEX IF NOT EXISTS contacts{g}_workspace ON contacts{g} (workspace_id, id);
CREATE INDEX IF NOT EXISTS contacts{g}_phone ON contacts{g} (workspace_id, phone) WHERE phone IS NOT NULL;
CREATE INDEX IF NOT EXISTS contacts{g}_external ON contacts{g} (workspace_id, external_id)
  WHERE external_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS contacts{g}_merged ON contacts{g} (merged_into, id) WHERE merged_into IS NOT NULL;

-- Numbers that a contact has beside its own, from contacts that were merged into it.
CREATE TABLE IF NOT EXISTS contact_phones{g} (
  workspace_id UUID NOT NULL,
  phone TEXT NOT NULL,
  contact_id UUID NOT NULL,
  PRIMARY KEY (workspace_id, phone, contact_id)
);

CREATE TABLE IF NOT EXISTS contact_tags{g} (
  workspace_id UUID NOT NULL,
  tag TEXT NOT NULL,
  contact_id UUID NOT NULL,
  PRIMARY KEY (workspace_id, tag, contact_id)
);

-- How many listed contacts have a tag, or an attribute that says something. A tag that somebody had once stays with 0; an
-- attribute's name goes with the last who had it.
CREATE TABLE IF NOT EXISTS vocabulary{g} (
  workspace_id UUID NOT NULL,
  -- tag, attribute
  kind TEXT NOT NULL,
  word TEXT NOT NULL,
  contacts BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, kind, word)
);

-- What each import did to whom: what undoing it goes by.
CREATE TABLE IF NOT EXISTS import_changes{g} (
  import_id UUID NOT NULL,
  contact_id UUID NOT NULL,
  sequence BIGINT NOT NULL,
  position BIGINT NOT NULL,
  -- added, updated, tagged, untagged; by_undo: 1 where the import's undoing did it
  kind TEXT NOT NULL,
  by_undo BIGINT NOT NULL,
  PRIMARY KEY (import_id, contact_id, sequence)
);
