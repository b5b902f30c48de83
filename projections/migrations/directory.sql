-- The directory projector's tables; {g} is the generation. Everything here is small: people and messages have tables of
-- their own.
CREATE TABLE IF NOT EXISTS workspaces{g} (
  id UUID NOT NULL PRIMARY KEY,
  created_at BIGINT NOT NULL,
  name TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS accounts{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  created_at BIGINT NOT NULL,
  provider TEXT NOT NULL,
  phone_number_id TEXT NOT NULL,
  waba_id TEXT NOT NULL,
  status TEXT NOT NULL,
  search TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS accounts{g}_created ON accounts{g} (created_at, id);
CREATE INDEX IF NOT EXISTS accounts{g}_phone_number ON accounts{g} (phone_number_id);
CREATE INDEX IF NOT EXISTS accounts{g}_waba ON accounts{g} (waba_id);

CREATE TABLE IF NOT EXISTS templates{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  account_id UUID NOT NULL,
  created_at BIGINT NOT NULL,
  name TEXT NOT NULL,
  language TEXT NOT NULL,
  category TEXT NOT NULL,
  status TEXT NOT NULL,
  search TEXT NOT NULL,
  whatsapp_id TEXT,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS templates{g}_created ON templates{g} (created_at, id);
CREATE INDEX IF NOT EXISTS templates{g}_account ON templates{g} (account_id, name, language);
CREATE INDEX IF NOT EXISTS templates{g}_whatsapp ON templates{g} (whatsapp_id) WHERE whatsapp_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS segments{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  created_at BIGINT NOT NULL,
  name TEXT NOT NULL,
  deleted BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS segments{g}_created ON segments{g} (created_at, id);

-- doc without its errors: they are rows of their own.
CREATE TABLE IF NOT EXISTS imports{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  created_at BIGINT NOT NULL,
  status TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS imports{g}_created ON imports{g} (created_at, id);

CREATE TABLE IF NOT EXISTS import_errors{g} (
  import_id UUID NOT NULL,
  n BIGINT NOT NULL,
  row_number BIGINT NOT NULL,
  column_name TEXT,
  message TEXT NOT NULL,
  PRIMARY KEY (import_id, n)
);

CREATE TABLE IF NOT EXISTS campaigns{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  account_id UUID NOT NULL,
  created_at BIGINT NOT NULL,
  template_id UUID,
  status TEXT NOT NULL,
  deleted BIGINT NOT NULL,
  -- paused because its latest occurrence is more than was allowed; the next one comes all the same
  held BIGINT NOT NULL,
  start_at BIGINT,
  external_id TEXT,
  search TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS campaigns{g}_created ON campaigns{g} (created_at, id);
CREATE INDEX IF NOT EXISTS campaigns{g}_status ON campaigns{g} (status, start_at);

CREATE TABLE IF NOT EXISTS api_keys{g} (
  id UUID NOT NULL PRIMARY KEY,
  created_at BIGINT NOT NULL,
  fingerprint TEXT NOT NULL,
  revoked BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS api_keys{g}_created ON api_keys{g} (created_at, id);
CREATE INDEX IF NOT EXISTS api_keys{g}_fingerprint ON api_keys{g} (fingerprint);

CREATE TABLE IF NOT EXISTS webhook_endpoints{g} (
  id UUID NOT NULL PRIMARY KEY,
  workspace_id UUID NOT NULL,
  created_at BIGINT NOT NULL,
  status TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS webhook_endpoints{g}_created ON webhook_endpoints{g} (created_at, id);

CREATE TABLE IF NOT EXISTS users{g} (
  id UUID NOT NULL PRIMARY KEY,
  created_at BIGINT NOT NULL,
  removed BIGINT NOT NULL,
  sequence BIGINT NOT NULL,
  doc TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS users{g}_created ON users{g} (created_at, id);
