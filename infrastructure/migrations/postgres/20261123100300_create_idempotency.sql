-- What a mutation answered under its caller's idempotency key. Written in the append's transaction.
CREATE TABLE idempotency (
    key_hash    bytea  NOT NULL PRIMARY KEY,
    input_hash  bytea  NOT NULL,
    result      text   NOT NULL,
    position    bigint NOT NULL,
    recorded_at bigint NOT NULL
);

CREATE INDEX idempotency_recorded_at ON idempotency (recorded_at);
