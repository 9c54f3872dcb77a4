-- Transactions that exceed logical_decoding_work_mem and are rolled back, completely or in part,
-- with subtransactions.
CREATE SCHEMA aborted;
SET search_path = aborted;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
-- PostgreSQL 18 treats such discarded changes as streamed, and calls a callback that wal2json does
-- not have: this must not happen there
SELECT current_setting('notify_stats.format') = 'wal2json'
    AND current_setting('server_version_num')::integer >= 180000 AS needs_memory \gset
\if :needs_memory
SET logical_decoding_work_mem = '64MB';
\endif

CREATE TABLE letters (id integer PRIMARY KEY, kind text);
ALTER TABLE letters REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'kept');
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*) AS letters FROM letters GROUP BY kind $$);
CALL notify_stats.catch_up();

-- the whole transaction
BEGIN;
INSERT INTO letters VALUES (2, 'lost');
SAVEPOINT a;
INSERT INTO letters SELECT i, 'lost' FROM generate_series(1001, 3000) i;
SAVEPOINT b;
INSERT INTO letters SELECT i, 'lost' FROM generate_series(3001, 5000) i;
RELEASE b;
DELETE FROM letters WHERE id = 1;
ROLLBACK;
BEGIN;
SAVEPOINT a;
INSERT INTO letters VALUES (2, 'lost');
RELEASE a;
INSERT INTO letters SELECT i, 'lost' FROM generate_series(1001, 5000) i;
ROLLBACK;
CALL notify_stats.catch_up();
SELECT * FROM by_kind;

-- a part of the transaction
BEGIN;
INSERT INTO letters VALUES (3, 'kept');
SAVEPOINT a;
INSERT INTO letters SELECT i, 'lost' FROM generate_series(1001, 3000) i;
SAVEPOINT b;
INSERT INTO letters SELECT i, 'lost' FROM generate_series(3001, 5000) i;
RELEASE b;
ROLLBACK TO a;
INSERT INTO letters SELECT i, 'kept' FROM generate_series(5001, 7000) i;
COMMIT;
CALL notify_stats.catch_up();
SELECT * FROM by_kind;

-- with other transactions in the same cycle
INSERT INTO letters VALUES (4, 'kept');
BEGIN;
SAVEPOINT a;
INSERT INTO letters SELECT i, 'lost' FROM generate_series(1001, 3000) i;
RELEASE a;
ROLLBACK;
DELETE FROM letters WHERE id > 5000;
BEGIN;
SAVEPOINT a;
DELETE FROM letters;
RELEASE a;
ROLLBACK;
INSERT INTO letters VALUES (5, 'kept');
CALL notify_stats.catch_up();
SELECT * FROM by_kind;
SELECT * FROM differences('by_kind');

DROP SCHEMA aborted CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
