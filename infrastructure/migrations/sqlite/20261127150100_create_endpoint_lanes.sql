-- How far webhook endpoints have heard. A lane is an endpoint's own (both ids are the same) or that of a replay. epoch is that
-- of the lease under which it was last worked. Times are milliseconds since 1970.
CREATE TABLE endpoint_lanes (
    lane_id       BLOB NOT NULL PRIMARY KEY,
    endpoint_id   BLOB NOT NULL,
    epoch         INTEGER NOT NULL,
    position      INTEGER NOT NULL,
    failing_since INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX endpoint_lanes_endpoint ON endpoint_lanes (endpoint_id);

-- Things whose next event was not taken. The lane's position goes on past them.
CREATE TABLE endpoint_parked (
    lane_id        BLOB NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id   BLOB NOT NULL,
    after_sequence INTEGER NOT NULL,
    position       INTEGER NOT NULL,
    attempts       INTEGER NOT NULL,
    due_at         INTEGER NOT NULL,
    PRIMARY KEY (lane_id, aggregate_type, aggregate_id)
) STRICT, WITHOUT ROWID;

-- Requests of the last thirty days. answer is sealed with the key of subject, where there is one.
CREATE TABLE endpoint_attempts (
    id          BLOB NOT NULL PRIMARY KEY,
    endpoint_id BLOB NOT NULL,
    at          INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    event_id    BLOB NOT NULL,
    events      INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    is_replay   INTEGER NOT NULL,
    failed      INTEGER NOT NULL,
    status      INTEGER,
    error       TEXT,
    latency_ms  INTEGER NOT NULL,
    answer      BLOB NOT NULL,
    subject     BLOB
) STRICT, WITHOUT ROWID;

CREATE INDEX endpoint_attempts_endpoint ON endpoint_attempts (endpoint_id, id);
CREATE INDEX endpoint_attempts_failed ON endpoint_attempts (endpoint_id, id) WHERE failed = 1;
CREATE INDEX endpoint_attempts_at ON endpoint_attempts (at);
