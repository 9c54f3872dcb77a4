-- Creating and dropping rollups, and DDL on rollups and their sources.
CREATE SCHEMA lifecycle;
SET search_path = lifecycle;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
CREATE FUNCTION all_states() RETURNS TABLE (rollup regclass, definition regclass, state text, reason text) LANGUAGE sql AS $$
    SELECT rollup, definition, state, reason FROM notify_stats.rollups ORDER BY rollup::text
$$;

CREATE TABLE letters (id integer PRIMARY KEY, kind text, pages integer);
ALTER TABLE letters REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3);

-- created in a transaction that is rolled back
BEGIN;
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*), coalesce(sum(pages), 0) AS pages FROM letters GROUP BY kind $$);
SELECT * FROM all_states();
ROLLBACK;
SELECT * FROM all_states();
SELECT to_regclass('by_kind') AS rollup, to_regclass('by_kind_definition') AS definition;
-- created: empty until it is built
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*), coalesce(sum(pages), 0) AS pages FROM letters GROUP BY kind $$);
SELECT * FROM all_states();
TABLE by_kind;
SELECT * FROM notify_stats.verify('by_kind');
CALL notify_stats.catch_up();
SELECT * FROM all_states();
TABLE by_kind ORDER BY kind;
-- several, in one transaction with rows of their sources
BEGIN;
INSERT INTO letters VALUES (4, 'c', 4);
SELECT notify_stats.create_rollup('lifecycle.by_pages', $$
    SELECT pages, count(*) FROM lifecycle.letters GROUP BY pages $$);
INSERT INTO letters VALUES (5, 'c', 5);
SELECT notify_stats.create_rollup('gone', $$
    SELECT pages, count(*) FROM letters GROUP BY pages $$);
SELECT notify_stats.drop_rollup('gone');
COMMIT;
INSERT INTO letters VALUES (6, 'c', NULL);
CALL notify_stats.catch_up();
SELECT * FROM all_states();
SELECT * FROM differences('by_kind');
SELECT * FROM differences('by_pages');

-- changed by hand: verify() shows the differences, and rebuild() changes only these groups
SELECT * FROM notify_stats.verify('by_kind');
UPDATE by_kind SET count = 7 WHERE kind = 'a';
DELETE FROM by_kind WHERE kind = 'b';
INSERT INTO by_kind VALUES ('x', 1, 1), (NULL, 2, NULL);
SELECT * FROM notify_stats.verify('by_kind');
SELECT ctid AS before FROM by_kind WHERE kind = 'c' \gset
SELECT notify_stats.rebuild('by_kind');
SELECT * FROM all_states();
INSERT INTO letters VALUES (7, 'd', 7);
CALL notify_stats.catch_up();
SELECT * FROM all_states();
TABLE by_kind ORDER BY kind;
SELECT ctid = :'before' AS untouched FROM by_kind WHERE kind = 'c';
SELECT * FROM notify_stats.verify('by_kind');
SELECT * FROM differences('by_kind');
-- a request that is rolled back
BEGIN;
SELECT notify_stats.rebuild('by_kind');
ROLLBACK;
UPDATE by_kind SET pages = 0 WHERE kind = 'a';
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('by_kind');
SELECT notify_stats.rebuild('by_kind');
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('by_kind');
-- without the unique index, a group may exist twice
DROP INDEX by_kind_kind_idx;
INSERT INTO by_kind SELECT * FROM by_kind WHERE kind = 'a';
SELECT * FROM notify_stats.verify('by_kind');
SELECT notify_stats.rebuild('by_kind');
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('by_kind');
INSERT INTO letters VALUES (8, 'a', 8);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT * FROM all_states();
CREATE UNIQUE INDEX ON by_kind (kind) NULLS NOT DISTINCT;
SELECT notify_stats.rebuild('by_kind');
CALL notify_stats.catch_up();
SELECT * FROM all_states();
SELECT * FROM differences('by_kind');

-- additional columns, indexes and statistics on the table
ALTER TABLE by_kind ADD seen_at date DEFAULT '2026-01-01';
CREATE INDEX by_kind_count ON by_kind (count);
INSERT INTO letters VALUES (9, 'e', 9), (10, 'a', 10);
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IN ('a', 'e') ORDER BY kind;
SELECT * FROM notify_stats.verify('by_kind');
ALTER TABLE by_kind DROP seen_at;
ANALYZE by_kind;
SELECT rollup, groups FROM notify_stats.rollups ORDER BY rollup::text;

-- new names for the source, its column, its schema, the rollup, its column and the definition
ALTER TABLE letters RENAME kind TO "Kind of letter";
ALTER TABLE letters RENAME TO post;
INSERT INTO post VALUES (11, 'f', 11);
CALL notify_stats.catch_up();
CREATE SCHEMA lifecycle_2;
ALTER TABLE post SET SCHEMA lifecycle_2;
ALTER TABLE by_kind RENAME TO "By Kind";
ALTER VIEW by_kind_definition RENAME TO what_it_is;
ALTER TABLE "By Kind" SET SCHEMA lifecycle_2;
ALTER TABLE by_pages RENAME pages TO sheets;
UPDATE lifecycle_2.post SET "Kind of letter" = 'g', pages = 12 WHERE id = 11;
CALL notify_stats.catch_up();
SELECT * FROM all_states();
TABLE by_pages ORDER BY sheets;
SELECT * FROM differences('by_pages');
SELECT * FROM notify_stats.verify('by_pages');
ALTER TABLE by_pages RENAME sheets TO pages;
SELECT * FROM lifecycle_2."By Kind" ORDER BY kind;
SELECT * FROM differences('lifecycle_2."By Kind"');
SELECT * FROM notify_stats.verify('lifecycle_2."By Kind"');
ALTER TABLE lifecycle_2."By Kind" RENAME TO by_kind;
ALTER TABLE lifecycle_2.by_kind SET SCHEMA lifecycle;
ALTER TABLE lifecycle_2.post SET SCHEMA lifecycle;
ALTER TABLE post RENAME TO letters;
ALTER TABLE letters RENAME "Kind of letter" TO kind;

-- columns that the definition reads cannot be dropped or change their type, and the definition
-- cannot be dropped alone; it can be replaced, and the rollup is rebuilt
ALTER TABLE letters DROP COLUMN kind;
\set VERBOSITY terse
ALTER TABLE letters ALTER pages TYPE bigint;
\set VERBOSITY default
DROP TABLE letters;
DROP VIEW what_it_is;
ALTER VIEW what_it_is RENAME TO by_kind_definition;
CREATE OR REPLACE VIEW by_kind_definition AS
    SELECT kind, count(*), coalesce(sum(pages), 0) AS pages FROM letters WHERE id > 1 GROUP BY kind;
SELECT * FROM notify_stats.verify('by_kind');
CALL notify_stats.catch_up();
SELECT state, reason FROM all_states() WHERE rollup = 'by_kind'::regclass;
SELECT * FROM differences('by_kind');

-- a new owner must own the definition as well, and needs SELECT on the sources
CREATE ROLE regress_lifecycle_owner;
GRANT USAGE, CREATE ON SCHEMA lifecycle TO regress_lifecycle_owner;
ALTER TABLE by_pages OWNER TO regress_lifecycle_owner;
INSERT INTO letters VALUES (12, 'a', 1);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT state, reason FROM all_states() WHERE rollup = 'by_pages'::regclass;
ALTER VIEW by_pages_definition OWNER TO regress_lifecycle_owner;
GRANT SELECT ON letters TO regress_lifecycle_owner;
SELECT notify_stats.rebuild('by_pages');
CALL notify_stats.catch_up();
SELECT state, reason FROM all_states() WHERE rollup = 'by_pages'::regclass;
SELECT * FROM differences('by_pages');
SET ROLE regress_lifecycle_owner;
SELECT * FROM notify_stats.verify('lifecycle.by_pages');
RESET ROLE;
-- a privilege that is revoked
REVOKE SELECT ON letters FROM regress_lifecycle_owner;
INSERT INTO letters VALUES (13, 'a', 1);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT state, reason FROM all_states() WHERE rollup = 'by_pages'::regclass;
GRANT SELECT ON letters TO regress_lifecycle_owner;
SELECT notify_stats.rebuild('by_pages');
CALL notify_stats.catch_up();
REVOKE UPDATE ON by_pages FROM regress_lifecycle_owner;
INSERT INTO letters VALUES (14, 'a', 1);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT state, reason FROM all_states() WHERE rollup = 'by_pages'::regclass;
GRANT UPDATE ON by_pages TO regress_lifecycle_owner;
SELECT notify_stats.rebuild('by_pages');
CALL notify_stats.catch_up();
SELECT state, reason FROM all_states() WHERE rollup = 'by_pages'::regclass;
SELECT * FROM differences('by_pages');

-- dropped in each of the ways
SELECT notify_stats.create_rollup('by_four', $$ SELECT id % 4 AS four, count(*) FROM letters GROUP BY 1 $$);
SELECT notify_stats.create_rollup('by_five', $$ SELECT id % 5 AS five, count(*) FROM letters GROUP BY 1 $$);
DROP TABLE by_four;
CALL notify_stats.catch_up();
SELECT rollup, state FROM all_states();
DROP TABLE by_five;
INSERT INTO letters VALUES (15, 'a', 15);
SELECT rollup, state FROM all_states();
CALL notify_stats.catch_up();
SELECT count(*) FROM notify_stats.rollup;
CREATE VIEW reader AS SELECT * FROM by_pages;
SELECT notify_stats.drop_rollup('by_pages');
DROP VIEW reader;
BEGIN;
SELECT notify_stats.drop_rollup('by_pages');
ROLLBACK;
SELECT notify_stats.drop_rollup('by_pages');
SELECT notify_stats.drop_rollup('by_kind');
SELECT notify_stats.drop_rollup('by_kind');
SELECT notify_stats.drop_rollup('letters');
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
SELECT relname FROM pg_class WHERE relnamespace = 'lifecycle'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;
-- a name may be used again
SELECT notify_stats.create_rollup('by_kind', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT * FROM differences('by_kind');
-- DROP ... CASCADE of a source
DROP TABLE letters CASCADE;
CALL notify_stats.catch_up();
SELECT * FROM all_states();
SELECT count(*) FROM notify_stats.rollup;
SELECT count(*) FROM pg_replication_slots;
SELECT to_regclass('by_kind') IS NULL AS gone, to_regclass('by_kind_definition') IS NULL AS definition_gone;

-- DROP EXTENSION: the tables remain, and the slot until the extension is created again
CREATE TABLE letters (id integer PRIMARY KEY, kind text NOT NULL, pages integer);
ALTER TABLE letters REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'a', 1);
SELECT notify_stats.create_rollup('by_pages', $$ SELECT pages, count(*) FROM letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
DROP EXTENSION notify_stats CASCADE;
INSERT INTO letters VALUES (2, 'a', 1);
TABLE by_pages;
SELECT count(*) FROM pg_replication_slots;
CREATE EXTENSION notify_stats;
SELECT notify_stats.applied_lsn();
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
SELECT * FROM all_states();
-- or until the next rollup creates its own
SELECT notify_stats.create_rollup('by_id', $$ SELECT id % 2 AS odd, count(*) FROM letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
DROP EXTENSION notify_stats;
CREATE EXTENSION notify_stats;
SELECT count(*) FROM pg_replication_slots;
SELECT notify_stats.create_rollup('by_kind_2', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$);
INSERT INTO letters VALUES (3, 'a', 1);
CALL notify_stats.catch_up();
SELECT * FROM all_states();
TABLE by_kind_2;
SELECT count(*) FROM pg_replication_slots;

-- a lost slot: the rollups are rebuilt
SELECT pg_drop_replication_slot(slot_name) FROM notify_stats.status WHERE stream = 'main';
INSERT INTO letters VALUES (4, 'b', 1);
UPDATE by_kind_2 SET count = 100;
CALL notify_stats.catch_up();
SELECT * FROM all_states();
TABLE by_kind_2 ORDER BY kind;
-- a slot that was advanced by others
INSERT INTO letters VALUES (5, 'c', 1);
SELECT count(*) FROM notify_stats.status s, pg_replication_slot_advance(s.slot_name, pg_current_wal_flush_lsn());
INSERT INTO letters VALUES (6, 'c', 1);
CALL notify_stats.catch_up();
SELECT * FROM all_states();
TABLE by_kind_2 ORDER BY kind;
SELECT count(*) FROM pg_replication_slots;

-- a new slot is asked for: the rollups are rebuilt, once
UPDATE by_kind_2 SET count = 100;
SELECT notify_stats.recreate_slot();
SELECT notify_stats.recreate_slot();
SELECT * FROM all_states();
SELECT notify_stats.wait_for_lsn('0/1', '0', no_throw => true);
CALL notify_stats.catch_up();
SELECT notify_stats.wait_for_lsn('0/1', '0');
SELECT * FROM all_states();
TABLE by_kind_2 ORDER BY kind;
UPDATE by_kind_2 SET count = 100 WHERE kind = 'a';
CALL notify_stats.catch_up();
SELECT count FROM by_kind_2 WHERE kind = 'a';
SELECT notify_stats.recreate_slot(NULL);
CALL notify_stats.catch_up();
SELECT count FROM by_kind_2 WHERE kind = 'a';
-- one that would forget deleted rows
SELECT notify_stats.create_rollup('by_kind_3', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$, '{letters}');
SELECT notify_stats.recreate_slot();
CALL notify_stats.catch_up();
DELETE FROM letters WHERE kind = 'b';
CALL notify_stats.catch_up();
SELECT * FROM by_kind_3 WHERE kind = 'b';
SELECT notify_stats.recreate_slot();
CALL notify_stats.catch_up();
SELECT * FROM by_kind_3 WHERE kind = 'b';
SELECT notify_stats.recreate_slot(forget_deleted => true);
CALL notify_stats.catch_up();
SELECT * FROM all_states();
SELECT * FROM by_kind_3 WHERE kind = 'b';
SELECT count(*) FROM notify_stats.rebuild_request;
-- one that has come after the call
SELECT notify_stats.drop_rollup('by_kind_3');
SELECT notify_stats.create_rollup('by_kind_4', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$, '{letters}');
CALL notify_stats.catch_up();
UPDATE notify_stats.control SET slot_requests = slot_requests + 1;
CALL notify_stats.catch_up();
SELECT * FROM all_states();
-- a failed one stays that
SELECT notify_stats.recreate_slot();
CALL notify_stats.catch_up();
SELECT * FROM all_states();

DROP SCHEMA lifecycle, lifecycle_2 CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
SELECT notify_stats.recreate_slot();
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
SELECT slot_name, slot_requests = (SELECT slot_requests FROM notify_stats.control) AS done FROM notify_stats.stream;
DROP ROLE regress_lifecycle_owner;
