-- Group columns of many types, and names that need quotes.
CREATE SCHEMA types;
SET search_path = types;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z]+$');
CREATE DOMAIN codes AS code[];
CREATE TYPE place AS (street text, house integer);
CREATE TABLE things (
    id integer PRIMARY KEY,
    gone text,
    flag boolean,
    small smallint,
    large bigint,
    ratio real CHECK (ratio > '-Infinity' AND ratio < 'Infinity'),
    part double precision CHECK (part > '-Infinity' AND part < 'Infinity'),
    amount numeric CHECK (amount > '-Infinity' AND amount < 'Infinity'),
    price numeric(8, 2) CHECK (price > '-Infinity' AND price < 'Infinity'),
    letter "char",
    fixed char(4),
    short varchar(10),
    words text,
    ident name,
    bytes bytea,
    day date,
    hour time,
    zone_hour timetz,
    at timestamp,
    zone_at timestamptz,
    span interval,
    uid uuid,
    address inet,
    net cidr,
    mac macaddr,
    doc jsonb,
    feeling mood,
    tag code,
    tags codes,
    numbers integer[],
    names text[],
    home place,
    homes place[],
    period int4range,
    periods int4multirange,
    relation oid,
    position_in_wal pg_lsn
);
ALTER TABLE things DROP COLUMN gone, REPLICA IDENTITY FULL;

-- two rows per group, one group with a single row, one of NULLs, one of empty values
CREATE PROCEDURE fill(n integer) LANGUAGE sql AS $$
    INSERT INTO things
    SELECT 10 * n + i, k = 1, k, k * 10000000000, k / 3.0, k / 7.0, k + 0.5, k * 1.5, chr(64 + k)::"char", 'f' || k,
           'v' || k, repeat('w' || k, 3), 'n' || k, decode('00ff0' || k, 'hex'),
           '2026-03-29'::date + k, '01:02:03'::time + k * interval '1 h', '01:02:03+01'::timetz + k * interval '1 h',
           '2026-10-25 01:30'::timestamp + k * interval '1 s', '2026-10-25 01:30 UTC'::timestamptz + k * interval '1 s',
           k * interval '1 day', ('00000000-0000-0000-0000-00000000000' || k)::uuid,
           ('10.0.0.' || k)::inet, ('10.' || k || '.0.0/16')::cidr, ('08:00:2b:01:02:0' || k)::macaddr,
           jsonb_build_object('k', k, 'l', jsonb_build_array(k, NULL)), (ARRAY['glad', 'sad'])[k]::mood, chr(64 + k),
           ARRAY[chr(64 + k), 'Z']::codes, ARRAY[k, NULL, k], ARRAY['a b', NULL, '{' || k || '}'], ROW('Main "St"', k)::place,
           ARRAY[ROW('x,y', k)::place], int4range(k, k + 5), int4multirange(int4range(k, k + 1), int4range(k + 3, k + 4)),
           k, ('0/' || k)::pg_lsn
    FROM (VALUES (1, 1), (2, 1), (3, 2)) v (i, k);
    INSERT INTO things (id) VALUES (10 * n + 4);
    INSERT INTO things (id, fixed, short, words, bytes, doc, tags, numbers, names, home, homes, period, periods)
    VALUES (10 * n + 5, '', '', '', '', '{}', '{}', '{}', '{}', ROW(NULL, NULL), '{}', 'empty', '{}');
$$;
CALL fill(1);

-- a rollup for each column
SELECT count(notify_stats.create_rollup('by_' || attname,
           format('SELECT %I, count(*), sum(id) AS ids FROM things GROUP BY 1', attname)))
FROM pg_attribute
WHERE attrelid = 'things'::regclass AND attnum > 0 AND NOT attisdropped;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
SELECT count(*) AS live FROM notify_stats.rollups WHERE state = 'live';
SELECT clock_timestamp() AS start \gset

-- rows that are inserted, that change their groups, and that are deleted
CALL fill(2);
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
UPDATE things t SET (flag, small, large, ratio, part, amount, price, letter, fixed, short, words, ident, bytes, day, hour,
                     zone_hour, at, zone_at, span, uid, address, net, mac, doc, feeling, tag, tags, numbers,
                     names, home, homes, period, periods, relation, position_in_wal)
    = (SELECT flag, small, large, ratio, part, amount, price, letter, fixed, short, words, ident, bytes, day, hour,
              zone_hour, at, zone_at, span, uid, address, net, mac, doc, feeling, tag, tags, numbers,
              names, home, homes, period, periods, relation, position_in_wal
       FROM things s WHERE s.id = t.id + 2)
WHERE id BETWEEN 11 AND 13;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
DELETE FROM things WHERE id IN (13, 21, 22, 24, 25);
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
SELECT feeling, count, ids FROM by_feeling ORDER BY feeling;
SELECT tags, count, ids FROM by_tags ORDER BY tags;
SELECT home, count, ids FROM by_home ORDER BY home;
DELETE FROM things;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
SELECT state, count(*) FROM notify_stats.rollups GROUP BY 1;
-- none of the rollups was rebuilt
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
DROP TABLE things CASCADE;

-- values that are equal but not identical: one group, in any of their forms
CREATE TABLE equals (id integer PRIMARY KEY, amount numeric NOT NULL, part double precision NOT NULL, fixed char(5), span interval, doc jsonb);
ALTER TABLE equals REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('by_equals', $$
    SELECT amount, part, fixed, span, doc, count(*), coalesce(sum(amount), 0) AS total
    FROM equals GROUP BY 1, 2, 3, 4, 5 $$);
CALL notify_stats.catch_up();
INSERT INTO equals VALUES (1, 1.0, 0.0, 'a', '1 day', '{"a": 1.0}'), (2, 1.00, '-0', 'a  ', '24 hours', '{"a": 1}');
CALL notify_stats.catch_up();
INSERT INTO equals VALUES (3, 1, 0, 'a', '1 day', '{"a": 1.000}');
CALL notify_stats.catch_up();
SELECT amount = 1 AS amount, part = 0 AS part, fixed, span = '1 day' AS span, doc = '{"a": 1}' AS doc, count, total = 3 AS total
FROM by_equals;
SELECT * FROM differences('by_equals');
UPDATE equals SET amount = 1.0000 WHERE id = 1;
UPDATE equals SET span = '12 hours 720 minutes' WHERE id = 2;
DELETE FROM equals WHERE id = 1;
DELETE FROM equals WHERE id = 3;
CALL notify_stats.catch_up();
SELECT count(*), min(count) FROM by_equals;
DELETE FROM equals;
CALL notify_stats.catch_up();
SELECT count(*) FROM by_equals;
DROP TABLE equals CASCADE;

-- numbers with 40 digits, text and bytea values too long for a page, compressed or not
CREATE TABLE long (id integer PRIMARY KEY, number numeric CHECK (number > '-Infinity' AND number < 'Infinity'), words text, bytes bytea);
ALTER TABLE long REPLICA IDENTITY FULL;
INSERT INTO long VALUES (1, 1234567890123456789012345678901234567890, repeat('a', 2000), '\x00');
SELECT notify_stats.create_rollup('by_number', $$
    SELECT number, count(*), coalesce(sum(number), 0) AS total FROM long GROUP BY 1 $$);
SELECT notify_stats.create_rollup('by_words', $$
    SELECT words, count(*) FROM long GROUP BY 1 $$);
SELECT notify_stats.create_rollup('by_digest', $$
    SELECT md5(words) AS words, sha256(bytes) AS bytes, count(*), coalesce(sum(length(words)), 0) AS length
    FROM long GROUP BY 1, 2 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
INSERT INTO long VALUES
    (2, 1234567890123456789012345678901234567890, repeat('a', 2000), '\x01'),
    (3, -0.1234567890123456789012345678901234567890, repeat('b', 2500), '\x01'),
    (4, 9e99, repeat('c', 100000), decode(repeat('ab', 100000), 'hex')),
    (5, NULL, NULL, (SELECT string_agg(sha512(i::text::bytea), '' ORDER BY i) FROM generate_series(1, 500) i));
CALL notify_stats.catch_up();
SELECT * FROM by_number ORDER BY number;
SELECT left(words, 5) AS words, length(words), count FROM by_words ORDER BY words;
SELECT words, length FROM by_digest ORDER BY 1, 2;
SELECT r.rollup, d.problem FROM notify_stats.rollups r, differences(r.rollup) d;
UPDATE long SET number = number + 1;
UPDATE long SET words = words || '.' WHERE id = 4;
DELETE FROM long WHERE id IN (2, 5);
CALL notify_stats.catch_up();
SELECT * FROM by_number ORDER BY number;
SELECT r.rollup, d.problem FROM notify_stats.rollups r, differences(r.rollup) d;
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
-- a group that is too large for an index: that rollup fails, the others do not
INSERT INTO long SELECT 6, 6, string_agg(md5(i::text), '' ORDER BY i), '\x06' FROM generate_series(1, 1000) i;
\set VERBOSITY sqlstate
CALL notify_stats.catch_up();
\set VERBOSITY default
CALL notify_stats.catch_up();
SELECT rollup, state, regexp_replace(reason, '\d+', 'N', 'g') AS reason FROM notify_stats.rollups ORDER BY rollup::text;
SELECT * FROM by_number WHERE number = 6;
DELETE FROM long WHERE id = 6;
SELECT notify_stats.rebuild('by_words');
CALL notify_stats.catch_up();
SELECT rollup, state, reason FROM notify_stats.rollups ORDER BY rollup::text;
SELECT r.rollup, d.problem FROM notify_stats.rollups r, differences(r.rollup) d;
DROP TABLE long CASCADE;

-- names with capitals, spaces, dots and quotes, and reserved words
CREATE SCHEMA "Types; DROP";
CREATE TABLE "Types; DROP"."my.Table ""x""" (
    "select" integer PRIMARY KEY,
    "Order" text,
    "a b" text,
    "x.y" text,
    "it's" text,
    "say ""hi""" integer NOT NULL,
    "ünïcödé" integer,
    "$1" integer
);
ALTER TABLE "Types; DROP"."my.Table ""x""" REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('"Types; DROP"."Roll.up ""y"" of my''s"', $$
    SELECT "Order", "a b" || '!' AS "where", "x.y", "it's" AS "'", "$1" AS "%1$s",
           count(*) AS "count", sum("say ""hi""") AS "say ""hi""", count("ünïcödé") AS "group",
           sum("ünïcödé") AS "ünïcödé", count(*) FILTER (WHERE "select" > 2) AS "d.""m1"
    FROM "Types; DROP"."my.Table ""x"""
    WHERE "select" > 0
    GROUP BY 1, 2, 3, 4, 5 $$);
INSERT INTO "Types; DROP"."my.Table ""x""" VALUES (1, 'a', 'b', 'c', 'd', 1, 10, 5), (2, 'a', 'b', 'c', 'd', 2, NULL, 5);
CALL notify_stats.catch_up();
INSERT INTO "Types; DROP"."my.Table ""x""" VALUES (3, 'a', 'b', 'c', 'd', 3, 30, 5), (4, NULL, 'b', 'c', 'd', 4, NULL, 6);
UPDATE "Types; DROP"."my.Table ""x""" SET "it's" = 'D' WHERE "select" = 1;
CALL notify_stats.catch_up();
TABLE "Types; DROP"."Roll.up ""y"" of my's" ORDER BY "Order", "'";
SELECT * FROM differences('"Types; DROP"."Roll.up ""y"" of my''s"');
SELECT * FROM notify_stats.verify('"Types; DROP"."Roll.up ""y"" of my''s"');
DELETE FROM "Types; DROP"."Roll.up ""y"" of my's" WHERE "Order" IS NULL;
UPDATE "Types; DROP"."Roll.up ""y"" of my's" SET "group" = 0 WHERE "'" = 'D';
SELECT * FROM notify_stats.verify('"Types; DROP"."Roll.up ""y"" of my''s"');
SELECT notify_stats.rebuild('"Types; DROP"."Roll.up ""y"" of my''s"');
CALL notify_stats.catch_up();
SELECT * FROM differences('"Types; DROP"."Roll.up ""y"" of my''s"');
SELECT notify_stats.drop_rollup('"Types; DROP"."Roll.up ""y"" of my''s"');
DROP SCHEMA "Types; DROP" CASCADE;

DROP SCHEMA types CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
