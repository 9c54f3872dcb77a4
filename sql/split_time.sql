-- Times: the time zone of the session, daylight saving time, and windows that move with the clock.
CREATE SCHEMA split_time;
SET search_path = split_time;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
\set split :srcdir '/sql/include/split.sql'
\i :split
SET timezone = 'Europe/London';
CREATE TABLE e (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ts timestamp, tz timestamptz, dt date, u integer, k integer);
ALTER TABLE e REPLICA IDENTITY FULL;
CREATE INDEX ON e (ts);
CREATE INDEX ON e (tz);
CREATE TABLE calendar (day date PRIMARY KEY, name text);
INSERT INTO calendar SELECT day, to_char(day, 'Dy') FROM generate_series(timestamp '2026-03-20', '2026-04-10', '1 day') day;
CREATE PROCEDURE fill(first integer, last integer) LANGUAGE sql AS $$
    -- the hours of two changes of the offset, and the last days
    INSERT INTO e (ts, tz, dt, u, k)
    SELECT tz AT TIME ZONE 'UTC', tz, tz::date, i % 7, i % 3
    FROM generate_series(first, last) i, LATERAL (VALUES
        (timestamptz '2026-03-28 22:00+00' + i * interval '13 minutes 17.5 seconds'),
        (timestamptz '2026-10-24 22:00+00' + i * interval '13 minutes 17.5 seconds'),
        (now() - i * interval '11 minutes 13.25 seconds'), (now() - i * interval '1 day 20 minutes'), (NULL)) t (tz)
$$;
CALL fill(0, 100);
-- the limits of days and hours
INSERT INTO e (ts, tz, u, k) SELECT t, t AT TIME ZONE 'Europe/London', 1, 1
FROM unnest(ARRAY[current_date - 5, current_date]) day, unnest(ARRAY[day, day + interval '1 microsecond', day - interval '1 microsecond']) t;
INSERT INTO e (ts, tz, u, k) SELECT t, t AT TIME ZONE 'UTC', 1, 1
FROM unnest(ARRAY[timestamp '2026-03-29 00:00', '2026-10-25 00:00']) night, generate_series(night, night + interval '3 hours', interval '15 minutes') t;

INSERT INTO query (name, query) VALUES
('hours', 'SELECT date_trunc(''hour'', tz) AS hour, count(*) AS n FROM e GROUP BY 1'),
('minutes', 'SELECT date_trunc(''minute'', tz) AS minute, count(*) AS n FROM e GROUP BY 1'),
('days', 'SELECT date_trunc(''day'', tz) AS day, count(*) AS n, avg(u) AS a FROM e GROUP BY 1'),
('weeks', 'SELECT date_trunc(''week'', tz) AS week, extract(dow FROM tz) AS dow, count(*) AS n FROM e GROUP BY 1, 2'),
('months_of_date', 'SELECT date_trunc(''month'', dt) AS month, count(*) AS n FROM e GROUP BY 1'),
('dates', 'SELECT tz::date AS day, count(*) AS n, max(u) AS u FROM e GROUP BY tz::date'),
('hour_of_day', 'SELECT extract(hour FROM tz) AS hour, date_part(''isodow'', tz) AS dow, count(*) AS n FROM e GROUP BY 1, 2'),
('texts', 'SELECT to_char(tz, ''YYYY-MM-DD HH24:MI'') AS t, count(*) AS n FROM e GROUP BY 1'),
('month_names', 'SELECT to_char(tz, ''Mon YYYY'') AS t, to_char(dt, ''Day'') AS d, count(*) AS n FROM e GROUP BY 1, 2'),
('local', 'SELECT date_trunc(''day'', tz AT TIME ZONE ''America/New_York'') AS day, (tz AT TIME ZONE ''UTC'')::date AS utc, count(*) AS n FROM e GROUP BY 1, 2'),
('zone_given', 'SELECT date_trunc(''day'', tz, ''Asia/Tokyo'') AS day, count(*) AS n FROM e GROUP BY 1'),
('as_text', 'SELECT dt::text AS d, ts::date::text AS t, count(*) AS n FROM e GROUP BY 1, 2'),
('truncated_text', 'SELECT date_trunc(''day'', ts)::text AS t, to_char(date_trunc(''month'', tz), ''MM/YY'') AS m, count(*) AS n FROM e GROUP BY 1, 2'),
('converted', 'SELECT (tz + interval ''1 day'')::date AS next, (ts AT TIME ZONE ''Europe/London'')::date AS l, count(*) AS n FROM e GROUP BY 1, 2'),
('compared', 'SELECT k, count(*) AS n, count(*) FILTER (WHERE tz >= dt) AS a, count(*) FILTER (WHERE tz > ts) AS b FROM e WHERE tz >= date ''2026-03-29'' GROUP BY k'),
('extremes_of_time', 'SELECT dt, min(tz::date) AS a, max(date_trunc(''hour'', tz)) AS b FROM e GROUP BY dt'),
('ages', 'SELECT dt, count(*) FILTER (WHERE dt < current_date) AS past FROM e GROUP BY dt'),
('of_bucket', 'SELECT k, count(*) AS n FROM e WHERE date_trunc(''day'', tz) = timestamptz ''2026-03-29 00:00'' GROUP BY k'),
-- with the calendar
('calendar_join', 'SELECT c.name, count(*) AS n FROM calendar c JOIN e ON e.dt = c.day GROUP BY 1'),
('calendar_range', 'SELECT c.day, count(e.id) AS n, sum(e.u) AS u FROM calendar c LEFT JOIN e ON e.ts >= c.day AND e.ts < c.day + 1 GROUP BY 1'),
('calendar_not_after', 'SELECT c.day, count(*) AS n FROM calendar c JOIN e ON e.ts > c.day AND e.ts::date <= c.day + 2 GROUP BY 1'),
('calendar_zone', 'SELECT c.day, count(e.id) AS n FROM calendar c LEFT JOIN e ON e.tz::date = c.day GROUP BY 1'),
-- windows that move with the clock
('last_days', 'SELECT dt, count(*) AS n FROM e WHERE dt >= current_date - 30 GROUP BY dt'),
('last_days_total', 'SELECT count(*) AS n, sum(u) AS u FROM e WHERE dt > current_date - 30'),
('this_month', 'SELECT k, count(*) AS n FROM e WHERE date_trunc(''month'', dt) = date_trunc(''month'', current_date) GROUP BY k'),
('days_of_times', 'SELECT ts::date AS day, count(*) AS n FROM e WHERE ts >= current_date - 30 GROUP BY 1'),
('not_today', 'SELECT ts::date AS day, count(*) AS n FROM e WHERE ts < current_date GROUP BY 1'),
('last_hours', 'SELECT k, count(*) AS n, sum(u) AS u, avg(u) AS a FROM e WHERE tz >= now() - interval ''5 hours'' GROUP BY k'),
('last_hours_by_hour', 'SELECT date_trunc(''hour'', tz) AS hour, count(*) AS n FROM e WHERE tz > now() - interval ''5 hours 30 minutes'' GROUP BY 1'),
('last_hours_local', 'SELECT ts::date AS day, count(*) AS n, max(u) AS u FROM e WHERE ts >= now() - interval ''100 hours'' GROUP BY 1'),
('last_minutes_total', 'SELECT count(*) AS n FROM e WHERE tz > now() - interval ''40 minutes'''),
('last_of_other_type', 'SELECT k, count(*) AS n FROM e WHERE tz >= localtimestamp - interval ''3 hours'' GROUP BY k'),
('window_of_join', 'SELECT c.name, count(*) AS n FROM e JOIN calendar c ON c.day = e.dt WHERE e.tz >= now() - interval ''300 days'' GROUP BY 1'),
('after_midnight', 'SELECT k, count(*) AS n FROM e WHERE ts > current_date - 5 GROUP BY k'),
('from_midnight', 'SELECT k, count(*) AS n FROM e WHERE ts >= current_date - 5 GROUP BY k'),
('until_midnight', 'SELECT k, count(*) AS n FROM e WHERE ts <= current_date GROUP BY k'),
('before_midnight', 'SELECT k, count(*) AS n FROM e WHERE ts < current_date GROUP BY k'),
('at_midnight', 'SELECT k, count(*) AS n FROM e WHERE tz > current_date - 5 GROUP BY k'),
('clocks_forward', 'SELECT k, count(*) AS n FROM e WHERE ts >= greatest(now() - interval ''100 years'', ''2026-03-29 00:59:30+00'') GROUP BY k'),
('clocks_just_forward', 'SELECT k, count(*) AS n FROM e WHERE ts >= greatest(now() - interval ''100 years'', ''2026-03-29 01:00+00'') GROUP BY k'),
('clocks_back', 'SELECT k, count(*) AS n FROM e WHERE ts >= greatest(now() - interval ''100 years'', ''2026-10-25 00:15+00'') GROUP BY k'),
('clocks_just_back', 'SELECT k, count(*) AS n FROM e WHERE ts > greatest(now() - interval ''100 years'', ''2026-10-25 01:15+00'') GROUP BY k'),
('clocks_back_local', 'SELECT k, count(*) AS n FROM e WHERE tz > greatest(localtimestamp - interval ''100 years'', ''2026-10-25 01:15'') GROUP BY k'),
('clocks_forward_local', 'SELECT k, count(*) AS n FROM e WHERE tz >= greatest(localtimestamp - interval ''100 years'', ''2026-03-29 01:15'') GROUP BY k'),
('future', 'SELECT k, count(*) AS n FROM e WHERE tz >= now() + interval ''1 hour'' GROUP BY k'),
('until_now', 'SELECT k, count(*) AS n FROM e WHERE tz <= now() GROUP BY k'),
('between', 'SELECT k, count(*) AS n FROM e WHERE tz BETWEEN now() - interval ''2 days'' AND now() GROUP BY k'),
('without_index', 'SELECT k, count(*) AS n FROM f WHERE tz >= now() - interval ''7 days'' GROUP BY k');
-- what the time zone of the session makes of a query is written into the definition
SET client_min_messages = notice;
\set VERBOSITY terse
DO $$ BEGIN PERFORM notify_stats.create_rollup('noticed', 'SELECT tz::date AS day, count(*) AS n FROM split_time.e GROUP BY 1'); END $$;
SELECT pg_get_viewdef('noticed_definition') ~ 'Europe/London' AS zone_is_written_in;
SELECT notify_stats.drop_rollup('noticed');
SET client_min_messages = warning;
\set VERBOSITY default

SELECT * FROM keep_all();
CALL notify_stats.catch_up();
SELECT * FROM wrong_columns();
SELECT * FROM wrong();
SELECT * FROM unverified();
CALL fill(101, 140);
UPDATE e SET tz = tz + interval '1 hour', u = u + 1, ts = ts - interval '50 minutes' WHERE id % 3 = 0;
DELETE FROM e WHERE id % 5 = 0;
INSERT INTO e (tz, ts, u, k) VALUES ('infinity', 'infinity', 1, 1), ('-infinity', '-infinity', 2, 2), ('1900-01-01', '0044-03-15 BC', 3, 1);
CALL notify_stats.catch_up();
SELECT * FROM wrong();
SELECT * FROM unverified();

-- the TimeZone of a reader, or of the worker, makes no difference
CREATE FUNCTION keep_rows() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    q query;
    n bigint := 0;
BEGIN
    FOR q IN SELECT * FROM query WHERE query !~ 'now\(|current_date|localtimestamp' ORDER BY number LOOP
        EXECUTE format('CREATE TEMPORARY TABLE %I AS TABLE %I', 'rows_of_' || q.name, q.name);
        n := n + 1;
    END LOOP;
    RETURN n;
END $$;
CREATE FUNCTION changed_rows() RETURNS TABLE (name text, problem text, content text) LANGUAGE plpgsql AS $$
DECLARE q query;
BEGIN
    FOR q IN SELECT * FROM query WHERE query !~ 'now\(|current_date|localtimestamp' ORDER BY number LOOP
        RETURN QUERY EXECUTE format('
            (SELECT $1, ''now'', x::text FROM (TABLE %1$I EXCEPT ALL TABLE %2$I) x LIMIT 2) UNION ALL
            (SELECT $1, ''before'', x::text FROM (TABLE %2$I EXCEPT ALL TABLE %1$I) x LIMIT 2)', q.name, 'rows_of_' || q.name) USING q.name;
    END LOOP;
END $$;
SELECT keep_rows() >= 20 AS kept;
SET timezone = 'Asia/Kolkata';
SELECT * FROM changed_rows();
SELECT * FROM unverified();
UPDATE e SET k = k + 1 WHERE id % 2 = 0;
CALL notify_stats.catch_up();
UPDATE e SET k = k - 1 WHERE id % 2 = 0;
CALL notify_stats.catch_up();
SELECT * FROM changed_rows();
SET timezone = 'Europe/London';
TRUNCATE e;
CALL notify_stats.catch_up();
SELECT * FROM wrong();

-- equal in other zones as well
DO $$ BEGIN PERFORM notify_stats.drop_rollup(rollup) FROM notify_stats.rollups; END $$;
CALL fill(0, 30);
SET timezone = 'Australia/Lord_Howe';
DELETE FROM query WHERE name !~ '^(hours|minutes|days|weeks|dates|hour_of_day|texts|compared|converted|last_.*)$';
SELECT count(*) FROM keep_all() WHERE kept ~ '^(table|view)';
CALL notify_stats.catch_up();
SELECT * FROM wrong();

-- constants are written so that they can be read again: IST is another time zone by its abbreviation
DO $$ BEGIN PERFORM notify_stats.drop_rollup(rollup) FROM notify_stats.rollups; END $$;
DELETE FROM query;
INSERT INTO e (tz, k) SELECT timestamptz '2026-04-01 00:00+05:30' + i * interval '11 minutes', i % 3 FROM generate_series(-40, 40) i;
SET timezone = 'Asia/Kolkata';
SET datestyle = 'Postgres, MDY';
SET intervalstyle = sql_standard;
INSERT INTO query (name, query) VALUES
('since', 'SELECT sum(k) AS n, min(tz + interval ''-1 day +2 hours'') AS m FROM e WHERE tz >= ''04/01/2026'''),
('since_hours', 'SELECT date_bin(''1 hour'', tz, ''04/01/2026 00:00'') AS hour, avg(k) AS a FROM e GROUP BY 1'),
('since_windows', 'SELECT count(*) AS n FROM e WHERE tz >= now() - interval ''100 days 2 hours''');
SELECT * FROM keep_all();
CALL notify_stats.catch_up();
SELECT * FROM wrong();
SELECT * FROM unverified();
RESET timezone;
RESET datestyle;
RESET intervalstyle;
SET client_min_messages = error;
DROP SCHEMA split_time CASCADE;
