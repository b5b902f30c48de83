-- Media of messages that came in: what is to be fetched from WhatsApp, and what is here, in sealed files beside the database.
-- due_at is null once nothing is to be tried any more, stored_at until it is here. Times are milliseconds since 1970.
CREATE TABLE media (
    message_id TEXT    NOT NULL PRIMARY KEY,
    account_id TEXT    NOT NULL,
    contact_id TEXT    NOT NULL,
    wanted_at  INTEGER NOT NULL,
    due_at     INTEGER,
    attempts   INTEGER NOT NULL DEFAULT 0,
    stored_at  INTEGER,
    bytes      INTEGER NOT NULL DEFAULT 0,
    mime_type  TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX media_due ON media (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX media_stored ON media (stored_at) WHERE stored_at IS NOT NULL;
CREATE INDEX media_contact ON media (contact_id);
