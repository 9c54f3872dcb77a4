-- Partitioned sources, by their root, by a partition, and by both.
CREATE SCHEMA partition;
SET search_path = partition;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set stale_seen :srcdir '/sql/include/stale_seen.sql'
\i :stale_seen

-- leaf partitions with another column order, with a dropped column, below a second level
CREATE TABLE parcels (id integer NOT NULL, country text, pieces integer NOT NULL, note text) PARTITION BY LIST (country);
CREATE TABLE parcels_gb PARTITION OF parcels FOR VALUES IN ('gb');
CREATE TABLE parcels_fr (gone integer, note text, pieces integer NOT NULL, country text, id integer NOT NULL);
ALTER TABLE parcels_fr DROP COLUMN gone;
ALTER TABLE parcels ATTACH PARTITION parcels_fr FOR VALUES IN ('fr');
CREATE TABLE parcels_other (pieces integer NOT NULL, country text, note text, id integer NOT NULL)
    PARTITION BY RANGE (id);
ALTER TABLE parcels ATTACH PARTITION parcels_other DEFAULT;
CREATE TABLE parcels_other_1 PARTITION OF parcels_other FOR VALUES FROM (0) TO (100);
CREATE TABLE parcels_other_2 (id integer NOT NULL, note text, country text, pieces integer NOT NULL);
ALTER TABLE parcels_other ATTACH PARTITION parcels_other_2 FOR VALUES FROM (100) TO (200);
ALTER TABLE parcels_gb REPLICA IDENTITY FULL;
ALTER TABLE parcels_fr REPLICA IDENTITY FULL;
ALTER TABLE parcels_other_1 REPLICA IDENTITY FULL;
ALTER TABLE parcels_other_2 REPLICA IDENTITY FULL;
INSERT INTO parcels VALUES (1, 'gb', 1), (2, 'fr', 2), (3, 'de', 3), (103, 'de', 4), (104, NULL, 5);

SELECT notify_stats.create_rollup('of_root', $$
    SELECT country, count(*), sum(pieces) AS pieces FROM parcels GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_middle', $$
    SELECT country, count(*), sum(pieces) AS pieces FROM parcels_other GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_leaf', $$
    SELECT pieces, count(*) FROM parcels_fr GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_root_and_leaf', $$
    SELECT country, count(*), coalesce(sum(pieces), 0) AS pieces
    FROM (SELECT country, pieces FROM parcels UNION ALL SELECT 'leaf', -pieces FROM parcels_fr) s GROUP BY 1 $$);
CALL notify_stats.catch_up();
TABLE of_root ORDER BY country;
TABLE of_middle ORDER BY country;
TABLE of_leaf ORDER BY pieces;
TABLE of_root_and_leaf ORDER BY country;
SELECT * FROM all_differences();

-- changes through the root, and directly in leaf partitions
INSERT INTO parcels VALUES (10, 'gb', 10), (11, 'fr', 11), (12, 'it', 12), (112, 'it', 13);
INSERT INTO parcels_fr (id, country, pieces) VALUES (13, 'fr', 14);
INSERT INTO parcels_other (id, country, pieces) VALUES (14, 'de', 15);
INSERT INTO parcels_other_2 (id, country, pieces) VALUES (114, 'de', 16);
UPDATE parcels SET pieces = pieces + 100 WHERE id IN (2, 3, 103);
UPDATE parcels SET note = 'a note';
DELETE FROM parcels WHERE country IS NULL;
CALL notify_stats.catch_up();
TABLE of_root ORDER BY country;
TABLE of_leaf ORDER BY pieces;
SELECT * FROM all_differences();

-- rows that move from one partition to another
UPDATE parcels SET country = 'fr' WHERE id = 10;
UPDATE parcels SET country = 'es' WHERE id = 2;
UPDATE parcels SET id = id + 100 WHERE id = 3;
UPDATE parcels SET country = 'gb', pieces = 0 WHERE id = 112;
CALL notify_stats.catch_up();
TABLE of_root ORDER BY country;
TABLE of_middle ORDER BY country;
TABLE of_leaf ORDER BY pieces;
SELECT * FROM all_differences();

-- a partition that is created while the rollups are live
CREATE TABLE parcels_us PARTITION OF parcels FOR VALUES IN ('us');
INSERT INTO parcels VALUES (20, 'us', 20), (21, 'us', 21);
CALL notify_stats.catch_up();
SELECT * FROM of_root WHERE country = 'us';
SELECT source, missing, hint FROM notify_stats.source_gaps() ORDER BY rollup::text;
SELECT * FROM states();
-- the partition needs its own replica identity
SELECT * FROM stale_seen;
ALTER TABLE parcels_us REPLICA IDENTITY FULL;
UPDATE parcels SET pieces = pieces + 1 WHERE country = 'us';
DELETE FROM parcels WHERE id = 21;
CALL notify_stats.catch_up();
SELECT * FROM of_root WHERE country = 'us';
SELECT * FROM all_differences();
DELETE FROM stale_seen;

-- truncating a leaf: the rows that its ancestors lose are not in the WAL, so their rollups are rebuilt
BEGIN;
INSERT INTO parcels VALUES (30, 'gb', 30);
TRUNCATE parcels_gb;
INSERT INTO parcels VALUES (31, 'gb', 31);
COMMIT;
CALL notify_stats.catch_up();
SELECT rollup, regexp_replace(reason, ' .table.*', '') AS reason FROM stale_seen ORDER BY 1;
SELECT * FROM states();
SELECT * FROM of_root WHERE country = 'gb';
SELECT * FROM all_differences();
DELETE FROM stale_seen;
-- the rollup of the leaf itself stays exact, and so does that of a whole partitioned table
TRUNCATE parcels_fr;
INSERT INTO parcels VALUES (32, 'fr', 32);
CALL notify_stats.catch_up();
SELECT rollup, regexp_replace(reason, ' .table.*', '') AS reason FROM stale_seen ORDER BY 1;
TABLE of_leaf;
SELECT * FROM all_differences();
DELETE FROM stale_seen;
TRUNCATE parcels;
INSERT INTO parcels VALUES (33, 'fr', 33), (34, 'de', 34);
CALL notify_stats.catch_up();
SELECT rollup, regexp_replace(reason, ' .table.*', '') AS reason FROM stale_seen ORDER BY 1;
TABLE of_root ORDER BY country;
TABLE of_middle ORDER BY country;
SELECT * FROM states();
SELECT * FROM all_differences();
DELETE FROM stale_seen;

DROP TRIGGER note_stale ON notify_stats.rollup_activity;
DROP SCHEMA partition CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
