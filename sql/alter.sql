-- alter_rollup(): the new form of a rollup takes the place of the old one.
CREATE SCHEMA alter;
SET search_path = alter;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set VERBOSITY default

CREATE TABLE regions (id integer PRIMARY KEY, name text NOT NULL);
INSERT INTO regions VALUES (1, 'north'), (2, 'south');
CREATE TABLE events (id integer PRIMARY KEY, day date NOT NULL, kind text NOT NULL, region integer, amount integer);
ALTER TABLE events REPLICA IDENTITY FULL;
INSERT INTO events SELECT i, date '2026-01-01' + i % 3, 'kind ' || i % 4, 1 + i % 2, i % 7 FROM generate_series(1, 40) i;

CREATE FUNCTION relations() RETURNS TABLE (relname name, relkind "char") LANGUAGE sql AS $$
    SELECT relname, relkind FROM pg_class
    WHERE relnamespace = 'alter'::regnamespace AND relkind IN ('r', 'v', 'i') AND relname NOT LIKE 'events%' AND relname NOT LIKE 'regions%'
    ORDER BY relname
$$;
CREATE FUNCTION wrong() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE r notify_stats.rollups;
BEGIN
    FOR r IN SELECT * FROM notify_stats.rollups ORDER BY rollup::text LOOP
        RETURN QUERY EXECUTE format('SELECT %3$L || x::text FROM ((TABLE %1$s EXCEPT ALL TABLE %2$s) UNION ALL (TABLE %2$s EXCEPT ALL TABLE %1$s)) x',
            r.rollup, r.definition, r.rollup || ': ');
    END LOOP;
END $$;

-- a table becomes another table: privileges, comments, indexes and views are kept
CREATE ROLE alter_reader;
CREATE ROLE alter_clerk;
GRANT USAGE ON SCHEMA alter TO alter_reader, alter_clerk;
SELECT notify_stats.create_rollup('d', 'SELECT day, count(*) AS n FROM events GROUP BY day');
CALL notify_stats.catch_up();
GRANT SELECT ON d TO alter_reader WITH GRANT OPTION;
GRANT SELECT (day) ON d TO alter_clerk;
REVOKE TRUNCATE ON d FROM CURRENT_USER;
GRANT SELECT ON d_definition TO alter_clerk;
COMMENT ON TABLE d IS 'events per day';
COMMENT ON COLUMN d.n IS 'number of events';
CREATE INDEX d_n ON d (n DESC) WHERE n > 1;
ALTER TABLE d SET (autovacuum_vacuum_scale_factor = 0.01);
CREATE VIEW days WITH (security_barrier) AS SELECT day, n + 1 AS more FROM d;
CREATE VIEW days_of_days AS SELECT count(*) AS days FROM days;
GRANT SELECT ON days TO alter_clerk;
CREATE TABLE acl AS SELECT attname, (SELECT relacl FROM pg_class WHERE oid = 'd'::regclass) AS relacl, attacl
    FROM pg_attribute WHERE attrelid = 'd'::regclass AND attnum > 0;
SELECT 'd'::regclass::oid AS old, 'days'::regclass::oid AS days \gset
SELECT notify_stats.alter_rollup('d', 'SELECT day, kind, count(*) AS n, sum(amount) AS amount, count(amount) AS amounts FROM events GROUP BY day, kind');
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
SELECT * FROM relations();
-- it is read and maintained until then
INSERT INTO events VALUES (41, '2026-02-01', 'new', 1, 5);
TABLE d ORDER BY day;
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
TABLE notify_stats.replacement;
SELECT * FROM relations();
SELECT * FROM d WHERE kind = 'new';
SELECT * FROM wrong();
SELECT 'd'::regclass::oid <> :old AS new, 'days'::regclass::oid = :days AS same;
TABLE days_of_days;
SELECT reloptions FROM pg_class WHERE oid IN ('d'::regclass, 'days'::regclass) ORDER BY relkind;
SELECT pg_get_viewdef('days') ~ 'FROM d;' AS reads_d;
SELECT a.attname, c.relacl = acl.relacl AS relacl, a.attacl IS NOT DISTINCT FROM acl.attacl AS attacl
    FROM acl JOIN pg_attribute a ON a.attrelid = 'd'::regclass AND a.attname = acl.attname JOIN pg_class c ON c.oid = a.attrelid ORDER BY 1;
SELECT has_table_privilege('alter_clerk', 'd_definition', 'SELECT') AS definition, has_table_privilege('alter_clerk', 'days', 'SELECT') AS view;
SELECT obj_description('d'::regclass), obj_description('d_definition'::regclass), col_description('d'::regclass, 3);
SELECT indexdef FROM pg_indexes WHERE schemaname = 'alter' AND tablename = 'd' ORDER BY 1;
SELECT c.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conindid WHERE k.conrelid = 'd'::regclass AND k.contype = 'p';
DELETE FROM events WHERE kind = 'new';
CALL notify_stats.catch_up();
SELECT * FROM wrong();
SELECT * FROM notify_stats.verify('d');

-- what cannot be kept is listed, before anything is done
CREATE MATERIALIZED VIEW stored AS SELECT * FROM d;
CREATE FUNCTION first_day() RETURNS date LANGUAGE sql BEGIN ATOMIC SELECT min(day) FROM d; END;
CREATE FUNCTION of_row(d) RETURNS date LANGUAGE sql AS 'SELECT $1.day';
CREATE TABLE referencing (day date, kind text, FOREIGN KEY (day, kind) REFERENCES d);
CREATE VIEW kinds AS SELECT kind, sum(n) AS n, max(amount) AS amount FROM d GROUP BY kind;
CREATE INDEX d_kind ON d (lower(kind));
GRANT SELECT (kind) ON d TO alter_clerk;
CREATE FUNCTION do_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER watch AFTER INSERT ON d FOR EACH ROW EXECUTE FUNCTION do_nothing();
CREATE VIEW definitions AS SELECT * FROM d_definition;
ALTER TABLE d ADD CHECK (n < 1000000), ADD note text;
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS amount FROM events GROUP BY day');
SELECT * FROM relations();
SELECT rollup, replacement FROM notify_stats.rollups;
DROP MATERIALIZED VIEW stored;
DROP FUNCTION first_day, of_row;
DROP TABLE referencing;
DROP VIEW kinds, definitions;
DROP INDEX d_kind;
DROP TRIGGER watch ON d;
ALTER TABLE d DROP CONSTRAINT d_n_check, DROP note;
REVOKE SELECT (kind) ON d FROM alter_clerk;
CREATE TABLE parent (LIKE d) PARTITION BY LIST (day);
ALTER TABLE parent ATTACH PARTITION d DEFAULT;
ALTER TABLE d ENABLE ROW LEVEL SECURITY;
CREATE VIEW theirs AS SELECT day FROM d;
ALTER VIEW theirs OWNER TO alter_clerk;
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS amount FROM events GROUP BY day');
DROP VIEW theirs;
ALTER TABLE d DISABLE ROW LEVEL SECURITY;
ALTER TABLE parent DETACH PARTITION d;
DROP TABLE parent;
-- wrong queries
SELECT notify_stats.alter_rollup('d', 'SELECT day, sum(random()) FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('d', 'SELECT nothing');
SELECT notify_stats.alter_rollup('events', 'SELECT day, count(*) FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('d_definition', 'SELECT day, count(*) FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) FROM d GROUP BY day');
SELECT notify_stats.create_rollup('kept', 'SELECT day, count(*) AS n FROM events GROUP BY day', '{events}');
SELECT notify_stats.alter_rollup('kept', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
SELECT notify_stats.drop_rollup('kept');
SET ROLE alter_reader;
SELECT notify_stats.alter_rollup('alter.d', 'SELECT 1 AS day, count(*) AS n FROM alter.events');
RESET ROLE;
-- of NULLs only the definition has a meaning
SELECT notify_stats.alter_rollup(NULL, 'SELECT 1'), notify_stats.alter_rollup('d', 'SELECT 1', NULL);

-- a table becomes a view
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS amount FROM events GROUP BY day');
-- a second one replaces it, and the same definition is none
SET client_min_messages = notice;
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS average FROM events GROUP BY day');
SELECT rollup, replacement FROM notify_stats.rollups;
SELECT notify_stats.alter_rollup('d', 'SELECT day, kind, count(*) AS n, sum(amount) AS amount, count(amount) AS amounts FROM events GROUP BY day, kind');
SET client_min_messages = warning;
SELECT rollup, replacement FROM notify_stats.rollups;
SELECT * FROM relations();
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS average FROM events GROUP BY day');
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
SELECT * FROM relations();
SELECT * FROM wrong();
SELECT * FROM notify_stats.verify('d');
TABLE days_of_days;
SELECT obj_description('d'::regclass), obj_description('d_core'::regclass), obj_description('d_core_definition'::regclass), obj_description('d_definition'::regclass);
SELECT indexdef FROM pg_indexes WHERE schemaname = 'alter' AND tablename = 'd_core' ORDER BY 1;
SELECT replace(relacl::text, 'xtm/', 'xt/') AS relacl FROM pg_class WHERE oid = 'd'::regclass;

-- a view keeps its OID if it keeps its columns
SELECT 'd'::regclass::oid AS old \gset
CREATE MATERIALIZED VIEW stored AS SELECT * FROM d;
COMMENT ON COLUMN d.average IS 'of amounts';
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS average, max(kind) AS kind FROM events GROUP BY day');
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
SELECT 'd'::regclass::oid = :old AS same;
SELECT * FROM relations();
SELECT * FROM wrong();
SELECT obj_description('d'::regclass), col_description('d'::regclass, 3);
INSERT INTO events VALUES (42, '2026-02-02', 'new', 2, NULL);
CALL notify_stats.catch_up();
SELECT * FROM wrong();
SELECT * FROM notify_stats.verify('d');
SELECT * FROM d WHERE kind = 'new';
-- more cores, and fewer
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS average, max(kind) AS kind FROM events GROUP BY day
    UNION ALL SELECT NULL, count(*), avg(amount), kind FROM events GROUP BY kind');
CALL notify_stats.catch_up();
SELECT rollup, cores, replacement FROM notify_stats.rollups;
SELECT * FROM relations();
SELECT * FROM wrong();
DROP MATERIALIZED VIEW stored;
SELECT notify_stats.alter_rollup('d', 'SELECT r.name, e.day, count(*) AS n FROM events e JOIN regions r ON r.id = e.region GROUP BY r.name, e.day');
CALL notify_stats.catch_up();
SELECT rollup, cores, replacement FROM notify_stats.rollups;
SELECT * FROM relations();
SELECT * FROM wrong();
TABLE days_of_days;
-- the view depends on keys of other tables, also if it keeps its OID
SELECT notify_stats.alter_rollup('d', 'SELECT e.region, r.name, e.day, count(*) AS n, max(amount) AS amount FROM events e JOIN regions r ON r.id = e.region GROUP BY e.region, r.name, e.day');
CALL notify_stats.catch_up();
SELECT notify_stats.alter_rollup('d', 'SELECT e.region, r.name, e.day, count(*) AS n, max(amount) AS amount, avg(amount) AS average FROM events e JOIN regions r ON r.id = e.region GROUP BY e.region, r.name, e.day');
CALL notify_stats.catch_up();
SELECT * FROM wrong();
SELECT notify_stats.alter_rollup('d', 'SELECT e.region, r.name, e.day, count(*) AS n, avg(amount) AS average FROM events e JOIN regions r ON r.id = e.region GROUP BY e.region, r.name, e.day');
CALL notify_stats.catch_up();
ALTER TABLE regions DROP CONSTRAINT regions_pkey;
SELECT notify_stats.alter_rollup('d', 'SELECT e.region, r.name, e.day, count(*) AS n, avg(amount) AS average, sum(amount) AS amount FROM events e JOIN regions r ON r.id = e.region GROUP BY e.region, r.name, e.day');
CALL notify_stats.catch_up();
ALTER TABLE regions DROP CONSTRAINT regions_pkey;
-- an index of a core
CREATE INDEX d_day ON d_core (day);
SELECT notify_stats.alter_rollup('d', 'SELECT r.name, count(*) AS n FROM events e JOIN regions r ON r.id = e.region GROUP BY r.name');
DROP VIEW days_of_days, days;
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS average FROM events GROUP BY day');
CALL notify_stats.catch_up();
SELECT indexdef FROM pg_indexes WHERE schemaname = 'alter' AND tablename = 'd_core' ORDER BY 1;
-- a view becomes a table
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n FROM events GROUP BY day');
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
SELECT * FROM relations();
SELECT * FROM wrong();
SELECT replace(relacl::text, 'xtm/', 'xt/') AS relacl FROM pg_class WHERE oid = 'd'::regclass;

-- names and owners that change before the new form is built
SELECT notify_stats.alter_rollup('d', 'SELECT day, count(*) AS n, avg(amount) AS average FROM events GROUP BY day');
CREATE SCHEMA "Alter";
CREATE ROLE alter_owner;
GRANT SELECT ON events TO alter_owner;
GRANT USAGE, CREATE ON SCHEMA alter, "Alter" TO alter_owner;
ALTER TABLE d RENAME TO "of day";
ALTER TABLE "of day" SET SCHEMA "Alter";
ALTER VIEW d_definition SET SCHEMA "Alter";
ALTER TABLE "Alter"."of day" OWNER TO alter_owner;
ALTER VIEW "Alter".d_definition OWNER TO alter_owner;
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
SELECT relname, relkind, relowner::regrole FROM pg_class WHERE relnamespace = '"Alter"'::regnamespace ORDER BY relname;
SELECT * FROM relations();
SELECT * FROM wrong();
DROP INDEX "Alter".d_day;
REVOKE SELECT (day) ON "Alter"."of day" FROM alter_clerk;
-- altered by a superuser, with the rights of its owner
SELECT notify_stats.alter_rollup('"Alter"."of day"', 'SELECT name, count(*) AS n FROM regions GROUP BY name');
SELECT notify_stats.alter_rollup('"Alter"."of day"', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
SELECT relname, relowner::regrole FROM pg_class WHERE relnamespace = '"Alter"'::regnamespace AND relname LIKE '%new%' ORDER BY relname;
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
-- something that cannot be kept appears before the swap: it is given up
SELECT notify_stats.alter_rollup('"Alter"."of day"', 'SELECT day, count(*) AS n FROM events GROUP BY day');
CREATE VIEW kinds AS SELECT kind FROM "Alter"."of day";
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
SELECT item, detail, hint FROM notify_stats.check() WHERE NOT ok AND item = 'replacement';
SELECT relname, relkind FROM pg_class WHERE relnamespace = '"Alter"'::regnamespace ORDER BY relname;
DROP VIEW kinds;
-- its new form is dropped with the rollup, or alone
SELECT notify_stats.alter_rollup('"Alter"."of day"', 'SELECT day, avg(amount) FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('"Alter"."of day_new"', 'SELECT day, sum(amount) FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('"Alter"."of day_new_core"', 'SELECT day, sum(amount) FROM events GROUP BY day');
SELECT notify_stats.drop_rollup('"Alter"."of day_new"');
CALL notify_stats.catch_up();
SELECT rollup, definition, state, cores, replacement FROM notify_stats.rollups;
SELECT notify_stats.alter_rollup('"Alter"."of day"', 'SELECT day, avg(amount) FROM events GROUP BY day');
SELECT notify_stats.drop_rollup('"Alter"."of day"');
CALL notify_stats.catch_up();
TABLE notify_stats.replacement;
SELECT relname, relkind FROM pg_class WHERE relnamespace = '"Alter"'::regnamespace ORDER BY relname;

-- a long name, and names in use
SELECT notify_stats.create_rollup('a_name_of_fifty_bytes_which_is_the_longest_for_this', 'SELECT day, count(*) AS n FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('a_name_of_fifty_bytes_which_is_the_longest_for_this', 'SELECT day, avg(amount) FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('a_name_of_fifty_bytes_which_is_the_longest_for_this', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
CREATE TABLE d_new ();
CREATE TABLE d_core ();
SELECT notify_stats.create_rollup('d', 'SELECT day, count(*) AS n FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('d', 'SELECT day, avg(amount) FROM events GROUP BY day');
SELECT notify_stats.alter_rollup('d', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
CALL notify_stats.catch_up();
SELECT * FROM relations();
SELECT * FROM wrong();
SELECT notify_stats.drop_rollup('a_name_of_fifty_bytes_which_is_the_longest_for_this');
DROP TABLE d_new, d_core;

-- the type of a column that is read
SELECT notify_stats.create_rollup('averages', 'SELECT kind, avg(amount) AS amount FROM events GROUP BY kind');
CALL notify_stats.catch_up();
\set VERBOSITY terse
ALTER TABLE events ALTER amount TYPE bigint, ALTER kind TYPE varchar(20);
\set VERBOSITY default
SELECT notify_stats.alter_rollup('d', NULL), notify_stats.alter_rollup('averages', NULL);
ALTER TABLE events ALTER amount TYPE bigint, ALTER kind TYPE varchar(20);
INSERT INTO events VALUES (43, '2026-02-02', 'newer', 2, 3);
CALL notify_stats.catch_up();
SELECT rollup, state, reason, replacement FROM notify_stats.rollups;
SELECT count(*) FROM d WHERE kind = 'newer';
SELECT count(*) FROM averages WHERE kind = 'newer';
SELECT notify_stats.alter_rollup('d', 'SELECT kind, count(*) AS n FROM events GROUP BY kind');
SELECT notify_stats.alter_rollup('averages', 'SELECT kind, avg(amount) AS amount FROM events GROUP BY kind');
CALL notify_stats.catch_up();
SELECT rollup, state, reason, replacement FROM notify_stats.rollups;
SELECT count(*) FROM d WHERE kind = 'newer';
SELECT * FROM averages WHERE kind = 'newer';
SELECT * FROM wrong();
-- in one transaction
BEGIN;
SELECT notify_stats.alter_rollup('averages', NULL);
ALTER TABLE events ALTER amount TYPE integer;
SELECT notify_stats.alter_rollup('averages', 'SELECT kind, avg(amount) AS amount FROM events GROUP BY kind');
COMMIT;
CALL notify_stats.catch_up();
SELECT rollup, state, reason, replacement FROM notify_stats.rollups;
SELECT * FROM averages WHERE kind = 'newer';
SELECT * FROM wrong();
-- of a table, the definition can also be restored by hand
SELECT notify_stats.alter_rollup('d', NULL);
CALL notify_stats.catch_up();
SELECT notify_stats.rebuild('d');
CALL notify_stats.catch_up();
SELECT rollup, state, reason, replacement FROM notify_stats.rollups;
CREATE OR REPLACE VIEW d_definition AS SELECT kind, count(*) AS n FROM events GROUP BY kind;
SELECT notify_stats.rebuild('d');
CALL notify_stats.catch_up();
SELECT rollup, state, reason, replacement FROM notify_stats.rollups;
SELECT * FROM wrong();
TABLE notify_stats.replacement;
-- dropped while it has no definition
SELECT notify_stats.alter_rollup('d', NULL), notify_stats.alter_rollup('averages', NULL);
SELECT notify_stats.drop_rollup('averages');
DROP TABLE d;
CALL notify_stats.catch_up();
SELECT * FROM relations();

-- views that are replaced by hand
SELECT notify_stats.create_rollup('d', 'SELECT day, count(*) AS n FROM events GROUP BY day');
SELECT notify_stats.create_rollup('averages', 'SELECT kind, avg(amount) AS amount FROM events GROUP BY kind');
CALL notify_stats.catch_up();
CREATE OR REPLACE VIEW d_definition AS SELECT day, count(DISTINCT kind) AS n FROM events GROUP BY day;
CREATE OR REPLACE VIEW d_definition AS SELECT day, count(*) AS n, count(amount) AS k FROM events GROUP BY day;
CREATE OR REPLACE VIEW averages_definition AS SELECT kind, avg(amount) + 1 AS amount FROM events GROUP BY kind;
CREATE OR REPLACE VIEW averages AS SELECT kind, 0::numeric AS amount FROM averages_core;
SELECT pg_get_viewdef('averages_core_definition') AS core \gset
CREATE OR REPLACE VIEW averages_core_definition AS :core
BEGIN;
ALTER TABLE d ADD k bigint;
CREATE OR REPLACE VIEW d_definition AS SELECT day, count(*) AS n, count(amount) AS k FROM events GROUP BY day;
COMMIT;
CREATE VIEW other AS SELECT * FROM d;
CREATE OR REPLACE VIEW other AS SELECT * FROM d;
CALL notify_stats.catch_up();
SELECT rollup, state, replacement FROM notify_stats.rollups;
SELECT * FROM wrong();

SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA alter, "Alter" CASCADE;
CALL notify_stats.catch_up();
DROP OWNED BY alter_owner, alter_reader, alter_clerk;
DROP ROLE alter_owner, alter_reader, alter_clerk;
