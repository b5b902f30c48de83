-- Uniqueness across streams: one holder per workspace, kind and keyed hash. Written in the append's transaction.
CREATE TABLE identities (
    workspace_id TEXT NOT NULL,
    kind         TEXT NOT NULL,
    hash         BLOB NOT NULL,
    holder       TEXT NOT NULL,
    PRIMARY KEY (workspace_id, kind, hash)
) STRICT, WITHOUT ROWID;
