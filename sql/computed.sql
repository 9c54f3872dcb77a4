-- Rollups that are views over other rollups, their cores: what the functions and views of the
-- extension, and DDL, do with them.
CREATE SCHEMA computed;
SET search_path = computed;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set computed :srcdir '/sql/include/computed.sql'
\i :computed
\set VERBOSITY default
-- views are replaced by hand here
ALTER EVENT TRIGGER notify_stats_view DISABLE;

-- created: nothing is left of a transaction that is rolled back
CREATE FUNCTION relations() RETURNS TABLE (relname name, relkind "char", relowner regrole) LANGUAGE sql AS $$
    SELECT relname, relkind, relowner::regrole FROM pg_class
    WHERE relnamespace = 'computed'::regnamespace AND relkind IN ('r', 'v') AND relname NOT IN ('regions', 'events')
    ORDER BY relname
$$;
BEGIN;
SELECT make_averages();
SELECT relname, relkind FROM relations();
ROLLBACK;
SELECT relname FROM relations();
SELECT rollup FROM notify_stats.rollups;
-- dropped with all its parts before it was built
BEGIN;
SELECT make_averages();
DROP VIEW averages;
SELECT relname FROM relations();
ROLLBACK;
SELECT make_averages(), make_per_region(), make_mixed(), make_total();
SELECT relname, relkind FROM relations();
SELECT obj_description('averages'::regclass), obj_description('averages_definition'::regclass), obj_description('averages_core'::regclass);
-- one row each, also for cores that are being built
SELECT rollup, definition, cores, state, reason, ignore_deletes, groups, built_at FROM notify_stats.rollups ORDER BY rollup::text;
SELECT rollup, definition, cores FROM notify_stats.computed_rollup WHERE rollup IN (SELECT oid FROM pg_class) ORDER BY rollup::text;
SELECT notify_stats.applied_lsn('averages');
CALL notify_stats.catch_up();
SELECT rollup, state, built_at IS NOT NULL AS built FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM averages ORDER BY kind;
TABLE total;
SELECT * FROM wrong();
SELECT count(*) FROM mixed;
ANALYZE mixed_core, mixed_core_2, averages_core;
SELECT rollup, groups FROM notify_stats.rollups ORDER BY rollup::text;

-- maintained; a table that only the view reads is used as it is
INSERT INTO events VALUES (101, '2026-02-01', 'new', 3, 5);
UPDATE events SET kind = 'kind 0', amount = amount + 1 WHERE id % 3 = 0;
DELETE FROM events WHERE id % 5 = 0;
SELECT rollup, problem FROM wrong() GROUP BY 1, 2 ORDER BY 1, 2;
CALL notify_stats.catch_up();
SELECT * FROM wrong();
UPDATE regions SET name = 'north' WHERE id = 3;
DELETE FROM regions WHERE id = 2;
SELECT * FROM wrong();
SELECT * FROM per_region ORDER BY name;
-- changes of each core
SELECT rollup, changed_at >= built_at AS changed FROM notify_stats.rollups ORDER BY rollup::text;

-- the functions take the view, and the cores as rollups of their own
SELECT notify_stats.applied_lsn('mixed') = notify_stats.applied_lsn() AS applied,
       notify_stats.applied_lsn('mixed_core') = notify_stats.applied_lsn() AS core;
SELECT notify_stats.wait_for_lsn('0/1', '1 s', 'mixed'), notify_stats.wait_for_lsn('0/1', '1 s', 'mixed_core');
SELECT notify_stats.rebuild('mixed');
SELECT rollup FROM notify_stats.rebuild_request ORDER BY rollup::text;
SELECT notify_stats.wait_for_lsn('0/10000000', '0', 'mixed');
CALL notify_stats.catch_up();
SELECT rollup FROM notify_stats.rebuild_request;
SELECT notify_stats.rebuild('mixed_core_2');
SELECT rollup FROM notify_stats.rebuild_request;
SELECT notify_stats.wait_for_lsn('0/1', '0', 'mixed', true) AS both,
       notify_stats.wait_for_lsn('0/1', '0', 'mixed_core', true) AS first;
CALL notify_stats.catch_up();

-- verify(): the groups of a core, and then the rows of the view
SELECT * FROM notify_stats.verify('averages');
SELECT * FROM notify_stats.verify('per_region');
SELECT * FROM notify_stats.verify('mixed');
SELECT * FROM notify_stats.verify('total');
UPDATE mixed_core SET n = 100 WHERE day = '2026-01-01';
DELETE FROM mixed_core_2 WHERE kind IS NULL;
SELECT * FROM notify_stats.verify('mixed');
SELECT * FROM notify_stats.verify('mixed_core');
SELECT notify_stats.rebuild('mixed');
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('mixed');
-- a view that does not compute what its definition says
SELECT rtrim(pg_get_viewdef('averages'::regclass), ';') AS averages, rtrim(pg_get_viewdef('total'::regclass), ';') AS total \gset
CREATE OR REPLACE VIEW averages AS SELECT kind, average::numeric / nullif(n, 0) AS average FROM averages_core;
SELECT * FROM notify_stats.verify('averages');
CREATE OR REPLACE VIEW averages AS :averages;
CREATE OR REPLACE VIEW total AS SELECT 0::bigint AS n, sum(amount)::bigint AS amount FROM total_core;
SELECT * FROM notify_stats.verify('total');
CREATE OR REPLACE VIEW total AS :total;
SELECT * FROM notify_stats.verify('total');
CREATE OR REPLACE VIEW mixed AS SELECT day::text AS what, n, to_json(n) AS as_json FROM mixed_core
    UNION ALL SELECT kind, n, to_json(n + 1) FROM mixed_core_2 WHERE kind = 'kind 1' ORDER BY n LIMIT 1;
SELECT * FROM notify_stats.verify('mixed');
CREATE OR REPLACE VIEW mixed AS SELECT day::text AS what, n, to_json(n) AS as_json FROM mixed_core
    UNION ALL SELECT kind, n, to_json(n) FROM mixed_core_2;
SELECT * FROM notify_stats.verify('mixed');
-- renamed columns of a core, of its definition and of a source
ALTER TABLE averages_core RENAME average TO amounts;
ALTER TABLE events RENAME amount TO price;
ALTER VIEW averages_core_definition RENAME average_n TO values;
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('averages');
INSERT INTO events VALUES (102, '2026-02-01', 'new', 3, 6);
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('averages');
SELECT * FROM wrong();
ALTER TABLE averages_core RENAME amounts TO average;
ALTER TABLE events RENAME price TO amount;
BEGIN;
INSERT INTO regions VALUES (4, 'west');
SELECT * FROM notify_stats.verify('averages');
ROLLBACK;

-- the state is that of the worst core
\set SHOW_CONTEXT never
ALTER TABLE mixed_core_2 ADD CHECK (n < 1000);
INSERT INTO events SELECT i, '2026-03-01', 'many', 1, 1 FROM generate_series(1000, 2000) i;
CALL notify_stats.catch_up();
SELECT last_error FROM notify_stats.status;
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item LIKE '%rollup%';
SELECT notify_stats.applied_lsn('mixed');
SELECT notify_stats.applied_lsn('mixed_core') IS NOT NULL AS applied;
SELECT notify_stats.wait_for_lsn('0/1', '1 s', 'mixed');
SELECT * FROM notify_stats.verify('mixed');
ALTER TABLE mixed_core_2 DROP CONSTRAINT mixed_core_2_n_check;
DELETE FROM events WHERE id >= 1000;
SELECT notify_stats.rebuild('mixed');
CALL notify_stats.catch_up();
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item LIKE '%rollup%';
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;
-- parts that are missing: only by changes of the catalog, or by a restore of some tables
BEGIN;
DELETE FROM notify_stats.rollup WHERE rollup = 'averages_core'::regclass;
INSERT INTO notify_stats.computed_rollup VALUES (1, 2, '{total_core}');
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item = 'computed rollup' ORDER BY detail;
SELECT notify_stats.applied_lsn('averages');
ROLLBACK;
SELECT notify_stats.applied_lsn('averages') IS NOT NULL AS applied;
-- the replica identity of its source
ALTER TABLE events REPLICA IDENTITY NOTHING;
SELECT detail FROM notify_stats.check() WHERE item = 'replica identity' AND detail LIKE '%averages%';
ALTER TABLE events REPLICA IDENTITY FULL;
CALL notify_stats.catch_up();

-- names: renamed, moved, and with names that need quotes
ALTER VIEW per_region RENAME TO "Per region";
CREATE SCHEMA computed_2;
ALTER VIEW "Per region" SET SCHEMA computed_2;
INSERT INTO events VALUES (103, '2026-02-02', 'new', 1, 6);
CALL notify_stats.catch_up();
SELECT * FROM wrong();
SELECT rollup, definition, cores FROM notify_stats.rollups WHERE rollup = 'computed_2."Per region"'::regclass;
SELECT * FROM notify_stats.verify('computed_2."Per region"');
SELECT notify_stats.drop_rollup('per_region_core');
ALTER VIEW computed_2."Per region" SET SCHEMA computed;
ALTER VIEW "Per region" RENAME TO per_region;

-- dropping: a part alone, what others use, and all of it
DROP TABLE mixed_core;
DROP VIEW mixed_definition;
DROP VIEW mixed_core_definition;
SELECT notify_stats.drop_rollup('mixed_core');
SELECT notify_stats.drop_rollup('mixed_definition');
DROP TABLE regions;
ALTER TABLE regions DROP COLUMN name;
CREATE VIEW on_top AS SELECT * FROM mixed;
SELECT notify_stats.drop_rollup('mixed');
DROP VIEW on_top;
SELECT notify_stats.drop_rollup('mixed');
SELECT relname FROM relations() WHERE relname LIKE 'mixed%';
DROP VIEW total;
SELECT relname FROM relations() WHERE relname LIKE 'total%';
SELECT rollup FROM notify_stats.rollups ORDER BY rollup::text;
CALL notify_stats.catch_up();
SELECT rollup, definition, cores FROM notify_stats.computed_rollup WHERE rollup IN (SELECT oid FROM pg_class) ORDER BY rollup::text;
SELECT notify_stats.drop_rollup('per_region');
SELECT make_per_region();
DROP TABLE per_region_core CASCADE;
SELECT relname FROM relations() WHERE relname LIKE 'per_region%';
SELECT make_per_region();
CALL notify_stats.catch_up();
SELECT * FROM wrong();

-- deleted rows that are still counted
SELECT notify_stats.drop_rollup('averages');
SELECT make_averages('{regions}');
SELECT make_averages('{events}');
CALL notify_stats.catch_up();
SELECT obj_description('averages'::regclass);
DELETE FROM events WHERE kind = 'new';
CALL notify_stats.catch_up();
SELECT kind FROM averages WHERE kind = 'new';
SELECT rollup, ignore_deletes FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM notify_stats.verify('averages');
SELECT notify_stats.rebuild('averages');
SELECT notify_stats.rebuild('averages', forget_deleted => true);
CALL notify_stats.catch_up();
SELECT * FROM wrong();

-- names that are in use or too long, in any part
CREATE TABLE mixed_core_2_definition ();
SELECT make_mixed();
DROP TABLE mixed_core_2_definition;
CREATE VIEW total AS SELECT 1;
SELECT make_total();
DROP VIEW total;
SELECT notify_stats.create_rollup('long_123456789_123456789_123456789_123456789_123',
    'SELECT kind, avg(amount) AS average FROM events GROUP BY kind');
SELECT notify_stats.create_rollup('pg_temp.long', 'SELECT kind, avg(amount) AS average FROM events GROUP BY kind');
SELECT relname FROM relations() WHERE relname !~ '^(averages|per_region)';

-- owners: ALTER VIEW gives all parts away; only to a role to which the user may give them
CREATE ROLE regress_computed_owner;
CREATE ROLE regress_computed_other;
CREATE ROLE regress_computed_reader;
GRANT CREATE, USAGE ON SCHEMA computed TO regress_computed_owner, regress_computed_other, regress_computed_reader;
GRANT SELECT ON events, regions TO regress_computed_owner;
ALTER VIEW per_region OWNER TO regress_computed_owner;
SELECT * FROM relations() WHERE relname LIKE 'per_region%';
INSERT INTO events VALUES (104, '2026-02-03', 'new', 1, 6);
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM wrong();
\set VERBOSITY sqlstate
SET ROLE regress_computed_owner;
ALTER VIEW per_region OWNER TO regress_computed_other;
RESET ROLE;
\set VERBOSITY default
GRANT regress_computed_other TO regress_computed_owner;
ALTER TABLE per_region_core OWNER TO regress_computed_reader;
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item = 'computed rollup';
SET ROLE regress_computed_owner;
ALTER VIEW per_region OWNER TO regress_computed_other;
RESET ROLE;
SELECT relname, relowner FROM relations() WHERE relname LIKE 'per_region%';
ALTER VIEW per_region OWNER TO regress_computed_owner;
SELECT relname, relowner FROM relations() WHERE relname LIKE 'per_region%';
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item = 'computed rollup';
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;

-- privileges: SELECT on the view is enough; the owner needs it on all tables
SET ROLE regress_computed_reader;
SELECT count(*) FROM per_region;
RESET ROLE;
GRANT SELECT ON per_region TO regress_computed_reader;
SET ROLE regress_computed_reader;
SELECT * FROM per_region ORDER BY name;
SELECT count(*) FROM per_region_core;
SELECT * FROM notify_stats.rollups;
SELECT notify_stats.applied_lsn('per_region') IS NOT NULL AS applied;
SELECT notify_stats.wait_for_lsn('0/1', '1 s', 'per_region');
SELECT notify_stats.rebuild('per_region');
SELECT * FROM notify_stats.verify('per_region');
SELECT notify_stats.drop_rollup('per_region');
SELECT notify_stats.adopt_rollup('per_region');
RESET ROLE;
SET ROLE regress_computed_owner;
SELECT rollup, state, cores FROM notify_stats.rollups;
SELECT * FROM notify_stats.verify('per_region');
SELECT notify_stats.rebuild('per_region');
RESET ROLE;
REVOKE SELECT ON regions FROM regress_computed_owner;
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item = 'computed rollup';
SET ROLE regress_computed_reader;
SELECT * FROM per_region ORDER BY name;
RESET ROLE;
GRANT SELECT (name) ON regions TO regress_computed_owner;
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item = 'computed rollup';
GRANT SELECT (id) ON regions TO regress_computed_owner;
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item = 'computed rollup';
SELECT name FROM per_region ORDER BY name;
-- verify() runs the code of the owner as the owner
CREATE FUNCTION whoami(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT $1 || ' ' || current_user $$;
CREATE OR REPLACE VIEW per_region AS
    SELECT whoami(r.name) AS name, coalesce(sum(c.n), 0)::bigint AS n FROM per_region_core c JOIN regions r ON r.id = c.region GROUP BY r.name;
SELECT * FROM notify_stats.verify('per_region');
SELECT current_user = session_user AS restored;
-- as the server does for a view, DROP OWNED takes all parts
CALL notify_stats.catch_up();
DROP OWNED BY regress_computed_owner;
SELECT relname FROM relations() WHERE relname LIKE 'per_region%';

-- creating: privileges, and errors of the server
SET ROLE regress_computed_other;
SELECT make_per_region();
RESET ROLE;
GRANT SELECT ON events TO regress_computed_other;
SET ROLE regress_computed_other;
SELECT make_per_region();
RESET ROLE;
\set VERBOSITY terse
SELECT notify_stats.create_rollup('bad', 'SELECT kind, avg(amount) FROM nowhere GROUP BY kind');
SELECT notify_stats.create_rollup('bad', 'SELECT kind, avg(amount) FROM events GROUP BY kind; SELECT 2');
SELECT notify_stats.create_rollup('bad', 'SELECT 1');
SELECT relname FROM relations() WHERE relname !~ '^averages';
\set VERBOSITY default

-- rollups that are not in the catalog: as after a schema-only dump, or after DROP EXTENSION
SELECT make_per_region(), make_mixed();
CALL notify_stats.catch_up();
DROP EXTENSION notify_stats;
CREATE EXTENSION notify_stats;
INSERT INTO events VALUES (105, '2026-02-03', 'new', 1, 6);
SELECT item, detail, hint FROM notify_stats.check() WHERE item LIKE '%rollup' ORDER BY detail;
SELECT notify_stats.adopt_rollup('averages', '{regions}');
SELECT notify_stats.adopt_rollup('averages', '{events}');
SELECT notify_stats.adopt_rollup('mixed_core_2');
SELECT notify_stats.adopt_rollup('mixed');
SELECT notify_stats.adopt_rollup('mixed');
SELECT notify_stats.adopt_rollup('mixed_core');
SELECT notify_stats.adopt_rollup('mixed_definition');
ALTER VIEW per_region_definition RENAME TO another_name;
SELECT notify_stats.adopt_rollup('per_region');
ALTER VIEW another_name RENAME TO per_region_definition;
SELECT notify_stats.adopt_rollup('per_region');
SELECT rollup, state, reason, cores FROM notify_stats.rollups ORDER BY rollup::text;
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM wrong() WHERE rollup <> 'averages'::regclass;
DROP TABLE per_region_core;
DROP VIEW per_region_definition;
DROP VIEW per_region, mixed, averages;
SELECT relname FROM relations();

DROP SCHEMA computed, computed_2 CASCADE;
CALL notify_stats.catch_up();
SELECT (SELECT count(*) FROM notify_stats.rollup) AS rollups, (SELECT count(*) FROM notify_stats.computed_rollup) AS computed;
DROP OWNED BY regress_computed_other, regress_computed_reader;
DROP ROLE regress_computed_owner, regress_computed_other, regress_computed_reader;
ALTER EVENT TRIGGER notify_stats_view ENABLE ALWAYS;
