# shellcheck shell=bash
# What a session costs that asks for the changes of a rollup each second (changes()), under 1,000
# writes per second, and the worker beside it.

FOLLOWED=20     # seconds

part_followers() {
    local round share
    make_live_server
    create_rollup
    sql -f tree/test/bench/cpu.sql -c "ALTER SYSTEM SET notify_stats.resumable_wal_window = '1GB'" \
        -o /dev/null -c 'SELECT pg_reload_conf()'
    wait_for_window
    row 'followers cpu' '% of a core' 'value <= 3' 'a session that asks each second for changes: CPU' ''
    row 'followers writes' writes/s '' 'the same: writes at that time' ''
    row 'followers groups' groups '' 'the same: groups a second that it gets' ''
    for round in $(seq "$REPEAT"); do
        settle
        start_load $((FOLLOWED + 5)) $(life_options) $(rate 1000)
        read -r share groups < <(follow)
        wait_for_load
        record 'followers cpu' "$share" ''
        record 'followers groups' "$groups" ''
        record 'followers writes' "$(writes_per_second)" ''
        progress "repetition $round of $REPEAT"
    done
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
