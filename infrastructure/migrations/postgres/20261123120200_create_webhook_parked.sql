-- Statuses of messages that nobody knows yet, by a keyed hash of the wamid: where in the journal they stand.
CREATE TABLE webhook_parked (
    id          bigint           NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id  uuid             NOT NULL,
    wamid_hash  bytea            NOT NULL,
    journal_id  bigint           NOT NULL,
    item_path   text COLLATE "C" NOT NULL,
    received_at bigint           NOT NULL,
    UNIQUE (journal_id, item_path)
);

CREATE INDEX webhook_parked_wamid_hash ON webhook_parked (wamid_hash);
CREATE INDEX webhook_parked_received_at ON webhook_parked (received_at);
