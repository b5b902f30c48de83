-- Every notification as it came, sealed with a key per day, before it is answered. AUTOINCREMENT: an id is never given
-- again after its row was pruned, or a cursor would pass over a new one. `rewrites` counts how often an erasure took
-- something out. Times are milliseconds since 1970, `key_day` days.
CREATE TABLE webhook_journal (
    id            INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id    TEXT    NOT NULL,
    received_at   INTEGER NOT NULL,
    key_day       INTEGER NOT NULL,
    body          BLOB    NOT NULL,
    body_bytes    INTEGER NOT NULL,
    foreign_items INTEGER NOT NULL DEFAULT 0,
    rewrites      INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX webhook_journal_key_day ON webhook_journal (key_day);

-- Items that were for accounts of somebody else, by the account whose callback they came to. Outlives the rows.
CREATE TABLE webhook_foreign (
    account_id TEXT    NOT NULL PRIMARY KEY,
    items      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
