-- Supported definitions, and the errors for those that are not supported.
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS notify_stats;
CREATE SCHEMA definition;
SET search_path = definition;

CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE letters (
    id integer PRIMARY KEY,
    gone integer,
    kind varchar(20) NOT NULL,
    posted_at timestamptz NOT NULL,
    due timestamp,
    pages integer,
    sheets smallint NOT NULL,
    weight bigint,
    cost numeric(10, 2) CHECK (cost > '-Infinity' AND cost < 'Infinity'),
    share double precision CHECK (share > '-Infinity' AND share < 'Infinity'),
    price money,
    delay interval,
    feeling mood,
    words tsvector,
    writer xid
);
ALTER TABLE letters DROP COLUMN gone;
ALTER TABLE letters REPLICA IDENTITY FULL;
CREATE TABLE archive (kind text NOT NULL, sheets integer NOT NULL, weight integer, id bigint);
ALTER TABLE archive REPLICA IDENTITY FULL;
CREATE VIEW letter_view AS SELECT * FROM letters;
CREATE MATERIALIZED VIEW letter_matview AS SELECT * FROM letters;
CREATE SEQUENCE letter_sequence;
CREATE UNLOGGED TABLE scribbles (kind text);
CREATE TEMPORARY TABLE notes (kind text);
CREATE TABLE parent (kind text);
CREATE TABLE child () INHERITS (parent);
ALTER TABLE parent REPLICA IDENTITY FULL;
CREATE FOREIGN DATA WRAPPER definition_wrapper;
CREATE SERVER definition_server FOREIGN DATA WRAPPER definition_wrapper;
CREATE FOREIGN TABLE abroad (kind text) SERVER definition_server;
CREATE FUNCTION late(i integer, t timestamptz DEFAULT now()) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
CREATE AGGREGATE sum(integer) (SFUNC = int4pl, STYPE = integer);

\getenv srcdir PG_ABS_SRCDIR
\set as_table :srcdir '/sql/include/as_table.sql'
\i :as_table

-- What create_rollup() makes of a query: a table, a view, or an error. For a view, also the reason
-- why a table cannot hold the result.
CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $f$
DECLARE
    rollup regclass;
    message text;
    detail text;
    hint text;
BEGIN
    rollup := notify_stats.create_rollup('refused', query);
    SELECT CASE relkind WHEN 'r' THEN 'a table' ELSE 'a view' END INTO message FROM pg_class WHERE oid = rollup;
    RAISE EXCEPTION SQLSTATE 'NS000' USING MESSAGE = message;
EXCEPTION
    WHEN SQLSTATE 'NS000' THEN
        RETURN array_to_string(SQLERRM || as_table(query), E'\n    ');
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RETURN concat_ws(E'\n    ', message, nullif(detail, ''), nullif(hint, ''));
END $f$;
\pset format unaligned
\pset tuples_only on

-- the shape of the query
SELECT answer($$
    INSERT INTO archive VALUES ('a', 1) $$);
SELECT answer($$
    SELECT kind, count(*) INTO refused_into FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT count(*) FROM letters $$);
SELECT answer($$
    SELECT kind FROM letters GROUP BY kind $$);
SELECT answer($$
    SELECT kind, count(pages) AS p, count(*) FILTER (WHERE pages > 1) AS q FROM letters GROUP BY kind $$);
SELECT answer($$
    SELECT count(*) FROM letters GROUP BY kind $$);
SELECT answer($$
    SELECT kind, kind AS again, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT id, kind, count(*) FROM letters GROUP BY id $$);
SELECT answer($$
    SELECT kind, 1 AS one, count(*) FROM letters GROUP BY kind $$);
SELECT answer($$
    WITH l AS (SELECT * FROM letters) SELECT kind, count(*) FROM l GROUP BY 1 $$);
SELECT answer($$
    SELECT DISTINCT kind, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT DISTINCT ON (kind) kind, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, pages, count(*) FROM letters GROUP BY GROUPING SETS (kind, pages) $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters GROUP BY ROLLUP (kind) $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters GROUP BY CUBE (kind) $$);
SELECT answer($$
    SELECT count(*) FROM letters GROUP BY () $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters GROUP BY 1 HAVING count(*) > 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters GROUP BY 1 ORDER BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters GROUP BY 1 LIMIT 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters GROUP BY 1 OFFSET 1 $$);
SELECT answer($$
    SELECT kind, count(*), rank() OVER (ORDER BY kind) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT generate_series(1, sheets), count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters GROUP BY 1
    UNION ALL SELECT kind, count(*) FROM archive GROUP BY 1 $$);

-- FROM
SELECT answer($$
    SELECT 1 AS one, count(*) GROUP BY 1 $$);
SELECT answer($$
    SELECT l.kind, count(*) FROM letters l JOIN archive a ON a.kind = l.kind GROUP BY 1 $$);
SELECT answer($$
    SELECT l.kind, count(*) FROM letters l LEFT JOIN archive a USING (kind) GROUP BY 1 $$);
SELECT answer($$
    SELECT l.kind, count(*) FROM letters l, archive a WHERE a.kind = l.kind GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT l.kind FROM letters l CROSS JOIN archive) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (
        SELECT kind FROM archive
        UNION ALL SELECT l.kind FROM letters l NATURAL JOIN archive) s GROUP BY 1 $$);
SELECT answer($$
    SELECT l.kind, count(*) FROM letters l, LATERAL (SELECT l.pages) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM LATERAL (SELECT kind FROM letters) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (VALUES ('a'), ('b')) v (kind) GROUP BY 1 $$);
SELECT answer($$
    SELECT i, count(*) FROM generate_series(1, 9) i GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters TABLESAMPLE SYSTEM (10) GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT kind FROM letters UNION SELECT kind FROM archive) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT kind FROM letters INTERSECT SELECT kind FROM archive) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT kind FROM letters EXCEPT ALL SELECT kind FROM archive) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT kind FROM letters GROUP BY 1) s GROUP BY 1 $$);
SELECT answer($$
    SELECT n, count(*) FROM (SELECT count(*) AS n FROM letters) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT DISTINCT kind FROM letters) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT kind FROM letters ORDER BY 1) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (
        SELECT kind FROM archive
        UNION ALL (SELECT kind FROM letters LIMIT 5)) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (SELECT kind FROM letters FOR UPDATE) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM (WITH a AS (SELECT kind FROM letters) SELECT kind FROM a) s GROUP BY 1 $$);
SELECT answer($$
    SELECT r, count(*) FROM (SELECT rank() OVER () AS r FROM letters) s GROUP BY 1 $$);
SELECT answer($$
    SELECT r, count(*) FROM (SELECT generate_series(1, 2) AS r FROM letters) s GROUP BY 1 $$);

-- sources
SELECT answer($$
    SELECT kind, count(*) FROM letter_view GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letter_matview GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM abroad GROUP BY 1 $$);
SELECT answer($$
    SELECT last_value, count(*) FROM letter_sequence GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM scribbles GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM notes GROUP BY 1 $$);
SELECT answer($$
    SELECT relkind, count(*) FROM pg_class GROUP BY 1 $$);
SELECT answer($$
    SELECT feature_id, count(*) FROM information_schema.sql_features GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM parent GROUP BY 1 $$);

-- group columns
SELECT answer($$
    SELECT words, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT writer, count(*) FROM letters GROUP BY 1 $$);
SELECT format('SELECT answer(''SELECT %s, count(*) FROM letters GROUP BY %s'')',
              string_agg('pages + ' || i || ' AS p' || i, ', ' ORDER BY i),
              string_agg(i::text, ', ' ORDER BY i)) AS many
FROM generate_series(1, 33) i \gset
:many;

SELECT answer($$ SELECT (kind, pages) AS pair, count(*) FROM letters GROUP BY 1 $$);

-- aggregates
SELECT answer($$
    SELECT kind, count(*), min(pages) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), max(posted_at) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), avg(pages) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), bool_or(pages > 1) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), string_agg(kind, ',' ORDER BY id) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), mode() WITHIN GROUP (ORDER BY pages) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), sum(share) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), sum(price) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), sum(delay) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), definition.sum(pages) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), count(DISTINCT pages) AS d FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), sum(DISTINCT cost) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), count(pages ORDER BY pages) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), count(*) + 1 AS more FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), sum(weight)::bigint AS weight FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), coalesce(sum(weight), 1) AS weight FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), sum(weight) AS weight FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), count(weight) AS weights, sum(weight) FILTER (WHERE pages > 1) AS weight
    FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), sum(weight) AS weight
    FROM (SELECT kind, sheets::bigint AS weight FROM letters
          UNION ALL SELECT kind, weight FROM archive) s GROUP BY 1 $$);

-- expressions
SELECT answer($$
    SELECT kind, count(*) FROM letters WHERE posted_at > now() GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters WHERE due < CURRENT_DATE GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters WHERE random() < 0.5 GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), count(nextval('letter_sequence')) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT date_trunc('day', posted_at) AS day, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT posted_at::date AS day, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters WHERE posted_at > due GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), count(*) FILTER (WHERE posted_at + '1 day' > '2026-01-01') AS n
    FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT feeling::text AS feeling, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT due::text AS due, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT day, count(*) FROM (SELECT to_char(due, 'YYYY') AS day FROM letters) s GROUP BY 1 $$);
SELECT answer($$
    SELECT day, count(*) FROM (
        SELECT due AS day FROM letters UNION ALL SELECT posted_at FROM letters) s GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters WHERE late(pages) GROUP BY 1 $$);
SELECT answer($$
    SELECT pages::positive AS pages, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters WHERE kind IN (SELECT kind FROM archive) GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FILTER (WHERE EXISTS (SELECT FROM archive)) AS n, count(*)
    FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT (SELECT max(a.kind) FROM archive a WHERE a.id = l.id) AS kind, count(*)
    FROM letters l GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*), count(letters) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT ctid AS place, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT tableoid::text AS source, count(*) FROM letters GROUP BY 1 $$);
SELECT answer($$
    SELECT kind, count(*) FROM letters WHERE xmlconcat(NULL, NULL) IS NULL GROUP BY 1 $$);

\pset tuples_only off
\pset format aligned
-- the hints for tables are correct: if one ends in an expression, that expression is tried in turn
CREATE FUNCTION pg_temp.follow_hints(expression text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    hint text;
    answer text[];
    attempt text := expression;
BEGIN
    FOR i IN 1 .. 3 LOOP
        answer := definition.as_table(format('SELECT %s AS hinted, count(*) FROM letters GROUP BY 1', attempt));
        message := coalesce(answer[1], 'supported: ' || attempt);
        hint := coalesce(answer[3], '');
        RETURN NEXT message;
        EXIT WHEN message LIKE 'supported:%';
        RETURN NEXT '    ' || hint;
        attempt := substring(hint FROM '^(?:Specify the time zone|Use a timestamp without time zone): (.*)\.$');
        EXIT WHEN attempt IS NULL;
    END LOOP;
END
$$;
SELECT pg_temp.follow_hints(expression) AS answer
FROM unnest(ARRAY[
    'posted_at::date', 'posted_at::timestamp', 'posted_at::time', 'posted_at::timetz', 'posted_at::text',
    $$date_trunc('day', posted_at)$$,
    $$date_trunc('day', due AT TIME ZONE 'UTC')$$, $$date_trunc('month', due::date)$$,
    $$date_trunc('month', due::date::timestamp)$$, 'extract(hour FROM posted_at)', $$date_part('hour', posted_at)$$,
    $$posted_at + interval '1 day'$$, $$interval '1 day' + posted_at$$, 'posted_at - delay', 'posted_at > due',
    'due <= posted_at', 'posted_at = due::date', 'due::timestamptz', 'due::date::timestamptz',
    $$(posted_at, interval '1 day') OVERLAPS (posted_at, interval '1 h')$$,
    $$posted_at > now() - interval '1 day'$$, 'posted_at > clock_timestamp()', $$posted_at > statement_timestamp()$$,
    'age(posted_at)', 'age(due)', $$to_char(posted_at, 'YYYY')$$, $$to_char(due, 'YYYY')$$,
    $$to_char(pages, '999')$$, 'kind::date', 'kind::timestamp', 'kind::timestamptz', $$to_date(kind, 'YYYY')$$,
    'make_date(left(kind, 4)::integer, substr(kind, 6, 2)::integer, substr(kind, 9, 2)::integer)',
    'make_timestamptz(2026, pages, 1, 0, 0, 0)', $$make_timestamp(2026, pages, 1, 0, 0, 0) AT TIME ZONE 'Europe/London'$$,
    'concat(kind, pages)', 'kind || pages', 'kind || pages::text', 'price', 'price::numeric', 'price::text',
    '(kind, pages)', '(kind, pages)::text', 'feeling::text', 'delay::text', 'delay', 'words', 'words::text',
    'to_tsvector(kind)', $$to_tsvector('english', kind)::text$$, 'to_jsonb(pages)', 'random()', 'point(1, pages)',
    'point(1, pages)::text', 'ARRAY[point(1, pages)]', 'CURRENT_TIME']) AS expression;

-- the same with aggregates, which replace %s
SELECT aggregate, pg_temp.follow_hints('kind, ' || aggregate) AS answer
FROM unnest('{sum(price),sum(delay),sum(share),avg(delay)}'::text[]) AS aggregate;

-- functions that only some servers have, or have as immutable: list unexpected results
CREATE TEMPORARY TABLE expected (since integer, before integer, expression text, answer text);
INSERT INTO expected VALUES
    (15, 16, $$date_trunc('day', posted_at, 'Asia/Tokyo')$$, $$supported: date_trunc('day'::text, (posted_at AT TIME ZONE 'Asia/Tokyo'::text))$$),
    (16, 99, 'kind IS JSON', 'supported: kind IS JSON'),
    (16, 99, 'kind IS NOT JSON ARRAY WITH UNIQUE KEYS', 'supported: kind IS NOT JSON ARRAY WITH UNIQUE KEYS'),
    (16, 99, $$JSON_OBJECT('a': pages RETURNING jsonb)$$, 'JSON_OBJECT(%'),
    (17, 99, $$JSON_VALUE(kind, '$.a')$$, $$supported: JSON_VALUE(kind, '$.a')$$),
    (17, 99, $$JSON_VALUE(kind, '$.a' RETURNING integer DEFAULT 0 ON EMPTY ERROR ON ERROR)$$, 'supported: JSON_VALUE(%'),
    (17, 99, $$JSON_EXISTS(kind, '$.a ? (@ > $x)' PASSING pages AS x)$$, 'supported: JSON_EXISTS(%'),
    (17, 99, $$JSON_QUERY(kind, '$.a' RETURNING jsonb)$$, 'supported: JSON_QUERY(%'),
    (17, 99, $$JSON_VALUE(kind, '$.a' RETURNING timestamptz)$$, 'JSON_VALUE(%'),
    (17, 99, $$JSON_VALUE(kind, '$.a' DEFAULT now()::text ON EMPTY)$$, 'JSON_VALUE(%');
SELECT e.expression, e.answer, f.answer
FROM expected e, LATERAL (SELECT string_agg(answer, '; ') FROM pg_temp.follow_hints(e.expression) answer) f (answer)
WHERE current_setting('server_version_num')::integer / 10000 BETWEEN e.since AND e.before - 1 AND
      f.answer NOT LIKE '%' || e.answer || '%';
DROP TABLE expected;

-- replica identity
CREATE TABLE "Post Box" (id integer PRIMARY KEY, "Street" text NOT NULL, "to" text);
SELECT notify_stats.create_rollup('refused_default_identity', $$
    SELECT "Street", count(*) FROM "Post Box" WHERE "to" <> 'me' GROUP BY 1 $$);
CREATE UNIQUE INDEX post_box_street ON "Post Box" ("Street", id);
ALTER TABLE "Post Box" REPLICA IDENTITY USING INDEX post_box_street;
SELECT notify_stats.create_rollup('refused_index_identity', $$
    SELECT "Street", count(*) FROM "Post Box" WHERE "to" <> 'me' GROUP BY 1 $$);
ALTER TABLE "Post Box" REPLICA IDENTITY NOTHING;
SELECT notify_stats.create_rollup('refused_no_identity', $$
    SELECT 'all' AS part, count(*) FROM "Post Box" GROUP BY 1 $$);
ALTER TABLE "Post Box" REPLICA IDENTITY USING INDEX post_box_street;
-- an index that covers the columns, the primary key and the current identity is preferred to FULL, the
-- one with the fewest columns; others cannot be the identity
CREATE TABLE indexed (id integer PRIMARY KEY, a integer NOT NULL, b integer NOT NULL, c integer);
CREATE UNIQUE INDEX without_key ON indexed (a);
CREATE UNIQUE INDEX of_null ON indexed (id, a, c);
CREATE UNIQUE INDEX partial ON indexed (id, a) WHERE a > 0;
CREATE UNIQUE INDEX of_expression ON indexed (id, (a + 0), a);
CREATE INDEX not_unique ON indexed (id, a);
CREATE UNIQUE INDEX included ON indexed (id) INCLUDE (a);
ALTER TABLE indexed ADD CONSTRAINT at_commit UNIQUE (id, a) DEFERRABLE;
SELECT notify_stats.create_rollup('refused_indexed', 'SELECT a, count(*) FROM indexed GROUP BY 1');
CREATE UNIQUE INDEX "wide One" ON indexed (id, a, b);
SELECT notify_stats.create_rollup('refused_indexed', 'SELECT a, count(*) FROM indexed GROUP BY 1');
CREATE UNIQUE INDEX narrow ON indexed (a, id);
SELECT notify_stats.create_rollup('refused_indexed', 'SELECT a, count(*) FROM indexed GROUP BY 1');
ALTER TABLE indexed REPLICA IDENTITY USING INDEX narrow;
SELECT notify_stats.create_rollup('refused_indexed', 'SELECT b, count(*) FROM indexed GROUP BY 1');
ALTER TABLE indexed REPLICA IDENTITY NOTHING;
SELECT notify_stats.create_rollup('refused_indexed', 'SELECT id % 2 AS odd, count(*) FROM indexed GROUP BY 1');
DROP TABLE indexed;

-- partitions with another column order
CREATE TABLE parcels (kind text NOT NULL, pieces integer NOT NULL) PARTITION BY LIST (kind);
CREATE TABLE parcels_small (gone integer, pieces integer NOT NULL, kind text NOT NULL);
ALTER TABLE parcels_small DROP COLUMN gone;
CREATE UNIQUE INDEX parcels_small_index ON parcels_small (kind, pieces);
ALTER TABLE parcels ATTACH PARTITION parcels_small FOR VALUES IN ('small');
CREATE TABLE parcels_other PARTITION OF parcels DEFAULT PARTITION BY LIST (kind);
CREATE TABLE parcels_large PARTITION OF parcels_other FOR VALUES IN ('large');
SELECT notify_stats.create_rollup('refused_partition', $$
    SELECT kind, count(*) FROM parcels GROUP BY 1 $$);
BEGIN;
DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT relid FROM pg_partition_tree('definition.parcels') WHERE isleaf LOOP EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', p); END LOOP; END $$;
SELECT notify_stats.create_rollup('supported_by_hint', $$
    SELECT kind, count(*) FROM parcels GROUP BY 1 $$);
ROLLBACK;
ALTER TABLE parcels_small REPLICA IDENTITY USING INDEX parcels_small_index;
SELECT notify_stats.create_rollup('refused_nested_partition', $$
    SELECT kind, count(*) FROM parcels GROUP BY 1 $$);
ALTER TABLE parcels_large REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('refused_only', $$
    SELECT kind, count(*) FROM ONLY parcels GROUP BY 1 $$);
CREATE FOREIGN TABLE parcels_abroad PARTITION OF parcels_other FOR VALUES IN ('abroad')
    SERVER definition_server;
SELECT notify_stats.create_rollup('refused_foreign_partition', $$
    SELECT kind, count(*) FROM parcels GROUP BY 1 $$);
DROP FOREIGN TABLE parcels_abroad;
CREATE UNLOGGED TABLE parcels_noted PARTITION OF parcels_other FOR VALUES IN ('noted');
SELECT notify_stats.create_rollup('refused_unlogged_partition', $$
    SELECT kind, count(*) FROM parcels GROUP BY 1 $$);
DROP TABLE parcels_noted;

-- row-level security
CREATE ROLE regress_definition_reader;
GRANT USAGE, CREATE ON SCHEMA definition TO regress_definition_reader;
GRANT USAGE ON SCHEMA notify_stats TO regress_definition_reader;
GRANT EXECUTE ON FUNCTION notify_stats.create_rollup(text, text, text[], text[], boolean, text, boolean) TO regress_definition_reader;
GRANT SELECT ON archive TO regress_definition_reader;
ALTER TABLE archive ENABLE ROW LEVEL SECURITY;
SET ROLE regress_definition_reader;
SELECT notify_stats.create_rollup('refused_row_security', $$
    SELECT kind, count(*) FROM archive GROUP BY 1 $$);
RESET ROLE;
ALTER TABLE archive DISABLE ROW LEVEL SECURITY;

-- nothing is left behind
SELECT count(*) FROM pg_class WHERE relname LIKE 'refused%';

-- supported definitions; not committed, so that nothing is built
BEGIN;
SELECT notify_stats.create_rollup('supported_sums', $$
    SELECT kind, count(*) AS letters, coalesce(count(weight), 0) AS weights, sum(weight) AS weight,
           sum(sheets) AS sheets, sum(coalesce(pages, 0)) AS pages, coalesce(sum(cost), 0) AS cost,
           sum(weight) FILTER (WHERE pages > 1) AS heavy,
           count(weight) FILTER (WHERE pages > 1) AS heavies
    FROM letters GROUP BY kind $$);
SELECT notify_stats.create_rollup('supported_union', $$
    SELECT origin, kind || '!' AS kind, count(*), coalesce(sum(weight), 0) AS weight
    FROM (SELECT kind, weight, 'new' AS origin, sheets FROM letters WHERE pages > 1
          UNION ALL SELECT kind, weight, 'old', sheets FROM archive
          UNION ALL (SELECT kind, NULL, NULL, 1 FROM (SELECT kind, pages * 2 AS p FROM letters) s WHERE p > 9)) u
    WHERE sheets > 0
    GROUP BY 1, 2 $$);
SELECT notify_stats.create_rollup('supported_expressions', $$
    SELECT (posted_at AT TIME ZONE 'Europe/London')::date AS day, feeling, pages * 2 AS total,
           CASE WHEN pages > 1 THEN 'long' ELSE 'short' END AS length, count(*)
    FROM letters WHERE kind = ANY ('{a,b}') AND greatest(pages, sheets) > 1 GROUP BY 1, 2, 3, 4 $$);
SELECT notify_stats.create_rollup('supported_constant', $$
    SELECT 'all' AS part, count(*) FROM "Post Box" GROUP BY 1 $$);
SELECT notify_stats.create_rollup('supported_index_identity', $$
    SELECT "Street", count(*) AS "Boxes" FROM "Post Box" GROUP BY "Street" $$);
SELECT notify_stats.create_rollup('supported_partitions', $$
    SELECT kind, count(*), sum(pieces) AS pieces FROM parcels GROUP BY 1 $$);
SELECT notify_stats.create_rollup('supported_only', $$
    SELECT kind, count(*) FROM ONLY parent GROUP BY 1 $$);
-- the alternatives that the hints above suggest
SELECT notify_stats.create_rollup('supported_hints', $$
    SELECT kind, kind AS again, 1 AS one, words::text AS words, writer::text AS writer,
           count(*), coalesce(sum(share::numeric), 0) AS share, coalesce(sum(extract(epoch FROM delay)), 0) AS delay, count(*) FILTER (WHERE pages > 1) AS any_long,
           count(*) FILTER (WHERE NOT pages > 1) AS not_all_long
    FROM letters GROUP BY 1, 2, 3, 4, 5 $$);
SELECT notify_stats.create_rollup('supported_in_union', $$
    SELECT day, count(*) FROM (
        SELECT due AT TIME ZONE 'Europe/London' AS day FROM letters UNION ALL SELECT posted_at FROM letters) s GROUP BY 1 $$);
SELECT notify_stats.create_rollup('supported_children', $$
    SELECT kind, count(*) FROM (SELECT kind FROM ONLY parent UNION ALL SELECT kind FROM archive) s GROUP BY 1 $$);
SELECT attrelid::regclass AS rollup, attname AS column, format_type(atttypid, atttypmod) AS type
FROM pg_attribute
WHERE attrelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'supported%' AND relkind = 'r') AND attnum > 0
ORDER BY attrelid::regclass::text, attnum;
ROLLBACK;

DROP TABLE pg_temp.notes;
DROP SERVER definition_server CASCADE;
DROP FOREIGN DATA WRAPPER definition_wrapper;
DROP SCHEMA definition CASCADE;
REVOKE ALL ON FUNCTION notify_stats.create_rollup(text, text, text[], text[], boolean, text, boolean) FROM regress_definition_reader;
REVOKE ALL ON SCHEMA notify_stats FROM regress_definition_reader;
DROP ROLE regress_definition_reader;
