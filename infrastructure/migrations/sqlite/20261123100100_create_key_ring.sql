-- A subject's data key, wrapped by the master key. A destroyed one stays as a row without a key, so that none is ever
-- made for its subject again.
CREATE TABLE data_keys (
    subject      TEXT NOT NULL PRIMARY KEY,
    wrapped      BLOB,
    destroyed_at INTEGER,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX data_keys_destroyed_at ON data_keys (destroyed_at, subject) WHERE destroyed_at IS NOT NULL;

-- Credentials, sealed: replaced or removed, never in an event.
CREATE TABLE secrets (
    name       TEXT NOT NULL PRIMARY KEY,
    sealed     BLOB NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
