-- What a mutation answered under its caller's idempotency key. Written in the append's transaction.
CREATE TABLE idempotency (
    key_hash    BLOB NOT NULL PRIMARY KEY,
    input_hash  BLOB NOT NULL,
    result      TEXT NOT NULL,
    position    INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_recorded_at ON idempotency (recorded_at);
