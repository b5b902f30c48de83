-- Who does what, by this server's clock, so that nodes need not agree on the time. The epoch grows with every change of
-- owner: a fence for what the former one still tries to write.
CREATE TABLE leases (
    name       text COLLATE "C" NOT NULL PRIMARY KEY,
    owner      text   NOT NULL,
    epoch      bigint NOT NULL,
    expires_at bigint NOT NULL
) WITH (fillfactor = 50);

CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint
$$;

-- The epoch in which `lease_owner` holds the lease from now on, or NULL where another does. The log's lock orders a
-- change of owner against the appends that its fence must stop; asking for a lease that another holds does not take it.
CREATE FUNCTION acquire_lease(lease_name text, lease_owner text, ttl_ms bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    granted bigint;
    held_until bigint;
BEGIN
    UPDATE leases SET expires_at = now_ms() + ttl_ms
        WHERE name = lease_name AND owner = lease_owner AND expires_at > now_ms()
        RETURNING epoch INTO granted;
    IF granted IS NOT NULL THEN
        RETURN granted;
    END IF;
    SELECT expires_at INTO held_until FROM leases WHERE name = lease_name;
    IF held_until > now_ms() THEN
        RETURN NULL;
    END IF;
    PERFORM lock_event_log();
    INSERT INTO leases AS l (name, owner, epoch, expires_at)
        VALUES (lease_name, lease_owner, 1, now_ms() + ttl_ms)
        ON CONFLICT (name) DO UPDATE
            SET owner = excluded.owner, epoch = l.epoch + 1, expires_at = now_ms() + ttl_ms
            WHERE l.expires_at <= now_ms()
        RETURNING epoch INTO granted;
    RETURN granted;
END $$;
