-- The extension itself, and the first steps shown in the README.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS notify_stats CASCADE;
RESET client_min_messages;
CREATE SCHEMA basics;
SET search_path = basics;
CREATE TABLE letters (id integer PRIMARY KEY, kind text NOT NULL);
INSERT INTO letters VALUES (1, 'first class'), (2, 'second class'), (3, 'first class');

-- getting started; without a worker there is a warning with a hint
CREATE EXTENSION notify_stats;
ALTER TABLE letters REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('letters_by_kind', $$
    SELECT kind, count(*) AS letters FROM letters GROUP BY kind $$);
CALL notify_stats.catch_up();
SELECT * FROM letters_by_kind ORDER BY kind;

SET client_min_messages = warning;

-- waiting: applied changes are visible, later ones are not
INSERT INTO letters VALUES (4, 'parcel');
SELECT pg_current_wal_insert_lsn() AS written \gset
SELECT notify_stats.wait_for_lsn(:'written', '0', no_throw => true);
SELECT notify_stats.wait_for_lsn(timeout => '0', no_throw => true);
CREATE FUNCTION wait(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    problem text;
    detail text;
    hint text;
    reached boolean;
BEGIN
    EXECUTE format('SELECT notify_stats.wait_for_lsn(%s)', arguments) INTO reached;
    RETURN reached;
EXCEPTION WHEN query_canceled THEN
    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(concat_ws(E'\n', problem, detail, hint), '[0-9A-F]+/[0-9A-F]+', 'X/X', 'g');
END $$;
\pset format unaligned
SELECT wait($$timeout => '0'$$);
SELECT wait($$timeout => '1 ms', no_throw => NULL$$);
SELECT wait($$timeout => '1 ms', no_throw => true$$);
\pset format aligned
SELECT notify_stats.wait_for_lsn('0/1');
SELECT notify_stats.applied_lsn() < pg_current_wal_insert_lsn() AS behind;
SELECT * FROM letters_by_kind ORDER BY kind;
\pset format unaligned
SELECT notify_stats.rebuild('letters_by_kind');
SELECT wait($$'0/1', '1 ms', 'letters_by_kind'$$);
SELECT wait($$'0/1', '1 ms'$$);
\pset format aligned
CALL notify_stats.catch_up();
SELECT notify_stats.wait_for_lsn(:'written');
SELECT notify_stats.wait_for_lsn(:'written', '0', 'letters_by_kind');
SELECT * FROM letters_by_kind ORDER BY kind;
SELECT * FROM letters_by_kind_definition ORDER BY kind;
SELECT * FROM notify_stats.verify('letters_by_kind');
SELECT notify_stats.wait_for_lsn(rollup => 'letters');

-- one slot per database; catch_up() applies changes even if the stream is paused
SELECT slot_name ~ '^notify_stats_\d+$' AS name, plugin = current_setting('notify_stats.format') AS plugin, slot_type, temporary, active
FROM pg_replication_slots;
SELECT notify_stats.pause();
INSERT INTO letters VALUES (5, 'parcel');
CALL notify_stats.catch_up();
SELECT * FROM letters_by_kind WHERE kind = 'parcel';
SELECT notify_stats.resume();

-- the table has the definition's columns, a unique index and room for HOT updates
\d letters_by_kind
SELECT reloptions FROM pg_class WHERE oid = 'letters_by_kind'::regclass;
\d letters_by_kind_definition

-- every object of the extension has a comment
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'notify_stats')
      AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass)
      AND pg_describe_object(d.classid, d.objid, 0) NOT LIKE 'sequence %'
      AND NOT EXISTS (SELECT FROM pg_description c
                      WHERE c.classoid = d.classid AND c.objoid = d.objid AND c.objsubid = 0)
ORDER BY 1;
SELECT count(*) > 15 AS objects
FROM pg_depend d
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'notify_stats');

-- privileges of PUBLIC
SELECT p.oid::regprocedure AS function, has_function_privilege('public', p.oid, 'EXECUTE') AS public
FROM pg_proc p
WHERE p.pronamespace = 'notify_stats'::regnamespace
ORDER BY p.oid::regprocedure::text;
SELECT c.oid::regclass AS relation, has_table_privilege('public', c.oid, 'SELECT') AS public,
       has_table_privilege('pg_monitor', c.oid, 'SELECT') AS monitor
FROM pg_class c
WHERE c.relnamespace = 'notify_stats'::regnamespace AND c.relkind IN ('r', 'v')
ORDER BY c.oid::regclass::text;

-- an ordinary role can create rollups over tables that it can read
CREATE ROLE regress_basics_owner;
CREATE ROLE regress_basics_other;
CREATE SCHEMA basics_owner AUTHORIZATION regress_basics_owner;
GRANT USAGE ON SCHEMA basics, basics_owner TO regress_basics_owner, regress_basics_other;
GRANT SELECT ON letters TO regress_basics_owner;
SET ROLE regress_basics_owner;
SELECT notify_stats.create_rollup('basics_owner.mine', $$
    SELECT length(kind) AS length, count(*) FROM letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
RESET ROLE;
CALL notify_stats.catch_up();
SET ROLE regress_basics_owner;
SELECT * FROM basics_owner.mine ORDER BY length;
SELECT * FROM basics_owner.mine_definition ORDER BY length;
SELECT notify_stats.applied_lsn() IS NOT NULL AS applied;
SELECT notify_stats.wait_for_lsn(:'written', rollup => 'basics_owner.mine');
SELECT * FROM notify_stats.verify('basics_owner.mine');
SELECT notify_stats.pause();
SELECT rollup, state FROM notify_stats.rollups;
SET ROLE regress_basics_other;
SELECT notify_stats.rebuild('basics_owner.mine');
SELECT * FROM notify_stats.verify('basics_owner.mine');
SELECT notify_stats.drop_rollup('basics_owner.mine');
SET ROLE regress_basics_owner;
SELECT notify_stats.rebuild('basics_owner.mine');
SELECT notify_stats.drop_rollup('basics_owner.mine');
RESET ROLE;

-- the slot is dropped with the last rollup
SELECT notify_stats.drop_rollup('letters_by_kind');
SELECT count(*) FROM pg_replication_slots;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
SELECT to_regclass('letters_by_kind') AS rollup, to_regclass('letters_by_kind_definition') AS definition;
SELECT notify_stats.applied_lsn();
SELECT notify_stats.wait_for_lsn();

DROP SCHEMA basics, basics_owner CASCADE;
DROP ROLE regress_basics_owner, regress_basics_other;
