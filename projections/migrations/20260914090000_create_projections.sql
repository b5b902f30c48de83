-- Which generation of each read model's tables answers, how far it has read the log, and what is being built beside it.
-- The same text runs on SQLite and PostgreSQL; instants are milliseconds since 1970.
CREATE TABLE projections (
  name TEXT NOT NULL PRIMARY KEY,
  -- the shape of the tables, from the program that made them
  version BIGINT NOT NULL,
  generation BIGINT NOT NULL,
  position BIGINT NOT NULL,
  -- LIVE or FAILED; a rebuild shows by its target
  status TEXT NOT NULL,
  error TEXT,
  target BIGINT,
  target_position BIGINT,
  updated_at BIGINT NOT NULL
);
