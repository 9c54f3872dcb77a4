# shellcheck shell=bash
# Reading a backlog of one-row transactions: the full cycle (peek, fold, apply, commit,
# advance), an output plugin that writes nothing, and the reference consumer. Then the same
# backlog with a transaction left open since before it, because of which each window of the
# WAL has to be read from the beginning. Reading the WAL alone is the physical limit. Last, the
# same backlog and one of narrow rows, read by two processes.
#
# The backlog of Notify's changes always has the same length, because the reference costs more
# per change the longer it is.

CATCH_UP_CHANGES=200000

part_catch_up() {
    local round
    make_catch_up_backlogs
    announce_catch_up
    announce_two notify "$(thousands "$CHANGES") changes of Notify's"
    announce_two narrow "$(thousands "${GROWTH_CHANGES[narrow]}") changes of narrow rows"
    row 'catch_up notify reference' changes/s 'ratio >= 20' 'two processes: speed' 'reference'
    for round in $(seq "$REPEAT"); do
        measure_catch_up
        measure_two_of_notify
        measure_two_of_narrow
        progress "repetition $round of $REPEAT"
    done
    forget_growth narrow
}

check_notify() {
    BUILT_AT=$CATCH_UP_BUILT
    check_caught_up ft_service_stats
}

# --- one process ----------------------------------------------------------------------

announce_catch_up() {
    row 'catch_up floor' s 'ratio <= 1.5' "full cycle over $(thousands "$CHANGES") changes: time" \
        'peek that gives nothing'
    row 'catch_up speed' changes/s 'ratio >= 10' \
        "full cycle over $(thousands "$CHANGES") changes, always so many: speed" 'reference'
    row 'catch_up cpu floor' 'µs a change' '' 'full cycle: CPU' 'peek that gives nothing'
    row 'catch_up cpu' 'µs a change' '' 'full cycle: CPU' 'reference'
    row 'catch_up wal' 'µs a change' '' 'full cycle: CPU' 'reading the WAL alone (pg_waldump)'
    row 'catch_up open' 'µs a change' '' 'full cycle, a transaction left open: CPU' 'none open'
}

# Leaves the speed of the reference in REFERENCE_SPEED.
measure_catch_up() {
    local floor floor_ticks cycle reference_changes reference_seconds reference_cpu
    local ticks open_ticks wal _
    start_from backlog
    warm_up bench_floor
    wal=$(cpu_of_reading_wal)
    read -r floor floor_ticks < <(timed "$PEEK")
    read -r cycle ticks < <(timed 'CALL notify_stats.catch_up();')
    check_notify
    "$PYTHON" tree/test/bench/reference.py >reference.csv
    IFS=, read -r reference_changes reference_seconds reference_cpu <reference.csv
    check_reference
    start_from backlog_open
    warm_up bench_floor
    read -r _ open_ticks < <(timed 'CALL notify_stats.catch_up();')
    check_notify
    REFERENCE_SPEED=$(calculate "$reference_changes / $reference_seconds")
    record 'catch_up floor' "$(calculate "$cycle / 1000")" "$(calculate "$floor / 1000")"
    record 'catch_up speed' "$(calculate "$CHANGES / $cycle * 1000")" "$REFERENCE_SPEED"
    record 'catch_up cpu floor' "$(per_change "$ticks" "$CHANGES")" \
        "$(per_change "$floor_ticks" "$CHANGES")"
    record 'catch_up cpu' "$(per_change "$ticks" "$CHANGES")" \
        "$(calculate "$reference_cpu * 1000000 / $reference_changes")"
    record 'catch_up wal' "$(per_change "$ticks" "$CHANGES")" \
        "$(calculate "$wal * 1000000 / $CHANGES")"
    record 'catch_up open' "$(per_change "$open_ticks" "$CHANGES")" \
        "$(per_change "$ticks" "$CHANGES")"
}

PEEK="SELECT count(*) AS messages
    FROM pg_logical_slot_peek_binary_changes('bench_floor', NULL, NULL) \\gset"

# The seconds of CPU that it takes to read the WAL of the backlog, without decoding it.
cpu_of_reading_wal() {
    local start end TIMEFORMAT='%U %S'
    read -r start end < <(sql -F ' ' -c "SELECT confirmed_flush_lsn, pg_current_wal_flush_lsn()
        FROM pg_replication_slots WHERE slot_name = 'bench_floor'")
    { time as_server_user "$BIN/pg_waldump" -q -p data/pg_wal -s "$start" -e "$end" || :; } 2>&1 |
        tail -n 1 | { read -r user system; calculate "$user + $system"; }
}

# --- two processes --------------------------------------------------------------------

# announce_two NAME WHAT
announce_two() {
    row "catch_up $1 two" changes/s 'ratio >= 1.6' "two processes, $2: speed" 'one process'
    row "catch_up $1 cpu" 'µs a change' 'ratio <= 1.1' "two processes, $2: CPU of both" 'one process'
    row "catch_up $1 floor" s 'ratio <= 1' "two processes, $2: time" 'peek that gives nothing'
}

measure_two_of_notify() {
    measure_two notify backlog "$CHANGES"
    check_notify
    record 'catch_up notify reference' "$SPEED_OF_TWO" "$REFERENCE_SPEED"
}

measure_two_of_narrow() {
    measure_two narrow growth_narrow "${GROWTH_CHANGES[narrow]}"
    check_growth narrow
}

# measure_two NAME DIRECTORY CHANGES: the floor, one process, and two
measure_two() {
    local name=$1 directory=$2 changes=$3 floor one one_cpu two two_cpu _
    # the peek comes before both, so that both find the WAL in memory
    start_from "$directory"
    sql -o /dev/null <<<"$PEEK"
    read -r one one_cpu < <(timed_with_others 'CALL notify_stats.catch_up();')
    start_from "$directory" "$(parallel_conf 2)"
    warm_up bench_floor
    read -r floor _ < <(timed "$PEEK")
    read -r two two_cpu < <(timed_with_others 'CALL notify_stats.catch_up();')
    check_divided
    SPEED_OF_TWO=$(calculate "$changes / $two * 1000")
    record "catch_up $name two" "$SPEED_OF_TWO" "$(calculate "$changes / $one * 1000")"
    record "catch_up $name cpu" "$(calculate "$two_cpu * 1000000 / $changes")" \
        "$(calculate "$one_cpu * 1000000 / $changes")"
    record "catch_up $name floor" "$(calculate "$two / 1000")" "$(calculate "$floor / 1000")"
}

# --- backlogs -------------------------------------------------------------------------

make_catch_up_backlogs() {
    local start
    make_still_server 20000
    sql -f tree/test/bench/reference.sql
    sql -o /dev/null \
        -c "SELECT pg_create_logical_replication_slot('bench_floor', 'floor')" \
        -c "SELECT pg_copy_logical_replication_slot('bench_floor', 'bench_reference', false, 'wal2json')"
    note_build
    CATCH_UP_BUILT=$BUILT_AT
    keep_as base

    start_from base
    start=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
    make_catch_up_backlog
    note "the backlog of Notify's is $(thousands "$CHANGES") changes in transactions of one, whatever" \
        "the options, $(sql -c "SELECT pg_size_pretty(pg_current_wal_insert_lsn() - '$start')") of WAL;" \
        "fsync is off, as the disk is not what is compared"
    note "the reference reads 10,000 changes at a time, as it does in service, and each time the" \
        "server starts at the last place of the WAL where it logged the running transactions: that is" \
        "each 15,000 changes here, as at 1,000 changes per second; a backlog is divided there, too"
    keep_as backlog

    start_from base 'max_prepared_transactions = 1'
    # a prepared transaction outlasts the restarts, and is as open as any other
    sql -c 'BEGIN' -c 'INSERT INTO users VALUES (gen_random_uuid())' \
        -c "PREPARE TRANSACTION 'left open'"
    make_catch_up_backlog
    keep_as backlog_open

    # more than parallel_backlog: 165 bytes per change
    make_keyed_backlog narrow "$(size 3000000 150000)" 20
    note "the CPU of two processes is of all that the server started for the call, the start" \
        "of these processes included"
}

make_catch_up_backlog() {
    CHANGES=$(sql -c "CALL bench.life_cycle($CATCH_UP_CHANGES, true)")
    progress "backlog of $CHANGES changes"
}
