-- Stable functions of timestamptz, and the immutable expressions that src/split/time_zone.c
-- replaces them with: with the same TimeZone, the values are equal. $ stands for the zone.
-- Compares them near each change of the offset of some zones, and at other times.
CREATE SCHEMA time_zone;
SET search_path = time_zone;
\pset null NULL

CREATE TABLE forms (id integer GENERATED ALWAYS AS IDENTITY, stable text, immutable text);
INSERT INTO forms (stable, immutable) VALUES
    ('ts::date', '(ts AT TIME ZONE $)::date'),
    ('ts::time', '(ts AT TIME ZONE $)::time'),
    ('ts::timestamp', 'ts AT TIME ZONE $'),
    ('local::timestamptz', 'local AT TIME ZONE $'),
    ('day::timestamptz', 'day::timestamp AT TIME ZONE $'),
    ('timestamptz(day, local::time)', '"timestamp"(day, local::time) AT TIME ZONE $'),
    ('make_timestamptz(year, 3, 28, 1, 30, 15.5)', 'make_timestamp(year, 3, 28, 1, 30, 15.5) AT TIME ZONE $'),
    ('to_char(ts, ''Day, DDth Month YYYY AD, HH12:MI:SS.US pm, IYYY-IW-ID, J, Q'')',
     'to_char(ts AT TIME ZONE $, ''Day, DDth Month YYYY AD, HH12:MI:SS.US pm, IYYY-IW-ID, J, Q'')'),
    -- the epoch is that of the point in time
    ('extract(epoch FROM ts)', 'extract(epoch FROM ts AT TIME ZONE ''UTC'')'),
    ('date_part(''epoch'', ts)', 'date_part(''epoch'', ts AT TIME ZONE ''UTC'')'),
    -- a second or shorter: all offsets are whole seconds
    ('date_trunc(''milliseconds'', ts)', 'date_trunc(''milliseconds'', ts AT TIME ZONE ''UTC'') AT TIME ZONE ''UTC'''),
    ('date_trunc(''second'', ts)', 'date_trunc(''second'', ts AT TIME ZONE ''UTC'') AT TIME ZONE ''UTC'''),
    -- an hour or a minute: keeps the offset that the point in time has
    ('date_trunc(''minute'', ts)',
     'coalesce((ts AT TIME ZONE ''UTC'' - ((ts AT TIME ZONE $)::time - date_trunc(''minute'', ts AT TIME ZONE $)::time)) AT TIME ZONE ''UTC'', ts)'),
    ('date_trunc(''hour'', ts)',
     'coalesce((ts AT TIME ZONE ''UTC'' - ((ts AT TIME ZONE $)::time - date_trunc(''hour'', ts AT TIME ZONE $)::time)) AT TIME ZONE ''UTC'', ts)'),
    -- the day does not depend on the time at which it begins
    ('date_trunc(''week'', ts)::date', 'date_trunc(''week'', ts AT TIME ZONE $)::date'),
    ('date_trunc(''month'', date_trunc(''day'', ts))', 'date_trunc(''month'', date_trunc(''day'', ts AT TIME ZONE $)) AT TIME ZONE $'),
    ('to_char(date_trunc(''month'', ts), ''YYYY-MM'')', 'to_char(date_trunc(''month'', ts AT TIME ZONE $), ''YYYY-MM'')'),
    ('extract(doy FROM date_trunc(''day'', ts))', 'extract(doy FROM date_trunc(''day'', ts AT TIME ZONE $))'),
    -- the time does
    ('date_trunc(''day'', ts)::timestamp', '(date_trunc(''day'', ts AT TIME ZONE $) AT TIME ZONE $) AT TIME ZONE $'),
    -- months, days and the rest are added one after the other
    ('ts + interval ''1 day''', '(ts AT TIME ZONE $ + interval ''1 day'') AT TIME ZONE $'),
    ('ts - interval ''3 months''', '(ts AT TIME ZONE $ - interval ''3 months'') AT TIME ZONE $'),
    ('ts - interval ''90 minutes''', '(ts AT TIME ZONE ''UTC'' - interval ''90 minutes'') AT TIME ZONE ''UTC'''),
    ('ts + year * interval ''1 minute''', '(ts AT TIME ZONE ''UTC'' + year * interval ''1 minute'') AT TIME ZONE ''UTC'''),
    ('ts + interval ''1 month 1 day 90 minutes''',
     '((((((ts AT TIME ZONE $ + interval ''1 month'') AT TIME ZONE $) AT TIME ZONE $ + interval ''1 day'') AT TIME ZONE $)
        AT TIME ZONE ''UTC'') + interval ''90 minutes'') AT TIME ZONE ''UTC'''),
    -- truncated dates
    ('date_trunc(''month'', day)', 'date_trunc(''month'', day::timestamp) AT TIME ZONE $'),
    ('date_trunc(''month'', day)::date', 'date_trunc(''month'', day::timestamp)::date'),
    ('(date_trunc(''month'', day) + interval ''1 month - 1 day'')::date',
     '(date_trunc(''month'', day::timestamp) + interval ''1 month - 1 day'')::date');
INSERT INTO forms (stable, immutable)
    SELECT format('date_trunc(%L, ts)', unit), format('date_trunc(%L, ts AT TIME ZONE $) AT TIME ZONE $', unit)
    FROM unnest('{day,week,month,quarter,year,decade,century,millennium}'::text[]) unit;
INSERT INTO forms (stable, immutable)
    SELECT format('extract(%s FROM ts)', field), format('extract(%s FROM ts AT TIME ZONE $)', field)
    FROM unnest('{microseconds,second,minute,hour,day,dow,isodow,doy,week,month,quarter,year,isoyear,century}'::text[]) field;
INSERT INTO forms (stable, immutable)
    SELECT format('day %s ts', op), format('day::timestamp AT TIME ZONE $ %s ts', op) FROM unnest('{<,<=,=,<>,>=,>}'::text[]) op
    UNION ALL
    SELECT format('ts %s local', op), format('ts %s local AT TIME ZONE $', op) FROM unnest('{<,<=,=,<>,>=,>}'::text[]) op;
-- since PostgreSQL 16, intervals of any kind
INSERT INTO forms (stable, immutable)
    SELECT 'ts + (ts - local AT TIME ZONE ''UTC'')', 'date_add(ts, ts - local AT TIME ZONE ''UTC'', $)'
    WHERE to_regproc('date_add') IS NOT NULL;

CREATE TABLE times (ts timestamptz, local timestamp, day date, year integer);

CREATE FUNCTION fill(zone text) RETURNS void LANGUAGE sql AS $$
    TRUNCATE times;
    INSERT INTO times
    WITH days AS (
        SELECT ts, lead(ts AT TIME ZONE zone) OVER (ORDER BY ts) - ts AT TIME ZONE zone <> '1 day'
            AND extract(year FROM ts)::integer % 4 IN (0, 3) AS changes
        FROM generate_series(timestamptz '1900-01-01 00:00+00', '2037-12-31 00:00+00', '24:00') ts),
    points AS (
        SELECT ts + quarter * interval '15 min' AS ts FROM days, generate_series(-8, 120, 2) quarter WHERE changes
        UNION
        SELECT ts + quarter * interval '15 min' + interval '7 min 31.123456 s'
        FROM days, generate_series(-8, 120, 3) quarter WHERE changes
        UNION
        SELECT to_timestamp(3e9 * sin(n)) FROM generate_series(1, 500) n
        UNION
        SELECT unnest('{infinity,-infinity,4000-06-01 12:00:00+00 BC,0001-12-31 23:59:59.999999+00 BC,9999-12-31 23:59+00,NULL}'::timestamptz[]))
    SELECT ts, CASE WHEN n % 2 = 0 THEN ts AT TIME ZONE zone ELSE ts AT TIME ZONE 'UTC' END,
        (ts AT TIME ZONE CASE WHEN n % 3 = 0 THEN zone ELSE 'UTC' END)::date, 1970 + n % 67
    FROM (SELECT ts, row_number() OVER (ORDER BY ts)::integer AS n FROM points) p;
    ANALYZE times
$$;

CREATE FUNCTION compare(zone text) RETURNS TABLE (form text, rows bigint, example text) LANGUAGE plpgsql AS $$
DECLARE
    f forms;
BEGIN
    PERFORM set_config('timezone', zone, true);
    PERFORM fill(zone);
    FOR f IN SELECT * FROM forms ORDER BY id LOOP
        RETURN QUERY EXECUTE format(
            'SELECT %L, count(*), min(ts::text) FROM times WHERE (%s) IS DISTINCT FROM (%s)%s HAVING count(*) > 0',
            f.stable, f.stable, replace(f.immutable, '$', quote_literal(zone)),
            CASE WHEN f.immutable LIKE 'date_add%' THEN ' AND isfinite(ts)' ELSE '' END);
    END LOOP;
END $$;

-- the forms are immutable, except for to_char
CREATE FUNCTION is_immutable(form text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE INDEX ON times ((%s))', replace(form, '$', quote_literal('Europe/London')));
    RETURN true;
EXCEPTION WHEN invalid_object_definition THEN
    RETURN false;
END $$;
SELECT immutable FROM forms WHERE NOT is_immutable(immutable) ORDER BY id;
DROP TABLE times;
CREATE TABLE times (ts timestamptz, local timestamp, day date, year integer);

-- 30 minutes of DST, offsets with seconds, changes at midnight and one minute after it, and a day
-- that was left out
SELECT zone, form, rows, example
FROM unnest('{Europe/London,America/New_York,Australia/Lord_Howe,America/St_Johns,America/Havana,Africa/Monrovia,Pacific/Apia,Etc/UTC,<+03>-03}'::text[]) zone,
    compare(zone);
-- to_char(x, format) is to_char(date_trunc(unit, x), format): src/split/to_char.c
SELECT fill('Europe/London');
SELECT unit, format, count(*)
FROM (VALUES
    ('year', 'YYYY Y,YYY YYY YY Y CC A.D. ad "HH24" FX'), ('quarter', '"Q"Q YYYY'), ('month', 'FMMonth YYYY TMMon mm RM'),
    ('week', 'IYYY-IW IYY iy I'), ('day', 'YYYY-MM-DD'), ('day', 'IYYY-MM'), ('day', 'YYYY"W"IW'), ('day', 'WW W DDD D J IDDD ID Dy DDTH'),
    ('hour', 'YYYY-MM-DD HH24 am'), ('minute', 'YYYY-MM-DD HH12:MI'), ('second', 'SSSS SSSSS'), ('second', 'HH:MI:SS')) f(unit, format), times
WHERE to_char(local, format) IS DISTINCT FROM to_char(date_trunc(unit, local), format)
GROUP BY 1, 2;
