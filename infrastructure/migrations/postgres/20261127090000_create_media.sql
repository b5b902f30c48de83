-- Media of messages that came in: what is to be fetched from WhatsApp, and what is here, sealed in frames so that every node
-- has it. due_at is null once nothing is to be tried any more, stored_at until it is here. Times are milliseconds since 1970.
CREATE TABLE media (
    message_id uuid   NOT NULL PRIMARY KEY,
    account_id uuid   NOT NULL,
    contact_id uuid   NOT NULL,
    wanted_at  bigint NOT NULL,
    due_at     bigint,
    attempts   bigint NOT NULL DEFAULT 0,
    stored_at  bigint,
    bytes      bigint NOT NULL DEFAULT 0,
    mime_type  text
);

CREATE INDEX media_due ON media (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX media_stored ON media (stored_at) WHERE stored_at IS NOT NULL;
CREATE INDEX media_contact ON media (contact_id);

CREATE TABLE media_frames (
    message_id uuid   NOT NULL REFERENCES media ON DELETE CASCADE,
    n          bigint NOT NULL,
    sealed     bytea  NOT NULL,
    PRIMARY KEY (message_id, n)
);

-- Sealed bytes do not compress.
ALTER TABLE media_frames ALTER COLUMN sealed SET STORAGE EXTERNAL;
