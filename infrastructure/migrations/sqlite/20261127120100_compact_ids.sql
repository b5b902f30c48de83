-- Ids as 16 bytes.
CREATE TABLE compact_data_keys (
    subject      BLOB NOT NULL PRIMARY KEY,
    wrapped      BLOB,
    destroyed_at INTEGER,
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO compact_data_keys SELECT unhex(subject, '-'), wrapped, destroyed_at FROM data_keys ORDER BY subject;

DROP TABLE data_keys;

ALTER TABLE compact_data_keys RENAME TO data_keys;

CREATE INDEX data_keys_destroyed_at ON data_keys (destroyed_at, subject) WHERE destroyed_at IS NOT NULL;

CREATE TABLE compact_identities (
    workspace_id BLOB NOT NULL,
    kind         TEXT NOT NULL,
    hash         BLOB NOT NULL,
    holder       BLOB NOT NULL,
    PRIMARY KEY (workspace_id, kind, hash)
) STRICT, WITHOUT ROWID;

INSERT INTO compact_identities SELECT unhex(workspace_id, '-'), kind, hash, unhex(holder, '-')
FROM identities ORDER BY workspace_id, kind, hash;

DROP TABLE identities;

ALTER TABLE compact_identities RENAME TO identities;
