# shellcheck shell=bash
# What a model of more processes than this machine has cores is made of (model.py): the CPU of
# reading a backlog in a few windows, in many and in still more, by one process and by two. The
# differences tell what a window costs, and what a row of the rollup.

part_model() {
    local round
    make_model_backlogs
    : >model.tsv
    for round in $(seq "$REPEAT"); do
        measure_model notify one few
        measure_model notify one many
        measure_model notify one most
        measure_model notify two few
        measure_model narrow one few
        measure_model narrow two few
        measure_model often two few
        measure_model often two most
        progress "repetition $round of $REPEAT"
    done
    report_model
    forget_growth base narrow notify often
}

make_model_backlogs() {
    make_still_server 20000
    note_backlog_start
    keep_as growth_base
    make_notify_backlog notify "$(size 200000 60000)"
    make_keyed_backlog narrow "$(size 3000000 150000)" 20
    # narrow rows, with ten times as many places at which a window can end
    make_keyed_backlog often "$(size 2000000 150000)" 20 --logged-each 1500
}

# model_conf PROCESSES WINDOWS: the settings. The size of windows follows from the length of the
# backlog and the number of processes, unless max_batch_wal limits it. Those that several
# processes read end where the running transactions were logged. That is looked for within half a
# window after the wanted end; if it is not found, another way, which costs more, is used from
# then on. So the smallest windows of two processes are a little smaller than 1,500 changes.
model_conf() {
    case $1-$2 in
        one-few) ;;
        one-many) echo "notify_stats.max_batch_wal = '2MB'" ;;
        one-most) echo "notify_stats.max_batch_wal = '256kB'" ;;
        two-few) parallel_conf 2 ;;
        two-most) parallel_conf 2; echo "notify_stats.max_batch_wal = '200kB'" ;;
    esac
}

# measure_model SHAPE PROCESSES WINDOWS: a line of model.tsv
measure_model() {
    local wal windows rows milliseconds cpu
    start_from "growth_$1" "$(model_conf "$2" "$3")"
    warm_up bench_floor
    wal=$(cpu_of_reading_wal)
    read -r windows rows < <(count_written)
    read -r milliseconds cpu < <(timed_with_others 'CALL notify_stats.catch_up();')
    [ "$2" = one ] || check_divided
    check_growth "$1"
    count_written | { read -r windows_now rows_now
        printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${GROWTH_CHANGES[$1]}" \
            "$((windows_now - windows))" "$((rows_now - rows))" "$milliseconds" "$cpu" "$wal" >>model.tsv
    }
}

# Positions of the stream, one a window, and rows of rollups that have been written.
count_written() {
    sql -F ' ' -c "SELECT coalesce(sum(n_tup_upd) FILTER (WHERE relid = 'notify_stats.stream'::regclass), 0),
            coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del)
                FILTER (WHERE relid IN (SELECT rollup FROM notify_stats.rollups)), 0)
        FROM pg_stat_all_tables"
}

report_model() {
    local line
    "$PYTHON" tree/test/bench/model.py model.tsv >model.txt
    while IFS= read -r line; do
        case $line in
            'row|'*) IFS='|' read -r _ key unit what beside value other <<<"$line"
                row "model $key" "$unit" '' "$what" "$beside"
                record "model $key" "$value" "$other" ;;
            *) note "$line" ;;
        esac
    done <model.txt
}
