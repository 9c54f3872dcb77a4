# shellcheck shell=bash
# What the parts share that read a backlog on a still server, where nothing happens by itself:
# each measurement starts from a copy of one data directory, so that all read the same.

# make_still_server ROWS: Notify's tables with so many rows, and their rollup
make_still_server() {
    make_server < <(still_server_conf)
    start_server
    sql -f tree/test/notify/schema.sql
    sql -v rows="$1" -f tree/test/bench/fill.sql
    sql -c 'CREATE EXTENSION notify_stats' -c 'SET client_min_messages = warning' \
        -o /dev/null -f tree/test/notify/rollup.sql
    sql -c 'CALL notify_stats.catch_up()' -c 'VACUUM ANALYZE'
    sql -f tree/test/bench/cpu.sql -f tree/test/bench/setup.sql
}

# timed STATEMENT: the milliseconds, and ticks of CPU, that it takes a new session
timed() {
    sql -F ' ' <<SQL
SELECT bench.cpu_ticks() AS ticks, clock_timestamp() AS started \gset
$1
SELECT extract(epoch FROM clock_timestamp() - :'started') * 1000, bench.cpu_ticks() - :ticks;
SQL
}

# The first reading of a server that has just started is always slow.
warm_up() {
    sql -o /dev/null -c "SELECT count(*) FROM pg_logical_slot_peek_binary_changes(
        '$1', (SELECT confirmed_flush_lsn + 16777216 FROM pg_replication_slots
               WHERE slot_name = '$1'), NULL)"
}

# per_change TICKS CHANGES: microseconds of CPU
per_change() {
    # there is no smaller measure than a tick
    calculate "($1 > 0 ? $1 : 1) * 1000000 / $(getconf CLK_TCK) / $2"
}

# check_caught_up ROLLUP...: they are live, exact, and were not rebuilt
check_caught_up() {
    local rollup
    [ "$(sql -c "SELECT count(*) FROM notify_stats.rollups WHERE state <> 'live'")" = 0 ] ||
        die "$PART: $(sql -c "SELECT rollup, state, reason FROM notify_stats.rollups")"
    [ "$(sql -c 'SELECT max(built_at) FROM notify_stats.rollups')" = "$BUILT_AT" ] ||
        die "$PART: a rollup was built anew"
    for rollup; do
        check_rollup "$PART" "$rollup"
    done
}

note_build() {
    BUILT_AT=$(sql -c 'SELECT max(built_at) FROM notify_stats.rollups')
}

# parallel_conf NUMBER: so many processes read a backlog; --quick has short ones
parallel_conf() {
    printf "notify_stats.max_catch_up_workers = %s\nnotify_stats.parallel_backlog = '%s'\n" \
        "$1" "$(size 256MB 16MB)"
}

# The server that was started last has read a backlog with several processes.
check_divided() {
    awk '/starting PostgreSQL/ {n = 0} /reads a backlog of/ {n++} END {exit !n}' server.log ||
        die "$PART: one process has read the backlog"
}

# timed_with_others STATEMENT: the milliseconds that it takes a new session, and the seconds of
# CPU of that session and of all processes that end with it, their start included
timed_with_others() {
    local postmaster children before milliseconds
    postmaster=$(head -n 1 data/postmaster.pid)
    children=$(pgrep -cP "$postmaster")
    before=$(cpu_of_ended "$postmaster")
    milliseconds=$(sql <<SQL
SELECT clock_timestamp() AS started \gset
$1
SELECT extract(epoch FROM clock_timestamp() - :'started') * 1000;
SQL
)
    while [ "$(pgrep -cP "$postmaster")" -gt "$children" ]; do
        sleep 0.01
    done
    echo "$milliseconds" "$(calculate "$(cpu_of_ended "$postmaster") - $before")"
}

# cpu_of_ended PID: the seconds of CPU of the children of a process that have ended
cpu_of_ended() {
    # after the name, which is in parentheses
    sed 's/^.*) //' "/proc/$1/stat" |
        awk -v tick="$(getconf CLK_TCK)" '{printf "%.2f", ($14 + $15) / tick}'
}
