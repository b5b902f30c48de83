-- A subject's data key, wrapped by the master key. A destroyed one stays as a row without a key, so that none is ever
-- made for its subject again.
CREATE TABLE data_keys (
    subject      uuid  NOT NULL PRIMARY KEY,
    wrapped      bytea,
    destroyed_at bigint,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
);

CREATE INDEX data_keys_destroyed_at ON data_keys (destroyed_at, subject) WHERE destroyed_at IS NOT NULL;

-- Credentials, sealed: replaced or removed, never in an event.
CREATE TABLE secrets (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    sealed     bytea  NOT NULL,
    updated_at bigint NOT NULL
);
