# shellcheck shell=bash
# What notify_stats.notify costs writers: the server commits the transactions that notify one after
# the other, those of the worker included. Eight clients write as fast as they can; some notify
# others themselves, once per three writes.

part_notifications() {
    local round writers setting
    make_live_server
    create_rollup
    { cat tree/test/bench/life.sql; echo 'NOTIFY bench;'; } >notifying.pgbench
    row 'notifications silent' writes/s '' 'writers that do not notify: notify_stats.notify on' 'off'
    row 'notifications notifying' writes/s '' 'writers that notify themselves: notify_stats.notify on' 'off'
    for round in $(seq "$REPEAT"); do
        for writers in silent notifying; do
            for setting in off on; do
                measure_notifications "$writers" "$setting"
            done
            record "notifications $writers" "$(cat "$writers.on")" "$(cat "$writers.off")"
        done
        progress "repetition $round of $REPEAT"
    done
    check_live ft_service_stats
}

# measure_notifications WRITERS SETTING: into the file WRITERS.SETTING
measure_notifications() {
    local script=tree/test/bench/life.sql
    [ "$1" = silent ] || script=notifying.pgbench
    sql -c "ALTER SYSTEM SET notify_stats.notify = $2" -o /dev/null -c 'SELECT pg_reload_conf()'
    settle
    start_load "$(size 5 3)" -f "$script" --no-vacuum
    wait_for_load
    writes_per_second >"$1.$2"
    wait_for_rollup
}
