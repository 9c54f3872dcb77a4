-- explain_rollup(), the reasons why a query cannot be kept, and the plans of views over cores.
CREATE SCHEMA explain;
SET search_path = explain;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set split :srcdir '/sql/include/split.sql'
\i :split
\set VERBOSITY default
\pset format unaligned
\t on

-- what it shows; it changes nothing
CREATE FUNCTION objects() RETURNS TABLE (classes bigint, rules bigint, rollups bigint) LANGUAGE sql AS $$
    SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_rewrite), (SELECT count(*) FROM notify_stats.rollup)
$$;
CREATE TEMPORARY TABLE before AS SELECT * FROM objects();
CREATE FUNCTION explain(query text, facts text[] DEFAULT '{}') RETURNS SETOF text LANGUAGE sql AS $$
    SELECT CASE WHEN part ~ '^(table|view) ' THEN concat_ws(' | ', part, verdict, regexp_replace(advice, '\d+ rows', 'N rows'))
                ELSE concat_ws(' | ', part, verdict, reason, advice) END
    FROM notify_stats.explain_rollup(query, facts)
$$;
SELECT explain('SELECT k, count(*) AS n FROM f GROUP BY k');
SELECT explain('SELECT k, avg(u) AS a, max(u) AS m, count(DISTINCT t) AS d FROM f GROUP BY k HAVING count(*) > 1 ORDER BY k LIMIT 3');
SELECT explain('SELECT d.name, sum(f.u * d.rate) AS s, rank() OVER (ORDER BY count(*)) AS r FROM f JOIN d ON d.id = f.d_id GROUP BY d.name ORDER BY 1');
SET TimeZone = 'Europe/London';
SELECT explain('SELECT tz::date AS day, count(*) AS n FROM f GROUP BY 1 UNION ALL SELECT NULL, count(*) FROM f2');
SELECT explain('SELECT label, count(*) AS n FROM d2 GROUP BY label');
SELECT explain('SELECT count(*) AS n FROM f, f2 WHERE f.u = f2.u');
SELECT explain('SELECT count(*) AS n FROM f, f2 WHERE f.u = f2.u', '{f2}');
SELECT b = o AS unchanged FROM before b, objects() o;

-- the SQL that it shows computes the same as the query
CREATE FUNCTION differs(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    cores text;
    view text;
    n bigint;
BEGIN
    SELECT string_agg(format('%s AS MATERIALIZED (%s)', substr(part, 7), reason), ', ') INTO cores
        FROM notify_stats.explain_rollup(query) WHERE part LIKE 'table %';
    SELECT reason INTO view FROM notify_stats.explain_rollup(query) WHERE part = 'view rollup';
    EXECUTE format('WITH %s, v AS (%s), q AS (%s)
        SELECT count(*) FROM ((TABLE v EXCEPT ALL TABLE q) UNION ALL (TABLE q EXCEPT ALL TABLE v)) x', cores, view, query) INTO n;
    RETURN n;
END $$;
SELECT differs('SELECT d.name, avg(f.u) AS a, max(f.u) AS m FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY d.name');
SELECT differs('SELECT k, count(*) AS n FROM f GROUP BY k UNION ALL SELECT NULL, count(*) FROM f2');

-- all obstacles at once
SELECT explain('SELECT k, sum(fl) AS s, array_agg(u) AS a, string_agg(t, '','') AS t FROM f GROUP BY k');
SELECT notify_stats.create_rollup('refused', 'SELECT k, sum(fl) AS s, array_agg(u) AS a, string_agg(t, '','') AS t FROM f GROUP BY k');
SELECT explain('SELECT k, avg(fl) AS s, array_agg(u) AS a FROM f WHERE random() < 2 GROUP BY k');
SELECT notify_stats.create_rollup('refused', 'SELECT k, count(*) AS n, avg(fl) AS s FROM f GROUP BY k UNION ALL SELECT u, count(*), stddev(random()) FROM f2 GROUP BY u');

-- one at a time
CREATE TABLE node (id integer PRIMARY KEY, parent integer, kind text);
ALTER TABLE node REPLICA IDENTITY FULL;
CREATE TEMPORARY TABLE scratch (id integer PRIMARY KEY, name text);
CREATE MATERIALIZED VIEW matview AS SELECT id, name FROM d;
CREATE UNIQUE INDEX ON matview (id);
CREATE FOREIGN DATA WRAPPER explain_wrapper;
CREATE SERVER explain_server FOREIGN DATA WRAPPER explain_wrapper;
CREATE FOREIGN TABLE abroad (id integer, name text) SERVER explain_server;
CREATE FUNCTION refused(query text, facts text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
BEGIN
    PERFORM notify_stats.create_rollup('refused', query, '{}', facts);
    RAISE EXCEPTION 'taken';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n    ', message, nullif(detail, ''), nullif(hint, ''));
END $$;
SELECT refused(query) FROM (VALUES
    ('SELECT count(*) AS n FROM f JOIN f2 ON f2.d_id = f.d_id'),
    ('SELECT a.k, count(*) AS n FROM f a JOIN f b ON b.u = a.id GROUP BY 1'),
    ('SELECT a.kind, count(b.id) AS n FROM node a LEFT JOIN node b ON b.parent = a.id GROUP BY 1'),
    ('WITH RECURSIVE t AS (SELECT id FROM node WHERE parent IS NULL UNION ALL SELECT n.id FROM node n JOIN t ON n.parent = t.id) SELECT count(*) AS n FROM t'),
    ('SELECT f.k, count(*) AS n FROM f, LATERAL (SELECT * FROM d WHERE d.id = f.d_id LIMIT 1) x GROUP BY 1'),
    ('SELECT DISTINCT ON (k) k, u, ts FROM f ORDER BY k, ts DESC'),
    ('SELECT d.name FROM d WHERE NOT EXISTS (SELECT FROM f WHERE f.d_id = d.id)'),
    ('SELECT d.name, count(*) AS n FROM d WHERE EXISTS (SELECT FROM f WHERE f.d_id = d.id) GROUP BY 1'),
    ('SELECT k, row_number() OVER (ORDER BY ts) AS r FROM f'),
    ('SELECT k, count(*) AS n FROM f WHERE random() < 2 GROUP BY 1'),
    ('SELECT d.name, count(*) AS n FROM f JOIN d ON d.id = f.d_id WHERE d.rate > random() GROUP BY 1'),
    ('SELECT k, sum(fl) AS s FROM f GROUP BY 1'),
    ('SELECT k, avg(fl) AS s FROM f GROUP BY 1'),
    ('SELECT k, stddev(fl) AS s FROM f GROUP BY 1'),
    ('SELECT d.name, sum(f.u * d.rate::float8) AS s FROM f JOIN d ON d.id = f.d_id GROUP BY 1'),
    ('SELECT k, array_agg(u) AS a FROM f GROUP BY 1'),
    ('SELECT k, array_agg(u ORDER BY id) AS a FROM f GROUP BY 1'),
    ('SELECT k, json_agg(t) AS a FROM f GROUP BY 1'),
    ('SELECT k, count(f) AS a FROM f GROUP BY 1'),
    ('SELECT tableoid::regclass AS t, count(*) AS a FROM f GROUP BY 1'),
    ('SELECT k, count(*) AS n, count(*) AS n FROM f GROUP BY 1'),
    ('SELECT k, count(*) AS n FROM f WHERE u = $1 GROUP BY 1'),
    ('SELECT k, count(*) AS n FROM f GROUP BY 1 FOR UPDATE'),
    ('SELECT k, count(*) AS n FROM f TABLESAMPLE SYSTEM (10) GROUP BY 1'),
    ('SELECT d.name, count(*) AS n FROM f JOIN d TABLESAMPLE SYSTEM (10) ON d.id = f.d_id GROUP BY 1'),
    ('SELECT k, count(*) AS n FROM no_such_table GROUP BY 1'),
    ('SELECT 1 AS one, count(*) AS n'),
    ('SELECT k FROM f'),
    ('INSERT INTO d2 VALUES (1)'),
    ('SELECT k, count(*) AS n FROM f GROUP BY 1; SELECT 1'),
    ('SELECT label, count(*) AS n FROM d2 GROUP BY label'),
    ('SELECT name, count(*) AS n FROM matview GROUP BY name'),
    ('SELECT name, count(*) AS n FROM abroad GROUP BY name'),
    ('SELECT s.name, count(*) AS n FROM f JOIN scratch s ON s.id = f.d_id GROUP BY 1'),
    ('SELECT relname, count(*) AS n FROM pg_class GROUP BY 1')) q (query);
-- what can be a dimension: it is read as it is, so tables of any kind that a view can read
SELECT refused(query) FROM (VALUES
    ('SELECT m.name, count(*) AS n FROM f JOIN matview m ON m.id = f.d_id GROUP BY 1'),
    ('SELECT a.name, count(*) AS n FROM f JOIN abroad a ON a.id = f.d_id GROUP BY 1'),
    ('SELECT c.relname, count(*) AS n FROM f JOIN pg_class c ON c.oid = f.d_id::oid GROUP BY 1')) q (query);

-- facts
SELECT refused('SELECT count(*) AS n FROM f, f2 WHERE f.u = f2.u', facts)
FROM (VALUES ('{}'::text[]), ('{f}'), ('{explain.f2}'), ('{f,f2}'), ('{d}'), ('{f,d}'), ('{no_such_table}'), ('{NULL}'), ('{""}'), ('{a.b.c.d}'), ('{{f},{f2}}')) v (facts);
SELECT notify_stats.create_rollup('refused', 'SELECT count(*) AS n FROM f', facts => NULL);
SELECT * FROM notify_stats.explain_rollup(NULL);

SELECT refused('SELECT k, count(*) AS n FROM f GROUP BY k', '{f2}');
SELECT refused('SELECT a.name, count(*) AS n FROM f JOIN abroad a ON a.id = f.d_id GROUP BY 1', '{f}');
SELECT refused('SELECT a.name, count(*) AS n FROM f JOIN abroad a ON a.id = f.d_id GROUP BY 1', '{abroad}');

-- rollups as tables of other rollups
SELECT notify_stats.create_rollup('by_d', 'SELECT d_id, count(*) AS n FROM f GROUP BY d_id');
SELECT notify_stats.create_rollup('average_by_d', 'SELECT d_id, avg(u) AS a FROM f GROUP BY d_id');
CALL notify_stats.catch_up();
SELECT refused(query) FROM (VALUES
    ('SELECT n, count(*) AS d FROM by_d GROUP BY n'),
    ('SELECT a, count(*) AS d FROM average_by_d GROUP BY a'),
    ('SELECT n, count(*) AS d FROM average_by_d_core GROUP BY 1'),
    ('SELECT b.n, count(*) AS f FROM f JOIN by_d b ON b.d_id = f.d_id GROUP BY 1'),
    ('SELECT b.a, count(*) AS f FROM f2 JOIN average_by_d b ON b.d_id = f2.d_id GROUP BY 1')) q (query);

-- privileges
CREATE ROLE regress_explain_reader;
CREATE SCHEMA explain_own AUTHORIZATION regress_explain_reader;
GRANT USAGE ON SCHEMA explain, notify_stats TO regress_explain_reader;
GRANT SELECT ON f TO regress_explain_reader;
SET ROLE regress_explain_reader;
SELECT part, verdict FROM notify_stats.explain_rollup('SELECT k, avg(u) AS a FROM explain.f GROUP BY k');
SELECT part, verdict FROM notify_stats.explain_rollup('SELECT u, avg(id) AS a FROM explain.f2 GROUP BY u');
SELECT part, verdict FROM notify_stats.explain_rollup('SELECT d.name, count(*) AS n FROM explain.f JOIN explain.d ON d.id = f.d_id GROUP BY 1');
SELECT notify_stats.create_rollup('explain_own.refused', 'SELECT d.name, count(*) AS n FROM explain.f JOIN explain.d ON d.id = f.d_id GROUP BY 1');
RESET ROLE;
-- ... row-level security of a dimension
GRANT SELECT ON d TO regress_explain_reader;
ALTER TABLE d ENABLE ROW LEVEL SECURITY;
SET ROLE regress_explain_reader;
SELECT * FROM notify_stats.explain_rollup('SELECT d.name, count(*) AS n FROM explain.f JOIN explain.d ON d.id = f.d_id GROUP BY 1');
RESET ROLE;
ALTER TABLE d DISABLE ROW LEVEL SECURITY;
DO $$ BEGIN PERFORM notify_stats.drop_rollup(rollup) FROM notify_stats.rollups; END $$;
CALL notify_stats.catch_up();
SELECT relname FROM pg_class WHERE relname LIKE 'refused%';

-- the number of rows of a core is estimated within a factor of 3
CREATE TABLE many (id integer PRIMARY KEY, ts timestamp, a integer, b integer, c text, d_id integer);
ALTER TABLE many REPLICA IDENTITY FULL;
INSERT INTO many SELECT i, timestamp '2026-01-01' + i * interval '5 minutes', i % 50, i * 7919 % 40, md5((i % 3000)::text), i % 8 FROM generate_series(1, 100000) i;
ANALYZE many;
CREATE FUNCTION estimated(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    estimate numeric;
    rows numeric;
    core text;
    truth numeric;
BEGIN
    SELECT substring(advice FROM 'About (\d+) rows')::numeric, substring(advice FROM 'rows for (\d+)')::numeric, reason INTO estimate, rows, core
        FROM notify_stats.explain_rollup(query) WHERE part LIKE 'table %';
    EXECUTE format('SELECT count(*) FROM (%s) x', core) INTO truth;
    RETURN CASE WHEN estimate BETWEEN truth / 3 AND truth * 3 AND rows BETWEEN 65000 AND 150000 THEN 'near ' || truth
                ELSE format('%s rows of %s instead of %s', estimate, rows, truth) END;
END $$;
SELECT estimated(query) FROM (VALUES
    ('SELECT date_trunc(''hour'', ts) AS hour, avg(a) AS x FROM many GROUP BY 1'),
    ('SELECT ts::date AS day, avg(a) AS x FROM many GROUP BY 1'),
    ('SELECT a, b, avg(id) AS x FROM many GROUP BY 1, 2'),
    ('SELECT ts::date AS day, a, avg(b) AS x FROM many GROUP BY 1, 2'),
    ('SELECT c, a % 2 AS a, avg(b) AS x FROM many GROUP BY 1, 2'),
    ('SELECT count(DISTINCT c) AS n FROM many'),
    ('SELECT a, max(ts) AS x FROM many GROUP BY 1'),
    ('SELECT d.name, avg(many.a) AS x FROM many JOIN d ON d.id = many.d_id GROUP BY 1')) q (query);
-- a core that is nearly as long as its source
SET client_min_messages = notice;
CREATE TABLE distinct_values (id integer, part integer);
ALTER TABLE distinct_values REPLICA IDENTITY FULL;
INSERT INTO distinct_values SELECT i, i % 3 FROM generate_series(1, 2000) i;
SELECT notify_stats.create_rollup('long', 'SELECT part, max(id) AS x FROM distinct_values GROUP BY 1') \g /dev/null
SELECT notify_stats.drop_rollup('long');
SET client_min_messages = warning;

-- a condition on a column of the view reaches the index of the core
SELECT notify_stats.create_rollup(name, query) FROM (VALUES
    ('projected', 'SELECT ts::date AS day, a, avg(b) AS x FROM many GROUP BY 1, 2'),
    ('grouped_again', 'SELECT a, max(b) AS x, count(DISTINCT c) AS c FROM many GROUP BY a'),
    ('joined', 'SELECT d.name, many.a, sum(many.b) AS x FROM many JOIN d ON d.id = many.d_id GROUP BY 1, 2'),
    ('joined_by_fact', 'SELECT many.a, d.name, sum(many.b) AS x FROM many LEFT JOIN d ON d.id = many.d_id GROUP BY many.a, d.name'),
    ('with_having', 'SELECT a, b, avg(id) AS x FROM many GROUP BY 1, 2 HAVING count(*) > 1'),
    ('united', 'SELECT a, avg(b) AS x FROM many GROUP BY a UNION ALL SELECT b, avg(a) FROM many GROUP BY b'),
    ('percentile', 'SELECT a, percentile_disc(0.5) WITHIN GROUP (ORDER BY b) AS x FROM many GROUP BY a'),
    ('moving', 'SELECT ts::date AS day, avg(a) AS x FROM many WHERE ts >= current_date - 30 GROUP BY 1'),
    ('partitioned', 'SELECT a, b, rank() OVER (PARTITION BY a ORDER BY count(*)) AS r FROM many GROUP BY a, b')) q (name, query);
CALL notify_stats.catch_up();
ANALYZE;
CREATE FUNCTION index_conditions(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF line ~ 'Index Cond' THEN RETURN NEXT trim(line); END IF;
    END LOOP;
END $$;
SET enable_seqscan = off;
SELECT index_conditions('SELECT * FROM projected WHERE day = ''2026-03-01''');
SELECT index_conditions('SELECT * FROM projected WHERE day BETWEEN ''2026-03-01'' AND ''2026-03-03'' AND a = 3');
SELECT index_conditions('SELECT * FROM grouped_again WHERE a = 3');
SELECT * FROM index_conditions('SELECT * FROM joined_by_fact WHERE a = 3') condition WHERE condition ~ '3';
SELECT index_conditions('SELECT * FROM with_having WHERE a = 3 AND b > 7');
SELECT index_conditions('SELECT * FROM united WHERE a = 3');
SELECT index_conditions('SELECT * FROM percentile WHERE a = 3');
SELECT index_conditions('SELECT * FROM partitioned WHERE a = 3');
SELECT count(*) > 0 AS found FROM index_conditions('SELECT * FROM moving WHERE day = ''2026-03-01''');
SELECT count(*) > 0 AS found FROM index_conditions('SELECT * FROM joined WHERE a = 3');
RESET enable_seqscan;
\t off
\pset format aligned

SET client_min_messages = error;
DROP SERVER explain_server CASCADE;
DROP FOREIGN DATA WRAPPER explain_wrapper;
DROP TABLE pg_temp.scratch, pg_temp.before;
DROP SCHEMA explain, explain_own CASCADE;
REVOKE ALL ON SCHEMA notify_stats FROM regress_explain_reader;
DROP ROLE regress_explain_reader;
