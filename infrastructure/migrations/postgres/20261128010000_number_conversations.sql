-- Streams of conversations. As in the program, for ever; NULL: this log has no such streams.
CREATE OR REPLACE FUNCTION aggregate_number(name text) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE name WHEN 'workspace' THEN 1 WHEN 'account' THEN 2 WHEN 'template' THEN 3 WHEN 'contact' THEN 4
        WHEN 'segment' THEN 5 WHEN 'import' THEN 6 WHEN 'campaign' THEN 7 WHEN 'message' THEN 8
        WHEN 'api_key' THEN 9 WHEN 'webhook_endpoint' THEN 10 WHEN 'user' THEN 11
        WHEN 'conversation' THEN 12 END::smallint
$$;
