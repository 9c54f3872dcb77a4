-- Rollups of queries that join a table of facts with other tables.
CREATE SCHEMA split_joins;
SET search_path = split_joins;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set split :srcdir '/sql/include/split.sql'
\i :split

INSERT INTO query (name, query) VALUES
-- by a unique key
('inner_join', 'SELECT d.name, count(*) AS n, sum(f.u) AS u, avg(f.u) AS a FROM f JOIN d ON d.id = f.d_id GROUP BY d.name'),
('using', 'SELECT name, count(*) AS n FROM (SELECT d_id AS id, u FROM f) x JOIN d USING (id) WHERE u > 2 GROUP BY name'),
('comma', 'SELECT d.name, count(*) AS n FROM d, f WHERE f.d_id = d.id AND (f.u = 1 OR d.w = 2) GROUP BY d.name'),
('by_key', 'SELECT d.id, d.name, d.grp, count(*) AS n FROM f JOIN d ON d.id = f.d_id GROUP BY d.id'),
('key_of_fact', 'SELECT f.d_id, d.name, count(*) AS n FROM f JOIN d ON d.id = f.d_id GROUP BY f.d_id, d.name'),
('no_columns', 'SELECT f.k, count(*) AS n FROM f JOIN d ON d.id = f.d_id GROUP BY f.k'),
('condition', 'SELECT f.k, sum(f.n) AS n FROM f JOIN d ON d.id = f.d_id WHERE d.active AND f.u > 2 GROUP BY f.k'),
('two_dimensions', 'SELECT d.name, d3.label, count(*) AS n, max(f.u) AS u FROM f JOIN d ON d.id = f.d_id LEFT JOIN d3 ON d3.k = f.k AND d3.t = f.t GROUP BY 1, 2'),
('composite_key', 'SELECT d3.label, count(*) AS n FROM f JOIN d3 USING (k, t) GROUP BY d3.label'),
('chain', 'SELECT d2.label, count(*) AS n FROM f JOIN d ON d.id = f.d_id JOIN d2 ON d2.k = d.w GROUP BY 1'),
('dimension_twice', 'SELECT a.name AS a, b.name AS b, count(*) AS n FROM f JOIN d a ON a.id = f.d_id LEFT JOIN d b ON b.id = f.u GROUP BY 1, 2'),
('cross', 'SELECT d.name, count(*) AS n FROM f CROSS JOIN d GROUP BY d.name'),
('range', 'SELECT d.name, count(*) AS n, sum(f.n) AS s FROM f JOIN d ON f.dt >= d.day AND f.dt < d.day + 10 GROUP BY d.name'),
('of_expression', 'SELECT d.name, count(*) AS n FROM f JOIN d ON d.id = f.u + 1 GROUP BY 1'),
('total', 'SELECT count(*) AS n, sum(f.u) AS u FROM f JOIN d ON d.id = f.d_id WHERE d.active'),
-- by columns with duplicates
('duplicates', 'SELECT d2.label, count(*) AS n, sum(f.u) AS u, avg(f.amt) AS a FROM f JOIN d2 ON d2.k = f.k GROUP BY 1'),
('duplicates_left', 'SELECT d2.label, count(*) AS n, count(f.u) AS u FROM f LEFT JOIN d2 ON d2.k = f.k GROUP BY 1'),
('not_distinct', 'SELECT d2.label, count(*) AS n FROM f JOIN d2 ON d2.k IS NOT DISTINCT FROM f.k GROUP BY 1'),
-- outer joins; the fact is on the preserved side
('left_join', 'SELECT d.name, count(*) AS n, count(d.id) AS known, sum(f.u) AS u FROM f LEFT JOIN d ON d.id = f.d_id GROUP BY d.name'),
('condition_on_fact', 'SELECT d.name, f.k, count(*) AS n, sum(f.n) AS s FROM f LEFT JOIN d ON d.id = f.d_id AND f.u > 2 GROUP BY 1, 2'),
('condition_on_both', 'SELECT d.name, count(*) AS n FROM f LEFT JOIN d ON d.id = f.d_id AND d.active AND f.u > d.w GROUP BY 1'),
('no_partner', 'SELECT f.k, count(*) AS n FROM f LEFT JOIN d ON d.id = f.d_id WHERE d.id IS NULL GROUP BY f.k'),
('reversed', 'SELECT d.name, count(*) AS n FROM d RIGHT JOIN f ON d.id = f.d_id AND f.u = 3 GROUP BY 1'),
-- ... on the nullable side: a dimension without facts is a row
('nullable', 'SELECT d.name, count(*) AS n, count(f.id) AS facts, sum(f.u) AS u, avg(f.u) AS a, min(f.u) AS m, count(DISTINCT f.k) AS k FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY d.name'),
('nullable_right', 'SELECT d.name, count(*) AS n, sum(f.u) AS u FROM f RIGHT JOIN d ON d.id = f.d_id GROUP BY d.name'),
('nullable_where_null', 'SELECT d.name, count(*) AS n FROM d LEFT JOIN f ON d.id = f.d_id WHERE f.u IS NULL GROUP BY d.name'),
('nullable_where_no_fact', 'SELECT d.name, count(*) AS n FROM d LEFT JOIN f ON d.id = f.d_id WHERE f.id IS NULL GROUP BY d.name'),
('nullable_where_or', 'SELECT f.b, d.name, count(*) AS n FROM f RIGHT JOIN d ON d.id = f.d_id WHERE f.u > 1 OR f.u IS NULL GROUP BY 1, 2'),
('nullable_where_strict', 'SELECT d.name, count(*) AS n, sum(coalesce(f.u, 100)) AS u FROM d LEFT JOIN f ON d.id = f.d_id WHERE f.u > 2 GROUP BY d.name'),
('nullable_on', 'SELECT d.name, count(*) AS n, count(f.id) AS facts, sum(f.u) AS u FROM d LEFT JOIN f ON d.id = f.d_id AND f.u > 2 AND d.active GROUP BY 1'),
('nullable_not_strict', 'SELECT d.name, sum(coalesce(f.u, 100)) AS s, avg(coalesce(f.u, 100)) AS a, count(coalesce(f.u, 1)) AS c, sum(CASE WHEN f.b THEN 0 ELSE 1 END) AS e, max(coalesce(f.u, 100)) AS m FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY 1'),
('nullable_filter', 'SELECT d.name, count(*) FILTER (WHERE f.u IS NULL) AS a, count(*) FILTER (WHERE f.b IS NOT TRUE) AS b, count(*) FILTER (WHERE f.u > 2) AS c, sum(d.w) FILTER (WHERE f.id IS NULL) AS s, bool_or(f.b) FILTER (WHERE f.k IS NULL) AS o FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY 1'),
('nullable_boolean', 'SELECT d.name, bool_and(f.u > 1) AS a, bool_or(f.u IS NULL) AS o, every(coalesce(f.b, true)) AS e FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY 1'),
('nullable_variance', 'SELECT d.name, stddev(f.u) AS s, variance(coalesce(f.u, 7)) AS v, sum(f.iv) AS i, percentile_disc(0.5) WITHIN GROUP (ORDER BY f.u) AS p, mode() WITHIN GROUP (ORDER BY f.t) AS m FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY 1'),
('nullable_percentile', 'SELECT d.name, percentile_disc(0.5) WITHIN GROUP (ORDER BY coalesce(f.u, 0)) AS p, count(*) AS n, sum(f.u) AS u FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY 1'),
('nullable_group', 'SELECT coalesce(f.t, ''none'') AS t, d.name, count(*) AS n FROM d LEFT JOIN f ON d.id = f.d_id GROUP BY 1, 2'),
('nullable_chain', 'SELECT d2.label, d.name, count(*) AS n, count(f.id) AS facts FROM d2 LEFT JOIN d ON d.w = d2.k LEFT JOIN f ON f.d_id = d.id GROUP BY 1, 2'),
('full_join', 'SELECT d.name, count(*) AS n, count(f.id) AS facts, sum(f.u) AS u FROM f FULL JOIN d ON d.id = f.d_id GROUP BY 1'),
('calendar', 'SELECT g.day::date AS day, count(f.id) AS n, coalesce(sum(f.u), 0) AS u FROM generate_series(timestamp ''2026-01-01'', timestamp ''2026-01-10'', interval ''1 day'') g (day) LEFT JOIN f ON f.dt = g.day::date GROUP BY 1'),
('of_values', 'SELECT x.label, count(f.id) AS n FROM (VALUES (1, ''one''), (2, ''two''), (9, ''nine'')) x (k, label) LEFT JOIN f USING (k) GROUP BY 1'),
-- columns of dimensions in aggregates
('weighted', 'SELECT f.k, sum(d.w) AS s, avg(d.rate) AS a, count(d.rate) AS c, min(d.w) AS m, count(DISTINCT d.w) AS x, sum(DISTINCT d.w) AS y FROM f JOIN d ON d.id = f.d_id GROUP BY f.k'),
('weighted_in_group', 'SELECT d.name, sum(d.w - f.u) AS s, sum(d.w) AS w, avg(d.rate) AS a, bool_and(d.active) AS b FROM f JOIN d ON d.id = f.d_id GROUP BY d.name'),
('product', 'SELECT d.name, sum(f.u * d.rate) AS s, sum(d.rate * f.n) AS n, sum(-f.u * d.w) AS m, avg(f.u * d.rate) AS a, count(f.u * d.rate) AS c FROM f JOIN d ON d.id = f.d_id GROUP BY d.name'),
('linear', 'SELECT d.name, sum(f.u + d.w) AS s, avg(f.u + d.w) AS a, count(f.u + d.w) AS c, sum((f.u - d.w) * d.rate + f.n) AS x, sum(f.u * d.w * 2) AS y FROM f JOIN d ON d.id = f.d_id GROUP BY d.name'),
('linear_case', 'SELECT d.name, sum(CASE WHEN d.active THEN f.u ELSE 0 END) AS s, sum(CASE WHEN d.grp = 1 THEN f.u WHEN f.k = 2 THEN f.amt END) AS c, count(CASE WHEN d.active THEN f.u END) AS n, avg(CASE f.k WHEN 1 THEN f.u ELSE d.w END) AS a FROM f JOIN d ON d.id = f.d_id GROUP BY 1'),
('not_linear', 'SELECT d.name, sum(f.u / 2) AS h, sum(f.amt / 3) AS t, sum((f.p * 1.0)::numeric(10, 1)) AS r, sum(f.n % 2) AS m FROM f JOIN d ON d.id = f.d_id GROUP BY d.name'),
('not_linear_mixed', 'SELECT d.name, sum(f.n / d.id) AS s, sum((f.n * d.rate)::numeric(10, 1)) AS r, sum(round(f.u * d.rate)) AS o, max(f.u * d.w) AS x FROM f JOIN d ON d.id = f.d_id GROUP BY d.name'),
('scale_of_product', 'SELECT d.name, max(f.amt * d.rate) AS m, sum(f.amt * d.rate) AS s, avg(f.amt + d.w) AS a FROM f JOIN d ON d.id = f.d_id GROUP BY 1'),
('mixed_filter', 'SELECT d.name, avg(f.amt) FILTER (WHERE d.active) AS a, sum(f.u) FILTER (WHERE f.b AND d.grp = 1) AS u, count(*) FILTER (WHERE f.u > d.w) AS c FROM d LEFT JOIN f ON f.d_id = d.id GROUP BY d.name'),
('mixed_group', 'SELECT upper(d.name) || coalesce(f.t, '''') AS x, count(*) AS n FROM f JOIN d ON d.id = f.d_id GROUP BY 1'),
('mixed_condition', 'SELECT d.name, count(*) AS n FROM f JOIN d ON d.id = f.d_id WHERE f.amt > d.rate GROUP BY 1'),
('mixed_scale', 'SELECT d.name, f.amt::text AS amt, count(*) AS n FROM f JOIN d ON d.id = f.d_id GROUP BY 1, 2'),
('mixed_interval', 'SELECT d.name, count(*) AS n FROM f JOIN d ON d.id = f.d_id WHERE f.iv > interval ''1 day'' * d.w GROUP BY d.name'),
('mixed_distinct', 'SELECT count(DISTINCT f.u + d.w) AS a, count(DISTINCT (f.k, d.name)) AS b, string_agg(DISTINCT f.t || d.name, '','') AS c FROM f JOIN d ON d.id = f.d_id'),
-- the server evaluates an expression only for facts that a condition on a dimension leaves
('guarded', 'SELECT f.t::integer AS t, count(*) AS n FROM f JOIN numbers ON numbers.t = f.t GROUP BY 1'),
('guarded_argument', 'SELECT d.name, sum(1000 / (f.n - 1)) AS s FROM f JOIN d ON d.id = f.d_id WHERE f.n + d.grp * 0 <> 1 GROUP BY 1'),
('guarded_filter', 'SELECT d.name, count(*) FILTER (WHERE 1 / f.n > 0) AS s FROM f JOIN d ON d.id = f.d_id WHERE f.n > d.grp * 0 GROUP BY 1'),
('guarded_case', 'SELECT d.name, sum(CASE WHEN f.n > d.grp * 0 THEN 1 / f.n END) AS s FROM f JOIN d ON d.id = f.d_id GROUP BY 1'),
('guarded_sum', 'SELECT f.k, sum(f.t::integer) AS s, avg(f.t::integer) AS a, max(f.t::integer) AS m, count(f.t::integer) FILTER (WHERE f.u > 2) AS c FROM f JOIN numbers USING (t) GROUP BY 1'),
('guarded_dimension', 'SELECT d.name, sum(f.t::integer) AS s FROM f JOIN d ON d.id = f.d_id WHERE f.t = substr(d.name || ''1'', 3) GROUP BY 1'),
('guarded_exists', 'SELECT f.t::integer AS t, count(*) AS n FROM f WHERE EXISTS (SELECT FROM numbers WHERE numbers.t = f.t) GROUP BY 1'),
-- facts in several tables
('union_of_facts', 'SELECT d.name, sum(x.u) AS u, count(*) AS n FROM (SELECT d_id, u FROM f UNION ALL SELECT d_id, u FROM f2) x JOIN d ON d.id = x.d_id GROUP BY 1'),
('grouped_sides', 'SELECT d.name, a.n, b.u FROM d LEFT JOIN (SELECT d_id, count(*) AS n FROM f GROUP BY 1) a ON a.d_id = d.id LEFT JOIN (SELECT d_id, sum(u) AS u FROM f2 GROUP BY 1) b ON b.d_id = d.id'),
('correlated', 'SELECT d.id, d.name, (SELECT count(*) FROM f WHERE f.d_id = d.id) AS n, (SELECT max(f.u) FROM f WHERE f.d_id = d.id AND f.k = 1) AS u FROM d'),
('in_dimension', 'SELECT k, count(*) AS n FROM f WHERE d_id IN (SELECT id FROM d WHERE active) GROUP BY k'),
('exists_dimension', 'SELECT k, count(*) AS n FROM f WHERE EXISTS (SELECT FROM d WHERE d.id = f.d_id AND d.active) GROUP BY 1'),
('not_exists_dimension', 'SELECT k, count(*) AS n FROM f WHERE NOT EXISTS (SELECT FROM d WHERE d.id = f.d_id) GROUP BY 1'),
('not_in_dimension', 'SELECT count(*) AS n FROM f WHERE d_id NOT IN (SELECT id FROM d WHERE active)'),
('filter_subquery', 'SELECT k, count(*) AS n, count(*) FILTER (WHERE k IN (SELECT k FROM d2)) AS m, sum(u) FILTER (WHERE k IN (SELECT k FROM d2)) AS u FROM f GROUP BY k');
UPDATE query SET looks = false WHERE name IN ('linear_case', 'scale_of_product');
-- the fact is named
INSERT INTO query (name, query, facts) VALUES
('named_chain', 'SELECT d2.label, count(*) AS n FROM f JOIN d ON d.id = f.d_id JOIN d2 ON d2.k = d.w GROUP BY 1', '{f}'),
('named_lateral', 'SELECT f.k, x.name, count(*) AS n FROM f, LATERAL (SELECT * FROM d WHERE d.id = f.d_id LIMIT 1) x GROUP BY 1, 2', '{f}'),
('named_left_lateral', 'SELECT x.n AS dimensions, count(*) AS n, sum(f.u) AS u FROM f LEFT JOIN LATERAL (SELECT count(*) AS n FROM d2 WHERE d2.k = f.k) x ON true GROUP BY 1', '{f}'),
('named_cross', 'SELECT d.name, count(*) AS n FROM f CROSS JOIN d GROUP BY d.name', '{f}'),
('named_not_distinct', 'SELECT d2.label, count(*) AS n FROM f JOIN d2 ON d2.k IS NOT DISTINCT FROM f.k GROUP BY 1', '{f}'),
('named', 'SELECT d.name, d2.label, count(*) AS n FROM d JOIN d2 ON d2.k = d.w JOIN f ON f.n = d.w GROUP BY 1, 2', '{f}'),
('named_with_schema', 'SELECT count(*) AS n FROM f, f2 WHERE f.n = f2.u', '{split_joins.f}');

\set rounds :srcdir '/sql/include/split_rounds.sql'
\i :rounds
SELECT rollup, state, reason FROM notify_stats.rollups WHERE state <> 'live';

-- keys of dimensions: a view that does not group again depends on the constraint
DO $$ BEGIN PERFORM notify_stats.drop_rollup(rollup) FROM notify_stats.rollups; END $$;
DELETE FROM query;
CREATE TABLE k1 (id integer, name text);
CREATE UNIQUE INDEX k1_id ON k1 (id);
CREATE TABLE k2 (id integer CONSTRAINT k2_id UNIQUE DEFERRABLE, name text);
CREATE TABLE k3 (id integer, name text);
CREATE UNIQUE INDEX k3_id ON k3 (id) WHERE name <> '';
CREATE TABLE k4 (id integer CONSTRAINT k4_id UNIQUE, name text);
CREATE TABLE k5 (id bigint PRIMARY KEY, name text);
CREATE TABLE k6 (id integer, part text, name text, CONSTRAINT k6_key PRIMARY KEY (id, part));
INSERT INTO k1 VALUES (1, 'a'), (2, 'b'), (3, 'a'), (NULL, 'c');
INSERT INTO k2 TABLE k1;
INSERT INTO k3 TABLE k1;
INSERT INTO k4 TABLE k1;
INSERT INTO k4 VALUES (NULL, 'd');
INSERT INTO k5 SELECT * FROM k1 WHERE id > 0;
INSERT INTO k6 VALUES (1, 'a', 'x'), (1, 'b', 'y'), (2, 'a', 'z');
INSERT INTO query (name, query, facts)
    SELECT 'of_' || k, format('SELECT f.d_id, %1$s.name, count(*) AS n, sum(f.u) AS u FROM f LEFT JOIN %1$s ON %1$s.id = f.d_id GROUP BY 1, 2', k), '{f}'
    FROM unnest('{k1,k2,k3,k4,k5,k6}'::text[]) k;
INSERT INTO query (name, query, facts) VALUES
('of_part', 'SELECT f.d_id, k6.name, count(*) AS n FROM f JOIN k6 ON k6.id = f.d_id AND k6.part = f.t GROUP BY 1, 2', '{f}'),
('of_constant_part', 'SELECT f.d_id, k6.name, count(*) AS n FROM f JOIN k6 ON k6.id = f.d_id AND k6.part = ''a'' GROUP BY 1, 2', '{f}'),
('of_key_of_dimension', 'SELECT k5.id, k5.name, count(*) AS n FROM f JOIN k5 ON k5.id = f.d_id GROUP BY 1, 2', '{f}'),
('of_two_keys', 'SELECT f.d_id, k5.name, k4.name AS other, count(*) AS n FROM f JOIN k5 ON k5.id = f.d_id LEFT JOIN k4 ON k4.id = k5.id + 1 GROUP BY 1, 2, 3', '{f}'),
('of_name', 'SELECT k5.name, count(*) AS n FROM f JOIN k5 ON k5.id = f.d_id GROUP BY 1', '{f}'),
('of_condition', 'SELECT f.d_id, count(*) AS n FROM f JOIN k5 ON k5.id = f.d_id WHERE k5.name > ''a'' GROUP BY 1 HAVING sum(f.u) > 1', '{f}');
SELECT * FROM keep_all();
CALL notify_stats.catch_up();
SELECT * FROM wrong();
BEGIN;
SET CONSTRAINTS k2_id DEFERRED;
INSERT INTO k2 VALUES (1, 'z');
SELECT * FROM wrong();
ROLLBACK;
DROP INDEX k1_id;
INSERT INTO k1 VALUES (1, 'z'), (2, 'b');
INSERT INTO k3 VALUES (1, NULL), (2, '');
INSERT INTO k4 VALUES (NULL, 'e');
UPDATE k5 SET id = id + 1 WHERE id = 3;
SELECT * FROM wrong();
ALTER TABLE k4 DROP CONSTRAINT k4_id;
ALTER TABLE k6 DROP CONSTRAINT k6_key;
ALTER TABLE k2 DROP CONSTRAINT k2_id;

SET client_min_messages = error;
DROP SCHEMA split_joins CASCADE;
