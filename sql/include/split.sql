-- A table of queries, of which rollups are made and compared with the queries while facts and
-- dimensions change.

CREATE TABLE query (number integer GENERATED ALWAYS AS IDENTITY, name text PRIMARY KEY, query text NOT NULL, facts text[] NOT NULL DEFAULT '{}', looks boolean NOT NULL DEFAULT true);

CREATE TYPE mood AS ENUM ('sad', 'glad');
-- dimensions: joined by a key; by a column with duplicates; by two columns
CREATE TABLE d (id integer PRIMARY KEY, name text, rate numeric, w integer, grp integer, active boolean NOT NULL DEFAULT true, day date);
CREATE TABLE d2 (k integer, label text);
CREATE TABLE d3 (k integer, t text, label varchar(8), PRIMARY KEY (k, t));
CREATE TABLE numbers (t text PRIMARY KEY);
INSERT INTO numbers VALUES ('1'), ('22');
-- the facts
CREATE TABLE f (id integer PRIMARY KEY, d_id integer, k integer, u integer, n integer NOT NULL, big bigint, sm smallint,
    amt numeric, p numeric(10, 2), t text, v varchar(10), bp character(3), b boolean, ts timestamp, tz timestamptz,
    dt date, iv interval, fl double precision, m mood, j jsonb, a integer[]);
ALTER TABLE f REPLICA IDENTITY FULL;
-- more of them, with few columns
CREATE TABLE f2 (id integer PRIMARY KEY, d_id integer, u integer NOT NULL, t text);
ALTER TABLE f2 REPLICA IDENTITY FULL;

CREATE PROCEDURE fill_dimensions() LANGUAGE sql AS $$
    INSERT INTO d SELECT i, 'n' || i % 3, CASE WHEN i % 4 > 0 THEN i * 0.25 END, nullif(i % 5, 0), i % 2, i % 3 <> 0, date '2026-01-01' + i
        FROM generate_series(1, 6) i;
    INSERT INTO d2 VALUES (1, 'a'), (1, 'b'), (2, 'c'), (NULL, 'x');
    INSERT INTO d3 VALUES (1, 'a', 'one a'), (1, 'b', 'one b'), (2, 'a', 'two a');
$$;
CREATE PROCEDURE fill_facts(first integer, last integer) LANGUAGE sql AS $$
    INSERT INTO f SELECT i, nullif(i % 8, 0), nullif(i % 4, 3), nullif(i % 7, 0), i % 5, nullif(i % 6, 1) * 3000000000, i % 3,
            CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 1.0 WHEN 2 THEN 1.00 WHEN 3 THEN 2.25 ELSE 1 / 3.0 END, i % 9 * 1.5,
            (ARRAY['a', 'b', '1', '22', NULL])[1 + i % 5], 'v' || i % 3, CASE i % 3 WHEN 0 THEN 'x' WHEN 1 THEN 'yy' END,
            CASE WHEN i % 3 > 0 THEN i % 2 = 0 END,
            timestamp '2026-01-01' + i * interval '7 hours 20 minutes', timestamptz '2026-01-01 00:00+00' + i * interval '7 hours 20 minutes',
            date '2026-01-01' + i % 40, i * interval '1 minute' + i % 3 * interval '1 day 1 month', i * 0.5,
            CASE i % 3 WHEN 0 THEN 'sad' WHEN 1 THEN 'glad' END::mood, jsonb_build_object('a', i % 3), ARRAY[i % 2, i % 3]
        FROM generate_series(first, last) i;
    INSERT INTO f2 SELECT i, nullif(i % 8, 0), i % 7, (ARRAY['a', 'b', '1', '22', NULL])[1 + i % 5] FROM generate_series(first, last) i;
$$;
CALL fill_dimensions();
CALL fill_facts(1, 200);

-- One round of changes: of facts; of dimensions; of both; all facts are gone; ...
CREATE PROCEDURE change(round integer) LANGUAGE plpgsql AS $$
BEGIN
    CASE round
    WHEN 1 THEN
        CALL fill_facts(201, 230);
        INSERT INTO f (id, n) VALUES (1001, 0);
        INSERT INTO f (id, d_id, k, n, u, amt) VALUES (1002, 999, 999, 1, 100000, 1234567890.12345678901234567890);
        UPDATE f SET d_id = nullif((d_id + 3) % 8, 0), u = u + 1 WHERE id % 3 = 0;
        UPDATE f SET amt = 1 WHERE amt > 0.3 AND amt < 0.4;
        UPDATE f SET amt = NULL, p = NULL, iv = -iv WHERE id % 11 = 0;
        UPDATE f SET t = CASE WHEN t = '1' THEN NULL ELSE '1' END, m = 'glad', bp = 'x  ' WHERE id % 13 = 0;
        DELETE FROM f WHERE id % 7 = 0;
        UPDATE f2 SET d_id = 3, u = 0 WHERE id % 4 = 0;
    WHEN 2 THEN
        UPDATE d SET name = 'n2', rate = rate * 2, active = NOT active WHERE id IN (1, 4);
        UPDATE d SET rate = 7.50, w = NULL WHERE id = 2;
        UPDATE d SET id = 7 WHERE id = 5;
        DELETE FROM d WHERE id = 3;
        INSERT INTO d VALUES (999, NULL, 1.000, 5, NULL, true);
        INSERT INTO d2 VALUES (2, 'c'), (999, NULL), (0, 'z');
        UPDATE d2 SET k = 2 WHERE label = 'a';
        UPDATE d3 SET label = 'other', t = 'b' WHERE k = 2;
    WHEN 3 THEN
        DELETE FROM f WHERE k = 1;
        DELETE FROM d WHERE id = 999;
        INSERT INTO d VALUES (5, 'new', 1, 1, 1, false);
        UPDATE f SET b = NOT b, k = CASE WHEN k = 2 THEN 1 ELSE k END;
    WHEN 4 THEN
        TRUNCATE f;
    WHEN 5 THEN
        CALL fill_facts(300, 340);
        TRUNCATE d, d2, d3;
    WHEN 6 THEN
        CALL fill_dimensions();
        DELETE FROM f WHERE id < 320;
        TRUNCATE f2;
    END CASE;
END $$;

-- Makes a rollup of each query, and returns what it is.
CREATE FUNCTION keep_all() RETURNS TABLE (name text, kept text) LANGUAGE plpgsql AS $$
DECLARE q query;
BEGIN
    FOR q IN SELECT * FROM query ORDER BY number LOOP
        name := q.name;
        BEGIN
            PERFORM notify_stats.create_rollup(q.name, q.query, '{}', q.facts);
            SELECT CASE WHEN cardinality(r.cores) = 0 THEN 'table'
                        ELSE concat_ws(', ', 'view', CASE WHEN c.cores > 1 THEN c.cores || ' cores' END,
                                       CASE WHEN c.view ~ '\m(sum|max|min|GROUP BY)\M' THEN 'grouped again' END) END
                INTO kept
                FROM notify_stats.rollups r, LATERAL (SELECT cardinality(r.cores) AS cores, pg_get_viewdef(r.rollup) AS view) c
                WHERE r.rollup = to_regclass(q.name);
        EXCEPTION WHEN OTHERS THEN
            kept := SQLERRM;
            DELETE FROM query WHERE number = q.number;
        END;
        RETURN NEXT;
    END LOOP;
END $$;

-- The rows that differ.  If "looks" is set they are compared as text, because values that are equal
-- can look different.
CREATE FUNCTION wrong() RETURNS TABLE (name text, problem text, content text) LANGUAGE plpgsql AS $$
DECLARE q query;
BEGIN
    FOR q IN SELECT * FROM query ORDER BY number LOOP
    BEGIN
        RETURN QUERY EXECUTE format(
            'WITH kept AS (SELECT %1$s FROM %2$I the_row),
                  wanted AS (SELECT %1$s FROM (%3$s) the_row)
             SELECT $1, ''too much'', x::text FROM (TABLE kept EXCEPT ALL TABLE wanted) x
             UNION ALL
             SELECT $1, ''missing'', x::text FROM (TABLE wanted EXCEPT ALL TABLE kept) x
             ORDER BY 3 LIMIT 4',
            CASE WHEN q.looks THEN 'the_row::text' ELSE '*' END, q.name, q.query) USING q.name;
    EXCEPTION WHEN data_exception THEN
        RETURN QUERY SELECT q.name, 'fails', SQLERRM;
    END;
    END LOOP;
END $$;

-- The columns that differ from those of a view of the query.
CREATE FUNCTION wrong_columns() RETURNS TABLE (name text, kept text, wanted text) LANGUAGE plpgsql AS $$
DECLARE q query;
BEGIN
    FOR q IN SELECT * FROM query ORDER BY number LOOP
        EXECUTE format('CREATE TEMPORARY VIEW view_of_query AS %s', q.query);
        RETURN QUERY
            WITH columns AS (
                SELECT a.attrelid, a.attnum,
                       concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), nullif(a.attcollation, 0)::regcollation) AS description
                FROM pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped)
            SELECT q.name, k.description, w.description
            FROM (SELECT * FROM columns WHERE attrelid = q.name::regclass) k
                 FULL JOIN (SELECT * FROM columns WHERE attrelid = 'view_of_query'::regclass) w USING (attnum)
            WHERE k.description IS DISTINCT FROM w.description;
        DROP VIEW view_of_query;
    END LOOP;
END $$;

CREATE FUNCTION unverified() RETURNS TABLE (name text, group_key jsonb, in_rollup jsonb, in_definition jsonb) LANGUAGE sql AS $$
    SELECT q.name, v.* FROM query q, notify_stats.verify(q.name::regclass) v ORDER BY q.number
$$;
