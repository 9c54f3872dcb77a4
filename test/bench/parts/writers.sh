# shellcheck shell=bash
# What counting costs those who write: pgbench's speed, as fast as its clients can, with the
# life of notifications, and everything on the same cores. Each measurement starts with the
# same few rows.

WAYS=(none full rollup rows statements)

part_writers() {
    local round clients way
    make_live_server
    sql -f tree/test/bench/triggers.sql \
        -c 'CREATE TABLE simulation.stock AS SELECT * FROM notifications ORDER BY id LIMIT 2000'
    for clients in 8 32; do
        announce_writers "$clients"
    done
    for round in $(seq "$REPEAT"); do
        for clients in 8 32; do
            for way in "${WAYS[@]}"; do
                measure_writers "$clients" "$way"
            done
            record_writers "$clients"
        done
        progress "repetition $round of $REPEAT"
    done
    note "writes/s are row changes in transactions of one, with fsync and synchronous_commit on;" \
        "a commit of one row alone takes $(commit_milliseconds) ms (below one, the disk hardly counts)"
    note "\"no counting\" has the replica identity of GOV.UK Notify's pipeline, (id, notification_status)"
}

# announce_writers CLIENTS
announce_writers() {
    local of="$1 clients"
    row "writers $1 rollup full" writes/s 'ratio >= 0.95' "$of: notify_stats" \
        'no counting, REPLICA IDENTITY FULL'
    row "writers $1 rollup" writes/s '' "$of: notify_stats" 'no counting'
    row "writers $1 full" writes/s '' "$of: no counting, REPLICA IDENTITY FULL" 'no counting'
    row "writers $1 rows" writes/s '' "$of: row triggers" 'no counting'
    row "writers $1 statements" writes/s '' "$of: statement triggers" 'no counting'
    row "writers $1 behind" ms '' "$of: until the rollup has caught up after they end" ''
}

# record_writers CLIENTS: of the last measurement of each way
record_writers() {
    local way
    for way in full rollup rows statements; do
        record "writers $1 $way" "$(cat "writers.$way")" "$(cat writers.none)"
    done
    record "writers $1 rollup full" "$(cat writers.rollup)" "$(cat writers.full)"
    record "writers $1 behind" "$(cat writers.behind)" ''
}

# measure_writers CLIENTS WAY: into the file writers.WAY
measure_writers() {
    sql -c 'TRUNCATE notifications, notification_history, bench.counters' \
        -c 'INSERT INTO notifications TABLE simulation.stock'
    prepare_writers "$2"
    settle
    start_load "$(size 5 4)" -f tree/test/bench/life.sql --no-vacuum -c "$1"
    wait_for_load
    writes_per_second >"writers.$2"
    end_writers "$2"
}

prepare_writers() {
    local identity=FULL
    case $1 in none | rows | statements) identity='USING INDEX ix_notifications_id_status' ;; esac
    sql -c "ALTER TABLE notifications REPLICA IDENTITY $identity"
    case $1 in
        rollup) create_rollup ;;
        rows | statements)
            sql -c 'INSERT INTO bench.counters TABLE bench.counters_definition' ;;
    esac
    case $1 in
        rows)
            sql -c 'CREATE TRIGGER count_rows AFTER INSERT OR UPDATE OR DELETE ON notifications
                    FOR EACH ROW EXECUTE FUNCTION bench.count_row()' ;;
        statements)
            sql -c 'CREATE TRIGGER count_inserts AFTER INSERT ON notifications
                    REFERENCING NEW TABLE AS new_rows EXECUTE FUNCTION bench.count_statement()' \
                -c 'CREATE TRIGGER count_updates AFTER UPDATE ON notifications
                    REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
                    EXECUTE FUNCTION bench.count_statement()' \
                -c 'CREATE TRIGGER count_deletes AFTER DELETE ON notifications
                    REFERENCING OLD TABLE AS old_rows EXECUTE FUNCTION bench.count_statement()' ;;
    esac
}

# What was counted is right, and is taken away.
end_writers() {
    case $1 in
        rollup)
            sql -c '\timing on' -c "SELECT notify_stats.wait_for_lsn(timeout => '10min')" |
                sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' >writers.behind
            check_live ft_service_stats
            sql -o /dev/null -c "SELECT notify_stats.drop_rollup('ft_service_stats')" ;;
        rows | statements)
            check_same "$1 triggers: the table of counters" \
                'TABLE bench.counters_shown' 'TABLE bench.counters_definition'
            sql -c 'DROP TRIGGER IF EXISTS count_rows ON notifications' \
                -c 'DROP TRIGGER IF EXISTS count_inserts ON notifications' \
                -c 'DROP TRIGGER IF EXISTS count_updates ON notifications' \
                -c 'DROP TRIGGER IF EXISTS count_deletes ON notifications' 2>/dev/null ;;
    esac
}

# The average of some commits by one client, which has nothing else to wait for.
commit_milliseconds() {
    sql -c 'CREATE TABLE bench.commits (i int)'
    echo 'INSERT INTO bench.commits VALUES (1)' >commit.pgbench
    "$BIN/pgbench" -n -c 1 -t 500 -f commit.pgbench postgres 2>/dev/null </dev/null |
        sed -n 's/^latency average = \([0-9.]*\) ms/\1/p'
}
