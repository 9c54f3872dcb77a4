# shellcheck shell=bash
# WAL and bloat of a rollup whose groups change all the time: 1,000 updates a second, each of which
# moves a row from one group to another, of 10 groups or of 10,000. With autovacuum as it is by
# default. Measured once: bytes, not times.

HOT_RATE=1000

part_hot_rows() {
    local groups
    make_hot_server
    for groups in 10 10000; do
        announce_hot "$groups"
        measure_hot "$groups" none "$(size 20 5)"
        measure_hot "$groups" rollup "$(size 100 5)"
        measure_hot "$groups" indexed "$(size 100 5)"
        measure_hot "$groups" held "$(size 40 5)"
        record_hot "$groups"
    done
    note 'WAL is without full-page images (full_page_writes = off), which depend on how often there is a' \
        'checkpoint'
    note "\"a snapshot held\": a transaction of another session keeps its snapshot for the $(size 40 5) s"
}

make_hot_server() {
    make_server <<CONF
notify_stats.database = 'postgres'
max_slot_wal_keep_size = '20GB'
wal_keep_size = '10GB'
checkpoint_timeout = 1d
max_wal_size = '20GB'
full_page_writes = off
shared_buffers = '256MB'
CONF
    start_server
    sql -f tree/test/bench/hot_rows.sql
}

# --- rows -----------------------------------------------------------------------------

# announce_hot GROUPS
announce_hot() {
    local of
    of="$(thousands "$1") groups"
    row "hot $1 all" 'bytes a change' '' "$of: all WAL" 'without the rollup'
    row "hot $1 rollup" 'bytes a change' '' "$of: WAL of the rollup's table and its indexes" \
        'with an index on a measure'
    row "hot $1 stream" 'bytes a change' '' "$of: WAL of the row that holds the position" ''
    row "hot $1 updates" '' '' "$of: rows of the rollup written per change" ''
    row "hot $1 hot" % '' "$of: HOT updates of the rollup" 'with an index on a measure'
    row "hot $1 table" kB '' "$of: table after $(size 100 5) s" 'before'
    row "hot $1 indexes" kB '' "$of: indexes after $(size 100 5) s" 'before'
    row "hot $1 indexed" kB '' "$of, an index on a measure: table and indexes after $(size 100 5) s" \
        'before'
    row "hot $1 held" kB '' "$of, a snapshot held: table and indexes after $(size 40 5) s" 'before'
    row "hot $1 dead" rows '' "$of: dead rows at the end" 'with an index on a measure'
}

# record_hot GROUPS
record_hot() {
    local rollup=hot.$1.rollup indexed=hot.$1.indexed
    record "hot $1 all" "$(figure all "$rollup")" "$(figure all "hot.$1.none")"
    record "hot $1 rollup" "$(figure rollup "$rollup")" "$(figure rollup "$indexed")"
    record "hot $1 stream" "$(figure stream "$rollup")" ''
    record "hot $1 updates" "$(figure updates "$rollup")" ''
    record "hot $1 hot" "$(figure hot "$rollup")" "$(figure hot "$indexed")"
    record "hot $1 table" "$(figure table_after "$rollup")" "$(figure table_before "$rollup")"
    record "hot $1 indexes" "$(figure indexes_after "$rollup")" "$(figure indexes_before "$rollup")"
    record "hot $1 indexed" "$(figure size_after "$indexed")" "$(figure size_before "$indexed")"
    record "hot $1 held" "$(figure size_after "hot.$1.held")" "$(figure size_before "hot.$1.held")"
    record "hot $1 dead" "$(figure dead "$rollup")" "$(figure dead "$indexed")"
    note "$(thousands "$1") groups: $(printf '%.0f' "$(figure rate "$rollup")") changes/s;" \
        "autovacuum ran $(printf '%.0f' "$(figure vacuums "$rollup")") times on the rollup, with the index" \
        "$(printf '%.0f' "$(figure vacuums "$indexed")") times;" \
        "WAL of the source $(printf '%.0f' "$(figure source "$rollup")") bytes a change," \
        "of commits $(printf '%.0f' "$(figure commits "$rollup")")," \
        "of all else $(printf '%.0f' "$(figure others "$rollup")")"
}

# --- measurements ---------------------------------------------------------------------

# measure_hot GROUPS none|rollup|indexed|held SECONDS: into the file hot.GROUPS.WAY
measure_hot() {
    local way=$2 seconds=$3 file=hot.$1.$2 start end changes holder=''
    sql -c "UPDATE events SET key = id % $1" -c 'VACUUM FULL events' -c 'VACUUM ANALYZE events'
    if [ "$way" != none ]; then
        sql -o /dev/null -c "SELECT notify_stats.create_rollup('by_key',
            'SELECT key, count(*) AS n, sum(amount) AS amount FROM events GROUP BY key')" 2>/dev/null
        wait_for_rollup
        [ "$way" != indexed ] || sql -c 'CREATE INDEX ON by_key (amount)'
        sql -c 'VACUUM FULL by_key' -c 'VACUUM ANALYZE by_key'
        wait_for_rollup
        hot_sizes before >"$file"
    else
        : >"$file"
    fi
    cat >hot.pgbench <<SQL
\\set id random(1, 100000)
\\set key random(0, $1 - 1)
\\set amount random(1, 1000)
UPDATE events SET key = :key, amount = :amount WHERE id = :id;
SQL
    sql -c CHECKPOINT
    [ "$way" = none ] ||
        sql -o /dev/null -c "SELECT pg_stat_reset_single_table_counters('by_key'::regclass)"
    changes=$(hot_changes)
    start=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
    if [ "$way" = held ]; then
        sql -o /dev/null -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' -c 'SELECT count(*) FROM events' \
            -c "SELECT pg_sleep($seconds + 5)" &
        holder=$!
    fi
    start_load "$seconds" -f hot.pgbench --no-vacuum --rate="$HOT_RATE"
    wait_for_load
    [ "$way" = none ] || wait_for_rollup
    sleep 1.5       # the statistics come a moment later
    end=$(sql -c 'SELECT pg_current_wal_flush_lsn()')
    changes=$(($(hot_changes) - changes))
    hot_wal "$start" "$end" "$changes" >>"$file"
    echo "rate $(calculate "$changes / $seconds")" >>"$file"
    if [ "$way" != none ]; then
        hot_sizes after >>"$file"
        hot_statistics "$changes" >>"$file"
        [ -z "$holder" ] || wait "$holder"
        check_live by_key
        sql -o /dev/null -c "SELECT notify_stats.drop_rollup('by_key')"
    fi
    progress "$1 groups, $way: $(tr '\n' ' ' <"$file")"
}

hot_changes() {
    sql -c "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'events'::regclass"
}

# hot_sizes SUFFIX
hot_sizes() {
    sql -F ' ' -c "SELECT 'table_$1', pg_table_size('by_key') / 1024" \
        -c "SELECT 'indexes_$1', pg_indexes_size('by_key') / 1024" \
        -c "SELECT 'size_$1', pg_total_relation_size('by_key') / 1024"
}

# hot_statistics CHANGES
hot_statistics() {
    sql -F ' ' -c "SELECT 'updates', (n_tup_upd + n_tup_ins)::float8 / $1 FROM pg_stat_user_tables WHERE relname = 'by_key'" \
        -c "SELECT 'hot', 100.0 * n_tup_hot_upd / greatest(n_tup_upd, 1) FROM pg_stat_user_tables WHERE relname = 'by_key'" \
        -c "SELECT 'dead', n_dead_tup FROM pg_stat_user_tables WHERE relname = 'by_key'" \
        -c "SELECT 'vacuums', autovacuum_count FROM pg_stat_user_tables WHERE relname = 'by_key'"
}

# hot_wal START END CHANGES: bytes for each change, by what they are of
hot_wal() {
    sql -F ' ' -c "
        SELECT pg_relation_filenode(c.oid),
               CASE WHEN 'events'::regclass IN (c.oid, i.indrelid) THEN 'source'
                    WHEN to_regclass('by_key') IN (c.oid, i.indrelid) THEN 'rollup'
                    WHEN c.oid = to_regclass('notify_stats.stream') THEN 'stream' END
        FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
        WHERE 'events'::regclass IN (c.oid, i.indrelid)
           OR to_regclass('by_key') IN (c.oid, i.indrelid)
           OR c.oid = to_regclass('notify_stats.stream')" >hot.relations
    "$BIN/pg_waldump" -p data/pg_wal -s "$1" -e "$2" 2>/dev/null | awk -v changes="$3" '
        FNR == NR { name[$1] = $2; next }
        {
            split($0, part, "len \\(rec/tot\\): *")
            split(part[2], length_, "[/,] *")
            bytes = length_[2]
            of = "others"
            if ($2 == "Transaction")
                of = "commits"
            else if (match($0, /rel [0-9]+\/[0-9]+\/[0-9]+/)) {
                split(substr($0, RSTART, RLENGTH), id, "/")
                if (id[3] in name)
                    of = name[id[3]]
            }
            sum[of] += bytes
            all += bytes
        }
        END {
            print "all", all / changes
            for (of in sum)
                print of, sum[of] / changes
        }' hot.relations -
}
