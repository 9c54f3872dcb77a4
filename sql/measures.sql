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

DROP SCHEMA measures CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
