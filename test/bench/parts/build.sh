# shellcheck shell=bash
# What it costs to build a rollup of a large table, to build it again and to verify it, beside
# CREATE TABLE AS of its definition; with few groups, and with one for each ten rows. First on a
# server that does nothing else, then with 1,000 writes a second.
#
# Everything is of 10,000,000 rows, whatever the number (--rows).

declare -A DEFINITIONS=(
    [few]='SELECT template_id, notification_status, count(*) AS n
           FROM notifications GROUP BY 1, 2'
    [many]="SELECT date_trunc('hour', created_at) AS hour, template_id, count(*) AS n
            FROM notifications GROUP BY 1, 2")

part_build() {
    local groups round
    make_build_server
    for groups in few many; do
        announce_build "$groups"
    done
    for round in $(seq "$REPEAT"); do
        for groups in few many; do
            measure_build "$groups"
        done
        progress "repetition $round of $REPEAT"
    done
    for groups in few many; do
        measure_build_under_load "$groups"
    done
    note "the table has $(thousands "$ROWS") rows of Notify's, $TABLE_SIZE, and no index but its key; it" \
        "is in the memory of the machine, but not in shared_buffers (256 MB); work_mem and" \
        "maintenance_work_mem are the server's own (4 MB and 64 MB)"
    note 'CPU is that of the process with its parallel workers; memory is the peak of its own' \
        '(RssAnon), and files are the peak of sort files, temporary tables and spill files together'
}

# --- the server -----------------------------------------------------------------------

make_build_server() {
    make_server <<CONF
shared_buffers = '256MB'
wal_level = minimal
max_wal_senders = 0
fsync = off
autovacuum = off
max_wal_size = '20GB'
CONF
    start_server
    sql -o /dev/null -v rows="$ROWS" -f tree/test/bench/many.sql
    TABLE_SIZE=$(sql -c "SELECT pg_size_pretty(pg_table_size('notifications'))")
    stop_server fast
    as_server_user tee -a data/postgresql.conf >/dev/null <<CONF
wal_level = logical
max_wal_senders = 10
fsync = on
checkpoint_timeout = 1d
notify_stats.database = 'postgres'
max_slot_wal_keep_size = '20GB'
CONF
    start_server
    sql -c 'ALTER TABLE notifications REPLICA IDENTITY FULL' -c 'CHECKPOINT'
    # the first reading is slow, whoever does it
    sql -o /dev/null -c 'SELECT count(*) FROM notifications'
    progress "$(thousands "$ROWS") notifications, $TABLE_SIZE"
}

# --- rows -----------------------------------------------------------------------------

announce_build() {
    local what of groups
    groups=$(thousands "$(sql -c "SELECT count(*) FROM (${DEFINITIONS[$1]}) AS g")")
    of="$groups groups"
    for what in build rebuild verify; do
        announce_footprint "$1 $what" "$of: $what"
    done
    for what in build verify; do
        announce_loaded "loaded $1 $what" "$of: $what under 1,000 writes/s"
    done
}

# announce_footprint KEY TITLE
announce_footprint() {
    row "$1 seconds" s '' "$2: time" 'CREATE TABLE AS'
    row "$1 cpu" s '' "$2: CPU" 'CREATE TABLE AS'
    row "$1 files" MB '' "$2: temporary files" 'CREATE TABLE AS'
    row "$1 table" MB '' "$2: of which temporary tables" ''
    row "$1 memory" MB '' "$2: memory" 'CREATE TABLE AS'
    row "$1 workers" '' '' "$2: parallel workers" 'CREATE TABLE AS'
    row "$1 wal" MB '' "$2: WAL written" 'CREATE TABLE AS'
    row "$1 snapshot" s '' "$2: longest time that one snapshot is held" 'the whole'
    row "$1 join" s '' "$2: time of the join, in which the main stream stands still" 'the whole'
}

# announce_loaded KEY TITLE
announce_loaded() {
    row "$1 seconds" s '' "$2: time" ''
    row "$1 snapshot" s '' "$2: longest time that one snapshot is held" 'the whole'
    row "$1 age" transactions '' "$2: age of the oldest xmin" ''
    row "$1 retained" MB '' "$2: WAL retained by its slot, at most" 'all WAL written at the same time'
    row "$1 kept" 'dead rows' '' "$2: not removable by VACUUM of another table" 'dead rows after it'
}

# --- measurements ---------------------------------------------------------------------

create_statement() {
    printf "SELECT notify_stats.create_rollup('rollup_%s', \$\$%s\$\$)" "$1" "${DEFINITIONS[$1]}"
}

UNTIL_BUILT="SELECT notify_stats.wait_for_lsn(timeout => '1h')"

# measure_build GROUPS
measure_build() {
    local what
    sql -c CHECKPOINT
    footprint "CREATE TABLE bench.result AS ${DEFINITIONS[$1]}" >footprint.ctas
    sql -c 'DROP TABLE bench.result' -c CHECKPOINT
    footprint --builder "$(create_statement "$1")" "$UNTIL_BUILT" >footprint.build
    sql -c CHECKPOINT
    footprint --builder "SELECT notify_stats.rebuild('rollup_$1')" "$UNTIL_BUILT" >footprint.rebuild
    sql -c CHECKPOINT
    footprint --builder "SELECT count(*) FROM notify_stats.verify('rollup_$1')" >footprint.verify
    check_live "rollup_$1"
    sql -o /dev/null -c "SELECT notify_stats.drop_rollup('rollup_$1')"
    for what in build rebuild verify; do
        record_footprint "$1 $what" "footprint.$what" footprint.ctas
    done
}

# of_ten_million FIGURE UNIT: of so many rows, in units of so many bytes
of_ten_million() {
    calculate "$1 / $2 * 10000000 / $ROWS"
}

# record_footprint KEY FILE FILE
record_footprint() {
    local what
    for what in seconds cpu; do
        record "$1 $what" "$(of_ten_million "$(figure "$what" "$2")" 1)" \
            "$(of_ten_million "$(figure "$what" "$3")" 1)"
    done
    for what in files wal; do
        record "$1 $what" "$(of_ten_million "$(figure "$what" "$2")" 1e6)" \
            "$(of_ten_million "$(figure "$what" "$3")" 1e6)"
    done
    # what does not grow with the rows
    record "$1 memory" "$(calculate "$(figure memory "$2") / 1e6")" \
        "$(calculate "$(figure memory "$3") / 1e6")"
    record "$1 workers" "$(figure workers "$2")" "$(figure workers "$3")"
    record "$1 table" "$(of_ten_million "$(figure temporary_tables "$2")" 1e6)" ''
    record_snapshot "$1" "$2"
    record "$1 join" "$(of_ten_million "$(figure joining_seconds "$2")" 1)" \
        "$(of_ten_million "$(figure seconds "$2")" 1)"
    progress "$1: $(tr '\n' ' ' <"$2")"
}

# record_snapshot KEY FILE
record_snapshot() {
    record "$1 snapshot" "$(of_ten_million "$(figure snapshot_seconds "$2")" 1)" \
        "$(of_ten_million "$(figure seconds "$2")" 1)"
}

# measure_build_under_load GROUPS: once; with VACUUM of a table that has nothing to do with it
measure_build_under_load() {
    local options what key
    mapfile -t options < <(life_options; rate 1000)
    sql -c 'VACUUM' -c 'CHECKPOINT'
    start_load 600 "${options[@]}"
    sleep 3
    footprint --builder --vacuum bystander "$(create_statement "$1")" "$UNTIL_BUILT" >footprint.build
    footprint --builder --vacuum bystander "SELECT count(*) FROM notify_stats.verify('rollup_$1')" \
        >footprint.verify
    kill "$LOAD"
    wait "$LOAD" || true
    check_live "rollup_$1"
    sql -o /dev/null -c "SELECT notify_stats.drop_rollup('rollup_$1')"
    for what in build verify; do
        key="loaded $1 $what"
        record "$key seconds" "$(of_ten_million "$(figure seconds "footprint.$what")" 1)" ''
        record_snapshot "$key" "footprint.$what"
        record "$key age" "$(figure snapshot_age "footprint.$what")" ''
        record "$key retained" "$(calculate "$(figure retained_wal "footprint.$what") / 1e6")" \
            "$(calculate "$(figure wal "footprint.$what") / 1e6")"
        grep -q kept_during "footprint.$what" || [ -n "$QUICK" ] ||
            die "$PART: the table was not vacuumed during $key"
        record "$key kept" "$(figure kept_during "footprint.$what")" \
            "$(figure kept_after "footprint.$what")"
        progress "$key"
    done
}
