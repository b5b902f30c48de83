-- The log in a compact form, in partitions: what many events have in common is kept once, ids are 16 bytes, and messages
-- lie by the month of their ids, so that an old month can be taken out as one piece. The view `events` reads, and takes
-- stock inserts, as the table of that name did: its first seven columns are those of postgres-es.
--
-- A log in the old form is carried over here, in one transaction. Appends wait for it, those of older programs too, and go
-- on through the view.
SELECT lock_event_log();
ALTER TABLE events RENAME TO events_before;
ALTER INDEX events_pkey RENAME TO events_before_pkey;
ALTER TABLE events_before ALTER COLUMN recorded_at DROP DEFAULT, ALTER COLUMN position DROP DEFAULT;

-- `actor` is JSON, as it stands in the metadata. NULL: the metadata is not the gateway's own, see `foreign_metadata`.
CREATE TABLE event_kinds (
    id             int              GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    aggregate_type text COLLATE "C" NOT NULL,
    event_type     text COLLATE "C" NOT NULL,
    event_version  text COLLATE "C" NOT NULL,
    actor          text COLLATE "C",
    workspace_id   uuid,
    account_id     uuid
);

CREATE UNIQUE INDEX event_kinds_key ON event_kinds (
    event_type, coalesce(account_id, '00000000-0000-0000-0000-000000000000'),
    coalesce(workspace_id, '00000000-0000-0000-0000-000000000000'), coalesce(actor, ''), event_version, aggregate_type);

-- What others than the gateway wrote as metadata, by position.
CREATE TABLE foreign_metadata (
    position bigint NOT NULL PRIMARY KEY,
    metadata json   NOT NULL
);

-- The primary key holds the stream's order; `recorded_at` never decreases with `position`. The widest come first, so that
-- nothing is lost to alignment. `payload` is JSON to the letter, and is checked by whoever writes it.
CREATE TABLE log (
    position       bigint      NOT NULL,
    recorded_at    timestamptz NOT NULL,
    occurred_at    timestamptz NOT NULL,
    sequence       int         NOT NULL CHECK (sequence >= 0),
    kind           int         NOT NULL,
    aggregate_type smallint    NOT NULL,
    aggregate_id   uuid        NOT NULL,
    event_id       uuid        NOT NULL,
    correlation_id uuid        NOT NULL,
    causation_id   uuid,
    subject        uuid,
    payload        text        NOT NULL,
    PRIMARY KEY (aggregate_id, sequence, aggregate_type)
) PARTITION BY LIST (aggregate_type);

CREATE INDEX log_position ON log (position);

-- Two branches, so that making a month looks for strays among messages only, of which there are hardly any, and not
-- among all people's events.
CREATE TABLE log_messages PARTITION OF log FOR VALUES IN (8) PARTITION BY RANGE (aggregate_id);
CREATE TABLE log_messages_other PARTITION OF log_messages DEFAULT;
CREATE TABLE log_others PARTITION OF log DEFAULT;

-- Months that were taken out, and the ids of the messages in them: `first_id` up to, without, `end_id`.
CREATE TABLE detached_months (
    month       date        NOT NULL PRIMARY KEY,
    first_id    uuid        NOT NULL,
    end_id      uuid        NOT NULL,
    detached_at timestamptz NOT NULL
);

-- As in the tables, for ever. NULL: this log has no such streams.
CREATE FUNCTION aggregate_number(name text) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE name WHEN 'workspace' THEN 1 WHEN 'account' THEN 2 WHEN 'template' THEN 3 WHEN 'contact' THEN 4
        WHEN 'segment' THEN 5 WHEN 'import' THEN 6 WHEN 'campaign' THEN 7 WHEN 'message' THEN 8
        WHEN 'api_key' THEN 9 END::smallint
$$;

-- What an id that grows with time begins at from this moment on.
CREATE FUNCTION first_id_at(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT rpad(lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- Metadata as the gateway writes it.
CREATE FUNCTION event_metadata(actor text, correlation_id uuid, causation_id uuid, subject uuid) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('{"actor":' || actor || ',"correlation_id":"' || correlation_id || '"'
        || coalesce(',"causation_id":"' || causation_id || '"', '')
        || coalesce(',"subject":"' || subject || '"', '') || '}')::json
$$;

-- And back; all NULL where it is not the gateway's own, to the letter.
CREATE FUNCTION split_metadata(
    metadata json, OUT actor text, OUT correlation_id uuid, OUT causation_id uuid, OUT subject uuid
) LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    id CONSTANT text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
BEGIN
    IF json_typeof(metadata) <> 'object' OR json_typeof(metadata -> 'actor') IS DISTINCT FROM 'object'
        OR (metadata ->> 'correlation_id' ~ id) IS NOT TRUE
        OR (metadata ->> 'causation_id' ~ id) IS FALSE OR (metadata ->> 'subject' ~ id) IS FALSE
    THEN
        RETURN;
    END IF;
    actor := (metadata -> 'actor')::text;
    correlation_id := (metadata ->> 'correlation_id')::uuid;
    causation_id := (metadata ->> 'causation_id')::uuid;
    subject := (metadata ->> 'subject')::uuid;
    IF event_metadata(actor, correlation_id, causation_id, subject)::text <> metadata::text THEN
        actor := NULL; correlation_id := NULL; causation_id := NULL; subject := NULL;
    END IF;
END $$;

-- The number of a kind, a new one where there is none yet. Whoever goes on to use it in another transaction has to be
-- sure that this one was committed.
CREATE FUNCTION event_kind(
    of_aggregate text, of_type text, of_version text, by_actor text, of_workspace uuid, of_account uuid
) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    found  int;
BEGIN
    -- The second look finds what another inserted meanwhile.
    FOR attempt IN 1..2 LOOP
        SELECT k.id INTO found FROM event_kinds k
        WHERE k.event_type = of_type AND coalesce(k.account_id, nobody) = coalesce(of_account, nobody)
          AND coalesce(k.workspace_id, nobody) = coalesce(of_workspace, nobody)
          AND coalesce(k.actor, '') = coalesce(by_actor, '') AND k.event_version = of_version
          AND k.aggregate_type = of_aggregate;
        IF found IS NULL AND attempt = 1 THEN
            INSERT INTO event_kinds (aggregate_type, event_type, event_version, actor, workspace_id, account_id)
            VALUES (of_aggregate, of_type, of_version, by_actor, of_workspace, of_account)
            ON CONFLICT DO NOTHING RETURNING id INTO found;
        END IF;
        EXIT WHEN found IS NOT NULL;
    END LOOP;
    RETURN found;
END $$;

-- What each table of events has for itself. An event id is unique in its table: uniqueness over all would need the
-- stream in the index. Whoever asks the view `events` for a stream asks by text, as stock postgres-es does; for messages a
-- summary of each stretch of the table leads there, since their ids grow, and costs next to nothing.
CREATE FUNCTION index_log_table(name text, by_summary boolean) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    EXECUTE format('CREATE UNIQUE INDEX %I ON %I (event_id)', name || '_event_id', name);
    IF by_summary THEN
        EXECUTE format('CREATE INDEX %I ON %I USING brin (((aggregate_id::text) COLLATE "C"))
            WITH (pages_per_range = 32, autosummarize = on)', name || '_text', name);
    ELSE
        EXECUTE format('CREATE INDEX %I ON %I (((aggregate_id::text) COLLATE "C"))', name || '_text', name);
    END IF;
END $$;

SELECT index_log_table('log_others', false), index_log_table('log_messages_other', true);

-- The name of the table that has a month's messages.
CREATE FUNCTION messages_table(month date) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 'log_messages_' || to_char(month, 'YYYY_MM')
$$;

-- Makes the tables for the messages of the months (UTC) from that of `since` to that of `until` that are not there yet, and
-- says how many it made. What of these months was taken by the table of strays meanwhile moves over; where that is more
-- than a little, it stays, and the month gets no table of its own. Another that is making months is not waited for.
-- Whoever is in the middle of a long look at the strays is waited for only briefly: everybody else would wait behind.
CREATE FUNCTION make_message_months(since timestamptz, until timestamptz) RETURNS int LANGUAGE plpgsql VOLATILE
SET lock_timeout = '500ms' SET TimeZone = 'UTC' AS $$
DECLARE
    strays_max CONSTANT int := 100000;
    missing    date[];
    this       date;
    first      uuid;
    beyond     uuid;
    name       text;
    strays     int;
    made       int := 0;
BEGIN
    -- No more than ten years at once.
    SELECT array_agg(m.day ORDER BY m.day) INTO missing
    FROM (SELECT (date_trunc('month', since) + make_interval(months => n))::date AS day FROM generate_series(0, 119) AS n) AS m
    WHERE m.day <= until AND to_regclass(quote_ident(messages_table(m.day))) IS NULL
      AND NOT EXISTS (SELECT 1 FROM detached_months d WHERE d.month = m.day);
    IF missing IS NULL OR NOT pg_try_advisory_xact_lock(1464290375, 3) THEN
        RETURN 0;
    END IF;
    -- Nobody adds a stray from here on. As in an append, the log's lock comes before any table's.
    PERFORM lock_event_log();
    FOREACH this IN ARRAY missing LOOP
        name := messages_table(this);
        first := first_id_at(this);
        beyond := first_id_at((this + interval '1 month')::date);
        SELECT count(*) INTO strays FROM (
            SELECT 1 FROM log_messages_other o WHERE o.aggregate_id >= first AND o.aggregate_id < beyond
            LIMIT strays_max + 1) AS counted;
        -- Another may have made it before we held the locks.
        IF strays <= strays_max AND to_regclass(quote_ident(name)) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE log_messages INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
            PERFORM index_log_table(name, true);
            IF strays > 0 THEN
                EXECUTE format('WITH strays AS (
                        DELETE FROM log_messages_other WHERE aggregate_id >= $1 AND aggregate_id < $2 RETURNING *)
                    INSERT INTO %I SELECT * FROM strays ORDER BY position', name) USING first, beyond;
            END IF;
            EXECUTE format('ALTER TABLE log_messages ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                name, first, beyond);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END $$;

-- Takes a month's messages out of the log, and says which table has them from now on. They are nobody's until that is
-- dropped or put back; whoever asks for one of them is told so. Only what is long over: nothing comes for such a message.
CREATE FUNCTION detach_messages(of_month date) RETURNS text LANGUAGE plpgsql VOLATILE
SET lock_timeout = '5s' SET TimeZone = 'UTC' AS $$
DECLARE
    this   date := date_trunc('month', of_month)::date;
    beyond date := (date_trunc('month', of_month) + interval '1 month')::date;
    name   text := messages_table(this);
BEGIN
    IF beyond > clock_timestamp() - interval '90 days' THEN
        RAISE EXCEPTION 'messages of % are too young to be taken out: statuses may still come', to_char(this, 'YYYY-MM');
    END IF;
    PERFORM lock_event_log();
    IF NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhrelid = to_regclass(quote_ident(name))) THEN
        RAISE EXCEPTION 'the log has no table %', name;
    END IF;
    EXECUTE format('ALTER TABLE log_messages DETACH PARTITION %I', name);
    INSERT INTO detached_months (month, first_id, end_id, detached_at)
    VALUES (this, first_id_at(this), first_id_at(beyond), clock_timestamp());
    RETURN name;
END $$;

-- And puts it back, where its table is here again.
CREATE FUNCTION attach_messages(of_month date) RETURNS text LANGUAGE plpgsql VOLATILE
SET lock_timeout = '5s' SET TimeZone = 'UTC' AS $$
DECLARE
    this   date := date_trunc('month', of_month)::date;
    name   text := messages_table(this);
    first  uuid;
    beyond uuid;
BEGIN
    PERFORM lock_event_log();
    DELETE FROM detached_months d WHERE d.month = this RETURNING d.first_id, d.end_id INTO first, beyond;
    IF first IS NULL THEN
        RAISE EXCEPTION 'messages of % were not taken out', to_char(this, 'YYYY-MM');
    END IF;
    EXECUTE format('ALTER TABLE log_messages ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, beyond);
    RETURN name;
END $$;

-- The old log. A row that this form cannot hold (no UUID, an unknown type) stops the migration, and nothing is lost.
SELECT make_message_months(greatest(b.first_at, now() - interval '9 years'), least(b.last_at, now()))
FROM (
    SELECT to_timestamp(('x' || replace(left(min(aggregate_id), 13), '-', ''))::bit(48)::bigint / 1000.0) AS first_at,
        to_timestamp(('x' || replace(left(max(aggregate_id), 13), '-', ''))::bit(48)::bigint / 1000.0) AS last_at
    FROM events_before WHERE aggregate_type = 'message') AS b
WHERE b.first_at IS NOT NULL;

INSERT INTO log (position, recorded_at, occurred_at, sequence, kind, aggregate_type, aggregate_id, event_id,
    correlation_id, causation_id, subject, payload)
SELECT e.position, e.recorded_at, e.occurred_at, e.sequence,
    event_kind(e.aggregate_type, e.event_type, e.event_version, m.actor, e.workspace_id, e.account_id),
    aggregate_number(e.aggregate_type), e.aggregate_id::uuid, e.event_id, coalesce(m.correlation_id, e.event_id),
    m.causation_id, m.subject, e.payload::text
FROM events_before e CROSS JOIN LATERAL split_metadata(e.metadata) m
ORDER BY e.position;

INSERT INTO foreign_metadata (position, metadata)
SELECT e.position, e.metadata FROM events_before e
WHERE e.position IN (SELECT l.position FROM log l JOIN event_kinds k ON k.id = l.kind WHERE k.actor IS NULL);

DO $$
BEGIN
    IF (SELECT count(*) FROM log) <> (SELECT count(*) FROM events_before) THEN
        RAISE EXCEPTION 'not every event was carried over';
    END IF;
END $$;

DROP TABLE events_before;

CREATE VIEW events AS
SELECT k.aggregate_type, (l.aggregate_id::text) COLLATE "C" AS aggregate_id, l.sequence::bigint AS sequence, k.event_type,
    k.event_version, l.payload::json AS payload,
    CASE WHEN k.actor IS NULL THEN (SELECT f.metadata FROM foreign_metadata f WHERE f.position = l.position)
        ELSE event_metadata(k.actor, l.correlation_id, l.causation_id, l.subject) END AS metadata,
    l.position, l.event_id, k.workspace_id, k.account_id, l.occurred_at, l.recorded_at
FROM log l JOIN event_kinds k ON k.id = l.kind;

CREATE OR REPLACE FUNCTION next_recorded_at() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN greatest(
        date_trunc('milliseconds', clock_timestamp()),
        (SELECT recorded_at FROM log ORDER BY position DESC LIMIT 1));
END $$;

CREATE OR REPLACE FUNCTION first_position_at(moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low     bigint := 1;
    high    bigint;
    middle  bigint;
    found_at record;
BEGIN
    SELECT max(position) + 1 INTO high FROM log;
    IF high IS NULL THEN
        RETURN NULL;
    END IF;
    WHILE low < high LOOP
        middle := (low + high) / 2;
        SELECT position, recorded_at INTO found_at FROM log WHERE position >= middle ORDER BY position LIMIT 1;
        IF NOT FOUND OR found_at.recorded_at >= moment THEN
            high := middle;
        ELSE
            low := found_at.position + 1;
        END IF;
    END LOOP;
    RETURN (SELECT position FROM log WHERE position >= low ORDER BY position LIMIT 1);
END $$;

-- What is not said follows: the next position, a new id, now. A position that is said has to be beyond the last one, which
-- is the case where the lock was held since it was drawn, as `append_units` does.
CREATE FUNCTION insert_event() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    number smallint := aggregate_number(NEW.aggregate_type);
    parts  record;
BEGIN
    IF number IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = format('this log has no streams of type %s', NEW.aggregate_type);
    END IF;
    PERFORM lock_event_log();
    IF EXISTS (SELECT 1 FROM detached_months d WHERE number = 8
        AND NEW.aggregate_id::uuid >= d.first_id AND NEW.aggregate_id::uuid < d.end_id)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'GW001', DETAIL = NEW.aggregate_id,
            MESSAGE = format('message-%s is of a month that was taken out of the log', NEW.aggregate_id);
    END IF;
    IF NEW.position IS NULL THEN
        NEW.position := nextval('event_positions');
    ELSIF NEW.position <= (SELECT max(l.position) FROM log l) THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a position has to be beyond the last one';
    END IF;
    NEW.event_id := coalesce(NEW.event_id, gen_random_uuid());
    NEW.occurred_at := coalesce(NEW.occurred_at, date_trunc('milliseconds', clock_timestamp()));
    NEW.recorded_at := coalesce(NEW.recorded_at, next_recorded_at());
    SELECT * INTO parts FROM split_metadata(NEW.metadata);
    INSERT INTO log (position, recorded_at, occurred_at, sequence, kind, aggregate_type, aggregate_id, event_id,
        correlation_id, causation_id, subject, payload)
    VALUES (NEW.position, NEW.recorded_at, NEW.occurred_at, NEW.sequence,
        event_kind(NEW.aggregate_type, NEW.event_type, NEW.event_version, parts.actor, NEW.workspace_id, NEW.account_id),
        number, NEW.aggregate_id::uuid, NEW.event_id, coalesce(parts.correlation_id, NEW.event_id), parts.causation_id,
        parts.subject, NEW.payload::text);
    IF parts.actor IS NULL THEN
        INSERT INTO foreign_metadata (position, metadata) VALUES (NEW.position, NEW.metadata);
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER insert_event INSTEAD OF INSERT ON events FOR EACH ROW EXECUTE FUNCTION insert_event();
