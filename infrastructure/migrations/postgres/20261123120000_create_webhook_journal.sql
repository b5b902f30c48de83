-- Every notification as it came, sealed with a key per day, before it is answered. `rewrites` counts how often an
-- erasure took something out. Times are milliseconds since 1970, `key_day` days.
CREATE SEQUENCE webhook_journal_ids AS bigint;

-- Whoever draws an id holds this lock until its transaction ends, so a visible id means that every lower one is
-- committed or will never be: a cursor never passes over a row that another node is still committing.
CREATE FUNCTION next_webhook_journal_id() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1464290375, 2);
    RETURN nextval('webhook_journal_ids');
END $$;

CREATE TABLE webhook_journal (
    id            bigint NOT NULL PRIMARY KEY DEFAULT next_webhook_journal_id(),
    account_id    uuid   NOT NULL,
    received_at   bigint NOT NULL,
    key_day       bigint NOT NULL,
    body          bytea  NOT NULL,
    body_bytes    bigint NOT NULL,
    foreign_items bigint NOT NULL DEFAULT 0,
    rewrites      bigint NOT NULL DEFAULT 0
);

-- Sealed bytes do not compress.
ALTER TABLE webhook_journal ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE INDEX webhook_journal_key_day ON webhook_journal (key_day);

-- Items that were for accounts of somebody else, by the account whose callback they came to. Outlives the rows.
CREATE TABLE webhook_foreign (
    account_id uuid   NOT NULL PRIMARY KEY,
    items      bigint NOT NULL
);
