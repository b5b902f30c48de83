-- How far a reader of the journal has come: everything at or below `position` is done with.
CREATE TABLE webhook_cursor (
    name     TEXT    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
