# shellcheck shell=bash
# What a backlog that is read takes from those who write, on the same cores: the speed of eight
# clients while the backlog stands still (the stream is paused), and while one process or two
# read it; and how long that takes, with the clients and without. Each measurement starts from
# a copy of one data directory.

part_beside_writers() {
    local round
    make_beside_backlog
    row 'beside one' writes/s '' '8 clients, one process reads a backlog' 'none reads it'
    row 'beside two' writes/s '' '8 clients, two processes read a backlog' 'none reads it'
    row 'beside two one' writes/s '' '8 clients, two processes read a backlog' 'one process'
    row 'beside one time' s '' "one process reads $(thousands "$CHANGES") changes beside 8 clients: time" \
        'without the clients'
    row 'beside two time' s '' "two processes read $(thousands "$CHANGES") changes beside 8 clients: time" \
        'without the clients'
    row 'beside times' s '' 'the same beside 8 clients: time of two' 'of one'
    for round in $(seq "$REPEAT"); do
        measure_beside none
        measure_beside one 1
        measure_beside two 2
        measure_alone one 1
        measure_alone two 2
        record 'beside one' "$(cat beside.one)" "$(cat beside.none)"
        record 'beside two' "$(cat beside.two)" "$(cat beside.none)"
        record 'beside two one' "$(cat beside.two)" "$(cat beside.one)"
        record 'beside one time' "$(cat seconds.one)" "$(cat alone.one)"
        record 'beside two time' "$(cat seconds.two)" "$(cat alone.two)"
        record 'beside times' "$(cat seconds.two)" "$(cat seconds.one)"
        progress "repetition $round of $REPEAT"
    done
    note "the clients write as those of the part writers, and are counted from the moment when the" \
        "stream is resumed until the backlog of that moment is applied; if none reads it, for" \
        "$(size 6 3) seconds"
}

make_beside_backlog() {
    make_live_server
    create_rollup
    sql -f tree/test/bench/cpu.sql -f tree/test/bench/setup.sql
    sql -o /dev/null -c 'SELECT notify_stats.pause()'
    CHANGES=$(sql -c 'SET synchronous_commit = off' \
        -c "CALL bench.life_cycle($(size 400000 40000), true)")
    progress "backlog of $CHANGES changes"
    keep_as beside
}

# start_beside [PROCESSES]: a paused stream with the backlog
start_beside() {
    start_from beside "$(parallel_conf "${1:-1}")"
    sql -o /dev/null -c 'SELECT count(*) FROM notifications'
}

# resume_and_wait: when that was, and the seconds until what was written by then is applied
resume_and_wait() {
    sql -F ' ' <<SQL
SELECT pg_current_wal_flush_lsn() AS target, extract(epoch FROM clock_timestamp()) AS started \gset
SELECT notify_stats.resume() \g /dev/null
SELECT notify_stats.wait_for_lsn(:'target', '10min') \g /dev/null
SELECT :started, extract(epoch FROM clock_timestamp()) - :started;
SQL
}

# measure_beside NAME [PROCESSES]: into the files beside.NAME (writes per second) and
# seconds.NAME; without a number, none reads the backlog
measure_beside() {
    local started seconds
    start_beside "${2:-}"
    # it is ended when the backlog has been read
    start_load 600 -f tree/test/bench/life.sql --no-vacuum
    sleep 2
    if [ $# -gt 1 ]; then
        read -r started seconds < <(resume_and_wait)
    else
        started=$(date +%s.%N)
        seconds=$(size 6 3)
        sleep "$seconds"
    fi
    kill "$LOAD"
    wait "$LOAD" || :
    writes_between "$started" "$seconds" >"beside.$1"
    echo "$seconds" >"seconds.$1"
    if [ $# -gt 1 ]; then
        [ "$2" = 1 ] || check_divided
        check_live ft_service_stats
    fi
}

# writes_between START SECONDS: writes per second; each notification that life.sql makes is three
writes_between() {
    sql -c "SELECT 3 * count(*) / $2 FROM notifications
            WHERE created_at >= to_timestamp($1) AT TIME ZONE 'UTC'
              AND created_at < to_timestamp($1 + $2) AT TIME ZONE 'UTC'"
}

# measure_alone NAME PROCESSES: into the file alone.NAME
measure_alone() {
    start_beside "$2"
    resume_and_wait | cut -d ' ' -f 2 >"alone.$1"
    check_live ft_service_stats
}
