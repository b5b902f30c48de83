-- The log. The first seven columns are those of postgres-es, unchanged; every other has a default, so that its stock
-- INSERT works and gets a proper place in the order. Not partitioned yet: running on several nodes at scale partitions
-- by aggregate type and id, which keeps this primary key.
CREATE SEQUENCE event_positions AS bigint;

-- Whoever draws a position holds this lock until its transaction ends, so a visible position means that every lower one
-- is committed or will never be: a reader that has seen p never sees anything new at or below p.
CREATE FUNCTION lock_event_log() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1464290375, 0);
END $$;

CREATE FUNCTION next_position() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM lock_event_log();
    RETURN nextval('event_positions');
END $$;

CREATE TABLE events (
    aggregate_type text COLLATE "C" NOT NULL,
    aggregate_id   text COLLATE "C" NOT NULL,
    sequence       bigint           NOT NULL CHECK (sequence >= 0),
    event_type     text COLLATE "C" NOT NULL,
    event_version  text COLLATE "C" NOT NULL,
    payload        json             NOT NULL,
    metadata       json             NOT NULL,
    position       bigint           NOT NULL DEFAULT next_position(),
    event_id       uuid             NOT NULL DEFAULT gen_random_uuid(),
    workspace_id   uuid,
    account_id     uuid,
    occurred_at    timestamptz      NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    recorded_at    timestamptz      NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);

CREATE UNIQUE INDEX events_position ON events (position);
CREATE UNIQUE INDEX events_event_id ON events (event_id);

-- Never before the last event's. Defaults are drawn in the order of columns, so `position` has taken the lock by then.
CREATE FUNCTION next_recorded_at() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN greatest(
        date_trunc('milliseconds', clock_timestamp()),
        (SELECT recorded_at FROM events ORDER BY position DESC LIMIT 1));
END $$;

ALTER TABLE events ALTER COLUMN recorded_at SET DEFAULT next_recorded_at();

-- The first position recorded at or after this moment, or NULL. `recorded_at` never decreases, so halving finds it in
-- a few dozen look-ups at any size, without an index of its own.
CREATE FUNCTION first_position_at(moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low     bigint := 1;
    high    bigint;
    middle  bigint;
    found_at record;
BEGIN
    SELECT max(position) + 1 INTO high FROM events;
    IF high IS NULL THEN
        RETURN NULL;
    END IF;
    WHILE low < high LOOP
        middle := (low + high) / 2;
        SELECT position, recorded_at INTO found_at FROM events WHERE position >= middle ORDER BY position LIMIT 1;
        IF NOT FOUND OR found_at.recorded_at >= moment THEN
            high := middle;
        ELSE
            low := found_at.position + 1;
        END IF;
    END LOOP;
    RETURN (SELECT position FROM events WHERE position >= low ORDER BY position LIMIT 1);
END $$;
