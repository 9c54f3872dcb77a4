-- Every kind of row change.
CREATE SCHEMA dml;
SET search_path = dml;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

CREATE TABLE letters (
    id integer PRIMARY KEY,
    kind text,
    pages integer,
    note text
);
ALTER TABLE letters REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 3);
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*) AS letters, coalesce(sum(pages), 0) AS pages
    FROM letters GROUP BY kind $$);
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT clock_timestamp() AS start \gset

-- inserts, of several rows and by a query
INSERT INTO letters VALUES (4, 'c', 4), (5, 'a', NULL);
INSERT INTO letters SELECT i, 'c', i FROM generate_series(6, 8) i;
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT * FROM differences('by_kind');

-- updates: of the group, of a measure, of both, of neither, to the same value, of the key
UPDATE letters SET kind = 'b' WHERE id = 1;
UPDATE letters SET pages = pages + 10 WHERE id = 2;
UPDATE letters SET kind = 'd', pages = 100 WHERE id = 3;
UPDATE letters SET note = 'a note' WHERE kind = 'c';
UPDATE letters SET kind = kind, pages = pages;
UPDATE letters SET id = id + 100;
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT * FROM differences('by_kind');

-- a delete
DELETE FROM letters WHERE id = 104;
CALL notify_stats.catch_up();
TABLE by_kind ORDER BY kind;
SELECT * FROM differences('by_kind');

-- a group is removed with its last row, and created again
DELETE FROM letters WHERE kind = 'd';
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind = 'd';
INSERT INTO letters VALUES (9, 'd', 9);
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind = 'd';
-- the same within one cycle, and within one transaction
DELETE FROM letters WHERE kind = 'd';
INSERT INTO letters VALUES (9, 'd', 9);
BEGIN;
DELETE FROM letters WHERE kind = 'd';
INSERT INTO letters VALUES (9, 'd', 10);
COMMIT;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind = 'd';
SELECT * FROM differences('by_kind');

-- NULL is a group of its own, distinct from the empty string
INSERT INTO letters VALUES (10, NULL, 1), (11, NULL, 2), (12, '', 3);
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IS NULL OR kind = '' ORDER BY kind;
UPDATE letters SET kind = '' WHERE id = 10;
UPDATE letters SET kind = NULL WHERE id = 12;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IS NULL OR kind = '' ORDER BY kind;
DELETE FROM letters WHERE kind IS NULL;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IS NULL OR kind = '' ORDER BY kind;
SELECT * FROM differences('by_kind');

-- ON CONFLICT: nothing, an update of the row, a row twice in one command
INSERT INTO letters VALUES (9, 'x', 1), (13, 'e', 1) ON CONFLICT DO NOTHING;
INSERT INTO letters VALUES (13, 'x', 2), (14, 'e', 5)
    ON CONFLICT (id) DO UPDATE SET pages = letters.pages + excluded.pages;
INSERT INTO letters VALUES (14, 'f', 7) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind;
INSERT INTO letters VALUES (14, 'g', 7) ON CONFLICT (id) DO UPDATE SET kind = 'g' WHERE false;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IN ('e', 'f', 'g', 'x') ORDER BY kind;
SELECT * FROM differences('by_kind');

-- COPY
COPY letters (id, kind, pages) FROM stdin;
20	h	1
21	h	\N
22	\N	3
\.
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind = 'h' OR kind IS NULL ORDER BY kind;
SELECT * FROM differences('by_kind');

-- MERGE
MERGE INTO letters l USING (VALUES (20, 'i'), (21, NULL), (23, 'i')) AS v (id, kind) ON l.id = v.id
    WHEN MATCHED AND v.kind IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET kind = v.kind
    WHEN NOT MATCHED THEN INSERT (id, kind, pages) VALUES (v.id, v.kind, 23);
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IN ('h', 'i') ORDER BY kind;
SELECT * FROM differences('by_kind');

-- a data-modifying CTE: a row moves within one command
WITH gone AS (DELETE FROM letters WHERE kind = 'i' RETURNING *)
INSERT INTO letters SELECT id + 10000, kind, pages FROM gone;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind = 'i';
SELECT * FROM differences('by_kind');

-- a transaction that is rolled back
BEGIN;
INSERT INTO letters VALUES (30, 'j', 1);
DELETE FROM letters WHERE kind = 'a';
ROLLBACK;
-- a transaction that fails
INSERT INTO letters SELECT 40 - i, 'j', 1 / i FROM generate_series(3, 0, -1) i;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IN ('a', 'j');
SELECT * FROM differences('by_kind');

-- savepoints: released, rolled back, nested, and rolled back twice
BEGIN;
INSERT INTO letters VALUES (50, 'k', 1);
SAVEPOINT s1;
INSERT INTO letters VALUES (51, 'k', 10);
SAVEPOINT s2;
UPDATE letters SET kind = 'l' WHERE id = 50;
ROLLBACK TO s2;
UPDATE letters SET pages = pages + 100 WHERE id = 51;
RELEASE s2;
SAVEPOINT s3;
DELETE FROM letters WHERE kind = 'k';
ROLLBACK TO s3;
DELETE FROM letters WHERE id = 50;
ROLLBACK TO s3;
INSERT INTO letters VALUES (52, 'k', 1000);
RELEASE s1;
INSERT INTO letters VALUES (53, 'k', 10000);
COMMIT;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IN ('k', 'l');
SELECT * FROM differences('by_kind');
-- exception blocks are subtransactions, too
DO $$
BEGIN
    FOR i IN 1..100 LOOP
        BEGIN
            INSERT INTO letters VALUES (1000 + i, 'm', i);
            IF i % 3 = 0 THEN
                RAISE EXCEPTION 'no';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            INSERT INTO letters VALUES (2000 + i, 'n', i);
        END;
    END LOOP;
END $$;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IN ('m', 'n') ORDER BY kind;
SELECT * FROM differences('by_kind');

-- a row that is inserted, updated and deleted in one transaction leaves no group
BEGIN;
INSERT INTO letters VALUES (60, 'o', 1);
UPDATE letters SET kind = 'p' WHERE id = 60;
UPDATE letters SET pages = 5 WHERE id = 60;
DELETE FROM letters WHERE id = 60;
COMMIT;
-- a row that remains
BEGIN;
INSERT INTO letters VALUES (61, 'o', 1);
UPDATE letters SET kind = 'p' WHERE id = 61;
UPDATE letters SET pages = 5 WHERE id = 61;
COMMIT;
-- a row that ends in another group than it began in, and one that ends in the same
BEGIN;
UPDATE letters SET kind = 'q' WHERE id = 61;
UPDATE letters SET kind = 'r' WHERE id = 61;
UPDATE letters SET kind = 'c' WHERE id = 101;
UPDATE letters SET kind = 'b' WHERE id = 101;
COMMIT;
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE kind IN ('b', 'o', 'p', 'q', 'r') ORDER BY kind;
SELECT * FROM differences('by_kind');

-- referential actions, triggers and table rewrites
CREATE TABLE jobs (job integer PRIMARY KEY);
INSERT INTO jobs VALUES (1), (2);
ALTER TABLE letters ADD job integer REFERENCES jobs ON DELETE CASCADE ON UPDATE CASCADE;
UPDATE letters SET job = 1 WHERE kind = 'm';
UPDATE letters SET job = 2 WHERE kind = 'n';
DELETE FROM jobs WHERE job = 2;
UPDATE jobs SET job = 3;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.kind = upper(NEW.kind); RETURN NEW; END';
CREATE TRIGGER shout BEFORE INSERT ON letters FOR EACH ROW EXECUTE FUNCTION shout();
INSERT INTO letters VALUES (70, 's', 1);
DROP TRIGGER shout ON letters;
VACUUM FULL letters;
CLUSTER letters USING letters_pkey;
ALTER TABLE letters ALTER note TYPE varchar(100) USING note || '!', ADD stamp double precision DEFAULT random();
CALL notify_stats.catch_up();
SELECT * FROM by_kind WHERE lower(kind) IN ('m', 'n', 's') ORDER BY kind;
SELECT * FROM differences('by_kind');

-- nothing was rebuilt, and nothing is missing
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
TABLE by_kind ORDER BY kind;
SELECT * FROM notify_stats.verify('by_kind');

-- the table becomes empty
DELETE FROM letters;
CALL notify_stats.catch_up();
TABLE by_kind;

DROP SCHEMA dml CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
