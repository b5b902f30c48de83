-- What the log was when it was sealed, block by block: see docs/seals.md.
CREATE TABLE audit_seals (
    number         bigint NOT NULL PRIMARY KEY,
    first_position bigint NOT NULL,
    last_position  bigint NOT NULL,
    parts          text   NOT NULL,
    locators       bytea  NOT NULL,
    hash           bytea  NOT NULL
);
