-- Statuses of messages that nobody knows yet, by a keyed hash of the wamid: where in the journal they stand.
CREATE TABLE webhook_parked (
    id          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    account_id  TEXT    NOT NULL,
    wamid_hash  BLOB    NOT NULL,
    journal_id  INTEGER NOT NULL,
    item_path   TEXT    NOT NULL,
    received_at INTEGER NOT NULL,
    UNIQUE (journal_id, item_path)
) STRICT;

CREATE INDEX webhook_parked_wamid_hash ON webhook_parked (wamid_hash);
CREATE INDEX webhook_parked_received_at ON webhook_parked (received_at);
