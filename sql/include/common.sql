SET client_min_messages = warning;
\set SHOW_CONTEXT never
\pset null NULL
CREATE EXTENSION IF NOT EXISTS notify_stats;

-- The rows of a rollup that its definition does not return, and vice versa.
CREATE FUNCTION differences(rollup regclass) RETURNS TABLE (problem text, content text)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT ''too much'', r::text FROM (TABLE %1$s EXCEPT ALL TABLE %2$s) r
         UNION ALL
         SELECT ''missing'', r::text FROM (TABLE %2$s EXCEPT ALL TABLE %1$s) r
         ORDER BY 1, 2',
        rollup, (SELECT r.definition FROM notify_stats.rollup r WHERE r.rollup = differences.rollup));
END $$;

CREATE FUNCTION all_differences() RETURNS TABLE (rollup regclass, problem text, content text) LANGUAGE sql AS $$
    SELECT r.rollup, d.* FROM notify_stats.rollups r, differences(r.rollup) d ORDER BY r.rollup::text, 2, 3
$$;

CREATE FUNCTION states() RETURNS TABLE (rollup regclass, state text, reason text) LANGUAGE sql AS $$
    SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text
$$;
