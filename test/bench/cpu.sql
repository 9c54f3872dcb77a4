-- The CPU time that a session of the benchmarks has used.
CREATE SCHEMA bench;

-- Ticks of CPU time that this backend has used, of 10 ms on Linux: fields 14 and 15, where the
-- second is in parentheses and may hold anything.
CREATE FUNCTION bench.cpu_ticks() RETURNS bigint LANGUAGE sql AS $$
    SELECT field[12]::bigint + field[13]::bigint
    FROM (SELECT string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', ''),
                                 ' ') AS field) AS stat
$$;
