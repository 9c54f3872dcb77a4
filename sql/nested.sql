-- Users' code that runs within a cycle, and catalog changes that are rolled back.
CREATE SCHEMA nested;
SET search_path = nested;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
SET client_min_messages = warning;

CREATE TABLE item (kind int, n int);
ALTER TABLE item REPLICA IDENTITY FULL;
CREATE FUNCTION double(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
SELECT notify_stats.create_rollup('nested.total',
    'SELECT kind, count(*) AS n, coalesce(sum(nested.double(n)), 0) AS doubled FROM nested.item GROUP BY kind');
CALL notify_stats.catch_up();

-- A function is replaced, which is rolled back after a look at the catalogs.
BEGIN;
CREATE OR REPLACE FUNCTION double(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1000 + n';
SELECT count(*) > 0 AS looked FROM notify_stats.check();
ROLLBACK;
INSERT INTO item VALUES (1, 2), (2, 3);
CALL notify_stats.catch_up();
SELECT * FROM total ORDER BY kind;

-- The same, with a look before the change in the same transaction.
BEGIN;
SELECT count(*) > 0 AS looked FROM notify_stats.check();
ALTER TABLE total RENAME TO sums;
SELECT count(*) > 0 AS looked FROM notify_stats.check();
ROLLBACK;
INSERT INTO item VALUES (1, 4);
CALL notify_stats.catch_up();
SELECT * FROM total ORDER BY kind;

-- A trigger on a rollup that reads another slot, and one that reads the list of rollups.
SELECT count(*) FROM pg_create_logical_replication_slot('nested_other', 'test_decoding');
CREATE TABLE looked (slot bigint, checks bigint);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO nested.looked
        SELECT (SELECT count(*) FROM pg_logical_slot_peek_changes('nested_other', NULL, NULL)),
               (SELECT count(*) FROM notify_stats.check());
    RETURN NULL;
END $$;
CREATE TRIGGER look AFTER INSERT OR UPDATE ON total FOR EACH STATEMENT EXECUTE FUNCTION look();
INSERT INTO item VALUES (1, 5), (3, 6);
CALL notify_stats.catch_up();
UPDATE item SET kind = 2 WHERE n = 5;
CALL notify_stats.catch_up();
SELECT * FROM total ORDER BY kind;
SELECT count(*) AS times, bool_and(slot > 0) AS read, bool_and(checks > 0) AS checked FROM looked;
TABLE total EXCEPT ALL TABLE total_definition;
TABLE total_definition EXCEPT ALL TABLE total;

-- a trigger that reads a slot that does not exist: only that rollup fails
CREATE OR REPLACE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(*) FROM pg_logical_slot_peek_changes('nested_none', NULL, NULL);
    RETURN NULL;
END $$;
INSERT INTO item VALUES (1, 7);
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT state, reason FROM notify_stats.rollups;
SELECT active FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM notify_stats.stream);
DROP TRIGGER look ON total;
SELECT notify_stats.rebuild('total');
CALL notify_stats.catch_up();
SELECT * FROM total ORDER BY kind;

SELECT notify_stats.drop_rollup('total');
CALL notify_stats.catch_up();
SELECT pg_drop_replication_slot('nested_other');
DROP SCHEMA nested CASCADE;
