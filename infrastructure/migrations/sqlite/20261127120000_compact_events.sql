-- The log in a compact form: what repeats is kept once, ids are 16 bytes, and what follows from another row is not
-- written again. The view `events` reads as the table of that name did: its first seven columns are those of
-- postgres-es, ids are texts with dashes, metadata is JSON, times are milliseconds since 1970.

-- What events have in common, once per combination. `actor` is JSON, as it stands in the metadata.
CREATE TABLE kinds (
    id             INTEGER PRIMARY KEY,
    aggregate_type TEXT    NOT NULL,
    event_type     TEXT    NOT NULL,
    event_version  INTEGER NOT NULL,
    actor          TEXT    NOT NULL,
    workspace_id   BLOB,
    account_id     BLOB,
    UNIQUE (event_type, workspace_id, account_id, actor, event_version, aggregate_type)
) STRICT;

-- `aggregate_type` by number: workspace 1, account 2, template 3, contact 4, segment 5, import 6, campaign 7, message 8
-- and api_key 9. `correlation_id` is that of the stream's first event.
CREATE TABLE streams (
    id             INTEGER PRIMARY KEY,
    aggregate_type INTEGER NOT NULL,
    aggregate_id   BLOB    NOT NULL,
    correlation_id BLOB    NOT NULL,
    UNIQUE (aggregate_id, aggregate_type)
) STRICT;

-- `correlation_id` is NULL where it is the stream's. `causation` is an id, or, as a number, how many positions before
-- this one the event stands whose id it is. `lag` is how many milliseconds before `recorded_at` it occurred.
-- `recorded_at` never decreases with `position`. The payload is the last, so that nothing is behind its overflow pages.
CREATE TABLE log (
    position       INTEGER PRIMARY KEY,
    stream         INTEGER NOT NULL,
    sequence       INTEGER NOT NULL CHECK (sequence > 0),
    kind           INTEGER NOT NULL,
    event_id       BLOB    NOT NULL UNIQUE,
    correlation_id BLOB,
    causation      ANY,
    subject        BLOB,
    lag            INTEGER NOT NULL,
    recorded_at    INTEGER NOT NULL,
    payload        TEXT    NOT NULL,
    UNIQUE (stream, sequence)
) STRICT;

-- Left joins below: a row that finds no stream or kind stops the migration instead of being left out.
INSERT INTO kinds (aggregate_type, event_type, event_version, actor, workspace_id, account_id)
SELECT DISTINCT aggregate_type, event_type, CAST(event_version AS INTEGER), metadata -> '$.actor',
    unhex(workspace_id, '-'), unhex(account_id, '-')
FROM events;

INSERT INTO streams (aggregate_type, aggregate_id, correlation_id)
SELECT
    CASE aggregate_type WHEN 'workspace' THEN 1 WHEN 'account' THEN 2 WHEN 'template' THEN 3 WHEN 'contact' THEN 4
        WHEN 'segment' THEN 5 WHEN 'import' THEN 6 WHEN 'campaign' THEN 7 WHEN 'message' THEN 8
        WHEN 'api_key' THEN 9 END,
    unhex(aggregate_id, '-'), unhex(metadata ->> '$.correlation_id', '-')
FROM events WHERE sequence = 1 ORDER BY position;

INSERT INTO log
SELECT e.position, s.id, e.sequence, k.id, unhex(e.event_id, '-'),
    nullif(unhex(e.metadata ->> '$.correlation_id', '-'), s.correlation_id),
    CASE WHEN e.position - p.position <= 32767 THEN e.position - p.position
        ELSE unhex(e.metadata ->> '$.causation_id', '-') END,
    unhex(e.metadata ->> '$.subject', '-'), e.recorded_at - e.occurred_at, e.recorded_at, e.payload
FROM events AS e
LEFT JOIN streams AS s ON s.aggregate_id = unhex(e.aggregate_id, '-') AND s.aggregate_type =
    CASE e.aggregate_type WHEN 'workspace' THEN 1 WHEN 'account' THEN 2 WHEN 'template' THEN 3 WHEN 'contact' THEN 4
        WHEN 'segment' THEN 5 WHEN 'import' THEN 6 WHEN 'campaign' THEN 7 WHEN 'message' THEN 8
        WHEN 'api_key' THEN 9 END
LEFT JOIN kinds AS k ON k.event_type = e.event_type AND k.workspace_id IS unhex(e.workspace_id, '-')
    AND k.account_id IS unhex(e.account_id, '-') AND k.actor = e.metadata -> '$.actor'
    AND k.event_version = CAST(e.event_version AS INTEGER) AND k.aggregate_type = e.aggregate_type
LEFT JOIN events AS p ON p.aggregate_type = e.aggregate_type AND p.aggregate_id = e.aggregate_id
    AND p.sequence = e.sequence - 1 AND p.event_id = e.metadata ->> '$.causation_id'
ORDER BY e.position;

DROP TABLE events;

CREATE VIEW events (
    aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position, event_id,
    workspace_id, account_id, occurred_at, recorded_at
) AS
SELECT aggregate_type,
    lower(hex(substr(aggregate_id, 1, 4)) || '-' || hex(substr(aggregate_id, 5, 2)) || '-' ||
        hex(substr(aggregate_id, 7, 2)) || '-' || hex(substr(aggregate_id, 9, 2)) || '-' ||
        hex(substr(aggregate_id, 11, 6))),
    sequence, event_type, CAST(event_version AS TEXT), payload,
    '{"actor":' || actor || ',"correlation_id":"' ||
    lower(hex(substr(correlation_id, 1, 4)) || '-' || hex(substr(correlation_id, 5, 2)) || '-' ||
        hex(substr(correlation_id, 7, 2)) || '-' || hex(substr(correlation_id, 9, 2)) || '-' ||
        hex(substr(correlation_id, 11, 6))) || '"' ||
    CASE WHEN causation_id IS NULL THEN '' ELSE ',"causation_id":"' ||
    lower(hex(substr(causation_id, 1, 4)) || '-' || hex(substr(causation_id, 5, 2)) || '-' ||
        hex(substr(causation_id, 7, 2)) || '-' || hex(substr(causation_id, 9, 2)) || '-' ||
        hex(substr(causation_id, 11, 6))) || '"' END ||
    CASE WHEN subject IS NULL THEN '' ELSE ',"subject":"' ||
    lower(hex(substr(subject, 1, 4)) || '-' || hex(substr(subject, 5, 2)) || '-' ||
        hex(substr(subject, 7, 2)) || '-' || hex(substr(subject, 9, 2)) || '-' ||
        hex(substr(subject, 11, 6))) || '"' END || '}',
    position,
    lower(hex(substr(event_id, 1, 4)) || '-' || hex(substr(event_id, 5, 2)) || '-' ||
        hex(substr(event_id, 7, 2)) || '-' || hex(substr(event_id, 9, 2)) || '-' ||
        hex(substr(event_id, 11, 6))),
    CASE WHEN workspace_id IS NOT NULL THEN
    lower(hex(substr(workspace_id, 1, 4)) || '-' || hex(substr(workspace_id, 5, 2)) || '-' ||
        hex(substr(workspace_id, 7, 2)) || '-' || hex(substr(workspace_id, 9, 2)) || '-' ||
        hex(substr(workspace_id, 11, 6))) END,
    CASE WHEN account_id IS NOT NULL THEN
    lower(hex(substr(account_id, 1, 4)) || '-' || hex(substr(account_id, 5, 2)) || '-' ||
        hex(substr(account_id, 7, 2)) || '-' || hex(substr(account_id, 9, 2)) || '-' ||
        hex(substr(account_id, 11, 6))) END,
    recorded_at - lag, recorded_at
FROM (
    SELECT l.position, l.sequence, l.payload, l.event_id, l.subject, l.lag, l.recorded_at, s.aggregate_id,
        coalesce(l.correlation_id, s.correlation_id) AS correlation_id,
        coalesce(c.event_id, l.causation) AS causation_id,
        k.aggregate_type, k.event_type, k.event_version, k.actor, k.workspace_id, k.account_id
    FROM log AS l JOIN streams AS s ON s.id = l.stream JOIN kinds AS k ON k.id = l.kind
    LEFT JOIN log AS c ON typeof(l.causation) = 'integer' AND c.position = l.position - l.causation
);
