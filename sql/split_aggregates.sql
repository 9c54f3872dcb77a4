-- Aggregates that are computed from those that are kept.
CREATE SCHEMA split_aggregates;
SET search_path = split_aggregates;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set split :srcdir '/sql/include/split.sql'
\i :split

INSERT INTO query (name, query) VALUES
-- row counts
('row_count', 'SELECT k, count(*) AS n FROM f GROUP BY k'),
('row_count_1', 'SELECT k, count(1) AS n FROM f GROUP BY k'),
('row_count_column', 'SELECT k, count(id) AS n FROM f GROUP BY k'),
('no_row_count', 'SELECT k, sum(u) AS u, count(u) AS c FROM f GROUP BY k'),
('no_value_count', 'SELECT k, count(*) AS n, sum(u) AS u, sum(amt) FILTER (WHERE b) AS a FROM f GROUP BY k'),
('only_filtered', 'SELECT k, count(*) FILTER (WHERE b) AS b, sum(n) FILTER (WHERE NOT b) AS n FROM f GROUP BY k'),
('no_aggregate', 'SELECT k, t FROM f GROUP BY k, t'),
-- averages, with the number of decimal places that the server gives them
('averages', 'SELECT k, avg(u) AS u, avg(n) AS n, avg(sm) AS sm, avg(big) AS big, avg(p) AS p, avg(amt) AS amt, avg(amt) FILTER (WHERE b) AS b FROM f GROUP BY k'),
('average_only', 'SELECT avg(amt) AS a FROM f'),
('average_of_expression', 'SELECT k, avg(u + amt) AS a, avg(CASE WHEN b THEN 1 ELSE 0 END) AS b, avg(amt * 2) AS c FROM f GROUP BY k'),
('own_average', 'SELECT k, sum(amt) / count(*) AS a, sum(amt) / nullif(count(amt), 0) AS b, sum(p) / count(*) AS p, sum(u) / count(*) AS u, sum(u)::numeric / nullif(count(u), 0) AS v, round(avg(amt), 2) AS r FROM f GROUP BY k'),
('text_of_sum', 'SELECT k, sum(amt)::text AS s, avg(amt)::text AS a, coalesce(sum(amt), 0)::text AS c, round(sum(amt) * 100.0 / 7, 3) AS r, (sum(amt) > 3) AS g, to_char(sum(amt), ''FM999999999990.99'') AS t FROM f GROUP BY k'),
('interval', 'SELECT k, sum(iv) AS s, avg(iv) AS a, sum(iv) FILTER (WHERE u > 3) AS f FROM f GROUP BY k'),
-- exact variances and deviations
('variances', 'SELECT k, variance(u) AS a, var_samp(p) AS b, var_pop(u) AS c, stddev(u) AS d, stddev_samp(n) AS e, stddev_pop(sm) AS f, stddev(big) AS g, variance(u) FILTER (WHERE b) AS h FROM f GROUP BY k'),
('variances_of_numeric', 'SELECT k, variance(amt) AS a, stddev(amt) AS b, stddev_pop(amt) AS c, stddev(p) AS d FROM f GROUP BY k'),
('total_variance', 'SELECT stddev(u) AS s, variance(amt) AS v FROM f'),
-- the argument becomes a group column
('extremes', 'SELECT k, min(u) AS a, max(u) AS b, max(t) AS c, min(dt) AS d, max(ts) AS e, max(p) AS f, min(m) AS g, max(iv) AS h, max(v) AS i FROM f GROUP BY k'),
('spread', 'SELECT k, max(p) - min(p) AS s, max(u)::text AS u, coalesce(min(u), 0) AS m, max(u + n) FILTER (WHERE b) AS f, greatest(max(u), max(n)) AS g FROM f GROUP BY k'),
('distinct', 'SELECT k, count(DISTINCT u) AS a, count(DISTINCT t) FILTER (WHERE b) AS b, sum(DISTINCT u) AS c, avg(DISTINCT n) AS d, count(DISTINCT lower(t)) AS e, count(DISTINCT (u, t)) AS f FROM f GROUP BY k'),
('distinct_with_counts', 'SELECT k, count(*) AS n, count(DISTINCT u) AS d, sum(n) AS s, avg(u) AS a, count(u) AS c FROM f GROUP BY k'),
('array_agg_distinct', 'SELECT k, array_agg(DISTINCT t) AS a, array_agg(DISTINCT u ORDER BY u DESC) AS b, string_agg(DISTINCT t, '','' ORDER BY t) AS c FROM f GROUP BY k'),
('booleans', 'SELECT k, bool_and(b) AS a, bool_or(b) AS o, every(u > 2) AS e, bool_and(u IS NOT NULL) AS n, bool_or(b) FILTER (WHERE u > 3) AS f FROM f GROUP BY k'),
('bits', 'SELECT k, bit_and(u) AS a, bit_or(u) AS o, bit_and(sm) AS s FROM f GROUP BY k'),
('percentiles', 'SELECT k, percentile_disc(0.5) WITHIN GROUP (ORDER BY u) AS a, percentile_cont(0.25) WITHIN GROUP (ORDER BY u) AS b, mode() WITHIN GROUP (ORDER BY t) AS c, percentile_cont(ARRAY[0.1, 0.9]) WITHIN GROUP (ORDER BY n) AS d FROM f GROUP BY k'),
('percentiles_with_others', 'SELECT k, count(*) AS n, sum(u) AS s, avg(amt) AS a, max(u) AS x, percentile_disc(0.5) WITHIN GROUP (ORDER BY n) AS p, count(DISTINCT t) AS d, bool_or(b) AS o, stddev(u) AS v FROM f GROUP BY k'),
('percentile_filter', 'SELECT percentile_disc(0.9) WITHIN GROUP (ORDER BY n) FILTER (WHERE b) AS p, rank(3) WITHIN GROUP (ORDER BY n) AS r, count(*) FILTER (WHERE b) AS n FROM f'),
-- grouped by values that are equal and look different
('by_text_of_numeric', 'SELECT amt::text AS a, count(*) AS n FROM f GROUP BY amt::text'),
('by_text_of_interval', 'SELECT iv::text AS i, count(*) AS n FROM f GROUP BY iv::text'),
('by_length', 'SELECT length(bp) AS l, bp::text || ''!'' AS b, count(*) AS n FROM f GROUP BY 1, 2'),
('by_scale', 'SELECT scale(amt) AS s, round(amt, 1) AS r, count(*) AS n, avg(amt) AS a FROM f GROUP BY 1, 2'),
-- types of columns
('types', 'SELECT v, bp, p, max(v) AS a, sum(big) AS b, sum(p) AS c, min(p) AS d, max(bp) AS e, count(*)::integer AS f, sum(n)::numeric(12, 2) AS g, avg(n)::float8 AS h, (v || t) COLLATE "C" AS i, max(v COLLATE "C") AS j FROM f GROUP BY v, bp, p, i'),
('constants', 'SELECT ''x'' AS a, 0 AS z, NULL AS n, k, true AS b, count(*) AS c FROM f GROUP BY k'),
('twice', 'SELECT k, k AS again, count(*) AS n, count(*) AS m, k + 1 AS next FROM f GROUP BY k'),
('expressions', 'SELECT CASE WHEN u > 3 THEN ''big'' ELSE ''small'' END AS size, count(*) * 2 AS n, -sum(u) AS s, coalesce(sum(p), 0)::integer AS i, count(*) FILTER (WHERE b) * 100.0 / count(*) AS percent FROM f GROUP BY 1'),
('enum_as_text', 'SELECT m::text AS m, count(*) AS n FROM f GROUP BY m'),
('json_built', 'SELECT k, json_build_object(''n'', count(*), ''u'', sum(u)) AS j, ARRAY[count(*), sum(u)] AS a FROM f GROUP BY k'),
('arrays', 'SELECT a, a[1] AS first, count(*) AS n FROM f GROUP BY a'),
('json', 'SELECT j->>''a'' AS a, count(*) AS n FROM f GROUP BY 1'),
('jsonb', 'SELECT j, j->''a'' AS a, count(*) AS n FROM f GROUP BY j'),
('domains', 'SELECT u::integer % 3 AS u, abs(u - 3) AS a, count(*) AS n, sum(abs(u)) AS s FROM f GROUP BY 1, 2'),
('union_all', 'SELECT t, count(*) AS n, sum(u) AS u, avg(u) AS a, max(u) AS m FROM (SELECT t, u FROM f UNION ALL SELECT t, u FROM f2) x GROUP BY t'),
('union_kinds', 'SELECT kind, t, count(*) AS n, avg(u) AS a FROM (SELECT ''new'' AS kind, t, u FROM f WHERE u > 1 UNION ALL SELECT ''old'', t, u FROM f2) x GROUP BY kind, t');
-- sums keep the number of decimal places of values that have gone, which are equal to those without
UPDATE query SET looks = false WHERE name IN ('no_value_count', 'variances', 'variances_of_numeric');
INSERT INTO query (name, query, looks) VALUES ('by_numeric', 'SELECT amt, count(*) AS n, sum(u) AS u FROM f GROUP BY amt', false),
('by_interval', 'SELECT iv, count(*) AS n FROM f GROUP BY iv', false),
('by_bpchar', 'SELECT bp, count(*) AS n FROM f GROUP BY bp', false),
('by_float', 'SELECT fl, count(*) AS n FROM f GROUP BY fl', false),
('max_of_numeric', 'SELECT k, max(amt) AS m, min(amt) AS i FROM f GROUP BY k', false);

\set rounds :srcdir '/sql/include/split_rounds.sql'
\i :rounds
SELECT rollup, state, reason FROM notify_stats.rollups WHERE state <> 'live';

-- a value with many decimal places leaves the group
CREATE TABLE shares (part integer, share numeric CHECK (share > '-Infinity' AND share < 'Infinity'), id integer PRIMARY KEY);
ALTER TABLE shares REPLICA IDENTITY FULL;
INSERT INTO shares VALUES (1, 1.5, 1), (1, 2.25, 2), (1, 1 / 3.0, 3), (2, 1, 4);
DELETE FROM query;
INSERT INTO query (name, query) VALUES
('average_of_shares', 'SELECT part, avg(share) AS a FROM shares GROUP BY part'),
('own_average_of_shares', 'SELECT part, sum(share) / count(*) AS a, sum(share)::text AS t FROM shares GROUP BY part'),
('having_shares', 'SELECT part, count(*) AS n FROM shares GROUP BY part HAVING avg(share)::text = ''1.5833333333333333'''),
('deviation_of_shares', 'SELECT part, stddev(share) AS d, variance(share) AS v FROM shares GROUP BY part'),
('text_of_shares', 'SELECT max(s::text) AS t, min(part) AS p FROM (SELECT part, sum(share) AS s FROM shares GROUP BY part) x'),
('average_of_sums', 'SELECT avg(s) AS a FROM (SELECT part, coalesce(sum(share), 0) AS s FROM shares GROUP BY part) x'),
('text_further_out', 'SELECT p, s || ''!'' AS t FROM (SELECT p, s FROM (SELECT part AS p, sum(share) AS s FROM shares GROUP BY part) x WHERE s > 0) y'),
('array_of_sums', 'SELECT x.part, ARRAY(SELECT x.s) AS a FROM (SELECT part, sum(share) AS s FROM shares GROUP BY part) x'),
('row_of_sums', 'SELECT x.part, to_json(x) AS j FROM (SELECT part, sum(share) AS s FROM shares GROUP BY part) x'),
('union_of_sums', 'SELECT s::text AS t FROM (SELECT sum(share) AS s FROM shares UNION ALL SELECT sum(share) FROM shares GROUP BY part) x'),
('total_of_all', 'SELECT part, count(*) || '' of '' || (SELECT sum(share) FROM shares) AS t FROM shares GROUP BY part'),
('sum_of_sums', 'SELECT sum(s) AS s, max(s) AS m FROM (SELECT part, sum(share) AS s FROM shares GROUP BY part) x WHERE s > 1');
-- added up and compared only
UPDATE query SET looks = false WHERE name = 'sum_of_sums';
SELECT * FROM keep_all();
CALL notify_stats.catch_up();
TABLE average_of_shares ORDER BY part;
UPDATE shares SET share = 1 WHERE id = 3;
CALL notify_stats.catch_up();
TABLE average_of_shares ORDER BY part;
SELECT * FROM wrong();
DELETE FROM shares;
CALL notify_stats.catch_up();
SELECT * FROM wrong();

-- nondeterministic collations, and long values
CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE words (id integer PRIMARY KEY, word text COLLATE ignore_case, long text, d_id integer);
ALTER TABLE words REPLICA IDENTITY FULL;
INSERT INTO words VALUES (1, 'a', 'x', 1), (2, 'A', 'x', 2), (3, 'b', 'y', 1);
DELETE FROM query;
INSERT INTO query (name, query) VALUES
('by_bytes', 'SELECT word COLLATE "C" AS word, count(*) AS n FROM words GROUP BY 1'),
('by_word', 'SELECT lower(word) AS word, count(*) AS n FROM words GROUP BY 1'),
('words_of_d', 'SELECT upper(w.word || d.name) AS word, count(*) AS n FROM words w JOIN d ON d.id = w.d_id GROUP BY 1'),
('longest', 'SELECT word COLLATE "C" AS word, max(long) AS long FROM words GROUP BY 1');
SELECT * FROM keep_all();
CALL notify_stats.catch_up();
SELECT * FROM wrong();
INSERT INTO words VALUES (4, 'B', 'z', 1);
UPDATE words SET word = 'A' WHERE id = 1;
CALL notify_stats.catch_up();
SELECT * FROM wrong();
-- a group column is limited to what an index takes
SELECT notify_stats.drop_rollup('by_bytes');
INSERT INTO words SELECT 10, 'c', string_agg(md5(i::text), '') FROM generate_series(1, 400) i;
\set VERBOSITY sqlstate
CALL notify_stats.catch_up();
\set VERBOSITY default
SELECT regexp_replace(last_error, '\d+', 'N', 'g') AS last_error FROM notify_stats.status;
CALL notify_stats.catch_up();
SELECT rollup, state, regexp_replace(reason, '\d+', 'N', 'g') AS reason FROM notify_stats.rollups WHERE state <> 'live';
SELECT notify_stats.drop_rollup('longest');
DELETE FROM query WHERE name IN ('longest', 'by_bytes');
CALL notify_stats.catch_up();
SELECT * FROM wrong();

SET client_min_messages = error;
DROP SCHEMA split_aggregates CASCADE;
