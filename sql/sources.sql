-- Several sources, several rollups, and changes to the definition of a source.
CREATE SCHEMA sources;
SET search_path = sources;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common

-- three similar tables with different attribute numbers, types and dropped columns
CREATE TABLE letters (
    gone integer,
    id integer PRIMARY KEY,
    kind varchar(20) NOT NULL,
    also_gone text,
    weight smallint,
    test boolean NOT NULL DEFAULT false
);
INSERT INTO letters VALUES (1, 1, 'a', 'x', 10), (2, 2, 'b', 'y', 20);
ALTER TABLE letters DROP COLUMN gone, DROP COLUMN also_gone, REPLICA IDENTITY FULL;
CREATE TABLE history (test boolean NOT NULL DEFAULT false, weight bigint, extra text, kind text, id bigint);
ALTER TABLE history REPLICA IDENTITY FULL;
INSERT INTO history VALUES (false, 30, NULL, 'a', 3);
CREATE TABLE imports (type name NOT NULL, heaviness numeric CHECK (heaviness > '-Infinity' AND heaviness < 'Infinity'), id integer);
ALTER TABLE imports REPLICA IDENTITY FULL;
INSERT INTO imports VALUES ('c', 0.5, 4);

SELECT notify_stats.create_rollup('of_one', $$
    SELECT kind, count(*) FROM letters GROUP BY kind $$);
SELECT notify_stats.create_rollup('of_two', $$
    SELECT kind, count(*), count(weight) AS weights, sum(weight) AS weight
    FROM (SELECT kind, weight, test FROM letters UNION ALL SELECT kind, weight, test FROM history) n
    WHERE NOT test GROUP BY kind $$);
SELECT notify_stats.create_rollup('of_three', $$
    SELECT origin, kind, count(*), coalesce(sum(weight), 0) AS weight
    FROM (SELECT 'now' AS origin, kind, weight FROM letters WHERE NOT test
          UNION ALL SELECT 'then', kind, weight FROM history
          UNION ALL SELECT NULL, type, heaviness FROM imports) n
    GROUP BY origin, kind $$);
-- the same table in two branches; and a constant zero
SELECT notify_stats.create_rollup('of_halves', $$
    SELECT half, count(*), sum(id) AS ids
    FROM (SELECT 'light' AS half, id FROM letters WHERE weight <= 20
          UNION ALL SELECT 'heavy', id FROM letters WHERE weight >= 20) n
    GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_all', $$
    SELECT 'all' AS part, count(*) FROM imports GROUP BY 1 $$);
CALL notify_stats.catch_up();
TABLE of_two ORDER BY kind;
TABLE of_three ORDER BY origin, kind;
TABLE of_halves ORDER BY half;
SELECT * FROM all_differences();
SELECT clock_timestamp() AS start \gset

INSERT INTO letters VALUES (5, 'a', 20, false), (6, 'b', NULL, false), (7, 'c', 7, true), (8, 'd', 30, false);
INSERT INTO history VALUES (true, 1, NULL, NULL, 9), (false, 10000000000, 'x', 'a', 10);
INSERT INTO imports VALUES ('a', 1e-20, 11), ('c', 1e20, 12);
CALL notify_stats.catch_up();
TABLE of_two ORDER BY kind;
TABLE of_three ORDER BY origin, kind;
TABLE of_halves ORDER BY half;
SELECT * FROM all_differences();

-- the archive: rows move from one source to the other in one transaction
BEGIN;
CREATE TEMPORARY TABLE batch ON COMMIT DROP AS SELECT * FROM letters WHERE kind <= 'b';
INSERT INTO history (id, kind, weight, test) SELECT id, kind, weight, test FROM batch ON CONFLICT DO NOTHING;
DELETE FROM letters l USING batch b WHERE l.id = b.id;
COMMIT;
CALL notify_stats.catch_up();
TABLE of_one ORDER BY kind;
TABLE of_two ORDER BY kind;
SELECT * FROM all_differences();
-- and in the other direction
WITH back AS (DELETE FROM history WHERE kind = 'b' RETURNING *)
INSERT INTO letters (id, kind, weight) SELECT id, kind, weight FROM back;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();

-- rows that start or cease to satisfy a filter, per source
UPDATE letters SET test = NOT test;
CALL notify_stats.catch_up();
TABLE of_two ORDER BY kind;
SELECT * FROM all_differences();

-- columns that no definition reads are added, dropped, or change their types
ALTER TABLE letters ADD note text DEFAULT 'none', ADD made_at timestamptz DEFAULT clock_timestamp();
INSERT INTO letters VALUES (20, 'e', 1);
ALTER TABLE letters DROP COLUMN made_at;
ALTER TABLE letters ALTER note TYPE varchar(10);
INSERT INTO letters VALUES (21, 'e', 2);
ALTER TABLE history ALTER id TYPE text, DROP COLUMN extra;
UPDATE history SET weight = 31 WHERE id = '3';
CALL notify_stats.catch_up();
SELECT * FROM states();
SELECT * FROM all_differences();
-- all of this without a rebuild
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';

-- a column added with a default, and read by a new rollup: old rows have the default, too
INSERT INTO letters VALUES (22, 'f', 3);
ALTER TABLE letters ADD colour text NOT NULL DEFAULT 'white';
SELECT notify_stats.create_rollup('of_colour', $$
    SELECT colour, count(*) FROM letters GROUP BY 1 $$);
UPDATE letters SET weight = 4 WHERE id = 22;
CALL notify_stats.catch_up();
UPDATE letters SET kind = 'ff' WHERE id = 22;
UPDATE letters SET colour = 'red' WHERE id = 21;
DELETE FROM letters WHERE id = 20;
ALTER TABLE letters ALTER colour SET DEFAULT 'blue';
INSERT INTO letters VALUES (23, 'f', 3);
CALL notify_stats.catch_up();
TABLE of_colour ORDER BY colour;
SELECT * FROM states();
SELECT * FROM all_differences();
SELECT notify_stats.drop_rollup('of_colour');

SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;

-- the primary key or an index as replica identity suffices for the columns that it covers
CREATE TABLE stamps (country text, year integer, number integer, price integer NOT NULL DEFAULT 0, note text,
                     PRIMARY KEY (number, country));
INSERT INTO stamps SELECT c, 2000 + n, n FROM unnest('{de,gb}'::text[]) c, generate_series(1, 3) n;
SELECT notify_stats.create_rollup('by_country', $$
    SELECT country, count(*), sum(number) AS numbers FROM stamps WHERE number > 1 GROUP BY 1 $$);
SELECT notify_stats.create_rollup('by_nothing', $$
    SELECT 'all' AS part, count(*) FROM stamps GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
UPDATE stamps SET price = price + 1;
UPDATE stamps SET country = 'fr' WHERE number = 2 AND country = 'gb';
UPDATE stamps SET number = number + 10 WHERE country = 'de' AND number = 1;
UPDATE stamps SET number = 1 WHERE country = 'de' AND number = 3;
DELETE FROM stamps WHERE country = 'fr';
DELETE FROM stamps WHERE country = 'gb' AND number = 3;
INSERT INTO stamps VALUES ('gb', 2009, 9);
CALL notify_stats.catch_up();
SELECT * FROM states();
TABLE by_country ORDER BY country;
TABLE by_nothing;
SELECT * FROM all_differences();
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
ALTER TABLE stamps ALTER year SET NOT NULL;
CREATE UNIQUE INDEX stamps_year ON stamps (year, country, number);
ALTER TABLE stamps REPLICA IDENTITY USING INDEX stamps_year;
SELECT notify_stats.create_rollup('by_year', $$
    SELECT year / 10 AS decade, count(*) FROM stamps GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
UPDATE stamps SET year = year + 10 WHERE number = 1;
UPDATE stamps SET note = 'old';
DELETE FROM stamps WHERE number = 9;
CALL notify_stats.catch_up();
SELECT * FROM states();
TABLE by_year ORDER BY decade;
SELECT * FROM all_differences();
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;

-- out-of-line (TOAST) values that an update does not change: with FULL, and in an index column
CREATE TABLE posters (id integer PRIMARY KEY, title text, body text, copies integer);
ALTER TABLE posters ALTER title SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
INSERT INTO posters VALUES (1, repeat('a', 5000), repeat('b', 5000), 1), (2, repeat('c', 5000), NULL, 2);
SELECT notify_stats.create_rollup('by_body', $$
    SELECT md5(body) AS body, length(title) AS title, count(*), coalesce(sum(copies), 0) AS copies
    FROM posters GROUP BY 1, 2 $$);
SELECT notify_stats.create_rollup('by_copies', $$
    SELECT copies, count(*) FROM posters GROUP BY 1 $$);
CALL notify_stats.catch_up();
SELECT clock_timestamp() AS start \gset
UPDATE posters SET copies = copies + 10;
UPDATE posters SET title = title || 'a' WHERE id = 1;
UPDATE posters SET body = repeat('d', 6000) WHERE id = 2;
UPDATE posters SET id = id + 10;
UPDATE posters SET copies = 5 WHERE id = 12;
INSERT INTO posters SELECT id + 100, title, body, copies FROM posters;
DELETE FROM posters WHERE id = 11;
CALL notify_stats.catch_up();
SELECT * FROM states();
SELECT left(body, 8) AS body, title, count, copies FROM by_body ORDER BY 2, 1;
SELECT * FROM all_differences();
-- the same with values that are compressed, inline and out of line
ALTER TABLE posters ALTER title SET STORAGE MAIN, ALTER body SET STORAGE EXTENDED;
INSERT INTO posters VALUES
    (21, repeat('e', 3000), (SELECT string_agg(md5(i::text) || repeat('f', 50), '') FROM generate_series(1, 500) i), 1);
UPDATE posters SET copies = 2 WHERE id = 21;
UPDATE posters SET title = repeat('g', 3000) WHERE id = 21;
DELETE FROM posters WHERE id = 12;
CALL notify_stats.catch_up();
SELECT * FROM states();
SELECT * FROM all_differences();
SELECT rollup AS made_anew FROM notify_stats.rollups WHERE built_at > :'start';
SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;

-- tables with inheritance: each is a source without its children
CREATE TABLE parents (kind text);
CREATE TABLE children () INHERITS (parents);
ALTER TABLE parents REPLICA IDENTITY FULL;
ALTER TABLE children REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('of_parents', $$
    SELECT kind, count(*) FROM ONLY parents GROUP BY 1 $$);
SELECT notify_stats.create_rollup('of_both', $$
    SELECT kind, count(*) FROM (SELECT * FROM ONLY parents UNION ALL SELECT * FROM children) s GROUP BY 1 $$);
CALL notify_stats.catch_up();
INSERT INTO parents VALUES ('a');
INSERT INTO children VALUES ('a'), ('b');
UPDATE parents SET kind = 'c' WHERE kind = 'a';
CALL notify_stats.catch_up();
TABLE of_parents ORDER BY kind;
TABLE of_both ORDER BY kind;
SELECT * FROM all_differences();
SELECT * FROM states();

SELECT notify_stats.drop_rollup(rollup) FROM notify_stats.rollups;

-- if the statements in the hints are run, a published table can still be updated
CREATE FUNCTION follow_hints(rollup text, definition text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    FOR i IN 1 .. 3 LOOP
        BEGIN
            PERFORM notify_stats.create_rollup(rollup, definition);
            RETURN;
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
        END;
        RETURN NEXT hint;
        EXIT WHEN hint !~ '^Run: ';
        EXECUTE substring(hint FROM 6);
    END LOOP;
END $$;
CREATE TABLE shared (id integer PRIMARY KEY, kind text NOT NULL, pages integer);
CREATE PUBLICATION of_others FOR TABLE shared (id, kind);
SELECT follow_hints('of_shared', 'SELECT kind, count(*) FROM shared GROUP BY 1');
SELECT follow_hints('of_pages', 'SELECT pages, count(*) FROM shared GROUP BY 1');
ALTER TABLE shared ALTER pages SET NOT NULL;
SELECT follow_hints('of_pages', 'SELECT pages, count(*) FROM shared GROUP BY 1');
ALTER PUBLICATION of_others SET TABLE shared (pages, id, kind);
SELECT follow_hints('of_pages', 'SELECT pages, count(*) FROM shared GROUP BY 1');
SELECT follow_hints('of_shared_again', 'SELECT kind, count(*) FROM shared GROUP BY 1');
CALL notify_stats.catch_up();
INSERT INTO shared SELECT i, 'a', i FROM generate_series(1, 5) i;
UPDATE shared SET kind = 'b', pages = 2 WHERE id < 3;
DELETE FROM shared WHERE id = 4;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
SELECT * FROM states();

-- a table without a key, and one that is published later: check() reports both
CREATE TABLE keyless (kind text NOT NULL);
ALTER PUBLICATION of_others ADD TABLE keyless (kind);
SELECT follow_hints('of_keyless', 'SELECT kind, count(*) FROM keyless GROUP BY 1');
CREATE TABLE later (id integer PRIMARY KEY, kind text NOT NULL, size integer NOT NULL, note text);
SELECT follow_hints('of_later', 'SELECT kind, count(*) FROM later GROUP BY 1');
SELECT follow_hints('of_sizes', 'SELECT size, count(*) FROM later GROUP BY 1');
CALL notify_stats.catch_up();
INSERT INTO later SELECT i, 'a', i FROM generate_series(1, 5) i;
SELECT detail, hint FROM notify_stats.check() WHERE item = 'replica identity';
ALTER PUBLICATION of_others ADD TABLE later (id, kind, size);
UPDATE later SET kind = 'b' WHERE id < 3;
SELECT detail, hint FROM notify_stats.check() WHERE item = 'replica identity';
CREATE UNIQUE INDEX later_identity ON sources.later (id, kind, size);
ALTER TABLE sources.later REPLICA IDENTITY USING INDEX later_identity;
UPDATE later SET kind = 'b' WHERE id < 3;
SELECT detail, hint FROM notify_stats.check() WHERE item = 'replica identity';
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
DROP PUBLICATION of_others;

-- virtual generated columns (18) are part of REPLICA IDENTITY FULL, but are not published
CREATE FUNCTION virtual(statements text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        EXECUTE statements;
    END IF;
END $$;
SELECT virtual($$
    CREATE TABLE unpublished (id int PRIMARY KEY, kind text NOT NULL, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL);
    CREATE TABLE of_full (id int PRIMARY KEY, kind text NOT NULL, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL);
    ALTER TABLE of_full REPLICA IDENTITY FULL;
    CREATE TABLE published (id int PRIMARY KEY, kind text NOT NULL, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL);
    CREATE PUBLICATION of_others FOR TABLE published $$);
SELECT virtual(format($$ SELECT follow_hints('of_%1$s', 'SELECT kind, count(*) FROM %1$s GROUP BY 1') $$, name))
FROM unnest('{unpublished, of_full, published}'::text[]) name;
CALL notify_stats.catch_up();
SELECT virtual(format($$ INSERT INTO %1$s SELECT i, 'a' FROM generate_series(1, 5) i;
    UPDATE %1$s SET kind = 'b' WHERE id < 3; DELETE FROM %1$s WHERE id = 3 $$, name))
FROM unnest('{unpublished, of_full, published}'::text[]) name;
CALL notify_stats.catch_up();
SELECT * FROM all_differences();
SELECT detail, hint FROM notify_stats.check() WHERE item = 'replica identity';
SELECT count(*) FROM states() WHERE state <> 'live';
SELECT virtual('DROP PUBLICATION of_others');

DROP SCHEMA sources CASCADE;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;
