# shellcheck shell=bash
# Reading a backlog of one-row transactions: the full cycle (peek, fold, apply, commit,
# advance), an output plugin that writes nothing, and the reference consumer. Then the same
# backlog with a transaction left open since before it, because of which each window of the
# WAL has to be read from the beginning. Reading the WAL alone is the physical limit. The length
# of the backlog is fixed, because the reference costs more per change the longer it is.

part_catch_up() {
    local round floor floor_ticks cycle reference_changes reference_seconds reference_cpu
    local ticks open_ticks wal _
    make_catch_up_backlogs
    row 'catch_up floor' s 'ratio <= 1.6' "full cycle over $(thousands "$CHANGES") changes: time" \
        'peek that gives nothing'
    row 'catch_up speed' changes/s 'ratio >= 10' 'full cycle: speed' 'reference'
    row 'catch_up cpu floor' 'µs a change' '' 'full cycle: CPU' 'peek that gives nothing'
    row 'catch_up cpu' 'µs a change' '' 'full cycle: CPU' 'reference'
    row 'catch_up wal' 'µs a change' '' 'full cycle: CPU' 'reading the WAL alone (pg_waldump)'
    row 'catch_up open' 'µs a change' '' 'full cycle, a transaction left open: CPU' 'none open'
    for round in $(seq "$REPEAT"); do
        start_from backlog
        warm_up bench_floor
        wal=$(cpu_of_reading_wal)
        read -r floor floor_ticks < <(timed "SELECT count(*) AS messages
            FROM pg_logical_slot_peek_binary_changes('bench_floor', NULL, NULL) \\gset")
        read -r cycle ticks < <(timed 'CALL notify_stats.catch_up();')
        check_caught_up ft_service_stats
        "$PYTHON" tree/test/bench/reference.py >reference.csv
        IFS=, read -r reference_changes reference_seconds reference_cpu <reference.csv
        check_reference
        start_from backlog_open
        warm_up bench_floor
        read -r _ open_ticks < <(timed 'CALL notify_stats.catch_up();')
        check_caught_up ft_service_stats
        record 'catch_up floor' "$(calculate "$cycle / 1000")" "$(calculate "$floor / 1000")"
        record 'catch_up speed' "$(calculate "$CHANGES / $cycle * 1000")" \
            "$(calculate "$reference_changes / $reference_seconds")"
        record 'catch_up cpu floor' "$(per_change "$ticks" "$CHANGES")" \
            "$(per_change "$floor_ticks" "$CHANGES")"
        record 'catch_up cpu' "$(per_change "$ticks" "$CHANGES")" \
            "$(calculate "$reference_cpu * 1000000 / $reference_changes")"
        record 'catch_up wal' "$(per_change "$ticks" "$CHANGES")" \
            "$(calculate "$wal * 1000000 / $CHANGES")"
        record 'catch_up open' "$(per_change "$open_ticks" "$CHANGES")" \
            "$(per_change "$ticks" "$CHANGES")"
        progress "repetition $round of $REPEAT"
    done
}

# The seconds of CPU that it takes to read the WAL of the backlog, without decoding it.
cpu_of_reading_wal() {
    local start end TIMEFORMAT='%U %S'
    read -r start end < <(sql -F ' ' -c "SELECT confirmed_flush_lsn, pg_current_wal_flush_lsn()
        FROM pg_replication_slots WHERE slot_name = 'bench_floor'")
    { time as_server_user "$BIN/pg_waldump" -q -p data/pg_wal -s "$start" -e "$end" || :; } 2>&1 |
        tail -n 1 | { read -r user system; calculate "$user + $system"; }
}

make_catch_up_backlogs() {
    local start
    make_still_server 20000
    sql -f tree/test/bench/reference.sql
    sql -o /dev/null \
        -c "SELECT pg_create_logical_replication_slot('bench_floor', 'floor')" \
        -c "SELECT pg_copy_logical_replication_slot('bench_floor', 'bench_reference', false, 'wal2json')"
    note_build
    keep_as base

    start_from base
    start=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
    make_catch_up_backlog
    note "the backlog is $(thousands "$CHANGES") changes in transactions of one," \
        "$(sql -c "SELECT pg_size_pretty(pg_current_wal_insert_lsn() - '$start')") of log;" \
        "fsync is off, as the disk is not what is compared"
    note "the reference reads 10,000 changes at a time, as it does in service, and each time the" \
        "server starts at the last place of the log where it noted what was running: it does so each" \
        "15 seconds"
    keep_as backlog

    start_from base 'max_prepared_transactions = 1'
    # a prepared transaction outlasts the restarts, and is as open as any other
    sql -c 'BEGIN' -c 'INSERT INTO users VALUES (gen_random_uuid())' \
        -c "PREPARE TRANSACTION 'left open'"
    make_catch_up_backlog
    keep_as backlog_open
}

make_catch_up_backlog() {
    CHANGES=$(sql -c "CALL bench.life_cycle($(size 200000 20000), true)")
    progress "backlog of $CHANGES changes"
}
