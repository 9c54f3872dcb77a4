-- TRUNCATE: applied in commit order, or followed by a rebuild.
CREATE SCHEMA truncate;
SET search_path = truncate;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set stale_seen :srcdir '/sql/include/stale_seen.sql'
\i :stale_seen

CREATE TABLE letters (id integer PRIMARY KEY, kind text NOT NULL);
CREATE TABLE history (kind text NOT NULL);
ALTER TABLE letters REPLICA IDENTITY FULL;
ALTER TABLE history REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'a'), (2, 'b');
INSERT INTO history VALUES ('a'), ('c');
SELECT notify_stats.create_rollup('of_one', $$
    SELECT kind, count(*), sum(id) AS ids FROM letters GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_other', $$
    SELECT kind, count(*) FROM history GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_both', $$
    SELECT kind, count(*) FROM (SELECT kind FROM letters UNION ALL SELECT kind FROM history) s GROUP BY 1 $$);
CALL notify_stats.catch_up();
TABLE of_one ORDER BY kind;

-- one source: rows before and after it, in transactions of their own
INSERT INTO letters VALUES (3, 'c');
TRUNCATE letters;
INSERT INTO letters VALUES (4, 'd');
CALL notify_stats.catch_up();
TABLE of_one ORDER BY kind;
TABLE of_both ORDER BY kind;
-- two sources: rebuilt
TABLE stale_seen;
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM differences('of_one');
SELECT * FROM differences('of_both');
DELETE FROM stale_seen;

-- in one transaction, twice, with rows before, between and after
BEGIN;
INSERT INTO letters VALUES (5, 'e'), (6, 'd');
TRUNCATE letters;
INSERT INTO letters VALUES (7, 'f'), (8, 'f');
TRUNCATE letters;
INSERT INTO letters VALUES (9, 'g'), (10, 'd');
DELETE FROM letters WHERE id = 9;
COMMIT;
CALL notify_stats.catch_up();
TABLE of_one ORDER BY kind;
SELECT * FROM differences('of_one');
SELECT * FROM differences('of_both');

-- rolled back, and rolled back to a savepoint
BEGIN;
INSERT INTO letters VALUES (11, 'h');
TRUNCATE letters;
ROLLBACK;
BEGIN;
INSERT INTO letters VALUES (12, 'i');
SAVEPOINT s;
TRUNCATE letters;
INSERT INTO letters VALUES (13, 'i');
ROLLBACK TO s;
INSERT INTO letters VALUES (14, 'i');
COMMIT;
CALL notify_stats.catch_up();
TABLE of_one ORDER BY kind;
SELECT * FROM differences('of_one');
SELECT * FROM differences('of_both');
DELETE FROM stale_seen;

-- a table that is empty already
TRUNCATE letters;
TRUNCATE letters RESTART IDENTITY;
CALL notify_stats.catch_up();
TABLE of_one;
SELECT * FROM stale_seen ORDER BY 1;
SELECT * FROM differences('of_both');
DELETE FROM stale_seen;

-- several tables in one command
INSERT INTO letters VALUES (20, 'a');
CALL notify_stats.catch_up();
TRUNCATE history, letters;
INSERT INTO letters VALUES (21, 'b');
CALL notify_stats.catch_up();
TABLE of_one;
TABLE of_other;
TABLE of_both;
SELECT * FROM differences('of_both');
SELECT * FROM stale_seen ORDER BY 1;
DELETE FROM stale_seen;

-- CASCADE reaches a source that the command does not name
CREATE TABLE jobs (job integer PRIMARY KEY);
INSERT INTO jobs VALUES (1);
ALTER TABLE letters ADD job integer REFERENCES jobs;
INSERT INTO letters VALUES (22, 'b', 1), (23, 'c', 1);
CALL notify_stats.catch_up();
TABLE of_one ORDER BY kind;
TRUNCATE jobs CASCADE;
INSERT INTO letters VALUES (24, 'c');
CALL notify_stats.catch_up();
TABLE of_one ORDER BY kind;
SELECT * FROM differences('of_one');
SELECT * FROM differences('of_both');

-- a table that is not a source
CREATE TABLE scribbles (kind text);
INSERT INTO scribbles VALUES ('a');
DELETE FROM stale_seen;
TRUNCATE scribbles;
CALL notify_stats.catch_up();
TABLE stale_seen;
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;

-- before the first build, and together with the rollup
SELECT notify_stats.create_rollup('of_late', $$
    SELECT kind, count(*) FROM letters GROUP BY 1 $$);
INSERT INTO letters VALUES (30, 'x');
TRUNCATE letters;
INSERT INTO letters VALUES (31, 'y');
CALL notify_stats.catch_up();
TABLE of_late;
TRUNCATE of_late;
SELECT * FROM notify_stats.verify('of_late');
SELECT notify_stats.rebuild('of_late');
CALL notify_stats.catch_up();
TABLE of_late;
SELECT * FROM notify_stats.verify('of_late');

DROP TRIGGER note_stale ON notify_stats.rollup_activity;
DROP SCHEMA truncate CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
