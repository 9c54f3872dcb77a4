# shellcheck shell=bash
# What is written to disk while a backlog is read, beside the WAL itself: the changes of a
# transaction that does not fit into logical_decoding_work_mem (pg_replslot/*/*.spill, as for any
# logical slot), and what the output plugin has written of it (base/pgsql_tmp). Both are gone
# afterwards. Measured once: it does not vary.

part_temporary_files() {
    local changes
    changes=$(size 2000000 200000)
    make_keyed_backlog single "$changes" 10000 --each "$changes"
    measure_temporary_files single "one transaction of $(thousands "$changes") changes of narrow rows"
    make_keyed_backlog many "$changes" 10000 --each 100
    measure_temporary_files many "$(thousands "$changes") of them, in transactions of 100"
    make_wide_backlog "$(size 200000 20000)"
    measure_temporary_files wide \
        "one transaction of $(thousands "${GROWTH_CHANGES[wide]}") updates of Notify's, FULL"
    note 'work_mem and logical_decoding_work_mem are 64 MB; figures are of the peak, and each kind has' \
        'its own'
}

# make_wide_backlog ROWS
make_wide_backlog() {
    make_still_server "$1"
    note_backlog_start
    GROWTH_CHANGES[wide]=$(sql -c "WITH updated AS (
            UPDATE notifications SET notification_status = 'returned-letter', updated_at = now()
            RETURNING 1)
        SELECT count(*) FROM updated")
    keep_backlog wide
}

# measure_temporary_files NAME TITLE
measure_temporary_files() {
    local file=footprint.$1 changes=${GROWTH_CHANGES[$1]} wal
    start_from "growth_$1"
    wal=$(sql -c "SELECT pg_current_wal_insert_lsn() - confirmed_flush_lsn
                  FROM pg_replication_slots WHERE slot_name = 'bench_floor'")
    footprint 'CALL notify_stats.catch_up()' >"$file"
    check_growth "$1"
    forget_growth "$1"
    row "temporary $1 spill" 'MB per million changes' '' "$2: spill files" 'WAL'
    row "temporary $1 sort" 'MB per million changes' '' "$2: base/pgsql_tmp" 'WAL'
    row "temporary $1 files" MB '' "$2: both, at the same time" 'WAL'
    row "temporary $1 memory" MB '' "$2: memory" ''
    row "temporary $1 cpu" 'µs a change' '' "$2: CPU" ''
    record "temporary $1 spill" "$(calculate "$(figure spill_files "$file") / $changes")" \
        "$(calculate "$wal / $changes")"
    record "temporary $1 sort" "$(calculate "$(figure sort_files "$file") / $changes")" \
        "$(calculate "$wal / $changes")"
    record "temporary $1 files" "$(calculate "$(figure files "$file") / 1e6")" \
        "$(calculate "$wal / 1e6")"
    record "temporary $1 memory" "$(calculate "$(figure memory "$file") / 1e6")" ''
    record "temporary $1 cpu" "$(calculate "$(figure cpu "$file") * 1e6 / $changes")" ''
    progress "$2: $(figure seconds "$file") s"
}
