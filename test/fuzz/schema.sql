-- The tables of test/t/012_fuzz.pl.  "source" lists the tables that readers read, and their columns.

CREATE SCHEMA "odd, schema";
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);

-- of all usual types
CREATE TABLE plain (id int, gone int, t text, b bool, n numeric NOT NULL, at timestamptz,
	raw bytea, u uuid, j jsonb, a int[], m mood, d positive, big text, unused text);
ALTER TABLE plain DROP gone, ALTER big SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;

-- with a name that must be escaped, and an index for its replica identity
CREATE TABLE "odd, schema"."odd ""table""" (id int NOT NULL, "col ""1""" text NOT NULL, unused text);
CREATE UNIQUE INDEX odd_key ON "odd, schema"."odd ""table""" (id, "col ""1""");
ALTER TABLE "odd, schema"."odd ""table""" REPLICA IDENTITY USING INDEX odd_key;

-- the replica identity does not cover the columns read; no columns are read; the table is not read
CREATE TABLE weak (id int PRIMARY KEY, v text);
CREATE TABLE counted (x int PRIMARY KEY);
CREATE TABLE ignored (x int PRIMARY KEY);

-- more columns than a reader first has room for
SELECT format('CREATE TABLE wide (%s)', string_agg('c' || i || ' int', ', '))
FROM generate_series(1, 70) i \gexec
ALTER TABLE wide REPLICA IDENTITY FULL;

-- two levels of partitions, one of them also a source, and with columns in another order
CREATE TABLE parted (id int, k text, v bigint) PARTITION BY LIST (k);
CREATE TABLE part_a (v bigint, k text, id int);
ALTER TABLE parted ATTACH PARTITION part_a FOR VALUES IN ('a');
CREATE TABLE part_b PARTITION OF parted FOR VALUES IN ('b') PARTITION BY LIST (id);
CREATE TABLE part_b_all PARTITION OF part_b DEFAULT;
ALTER TABLE part_a REPLICA IDENTITY FULL;
ALTER TABLE part_b_all REPLICA IDENTITY FULL;

CREATE TABLE source (relid regclass, columns name[]);
INSERT INTO source VALUES
	('plain', '{id,t,b,n,at,raw,u,j,a,m,d,big}'),
	('"odd, schema"."odd ""table"""', '{id,"col \"1\""}'),
	('weak', '{id,v}'),
	('counted', '{}'),
	('wide', '{c1,c69,c70}'),
	('parted', '{id,k}'),
	('part_a', '{v}');

CREATE PUBLICATION notify_stats FOR TABLE plain, "odd, schema"."odd ""table""", weak, counted,
	ignored, wide, parted;
