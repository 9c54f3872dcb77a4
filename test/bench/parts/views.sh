# shellcheck shell=bash
# Ten queries of GOV.UK Notify, as they are written, over 1,000,000 facts: from the rollup, which
# is a view over what is kept, and from the tables; the whole result, and that for one service.

VIEWS=(N07 N09 N11 N13 N19 N21 N25 N29 N35 N41)
declare -A VIEW_TITLES=(
    [N07]='statuses of a job' [N09]='monthly usage of templates, with their names'
    [N11]='monthly statuses of services' [N13]='letter costs by day, service and organisation'
    [N19]='letter costs of services' [N21]='daily volumes of the platform, two levels'
    [N25]='fragments of a financial year' [N29]='sums beside services, also those without'
    [N35]='units of providers in a month' [N41]='unprocessed requests, the latest')
declare -A VIEW_QUERIES=(
    [N07]="SELECT job_id, notification_status AS status, sum(notification_count) AS count
           FROM ft_notification_status GROUP BY 1, 2"
    [N09]="SELECT f.service_id, f.template_id, t.name, t.template_type, t.is_precompiled_letter,
               extract(month FROM f.bst_date) AS month, extract(year FROM f.bst_date) AS year, sum(f.notification_count) AS count
           FROM ft_notification_status f JOIN templates t ON f.template_id = t.id
           WHERE f.key_type <> 'test' AND f.notification_status <> 'cancelled' GROUP BY 1, 2, 3, 4, 5, 6, 7"
    [N11]="SELECT date_trunc('month', f.bst_date)::date AS date_created, s.id AS service_id, s.name AS service_name, f.notification_type,
               sum(CASE WHEN f.notification_status IN ('sending', 'pending') THEN f.notification_count ELSE 0 END) AS count_sending,
               sum(CASE WHEN f.notification_status = 'delivered' THEN f.notification_count ELSE 0 END) AS count_delivered
           FROM ft_notification_status f JOIN services s ON f.service_id = s.id
           WHERE s.active AND f.key_type <> 'test' AND NOT s.restricted
           GROUP BY s.id, s.name, date_trunc('month', f.bst_date)::date, f.notification_type"
    [N13]="SELECT o.name AS organisation_name, o.id AS organisation_id, s.name AS service_name, s.id AS service_id, f.bst_date,
               sum(f.notifications_sent) AS total_letters, sum(f.notifications_sent * f.rate) AS letter_cost
           FROM services s LEFT JOIN organisation o ON o.id = s.organisation_id JOIN ft_billing f ON f.service_id = s.id
           WHERE f.notification_type = 'letter' GROUP BY 1, 2, 3, 4, 5"
    [N19]="SELECT s.organisation_id, s.name AS service_name, s.id AS service_id, f.bst_date, sum(f.notifications_sent * f.rate) AS letter_cost
           FROM services s JOIN ft_billing f ON f.service_id = s.id
           WHERE f.notification_type = 'letter' AND NOT s.restricted GROUP BY 1, 2, 3, 4"
    [N21]="SELECT bst_date::text AS bst_date, sum(sms) AS sms_totals, sum(emails) AS email_totals, sum(letters) AS letter_totals FROM (
               SELECT bst_date, sum(CASE WHEN notification_type = 'sms' THEN notifications_sent ELSE 0 END) AS sms,
                   sum(CASE WHEN notification_type = 'email' THEN notifications_sent ELSE 0 END) AS emails,
                   sum(CASE WHEN notification_type = 'letter' THEN notifications_sent ELSE 0 END) AS letters
               FROM ft_billing GROUP BY bst_date, notification_type) t GROUP BY t.bst_date"
    [N25]="SELECT service_id, extract(year FROM bst_date - interval '3 months') AS financial_year,
               coalesce(sum(billable_units * rate_multiplier), 0) AS fragments
           FROM ft_billing WHERE notification_type = 'sms' GROUP BY 1, 2"
    [N29]="SELECT s.id AS service_id, s.name, o.name AS organisation_name, s.created_at,
               sum(CASE WHEN f.notification_type = 'email' THEN f.notifications_sent ELSE 0 END) AS email_totals,
               sum(CASE WHEN f.notification_type = 'sms' THEN f.notifications_sent ELSE 0 END) AS sms_totals
           FROM services s JOIN (SELECT DISTINCT ON (service_id) service_id, free_sms_fragment_limit FROM annual_billing
               ORDER BY service_id, financial_year_start DESC) a ON a.service_id = s.id
               LEFT JOIN organisation o ON o.id = s.organisation_id LEFT JOIN ft_billing f ON f.service_id = s.id
           WHERE s.count_as_live AND s.active AND NOT s.restricted GROUP BY s.id, o.name, s.name"
    [N35]="SELECT p.id, p.identifier, p.priority, coalesce(t.units, 0) AS current_month_billable_sms
           FROM provider_details p LEFT JOIN (SELECT provider, sum(billable_units * rate_multiplier) AS units FROM ft_billing
               WHERE notification_type = 'sms' AND bst_date >= current_date - 30 GROUP BY provider) t ON t.provider = p.identifier"
    [N41]="SELECT u.service_id, count(u.service_id) AS unsubscribe_requests_count, max(u.created_at) AS latest
           FROM unsubscribe_request u LEFT JOIN unsubscribe_request_report r ON r.id = u.unsubscribe_request_report_id
           WHERE u.unsubscribe_request_report_id IS NULL OR r.processed_by_service_at IS NULL GROUP BY u.service_id")
VIEWS_OF_SERVICES=(N09 N11 N13 N19 N25 N29 N41)

part_views() {
    local rows round name
    rows=$(size 1000000 20000)
    make_views_server "$rows"
    for name in "${VIEWS[@]}"; do
        announce_view "$name"
    done
    for round in $(seq "$REPEAT"); do
        for name in "${VIEWS[@]}"; do
            record "views $name" "$(view_ms "SELECT * FROM $(rollup_of "$name")")" "$(view_ms "${VIEW_QUERIES[$name]}")"
        done
        for name in "${VIEWS_OF_SERVICES[@]}"; do
            record "views $name one" "$(view_ms "SELECT * FROM $(rollup_of "$name") WHERE service_id = 3")" \
                "$(view_ms "SELECT * FROM (${VIEW_QUERIES[$name]}) q WHERE service_id = 3")"
        done
        progress "repetition $round of $REPEAT"
    done
    for name in "${VIEWS[@]}"; do
        check_view "$name"
    done
    note "$(thousands "$rows") rows in each of ft_billing, ft_notification_status and unsubscribe_request, with an index that" \
        'begins with service_id; everything in memory, and the second of two runs is what counts'
}

make_views_server() {
    local name
    make_server <<CONF
$(still_server_conf)
shared_buffers = '2GB'
CONF
    start_server
    sql -o /dev/null -v rows="$1" -f tree/test/bench/views.sql
    sql -c 'CREATE EXTENSION notify_stats'
    for name in "${VIEWS[@]}"; do
        sql -o /dev/null -v name="$(rollup_of "$name")" -v query="${VIEW_QUERIES[$name]}" \
            <<<"SET client_min_messages = warning; SELECT notify_stats.create_rollup(:'name', :'query')"
    done
    sql -c 'CALL notify_stats.catch_up()' -c 'VACUUM ANALYZE'
}

rollup_of() {
    echo "r_${1,,}"
}

# announce_view NAME
announce_view() {
    local cores
    cores=$(sql -c "SELECT string_agg(to_char(groups, 'FM999,999,999'), ' and ') FROM (
        SELECT (xpath('//c/text()', query_to_xml(format('SELECT count(*) AS c FROM %s', core), false, true, '')))[1]::text::bigint AS groups
        FROM notify_stats.rollups, unnest(cores) core WHERE rollup = '$(rollup_of "$1")'::regclass) g")
    row "views $1" ms '' "${VIEW_TITLES[$1]}: all, from the view over $cores rows" 'the query'
    case " ${VIEWS_OF_SERVICES[*]} " in *" $1 "*)
        row "views $1 one" ms '' "${VIEW_TITLES[$1]}: one service" 'the query' ;;
    esac
}

# view_ms QUERY: the second time that it is run
view_ms() {
    sql -o /dev/null -c "$1" -c '\timing on' -c "$1" | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p'
}

# check_view NAME
check_view() {
    [ "$(sql -c "SELECT count(*) FROM notify_stats.verify('$(rollup_of "$1")')")" = 0 ] ||
        die "$PART: rollup $(rollup_of "$1") differs from its definition"
}
