# shellcheck shell=bash
# Shared by the parts that run on a live server: a worker, writers, and a disk that matters.

# A server as one would run it. Vacuum and checkpoints come between the measurements, when
# they are asked for, and not in the midst of one.
make_live_server() {
    make_server <<CONF
notify_stats.database = 'postgres'
max_slot_wal_keep_size = '20GB'
autovacuum = off
checkpoint_timeout = 1d
max_wal_size = '20GB'
shared_buffers = '256MB'
CONF
    start_server
    sql -f tree/test/notify/schema.sql
    sql -v rows="$(size 20000 5000)" -f tree/test/notify/seed.sql
    sql -c 'CREATE EXTENSION notify_stats'
}

create_rollup() {
    sql -c 'SET client_min_messages = warning' -o /dev/null -f tree/test/notify/rollup.sql
    wait_for_rollup
}

# Until all that was committed before this call is counted.
wait_for_rollup() {
    [ "$(sql -c "SELECT notify_stats.wait_for_lsn(timeout => '10min', no_throw => true)")" = t ] ||
        die "$PART: the rollup does not catch up"
    [ "$(sql -c 'SELECT state FROM notify_stats.rollups')" = live ] ||
        die "$PART: the rollup is not live: $(sql -c 'SELECT reason FROM notify_stats.rollups')"
}

# check_live ROLLUP: it is exact, and the worker has had no trouble on the way
check_live() {
    local trouble
    wait_for_rollup
    check_rollup "$PART" "$1"
    trouble=$(sql -c 'SELECT last_error FROM notify_stats.status')
    [ -z "$trouble" ] || die "$PART: the worker failed meanwhile: $trouble"
}

worker_pid() {
    sql -c 'SELECT pid FROM notify_stats.status'
}

# settle: so that the next measurement does not pay for the effects of the last one
settle() {
    sql -c 'VACUUM' -c 'CHECKPOINT'
}

# --- load -----------------------------------------------------------------------------

# life_options: pgbench's for the life of notifications, three writes a transaction
life_options() {
    printf '%s\n' -f "$WORK/tree/test/bench/life.sql" --no-vacuum
}

# rate WRITES: pgbench's option for so many writes a second
rate() {
    printf -- '--rate=%s\n' "$(awk "BEGIN {print $1 / 3}")"
}

# start_load SECONDS OPTION...
start_load() {
    "$BIN/pgbench" -c 8 -j 2 -T "$@" postgres >pgbench.log 2>&1 </dev/null &
    LOAD=$!
}

wait_for_load() {
    wait "$LOAD" || { tail -n 20 pgbench.log >&2; die "$PART: pgbench failed"; }
}

# Writes a second of the load that has ended, if it was one of life_options.
writes_per_second() {
    awk '/^tps = / {print $3 * 3}' pgbench.log
}

# --- the reference consumer -----------------------------------------------------------

# It starts at the current position, without concurrent writers.
make_reference() {
    sql -c 'DROP VIEW IF EXISTS service_stats_reference_definition, service_stats_reference_shown' \
        -c 'DROP TABLE IF EXISTS service_stats_reference' 2>/dev/null
    sql -f tree/test/bench/reference.sql
    sql -o /dev/null -c "SELECT pg_create_logical_replication_slot('bench_reference', 'wal2json')"
}

drop_reference() {
    sql -o /dev/null -c "SELECT pg_drop_replication_slot('bench_reference')"
}

check_reference() {
    check_same "$PART: what the reference counted" \
        'TABLE service_stats_reference_shown' 'TABLE service_stats_reference_definition'
}

# start_reference SECONDS: polls in the background, once a second
start_reference() {
    "$PYTHON" tree/test/bench/reference.py --seconds "$1" >reference.csv &
    REFERENCE=$!
    local try
    for try in $(seq 100); do
        REFERENCE_BACKEND=$(sql -c "SELECT pid FROM pg_stat_activity
                                    WHERE application_name = 'reference'")
        [ -z "$REFERENCE_BACKEND" ] || return 0
        sleep 0.1
    done
    die "$PART: the reference consumer did not start (try $try)"
}

stop_reference() {
    kill -TERM "$REFERENCE" 2>/dev/null || true
    wait "$REFERENCE" || die "$PART: the reference consumer failed"
}
