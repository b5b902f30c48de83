-- How far a reader of the journal has come: everything at or below `position` is done with.
CREATE TABLE webhook_cursor (
    name     text COLLATE "C" NOT NULL PRIMARY KEY,
    position bigint           NOT NULL
);
