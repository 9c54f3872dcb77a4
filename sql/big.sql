-- Transactions with many rows, and with more groups than are held in memory at once.
CREATE SCHEMA big;
SET search_path = big;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

-- After each big step a checkpoint lets restart_lsn of the slot advance, to save time.
CREATE TABLE clicks (id integer PRIMARY KEY, kind smallint NOT NULL, n integer);
ALTER TABLE clicks REPLICA IDENTITY FULL;
INSERT INTO clicks VALUES (0, 0, 0);
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*), coalesce(sum(n), 0) AS n FROM clicks GROUP BY kind $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset

-- many rows in one transaction
INSERT INTO clicks SELECT i, i % 7, i FROM generate_series(1, 300000) i;
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT * FROM differences('by_kind');
CHECKPOINT;
CALL notify_stats.catch_up();

-- 100,000 of them change their groups
UPDATE clicks SET kind = kind + 10 WHERE id <= 100000;
CALL notify_stats.catch_up();
SELECT count(*), sum(count) AS clicks, sum(n) AS n FROM by_kind;
SELECT * FROM differences('by_kind');
CHECKPOINT;
CALL notify_stats.catch_up();

-- many subtransactions
DO $$
BEGIN
    FOR i IN 1..5000 LOOP
        BEGIN
            UPDATE clicks SET kind = 30 WHERE id = i;
            IF i % 2 = 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            NULL;
        END;
    END LOOP;
END $$;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind = 30;
SELECT * FROM differences('by_kind');
TRUNCATE clicks;
CALL notify_stats.catch_up();
TABLE by_kind;
CHECKPOINT;
CALL notify_stats.catch_up();

-- 300,000 groups in one transaction; another changes and deletes many of them; then all are deleted
SELECT notify_stats.create_rollup('by_text', $$
    SELECT 'group number ' || id::text AS part, count(*), count(n) AS ns, sum(n) AS n
    FROM clicks GROUP BY 1 $$);
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
INSERT INTO clicks SELECT i, 1, i FROM generate_series(1, 300000) i;
CALL notify_stats.catch_up();
SELECT count(*), sum(count) AS clicks, sum(n) AS n FROM by_text;
SELECT * FROM differences('by_text');
CHECKPOINT;
CALL notify_stats.catch_up();
BEGIN;
UPDATE clicks SET n = NULL WHERE id % 3 = 0;
DELETE FROM clicks WHERE id % 2 = 0;
COMMIT;
CALL notify_stats.catch_up();
SELECT count(*), sum(count) AS clicks, sum(n) AS n FROM by_text;
SELECT * FROM differences('by_text');
CHECKPOINT;
CALL notify_stats.catch_up();
DELETE FROM clicks;
CALL notify_stats.catch_up();
SELECT count(*) FROM by_text;
TABLE by_kind;
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';

-- A few large groups are not held in memory at once either: a group that changes
-- before and after them, in one transaction, is written more than once.
SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;
CREATE TABLE texts (id integer PRIMARY KEY, content text);
ALTER TABLE texts REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('by_content', 'SELECT content, count(*) FROM big.texts GROUP BY 1');
CALL notify_stats.catch_up();
CREATE TABLE written (content text);
CREATE FUNCTION note_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO big.written VALUES (left(new.content, 5));
    RETURN NULL;
END $$;
CREATE TRIGGER note_row AFTER INSERT OR UPDATE ON by_content FOR EACH ROW EXECUTE FUNCTION note_row();
INSERT INTO texts SELECT i, CASE WHEN i % 100 = 0 THEN 'small' ELSE repeat(md5(i::text), 5000) END
FROM generate_series(0, 600) i;
CALL notify_stats.catch_up();
SELECT count(*) > 1 AS more_than_once FROM written WHERE content = 'small';
SELECT count(*), max(count), sum(length(content)) FROM by_content;
SELECT rollup, state, reason FROM notify_stats.rollups;

DROP SCHEMA big CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
