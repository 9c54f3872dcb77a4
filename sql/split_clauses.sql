-- Clauses, subqueries and set operations around aggregates.
CREATE SCHEMA split_clauses;
SET search_path = split_clauses;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set split :srcdir '/sql/include/split.sql'
\i :split

CREATE VIEW view_of_f AS SELECT *, u * 2 AS twice FROM f WHERE n > 0;
CREATE VIEW grouped_view AS SELECT k, t, count(*) AS n, avg(u) AS a FROM f GROUP BY k, t;
INSERT INTO query (name, query) VALUES
-- one row, also of no facts
('total', 'SELECT count(*) AS n, sum(u) AS s, avg(amt) AS a, max(ts) AS x, min(t) AS t, bool_or(b) AS o FROM f'),
('total_of_none', 'SELECT count(*) AS n, sum(u) AS s FROM f WHERE u > 100'),
('total_having', 'SELECT count(*) AS n FROM f HAVING count(*) > 100'),
('empty_set', 'SELECT count(*) AS n FROM f GROUP BY ()'),
-- clauses that are applied to the result
('having', 'SELECT k, count(*) AS n FROM f GROUP BY k HAVING sum(u) > 10 AND avg(u) < 5 AND k IS NOT NULL'),
('having_only', 'SELECT k FROM f GROUP BY k HAVING count(*) > 1'),
('limited', 'SELECT k, t, count(*) AS n FROM f GROUP BY k, t ORDER BY k, t DESC LIMIT 3 OFFSET 1'),
('fetch_ties', 'SELECT t, count(*) AS n FROM f GROUP BY t ORDER BY count(*) DESC FETCH FIRST 2 ROWS WITH TIES'),
('distinct_result', 'SELECT DISTINCT count(*) AS n, k IS NULL AS none FROM f GROUP BY k, t'),
('distinct_on', 'SELECT DISTINCT ON (k) k, t, count(*) AS n FROM f GROUP BY k, t ORDER BY k, count(*) DESC, t'),
('windows', 'SELECT k, t, count(*) AS n, rank() OVER (PARTITION BY k ORDER BY count(*) DESC) AS r, sum(sum(u)) OVER (PARTITION BY k) AS s, count(*) * 100.0 / sum(count(*)) OVER () AS percent FROM f GROUP BY k, t'),
('running', 'SELECT dt, sum(n) AS n, sum(sum(n)) OVER (ORDER BY dt) AS running, lag(count(*)) OVER (ORDER BY dt) AS before FROM f GROUP BY dt'),
('window_over_join', 'SELECT d.name, last_value(count(*)) OVER (PARTITION BY d.grp ORDER BY d.name) AS l FROM f JOIN d ON d.id = f.d_id GROUP BY d.name, d.grp'),
('set_returning', 'SELECT unnest(ARRAY[k, n]) AS v, count(*) AS c FROM f GROUP BY 1'),
-- several groupings
('grouping_sets', 'SELECT k, t, count(*) AS n, sum(u) AS u, grouping(k) AS gk, grouping(k, t) AS g FROM f GROUP BY GROUPING SETS ((k), (t), ())'),
('rollup_of', 'SELECT k, t, avg(u) AS a, count(DISTINCT n) AS d, max(u) AS m FROM f GROUP BY ROLLUP (k, t)'),
('cube_of', 'SELECT k, b, count(*) AS n, stddev(u) AS s FROM f GROUP BY CUBE (k, b) HAVING count(*) > 3'),
('sets_of_join', 'SELECT k, d.name, count(*) AS n, sum(u) AS u FROM f JOIN d ON d.id = f.d_id GROUP BY GROUPING SETS ((k), (d.name), ())'),
('sets_percentile', 'SELECT k, percentile_disc(0.5) WITHIN GROUP (ORDER BY n) AS p FROM f GROUP BY ROLLUP (k)'),
-- columns that depend on the primary key
('by_primary_key', 'SELECT f.id, f.t, f.u + 1 AS u, count(*) AS n FROM f GROUP BY f.id'),
('key_of_dimension', 'SELECT d.id, d.name, upper(d.name) || d.grp AS x, count(*) AS n, sum(f.u) AS u FROM d LEFT JOIN f ON f.d_id = d.id GROUP BY d.id'),
('hidden_group', 'SELECT count(*) AS n, max(u) AS u FROM f GROUP BY k, t'),
('hidden_sum', 'SELECT sum(u) AS u FROM f GROUP BY k'),
-- found by reading: expressions that are evaluated for some rows only, and columns that are alike
('guarded_by_filter', 'SELECT d.name, sum(100 / f.n) FILTER (WHERE f.n <> 0) AS s FROM d LEFT JOIN f ON f.d_id = d.id GROUP BY 1'),
('guarded_maximum', 'SELECT k, max(100 / n) FILTER (WHERE n <> 0) AS m, count(DISTINCT 100 / n) FILTER (WHERE n <> 0) AS c FROM f GROUP BY k'),
('guarded_by_clock', 'SELECT CASE WHEN now() < ''2000-01-01'' THEN 5 WHEN n = 0 THEN 1 ELSE 100 / n END AS q, count(*) AS c FROM f GROUP BY 1'),
('equal_columns', 'SELECT x.a, x.b, count(*) AS n FROM (SELECT u AS a, u AS b FROM f) x GROUP BY ROLLUP (a, b)'),
('joined_by_name', 'SELECT * FROM (SELECT d_id, count(*) AS c FROM f GROUP BY 1) x NATURAL JOIN (SELECT id AS d_id, name FROM d) y'),
('alias_of_join', 'SELECT y.k, count(*) AS n, max(y.u) AS m FROM (d2 JOIN f USING (k)) AS y GROUP BY 1'),
('dependent_in_subquery', 'SELECT f.id, EXISTS (SELECT FROM numbers x WHERE x.t = f.t) AS w, max(u) AS u FROM f GROUP BY f.id'),
('ordered_side', '(SELECT t FROM f ORDER BY ts) UNION SELECT t FROM f2'),
('values_joined', 'SELECT v.a, v.b, count(*) AS n FROM f JOIN (VALUES (1, 2), (2, 3)) v (a, b) ON v.a = f.k GROUP BY 1, 2'),
-- subqueries
('of_groups', 'SELECT k, max(c) AS m, avg(c) AS a, sum(c) AS s FROM (SELECT k, t, count(*) AS c FROM f GROUP BY k, t) s GROUP BY k'),
('count_of_groups', 'SELECT count(*) AS n, count(DISTINCT k) AS k FROM (SELECT k, t FROM f GROUP BY k, t) x'),
('count_of_distinct', 'SELECT count(*) AS n FROM (SELECT DISTINCT k, t FROM f) x'),
('distinct_rows', 'SELECT DISTINCT t, k FROM f WHERE u > 1'),
('distinct_join', 'SELECT DISTINCT d.name FROM f JOIN d ON d.id = f.d_id WHERE f.u > 1'),
('filtered_groups', 'SELECT k, c FROM (SELECT k, count(*) AS c FROM f GROUP BY k) x WHERE c > (SELECT avg(u) FROM f)'),
('joined_groups', 'SELECT s.k, d2.label, s.c FROM (SELECT k, count(*) AS c FROM f WHERE u > 1 GROUP BY k) s LEFT JOIN d2 ON d2.k = s.k'),
('inner_join_inside', 'SELECT x.name, count(*) AS n FROM (SELECT d.name, f.u FROM f JOIN d ON d.id = f.d_id WHERE f.u IS NOT NULL) x GROUP BY x.name'),
('nested', 'SELECT t, count(*) AS n FROM (SELECT t FROM (SELECT upper(t) AS t, u FROM f) x WHERE u > 2) y GROUP BY t'),
('with', 'WITH x AS (SELECT k, count(*) AS c, sum(u) AS s FROM f GROUP BY k) SELECT d2.label, x.c, x.s, (SELECT max(c) FROM x) AS m FROM x JOIN d2 ON d2.k = x.k'),
('with_two', 'WITH a AS (SELECT k, count(*) AS n FROM f GROUP BY k), b AS (SELECT u AS k, count(*) AS n FROM f2 GROUP BY u) SELECT coalesce(a.k, b.k) AS k, a.n AS a, b.n AS b FROM a FULL JOIN b ON a.k = b.k'),
('with_rows', 'WITH x AS (SELECT * FROM f WHERE n > 1) SELECT k, count(*) AS n FROM x GROUP BY k'),
('with_materialized', 'WITH x AS MATERIALIZED (SELECT k, count(*) AS n FROM f GROUP BY k) SELECT a.k, a.n + b.n AS n FROM x a JOIN x b USING (k)'),
('with_nested', 'WITH a AS (SELECT k, t, count(*) AS n FROM f GROUP BY k, t), b AS (SELECT k, sum(n) AS n FROM a GROUP BY k) SELECT a.k, a.t, a.n, b.n AS of FROM a JOIN b ON a.k = b.k'),
('of_view', 'SELECT k, sum(twice) AS s FROM view_of_f GROUP BY k'),
('of_grouped_view', 'SELECT t, sum(n) AS n, max(a) AS a FROM grouped_view GROUP BY t'),
('grouped_view_itself', 'SELECT * FROM grouped_view'),
('scalar', 'SELECT k, count(*) AS n, (SELECT count(*) FROM f2) AS all_f2 FROM f GROUP BY k'),
-- set operations
('union_all', 'SELECT ''f'' AS which, k, count(*) AS n FROM f GROUP BY k UNION ALL SELECT ''f2'', u, count(*) FROM f2 GROUP BY u'),
('union_all_totals', 'SELECT k, count(*) AS n FROM f GROUP BY k UNION ALL SELECT NULL, count(*) FROM f'),
('union_of_distinct', 'SELECT t FROM f WHERE u > 2 UNION SELECT t FROM f2 WHERE u = 1'),
('intersect', 'SELECT t, k FROM f GROUP BY t, k INTERSECT SELECT t, u FROM f2 GROUP BY t, u'),
('except_all', 'SELECT k, count(*) AS n FROM f GROUP BY k EXCEPT ALL SELECT u, count(*) FROM f2 GROUP BY u'),
('ordered_union', 'SELECT k, count(*) AS n FROM f GROUP BY k UNION ALL SELECT u, count(*) FROM f2 GROUP BY u ORDER BY n DESC, k LIMIT 4'),
('union_in_from', 'SELECT t, sum(n) AS n FROM (SELECT t, count(*) AS n FROM f GROUP BY t UNION ALL SELECT t, count(*) FROM f2 GROUP BY t) x GROUP BY t'),
('distinct_union_in_from', 'SELECT count(*) AS n FROM (SELECT t FROM f UNION SELECT t FROM f2) x'),
-- conditions
('in_list', 'SELECT k, count(*) AS n FROM f WHERE t IN (''a'', ''b'') AND NOT b AND u BETWEEN 2 AND 5 GROUP BY k'),
('constant_condition', 'SELECT k, count(*) AS n FROM f WHERE true GROUP BY k'),
('never', 'SELECT k, count(*) AS n FROM f WHERE false GROUP BY k'),
('expression_of_group', 'SELECT k + 1 AS k1, count(*) AS n FROM f GROUP BY k + 1'),
('upper_of_group', 'SELECT upper(t) || ''!'' AS t, k * 2 AS k, count(*) AS n FROM f GROUP BY t, k');
-- ORDER BY alone is left out
SET client_min_messages = notice;
DO $$ BEGIN PERFORM notify_stats.create_rollup('ordered', 'SELECT k, count(*) AS n FROM f GROUP BY k ORDER BY n DESC'); END $$;
SELECT pg_get_viewdef('ordered_definition') LIKE '%ORDER BY%' AS is_ordered;
SELECT notify_stats.drop_rollup('ordered');
SET client_min_messages = warning;

\set rounds :srcdir '/sql/include/split_rounds.sql'
\i :rounds
SELECT rollup, state, reason FROM notify_stats.rollups WHERE state <> 'live';

-- rows that are equal in the order: any of them are right
INSERT INTO query (name, query) VALUES ('ties', 'SELECT k, t, count(*) AS n FROM f GROUP BY k, t ORDER BY 1 = 1 LIMIT 5');
SELECT notify_stats.create_rollup(name, query) FROM query WHERE name = 'ties';
CALL notify_stats.catch_up();
SELECT count(*) FROM ties;
SELECT * FROM notify_stats.verify('ties');
UPDATE f SET t = 'new' WHERE id % 2 = 0;
CALL notify_stats.catch_up();
SELECT count(*) FROM ties;
SELECT * FROM notify_stats.verify('ties');

-- a view that groups by a primary key is dumped at once, not first as a dummy
SELECT substring(pg_get_viewdef('key_of_dimension') FROM 'GROUP BY.*');
SELECT r.rollup AS depends_on_constraint FROM notify_stats.rollups r, pg_rewrite w, pg_depend p
WHERE r.rollup <> 'by_primary_key'::regclass AND w.ev_class = r.rollup AND p.classid = 'pg_rewrite'::regclass AND p.objid = w.oid AND p.refclassid = 'pg_constraint'::regclass;

-- at most 32 group columns: nothing is made otherwise
CREATE TABLE wide (id integer PRIMARY KEY, d_id integer);
SELECT format('ALTER TABLE wide %s', string_agg(format('ADD c%s integer', i), ', ')) FROM generate_series(1, 40) i \gexec
ALTER TABLE wide REPLICA IDENTITY FULL;
\set VERBOSITY default
SELECT format('SELECT notify_stats.create_rollup(''wide_%s'', ''SELECT %s, avg(id) AS a FROM wide GROUP BY %s'')', n,
              string_agg('c' || i, ', '), string_agg('c' || i, ', '))
FROM unnest('{32,33}'::integer[]) n, generate_series(1, n) i GROUP BY n ORDER BY n \gexec
SELECT format('SELECT notify_stats.create_rollup(''wide_extremes'', ''SELECT %s FROM wide'')', string_agg(format('max(c%s) AS c%s', i, i), ', '))
FROM generate_series(1, 40) i \gexec
SELECT relname FROM pg_class WHERE relnamespace = 'split_clauses'::regnamespace AND relname LIKE 'wide%' AND relkind <> 'i' ORDER BY 1;

-- what the view could not compute
\set VERBOSITY terse
SELECT notify_stats.create_rollup('outer_aggregate', 'SELECT k, (SELECT sum(f.u)) AS s FROM f GROUP BY k');
SELECT notify_stats.create_rollup('dependent_in_sets', 'SELECT f.id, f.t, count(*) AS n FROM f GROUP BY GROUPING SETS ((f.id), (f.id, f.k))');

-- a key does not hold for tables that inherit, so the view groups again
CREATE TABLE parent (id integer PRIMARY KEY, name text);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1, 'a'), (2, 'b');
INSERT INTO child VALUES (1, 'a');
SELECT notify_stats.create_rollup('of_parents', 'SELECT f.k, sum(f.u) AS u, count(*) AS n FROM f JOIN parent ON parent.id = f.k GROUP BY f.k');
SELECT pg_get_viewdef('of_parents') ~ 'GROUP BY' AS groups_again;

SET client_min_messages = error;
DROP SCHEMA split_clauses CASCADE;
