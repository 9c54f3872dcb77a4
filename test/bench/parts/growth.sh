# shellcheck shell=bash
# CPU of the session that runs catch_up(), for each change of a backlog, as one thing grows and
# all else stays; and the memory of that session. Each backlog is kept as a data directory.

declare -A GROWTH_CHANGES GROWTH_BUILT GROWTH_CPU

part_growth() {
    growth_of_backlog
    growth_of_groups
    growth_of_rollups
    growth_of_traffic
    growth_of_memory
}

# --- what grows -----------------------------------------------------------------------

# Notify's changes, as the log that they make is what is read in windows.
growth_of_backlog() {
    local small large
    small=$(size 50000 5000)
    large=$((small * 10))
    make_still_server 20000
    note_backlog_start
    keep_as growth_base
    make_notify_backlog small "$small"
    make_notify_backlog large "$large"
    row 'growth large' 'µs a change' 'ratio <= 1.3' \
        "CPU: backlog of $(thousands "$large") changes of Notify's" "of $(thousands "$small")"
    repeat_growth small large
    compare_growth large small
    forget_growth base small large
}

growth_of_groups() {
    local changes
    changes=$(size 200000 20000)
    make_keyed_backlog ten "$changes" 10
    make_keyed_backlog thousands "$changes" 10000
    make_keyed_backlog million "$changes" "$(size 1000000 100000)"
    row 'growth thousands' 'µs a change' '' 'CPU: 10,000 groups' '10 groups'
    row 'growth million' 'µs a change' 'ratio <= 2' "CPU: $(size 1,000,000 100,000) groups" '10 groups'
    repeat_growth ten thousands million
    compare_growth thousands ten
    compare_growth million ten
    forget_growth ten thousands million
}

growth_of_rollups() {
    local changes
    changes=$(size 50000 5000)
    make_keyed_backlog one "$changes" 1000
    make_keyed_backlog dozen "$changes" 1000 --rollups 10
    make_keyed_backlog fifty "$changes" 1000 --rollups 50
    row 'growth dozen' 'µs a change' '' 'CPU: 10 rollups on one table' '1 rollup'
    row 'growth fifty' 'µs a change' 'ratio <= 3' 'CPU: 50 rollups on one table' '1 rollup'
    repeat_growth one dozen fifty
    compare_growth dozen one
    compare_growth fifty one
    forget_growth one dozen fifty
}

growth_of_traffic() {
    local changes
    changes=$(size 50000 5000)
    make_keyed_backlog quiet "$changes" 1000
    make_keyed_backlog busy "$changes" 1000 --unrelated 10
    row 'growth busy' 'µs a change' '' \
        'CPU for each related change: ten changes of another table between two' 'none between'
    repeat_growth quiet busy
    compare_growth busy quiet
    compare_busy_with_floor
    forget_growth quiet busy
}

# The server's part for all changes, of any table.
compare_busy_with_floor() {
    local ticks floor_ticks _
    row 'growth busy floor' 'µs a change' 'ratio <= 0.6' \
        'the same: CPU' 'peek that gives nothing, of the same backlog'
    for _ in $(seq "$REPEAT"); do
        start_from growth_busy
        warm_up bench_floor
        read -r _ floor_ticks < <(timed "SELECT count(*) AS messages
            FROM pg_logical_slot_peek_binary_changes('bench_floor', NULL, NULL) \\gset")
        read -r _ ticks < <(timed 'CALL notify_stats.catch_up();')
        record 'growth busy floor' "$(per_change "$ticks" "${GROWTH_CHANGES[busy]}")" \
            "$(per_change "$floor_ticks" "${GROWTH_CHANGES[busy]}")"
    done
}

# Measured once: it does not vary.
growth_of_memory() {
    local changes name
    changes=$(size 2000000 200000)
    make_keyed_backlog base "$(size 20000 2000)" 10000 --each 100
    make_keyed_backlog many "$changes" 10000 --each 100
    make_keyed_backlog single "$changes" 10000 --each "$changes"
    row 'growth many' MB '' "memory: backlog of $(thousands "$changes") changes, in transactions of 100" \
        "of $(size 20,000 2,000)"
    row 'growth single' MB '' "memory: one transaction of $(thousands "$changes") changes" \
        "$(size 20,000 2,000) in transactions of 100"
    for name in base many single; do
        start_from "growth_$name"
        "$PYTHON" tree/test/bench/memory.py >"memory.$name"
        check_growth "$name"
        progress "memory, $name: $(cat "memory.$name") MB"
    done
    record 'growth many' "$(cat memory.many)" "$(cat memory.base)"
    record 'growth single' "$(cat memory.single)" "$(cat memory.base)"
    note 'memory is the peak of what the session has of its own (RssAnon), measured once'
    forget_growth base many single
}

# --- backlogs -------------------------------------------------------------------------

# make_notify_backlog NAME CHANGES
make_notify_backlog() {
    start_from growth_base
    GROWTH_CHANGES[$1]=$(sql -c "CALL bench.life_cycle($2, true)")
    keep_backlog "$1"
}

# make_keyed_backlog NAME CHANGES GROUPS [--rollups N] [--unrelated N] [--each N] [--logged-each N]
make_keyed_backlog() {
    local name=$1 changes=$2 groups=$3 rollups=1 unrelated=0 each=1 logged_each=15000 i
    shift 3
    while [ $# -gt 0 ]; do
        case $1 in
            --rollups) rollups=$2 ;;
            --unrelated) unrelated=$2 ;;
            --each) each=$2 ;;
            --logged-each) logged_each=$2 ;;
        esac
        shift 2
    done
    make_server < <(still_server_conf)
    start_server
    sql -f tree/test/bench/cpu.sql -f tree/test/bench/growth.sql \
        -c "INSERT INTO events SELECT i, i FROM generate_series(0, $groups - 1) AS i" \
        -c 'CREATE EXTENSION notify_stats'
    for i in $(seq "$rollups"); do
        echo "SELECT notify_stats.create_rollup('rollup_$i',
                  'SELECT key, count(*) AS n FROM events GROUP BY key');"
    done | sql -o /dev/null -c 'SET client_min_messages = warning' -f -
    sql -c 'CALL notify_stats.catch_up()' -c 'VACUUM ANALYZE'
    note_backlog_start
    # to the planner the table is as small as it was before
    GROWTH_CHANGES[$name]=$(sql -c 'SET enable_seqscan = off' \
        -c "CALL bench.make_events($changes, $groups, $each, $unrelated, logged_each => $logged_each)")
    keep_backlog "$name"
}

note_backlog_start() {
    sql -o /dev/null -c "SELECT pg_create_logical_replication_slot('bench_floor', 'floor')"
    note_build
}

keep_backlog() {
    GROWTH_BUILT[$1]=$BUILT_AT
    keep_as "growth_$1"
    progress "backlog \"$1\" of ${GROWTH_CHANGES[$1]} changes"
}

forget_growth() {
    local name
    for name; do
        as_server_user rm -rf "growth_$name"
    done
}

# --- measurements ---------------------------------------------------------------------

# repeat_growth NAME...: in turns; the figures of all rounds go to GROWTH_CPU
repeat_growth() {
    local round name ticks _
    for round in $(seq "$REPEAT"); do
        for name; do
            start_from "growth_$name"
            warm_up bench_floor
            read -r _ ticks < <(timed 'CALL notify_stats.catch_up();')
            GROWTH_CPU[$name]+="$(per_change "$ticks" "${GROWTH_CHANGES[$name]}") "
            [ "$round" -lt "$REPEAT" ] || check_growth "$name"
        done
        progress "repetition $round of $REPEAT: $*"
    done
}

check_growth() {
    local rollups
    BUILT_AT=${GROWTH_BUILT[$1]}
    mapfile -t rollups < <(sql -c 'SELECT rollup FROM notify_stats.rollups')
    check_caught_up "${rollups[@]}"
}

# compare_growth NAME WITH
compare_growth() {
    local i of with
    read -ra of <<<"${GROWTH_CPU[$1]}"
    read -ra with <<<"${GROWTH_CPU[$2]}"
    for i in "${!of[@]}"; do
        record "growth $1" "${of[i]}" "${with[i]}"
    done
}
