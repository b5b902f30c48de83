-- What the log was when it was sealed, block by block: see docs/seals.md.
CREATE TABLE audit_seals (
    number         INTEGER PRIMARY KEY,
    first_position INTEGER NOT NULL,
    last_position  INTEGER NOT NULL,
    parts          TEXT    NOT NULL,
    locators       BLOB    NOT NULL,
    hash           BLOB    NOT NULL
) STRICT;
