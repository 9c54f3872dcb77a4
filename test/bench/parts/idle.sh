# shellcheck shell=bash
# A server that is left alone: what the worker takes of a core, and what is written to the log.
# The reference consumer polls once a second meanwhile, in turns.

part_idle() {
    local round seconds
    seconds=$(size 12 5)
    make_live_server
    create_rollup
    make_reference
    become_quiet
    row 'idle cpu' '% of a core' 'value <= 0.1' 'left alone: CPU of the worker' \
        'reference, polling each second'
    row 'idle wal' bytes 'value <= 0' "left alone: log in $seconds s" \
        'reference, polling each second'
    for round in $(seq "$REPEAT"); do
        measure_idle "$seconds"
        measure_idle_reference "$seconds"
        record 'idle cpu' "$IDLE_CPU" "$IDLE_REFERENCE_CPU"
        record 'idle wal' "$IDLE_WAL" "$IDLE_REFERENCE_WAL"
        progress "repetition $round of $REPEAT"
    done
    check_live ft_service_stats
    check_reference
}

# Until nobody has a reason to write. The server notes every 15 seconds what is running, if
# something was written since. Once the slots have read that, they no longer keep old catalog
# rows, which whoever reads the catalog would clear away now and then, and log it.
become_quiet() {
    settle
    sleep 17
    "$PYTHON" tree/test/bench/reference.py >/dev/null
    wait_for_rollup
    settle
    sleep 17
}

insert_lsn() {
    sql -c "SELECT pg_current_wal_insert_lsn() - '0/0'"
}

measure_idle() {
    local pid used lsn
    pid=$(worker_pid)
    lsn=$(insert_lsn)
    used=$("$PYTHON" tree/test/bench/measure.py "$pid")
    sleep "$1"
    used="$("$PYTHON" tree/test/bench/measure.py "$pid") - $used"
    [ "$(worker_pid)" = "$pid" ] || die "$PART: the worker has been started anew"
    IDLE_CPU=$(calculate "100 * ($used) / $1")
    IDLE_WAL=$(($(insert_lsn) - lsn))
    [ "$IDLE_WAL" = 0 ] ||
        note "in one measurement of notify_stats the log had $(records_since "$lsn")"
}

# records_since BYTES: kinds of what was written since that position
records_since() {
    "$BIN/pg_waldump" -p data/pg_wal -s "$(sql -c "SELECT '0/0'::pg_lsn + $1")" 2>/dev/null |
        sed 's/^rmgr: *\([A-Za-z0-9]*\).*desc: *\([A-Z_]*\).*/\1 \2/' | sort | uniq -c | tr '\n' ','
}

measure_idle_reference() {
    local changes used lsn
    lsn=$(insert_lsn)
    "$PYTHON" tree/test/bench/reference.py --seconds "$1" >reference.csv
    IFS=, read -r changes _ used <reference.csv
    [ "$changes" = 0 ] || die "$PART: somebody has written"
    IDLE_REFERENCE_CPU=$(calculate "100 * $used / $1")
    IDLE_REFERENCE_WAL=$(($(insert_lsn) - lsn))
}
