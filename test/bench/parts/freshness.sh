# shellcheck shell=bash
# From COMMIT until a reader of the rollup sees it, while others write. The reference consumer
# polls once a second, as GOV.UK Notify's first did, under the same load.

part_freshness() {
    local round
    make_live_server
    create_rollup
    find_highest
    announce_freshness
    for round in $(seq "$REPEAT"); do
        measure_freshness 1000
        measure_freshness reference
        measure_freshness 100
        measure_freshness highest
        measure_freshness mix
        record_freshness 1000 reference
        record_freshness 100 1000
        record_freshness highest 1000
        record_freshness mix 1000
        progress "repetition $round of $REPEAT"
    done
    check_live ft_service_stats
}

announce_freshness() {
    announce_rows 1000 '1,000 writes/s' 'reference, polling each second' \
        'value <= 3' 'value <= 60' 'value <= 5'
    announce_rows 100 '100 writes/s' 'at 1,000 writes/s'
    announce_rows highest "the highest rate kept up ($(thousands "$HIGHEST") writes/s)" 'at 1,000 writes/s'
    announce_rows mix '1,000 transactions/s of test/notify, some of thousands of rows' \
        'at 1,000 writes/s'
    note "the highest rate kept up is that of 8 clients at which the lag does not grow: $(thousands "$HIGHEST") writes/s;" \
        "without a limit they make $(thousands "$UNLIMITED")"
    note "the rollup is looked at each half millisecond, so shorter times are not seen"
}

# announce_rows LOAD TITLE BESIDE [GOAL P50] [GOAL P99] [GOAL CPU]
announce_rows() {
    row "fresh $1 p50" ms "${4:-}" "commit to visible, $2: median" "$3"
    row "fresh $1 p99" ms "${5:-}" "commit to visible, $2: p99" "$3"
    row "fresh $1 max" ms '' "commit to visible, $2: maximum" "$3"
    row "fresh $1 cpu" '% of a core' "${6:-}" "CPU of the worker, $2" "$3"
}

# record_freshness LOAD BESIDE: of the last measurement of both
record_freshness() {
    local _ p50 p99 max cpu p50_2 p99_2 max_2 cpu_2
    IFS=, read -r _ p50 p99 max cpu _ <"fresh.$1"
    IFS=, read -r _ p50_2 p99_2 max_2 cpu_2 _ <"fresh.$2"
    record "fresh $1 p50" "$p50" "$p50_2"
    record "fresh $1 p99" "$p99" "$p99_2"
    record "fresh $1 max" "$max" "$max_2"
    record "fresh $1 cpu" "$cpu" "$cpu_2"
}

# measure_freshness LOAD: into the file fresh.LOAD
measure_freshness() {
    local options
    settle
    mapfile -t options < <(freshness_load "$1")
    if [ "$1" = reference ]; then
        measure_reference "${options[@]}"
    else
        probe_load "$(size 8 5)" ft_service_stats "$(worker_pid)" "${options[@]}" >"fresh.$1"
        wait_for_rollup
    fi
}

freshness_load() {
    case $1 in
        1000 | reference) life_options; rate 1000 ;;
        100) life_options; rate 100 ;;
        highest) life_options; rate "$HIGHEST" ;;
        mix) load_options; echo --rate=1000 ;;
    esac
}

# The rollup stands still meanwhile.
measure_reference() {
    local seconds
    seconds=$(size 8 5)
    sql -o /dev/null -c 'SELECT notify_stats.pause()'
    make_reference
    start_reference $((seconds + 60))
    probe_load "$seconds" service_stats_reference "$REFERENCE,$REFERENCE_BACKEND" "$@" \
        >fresh.reference
    stop_reference
    count_rest
    check_reference
    drop_reference
    sql -o /dev/null -c 'SELECT notify_stats.resume()'
    wait_for_rollup
}

# What was committed when the reference consumer was stopped.
count_rest() {
    "$PYTHON" tree/test/bench/reference.py >/dev/null
}

# probe_load SECONDS TABLE PIDS OPTION...: the load alone for a second, then with the probe
probe_load() {
    local seconds=$1 table=$2 pids=$3
    shift 3
    start_load $((seconds + 2)) "$@"
    sleep 1
    "$PYTHON" tree/test/bench/probe.py --table "$table" --pids "$pids" --seconds "$seconds"
    wait_for_load
}

# Steps down from what the clients make without a limit, until they keep the rate and the
# median lag at the end is about that at the beginning. Sets HIGHEST and UNLIMITED.
find_highest() {
    local percent seconds first last
    seconds=$(size 6 4)
    start_load "$seconds" -f tree/test/bench/life.sql --no-vacuum
    wait_for_load
    wait_for_rollup
    UNLIMITED=$(printf '%.0f' "$(writes_per_second)")
    for percent in 100 90 80 70 60 50 40 30 20; do
        HIGHEST=$((UNLIMITED * percent / 100))
        settle
        mapfile -t options < <(life_options; rate "$HIGHEST")
        probe_load "$seconds" ft_service_stats "$(worker_pid)" "${options[@]}" >fresh.step
        IFS=, read -r _ _ _ _ _ first last <fresh.step
        progress "$HIGHEST writes/s: made $(writes_per_second), lag $first, then $last ms"
        ! awk "BEGIN {exit !($(writes_per_second) >= 0.97 * $HIGHEST &&
                             $last <= 2 * $first + 20)}" || return 0
    done
    die "$PART: no rate is kept up"
}
