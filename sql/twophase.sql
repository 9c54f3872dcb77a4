-- Prepared transactions: they are counted when, and only if, they are committed.
CREATE SCHEMA twophase;
SET search_path = twophase;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

CREATE TABLE letters (id integer PRIMARY KEY, kind text NOT NULL);
ALTER TABLE letters REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'a'), (2, 'b');
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*), sum(id) AS ids FROM letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset

-- prepared; catch_up() before and after the commit
BEGIN;
INSERT INTO letters VALUES (3, 'c');
SAVEPOINT s;
INSERT INTO letters VALUES (4, 'c');
ROLLBACK TO s;
UPDATE letters SET kind = 'd' WHERE id = 2;
PREPARE TRANSACTION 'regress_twophase_1';
INSERT INTO letters VALUES (5, 'e');
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
COMMIT PREPARED 'regress_twophase_1';
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT * FROM differences('by_kind');

-- prepared and rolled back
BEGIN;
DELETE FROM letters;
PREPARE TRANSACTION 'regress_twophase_2';
CALL notify_stats.catch_up();
ROLLBACK PREPARED 'regress_twophase_2';
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;

-- prepared and committed between two cycles, in the order of the commits
BEGIN;
UPDATE letters SET kind = 'f' WHERE id = 1;
PREPARE TRANSACTION 'regress_twophase_3';
BEGIN;
INSERT INTO letters VALUES (6, 'f');
PREPARE TRANSACTION 'regress_twophase_4';
COMMIT PREPARED 'regress_twophase_4';
DELETE FROM letters WHERE id = 6;
COMMIT PREPARED 'regress_twophase_3';
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT * FROM differences('by_kind');

SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';

-- a build waits for prepared transactions; if it is canceled, only the request remains
BEGIN;
INSERT INTO letters VALUES (7, 'g');
PREPARE TRANSACTION 'regress_twophase_5';
SELECT notify_stats.create_rollup('by_id', $$
    SELECT id % 2 AS odd, count(*) FROM letters GROUP BY 1 $$);
SET statement_timeout = '200ms';
CALL notify_stats.catch_up();
RESET statement_timeout;
SELECT rollup, state, reason, build_phase FROM notify_stats.rollups ORDER BY rollup::text;
SELECT count(*) FROM pg_replication_slots;
SELECT count(*) FROM notify_stats.build_activity();
COMMIT PREPARED 'regress_twophase_5';
CALL notify_stats.catch_up();
SELECT rollup, state, reason, build_phase FROM notify_stats.rollups ORDER BY rollup::text;
TABLE by_id ORDER BY odd;
SELECT * FROM differences('by_id');
SELECT * FROM differences('by_kind');

-- the creation of the first slot waits as well
SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;
CALL notify_stats.catch_up();
BEGIN;
INSERT INTO letters VALUES (8, 'h');
PREPARE TRANSACTION 'regress_twophase_6';
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*), sum(id) AS ids FROM letters GROUP BY 1 $$);
SET statement_timeout = '200ms';
CALL notify_stats.catch_up();
RESET statement_timeout;
SELECT rollup, state, reason FROM notify_stats.rollups;
SELECT count(*) FROM pg_replication_slots;
COMMIT PREPARED 'regress_twophase_6';
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT * FROM notify_stats.verify('by_kind');

-- Old row versions that a snapshot, here that of a prepared transaction, retains are not
-- read again in each cycle: a cycle reads fewer blocks of the table than there are.
INSERT INTO letters VALUES (9, 'i');
CALL notify_stats.catch_up();
BEGIN;
INSERT INTO letters VALUES (10, 'k');
PREPARE TRANSACTION 'regress_twophase_7';
DO $$
BEGIN
    FOR i IN 1..1500 LOOP
        UPDATE notify_stats.stream SET applied_at = now();
    END LOOP;
END $$;
INSERT INTO letters VALUES (11, 'l');
CALL notify_stats.catch_up();
CREATE VIEW blocks AS
SELECT heap_blks_hit + heap_blks_read AS read, pg_relation_size(relid) / 8192 AS existing
FROM pg_statio_all_tables WHERE relid = 'notify_stats.stream'::regclass;
SELECT pg_stat_force_next_flush();
SELECT read FROM blocks \gset
INSERT INTO letters VALUES (12, 'l');
CALL notify_stats.catch_up();
SELECT pg_stat_force_next_flush();
SELECT existing > 20 AS many, read - :read < existing AS few_read FROM blocks;
TABLE by_kind ORDER BY kind;
COMMIT PREPARED 'regress_twophase_7';
CALL notify_stats.catch_up();
SELECT * FROM differences('by_kind');

DROP SCHEMA twophase CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
