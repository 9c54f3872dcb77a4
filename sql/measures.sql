-- The supported measures, and numbers that are out of range.
CREATE SCHEMA measures;
SET search_path = measures;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

CREATE TABLE parcels (
    id integer PRIMARY KEY,
    kind text NOT NULL,
    small smallint,
    middle integer,
    large bigint,
    cost numeric(10, 2) CHECK (cost > '-Infinity' AND cost < 'Infinity'),
    sheets integer NOT NULL,
    express boolean
);
ALTER TABLE parcels REPLICA IDENTITY FULL;
INSERT INTO parcels VALUES (1, 'a', 1, 10, 100, 1.10, 1, true), (2, 'a', NULL, NULL, NULL, NULL, 2, NULL);

-- all measures
SELECT notify_stats.create_rollup('all_measures', $$
    SELECT kind, count(*) AS n,
           count(small) AS smalls, sum(small) AS small,
           count(middle) AS middles, sum(middle) AS middle,
           count(large) AS larges, sum(large) AS large,
           count(cost) AS costs, sum(cost) AS cost,
           sum(sheets) AS sheets, sum(coalesce(middle, 0)) AS zeros, coalesce(sum(large), 0) AS safe
    FROM parcels GROUP BY kind $$);
SELECT notify_stats.create_rollup('filtered', $$
    SELECT kind, count(*) AS n, count(*) FILTER (WHERE express) AS express,
           count(*) FILTER (WHERE NOT express) AS slow, count(*) FILTER (WHERE express IS NULL) AS unknown,
           count(cost) FILTER (WHERE sheets > 1) AS thick_costs, sum(cost) FILTER (WHERE sheets > 1) AS thick_cost,
           coalesce(sum(sheets) FILTER (WHERE express), 0) AS express_sheets,
           sum(sheets) FILTER (WHERE NOT express) AS slow_sheets
    FROM parcels WHERE sheets < 100 GROUP BY kind $$);
\d all_measures
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
\x on
SELECT * FROM all_measures;
SELECT * FROM filtered;

-- a sum becomes NULL when its last value is removed, though the group remains, and non-null again
INSERT INTO parcels VALUES (3, 'b', NULL, NULL, NULL, NULL, 3, false), (4, 'b', 0, 0, 0, 0, 4, true);
CALL notify_stats.catch_up();
SELECT * FROM all_measures WHERE kind = 'b';
SELECT * FROM filtered WHERE kind = 'b';
UPDATE parcels SET small = NULL, middle = NULL, large = NULL, cost = NULL, express = NULL WHERE id IN (1, 3, 4);
CALL notify_stats.catch_up();
SELECT * FROM all_measures ORDER BY kind;
SELECT * FROM filtered ORDER BY kind;
UPDATE parcels SET small = -1, middle = -1, large = -1, cost = -0.01 WHERE id = 3;
UPDATE parcels SET small = 1, middle = 1, large = 1, cost = 0.01 WHERE id = 4;
CALL notify_stats.catch_up();
SELECT * FROM all_measures WHERE kind = 'b';
DELETE FROM parcels WHERE id = 3;
CALL notify_stats.catch_up();
SELECT * FROM all_measures WHERE kind = 'b';
\x off
SELECT * FROM differences('all_measures');
SELECT * FROM differences('filtered');

-- a row that starts to satisfy the WHERE clause, and one that ceases to
UPDATE parcels SET sheets = 200 WHERE id = 1;
CALL notify_stats.catch_up();
SELECT kind, n FROM filtered ORDER BY kind;
UPDATE parcels SET sheets = 50, kind = 'c' WHERE id = 1;
CALL notify_stats.catch_up();
SELECT kind, n FROM filtered ORDER BY kind;
SELECT * FROM differences('filtered');

-- the limits of the input values
INSERT INTO parcels VALUES
    (10, 'd', 32767, 2147483647, 9223372036854775807, 99999999.99, 1, true),
    (11, 'd', 32767, 2147483647, 9223372036854775807, 99999999.99, 1, true),
    (12, 'e', -32768, -2147483648, -9223372036854775808, -99999999.99, 1, true),
    (13, 'e', -32768, -2147483648, -9223372036854775808, -99999999.99, 1, true);
CALL notify_stats.catch_up();
SELECT kind, small, middle, large, cost FROM all_measures WHERE kind IN ('d', 'e') ORDER BY kind;
SELECT * FROM differences('all_measures');
SELECT * FROM notify_stats.verify('all_measures');
DELETE FROM parcels;
CALL notify_stats.catch_up();
SELECT count(*) FROM all_measures;
SELECT count(*) FROM filtered;
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';

-- an expression that fails: that rollup fails, the others continue
SELECT notify_stats.create_rollup('divided', $$
    SELECT 100 / sheets AS part, count(*) FROM parcels GROUP BY 1 $$);
CALL notify_stats.catch_up();
INSERT INTO parcels VALUES (1, 'a', 1, 1, 1, 1, 5), (2, 'a', 1, 1, 1, 1, 0), (3, 'b', 1, 1, 1, 1, 5);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state, reason, reason_lsn IS NOT NULL AS at FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM differences('all_measures');
SELECT * FROM divided;
SELECT notify_stats.wait_for_lsn('0/1', rollup => 'divided');
SELECT * FROM notify_stats.verify('divided');
SELECT item, ok, detail, hint FROM notify_stats.check() WHERE item = 'rollup' AND NOT ok;
-- rebuilding it before the cause is fixed fails again
SELECT notify_stats.rebuild('divided');
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'divided'::regclass;
UPDATE parcels SET sheets = 50 WHERE id = 2;
CALL notify_stats.catch_up();
SELECT notify_stats.rebuild('divided');
CALL notify_stats.catch_up();
SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'divided'::regclass;
TABLE divided ORDER BY part;
SELECT * FROM differences('divided');
-- a row that the WHERE clause excludes may divide by zero
INSERT INTO parcels VALUES (20, 'z', NULL, NULL, NULL, NULL, 7);
BEGIN;
INSERT INTO parcels VALUES (21, 'z', NULL, NULL, NULL, NULL, 0);
ROLLBACK;
CALL notify_stats.catch_up();
SELECT state FROM notify_stats.rollups WHERE rollup = 'divided'::regclass;
SELECT notify_stats.drop_rollup('divided');

-- a bigint sum overflows; the value is set by hand, as reaching it would take too long
CREATE TABLE clicks (id integer PRIMARY KEY, n integer NOT NULL);
ALTER TABLE clicks REPLICA IDENTITY FULL;
INSERT INTO clicks VALUES (1, 1);
SELECT notify_stats.create_rollup('clicked', $$
    SELECT 'all' AS part, count(*), sum(n) AS n FROM clicks GROUP BY 1 $$);
CALL notify_stats.catch_up();
UPDATE clicked SET n = 9223372036854775807;
SELECT * FROM notify_stats.verify('clicked');
INSERT INTO clicks VALUES (2, 1);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup = 'clicked'::regclass;
SELECT notify_stats.rebuild('clicked');
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup = 'clicked'::regclass;
TABLE clicked;

-- a column that was NOT NULL when its sum was declared
ALTER TABLE clicks ALTER n DROP NOT NULL;
INSERT INTO clicks VALUES (3, NULL);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup = 'clicked'::regclass;
SELECT detail, hint FROM notify_stats.check() WHERE item = 'rollup' AND NOT ok;
DELETE FROM clicks WHERE n IS NULL;
ALTER TABLE clicks ALTER n SET NOT NULL;
SELECT notify_stats.rebuild('clicked');
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup = 'clicked'::regclass;

-- a constraint on the table
ALTER TABLE clicked ADD CONSTRAINT few CHECK (count < 3);
INSERT INTO clicks VALUES (4, 4);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup = 'clicked'::regclass;
ALTER TABLE clicked DROP CONSTRAINT few;
SELECT notify_stats.rebuild('clicked');
CALL notify_stats.catch_up();
TABLE clicked;

-- errors for a count that would become negative, and for a zero count with a nonzero sum
UPDATE clicked SET count = 0;
DELETE FROM clicks WHERE id = 4;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup = 'clicked'::regclass;
SELECT notify_stats.rebuild('clicked');
SELECT notify_stats.create_rollup('clicked_safe', $$
    SELECT 'all' AS part, count(*), coalesce(sum(n), 0) AS n FROM clicks GROUP BY 1 $$);
CALL notify_stats.catch_up();
UPDATE clicked_safe SET n = n + 1;
DELETE FROM clicks;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup = 'clicked_safe'::regclass;
SELECT notify_stats.rebuild('clicked_safe');
CALL notify_stats.catch_up();
TABLE clicked_safe;
TABLE clicked;
SELECT rollup, state FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM differences('all_measures');

-- arguments that can never be null, so that count(*) shows when their sums are null
CREATE TABLE jobs (
    id integer PRIMARY KEY,
    name text NOT NULL,
    started timestamp NOT NULL,
    seconds integer NOT NULL,
    price numeric(8, 2) NOT NULL,
    urgent boolean NOT NULL,
    done boolean,
    rating integer
);
ALTER TABLE jobs REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('never_null', $$
    SELECT upper(name) || '!' AS name, (started + interval '1 hour')::date + 1 AS day, count(*) AS n,
           sum(CASE WHEN done THEN 1 ELSE 0 END) AS done,
           sum(CASE WHEN rating > 3 THEN 2 WHEN rating IS NULL THEN seconds ELSE -seconds / 2 END) AS cases,
           sum(seconds * 2 + seconds % 7 - abs(seconds)) AS arithmetic,
           sum(round(price * seconds) + floor(price)) AS amount,
           sum((rating IS NULL)::integer) AS without_rating,
           sum((rating IS DISTINCT FROM 3)::integer) AS other_rating,
           sum((done IS TRUE OR NOT urgent AND seconds > 10)::integer) AS conditions,
           sum(greatest(rating, 0)) AS greatest, sum(length(name)) AS letters,
           sum(coalesce(rating, seconds)::bigint) AS filled,
           sum(1) AS ones, sum(CASE WHEN done THEN seconds ELSE 0 END) FILTER (WHERE urgent) AS urgent_seconds,
           count(*) FILTER (WHERE urgent) AS urgent
    FROM jobs GROUP BY 1, 2 $$);
SELECT conname, contype FROM pg_constraint WHERE conrelid = 'never_null'::regclass AND contype = 'p';
SELECT notify_stats.create_rollup('counted_ones', $$
    SELECT name, count(1) AS n, sum(seconds) AS seconds, count(rating) AS ratings, sum(rating) AS rating
    FROM jobs GROUP BY name $$);
SELECT notify_stats.create_rollup('counted_ids', $$
    SELECT name, count(id) AS n, sum(seconds) AS seconds, count(rating) AS ratings FROM jobs GROUP BY name $$);
CALL notify_stats.catch_up();
INSERT INTO jobs VALUES
    (1, 'a', '2026-11-01 10:00', 30, 1.25, true, true, 5), (2, 'a', '2026-11-01 11:00', 7, 0.50, false, NULL, NULL),
    (3, 'b', '2026-11-01 23:30', 0, 0, false, false, 3), (4, 'c', 'infinity', -5, 2, true, NULL, 1);
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
UPDATE jobs SET started = '2026-11-02', price = 3 WHERE id = 4;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
DELETE FROM jobs WHERE id = 4;
CALL notify_stats.catch_up();
\x on
SELECT * FROM never_null ORDER BY name;
\x off
TABLE counted_ones ORDER BY name;
TABLE counted_ids ORDER BY name;
UPDATE jobs SET done = NULL, rating = NULL;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
UPDATE jobs SET rating = id, done = id = 2, urgent = NOT urgent, seconds = seconds - 40, name = 'b' WHERE id < 3;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
DELETE FROM jobs WHERE id IN (1, 3);
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
TABLE counted_ids;
DELETE FROM jobs;
CALL notify_stats.catch_up();
SELECT (SELECT count(*) FROM never_null), (SELECT count(*) FROM counted_ones), (SELECT count(*) FROM counted_ids);
SELECT rollup, state FROM notify_stats.rollups WHERE rollup::text IN ('never_null', 'counted_ones', 'counted_ids') ORDER BY 1;
-- arguments that can be null
CREATE FUNCTION nothing(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
\set as_table :srcdir '/sql/include/as_table.sql'
\i :as_table
CREATE FUNCTION refused(expression text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce((as_table('SELECT name, ' || expression || ' FROM jobs GROUP BY name'))[1], 'accepted')
$$;
SELECT expression, refused('count(*), ' || expression) FROM (VALUES
    ('sum(CASE WHEN done THEN 1 END)'), ('sum(CASE WHEN urgent THEN rating ELSE 0 END)'),
    ('sum(CASE WHEN urgent THEN 1 ELSE rating END)'), ('sum(nullif(seconds, 0))'), ('sum(seconds + rating)'),
    ('sum(done::integer)'), ('sum((done AND urgent)::integer)'), ('sum((rating > 3)::integer)'), ('sum(nothing(seconds))'),
    ('sum(coalesce(rating, rating))'), ('sum(CASE WHEN done THEN 1 ELSE 0 END) FILTER (WHERE urgent)')) e(expression);
-- one of the tables may have nulls
SELECT as_table($$
    SELECT name, count(x) AS n FROM (SELECT name, id AS x FROM jobs UNION ALL SELECT name, rating FROM jobs) j
    GROUP BY name $$);
SELECT notify_stats.create_rollup('counted_both', $$
    SELECT name, count(x) AS n, sum(x) AS x
    FROM (SELECT name, id AS x FROM jobs UNION ALL SELECT name, CASE WHEN done THEN 2 ELSE seconds END FROM jobs) j
    GROUP BY name $$);
SELECT expression, refused(expression) FROM (VALUES
    ('count(rating)'), ('count(NULL)'), ('count(DISTINCT id)'), ('count(1) FILTER (WHERE urgent)'),
    ('count(id) FILTER (WHERE urgent)'), ('count(nothing(seconds))'), ('sum(seconds)')) e(expression);
-- count(x) as the only count of rows, and then x may be null
CREATE TABLE visits (page text NOT NULL, visitor integer NOT NULL);
ALTER TABLE visits REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('visited', 'SELECT page, count(visitor) AS n FROM visits GROUP BY page');
INSERT INTO visits VALUES ('a', 1);
CALL notify_stats.catch_up();
ALTER TABLE visits ALTER visitor DROP NOT NULL;
INSERT INTO visits VALUES ('a', NULL), ('b', NULL);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'visited'::regclass;
DELETE FROM visits WHERE visitor IS NULL;
ALTER TABLE visits ALTER visitor SET NOT NULL;
SELECT notify_stats.rebuild('visited');
CALL notify_stats.catch_up();
SELECT * FROM visited;
-- the same while nobody was looking
ALTER TABLE visits ALTER visitor DROP NOT NULL;
INSERT INTO visits VALUES ('a', NULL), ('b', NULL);
DELETE FROM visits WHERE visitor IS NULL;
ALTER TABLE visits ALTER visitor SET NOT NULL;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'visited'::regclass;
SELECT notify_stats.rebuild('visited');
CALL notify_stats.catch_up();
SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'visited'::regclass;
SELECT * FROM all_differences();

DROP SCHEMA measures CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
