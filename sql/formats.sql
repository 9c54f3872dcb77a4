-- Differences between the formats of a slot. There is an expected output for each: notify_stats,
-- pgoutput (_1), wal2json (_2), and wal2json in its version 1 (_3).
CREATE SCHEMA formats;
SET search_path = formats;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

SELECT current_setting('notify_stats.format') AS format,
       current_setting('notify_stats.wal2json_format_version') AS version;

-- generated columns
CREATE TABLE areas (id integer PRIMARY KEY, width integer, height integer,
                    area integer GENERATED ALWAYS AS (width * height) STORED);
ALTER TABLE areas REPLICA IDENTITY FULL;
INSERT INTO areas VALUES (1, 2, 3), (2, 6, 1);
SELECT notify_stats.create_rollup('by_area', $$
    SELECT area, count(*) FROM areas GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
UPDATE areas SET width = 3 WHERE id = 1;
INSERT INTO areas VALUES (3, 3, 3), (4, NULL, 1);
CALL notify_stats.catch_up();
TABLE by_area ORDER BY area;
SELECT * FROM all_differences();
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';

DROP TABLE areas CASCADE;

-- NaN and infinity cannot be subtracted from a sum
CREATE TABLE prices (id integer PRIMARY KEY, price numeric);
ALTER TABLE prices REPLICA IDENTITY FULL;
INSERT INTO prices VALUES (1, 1.5);
SELECT notify_stats.create_rollup('priced', $$
    SELECT 'all' AS part, count(*), coalesce(sum(price), 0) AS price FROM prices GROUP BY 1 $$);
SELECT notify_stats.create_rollup('priced_sound', $$
    SELECT 'all' AS part, count(*), coalesce(sum(price) FILTER (WHERE abs(price) < 1e10), 0) AS price
    FROM prices GROUP BY 1 $$);
CALL notify_stats.catch_up();
INSERT INTO prices VALUES (2, 'NaN');
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups WHERE rollup::text LIKE 'priced%' ORDER BY rollup::text;
TABLE priced_sound;
UPDATE prices SET price = 'Infinity' WHERE id = 2;
SELECT notify_stats.rebuild('priced');
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT rollup, state FROM notify_stats.rollups WHERE rollup::text LIKE 'priced%' ORDER BY rollup::text;
TABLE priced;
UPDATE prices SET price = 2.5 WHERE id = 2;
CALL notify_stats.catch_up();
SELECT notify_stats.rebuild('priced');
CALL notify_stats.catch_up();
SELECT rollup, state FROM notify_stats.rollups WHERE rollup::text LIKE 'priced%' ORDER BY rollup::text;
TABLE priced;
DROP TABLE prices CASCADE;

-- NaN and infinity in a group column that may be null
CREATE TABLE ratios (id integer PRIMARY KEY, ratio real);
ALTER TABLE ratios REPLICA IDENTITY FULL;
INSERT INTO ratios VALUES (1, 'NaN'), (2, NULL), (3, 1);
SELECT notify_stats.create_rollup('by_ratio', $$
    SELECT ratio, count(*) FROM ratios GROUP BY 1 $$);
CALL notify_stats.catch_up();
INSERT INTO ratios VALUES (4, 'NaN'), (5, NULL), (6, '-Infinity'), (7, 'Infinity');
UPDATE ratios SET ratio = NULL WHERE id = 1;
DELETE FROM ratios WHERE id = 2;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
DROP TABLE ratios CASCADE;

-- the same in one that may not
CREATE TABLE amounts (id integer PRIMARY KEY, amount numeric NOT NULL);
ALTER TABLE amounts REPLICA IDENTITY FULL;
INSERT INTO amounts VALUES (1, 'NaN'), (2, 1.50);
SELECT notify_stats.create_rollup('by_amount', $$
    SELECT amount, count(*) FROM amounts GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
INSERT INTO amounts VALUES (3, 1.5);
CALL notify_stats.catch_up();
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
INSERT INTO amounts VALUES (4, 'NaN'), (5, '-Infinity');
DELETE FROM amounts WHERE id = 1;
CALL notify_stats.catch_up();
SELECT * FROM states();
SELECT * FROM all_differences();
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
DROP TABLE amounts CASCADE;

-- an insufficient replica identity: with the first update whose WAL lacks the old row, or
-- immediately, the rollups become stale; they are not rebuilt, only to become stale again, but fail
-- with a hint
CREATE TABLE letters (id integer PRIMARY KEY, kind text, pages integer);
ALTER TABLE letters REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('of_one', $$
    SELECT kind, count(*) FROM letters GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_two', $$
    SELECT pages, count(*) FROM letters GROUP BY 1 $$);
CALL notify_stats.catch_up();
ALTER TABLE letters REPLICA IDENTITY DEFAULT;
SELECT detail, hint FROM notify_stats.check() WHERE item = 'replica identity' ORDER BY 1;
CREATE TABLE stale_seen (rollup text, state text, reason text);
CREATE FUNCTION note_stale() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO formats.stale_seen SELECT rollup, state, NEW.reason FROM notify_stats.rollup WHERE rollup = NEW.rollup;
       RETURN NULL; END $$;
CREATE TRIGGER note_stale AFTER UPDATE OF reason ON notify_stats.rollup_activity FOR EACH ROW
    WHEN (NEW.reason IS DISTINCT FROM OLD.reason) EXECUTE FUNCTION note_stale();
INSERT INTO letters VALUES (24, 'g', 4);
CALL notify_stats.catch_up();
TABLE stale_seen;
UPDATE letters SET kind = 'h' WHERE id = 24;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT * FROM stale_seen ORDER BY 1, 2 DESC;
SELECT * FROM states();
DROP TRIGGER note_stale ON notify_stats.rollup_activity;
ALTER TABLE letters REPLICA IDENTITY FULL;
SELECT notify_stats.rebuild('of_one');
SELECT notify_stats.rebuild('of_two');
SELECT detail, hint FROM notify_stats.check() WHERE item = 'replica identity';
UPDATE letters SET kind = 'i' WHERE id = 24;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
DROP TABLE letters CASCADE;

-- a TRUNCATE
CREATE TABLE notes (id integer PRIMARY KEY, kind text);
ALTER TABLE notes REPLICA IDENTITY FULL;
INSERT INTO notes VALUES (1, 'a'), (2, 'b');
SELECT notify_stats.create_rollup('by_kind', $$
    SELECT kind, count(*) FROM notes GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
INSERT INTO notes VALUES (3, 'c');
TRUNCATE notes;
INSERT INTO notes VALUES (4, 'd');
CALL notify_stats.catch_up();
TABLE by_kind;
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
DROP TABLE notes CASCADE;

CREATE TABLE parcels (id integer NOT NULL, country text, pieces integer NOT NULL) PARTITION BY LIST (country);
CREATE TABLE parcels_fr PARTITION OF parcels FOR VALUES IN ('fr');
ALTER TABLE parcels_fr REPLICA IDENTITY FULL;
INSERT INTO parcels VALUES (33, 'fr', 33);
SELECT notify_stats.create_rollup('of_root', $$
    SELECT country, count(*), sum(pieces) AS pieces FROM parcels GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_leaf', $$
    SELECT pieces, count(*) FROM parcels_fr GROUP BY 1 $$);
CALL notify_stats.catch_up();
-- attaching or detaching a partition adds or removes rows without row-level WAL:
-- this is detected, and the rollup of the root is rebuilt
CREATE TABLE parcels_nl (LIKE parcels);
ALTER TABLE parcels_nl REPLICA IDENTITY FULL;
INSERT INTO parcels_nl VALUES (40, 'nl', 40);
ALTER TABLE parcels ATTACH PARTITION parcels_nl FOR VALUES IN ('nl');
ALTER TABLE parcels DETACH PARTITION parcels_fr;
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('of_root');
INSERT INTO parcels VALUES (41, 'nl', 41);
INSERT INTO parcels_fr (id, country, pieces) VALUES (42, 'fr', 42);
CALL notify_stats.catch_up();
TABLE of_root ORDER BY country;
TABLE of_leaf ORDER BY pieces;
SELECT * FROM states();
SELECT * FROM all_differences();
SELECT * FROM notify_stats.verify('of_root');
DROP TABLE parcels_nl;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();

DROP SCHEMA formats CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
SELECT count(*) FROM pg_publication;
