# shellcheck shell=bash
# A plot of the lag that a reader of the rollup sees, while the load steps up, bursts and stops.
# The probe's own ten rows a second are all that there is at the beginning and at the end.

part_lag() {
    local quiet steady burst probe
    quiet=$(size 10 4)
    steady=$(size 20 5)
    burst=$(size 10 4)
    make_live_server
    create_rollup
    settle
    rm -f lag.load lag.phases
    "$PYTHON" tree/test/bench/probe.py --every 0.1 --seconds $((3 * quiet + 2 * steady + burst)) \
        --samples lag.samples >lag.csv &
    probe=$!
    sleep 0.5
    quiet_phase "$quiet" quiet
    load_phase "$steady" '300/s' "$(rate 300)"
    load_phase "$steady" '1,000/s' "$(rate 1000)"
    load_phase "$burst" 'unlimited'
    quiet_phase "$quiet" quiet
    wait "$probe" || die "$PART: the probe failed"
    check_live ft_service_stats
    "$PYTHON" tree/test/bench/phases.py lag.phases lag.samples >lag.note
    note "$(cat lag.note)"
    gnuplot -e "samples='lag.samples'; load='lag.load'; phases='lag.phases'; output='lag.svg'" \
        tree/test/bench/lag.gnuplot
}

# quiet_phase SECONDS NAME
quiet_phase() {
    begin_phase "$2"
    printf '%s 0\n' "$(date +%s.%N)" >>lag.load
    sleep "$1"
    printf '%s 0\n' "$(date +%s.%N)" >>lag.load
}

# load_phase SECONDS NAME [OPTION]: with what pgbench says of each second that has ended
load_phase() {
    local seconds=$1 name=$2
    shift 2
    begin_phase "$name"
    start_load "$seconds" -f tree/test/bench/life.sql --no-vacuum -P 1 --progress-timestamp "$@"
    wait_for_load
    sed -n 's/^progress: \([0-9.]*\) s, \([0-9.]*\) tps.*/\1 \2/p' pgbench.log |
        awk '{printf "%.3f %.0f\n%.3f %.0f\n", $1 - 1, $2 * 3, $1, $2 * 3}' >>lag.load
}

begin_phase() {
    printf '%s %s\n' "$(date +%s.%N)" "$1" >>lag.phases
    progress "$1"
}
