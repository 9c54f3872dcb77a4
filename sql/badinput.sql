-- Invalid calls fail with the right SQLSTATE and a usable hint, and leave nothing
-- behind.  (For unsupported definitions see definition.sql.)
CREATE SCHEMA badinput;
SET search_path = badinput;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

CREATE TABLE letters (id integer PRIMARY KEY, kind text, pages integer);
INSERT INTO letters VALUES (1, 'a', 1);
CREATE TABLE full_letters (id integer PRIMARY KEY, kind text, pages integer);
ALTER TABLE full_letters REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('good', $$ SELECT kind, count(*) FROM full_letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
CREATE VIEW letter_view AS SELECT * FROM letters;
CREATE MATERIALIZED VIEW letter_matview AS SELECT * FROM letters;
CREATE UNLOGGED TABLE scribbles (kind text);
ALTER TABLE scribbles REPLICA IDENTITY FULL;
CREATE TEMPORARY TABLE notes (kind text);
CREATE FOREIGN DATA WRAPPER badinput_wrapper;
CREATE SERVER badinput_server FOREIGN DATA WRAPPER badinput_wrapper;
CREATE FOREIGN TABLE abroad (kind text) SERVER badinput_server;
CREATE SEQUENCE numbers;
CREATE TYPE pair AS (a integer, b integer);

-- Tries to create a rollup; returns the complete error, and whether anything is left behind.
CREATE FUNCTION try(name text, definition text) RETURNS TABLE (field text, value text) LANGUAGE plpgsql AS $$
DECLARE
    rollups bigint := (SELECT count(*) FROM notify_stats.rollup);
    relations bigint := (SELECT count(*) FROM pg_class);
    message text; detail text; hint text; context text;
BEGIN
    BEGIN
        PERFORM notify_stats.create_rollup(name, definition);
        RETURN QUERY VALUES ('created', name);
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RETURN QUERY SELECT * FROM (VALUES (SQLSTATE::text, message), ('detail', detail), ('hint', hint)) v (f, t) WHERE t <> '';
    END;
    IF (SELECT count(*) FROM notify_stats.rollup) <> rollups OR (SELECT count(*) FROM pg_class) <> relations THEN
        RETURN QUERY VALUES ('left behind', 'something');
    END IF;
END $$;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ': '

-- the text of the definition
SELECT * FROM try('bad', '');
SELECT * FROM try('bad', '-- nothing');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1; DROP TABLE letters');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1; SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('bad', 'DELETE FROM letters');
SELECT * FROM try('bad', 'TABLE full_letters');
SELECT * FROM try('bad', 'VALUES (1, 2)');
SELECT * FROM try('bad', 'EXPLAIN SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM full_letters GROUP BY $1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM full_letters GROUP BY kund');
-- (with a hint, or a detail since 19)
SELECT * FROM try('bad', 'SELECT kind, kount(*) FROM full_letters GROUP BY kind') WHERE field ~ '\d';
SELECT * FROM try('bad', 'SELECT kind, count(*), count(*) FROM full_letters GROUP BY kind');
-- the error position in the text
SELECT notify_stats.create_rollup('bad', $$
    SELECT kind, count(*)
    FORM full_letters GROUP BY kind $$);
SELECT notify_stats.create_rollup('bad', $$
    SELECT kind, count(*)
    FROM full_letters WHERE poges > 1 GROUP BY kind $$);
-- a semicolon at the end is allowed
BEGIN;
SELECT * FROM try('fine', 'SELECT kind, count(*) FROM full_letters GROUP BY 1;');
ROLLBACK;

-- the name of the rollup
SELECT * FROM try('', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('a.b.c.d', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('two words', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('no_schema.bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('other_database.badinput.bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('pg_catalog.bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('pg_temp.bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try(repeat('x', 53), 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try(repeat('ü', 27), 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try(repeat('x', 100), 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
BEGIN;
SELECT * FROM try(repeat('x', 52), 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
ROLLBACK;
SELECT * FROM try('letters', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('numbers', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('good', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
CREATE VIEW taken_definition AS SELECT 1 AS one;
SELECT * FROM try('taken', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
DROP VIEW taken_definition;
SELECT * FROM try('pair', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SET search_path = no_schema;
SELECT * FROM badinput.try('bad', 'SELECT kind, count(*) FROM badinput.full_letters GROUP BY 1');
SET search_path = badinput;
SELECT notify_stats.create_rollup(NULL, 'SELECT kind, count(*) FROM full_letters GROUP BY 1') IS NULL;

-- the sources
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM missing GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM no_schema.letters GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM letter_view GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM letter_matview GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM scribbles GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM notes GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM abroad GROUP BY 1');
SELECT * FROM try('bad', 'SELECT relname, count(*) FROM pg_class GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM good GROUP BY 1');
ALTER TABLE good REPLICA IDENTITY FULL;
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM (SELECT kind FROM full_letters UNION ALL SELECT kind FROM good) s GROUP BY 1');
SELECT * FROM try('bad', 'SELECT state, count(*) FROM notify_stats.rollup GROUP BY 1');
BEGIN;
SELECT * FROM try('fine', 'SELECT kind, count(*) FROM good_definition GROUP BY 1');
ROLLBACK;

-- follow the hint for an insufficient replica identity
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM letters GROUP BY 1');
SELECT substring(value FROM 'Run: (.*)') AS hint FROM try('bad', 'SELECT kind, count(*) FROM letters GROUP BY 1')
WHERE field = 'hint' \gset
:hint
BEGIN;
SELECT * FROM try('fine', 'SELECT kind, count(*) FROM letters GROUP BY 1');
ROLLBACK;
ALTER TABLE letters REPLICA IDENTITY NOTHING;
SELECT * FROM try('bad', 'SELECT pages, count(*) FROM (SELECT pages FROM full_letters UNION ALL SELECT id FROM letters) s GROUP BY 1');
ALTER TABLE letters REPLICA IDENTITY FULL;
-- follow the hint for an unlogged table
SELECT substring(value FROM 'Run: (.*)') AS hint FROM try('bad', 'SELECT kind, count(*) FROM scribbles GROUP BY 1')
WHERE field = 'hint' \gset
:hint
BEGIN;
SELECT * FROM try('fine', 'SELECT kind, count(*) FROM scribbles GROUP BY 1');
ROLLBACK;

-- the privileges of an ordinary role
CREATE ROLE regress_badinput;
GRANT USAGE ON SCHEMA badinput TO regress_badinput;
SET ROLE regress_badinput;
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
SELECT * FROM try('notify_stats.bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
RESET ROLE;
GRANT CREATE ON SCHEMA badinput TO regress_badinput;
SET ROLE regress_badinput;
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
RESET ROLE;
GRANT SELECT (kind) ON full_letters TO regress_badinput;
SET ROLE regress_badinput;
SELECT * FROM try('bad', 'SELECT kind, count(*), count(pages) AS pages FROM full_letters GROUP BY 1');
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM full_letters WHERE id > 0 GROUP BY 1');
BEGIN;
SELECT * FROM try('fine', 'SELECT kind, count(*) FROM full_letters GROUP BY 1');
ROLLBACK;
SELECT * FROM try('bad', 'SELECT kind, count(*) FROM good GROUP BY 1');
SELECT * FROM notify_stats.verify('good');
SELECT notify_stats.rebuild('good');
SELECT notify_stats.drop_rollup('good');
SELECT notify_stats.wait_for_lsn('0/1', rollup => 'good');
RESET ROLE;
REVOKE ALL ON SCHEMA badinput FROM regress_badinput;
REVOKE ALL ON full_letters FROM regress_badinput;
DROP ROLE regress_badinput;

-- catch_up() where it cannot commit
\set VERBOSITY default
BEGIN;
CALL notify_stats.catch_up();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE FUNCTION caught_up() RETURNS void LANGUAGE plpgsql AS 'BEGIN CALL notify_stats.catch_up(); END';
SELECT caught_up();
DO 'BEGIN BEGIN CALL notify_stats.catch_up(); EXCEPTION WHEN division_by_zero THEN NULL; END; END';
-- inside a procedure that can commit
DO 'BEGIN CALL notify_stats.catch_up(); END';

-- verify(), rebuild() and drop_rollup() of a table that is not a rollup; verify() after a write
SELECT * FROM notify_stats.verify('letters');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM notify_stats.verify('missing');
SELECT * FROM notify_stats.verify(0);
\echo :LAST_ERROR_SQLSTATE
SELECT notify_stats.rebuild('good_definition');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_stats.drop_rollup('letter_view');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
INSERT INTO full_letters VALUES (1, 'a', 1);
SELECT * FROM notify_stats.verify('good');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
SELECT count(*) FROM full_letters;
SELECT count(*) FROM notify_stats.verify('good');
COMMIT;
SELECT notify_stats.pause();
SELECT * FROM notify_stats.verify('good');
\echo :LAST_ERROR_SQLSTATE
SELECT notify_stats.resume();

-- nothing is left behind, and the existing rollup still works
SELECT relname FROM pg_class WHERE relnamespace = 'badinput'::regnamespace AND relname ~ 'bad|fine|x{10}|ü';
SELECT rollup, state FROM notify_stats.rollups;
INSERT INTO full_letters VALUES (2, 'b', 2);
CALL notify_stats.catch_up();
TABLE good;
SELECT count(*) FROM pg_replication_slots;

DROP TABLE pg_temp.notes;
DROP SERVER badinput_server CASCADE;
DROP FOREIGN DATA WRAPPER badinput_wrapper;
DROP SCHEMA badinput CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
