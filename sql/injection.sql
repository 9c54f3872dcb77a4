-- Injection by names and texts.  Each gives a correct rollup, or an error that leaves nothing
-- behind; and the statements in hints work if they are run unchanged.
CREATE SCHEMA injection;
GRANT USAGE ON SCHEMA injection TO PUBLIC;
SET search_path = injection;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\pset format unaligned
\pset tuples_only on
\pset fieldsep ': '

-- most of the following tries to drop this table; at the end it exists, with its row
CREATE TABLE victim (id integer PRIMARY KEY, kind text);
ALTER TABLE victim REPLICA IDENTITY FULL;
INSERT INTO victim VALUES (1, 'a');


-- Names: of schemas, roles, types, labels, functions, tables, partitions, columns, rollups and
-- their columns

CREATE TABLE names (number integer GENERATED ALWAYS AS IDENTITY, name text);
INSERT INTO names (name) VALUES
    ('Upper Case'), (' around '), ('a"b'), ('""'), (''''), ('\'), ('\'''), ('"''\"'),
    ('''; DROP TABLE injection.victim; --'), ('"; DROP TABLE injection.victim; --'), ('\''; DROP TABLE injection.victim; --'),
    ('*/ DROP TABLE injection.victim; /*'), ('$$; DROP TABLE injection.victim; $$'), ('$tag$'), ('-- no comment'),
    ('.'), ('"a"."b"'), ('a,b:c;d=e'), ('*.*'), ('%s%I%L%n%'), ('{}[]"":null,'), ('$1'), (':name'), ('?'), ('<&>`id`'),
    (E'new\nline'), (E'\ttab\r'), (E'\x01\x7f'), (E'a\\\n--'),
    ('ü'), (U&'\00FC\2028\FEFF'), (U&'\+01F600 \202E abc'),
    ('select'), ('count'), ('excluded'), ('d'), ('r'), ('g1'), ('m1'), ('fresh'), ('address'), ('null'), ('1'), ('catalog.int4'),
    (repeat('"', 52)), (repeat('\', 52)), (repeat('ü', 26)), (repeat(U&'\+01F600', 13));

-- Replaces names in a statement: {n} is the name itself, {1} to {4} have a number appended, {role}
-- is that of a role; {l} is the name as a literal, {source} and {rollup} are tables as literals.
-- Since 19 names of roles and databases cannot contain newlines.
CREATE FUNCTION fill(statement text, name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 4 LOOP
        statement := replace(statement, '{' || i || '}', quote_ident(name || i));
    END LOOP;
    statement := replace(statement, '{role}', quote_ident('regress_' ||
        CASE WHEN current_setting('server_version_num')::int < 190000 THEN name ELSE translate(name, E'\n\r', '  ') END));
    statement := replace(statement, '{source}', quote_literal(quote_ident(name) || '.' || quote_ident(name)));
    statement := replace(statement, '{rollup}', quote_literal(quote_ident(name || '1') || '.' || quote_ident(name)));
    statement := replace(statement, '{l}', quote_literal(name));
    RETURN replace(statement, '{n}', quote_ident(name));
END $$;

CREATE FUNCTION for_names(VARIADIC statements text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT injection.fill(statement, name)
    FROM injection.names, unnest(statements) WITH ORDINALITY s (statement, place) ORDER BY number, place
$$;

-- Runs a statement; while it fails with a hint that contains a statement, runs that one and tries again.
CREATE FUNCTION follow(statement text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    FOR hints IN 0 .. 9 LOOP
        BEGIN
            EXECUTE statement;
            RETURN hints;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            IF hint !~* 'run: ' THEN
                RAISE;
            END IF;
        END;
        EXECUTE substring(hint FROM '[Rr]un: (.*)');
        IF hint ~ 'forget_deleted' THEN
            RETURN hints + 1;
        END IF;
    END LOOP;
END $$;

-- the number of rollups, and their problems
CREATE FUNCTION look(OUT live bigint, OUT rows_counted numeric, OUT problems text) LANGUAGE plpgsql AS $$
DECLARE
    r record;
    counted bigint;
    measure text;
BEGIN
    rows_counted := 0;
    SELECT count(*) FILTER (WHERE state = 'live'), string_agg(rollup || ' is ' || state || ': ' || reason, '; ') FILTER (WHERE state <> 'live')
        INTO live, problems FROM notify_stats.rollups;
    SELECT concat_ws('; ', problems, string_agg(d::text, '; ')) INTO problems FROM injection.all_differences() d;
    FOR r IN SELECT rollup FROM notify_stats.rollups LOOP
        SELECT quote_ident(attname) INTO measure FROM pg_attribute WHERE attrelid = r.rollup AND atttypid = 'bigint'::regtype ORDER BY attnum LIMIT 1;
        EXECUTE format('SELECT sum(%s) FROM %s', measure, r.rollup) INTO counted;
        rows_counted := rows_counted + counted;
    END LOOP;
END $$;

SELECT count(*) AS names, max(octet_length(name)) AS longest FROM names;
-- (the statements are not shown)
\set ECHO none
SELECT for_names(
    'CREATE ROLE {role}',
    'CREATE SCHEMA {n} AUTHORIZATION {role}',
    'CREATE SCHEMA {1} AUTHORIZATION {role}',
    'SET ROLE {role}',
    'CREATE TYPE {n}.{2} AS ENUM (''b'', {l})',
    'CREATE FUNCTION {n}.{n}(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS ''BEGIN RETURN $1 || 1; END''',
    'CREATE TABLE {n}.{n} (id integer PRIMARY KEY, {n} text, {2} {n}.{2})',
    'CREATE TABLE {n}.{3} (id integer, {n} text, {2} {n}.{2}) PARTITION BY RANGE (id)',
    'CREATE TABLE {n}.{4} PARTITION OF {n}.{3} DEFAULT',
    'INSERT INTO {n}.{n} VALUES (1, {l}, {l}), (2, ''a'', ''b''), (3, NULL, NULL)',
    'INSERT INTO {n}.{3} VALUES (1, {l}, {l}), (2, ''a'', ''b''), (3, NULL, NULL)',
    'RESET ROLE')
\gexec
\set ECHO all

\set ECHO none
-- the statement of the hint fixes an insufficient replica identity
CREATE TABLE followed (hints integer);
GRANT INSERT ON followed TO PUBLIC;
SELECT for_names(
    'SET ROLE {role}',
    'INSERT INTO injection.followed VALUES (injection.follow($follow$ SELECT notify_stats.create_rollup({rollup}, $definition$
         SELECT {n}.{n}({n}) AS {n}, {2}, count(*) AS {3}, coalesce(sum(id) FILTER (WHERE {n} <> {l}), 0) AS {4}
         FROM (SELECT id, {n}, {2} FROM {n}.{n} UNION ALL SELECT id, {n}, {2} FROM {n}.{3}) AS {n}
         GROUP BY 1, 2 $definition$, ARRAY[{source}]) $follow$))',
    'RESET ROLE')
\gexec
\set ECHO all
SELECT hints, count(*) FROM followed WHERE hints IS NOT NULL GROUP BY 1;
CALL notify_stats.catch_up();
SELECT * FROM look();

-- changes of all kinds
\set ECHO none
SELECT for_names(
    'INSERT INTO {n}.{n} VALUES (4, {l}, {l}), (5, ''c'', {l}), (6, {l}, NULL)',
    'UPDATE {n}.{n} SET {n} = {l}, {2} = {l} WHERE id = 2',
    'UPDATE {n}.{n} SET {n} = ''new '' || {l} WHERE id = 1',
    'INSERT INTO {n}.{3} VALUES (4, {l}, {l}), (5, ''c'', {l}), (6, {l}, NULL)',
    'UPDATE {n}.{3} SET {n} = NULL, {2} = NULL WHERE id = 2',
    'DELETE FROM {n}.{3} WHERE id IN (1, 5)')
\gexec
\set ECHO all
CALL notify_stats.catch_up();
SELECT * FROM look();

-- in a session with unusual settings; a rebuild that would lose deleted rows fails with a hint
\set ECHO none
SELECT set_config('search_path', string_agg(fill('{n}, {1}', name), ', ' ORDER BY number) || ', injection', false) <> '' AS settings FROM names;
SELECT current_setting('server_version_num')::int < 190000 AS other_strings
\gset
\if :other_strings
SET standard_conforming_strings = off;
SET escape_string_warning = off;
\endif
SET backslash_quote = on;
SET quote_all_identifiers = on;
SET transform_null_equals = on;
SELECT injection.for_names('DELETE FROM {n}.{3} WHERE id = 3')
\gexec
SELECT injection.fill(statement, name)
FROM injection.names, unnest(ARRAY['SELECT * FROM notify_stats.verify({rollup})',
    'INSERT INTO injection.followed VALUES (10 + injection.follow($follow$ SELECT notify_stats.rebuild({rollup}) $follow$))']) statement
WHERE number % 3 = 0
\gexec
\set ECHO all
SELECT hints - 10 AS hints, count(*) FROM injection.followed WHERE hints >= 10 GROUP BY 1;
SELECT pg_current_wal_insert_lsn() AS written \gset
CALL notify_stats.catch_up();
SELECT notify_stats.wait_for_lsn(:'written', '0');
SELECT * FROM injection.look();
RESET standard_conforming_strings;
RESET quote_all_identifiers;
RESET transform_null_equals;

-- failed rollups have a hint for their repair
\set ECHO none
SET search_path = injection;
\set VERBOSITY sqlstate
SELECT format('DROP INDEX %s', i.indexrelid::regclass) FROM pg_index i JOIN notify_stats.rollup r ON r.rollup = i.indrelid
    JOIN names ON i.indrelid = fill('{1}.{n}', name)::regclass WHERE number IN (3, 7, 11)
\gexec
SELECT for_names('INSERT INTO {n}.{n} VALUES (7, {l}, {l})')
\gexec
SELECT 'CALL notify_stats.catch_up()' FROM generate_series(1, 6)
\gexec
SELECT fill('CREATE UNIQUE INDEX ON {1}.{n} ({n}, {2}) NULLS NOT DISTINCT', name) FROM names WHERE number IN (3, 7, 11)
\gexec
SELECT detail FROM notify_stats.check() WHERE item = 'rollup' AND NOT ok ORDER BY 1;
SELECT substring(hint FROM '[Rr]un: (.*)') FROM notify_stats.check() WHERE item = 'rollup' AND NOT ok
\gexec
\set VERBOSITY default
\set ECHO all
CALL notify_stats.catch_up();
SELECT * FROM look();

-- statements of check(): replica identities
\set ECHO none
SELECT for_names('ALTER TABLE {n}.{n} REPLICA IDENTITY DEFAULT')
\gexec
\set ECHO all
SELECT count(*) FROM notify_stats.check() WHERE item = 'replica identity';
\set ECHO none
SELECT substring(hint FROM '[Rr]un: (.*)') FROM notify_stats.check() WHERE item = 'replica identity'
\gexec
\set ECHO all
SELECT count(*) FROM notify_stats.check() WHERE item = 'replica identity';

-- dropped by their owners; the view is dropped as well
\set ECHO none
SELECT for_names('SET ROLE {role}', 'INSERT INTO injection.followed SELECT FROM notify_stats.drop_rollup({rollup})', 'RESET ROLE')
\gexec
\set ECHO all
CALL notify_stats.catch_up();
SELECT count(*) FROM notify_stats.rollup;
SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace IN (SELECT fill('{1}', name)::regnamespace FROM names);

-- an unlogged table that has no replica identity either
TRUNCATE followed;
\set ECHO none
SELECT for_names(
    'CREATE UNLOGGED TABLE {1}.{1} ({n} text)',
    'INSERT INTO injection.followed VALUES (injection.follow($follow$ SELECT notify_stats.create_rollup({rollup}, $definition$
         SELECT {n} AS {4}, count(*) AS {3} FROM {1}.{1} AS {2} GROUP BY {2}.{n} $definition$) $follow$))',
    'INSERT INTO injection.followed SELECT FROM notify_stats.drop_rollup({rollup})')
\gexec
\set ECHO all
SELECT hints, count(*) FROM followed WHERE hints IS NOT NULL GROUP BY 1;

\set ECHO none
SET client_min_messages = error;
SELECT for_names('DROP OWNED BY {role} CASCADE', 'DROP ROLE {role}')
\gexec
SET client_min_messages = warning;
\set ECHO all
SELECT rolname FROM pg_roles WHERE rolname ~ '^regress_';
TABLE victim;


-- Names of 63 bytes, and longer ones, which the server truncates

CREATE TABLE limits (number integer GENERATED ALWAYS AS IDENTITY, piece text, times integer);
INSERT INTO limits (piece, times) VALUES ('x', 63), ('x', 64), ('x', 200), ('"', 63), ('"', 64), ('ü', 31), ('ü', 32), ('ü', 33), (U&'\+01F600', 15), (U&'\+01F600', 16), (U&'\+01F600', 17);
CREATE FUNCTION limits(statement text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT replace(replace(statement, '{name}', '"' || replace(repeat(piece, times), '"', '""') || '"'), '{rollup}', 'limit' || number) FROM limits ORDER BY number
$$;
\set ECHO none
SELECT limits('CREATE SCHEMA {rollup}')
\gexec
SELECT limits('CREATE TABLE {rollup}.{name} ({name} text)')
\gexec
SELECT limits('ALTER TABLE {rollup}.{name} REPLICA IDENTITY FULL')
\gexec
SELECT limits('INSERT INTO followed SELECT FROM notify_stats.create_rollup(''{rollup}'', $definition$ SELECT {name}, count(*) FROM {rollup}.{name} GROUP BY {name} $definition$)')
\gexec
SELECT limits('INSERT INTO {rollup}.{name} VALUES ($string${name}$string$), (NULL)')
\gexec
\set ECHO all
CALL notify_stats.catch_up();
SELECT * FROM look();
\set ECHO none
SELECT limits('UPDATE {rollup}.{name} SET {name} = 1')
\gexec
SELECT limits('SELECT * FROM notify_stats.verify(''{rollup}'')')
\gexec
\set ECHO all
CALL notify_stats.catch_up();
SELECT * FROM look();
-- two names that are the same after truncation
SELECT notify_stats.create_rollup('cut', format('SELECT kind AS %I, count(*) AS %I FROM victim GROUP BY kind', repeat('x', 63) || 'a', repeat('x', 63) || 'b'));
-- the name of the view is not truncated
SELECT notify_stats.create_rollup(repeat('x', 53), 'SELECT kind, count(*) FROM victim GROUP BY kind');
SELECT notify_stats.create_rollup(repeat('ü', 200), 'SELECT kind, count(*) FROM victim GROUP BY kind');
\set ECHO none
SET client_min_messages = error;
SELECT limits('DROP SCHEMA {rollup} CASCADE')
\gexec
SET client_min_messages = warning;
\set ECHO all
CALL notify_stats.catch_up();
SELECT count(*) FROM notify_stats.rollup;


-- Texts

-- Returns the result of a definition, and whether anything is left behind.
CREATE FUNCTION try(definition text, name text DEFAULT 'tried', ignore_deletes text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    relations bigint := (SELECT count(*) FROM pg_class);
    message text;
BEGIN
    BEGIN
        PERFORM notify_stats.create_rollup(name, definition, ignore_deletes);
        RETURN 'created';
    EXCEPTION WHEN OTHERS THEN
        message := SQLSTATE || ' ' || left(SQLERRM, 150);
    END;
    IF EXISTS (SELECT FROM notify_stats.rollup) OR (SELECT count(*) FROM pg_class) <> relations THEN
        message := message || ' (something is left behind)';
    END IF;
    RETURN message;
END $$;

SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1; DROP TABLE injection.victim');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1; COMMIT; DROP TABLE injection.victim; --');
SELECT try('; ; DROP TABLE injection.victim');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1) WITH NO DATA; DROP TABLE injection.victim; --');
SELECT try('SELECT kind, count(*) INTO taken FROM victim GROUP BY 1');
SELECT try('CREATE TABLE taken AS SELECT kind, count(*) FROM victim GROUP BY 1');
SELECT try('WITH v AS (DELETE FROM victim RETURNING *) SELECT kind, count(*) FROM v GROUP BY 1');
SELECT try('SELECT kind, count(*) FROM (WITH v AS (DELETE FROM victim RETURNING *) SELECT kind FROM v) v GROUP BY 1');
SELECT try('SELECT kind, count(*) FROM (DELETE FROM victim RETURNING *) v GROUP BY 1');
SELECT try('TRUNCATE victim');
SELECT try('INSERT INTO victim SELECT 2, ''b''');
SELECT try('EXPLAIN ANALYZE DELETE FROM victim');
SELECT try('EXPLAIN SELECT kind, count(*) FROM victim GROUP BY 1');
SELECT try('COPY victim TO PROGRAM ''false''');
SELECT try('DO $do$ BEGIN DROP TABLE injection.victim; END $do$');
SELECT try('DECLARE c CURSOR FOR SELECT kind, count(*) FROM victim GROUP BY 1');
SELECT try('PREPARE p AS SELECT kind, count(*) FROM victim GROUP BY 1');
SELECT try('CALL notify_stats.catch_up()');
SELECT try('SET ROLE pg_monitor');
SELECT try('COMMIT');
SELECT try('\! true');
SELECT try('\echo :x \gexec');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY :x');
SELECT try('SELECT kind, count(*) FROM victim WHERE id = $1 GROUP BY 1');
SELECT try('SELECT kind, count(*) FROM victim WHERE id = ? GROUP BY 1');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1 FOR UPDATE');
SELECT try('SELECT kind, count(*) FROM victim, pg_read_file(''PG_VERSION'') GROUP BY 1');
SELECT try('SELECT kind, count(*) FROM victim WHERE lo_unlink(1) = 1 GROUP BY 1');
SELECT try('SELECT pg_read_file(kind), count(*) FROM victim GROUP BY 1');
SELECT try('SELECT kind, count(*) FROM victim WHERE id = (SELECT max(id) FROM victim) GROUP BY 1');
SELECT try('');
SELECT try(' /* ; */ -- ');
SELECT try('/* not ended');
SELECT try('SELECT ''not ended');
SELECT try('SELECT "not ended');
SELECT try('SELECT $not$ ended');
SELECT try(E'\x01\x02\x7f\x1b[2J');
SELECT try(U&'\FEFF SELECT kind, count(*) FROM victim GROUP BY 1');
SELECT try(repeat('a', 1000000));
SELECT try(repeat('''', 1000001));
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', '') ;
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', 'tried; DROP TABLE injection.victim');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', '"tried"; DROP TABLE injection.victim; --');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', '"tried');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', '""');
SELECT try('SELECT kind AS ctid, count(*) FROM victim GROUP BY 1');
SELECT try('SELECT kind AS "", count(*) FROM victim GROUP BY 1');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', ignore_deletes => '{"victim; DROP TABLE injection.victim"}');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', ignore_deletes => '{"\"victim"}');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', ignore_deletes => '{""}');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', ignore_deletes => '{NULL}');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', ignore_deletes => '{a.b.c.d}');
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1', ignore_deletes => '{pg_class}');

-- too deep for the parser, or for later stages
SELECT try('SELECT kind, count(*) FROM victim WHERE ' || repeat('(', 100000) || 'true' || repeat(')', 100000) || ' GROUP BY 1');
SELECT DISTINCT CASE WHEN message ~ '^54001' THEN 'stack depth limit exceeded' ELSE message END
FROM unnest(ARRAY['SELECT kind, count(*) FROM victim WHERE ' || repeat('NOT ', 9000) || 'true GROUP BY 1',
                  'SELECT kind, count(*) FROM victim WHERE id' || repeat(' + 1', 100000) || ' > 0 GROUP BY 1',
                  'SELECT kind' || repeat(' || ''a''', 100000) || ', count(*) FROM victim GROUP BY 1',
                  'SELECT kind, count(*) FROM ' || repeat('(SELECT * FROM ', 2000) || 'victim' || repeat(') s', 2000) || ' GROUP BY 1',
                  'SELECT kind, count(*) FROM (SELECT kind FROM victim' || repeat(' UNION ALL SELECT kind FROM victim', 50000) || ') s GROUP BY 1']) d (definition),
     try(definition) t (message);
-- some depths are accepted, the others are refused
DO $$
DECLARE
    message text;
    outcomes text[] := '{}';
BEGIN
    FOR depth IN 1 .. 30 LOOP
        message := try('SELECT kind, count(*) FROM victim WHERE id' || repeat(' + 1', depth * 500) || ' > 0 GROUP BY 1');
        outcomes := outcomes || left(message, 7);
        IF message = 'created' THEN
            PERFORM notify_stats.drop_rollup('injection.tried');
        END IF;
    END LOOP;
    IF NOT (outcomes <@ '{created,54001 s}' AND outcomes @> '{created,54001 s}') THEN
        RAISE 'outcomes: %', outcomes;
    END IF;
END $$;

-- texts that are odd but valid; these rollups are checked below
SELECT try('SELECT kind, count(*) FROM victim GROUP BY 1;;; -- ;', 'odd1');
SELECT try('/* a /* nested */ comment; */ SELECT kind, count(*) -- from
    FROM victim GROUP BY 1 /* end */ ;', 'odd2');
SELECT try('(((SELECT kind, count(*) FROM victim GROUP BY 1)))', 'odd3');
SELECT try('/*' || repeat(U&'\00FC', 500000) || '*/ SELECT kind, count(*) FROM victim GROUP BY 1', 'odd4');
SELECT try('SELECT kind, count(*) FROM victim WHERE kind NOT IN (' || (SELECT string_agg(quote_literal(repeat('\''', 10) || i), ', ') FROM generate_series(1, 20000) i) || ') GROUP BY 1', 'odd5');
SELECT try('SELECT ' || quote_literal('''"; DROP TABLE injection.victim; --\') || ' AS part, kind || E''\n\'''' AS kind, count(*) FROM victim GROUP BY 1, 2', 'odd6');
SELECT try(U&'SELECT kind AS U&"d\0061t\+000061", count(*) AS U&"!0022" UESCAPE ''!'' FROM victim GROUP BY 1', 'odd7');
SELECT try('SELECT kind, count(*) FROM victim WHERE ' || repeat('(', 300) || 'id > 0' || repeat(')', 300) || ' GROUP BY 1', 'odd8');
SELECT try('SELECT kind, count(*) FROM victim WHERE id' || repeat(' + 1', 300) || ' > 0 GROUP BY 1', 'odd9');
CALL notify_stats.catch_up();
INSERT INTO victim VALUES (2, '''"\;--'), (3, NULL);
CALL notify_stats.catch_up();
SELECT rollup, state, reason, (SELECT count(*) FROM differences(rollup)) FROM notify_stats.rollups ORDER BY rollup::text;
SELECT count(*) FROM notify_stats.rollup, notify_stats.verify(rollup);

SELECT count(notify_stats.drop_rollup(rollup)) FROM notify_stats.rollup;
CALL notify_stats.catch_up();
SELECT count(*) FROM pg_replication_slots;


-- A database

SELECT current_database() AS usual, E'regress ''"; DROP TABLE victim; -- \\ \t %s ü' AS evil \gset
CREATE DATABASE :"evil";
\c :"evil"
CREATE SCHEMA injection;
SET search_path = injection;
\set ECHO none
\i :common
\set ECHO all
CREATE TABLE victim (id integer PRIMARY KEY, kind text);
ALTER TABLE victim REPLICA IDENTITY FULL;
INSERT INTO victim VALUES (1, 'a'), (2, 'b');
SELECT notify_stats.create_rollup('counted', 'SELECT kind, count(*) FROM victim GROUP BY kind');
CALL notify_stats.catch_up();
UPDATE victim SET kind = 'c' WHERE id = 1;
CALL notify_stats.catch_up();
TABLE counted ORDER BY kind;
SELECT * FROM notify_stats.verify('counted');
SELECT detail, hint FROM notify_stats.check() WHERE item = 'worker';
SELECT notify_stats.drop_rollup('counted');
CALL notify_stats.catch_up();
\c :"usual"
DROP DATABASE :"evil";

SET client_min_messages = warning;
DROP SCHEMA injection CASCADE;
SELECT count(*) FROM pg_replication_slots;
