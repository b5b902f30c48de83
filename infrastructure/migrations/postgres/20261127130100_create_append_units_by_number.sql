-- Takes a batch of units into the log: one call, one round trip, so that a stopped client never holds the lock. Units are
-- numbered from 1; each array group has an element per stream, event and so on, saying which unit it belongs to. An event
-- names its stream by its number in the call, from 1, and its kind by its number in `event_kinds`. No two units of a call
-- may touch the same stream, identity, idempotency key, data key or secret. The function of this name that has texts for
-- ids is for programs older than the compact log, which write through the view.
--
-- A unit is checked in this order: idempotency key, fence, streams and data keys, identities. What one unit fails on
-- never touches its neighbours. Answers one row per unit, in no order.
CREATE FUNCTION append_units(
    now_at timestamptz,
    unit_events int[],
    key_units int[], key_hashes bytea[], key_inputs bytea[], key_results text[], key_times bigint[],
    fence_units int[], fence_leases text[], fence_epochs bigint[],
    stream_units int[], stream_types smallint[], stream_ids uuid[], stream_expected bigint[],
    event_units int[], event_streams int[], event_sequences bigint[], event_kinds int[], event_ids uuid[],
    event_correlations uuid[], event_causations uuid[], event_subjects uuid[], event_times timestamptz[],
    event_payloads text[],
    claim_units int[], claim_indexes int[], claim_workspaces uuid[], claim_kinds text[], claim_hashes bytea[],
    claim_holders uuid[],
    release_units int[], release_workspaces uuid[], release_kinds text[], release_hashes bytea[],
    release_holders uuid[],
    new_key_units int[], new_key_subjects uuid[], new_key_wrapped bytea[],
    destroyed_units int[], destroyed_subjects uuid[],
    secret_units int[], secret_names text[], secret_sealed bytea[]
) RETURNS TABLE (
    out_unit int, out_outcome text, out_first bigint, out_last bigint, out_recorded_at timestamptz,
    -- stale: numbers of the unit's streams in the call, from 1; NULL for all of the unit's
    out_streams int[],
    -- taken
    out_index int, out_holder uuid,
    -- replayed (with out_last)
    out_input_hash bytea, out_result text, out_key_time bigint
)
LANGUAGE plpgsql VOLATILE
-- Every look-up here is by key. What a planner knew while the tables were small must not turn into a scan later; and a plan
-- that looks dear for that is not to be compiled.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    unit_count  int := cardinality(unit_events);
    refused     boolean[] := array_fill(false, ARRAY[cardinality(unit_events)]);
    lasts       bigint[] := array_fill(0::bigint, ARRAY[cardinality(unit_events)]);
    head        bigint;
    recorded    timestamptz;
    recorded_ms bigint;
    taken       bigint;
    base        bigint;
    r           record;
BEGIN
    PERFORM lock_event_log();
    -- Else a stream that was taken out would begin anew. One such unit fails the call; alone, it harms nobody.
    FOR r IN
        SELECT s.id FROM unnest(stream_types, stream_ids) AS s (type, id) JOIN detached_months d
            ON s.type = 8 AND s.id >= d.first_id AND s.id < d.end_id
    LOOP
        RAISE EXCEPTION USING ERRCODE = 'GW001', DETAIL = r.id,
            MESSAGE = format('message-%s is of a month that was taken out of the log', r.id);
    END LOOP;
    SELECT e.position, e.recorded_at INTO head, recorded FROM log e ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    recorded := greatest(now_at, recorded);
    recorded_ms := (extract(epoch FROM recorded) * 1000)::bigint;
    out_recorded_at := recorded;

    IF cardinality(key_units) > 0 THEN
        FOR r IN
            SELECT k.unit, i.input_hash, i.result, i.position, i.recorded_at
            FROM unnest(key_units, key_hashes) AS k (unit, hash) JOIN idempotency i ON i.key_hash = k.hash
        LOOP
            refused[r.unit] := true;
            out_unit := r.unit; out_outcome := 'replayed'; out_input_hash := r.input_hash; out_result := r.result;
            out_last := r.position; out_key_time := r.recorded_at;
            RETURN NEXT;
        END LOOP;
    END IF;

    IF cardinality(fence_units) > 0 THEN
        FOR r IN
            SELECT f.unit FROM unnest(fence_units, fence_leases, fence_epochs) AS f (unit, lease, epoch)
            WHERE NOT refused[f.unit]
              AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.name = f.lease AND l.epoch = f.epoch)
        LOOP
            refused[r.unit] := true;
            out_unit := r.unit; out_outcome := 'fenced';
            RETURN NEXT;
        END LOOP;
    END IF;

    FOR r IN
        SELECT s.unit, array_agg(s.n::int ORDER BY s.n) AS streams
        FROM unnest(stream_units, stream_types, stream_ids, stream_expected)
            WITH ORDINALITY AS s (unit, type, id, expected, n)
        WHERE NOT refused[s.unit]
          AND s.expected <> coalesce(
            (SELECT l.sequence FROM log l WHERE l.aggregate_type = s.type AND l.aggregate_id = s.id
             ORDER BY l.sequence DESC LIMIT 1), 0)
        GROUP BY s.unit
    LOOP
        refused[r.unit] := true;
        out_unit := r.unit; out_outcome := 'stale'; out_streams := r.streams;
        RETURN NEXT;
    END LOOP;

    IF cardinality(new_key_units) > 0 THEN
        -- Events sealed with a key that lost against another could never be read.
        FOR r IN
            SELECT DISTINCT k.unit
            FROM unnest(new_key_units, new_key_subjects, new_key_wrapped) AS k (unit, subject, wrapped)
            JOIN data_keys d ON d.subject = k.subject
            WHERE NOT refused[k.unit] AND d.wrapped IS DISTINCT FROM k.wrapped
        LOOP
            refused[r.unit] := true;
            out_unit := r.unit; out_outcome := 'stale'; out_streams := NULL;
            RETURN NEXT;
        END LOOP;
    END IF;

    IF cardinality(claim_units) > 0 THEN
        FOR r IN
            SELECT DISTINCT ON (c.unit) c.unit, c.index, i.holder
            FROM unnest(claim_units, claim_indexes, claim_workspaces, claim_kinds, claim_hashes, claim_holders)
                AS c (unit, index, workspace_id, kind, hash, holder)
            JOIN identities i
              ON i.workspace_id = c.workspace_id AND i.kind = c.kind AND i.hash = c.hash
            WHERE NOT refused[c.unit] AND i.holder <> c.holder
              AND NOT EXISTS (
                SELECT 1
                FROM unnest(release_units, release_workspaces, release_kinds, release_hashes, release_holders)
                    AS l (unit, workspace_id, kind, hash, holder)
                WHERE l.unit = c.unit AND l.workspace_id = i.workspace_id AND l.kind = i.kind AND l.hash = i.hash
                  AND l.holder = i.holder)
            ORDER BY c.unit, c.index
        LOOP
            refused[r.unit] := true;
            out_unit := r.unit; out_outcome := 'taken'; out_index := r.index; out_holder := r.holder;
            RETURN NEXT;
        END LOOP;
    END IF;

    SELECT count(*) INTO taken FROM unnest(event_units) AS e (unit) WHERE NOT refused[e.unit];
    IF taken > 0 THEN
        base := nextval('event_positions');
        IF taken > 1 THEN
            PERFORM setval('event_positions', base + taken - 1);
        END IF;
        INSERT INTO log (
            position, recorded_at, occurred_at, sequence, kind, aggregate_type, aggregate_id, event_id, correlation_id,
            causation_id, subject, payload)
        SELECT base - 1 + row_number() OVER (ORDER BY e.n), recorded, e.occurred_at, e.sequence, e.kind,
            stream_types[e.stream], stream_ids[e.stream], e.id, e.correlation_id, e.causation_id, e.subject, e.payload
        FROM unnest(event_units, event_streams, event_sequences, event_kinds, event_ids, event_correlations,
                event_causations, event_subjects, event_times, event_payloads)
            WITH ORDINALITY AS e (unit, stream, sequence, kind, id, correlation_id, causation_id, subject, occurred_at,
                payload, n)
        WHERE NOT refused[e.unit]
        ORDER BY e.n;
    END IF;

    IF cardinality(release_units) > 0 THEN
        DELETE FROM identities i
        USING unnest(release_units, release_workspaces, release_kinds, release_hashes, release_holders)
            AS l (unit, workspace_id, kind, hash, holder)
        WHERE NOT refused[l.unit]
          AND i.workspace_id = l.workspace_id AND i.kind = l.kind AND i.hash = l.hash AND i.holder = l.holder;
    END IF;
    IF cardinality(claim_units) > 0 THEN
        INSERT INTO identities (workspace_id, kind, hash, holder)
        SELECT c.workspace_id, c.kind, c.hash, c.holder
        FROM unnest(claim_units, claim_workspaces, claim_kinds, claim_hashes, claim_holders)
            AS c (unit, workspace_id, kind, hash, holder)
        WHERE NOT refused[c.unit]
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(new_key_units) > 0 THEN
        INSERT INTO data_keys (subject, wrapped)
        SELECT k.subject, k.wrapped
        FROM unnest(new_key_units, new_key_subjects, new_key_wrapped) AS k (unit, subject, wrapped)
        WHERE NOT refused[k.unit]
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(destroyed_units) > 0 THEN
        INSERT INTO data_keys (subject, destroyed_at)
        SELECT DISTINCT d.subject, recorded_ms
        FROM unnest(destroyed_units, destroyed_subjects) AS d (unit, subject)
        WHERE NOT refused[d.unit]
        ON CONFLICT (subject) DO UPDATE SET wrapped = NULL, destroyed_at = excluded.destroyed_at
            WHERE data_keys.destroyed_at IS NULL;
    END IF;
    IF cardinality(secret_units) > 0 THEN
        DELETE FROM secrets s
        USING unnest(secret_units, secret_names, secret_sealed) AS c (unit, name, sealed)
        WHERE NOT refused[c.unit] AND s.name = c.name AND c.sealed IS NULL;
        INSERT INTO secrets (name, sealed, updated_at)
        SELECT c.name, c.sealed, recorded_ms
        FROM unnest(secret_units, secret_names, secret_sealed) AS c (unit, name, sealed)
        WHERE NOT refused[c.unit] AND c.sealed IS NOT NULL
        ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at;
    END IF;

    FOR n IN 1..unit_count LOOP
        IF NOT refused[n] THEN
            out_unit := n; out_outcome := 'appended';
            out_first := CASE WHEN unit_events[n] > 0 THEN base ELSE head END;
            IF unit_events[n] > 0 THEN
                head := base + unit_events[n] - 1;
                base := head + 1;
            END IF;
            out_last := head;
            lasts[n] := head;
            RETURN NEXT;
        END IF;
    END LOOP;

    IF cardinality(key_units) > 0 THEN
        INSERT INTO idempotency (key_hash, input_hash, result, position, recorded_at)
        SELECT k.hash, k.input, k.result, lasts[k.unit], k.recorded_at
        FROM unnest(key_units, key_hashes, key_inputs, key_results, key_times)
            AS k (unit, hash, input, result, recorded_at)
        WHERE NOT refused[k.unit];
    END IF;
END $$;
