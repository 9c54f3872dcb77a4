-- Limits on the effect of one role's rollups on others: check(), rebuild requests, and their
-- number.
CREATE SCHEMA limits;
SET search_path = limits;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

--
-- check() compiles no definition
--

-- a function that is called when a definition is planned
CREATE FUNCTION trap(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE current_setting('limits.trap', true)
        WHEN 'raise' THEN RAISE EXCEPTION 'trapped';
        WHEN 'sleep' THEN PERFORM pg_sleep(3600);
        ELSE NULL;
    END CASE;
    RETURN $1;
END $$;
CREATE TABLE letters (id integer NOT NULL, kind text NOT NULL, pages integer NOT NULL);
CREATE UNIQUE INDEX letters_key ON letters (id, kind, pages);
ALTER TABLE letters REPLICA IDENTITY USING INDEX letters_key;
SELECT notify_stats.create_rollup('trapped', $$ SELECT kind, count(*) FROM letters WHERE pages > limits.trap(1) GROUP BY 1 $$);
SELECT notify_stats.create_rollup('plain', $$ SELECT id, count(*) FROM letters GROUP BY 1 $$);

-- gaps of rollups whose columns are known since creation
ALTER TABLE letters REPLICA IDENTITY DEFAULT;
SELECT * FROM notify_stats.source_gaps() ORDER BY rollup::text;
ALTER TABLE letters REPLICA IDENTITY FULL;
CALL notify_stats.catch_up();
SELECT rollup, state FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM notify_stats.source_gaps();
ALTER TABLE letters REPLICA IDENTITY NOTHING;
SET limits.trap = 'raise';
SELECT item, ok, detail FROM notify_stats.check() WHERE item IN ('replica identity', 'rollup') ORDER BY detail;
SET limits.trap = 'sleep';
SET statement_timeout = '20 s';
SELECT item, ok, detail FROM notify_stats.check() WHERE item IN ('replica identity', 'rollup') ORDER BY detail;
RESET statement_timeout;
RESET limits.trap;

-- a definition that no longer reads a column, and one that reads another
BEGIN;
ALTER EVENT TRIGGER notify_stats_view DISABLE;
CREATE OR REPLACE VIEW trapped_definition AS SELECT kind, count(*) FROM letters GROUP BY 1;
ALTER EVENT TRIGGER notify_stats_view ENABLE ALWAYS;
COMMIT;
ALTER TABLE letters DROP COLUMN pages;
SELECT * FROM notify_stats.source_gaps() ORDER BY rollup::text;
ALTER TABLE letters REPLICA IDENTITY FULL;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
ALTER TABLE letters REPLICA IDENTITY NOTHING;
SELECT * FROM notify_stats.source_gaps() ORDER BY rollup::text;

-- a dropped rollup that is still in the catalog
DROP TABLE trapped;
SELECT * FROM notify_stats.source_gaps();
-- a source that no longer exists is not an error
BEGIN;
INSERT INTO notify_stats.rollup_source VALUES ('plain', 1, '{1}');
SELECT * FROM notify_stats.source_gaps();
ROLLBACK;
ALTER TABLE letters REPLICA IDENTITY FULL;
SELECT notify_stats.drop_rollup('plain');
SELECT count(*) FROM notify_stats.rollup_source WHERE rollup::text = 'plain';
CALL notify_stats.catch_up();
SELECT (SELECT count(*) FROM notify_stats.rollup_source) AS sources, (SELECT count(*) FROM notify_stats.rollup_activity) AS activities;

--
-- one request per rollup
--

SELECT notify_stats.create_rollup('asked', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
CREATE VIEW requests AS SELECT count(*) FROM notify_stats.rebuild_request;
DO $$ BEGIN PERFORM notify_stats.rebuild('asked') FROM generate_series(1, 1000); END $$;
TABLE requests;
DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM notify_stats.rebuild('asked'); COMMIT; END LOOP; END $$;
TABLE requests;
SELECT max(id) AS last FROM notify_stats.rebuild_request \gset
-- a request that is rolled back leaves the earlier one
BEGIN;
SAVEPOINT a;
SELECT notify_stats.rebuild('asked');
TABLE requests;
ROLLBACK TO a;
SELECT id = :last AS same FROM notify_stats.rebuild_request;
SELECT notify_stats.rebuild('asked');
SAVEPOINT b;
SELECT notify_stats.rebuild('asked');
ROLLBACK TO b;
TABLE requests;
COMMIT;
TABLE requests;
-- at any isolation level
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM asked;
SELECT notify_stats.rebuild('asked');
TABLE requests;
COMMIT;
-- a request for another rollup is not affected
SELECT notify_stats.create_rollup('beside', $$ SELECT id, count(*) FROM letters GROUP BY 1 $$);
SELECT notify_stats.rebuild('beside');
SELECT notify_stats.rebuild('asked');
SELECT rollup FROM notify_stats.rebuild_request ORDER BY rollup::text;
CALL notify_stats.catch_up();
TABLE requests;
SELECT notify_stats.rebuild('asked');
SELECT notify_stats.rebuild('beside');
SELECT notify_stats.drop_rollup('asked');
DROP TABLE beside;
CALL notify_stats.catch_up();
TABLE requests;

--
-- a slot that only has the name of the stream's slot
--

SELECT count(*) FROM pg_replication_slots;
SELECT 'notify_stats_' || oid AS name FROM pg_database WHERE datname = current_database() \gset
SELECT slot_name = :'name' AS created FROM pg_create_physical_replication_slot(:'name');
-- one of 8 is left, and two are needed
SELECT count(pg_create_logical_replication_slot('limits_' || i, 'pgoutput')) FROM generate_series(1, 6) i;
SELECT notify_stats.create_rollup('by_kind', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$);
SELECT pg_drop_replication_slot('limits_1');
SELECT notify_stats.create_rollup('by_kind', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$);
SELECT notify_stats.drop_rollup('by_kind');
SELECT pg_drop_replication_slot(:'name');
-- a slot with the wrong format
CREATE TABLE parcels (kind text NOT NULL) PARTITION BY LIST (kind);
SELECT lsn IS NOT NULL AS created FROM pg_create_logical_replication_slot(:'name', 'pgoutput');
CREATE FUNCTION try_to_create() RETURNS text LANGUAGE plpgsql AS $f$
BEGIN
    PERFORM notify_stats.create_rollup('by_kind', 'SELECT kind, count(*) FROM parcels GROUP BY 1', '{parcels}');
    RETURN 'created';
EXCEPTION WHEN feature_not_supported THEN
    RETURN 'refused';
END $f$;
SELECT try_to_create() = CASE current_setting('notify_stats.format') WHEN 'notify_stats' THEN 'created' ELSE 'refused' END AS by_our_format;
SELECT count(notify_stats.drop_rollup(rollup)) < 2 AS dropped FROM notify_stats.rollups;
SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots;
DROP VIEW requests;
