-- As before, but a renewal is not waited for on disk: after a power cut a lease may be found to lapse earlier than its owner
-- thinks, and whoever takes it over then does so in a new epoch, which is on disk.
CREATE OR REPLACE FUNCTION acquire_lease(lease_name text, lease_owner text, ttl_ms bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    granted bigint;
    held_until bigint;
BEGIN
    UPDATE leases SET expires_at = now_ms() + ttl_ms
        WHERE name = lease_name AND owner = lease_owner AND expires_at > now_ms()
        RETURNING epoch INTO granted;
    IF granted IS NOT NULL THEN
        PERFORM set_config('synchronous_commit', 'off', true);
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
