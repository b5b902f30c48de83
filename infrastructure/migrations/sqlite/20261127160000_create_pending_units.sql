-- Units that are decided, and whose events are on their way into KurrentDB: one stream after the other, each as it is to be
-- appended. Whatever happens, they are written before anything else is.
CREATE TABLE pending_units (
    id          INTEGER PRIMARY KEY,
    writes      BLOB NOT NULL,
    key_hash    BLOB,
    recorded_at INTEGER NOT NULL
) STRICT;
