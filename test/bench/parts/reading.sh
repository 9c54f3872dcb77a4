# shellcheck shell=bash
# What a dashboard asks: one service, the last seven days, by template, type and status. From
# the rollup, and by GROUP BY over notifications with Notify's indexes; everything in memory.

part_reading() {
    local rows round name
    local -A conditions
    rows=$(size 1000000 20000)
    make_still_server "$rows"
    # the rollup counts it as well, the query of today does not
    sql -c 'TRUNCATE notification_history' -c 'CALL notify_stats.catch_up()' -c 'VACUUM ANALYZE'
    # a rollup is an ordinary table, with the indexes that its readers want
    sql -c 'CREATE INDEX ON ft_service_stats (service_id, bst_date)' -c 'ANALYZE ft_service_stats'
    progress "$(thousands "$rows") notifications"
    conditions=([busiest]=$(condition_at 1) [middling]=$(condition_at 400) [all]=true)
    announce_reading busiest 'the busiest service'
    announce_reading middling 'the 400th busiest service'
    announce_reading all 'all services'
    for round in $(seq "$REPEAT"); do
        for name in busiest middling all; do
            check_answers "$name" "${conditions[$name]}"
            record "reading $name" "$(milliseconds rollup "${conditions[$name]}")" \
                "$(milliseconds live "${conditions[$name]}")"
        done
        progress "repetition $round of $REPEAT"
    done
    check_rollup reading ft_service_stats
    note 'the rollup has an index (service_id, bst_date) beside its own, and the notifications all of' \
        "Notify's; both are in memory, and the second of two runs is what counts"
}

# announce_reading NAME TITLE
announce_reading() {
    row "reading $1" ms '' \
        "a week of $2 ($(notifications_of "${conditions[$1]}") notifications), from the rollup" \
        "GROUP BY over $(thousands "$rows") notifications"
}

# condition_at PLACE: a service by the number of its notifications
condition_at() {
    sql -c "SELECT format('service_id = %L', service_id) FROM ft_service_stats
            WHERE service_id IS NOT NULL
            GROUP BY service_id ORDER BY sum(notification_count) DESC, 1 OFFSET $1 - 1 LIMIT 1"
}

notifications_of() {
    thousands "$(sql -c "SELECT sum(notification_count) FROM ft_service_stats
        WHERE $1 AND bst_date >= (now() AT TIME ZONE 'Europe/London')::date - 6")"
}

# ask rollup|live CONDITION [OPTION...]
ask() {
    local from=$1 condition=$2
    shift 2
    sql -v condition="$condition" "$@" -f "tree/test/bench/dashboard_$from.sql"
}

# milliseconds rollup|live CONDITION: the second time that it is asked
milliseconds() {
    ask "$@" -o /dev/null -f "tree/test/bench/dashboard_$1.sql" -c '\timing on' |
        sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

# check_answers NAME CONDITION
check_answers() {
    cmp -s <(ask rollup "$2" | sort) <(ask live "$2" | sort) ||
        die "$PART: the rollup says something else of a week of $1"
}
