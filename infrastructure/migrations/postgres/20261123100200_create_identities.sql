-- Uniqueness across streams: one holder per workspace, kind and keyed hash. Written in the append's transaction.
CREATE TABLE identities (
    workspace_id uuid             NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    hash         bytea            NOT NULL,
    holder       uuid             NOT NULL,
    PRIMARY KEY (workspace_id, kind, hash)
);
