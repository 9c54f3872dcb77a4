-- The views status and rollups, and check().
CREATE SCHEMA monitoring;
SET search_path = monitoring;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

\d notify_stats.status
\d notify_stats.rollups
\d notify_stats.catch_up_progress
SELECT proargnames FROM pg_proc WHERE oid = 'notify_stats.build_activity'::regproc;
SELECT proargnames FROM pg_proc WHERE oid = 'notify_stats.stream_activity'::regproc;

-- Views that are polled are planned for their few rows, though no table was ever analyzed:
-- otherwise JIT would compile them, which takes a hundred times as long as running them.
CREATE FUNCTION is_cheap(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Total Cost')::float8 < current_setting('jit_above_cost')::float8 / 5;
END $$;
SELECT name, is_cheap('SELECT * FROM notify_stats.' || name)
FROM unnest('{status, rollups, catch_up_progress, applied_lsn(), applied_lsn(1), build_activity(), stream_activity(), catch_up_activity()}'::text[]) name;
SELECT proname, is_cheap(replace(prosrc, '$1', '''pg_class''::regclass')) FROM pg_proc
WHERE oid IN ('notify_stats.check'::regproc, 'notify_stats.catalog_state'::regproc) ORDER BY 1;

-- before the first rollup
SELECT stream, state, slot_name, format, applied_lsn, retained_bytes, wal_status, waits_for FROM notify_stats.status;
SELECT * FROM notify_stats.rollups;
SELECT * FROM notify_stats.build_activity();
SELECT * FROM notify_stats.catch_up_progress;
SELECT * FROM notify_stats.source_gaps();

CREATE TABLE letters (id integer PRIMARY KEY, kind text);
ALTER TABLE letters REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'a'), (2, 'b');
SELECT notify_stats.create_rollup('by_kind', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$);
SELECT rollup, definition, state, reason, reason_lsn, build_phase, build_started_at, groups, built_at, changed_at
FROM notify_stats.rollups;
CALL notify_stats.catch_up();
SELECT rollup, definition, state, reason, reason_lsn, build_phase, build_started_at, groups,
       built_at BETWEEN now() - interval '1 hour' AND clock_timestamp() AS built_at, changed_at
FROM notify_stats.rollups;

-- the stream: caught up, behind, and paused
SELECT stream, slot_name ~ '^notify_stats_\d+$' AS slot_name, format = current_setting('notify_stats.format') AS format, pid, applied_lsn <= reached_lsn AS reached,
       lag_bytes >= 0 AS lag_bytes, lag_seconds >= 0 AS lag_seconds, retained_bytes > 0 AS retained_bytes, wal_status,
       changes_per_second >= 0 AS changes_per_second, waits_for
FROM notify_stats.status;
SELECT lag_bytes AS before FROM notify_stats.status \gset
INSERT INTO letters SELECT i, 'c' FROM generate_series(3, 10000) i;
SELECT lag_bytes > :before + 500000 AS behind, lag_seconds > 0 AS lag_seconds FROM notify_stats.status;
SELECT applied_lsn AS before FROM notify_stats.status \gset
CALL notify_stats.catch_up();
SELECT lag_bytes < 500000 AS near, applied_lsn > :'before' AS moved FROM notify_stats.status;
SELECT applied_lsn = notify_stats.applied_lsn() AS same FROM notify_stats.status;
SELECT changed_at BETWEEN now() - interval '1 hour' AND clock_timestamp() AS changed_at FROM notify_stats.rollups;
ANALYZE by_kind;
SELECT groups FROM notify_stats.rollups;
SELECT notify_stats.pause();
SELECT state, waits_for FROM notify_stats.status;
SELECT notify_stats.resume();
SELECT state <> 'paused' AS resumed FROM notify_stats.status;

-- the counters: what one transaction, one that is rolled back, and changes of other tables add
CREATE TABLE before AS SELECT * FROM notify_stats.status;
CREATE VIEW added AS
SELECT s.changes_total - b.changes_total AS changes, s.transactions_total - b.transactions_total AS transactions,
       s.cycles_total > b.cycles_total AS cycles, s.errors_total - b.errors_total AS errors,
       s.wal_bytes_total > b.wal_bytes_total AS wal_bytes, s.cpu_seconds_total > b.cpu_seconds_total AS cpu_seconds,
       s.stats_reset = b.stats_reset AND s.stats_reset < now() AS same
FROM notify_stats.status s, before b;
SELECT * FROM added;
BEGIN;
INSERT INTO letters SELECT i, 'd' FROM generate_series(10001, 15000) i;
DELETE FROM letters WHERE id = 10001;
COMMIT;
INSERT INTO letters VALUES (10001, 'd');
BEGIN;
INSERT INTO letters VALUES (15001, 'd');
ROLLBACK;
SELECT * FROM added;
CALL notify_stats.catch_up();
SELECT * FROM added;
-- of the session's own CPU time and WAL, only those of catch_up() count
SELECT cpu_seconds_total AS cpu, wal_bytes_total AS wal FROM notify_stats.status \gset
CREATE TABLE others AS SELECT generate_series(1, 100000);
SELECT cpu_seconds_total = :'cpu' AS no_cpu, wal_bytes_total = :'wal' AS no_wal FROM notify_stats.status;
CALL notify_stats.catch_up();
SELECT wal_bytes_total - :'wal' < 1000000 AS little_wal FROM notify_stats.status;
SELECT changes FROM added;
DROP TABLE before, others CASCADE;

-- a rollup that fails: its reason, the stream's last error, and the item in check()
SELECT errors_total AS before FROM notify_stats.status \gset
ALTER TABLE by_kind ADD CHECK (count < 10000);
INSERT INTO letters SELECT i, 'c' FROM generate_series(20000, 20010) i;
CALL notify_stats.catch_up();
SELECT last_error, last_error_at BETWEEN now() - interval '1 hour' AND clock_timestamp() AS last_error_at FROM notify_stats.status;
CALL notify_stats.catch_up();
SELECT rollup, state, reason, reason_lsn > '0/0' AS reason_lsn FROM notify_stats.rollups;
SELECT errors_total - :'before' AS errors FROM notify_stats.status;

-- check(): the settings of the test server, and each problem with a hint
SELECT item, ok, regexp_replace(detail, '\d+', 'N', 'g') AS detail, regexp_replace(hint, '\d+', 'N', 'g') AS hint
FROM notify_stats.check() WHERE item NOT IN ('output plugin', 'format', 'catch-up processes') ORDER BY item;
SELECT item, ok, hint FROM notify_stats.check() WHERE item IN ('output plugin', 'format', 'catch-up processes') ORDER BY item;
ALTER TABLE by_kind DROP CONSTRAINT by_kind_count_check;
SELECT notify_stats.rebuild('by_kind');
CALL notify_stats.catch_up();
ALTER TABLE letters REPLICA IDENTITY NOTHING;
SELECT item, ok, detail, hint FROM notify_stats.check() WHERE item IN ('replica identity', 'rollup');
SELECT * FROM notify_stats.source_gaps();
ALTER TABLE letters REPLICA IDENTITY FULL;
SELECT * FROM notify_stats.source_gaps();
SELECT pg_drop_replication_slot(slot_name) FROM notify_stats.status;
SELECT stream, wal_status, retained_bytes FROM notify_stats.status;
SELECT ok, regexp_replace(detail, '\d+', 'N', 'g') AS detail, hint FROM notify_stats.check() WHERE item = 'slot';
CALL notify_stats.catch_up();
SELECT ok, regexp_replace(detail, '\d+', 'N', 'g') AS detail, hint FROM notify_stats.check() WHERE item = 'slot';

-- A former rollup that is not in the catalog: as after a schema-only dump, or after
-- DROP EXTENSION, which also leaves a view that is dropped with its table.
SELECT obj_description('by_kind'::regclass), obj_description('by_kind_definition'::regclass);
SELECT notify_stats.create_rollup('by_id', 'SELECT id, count(*) FROM monitoring.letters GROUP BY 1', '{monitoring.letters}');
CALL notify_stats.catch_up();
CREATE VIEW by_hand_definition AS SELECT kind FROM letters;
CREATE TABLE by_hand (kind text PRIMARY KEY);
GRANT SELECT ON by_kind TO PUBLIC;
DROP EXTENSION notify_stats;
INSERT INTO letters VALUES (30000, 'd');
CREATE EXTENSION notify_stats;
SELECT item, ok, detail, hint FROM notify_stats.check() WHERE item IN ('former rollup', 'rollup') ORDER BY detail;
SELECT notify_stats.adopt_rollup('monitoring.by_kind');
SELECT rollup, state, reason FROM notify_stats.rollups;
SELECT obj_description('by_id'::regclass);
SELECT notify_stats.adopt_rollup('monitoring.by_id', '{monitoring.letters}');
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY 1;
SELECT item, ok, detail, hint FROM notify_stats.check() WHERE item IN ('former rollup', 'rollup') ORDER BY detail;
SELECT * FROM differences('by_kind');
SELECT relacl IS NOT NULL AS granted FROM pg_class WHERE oid = 'by_kind'::regclass;
INSERT INTO letters VALUES (30001, 'd');
CALL notify_stats.catch_up();
SELECT * FROM differences('by_kind');
SELECT notify_stats.adopt_rollup('by_kind');
SELECT notify_stats.adopt_rollup('letters');
SELECT notify_stats.adopt_rollup('by_kind_definition');
SELECT notify_stats.adopt_rollup(1);
SELECT notify_stats.adopt_rollup('by_hand');
-- a definition that would read a rollup
CREATE VIEW by_n_definition AS SELECT kind, count(*) FROM by_kind GROUP BY kind;
CREATE TABLE by_n AS SELECT * FROM by_n_definition;
CREATE UNIQUE INDEX ON by_n (kind) NULLS NOT DISTINCT;
SELECT notify_stats.adopt_rollup('by_n');
DROP TABLE by_n;
DROP VIEW by_n_definition;
-- columns in another order, one of which was renamed: it could be taken for another one
CREATE VIEW by_both_definition AS SELECT id % 2 AS a, id % 3 AS b, count(*) AS n FROM letters GROUP BY 1, 2;
CREATE TABLE by_both (b integer, x integer, n bigint NOT NULL, comment text);
CREATE UNIQUE INDEX ON by_both (x, b) NULLS NOT DISTINCT;
SELECT notify_stats.adopt_rollup('by_both');
ALTER TABLE by_both RENAME COLUMN x TO a;
SELECT notify_stats.adopt_rollup('by_both');
CALL notify_stats.catch_up();
SELECT * FROM differences('by_both');
SELECT max(a) AS a, max(b) AS b FROM by_both;
SELECT notify_stats.drop_rollup('by_both');
SELECT notify_stats.drop_rollup('by_id');

-- neither a slot nor the error of a rollup is left
SELECT last_error FROM notify_stats.status;
SELECT notify_stats.drop_rollup('by_kind');
SELECT last_error, last_error_at FROM notify_stats.status;
CALL notify_stats.catch_up();
SELECT count(pg_create_logical_replication_slot('monitoring_' || i, 'test_decoding')) FROM generate_series(1, 7) i;
SELECT item, ok, detail, hint FROM notify_stats.check() WHERE item = 'replication slots';
SELECT notify_stats.create_rollup('by_kind', $$ SELECT kind, count(*) FROM letters GROUP BY 1 $$);
\echo :LAST_ERROR_SQLSTATE
SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE slot_name LIKE 'monitoring%';
SELECT ok FROM notify_stats.check() WHERE item = 'replication slots';

-- access by ordinary roles
CREATE ROLE regress_monitoring IN ROLE pg_monitor;
SET ROLE regress_monitoring;
SELECT stream, wal_status FROM notify_stats.status;
SELECT count(*) FROM notify_stats.rollups;
SELECT notify_stats.pause();
RESET ROLE;
DROP ROLE regress_monitoring;

DROP SCHEMA monitoring CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
