-- Needed by the benchmarks, whatever their tables.
CREATE SCHEMA bench;

-- Ticks of CPU time that this backend has used, of 10 ms on Linux: fields 14 and 15, where the
-- second is in parentheses and may hold anything.
CREATE FUNCTION bench.cpu_ticks() RETURNS bigint LANGUAGE sql AS $$
    SELECT field[12]::bigint + field[13]::bigint
    FROM (SELECT string_to_array(regexp_replace(pg_read_file('/proc/self/stat'), '^.*\) ', ''),
                                 ' ') AS field) AS stat
$$;

-- Has the server log the running transactions, as it does each 15 seconds on its own. A backlog
-- can be divided there if none runs. To create a slot does it, but waits for prepared
-- transactions. (From 16 on, there is pg_log_standby_snapshot().)
CREATE PROCEDURE bench.log_running_transactions() LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_prepared_xacts) THEN
        PERFORM pg_create_logical_replication_slot('bench_running', 'floor', true);
        PERFORM pg_drop_replication_slot('bench_running');
    END IF;
END
$$;
