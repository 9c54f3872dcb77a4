# shellcheck shell=bash
# The window of applied WAL (notify_stats.resumable_wal_window): what the second slot costs while a
# backlog is read, and how long it takes to resume a rollup that stopped at its beginning, or a client. To
# rebuild that rollup is fast here, as the tables are small; the part "build" has large ones.

part_window() {
    local round changes
    make_window_backlog "$(size 400000 40000)"
    changes=${GROWTH_CHANGES[window]}
    row 'window cpu' 'µs a change' 'ratio <= 1.15' \
        "CPU of reading $(thousands "$changes") changes of Notify's, with a window of a quarter of them" \
        'without'
    row 'window resume' s '' "time to resume a rollup over $WINDOW_WAL of window" \
        'to read it for both rollups'
    row 'window resume cpu' 'µs a change' '' 'the same: CPU' 'to read it for both rollups'
    row 'window changes' s '' "changes() over $WINDOW_WAL of window: time" 'to read it for both rollups'
    row 'window changes cpu' 'µs a change' '' 'the same: CPU' 'to read it for both rollups'
    for round in $(seq "$REPEAT"); do
        measure_window
        progress "repetition $round of $REPEAT"
    done
    note 'the WAL is read 16 MB at a time, and the slot of the window moved after each of them, if that is due'
    forget_growth base window
}

# make_window_backlog CHANGES: leaves its start in WINDOW_START, its size in WINDOW_WAL
make_window_backlog() {
    local start
    make_still_server 20000
    sql -o /dev/null -c "SELECT notify_stats.create_rollup('by_status',
            'SELECT notification_status, count(*) AS n FROM notifications GROUP BY notification_status')" \
        -c 'CALL notify_stats.catch_up()'
    note_backlog_start
    keep_as growth_base
    start_from growth_base "notify_stats.resumable_wal_window = '8GB'"
    # makes the slot
    sql -c 'CALL notify_stats.catch_up()'
    keep_as growth_base
    start_from growth_base
    start=$(sql -c 'SELECT notify_stats.applied_lsn()')
    WINDOW_START=$start
    GROWTH_CHANGES[window]=$(sql -c "CALL bench.life_cycle($1, true)")
    WINDOW_WAL=$(sql -c "SELECT pg_size_pretty(pg_current_wal_insert_lsn() - '$start')")
    keep_backlog window
}

# window_conf SIZE
window_conf() {
    printf '%s\n' "notify_stats.resumable_wal_window = '$1'" "notify_stats.max_batch_wal = '16MB'" \
        'notify_stats.max_catch_up_workers = 1'
}

measure_window() {
    local changes=${GROWTH_CHANGES[window]} ticks window_ticks milliseconds resume resume_ticks client client_ticks
    start_from growth_window "$(window_conf 0)"
    warm_up bench_floor
    read -r milliseconds ticks < <(timed 'CALL notify_stats.catch_up();')
    start_from growth_window "$(window_conf "$(size 256MB 32MB)")"
    warm_up bench_floor
    read -r _ window_ticks < <(timed 'CALL notify_stats.catch_up();')
    check_growth window
    record 'window cpu' "$(per_change "$window_ticks" "$changes")" "$(per_change "$ticks" "$changes")"
    leave_one_behind
    read -r resume resume_ticks < <(timed 'CALL notify_stats.catch_up();')
    check_resumed
    read -r client client_ticks < <(timed "SELECT count(group_key) AS groups
        FROM notify_stats.changes('ft_service_stats', '$WINDOW_START') \\gset")
    record 'window changes' "$(calculate "$client / 1000")" "$(calculate "$milliseconds / 1000")"
    record 'window changes cpu' "$(per_change "$client_ticks" "$changes")" \
        "$(per_change "$ticks" "$changes")"
    record 'window resume' "$(calculate "$resume / 1000")" "$(calculate "$milliseconds / 1000")"
    record 'window resume cpu' "$(per_change "$resume_ticks" "$changes")" \
        "$(per_change "$ticks" "$changes")"
}

# Applies the backlog for one of the rollups only.
leave_one_behind() {
    start_from growth_window "$(window_conf 8GB)"
    sql -c 'ALTER TABLE by_status ADD CONSTRAINT obstacle CHECK (n < 0) NOT VALID'
    sql -c 'CALL notify_stats.catch_up()' 2>/dev/null && die "$PART: by_status did not fail"
    sql -c 'CALL notify_stats.catch_up()'
    sql -o /dev/null -c 'ALTER TABLE by_status DROP CONSTRAINT obstacle' -c "SELECT notify_stats.rebuild('by_status')"
}

check_resumed() {
    grep -q 'rollup public.by_status has been resumed' server.log || die "$PART: by_status was not resumed"
    check_growth window
}
