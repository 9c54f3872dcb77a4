SET client_min_messages = warning;
\set SHOW_CONTEXT never
\pset null NULL
CREATE EXTENSION IF NOT EXISTS notify_stats;

-- The rows of a rollup that its definition does not return, and vice versa.
CREATE FUNCTION differences(rollup regclass) RETURNS TABLE (problem text, content text)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT ''too much'', r::text FROM (SELECT %3$s FROM %1$s EXCEPT ALL TABLE %2$s) r
         UNION ALL
         SELECT ''missing'', r::text FROM (TABLE %2$s EXCEPT ALL SELECT %3$s FROM %1$s) r
         ORDER BY 1, 2',
        r.rollup, r.definition, (
            -- in a table that was adopted, those of the definition may be anywhere
            SELECT CASE WHEN bool_and(t.attname IS NOT NULL) THEN string_agg(quote_ident(d.attname), ', ' ORDER BY d.attnum)
                   ELSE '*' END
            FROM pg_attribute d LEFT JOIN pg_attribute t ON t.attrelid = r.rollup AND t.attname = d.attname
            WHERE d.attrelid = r.definition AND d.attnum > 0))
        FROM notify_stats.rollup r WHERE r.rollup = differences.rollup;
END $$;

CREATE FUNCTION all_differences() RETURNS TABLE (rollup regclass, problem text, content text) LANGUAGE sql AS $$
    SELECT r.rollup, d.* FROM notify_stats.rollups r, differences(r.rollup) d ORDER BY r.rollup::text, 2, 3
$$;

CREATE FUNCTION states() RETURNS TABLE (rollup regclass, state text, reason text) LANGUAGE sql AS $$
    SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text
$$;
