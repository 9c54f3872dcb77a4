# shellcheck shell=bash
# What sessions cost that follow a rollup with changes(), under 1,000 writes per second, and the worker
# beside them: one that asks each second, one that waits for a rollup that does not change, and 20
# clients, with a session each, or all behind one session that listens to notifications.

FOLLOWED=20     # seconds

part_followers() {
    local round share groups
    make_live_server
    create_rollup
    sql -f tree/test/bench/cpu.sql -c "ALTER SYSTEM SET notify_stats.resumable_wal_window = '1GB'" \
        -c 'ALTER SYSTEM SET notify_stats.notify = on' -c 'ALTER SYSTEM SET max_replication_slots = 50' \
        -c 'CREATE TABLE bench.quiet (a int)' -c 'ALTER TABLE bench.quiet REPLICA IDENTITY FULL' \
        -o /dev/null -c "SELECT notify_stats.create_rollup('bench.quiets', 'SELECT a, count(*) AS n FROM bench.quiet GROUP BY a')"
    stop_server fast
    start_server
    wait_for_window
    row 'followers cpu' '% of a core' 'value <= 3' 'a session that asks each second for changes: CPU' ''
    row 'followers writes' writes/s '' 'the same: writes at that time' ''
    row 'followers groups' groups '' 'the same: groups a second that it gets' ''
    row 'followers quiet' '% of a core' 'value <= 1' \
        'a session that waits, while only another rollup changes: CPU' ''
    row 'followers hub cpu' '% of a core' '' '20 clients behind a session that listens: its CPU' \
        'a session each, which waits: their CPU'
    row 'followers hub p50' ms '' 'the same: from a commit until a client has the change, p50' \
        'a session each, which waits'
    row 'followers hub p99' ms '' 'the same: p99' 'a session each, which waits'
    for round in $(seq "$REPEAT"); do
        settle
        start_load $((FOLLOWED + 5)) $(life_options) $(rate 1000)
        read -r share groups < <(follow)
        wait_for_load
        record 'followers cpu' "$share" ''
        record 'followers groups' "$groups" ''
        record 'followers writes' "$(writes_per_second)" ''
        settle
        start_load $((FOLLOWED + 5)) $(life_options) $(rate 1000)
        record 'followers quiet' "$(wait_for_quiet)" ''
        wait_for_load
        compare_hub
        progress "repetition $round of $REPEAT"
    done
    note '20 sessions have 50 replication slots, and so each keeps one; with fewer, some would make a slot for each request'
    sql -o /dev/null -c "SELECT notify_stats.drop_rollup('bench.quiets')"
    check_live ft_service_stats
}

wait_for_window() {
    local i
    for i in $(seq 100); do
        [ -z "$(sql -c 'SELECT window_lsn FROM notify_stats.status')" ] || return 0
        sleep 0.1
    done
    die "$PART: there is no window"
}

# The session's share of a core in percent, and the groups a second.
follow() {
    {
        cat <<SQL
SELECT notify_stats.applied_lsn() AS lsn, 0 AS groups \gset
SELECT max(lsn) AS lsn FROM notify_stats.changes('ft_service_stats', :'lsn') \gset
SELECT bench.cpu_ticks() AS ticks, clock_timestamp() AS started \gset
SQL
        for _ in $(seq "$FOLLOWED"); do
            cat <<SQL
SELECT 'slept' AS slept FROM pg_sleep(1) \gset
SELECT max(lsn) AS lsn, count(group_key) + :groups AS groups FROM notify_stats.changes('ft_service_stats', :'lsn') \gset
SQL
        done
        cat <<SQL
SELECT (bench.cpu_ticks() - :ticks) * 100.0 / $(getconf CLK_TCK) / s, :groups / s
FROM extract(epoch FROM clock_timestamp() - :'started') s;
SQL
    } | sql -F ' ' -f -
}

# The share of a core, in percent, of a session that waits for a rollup that does not change.
wait_for_quiet() {
    sql -f - <<SQL
SELECT notify_stats.applied_lsn() AS lsn \gset
SELECT max(lsn) AS lsn FROM notify_stats.changes('bench.quiets', :'lsn') \gset
SELECT bench.cpu_ticks() AS ticks, clock_timestamp() AS started \gset
SELECT count(group_key) AS groups FROM notify_stats.changes('bench.quiets', :'lsn', '$FOLLOWED s') \gset
SELECT (bench.cpu_ticks() - :ticks) * 100.0 / $(getconf CLK_TCK) / extract(epoch FROM clock_timestamp() - :'started');
SQL
}

# 20 clients in both ways, each under a load of its own.
compare_hub() {
    local way p50 p99 share
    local -A p50s p99s shares
    for way in sessions hub; do
        settle
        start_load $((FOLLOWED + 10)) $(life_options) $(rate 1000)
        read -r p50 p99 share < <("$PYTHON" tree/test/bench/followers.py "$way" --seconds "$FOLLOWED")
        [ -n "$share" ] || die "$PART: the clients failed"
        wait_for_load
        p50s[$way]=$p50 p99s[$way]=$p99 shares[$way]=$share
    done
    record 'followers hub cpu' "${shares[hub]}" "${shares[sessions]}"
    record 'followers hub p50' "${p50s[hub]}" "${p50s[sessions]}"
    record 'followers hub p99' "${p99s[hub]}" "${p99s[sessions]}"
}
