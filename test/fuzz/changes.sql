-- What test/t/012_fuzz.pl does to the tables of schema.sql.  What is between two of the lines
-- that begin with "changes" becomes a session of each format; the numbers are those of the
-- changes that it sees: inserts, updates, deletes, truncates, truncates of partitions, and unknown ones.

-- changes: 14 0 0 0 0 0, wal2json1: 13 0 0 0 0 1, wal2json2: 13 0 0 0 0 1
-- (wal2json does not write NaN)
INSERT INTO plain VALUES (1, 'text', true, 1.5, '2026-01-01', '\xdeadbeef',
	'12345678-1234-1234-1234-123456789abc', '{"a": ["b", {}]}', '{1,NULL,-3}', 'ok', 7,
	repeat(md5('big'), 80), 'unused');
INSERT INTO plain (n) VALUES (0);
INSERT INTO plain VALUES (3, E'q" b\\ /\b\f\n\r\t\x01\x7f {"[,:]}\' \u00e9 \U0001F600', false, 'NaN',
	'infinity', '\x', NULL, '"\u0041\\"', '{}', 'sad', NULL, '', '');
INSERT INTO counted VALUES (1), (2);
INSERT INTO ignored VALUES (1), (2);
INSERT INTO wide (c1, c70) VALUES (1, 70);
INSERT INTO "odd, schema"."odd ""table""" VALUES (1, 'a', 'x'), (2, '', 'y');
INSERT INTO weak VALUES (1, 'a'), (2, 'b');
INSERT INTO parted VALUES (1, 'a', 10), (2, 'b', 20), (3, 'b', 30);

-- changes: 2 6 1 0 0 1
UPDATE plain SET id = 11 WHERE id = 1;
UPDATE plain SET unused = 'other' WHERE id = 11;
UPDATE plain SET t = NULL, raw = '\x00ff' WHERE id = 11;
UPDATE wide SET c1 = 2, c2 = 2;
UPDATE "odd, schema"."odd ""table""" SET "col ""1""" = 'c' WHERE id = 1;
UPDATE "odd, schema"."odd ""table""" SET unused = 'z';
UPDATE weak SET v = 'x' WHERE id = 1;
UPDATE counted SET x = x + 10;
UPDATE parted SET id = 22 WHERE id = 2;
UPDATE parted SET k = 'a' WHERE id = 3;
UPDATE parted SET v = v + 1 WHERE id = 1;

-- changes: 0 0 5 5 2 1, wal2json1: 0 0 5 0 0 1
DELETE FROM plain WHERE id = 11;
DELETE FROM "odd, schema"."odd ""table""" WHERE id = 2;
DELETE FROM weak WHERE id = 2;
DELETE FROM counted WHERE x = 12;
DELETE FROM parted WHERE id = 1;
TRUNCATE plain, "odd, schema"."odd ""table""", ignored;
TRUNCATE part_b;
TRUNCATE part_a;
TRUNCATE parted;

-- changes: 3 1 0 0 0 1, wal2json1: 4 1 0 0 0 0, wal2json2: 4 1 0 0 0 0
-- (wal2json is not asked for types)
INSERT INTO plain (id, n) VALUES (4, 4);
ALTER TABLE plain ADD extra int DEFAULT 7, DROP unused;
INSERT INTO plain (id, n) VALUES (5, 5);
BEGIN;
UPDATE plain SET id = 55 WHERE id = 5;
SAVEPOINT s;
DELETE FROM plain;
ROLLBACK TO s;
INSERT INTO plain (id, n) VALUES (6, 6);
COMMIT;
ALTER TABLE "odd, schema"."odd ""table""" ALTER id TYPE bigint;
INSERT INTO "odd, schema"."odd ""table""" VALUES (3, 'd');

-- changes: 45 0 0 0 0 0
INSERT INTO parted SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, i FROM generate_series(1, 30) i;
