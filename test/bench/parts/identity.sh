# shellcheck shell=bash
# What a replica identity costs those who write: WAL of an update and of a delete, and the time,
# with the primary key alone (the default), with an index over the columns that a rollup reads, and
# with FULL; for rows without and with a value that is stored apart (TOAST) and not changed.

IDENTITIES=(key index full)
TABLES=(notifications narrow binary_20_kb json_200_kb)
declare -A TABLE_TITLES=(
    [notifications]="Notify's notifications" [narrow]='narrow rows, one index'
    [binary_20_kb]='rows with 20 kB of random bytea' [json_200_kb]='rows with 200 kB of JSON text')

part_identity() {
    local table round identity
    make_live_server
    as_server_user tee -a data/postgresql.conf >/dev/null <<<'full_page_writes = off'
    sql -o /dev/null -c 'SELECT pg_reload_conf()'
    sql -f tree/test/bench/identity.sql
    for table in "${TABLES[@]}"; do
        announce_identity "$table" "${TABLE_TITLES[$table]}"
    done
    for round in $(seq "$REPEAT"); do
        for table in "${TABLES[@]}"; do
            for identity in "${IDENTITIES[@]}"; do
                measure_identity "$table" "$identity"
            done
            record_identity "$table"
        done
        progress "repetition $round of $REPEAT"
    done
    for table in notifications binary_20_kb; do
        measure_reader "$table"
    done
    for table in "${TABLES[@]}"; do
        note_identity "$table"
    done
    note 'WAL is without full-page images, which do not depend on the identity' \
        '(full_page_writes = off), and with the commit of each row'
}

# --- rows -----------------------------------------------------------------------------

# announce_identity TABLE TITLE
announce_identity() {
    local identity beside='primary key'
    local -A titles=([index]='index over the columns read' [full]='FULL')
    for identity in index full; do
        row "identity $1 $identity status" bytes '' \
            "$2: WAL of an update of the status, ${titles[$identity]}" "$beside"
        row "identity $1 $identity other" bytes '' \
            "$2: WAL of an update of a column that no rollup reads, ${titles[$identity]}" "$beside"
        row "identity $1 $identity delete" bytes '' \
            "$2: WAL of a delete, ${titles[$identity]}" "$beside"
        row "identity $1 $identity ms" ms '' \
            "$2: time of an update of the status, 1 client, ${titles[$identity]}" "$beside"
        row "identity $1 $identity tps" updates/s '' \
            "$2: updates of the status, 8 clients, ${titles[$identity]}" "$beside"
    done
    case $1 in notifications | binary_20_kb)
        row "identity $1 reader" 'µs a change' '' "$2: CPU of the worker, FULL" \
            'index over the columns read' ;;
    esac
}

# record_identity TABLE: of the last measurement of each
record_identity() {
    local identity what
    for identity in index full; do
        for what in status other delete ms tps; do
            record "identity $1 $identity $what" "$(cat "identity.$1.$identity.$what")" \
                "$(cat "identity.$1.key.$what")"
        done
    done
}

# note_identity TABLE: how many of the updates were HOT, and how large a row is
note_identity() {
    local identity shares=()
    for identity in "${IDENTITIES[@]}"; do
        shares+=("$identity $(cat "identity.$1.$identity.hot") and $(cat "identity.$1.$identity.hot.other") %")
    done
    note "${TABLE_TITLES[$1]}: HOT updates of the status and of the other column:" \
        "${shares[0]}, ${shares[1]}, ${shares[2]}; a row takes" \
        "$(sql -c "SELECT pg_table_size('$1') / count(*) FROM $1") bytes with TOAST"
}

# --- measurements ---------------------------------------------------------------------

columns_read() {
    case $1 in
        notifications)
            echo 'id, created_at, service_id, template_id, notification_type, notification_status, key_type' ;;
        *) echo 'id, created_at, status, amount' ;;
    esac
}

# set_identity TABLE key|index|full
set_identity() {
    sql -c 'SET client_min_messages = warning' -c "DROP INDEX IF EXISTS columns_read"
    case $2 in
        key) sql -c "ALTER TABLE $1 REPLICA IDENTITY DEFAULT" ;;
        full) sql -c "ALTER TABLE $1 REPLICA IDENTITY FULL" ;;
        index)
            sql -c "CREATE UNIQUE INDEX columns_read ON $1 ($(columns_read "$1"))" \
                -c "ALTER TABLE $1 REPLICA IDENTITY USING INDEX columns_read" ;;
    esac
}

# write_update TABLE status|other: the script of pgbench
write_update() {
    echo '\set row random(1, 2000)'
    case $1.$2 in
        notifications.status) echo "UPDATE notifications SET notification_status =
            CASE notification_status WHEN 'sending' THEN 'delivered' ELSE 'sending' END
            WHERE id = md5('notification ' || :row)::uuid;" ;;
        notifications.other) echo "UPDATE notifications SET billable_units = billable_units + 1
            WHERE id = md5('notification ' || :row)::uuid;" ;;
        *.status) echo "UPDATE $1 SET status =
            CASE status WHEN 'sending' THEN 'delivered' ELSE 'sending' END WHERE id = :row;" ;;
        *.other) echo "UPDATE $1 SET other = other + 1 WHERE id = :row;" ;;
    esac | tr '\n' ' ' | sed 's/)  *UPDATE/)\nUPDATE/'
}

# measure_identity TABLE IDENTITY: into files identity.TABLE.IDENTITY.WHAT
measure_identity() {
    local file=identity.$1.$2
    set_identity "$@"
    # the first updates of a table leave room on its pages, after which it stays as it is
    update_for 1 "$1" status 8
    settle
    update_for "$(size 3 2)" "$1" status 8
    cp update.tps "$file.tps"
    cp update.bytes "$file.status"
    cp update.hot "$file.hot"
    settle
    update_for "$(size 2 1)" "$1" status 1
    calculate "1000 / $(cat update.tps)" >"$file.ms"
    settle
    update_for "$(size 2 1)" "$1" other 8
    cp update.bytes "$file.other"
    cp update.hot "$file.hot.other"
    settle
    delete_some "$1" >"$file.delete"
}

# counted TABLE: updates, and HOT ones, as the server counts them
counted() {
    # each session reports when it ends, which may be a moment after its client has
    sleep 0.5
    sql -F ' ' -c "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
                   WHERE relid = '$1'::regclass"
}

# update_for SECONDS TABLE status|other CLIENTS: into files update.tps, .bytes and .hot
update_for() {
    local start updates hot updates_after hot_after
    write_update "$2" "$3" >update.pgbench
    read -r updates hot < <(counted "$2")
    start=$(insert_lsn)
    start_load "$1" -f update.pgbench --no-vacuum -c "$4" -j "$(($4 > 1 ? 2 : 1))"
    wait_for_load
    awk '/^tps = / {print $3}' pgbench.log >update.tps
    read -r updates_after hot_after < <(counted "$2")
    calculate "($(insert_lsn) - $start) / ($updates_after - $updates)" >update.bytes
    awk "BEGIN {printf \"%.0f\n\", 100 * ($hot_after - $hot) / ($updates_after - $updates)}" >update.hot
}

# delete_some TABLE: WAL of each of 100 deletes
delete_some() {
    local ids start
    ids=$(sql -c "SELECT array_agg(id) FROM (SELECT id FROM $1
        WHERE id NOT IN ($(updated_ids "$1")) ORDER BY id LIMIT 100) AS s")
    start=$(insert_lsn)
    sql -c "CALL bench.delete_each('$1', '$ids')"
    calculate "($(insert_lsn) - $start) / 100"
}

updated_ids() {
    case $1 in
        notifications) echo "SELECT md5('notification ' || i)::uuid FROM generate_series(1, 2000) AS i" ;;
        *) echo 'SELECT generate_series(1, 2000)' ;;
    esac
}

# measure_reader TABLE: CPU of the worker for each update of the status, by turns
measure_reader() {
    local round identity
    for round in $(seq "$REPEAT"); do
        for identity in index full; do
            set_identity "$1" "$identity"
            sql -o /dev/null -c "SELECT notify_stats.create_rollup('by_status',
                'SELECT $(status_column "$1") AS status, created_at::date AS day, count(*) AS n
                 FROM $1 GROUP BY 1, 2')"
            wait_for_rollup
            settle
            read_updates "$1" >"reader.$identity"
            check_live by_status
            sql -o /dev/null -c "SELECT notify_stats.drop_rollup('by_status')"
        done
        record "identity $1 reader" "$(cat reader.full)" "$(cat reader.index)"
    done
    progress "CPU of the worker, $1"
}

status_column() {
    case $1 in notifications) echo notification_status ;; *) echo status ;; esac
}

read_updates() {
    local pid used updates updates_after _
    pid=$(worker_pid)
    read -r updates _ < <(counted "$1")
    used=$("$PYTHON" tree/test/bench/measure.py "$pid")
    update_for "$(size 5 2)" "$1" status 8
    wait_for_rollup
    used="$("$PYTHON" tree/test/bench/measure.py "$pid") - $used"
    read -r updates_after _ < <(counted "$1")
    calculate "($used) * 1000000 / ($updates_after - $updates)"
}
