-- How far webhook endpoints have heard. A lane is an endpoint's own (both ids are the same) or that of a replay. epoch is that
-- of the lease under which it was last worked. Times are milliseconds since 1970.
CREATE TABLE endpoint_lanes (
    lane_id       uuid NOT NULL PRIMARY KEY,
    endpoint_id   uuid NOT NULL,
    epoch         bigint NOT NULL,
    position      bigint NOT NULL,
    failing_since bigint
);

CREATE INDEX endpoint_lanes_endpoint ON endpoint_lanes (endpoint_id);

-- Things whose next event was not taken. The lane's position goes on past them.
CREATE TABLE endpoint_parked (
    lane_id        uuid NOT NULL,
    aggregate_type text NOT NULL,
    aggregate_id   uuid NOT NULL,
    after_sequence bigint NOT NULL,
    position       bigint NOT NULL,
    attempts       bigint NOT NULL,
    due_at         bigint NOT NULL,
    PRIMARY KEY (lane_id, aggregate_type, aggregate_id)
);

-- Requests of the last thirty days. answer is sealed with the key of subject, where there is one.
CREATE TABLE endpoint_attempts (
    id          uuid NOT NULL PRIMARY KEY,
    endpoint_id uuid NOT NULL,
    at          bigint NOT NULL,
    position    bigint NOT NULL,
    event_id    uuid NOT NULL,
    events      bigint NOT NULL,
    number      bigint NOT NULL,
    is_replay   bigint NOT NULL,
    failed      bigint NOT NULL,
    status      bigint,
    error       text,
    latency_ms  bigint NOT NULL,
    answer      bytea NOT NULL,
    subject     uuid
);

CREATE INDEX endpoint_attempts_endpoint ON endpoint_attempts (endpoint_id, id);
CREATE INDEX endpoint_attempts_failed ON endpoint_attempts (endpoint_id, id) WHERE failed = 1;
CREATE INDEX endpoint_attempts_at ON endpoint_attempts (at);
