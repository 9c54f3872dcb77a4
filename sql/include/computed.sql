-- Rollups of each kind that is computed from cores when it is read, over two tables.

-- The only place where the tests create such a rollup.  TEMPORARY: create_rollup() makes the
-- split itself and takes only the first two, and the last, of the arguments.
CREATE FUNCTION make_computed(name text, definition text, core_names text[], core_texts text[], view_text text,
                              ignore_deletes text[] DEFAULT '{}') RETURNS regclass LANGUAGE sql AS $$
    SELECT notify_stats.create_computed(name, definition, core_names, core_texts, view_text, ignore_deletes)
$$;

CREATE TABLE regions (id integer PRIMARY KEY, name text);
INSERT INTO regions VALUES (1, 'north'), (2, 'south'), (3, 'east');
CREATE TABLE events (id integer PRIMARY KEY, day date NOT NULL, kind text, region integer, amount integer);
ALTER TABLE events REPLICA IDENTITY FULL;
INSERT INTO events SELECT i, date '2026-01-01' + i % 3, nullif('kind ' || i % 4, 'kind 3'), i % 5, nullif(i % 7, 3)
    FROM generate_series(1, 40) i;

-- no count(*), and an average; whose rows are those of its core
CREATE FUNCTION make_averages(ignore_deletes text[] DEFAULT '{}') RETURNS regclass LANGUAGE sql AS $$
    SELECT make_computed('averages', 'SELECT kind, avg(amount) AS average FROM events GROUP BY kind',
        '{averages_core}', ARRAY['SELECT kind, count(*) AS n, count(amount) AS k, sum(amount) AS s FROM events GROUP BY kind'],
        'SELECT kind, s::numeric / nullif(k, 0) AS average FROM averages_core', ignore_deletes)
$$;

-- a join to a table that is not a source of the core
CREATE FUNCTION make_per_region() RETURNS regclass LANGUAGE sql AS $$
    SELECT make_computed('per_region',
        'SELECT r.name, count(*) AS n FROM events e JOIN regions r ON r.id = e.region GROUP BY r.name',
        '{per_region_core}', ARRAY['SELECT region, count(*) AS n FROM events GROUP BY region'],
        'SELECT r.name, coalesce(sum(c.n), 0)::bigint AS n FROM per_region_core c JOIN regions r ON r.id = c.region GROUP BY r.name')
$$;

-- two cores, a LIMIT between rows that are equal in the order, and a column without an equality
CREATE FUNCTION make_mixed() RETURNS regclass LANGUAGE sql AS $$
    SELECT make_computed('mixed',
        'SELECT day::text AS what, count(*) AS n, to_json(count(*)) AS as_json FROM events GROUP BY day
         UNION ALL SELECT kind, count(*), to_json(count(*)) FROM events WHERE id > 1 GROUP BY kind ORDER BY n LIMIT 5',
        '{mixed_core, mixed_core_2}', ARRAY['SELECT day, count(*) AS n FROM events GROUP BY day',
                                            'SELECT kind, count(*) AS n FROM events WHERE id > 1 GROUP BY kind'],
        'SELECT day::text AS what, n, to_json(n) AS as_json FROM mixed_core
         UNION ALL SELECT kind, n, to_json(n) FROM mixed_core_2 ORDER BY n DESC LIMIT 5')
$$;

-- no GROUP BY, so one row also of no rows
CREATE FUNCTION make_total() RETURNS regclass LANGUAGE sql AS $$
    SELECT make_computed('total', 'SELECT count(*) AS n, sum(amount) AS amount FROM events',
        '{total_core}', ARRAY['SELECT day, count(*) AS n, count(amount) AS k, sum(amount) AS s FROM events GROUP BY day'],
        'SELECT coalesce(sum(n), 0)::bigint AS n, sum(s)::bigint AS amount FROM total_core')
$$;

-- One row per rollup that differs from its definition.  "mixed" has any five rows.
CREATE FUNCTION wrong() RETURNS TABLE (rollup regclass, problem text, content text) LANGUAGE plpgsql AS $$
DECLARE r notify_stats.rollups;
BEGIN
    FOR r IN SELECT * FROM notify_stats.rollups x WHERE cardinality(x.cores) > 0 AND x.rollup IS DISTINCT FROM to_regclass('mixed') LOOP
        RETURN QUERY EXECUTE format(
            'SELECT $1, ''too much'', r::text FROM (SELECT t::text FROM %1$s t EXCEPT ALL SELECT t::text FROM %2$s t) r
             UNION ALL
             SELECT $1, ''missing'', r::text FROM (SELECT t::text FROM %2$s t EXCEPT ALL SELECT t::text FROM %1$s t) r',
            r.rollup, r.definition) USING r.rollup;
    END LOOP;
END $$;
