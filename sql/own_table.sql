-- Changes that its owner may make to a rollup's own table, and their effect on the rollup.
CREATE SCHEMA own_table;
SET search_path = own_table;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
-- the first call gets the error, the second records it
\set catch_up_twice 'CALL notify_stats.catch_up(); CALL notify_stats.catch_up(); SELECT * FROM own_table.states();'
-- the requested rebuild is done, and the rollup equals its definition
\set fixed 'SET search_path = own_table; CALL notify_stats.catch_up(); SELECT * FROM own_table.states(); SELECT * FROM own_table.all_differences();'
CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN "Amount" AS numeric;

CREATE TABLE sales (id integer PRIMARY KEY, "The Place" text, at timestamp, amount numeric NOT NULL);
ALTER TABLE sales REPLICA IDENTITY FULL;
INSERT INTO sales VALUES (1, 'a', '2026-01-01 00:00:00.4', 1.25), (2, 'A', '2026-01-01 00:00:00.4', 2.5);
SELECT notify_stats.create_rollup('"The Rollup"', $$
    SELECT "The Place", at, count(*), sum(amount) AS "the sum", count(amount) AS n FROM sales GROUP BY 1, 2 $$);
CALL notify_stats.catch_up();
SELECT * FROM "The Rollup" ORDER BY "The Place" COLLATE "C";

-- Types, type modifiers and collations that would round or merge values: the rollup fails, and
-- the statements of the hint fix it.
ALTER TABLE "The Rollup" ALTER COLUMN "the sum" TYPE numeric(12,0);
:catch_up_twice
SET search_path = pg_catalog;
ALTER TABLE own_table."The Rollup" ALTER COLUMN "the sum" TYPE numeric; SELECT notify_stats.rebuild('own_table."The Rollup"');
:fixed

ALTER TABLE "The Rollup" ALTER COLUMN at TYPE timestamp(0);
:catch_up_twice
SET search_path = pg_catalog;
ALTER TABLE own_table."The Rollup" ALTER COLUMN at TYPE timestamp without time zone; SELECT notify_stats.rebuild('own_table."The Rollup"');
:fixed

ALTER TABLE "The Rollup" ALTER COLUMN "the sum" TYPE "Amount";
:catch_up_twice
SET search_path = pg_catalog;
ALTER TABLE own_table."The Rollup" ALTER COLUMN "the sum" TYPE numeric; SELECT notify_stats.rebuild('own_table."The Rollup"');
:fixed

ALTER TABLE "The Rollup" RENAME COLUMN n TO "how many's";
ALTER TABLE "The Rollup" ALTER COLUMN "how many's" TYPE text;
:catch_up_twice
SET search_path = pg_catalog;
ALTER TABLE own_table."The Rollup" ALTER COLUMN "how many's" TYPE bigint USING "how many's"::bigint; SELECT notify_stats.rebuild('own_table."The Rollup"');
:fixed

DROP INDEX "The Rollup_The Place_at_idx";
ALTER TABLE "The Rollup" ALTER COLUMN "The Place" TYPE text COLLATE any_case;
:catch_up_twice
SET search_path = pg_catalog;
ALTER TABLE own_table."The Rollup" ALTER COLUMN "The Place" TYPE text COLLATE "default"; SELECT notify_stats.rebuild('own_table."The Rollup"');
:fixed

-- Indexes that do not identify its groups exactly are not accepted.
INSERT INTO sales VALUES (3, 'b', '2026-01-02', 1);
:catch_up_twice
CREATE UNIQUE INDEX ON "The Rollup" (at, "The Place" COLLATE any_case) NULLS NOT DISTINCT;
DELETE FROM "The Rollup" WHERE "The Place" = 'A';
CREATE UNIQUE INDEX ON "The Rollup" (at, "The Place" COLLATE any_case) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX ON "The Rollup" ("how many's", at, "The Place") NULLS NOT DISTINCT;
CREATE UNIQUE INDEX ON "The Rollup" (at, lower("The Place")) NULLS NOT DISTINCT;
CREATE UNIQUE INDEX ON "The Rollup" (at, "The Place") NULLS NOT DISTINCT WHERE count > 0;
CREATE UNIQUE INDEX ON "The Rollup" (at, "The Place");
CREATE UNIQUE INDEX ON "The Rollup" (at) NULLS NOT DISTINCT;
DELETE FROM sales WHERE id = 2;
SELECT notify_stats.rebuild('"The Rollup"');
CALL notify_stats.catch_up();
INSERT INTO sales VALUES (4, 'c', '2026-01-03', 1);
:catch_up_twice
CREATE UNIQUE INDEX ON "The Rollup" (at, "The Place") NULLS NOT DISTINCT;
SELECT notify_stats.rebuild('"The Rollup"');
:fixed
-- in addition to its own, one with a coarser equality causes errors, but merges no groups
INSERT INTO sales VALUES (5, 'A', '2026-01-01 00:00:00.4', 5);
:catch_up_twice
DROP INDEX "The Rollup_at_The Place_idx", "The Rollup_at_lower_idx", "The Rollup_at_idx";
SELECT notify_stats.rebuild('"The Rollup"');
:fixed

-- An additional column gets its default, and is not compared.
ALTER TABLE "The Rollup" ADD COLUMN noted text DEFAULT 'yes';
INSERT INTO sales VALUES (6, 'd', '2026-01-04', 6);
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('"The Rollup"');
SELECT "The Place", count, noted FROM "The Rollup" ORDER BY "The Place" COLLATE "C";
ALTER TABLE "The Rollup" DROP COLUMN noted;
SELECT * FROM states();

-- The rows of an inheritance child do not belong to the rollup: they are neither counted nor
-- deleted, although they have the same ctids as its own rows.
CREATE TABLE child () INHERITS ("The Rollup");
INSERT INTO child SELECT 'child', '2026-01-05', 1, i, 1 FROM generate_series(1, 20) i;
SELECT * FROM notify_stats.verify('"The Rollup"');
SELECT count(*) > 0 AS collide FROM child JOIN ONLY "The Rollup" r ON r.ctid = child.ctid;
UPDATE ONLY "The Rollup" SET count = 100 WHERE "The Place" = 'c';
INSERT INTO "The Rollup" VALUES ('x', '2026-01-05', 1, 1, 1);
SELECT * FROM notify_stats.verify('"The Rollup"');
SELECT notify_stats.rebuild('"The Rollup"');
CALL notify_stats.catch_up();
SELECT * FROM states();
SELECT "The Place", at, count, "the sum" FROM ONLY "The Rollup" ORDER BY "The Place" COLLATE "C", at;
SELECT count(*), sum("the sum") FROM child;
-- emptied, and built for the first time
TRUNCATE sales;
CALL notify_stats.catch_up();
SELECT count(*), sum("the sum") FROM child;
SELECT notify_stats.create_rollup('by_place', 'SELECT "The Place", count(*) FROM own_table.sales GROUP BY 1');
CREATE TABLE child_of_new () INHERITS (by_place);
INSERT INTO child_of_new VALUES ('child', 1);
CALL notify_stats.catch_up();
INSERT INTO sales VALUES (7, 'e', '2026-01-07', 7);
CALL notify_stats.catch_up();
SELECT tableoid::regclass, * FROM by_place ORDER BY 2;
SELECT * FROM notify_stats.verify('by_place');

DROP TABLE child, child_of_new;

-- If no group column can be null, a primary key identifies groups, and rows for logical replication.
CREATE TABLE visits (id integer NOT NULL, at timestamp NOT NULL, "The Place" text, zoned timestamptz NOT NULL);
ALTER TABLE visits REPLICA IDENTITY FULL;
CREATE FUNCTION key_of(definition text) RETURNS TABLE (key text, identity "char") LANGUAGE plpgsql AS $$
BEGIN
    PERFORM notify_stats.create_rollup('own_table.keyed', definition);
    RETURN QUERY SELECT string_agg(pg_get_indexdef(indexrelid) || CASE WHEN indisprimary THEN ', primary' ELSE '' END, '; '),
                        (SELECT relreplident FROM pg_class WHERE oid = 'own_table.keyed'::regclass)
                 FROM pg_index WHERE indrelid = 'own_table.keyed'::regclass;
    PERFORM notify_stats.drop_rollup('own_table.keyed');
END $$;
SELECT key, identity FROM unnest(ARRAY[
    'SELECT id, count(*) FROM visits GROUP BY 1',
    'SELECT at::date AS day, coalesce("The Place", ''nowhere'') AS place, count(*) FROM visits GROUP BY 1, 2',
    'SELECT (zoned AT TIME ZONE ''Europe/London'')::date AS day, date_trunc(''hour'', at) AS hour, count(*) FROM visits GROUP BY 1, 2',
    'SELECT ''all'' AS part, count(*) FROM visits GROUP BY 1',
    'SELECT id, "The Place", count(*) FROM visits GROUP BY 1, 2',
    'SELECT nullif(id, 1) AS id, count(*) FROM visits GROUP BY 1',
    'SELECT id, count(*) FROM (SELECT id FROM visits UNION ALL SELECT NULL FROM visits) v GROUP BY 1']) definition, key_of(definition);
SELECT notify_stats.create_rollup('by_id', 'SELECT id, count(*) AS n FROM own_table.visits GROUP BY 1');
INSERT INTO visits VALUES (1, '2026-01-01', 'a', '2026-01-01'), (2, '2026-01-01', 'a', '2026-01-01');
CALL notify_stats.catch_up();
UPDATE visits SET id = 2;
CALL notify_stats.catch_up();
TABLE by_id;
-- A null is then an error; without the primary key, it is a group.
ALTER TABLE visits ALTER id DROP NOT NULL;
INSERT INTO visits VALUES (NULL, '2026-01-01', 'a', '2026-01-01');
:catch_up_twice
ALTER TABLE by_id DROP CONSTRAINT by_id_pkey, ALTER id DROP NOT NULL;
CREATE UNIQUE INDEX ON by_id (id) NULLS NOT DISTINCT;
ALTER TABLE by_id REPLICA IDENTITY FULL;
CALL notify_stats.catch_up();
TABLE by_id ORDER BY id;
SELECT notify_stats.drop_rollup('by_id');
-- A primary key made from the other kind of index cannot be dumped by pg_dump.  Some servers refuse it.
CREATE FUNCTION make_key_of_index() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told record;
BEGIN
    ALTER TABLE own_table.by_place ADD PRIMARY KEY USING INDEX "by_place_The Place_idx";
    SELECT detail, hint INTO told FROM notify_stats.check() WHERE item = 'primary key';
    EXECUTE substr(told.hint, length('Run: ') + 1);
    RETURN told.detail || E'\n' || told.hint;
EXCEPTION WHEN wrong_object_type OR feature_not_supported OR invalid_table_definition OR object_not_in_prerequisite_state THEN
    ALTER TABLE own_table.by_place ADD PRIMARY KEY ("The Place");
    RETURN 'refused';
END $$;
SET search_path = pg_catalog;
SELECT own_table.make_key_of_index() IN (
    E'the primary key of rollup own_table.by_place cannot be restored from a dump because it is NULLS NOT DISTINCT\n'
    'Run: ALTER TABLE own_table.by_place DROP CONSTRAINT "by_place_The Place_idx", ADD PRIMARY KEY ("The Place");',
    'refused') AS told_or_refused;
SET search_path = own_table;
SELECT detail, hint FROM notify_stats.check() WHERE item = 'primary key';
INSERT INTO sales VALUES (8, 'f', '2026-01-08', 8);
CALL notify_stats.catch_up();
TABLE by_place ORDER BY 1;

SELECT notify_stats.drop_rollup('"The Rollup"');

-- A rollup that has failed because of the catalogs is tried again when the cause changes: not
-- when anything else does, and once per change.
CREATE FUNCTION failing() RETURNS TABLE (state text, reason text) LANGUAGE sql AS $$
    SELECT state, reason FROM notify_stats.rollups WHERE rollup = 'own_table.by_place'::regclass $$;
ALTER TABLE sales REPLICA IDENTITY DEFAULT;
SELECT notify_stats.rebuild('by_place');
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT * FROM failing();
CREATE TABLE no_matter (a integer);
DROP TABLE no_matter;
ANALYZE sales;
CALL notify_stats.catch_up();
SELECT * FROM failing();
ALTER TABLE sales ADD COLUMN no_matter integer;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT * FROM failing();
ALTER TABLE sales REPLICA IDENTITY FULL;
CALL notify_stats.catch_up();
SELECT * FROM failing();
SELECT * FROM differences('by_place');
-- a constraint
ALTER TABLE by_place ADD CHECK (count < 2);
INSERT INTO sales VALUES (9, 'f', '2026-01-09', 9);
:catch_up_twice
ALTER TABLE by_place DROP CONSTRAINT by_place_count_check;
CALL notify_stats.catch_up();
SELECT * FROM failing();
SELECT * FROM differences('by_place');
-- children, privileges, and a table that was unlogged
CREATE TABLE of_sales () INHERITS (sales);
:catch_up_twice
DROP TABLE of_sales;
CALL notify_stats.catch_up();
SELECT * FROM failing();
CREATE ROLE regress_own_table;
GRANT USAGE ON SCHEMA own_table TO regress_own_table;
GRANT SELECT ON sales TO regress_own_table;
ALTER TABLE by_place OWNER TO regress_own_table;
ALTER VIEW by_place_definition OWNER TO regress_own_table;
REVOKE SELECT ON sales FROM regress_own_table;
:catch_up_twice
GRANT SELECT ("The Place") ON sales TO regress_own_table;
CALL notify_stats.catch_up();
SELECT * FROM failing();
REVOKE USAGE ON SCHEMA own_table FROM regress_own_table;
ALTER TABLE by_place SET UNLOGGED;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT * FROM failing();
ALTER TABLE by_place SET LOGGED;
GRANT USAGE ON SCHEMA own_table TO regress_own_table;
CALL notify_stats.catch_up();
SELECT * FROM failing();
SELECT * FROM differences('by_place');
-- fixed before the failure was recorded
CREATE TABLE of_sales () INHERITS (sales);
CALL notify_stats.catch_up();
DROP TABLE of_sales;
CALL notify_stats.catch_up();
SELECT * FROM failing();
REVOKE SELECT ("The Place") ON sales FROM regress_own_table;
CALL notify_stats.catch_up();
GRANT SELECT ("The Place") ON sales TO regress_own_table;
CALL notify_stats.catch_up();
SELECT * FROM failing();
-- failures caused by values are not tried again
INSERT INTO sales VALUES (10, 'g', '2026-01-10', 10);
UPDATE by_place SET count = 0 WHERE "The Place" = 'f';
DELETE FROM sales WHERE "The Place" = 'f';
:catch_up_twice
ALTER TABLE by_place ADD COLUMN noted text;
CALL notify_stats.catch_up();
SELECT * FROM failing();

SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;
DROP OWNED BY regress_own_table;
DROP ROLE regress_own_table;
CALL notify_stats.catch_up();

-- Constraints, generated columns and triggers of the table see its rows before and after a
-- change, but neither deltas nor groups that have become empty.
CREATE TABLE page_views (id integer PRIMARY KEY, page text, seconds bigint);
ALTER TABLE page_views REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('by_page', $$
    SELECT page, count(*) AS n, sum(seconds) AS s, count(seconds) AS timed FROM page_views GROUP BY 1 $$);
CALL notify_stats.catch_up();
ALTER TABLE by_page ADD CHECK (n > 0), ADD CHECK (s >= 0), ADD CHECK (timed BETWEEN 0 AND n),
    ADD average numeric GENERATED ALWAYS AS (coalesce(s, 0) / n) STORED;
CREATE UNIQUE INDEX one_without_page ON by_page ((page IS NULL)) WHERE page IS NULL;
CREATE TABLE seen (id serial, what text, old by_page, new by_page);
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO own_table.seen (what, old, new)
    VALUES (tg_when || ' ' || tg_op, old, CASE WHEN tg_op <> 'DELETE' THEN new END);
    RETURN coalesce(new, old);
END $$;
CREATE TRIGGER note_before BEFORE INSERT OR UPDATE OR DELETE ON by_page
    FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE TRIGGER note_after AFTER INSERT OR UPDATE OR DELETE ON by_page
    FOR EACH ROW EXECUTE FUNCTION note_row();
CREATE FUNCTION note_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO own_table.seen (what) VALUES ('statement ' || tg_op);
    RETURN NULL;
END $$;
CREATE TRIGGER note_statement AFTER INSERT OR UPDATE OR DELETE ON by_page
    EXECUTE FUNCTION note_statement();
\set seen 'CALL notify_stats.catch_up(); SELECT what, old, new FROM own_table.seen ORDER BY min(id) OVER (PARTITION BY what), old, new; TRUNCATE own_table.seen; SELECT * FROM own_table.states(); SELECT * FROM notify_stats.verify(''own_table.by_page'');'
INSERT INTO page_views VALUES (1, 'a', 10), (2, 'a', 20), (3, NULL, 5), (4, NULL, NULL), (5, 'b', 1);
:seen
UPDATE page_views SET seconds = 1 WHERE id = 2;
DELETE FROM page_views WHERE id = 3;
:seen
-- one group is deleted, one is inserted, one is updated
UPDATE page_views SET page = 'c' WHERE id IN (1, 5);
:seen
DELETE FROM page_views;
:seen
-- constraints still apply to the resulting row
ALTER TABLE by_page ADD CONSTRAINT few CHECK (n < 3);
INSERT INTO page_views SELECT i, 'd', 1 FROM generate_series(1, 3) i;
:catch_up_twice
ALTER TABLE by_page DROP CONSTRAINT few;
SELECT notify_stats.rebuild('by_page');
:seen
-- enough groups to be sorted, some of them NULL
DROP TRIGGER note_before ON by_page;
DROP TRIGGER note_after ON by_page;
TRUNCATE page_views;
CALL notify_stats.catch_up();
INSERT INTO page_views SELECT i, nullif('page ' || i, 'page 7'), i FROM generate_series(1, 200) i;
CALL notify_stats.catch_up();
DELETE FROM page_views WHERE id BETWEEN 100 AND 150;
UPDATE page_views SET page = 'page 300' WHERE page IS NULL;
UPDATE page_views SET seconds = NULL WHERE id > 150;
TRUNCATE seen;
:seen
SELECT count(*), sum(n), sum(s), sum(average), count(*) FILTER (WHERE page IS NULL) FROM by_page;
-- a row whose deletion a trigger suppresses
CREATE FUNCTION keep_away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep_away BEFORE DELETE ON by_page FOR EACH ROW EXECUTE FUNCTION keep_away();
DELETE FROM page_views WHERE id = 1;
:catch_up_twice
DROP TRIGGER keep_away ON by_page;
SELECT notify_stats.rebuild('by_page');
:seen

DROP TABLE seen;
SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;
CALL notify_stats.catch_up();
