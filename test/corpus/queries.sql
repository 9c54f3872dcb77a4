-- Real aggregate queries of public applications, as their users write them: the essential shape, in our own words, with
-- the source beside each.  Parameters of the call have become group columns; nothing else is changed.
--
-- The tests read:
--   --@ app NAME       the tables of an application.  A comment after a table has the number of its rows (300); one after
--                      a column has its values (a|b or 1..9).
--   --@ q ID | source | title | needs      a query.  "needs": what an ordinary definition lacks for it
--   --@ compare LIST   the output columns to be compared, where others are not determined (LIMIT with ties)
--   --@ none REASON    cannot be kept from row changes

--@ app notify
create type ntype as enum ('email','sms','letter');
create table organisation /*4*/ (id int primary key, name text not null);
create table services /*8*/ (id int primary key, name text not null, organisation_id int /*1..3*/, restricted bool not null /*f|f|f|t*/, active bool not null /*t|t|t|f*/, count_as_live bool not null /*t|t|f*/, crown bool, created_at timestamp not null);
create table templates /*9*/ (id int primary key, name text not null, template_type text not null /*email|sms|letter*/, is_precompiled_letter bool not null, hidden bool not null, service_id int not null /*1..6*/);
create table notifications (id int primary key, service_id int /*1..6*/, template_id int /*1..9*/, job_id int /*1..5*/, key_type text not null /*normal|team|test*/, notification_type ntype not null, notification_status text not null /*created|sending|delivered|permanent-failure|temporary-failure|cancelled*/, created_at timestamp not null, sent_at timestamp, updated_at timestamp, billable_units int not null /*0..3*/, rate_multiplier numeric /*1|2|3*/, international bool, postage text /*first|second|europe*/, sent_by text /*mmg|firetext|dvla*/, api_key_id int /*1..3*/, normalised_to text /*447700900123|447911123456*/, job_row_number int);
create table notification_history (id int primary key, service_id int /*1..6*/, template_id int /*1..9*/, job_id int /*1..5*/, key_type text not null /*normal|team|test*/, notification_type ntype not null, notification_status text /*sending|delivered|permanent-failure|temporary-failure|cancelled*/, created_at timestamp not null, sent_at timestamp, updated_at timestamp, billable_units int not null /*0..3*/, rate_multiplier numeric /*1|2|3*/, international bool, postage text /*first|second|europe*/, sent_by text /*mmg|firetext|dvla*/, api_key_id int /*1..3*/);
create view notifications_all_time_view as select service_id, template_id, job_id, key_type, notification_type, notification_status, created_at, billable_units, rate_multiplier, international, postage, sent_by from notifications union all select service_id, template_id, job_id, key_type, notification_type, notification_status, created_at, billable_units, rate_multiplier, international, postage, sent_by from notification_history;
create table ft_notification_status (bst_date date not null, template_id int not null /*1..9*/, service_id int not null /*1..6*/, job_id int not null /*1..5*/, notification_type text not null /*email|sms|letter*/, key_type text not null /*normal|team|test*/, notification_status text not null /*created|sending|pending|sent|delivered|failed|technical-failure|permanent-failure|temporary-failure|cancelled*/, notification_count int not null /*1..50*/);
create table ft_billing (bst_date date not null, template_id int not null /*1..9*/, service_id int not null /*1..6*/, notification_type text not null /*email|sms|letter*/, provider text not null /*mmg|firetext|dvla|ses*/, rate_multiplier int not null /*1..3*/, international bool not null, rate numeric not null /*0.0165|0.02|0.43*/, postage text not null /*none|first|second|economy|europe|rest-of-world*/, billable_units int /*1..9*/, notifications_sent int /*1..9*/);
create table annual_billing /*10*/ (id int primary key, service_id int not null /*1..6*/, financial_year_start int not null /*2024..2026*/, free_sms_fragment_limit int not null /*10..90*/);
create table jobs /*60*/ (id int primary key, service_id int not null /*1..6*/, job_status text not null /*scheduled|finished|cancelled*/, scheduled_for timestamp, processing_finished timestamp, notification_count int not null /*1..60*/);
create table returned_letters (id int primary key, service_id int not null /*1..6*/, reported_at date not null, notification_id int not null /*1..900*/);
create table unsubscribe_request (id int primary key, service_id int not null /*1..6*/, unsubscribe_request_report_id int /*1..6*/, created_at timestamp not null);
create table unsubscribe_request_report /*6*/ (id int primary key, processed_by_service_at timestamp);
create table provider_details /*4*/ (id int primary key, identifier text not null /*mmg|firetext|dvla|ses*/, notification_type text not null /*sms|letter|email*/, active bool not null, priority int not null);
create table complaints (id int primary key, service_id int not null /*1..6*/, created_at timestamp not null);
create table inbound_sms (id int primary key, service_id int not null /*1..6*/, created_at timestamp not null);
create table notifications_letter_despatch (notification_id int primary key, despatched_on date not null, cost_threshold text not null /*sorted|unsorted*/);

--@ q N01 | alphagov/notifications-api app/dao/fact_notification_status_dao.py:47 | nightly facts, from the all-time view | view
SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS bst_date, template_id, service_id, coalesce(job_id, 0) AS job_id, notification_type, key_type, notification_status, count(*) AS notification_count
FROM notifications_all_time_view WHERE key_type IN ('normal', 'team') GROUP BY 1, 2, 3, 4, 5, 6, 7

--@ q N03 | alphagov/notifications-api app/dao/fact_notification_status_dao.py:190 | service for a day |
SELECT service_id, (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS day, notification_type, notification_status, count(*) AS count FROM notifications WHERE key_type <> 'test' GROUP BY 1, 2, 3, 4

--@ q N05 | alphagov/notifications-api app/dao/fact_notification_status_dao.py:237 | today, enum cast to text | enumtext
SELECT service_id, (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS day, template_id, notification_type::text AS notification_type, notification_status AS status, count(*) AS count FROM notifications WHERE key_type <> 'test' GROUP BY 1, 2, 3, 4, 5

--@ q N07 | alphagov/notifications-api app/dao/fact_notification_status_dao.py:414 | statuses of a job | nocount
SELECT job_id, notification_status AS status, sum(notification_count) AS count FROM ft_notification_status GROUP BY 1, 2

--@ q N09 | alphagov/notifications-api app/dao/fact_notification_status_dao.py:514 | monthly template usage | dimjoin,nocount,orderby
SELECT f.service_id, f.template_id, t.name, t.template_type, t.is_precompiled_letter, extract(month FROM f.bst_date) AS month, extract(year FROM f.bst_date) AS year, sum(f.notification_count) AS count
FROM ft_notification_status f JOIN templates t ON f.template_id = t.id WHERE f.key_type <> 'test' AND f.notification_status <> 'cancelled' GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 7, 6, 3

--@ q N11 | alphagov/notifications-api app/dao/fact_notification_status_dao.py:637 | monthly statuses per service (platform admin csv) | stable,dimjoin,nocount,nullsum,orderby
SELECT date_trunc('month', f.bst_date)::date AS date_created, s.id AS service_id, s.name AS service_name, f.notification_type,
  sum(CASE WHEN f.notification_status IN ('sending', 'pending') THEN f.notification_count ELSE 0 END) AS count_sending, sum(CASE WHEN f.notification_status = 'delivered' THEN f.notification_count ELSE 0 END) AS count_delivered,
  sum(CASE WHEN f.notification_status IN ('technical-failure', 'failed') THEN f.notification_count ELSE 0 END) AS count_technical_failure, sum(CASE WHEN f.notification_status = 'sent' THEN f.notification_count ELSE 0 END) AS count_sent
FROM ft_notification_status f JOIN services s ON f.service_id = s.id WHERE f.notification_status <> 'created' AND s.active AND f.key_type <> 'test' AND NOT s.restricted GROUP BY s.id, s.name, date_trunc('month', f.bst_date)::date, f.notification_type ORDER BY 1, 2, 4

--@ q N13 | alphagov/notifications-api app/dao/fact_billing_dao.py:191 | letter usage of all services | dimjoin,outerjoin,nocount,nullsum,orderby
SELECT o.name AS organisation_name, o.id AS organisation_id, s.name AS service_name, s.id AS service_id, f.bst_date, sum(f.notifications_sent) AS total_letters, sum(f.notifications_sent * f.rate) AS letter_cost
FROM services s LEFT JOIN organisation o ON o.id = s.organisation_id JOIN ft_billing f ON f.service_id = s.id WHERE f.notification_type = 'letter' GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 3

--@ q N15 | alphagov/notifications-api app/dao/fact_billing_dao.py:320 | usage of a service by month: UNION of grouped branches per type | topunion,stable,nocount,nullsum,constcol,orderby
SELECT service_id, rate, notification_type, postage, date_trunc('month', bst_date)::date AS month, sum(notifications_sent) AS notifications_sent, sum(billable_units) AS chargeable_units, sum(0) AS cost FROM ft_billing WHERE notification_type = 'email' GROUP BY 1, 2, 3, 4, 5
UNION SELECT service_id, rate, notification_type, postage, date_trunc('month', bst_date)::date, sum(notifications_sent), sum(notifications_sent), sum(notifications_sent * rate) FROM ft_billing WHERE notification_type = 'letter' GROUP BY 1, 2, 3, 4, 5 ORDER BY 5, 3, 2

--@ q N17 | alphagov/notifications-api app/dao/fact_billing_dao.py:592 | e-mail billing of a day, constants per column | view,dimjoin,constcol
SELECT (n.created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS bst_date, n.template_id, s.crown, s.id AS service_id, 'ses' AS sent_by, 0 AS rate_multiplier, 0 AS billable_units, count(*) AS notifications_sent
FROM notifications_all_time_view n JOIN services s ON n.service_id = s.id WHERE n.key_type IN ('normal', 'team') AND n.notification_type = 'email' GROUP BY 1, s.id, n.template_id

--@ q N19 | alphagov/notifications-api app/dao/fact_billing_dao.py:919 | letter cost of an organisation | dimjoin,nocount,nullsum,orderby
SELECT s.organisation_id, s.name AS service_name, s.id AS service_id, f.bst_date, sum(f.notifications_sent * f.rate) AS letter_cost FROM services s JOIN ft_billing f ON f.service_id = s.id WHERE f.notification_type = 'letter' AND NOT s.restricted GROUP BY 1, 2, 3, 4 ORDER BY 2

--@ q N21 | alphagov/notifications-api app/dao/fact_billing_dao.py:1062 | daily volumes of the platform (two levels) | subagg,datetext,nocount,nullsum,orderby
SELECT bst_date::text AS bst_date, sum(sms) AS sms_totals, sum(fragments) AS sms_fragment_totals, sum(units) AS sms_chargeable_units, sum(emails) AS email_totals, sum(letters) AS letter_totals FROM (
  SELECT bst_date, sum(CASE WHEN notification_type = 'sms' THEN notifications_sent ELSE 0 END) AS sms, sum(CASE WHEN notification_type = 'sms' THEN billable_units ELSE 0 END) AS fragments, sum(CASE WHEN notification_type = 'sms' THEN billable_units * rate_multiplier ELSE 0 END) AS units, sum(CASE WHEN notification_type = 'email' THEN notifications_sent ELSE 0 END) AS emails, sum(CASE WHEN notification_type = 'letter' THEN notifications_sent ELSE 0 END) AS letters
  FROM ft_billing GROUP BY bst_date, notification_type) t GROUP BY t.bst_date ORDER BY 1

--@ q N23 | alphagov/notifications-api app/dao/fact_billing_dao.py:1149 | volumes by service, with latest allowance | subagg,window,outerjoin,dimjoin,nocount,orderby
SELECT s.name, s.id, o.name AS organisation_name, a.free_sms_fragment_limit, coalesce(sum(v.sms), 0) AS sms_notifications, coalesce(sum(v.letter_cost), 0) AS letter_cost FROM services s LEFT JOIN organisation o ON o.id = s.organisation_id
JOIN (SELECT service_id, max(financial_year_start) OVER (PARTITION BY service_id) AS latest, financial_year_start, free_sms_fragment_limit FROM annual_billing) a ON a.service_id = s.id AND a.latest = a.financial_year_start
LEFT JOIN (SELECT service_id, sum(CASE WHEN notification_type = 'sms' THEN notifications_sent ELSE 0 END) AS sms, sum(CASE WHEN notification_type = 'letter' THEN notifications_sent * rate ELSE 0 END) AS letter_cost FROM ft_billing GROUP BY service_id, bst_date, notification_type) v ON v.service_id = s.id
WHERE NOT s.restricted AND s.count_as_live AND s.active GROUP BY s.id, s.name, o.name, a.free_sms_fragment_limit ORDER BY 3, 1

--@ q N25 | alphagov/notifications-api app/dao/fact_billing_dao.py:1270 | sms fragments of a financial year | nocount
SELECT service_id, extract(year FROM bst_date - interval '3 months') AS financial_year, coalesce(sum(billable_units * rate_multiplier), 0) AS fragments FROM ft_billing WHERE notification_type = 'sms' GROUP BY 1, 2

--@ q N27 | alphagov/notifications-api app/dao/jobs_dao.py:90 | scheduled jobs: how many, the next | minmax,nocount
SELECT service_id, count(id) AS scheduled, min(scheduled_for) AS next FROM jobs WHERE job_status = 'scheduled' GROUP BY service_id

--@ q N29 | alphagov/notifications-api app/dao/services_dao.py:102 | live services data: sums beside many columns | outerjoin,dimjoin,distinct,nocount,nullsum,orderby
SELECT s.id AS service_id, s.name, o.name AS organisation_name, s.created_at, sum(CASE WHEN f.notification_type = 'email' THEN f.notifications_sent ELSE 0 END) AS email_totals, sum(CASE WHEN f.notification_type = 'sms' THEN f.notifications_sent ELSE 0 END) AS sms_totals
FROM services s JOIN (SELECT DISTINCT ON (service_id) service_id, free_sms_fragment_limit FROM annual_billing ORDER BY service_id, financial_year_start DESC) a ON a.service_id = s.id LEFT JOIN organisation o ON o.id = s.organisation_id LEFT JOIN ft_billing f ON f.service_id = s.id
WHERE s.count_as_live AND s.active AND NOT s.restricted GROUP BY s.id, o.name, s.name ORDER BY s.created_at

--@ q N31 | alphagov/notifications-api app/dao/services_dao.py:456 | today's stats of all services, also those with none | outerjoin,subagg,nocount,orderby
SELECT s.id AS service_id, s.name, s.restricted, s.active, t.notification_type, t.status, t.count FROM services s LEFT JOIN (SELECT notification_type, notification_status AS status, service_id, count(id) AS count FROM notifications WHERE created_at >= '2026-11-25' AND created_at < '2026-11-26' GROUP BY 1, 2, 3) t ON t.service_id = s.id WHERE s.active ORDER BY s.id

--@ q N33 | alphagov/notifications-api app/dao/services_dao.py:531 | services with high failure rates | subagg,factjoin,dimjoin,exprtop,having,nocount
SELECT n.service_id, count(n.id) AS permanent_failure_count, t.total_count, count(n.id)::float / t.total_count::float AS permanent_failure_rate FROM notifications n JOIN services s ON s.id = n.service_id
JOIN (SELECT count(n.id) AS total_count, n.service_id FROM notifications n WHERE n.key_type <> 'test' AND n.notification_type = 'sms' GROUP BY n.service_id HAVING count(n.id) >= 5) t ON t.service_id = n.service_id
WHERE n.key_type <> 'test' AND n.notification_type = 'sms' AND n.notification_status = 'permanent-failure' AND NOT s.restricted AND s.active GROUP BY n.service_id, t.total_count HAVING count(n.id)::float / t.total_count::float >= 0.05

--@ q N35 | alphagov/notifications-api app/dao/provider_details_dao.py:173 | provider stats of the month | outerjoin,subagg,nocount,nullsum,orderby
SELECT p.id, p.identifier, p.priority, coalesce(t.units, 0) AS current_month_billable_sms FROM provider_details p LEFT JOIN (SELECT provider, sum(billable_units * rate_multiplier) AS units FROM ft_billing WHERE notification_type = 'sms' AND bst_date >= '2026-11-01' GROUP BY provider) t ON t.provider = p.identifier ORDER BY p.priority

--@ q N37 | alphagov/notifications-api app/dao/notifications_dao.py:795 | processed within 10 seconds | nocount
SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS day, count(id) AS messages_total, coalesce(sum(CASE WHEN sent_at - created_at <= interval '10 seconds' THEN 1 ELSE 0 END), 0) AS messages_within_10_secs FROM notifications WHERE api_key_id IS NOT NULL AND key_type <> 'test' AND notification_type <> 'letter' GROUP BY 1

--@ q N39 | alphagov/notifications-api app/dao/returned_letters_dao.py:78 | returned letters by report | nocount,orderby
SELECT service_id, count(notification_id) AS returned_letter_count, reported_at FROM returned_letters GROUP BY service_id, reported_at ORDER BY reported_at DESC

--@ q N41 | alphagov/notifications-api app/dao/unsubscribe_request_dao.py:28 | unprocessed unsubscribe requests, the latest | outerjoin,minmax,nocount
SELECT u.service_id, count(u.service_id) AS unsubscribe_requests_count, max(u.created_at) AS latest FROM unsubscribe_request u LEFT JOIN unsubscribe_request_report r ON r.id = u.unsubscribe_request_report_id WHERE u.unsubscribe_request_report_id IS NULL OR r.processed_by_service_at IS NULL GROUP BY u.service_id

--@ q N43 | alphagov/notifications-api app/dao/inbound_sms_dao.py:68 | inbound sms of a service |
SELECT service_id, (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS day, count(*) AS inbound FROM inbound_sms GROUP BY 1, 2

--@ q N45 | alphagov/notifications-api app/celery/nightly_tasks.py:418 | letters still sending, by day sent |
SELECT date(sent_at) AS sent_on, count(*) AS still_sending FROM notifications WHERE notification_type = 'letter' AND notification_status = 'sending' AND key_type = 'normal' GROUP BY 1

--@ q N47 | alphagov/notifications-api app/dao/notifications_dao.py:262 | rows of a job |
SELECT job_id, count(*) AS n FROM notifications GROUP BY job_id

--@ app zulip
create table userprofile /*8*/ (id int primary key, realm_id int not null /*1..3*/, is_bot bool not null, date_joined timestamptz not null);
create table recipient /*8*/ (id int primary key, type smallint not null /*1|2|3*/, type_id int not null /*1..6*/);
create table stream /*6*/ (id int primary key, realm_id int not null /*1..3*/, invite_only bool not null, date_created timestamptz not null);
create table message (id int primary key, sender_id int not null /*1..8*/, recipient_id int not null /*1..8*/, realm_id int not null /*1..3*/, sending_client_id int not null /*1..3*/, date_sent timestamptz not null);
create table auditlog (id int primary key, modified_user_id int /*1..8*/, event_type smallint not null /*101|103|104*/, event_time timestamptz not null);
create table activityinterval (id int primary key, user_profile_id int not null /*1..8*/, start timestamptz not null, "end" timestamptz not null);
create table attachment (id int primary key, realm_id int not null /*1..3*/, size int not null /*1..999*/);

--@ q Z01 | zulip/zulip analytics/lib/counts.py count_message_by_user_query (is_bot, hour) | messages sent per user and hour | dimjoin,stable,fdcol
SELECT u.id, u.realm_id, u.is_bot, date_trunc('hour', m.date_sent) AS hour, count(*) AS value FROM userprofile u JOIN message m ON u.id = m.sender_id GROUP BY u.id, u.is_bot, date_trunc('hour', m.date_sent)

--@ q Z03 | zulip/zulip analytics/lib/counts.py count_message_type_by_user_query | messages by type, two levels | dimjoin,outerjoin,subagg,nocount
SELECT realm_id, id, message_type, sum(count) AS value FROM (SELECT u.realm_id, u.id, count(*), CASE WHEN r.type = 1 THEN 'private_message' WHEN r.type = 3 THEN 'huddle_message' WHEN s.invite_only THEN 'private_stream' ELSE 'public_stream' END AS message_type
  FROM userprofile u JOIN message m ON u.id = m.sender_id JOIN recipient r ON r.id = m.recipient_id LEFT JOIN stream s ON s.id = r.type_id GROUP BY u.realm_id, u.id, r.type, s.invite_only) t GROUP BY 1, 2, 3

--@ q Z05 | zulip/zulip analytics/lib/counts.py check_realmauditlog_by_user_query | active users by their last event | dimjoin,distinct,orderby
SELECT u.realm_id, u.is_bot, count(*) AS value FROM userprofile u JOIN (SELECT DISTINCT ON (modified_user_id) modified_user_id, event_type FROM auditlog ORDER BY modified_user_id, event_time DESC) e ON e.modified_user_id = u.id WHERE e.event_type IN (101, 104) GROUP BY 1, 2
--@ none last row per user decides

--@ q Z07 | zulip/zulip analytics/lib/counts.py count_upload_space_used_by_realm_query | bytes uploaded per realm | nocount
SELECT realm_id, coalesce(sum(size), 0) AS value FROM attachment GROUP BY realm_id

--@ app listmonk
create type subscriber_status as enum ('enabled','disabled','blocklisted');
create type subscription_status as enum ('unconfirmed','confirmed','unsubscribed');
create table subscribers /*200*/ (id int primary key, status subscriber_status not null);
create table lists /*6*/ (id int primary key, type text not null /*public|private*/);
create table subscriber_lists (subscriber_id int not null /*1..200*/, list_id int /*1..6*/, status subscription_status not null);
create table link_clicks (campaign_id int /*1..4*/, link_id int not null /*1..4*/, created_at timestamptz not null);

--@ q L01 | knadh/listmonk schema.sql mat_dashboard_counts (subs) | subscribers by status |
SELECT count(*) AS num, status FROM subscribers GROUP BY status

--@ q L03 | knadh/listmonk schema.sql mat_list_subscriber_stats | subscriptions by list and status, all lists | outerjoin,topunion,nogroup,now,constcol,nocount
SELECT l.id AS list_id, sl.status::text AS status, count(sl.status) AS subscriber_count FROM lists l LEFT JOIN subscriber_lists sl ON sl.list_id = l.id GROUP BY l.id, sl.status UNION ALL SELECT 0, NULL, count(id) FROM subscribers

--@ app mattermost
create table posts (id int primary key, userid int not null /*1..6*/, channelid int not null /*1..6*/, createat bigint not null /*1763800000000..1764160000000*/);
create table channels /*6*/ (id int primary key, teamid int /*1..3*/);
create table bots /*3*/ (userid int primary key);
create table fileinfo (id int primary key, size bigint not null /*1..9999*/, deleteat bigint not null /*0|0|1764000000000*/);

--@ q M01 | mattermost/mattermost server/channels/db/migrations/postgres/000115_user_reporting_changes.up.sql poststats | posts of a user per day, the last one | stable,minmax
SELECT userid, to_timestamp(createat / 1000)::date AS day, count(*) AS numposts, max(createat) AS lastpostdate FROM posts GROUP BY userid, day

--@ q M03 | mattermost/mattermost server/channels/db/migrations/postgres/000130_system_console_stats.up.sql bot_posts_by_team_day | posts of bots by team and day | stable,dimjoin
SELECT to_timestamp(p.createat / 1000)::date AS day, count(*) AS num, teamid FROM posts p JOIN bots b ON p.userid = b.userid JOIN channels c ON p.channelid = c.id GROUP BY day, c.teamid

--@ app packages
create table versions /*9*/ (id int primary key, crate_id int not null /*1..5*/);
create table version_downloads (version_id int not null /*1..9*/, downloads int not null /*1..99*/, date date not null);
create table crate_downloads (crate_id int not null /*1..5*/, downloads int not null /*1..99*/, date date not null);
create table downloads (release_id int /*1..9*/, downloads int /*1..99*/, day date);
create table releases /*9*/ (id int primary key, package_id int /*1..5*/);
create table release_files (id int primary key, release_id int not null /*1..9*/, size int /*1..999*/);
create table pypi_releases /*9*/ (id int primary key, project_id int not null /*1..5*/);

--@ q P01 | rust-lang/crates.io migrations/2019-03-22-162022_.../down.sql recent_crate_downloads | downloads of the last 90 days | now,nocount
SELECT crate_id, sum(downloads) AS downloads FROM crate_downloads WHERE date > date(CURRENT_TIMESTAMP - INTERVAL '5 days') GROUP BY crate_id

--@ q P03 | hexpm/hexpm priv/repo/migrations/20140323211856_add_release_downloads_view.exs | downloads of a release | nocount,nullsum
SELECT d.release_id, sum(d.downloads) AS downloads FROM downloads AS d GROUP BY release_id

--@ q P05 | pypi/warehouse migrations projects_total_size | size of all files of a project | dimjoin,nocount
SELECT r.project_id, coalesce(sum(f.size), 0) AS total_size FROM release_files f JOIN pypi_releases r ON f.release_id = r.id GROUP BY 1

--@ app mastodon
create table accounts /*40*/ (id int primary key, domain text /*a.social|b.social|c.social*/);
create table domain_blocks /*2*/ (domain text not null /*a.social|x.social*/);
create table domain_allows /*2*/ (domain text not null /*b.social|y.social*/);
create table users /*8*/ (id int primary key, sign_up_ip text /*10.0.0.1|10.0.0.2*/, created_at timestamp not null);
create table session_activations (user_id int not null /*1..8*/, ip text /*10.0.0.1|10.0.0.2*/, updated_at timestamp not null);
create table login_activities (user_id int not null /*1..8*/, ip text /*10.0.0.1|10.0.0.2*/, success bool, created_at timestamp not null);
create table statuses (id int primary key, account_id int not null /*1..8*/, language text /*en|de*/, sensitive bool not null, deleted_at timestamp);
create table follows (id int primary key, account_id int not null /*1..8*/, target_account_id int not null /*1..8*/);

--@ q T01 | mastodon/mastodon db/views/instances_v01.sql | accounts by domain, with blocked and allowed domains | cte,union,outerjoin,subagg
WITH d AS (SELECT domain, count(*) AS n FROM accounts WHERE domain IS NOT NULL GROUP BY domain) SELECT domain, n FROM d UNION SELECT b.domain, coalesce(d.n, 0) FROM domain_blocks b LEFT JOIN d ON d.domain = b.domain UNION SELECT a.domain, coalesce(d.n, 0) FROM domain_allows a LEFT JOIN d ON d.domain = a.domain

--@ q T03 | mastodon/mastodon db/views/account_summaries_v01.sql | usual language of an account's last 20 posts | orderedset,lateral,limit
SELECT a.id AS account_id, mode() WITHIN GROUP (ORDER BY language) AS language FROM accounts a CROSS JOIN LATERAL (SELECT s.language FROM statuses s WHERE s.account_id = a.id AND s.deleted_at IS NULL ORDER BY s.id DESC LIMIT 20) t GROUP BY a.id
--@ none the last 20 rows of each account

--@ app discourse
create table user_histories (id int primary key, action int not null /*2|15*/, previous_value text /*0|1|2|3*/, new_value text /*1|2|3|4*/, created_at timestamp not null);
create table users /*8*/ (id int primary key, username text not null, silenced_till timestamp);
create table reviewable_scores (id int primary key, user_id int not null /*1..8*/, status int not null /*0|1|2|3*/, created_at timestamp not null);
create table application_requests (date date not null, req_type int not null /*1..8*/, count int not null /*1..99*/);
create table topics /*30*/ (id int primary key, category_id int /*1..4*/, visible bool not null, deleted_at timestamp, created_at timestamp not null);
create table posts (id int primary key, topic_id int not null /*1..30*/, deleted_at timestamp, user_deleted bool not null, post_type int not null /*1|2|3*/, created_at timestamp not null, user_id int /*1..8*/);
create table search_logs (id int primary key, term text not null /*cats|dogs|fish*/, ip_address text not null /*10.0.0.1|10.0.0.2|10.0.0.3*/, search_result_id int /*1..9*/, created_at timestamp not null);
create table user_actions (id int primary key, user_id int not null /*1..8*/, action_type int not null /*1|2|4|5*/, target_post_id int /*1..900*/, target_topic_id int /*1..30*/, created_at timestamp not null);
create table topic_views (topic_id int not null /*1..30*/, user_id int /*1..8*/, viewed_at date not null);

--@ q D01 | discourse/discourse app/models/concerns/reports/trust_level_growth.rb | trust levels reached by day | nocount,orderby
SELECT date(created_at) AS date, count(*) FILTER (WHERE previous_value::integer < 1 AND new_value = '1') AS tl1_reached, count(*) FILTER (WHERE previous_value::integer < 2 AND new_value = '2') AS tl2_reached, count(*) FILTER (WHERE previous_value::integer < 3 AND new_value = '3') AS tl3_reached FROM user_histories WHERE action = 2 OR action = 15 GROUP BY date(created_at) ORDER BY date(created_at)

--@ q D03 | discourse/discourse app/models/concerns/reports/site_traffic.rb | page views by day and kind | nocount,nullsum,orderby
SELECT date, sum(CASE WHEN req_type = 1 THEN count ELSE 0 END) AS logged_in, sum(CASE WHEN req_type = 2 THEN count ELSE 0 END) AS anon, sum(CASE WHEN req_type = 3 THEN count WHEN req_type = 4 THEN count WHEN req_type = 2 THEN -count WHEN req_type = 1 THEN -count ELSE 0 END) AS other FROM application_requests GROUP BY date ORDER BY date

--@ q D05 | discourse/discourse app/models/category.rb update_stats (posts) | posts of a category in year, month, week, day | dimjoin,now,nocount
SELECT t.category_id, count(*) FILTER (WHERE p.created_at >= now() - interval '1 month') AS month, count(*) FILTER (WHERE p.created_at >= now() - interval '1 day') AS day FROM posts p JOIN topics t ON t.id = p.topic_id WHERE t.visible AND p.deleted_at IS NULL AND NOT p.user_deleted AND p.post_type <> 3 GROUP BY 1

--@ q D07 | discourse/discourse app/models/directory_item.rb refresh_period! | the user directory: likes, topics entered, posts | outerjoin,factjoin,subq,nullsum,nocount
SELECT u.id, sum(CASE WHEN p.id IS NOT NULL AND ua.action_type = 2 THEN 1 ELSE 0 END) AS likes_received, coalesce((SELECT count(topic_id) FROM topic_views v WHERE v.user_id = u.id), 0) AS topics_entered FROM users u LEFT JOIN user_actions ua ON ua.user_id = u.id LEFT JOIN posts p ON ua.target_post_id = p.id AND p.deleted_at IS NULL LEFT JOIN topics t ON p.topic_id = t.id AND t.visible GROUP BY u.id
--@ none join of actions with the posts they are about, which can be hidden or deleted later

--@ app gitea
create table action (id int primary key, user_id int not null /*1..5*/, created_unix bigint not null /*1763800000..1764160000*/);
create table watch (id int primary key, repo_id int not null /*1..5*/, mode smallint not null /*1|2*/);
create table issue (id int primary key, repo_id int not null /*1..5*/, is_closed bool not null, is_pull bool not null);
create table comment /*200*/ (id int primary key, issue_id int not null /*1..9*/, type int not null /*0|1|2*/);
create table project_statistics /*9*/ (project_id int primary key, storage_size bigint not null /*1..999*/, repository_size bigint not null /*1..999*/);
create table projects /*9*/ (id int primary key, namespace_id int not null /*1..4*/);
create table bsky_like (uri int primary key, creator text not null /*a|b*/, subject text not null /*p|q|r*/);

--@ q G01 | go-gitea/gitea models/user_heatmap.go | contributions by day | stable,nocount,orderby
SELECT user_id, extract(epoch FROM date_trunc('day', to_timestamp(created_unix))) AS timestamp, count(user_id) AS contributions FROM action GROUP BY 1, 2 ORDER BY 2

--@ q G03 | go-gitea/gitea models CheckRepoStats num_issues, num_closed_issues, num_pulls | issues of a repository |
SELECT repo_id, is_pull, is_closed, count(*) AS n FROM issue GROUP BY 1, 2, 3

--@ q G05 | gitlabhq/gitlabhq app/models/namespace/root_storage_statistics.rb | storage of a namespace | dimjoin,nocount
SELECT p.namespace_id, coalesce(sum(ps.storage_size), 0) AS storage_size, coalesce(sum(ps.repository_size), 0) AS repository_size FROM projects p JOIN project_statistics ps ON ps.project_id = p.id GROUP BY 1
--@ none one row of statistics per project: the rollup would be the table itself (the join is the whole query)

--@ app synapse
create table event_forward_extremities (event_id int not null, room_id int not null /*1..6*/);
create table current_state_events (event_id int not null, room_id int not null /*1..6*/);
create table events (event_id int primary key, type text not null /*m.room.message|m.room.member*/, room_id int not null /*1..6*/, sender text not null /*@a:x|@b:y*/, received_ts timestamp not null);
create table user_ips (user_id int not null /*1..8*/, user_agent text /*Element Android|Element iOS|Mozilla*/, last_seen timestamp not null);
create table users /*8*/ (name int primary key, creation_ts timestamp not null, appservice_id text);

--@ q S01 | matrix-org/synapse synapse/storage/databases/main/metrics.py _read_forward_extremities | extremities and state events of rooms | subagg,outerjoin
SELECT t1.c AS extremities, t2.c AS state FROM (SELECT room_id, count(*) AS c FROM event_forward_extremities GROUP BY room_id) t1 LEFT JOIN (SELECT room_id, count(*) AS c FROM current_state_events GROUP BY room_id) t2 ON t1.room_id = t2.room_id

--@ q S03 | matrix-org/synapse synapse/storage/databases/main/metrics.py count_daily_active_rooms | rooms with messages in the last day | nogroup,countdistinct,now,exprtop,nocount
SELECT coalesce(count(DISTINCT room_id), 0) AS n FROM events WHERE type = 'm.room.message' AND received_ts > now() - interval '1 day'

--@ q S05 | matrix-org/synapse synapse/storage/databases/main/metrics.py count_r30_users | retained users by platform | subagg,dimjoin,minmax,now,factjoin
SELECT platform, count(*) AS n FROM (SELECT u.name, i.platform, max(i.last_seen) FROM users u JOIN (SELECT user_id, last_seen, CASE WHEN user_agent LIKE '%Android%' THEN 'android' WHEN user_agent LIKE '%iOS%' THEN 'ios' ELSE 'web' END AS platform FROM user_ips) i ON u.name = i.user_id WHERE u.appservice_id IS NULL AND i.last_seen > now() - interval '30 days' AND i.last_seen - u.creation_ts > interval '3 days' GROUP BY 1, 2) t GROUP BY 1
--@ none compares columns of two tables, and the clock, per row

--@ app lemmy
create table comment /*200*/ (id int primary key, creator_id int not null /*1..8*/, post_id int not null /*1..9*/, published timestamp not null, deleted bool not null, removed bool not null);
create table post /*9*/ (id int primary key, creator_id int not null /*1..8*/, community_id int not null /*1..4*/, published timestamp not null);
create table community_follower (community_id int not null /*1..4*/, person_id int not null /*1..8*/);
create table community /*4*/ (id int primary key, local bool not null);
create table comment_like (comment_id int not null /*1..200*/, person_id int not null /*1..8*/, score smallint not null /*-1|1*/);

--@ q Y01 | LemmyNet/lemmy migrations/2023-12-06-180359_edit_active_users/up.sql community_aggregates_activity | active people of a community in an interval | union,dimjoin,now
SELECT count(*) AS count_, community_id FROM (SELECT c.creator_id, p.community_id FROM comment c JOIN post p ON c.post_id = p.id WHERE c.published > now() - interval '7 days' UNION SELECT p.creator_id, p.community_id FROM post p WHERE p.published > now() - interval '7 days') a GROUP BY community_id

--@ q Y03 | LemmyNet/lemmy migrations person_aggregates_comment_count | comments of a person that are not deleted |
SELECT creator_id, count(*) AS comment_count FROM comment WHERE NOT deleted AND NOT removed GROUP BY 1

--@ app umami
create table website_event (event_id int primary key, website_id int not null /*1..3*/, session_id int not null /*1..20*/, visit_id int not null /*1..40*/, event_type int not null /*1|2*/, event_name text /*buy|click*/, url_path text not null /*x|y|z*/, created_at timestamptz not null);
create table session /*20*/ (session_id int primary key, country text /*GB|DE*/, website_id int not null /*1..3*/);

--@ q U01 | umami-software/umami src/queries/sql/getWebsiteStats.ts | page views, visitors, visits, bounces, time on site | subagg,countdistinct,minmax,nullsum,nocount,intervalsum,exprtop
SELECT t.website_id, sum(t.c) AS pageviews, count(DISTINCT t.session_id) AS visitors, count(DISTINCT t.visit_id) AS visits, sum(CASE WHEN t.c = 1 THEN 1 ELSE 0 END) AS bounces, sum(floor(extract(epoch FROM (t.max_time - t.min_time)))) AS totaltime FROM (SELECT website_id, session_id, visit_id, count(*) AS c, min(created_at) AS min_time, max(created_at) AS max_time FROM website_event WHERE event_type = 1 GROUP BY 1, 2, 3) t GROUP BY 1

--@ q U03 | umami-software/umami src/queries/sql getPageviewMetrics | top pages by visitors | countdistinct,nocount,orderby,limit
SELECT website_id, url_path AS x, count(DISTINCT session_id) AS y FROM website_event WHERE event_type <> 2 GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 500
--@ compare y

--@ q U05 | umami-software/umami getWebsiteSessionStats | page views, visitors, countries, with the session's table | dimjoin,countdistinct,nullsum
SELECT e.website_id, count(*) AS pageviews, count(DISTINCT e.session_id) AS visitors, count(DISTINCT s.country) AS countries, sum(CASE WHEN e.event_type = 2 THEN 1 ELSE 0 END) AS events FROM website_event e JOIN session s ON e.session_id = s.session_id GROUP BY 1

--@ app support
create table reporting_events (id int primary key, account_id int not null /*1|2*/, user_id int /*1..5*/, name text not null /*conversation_resolved|first_response|reply_time*/, value float8 not null /*1|2.5|7.25*/, created_at timestamp not null);
create table conversations (id int primary key, account_id int not null /*1|2*/, assignee_id int /*1..5*/, created_at timestamp not null);
create table spans (id int primary key, project_id int not null /*1|2*/, service_name text not null /*web|db*/, status_code text not null /*OK|ERROR*/, duration_us int not null /*1..999*/, start_time timestamptz not null);
create table task_audit_log (id int primary key, version text not null /*v1|v2*/, status text not null /*success|failure*/, error_type text /*net|io*/, brand text /*a|b|c*/, created_at timestamptz not null);
create table api_request_logs (id int primary key, tenant_id int not null /*1|2*/, endpoint text not null /*x|y*/, method text not null /*GET|PUT*/, response_time int /*1..99*/, status_code int not null /*200|404|500*/, timestamp timestamp not null);
create table character_ratings (id int primary key, character_id int not null /*1..5*/, rating smallint not null /*1..5*/);
create table movie_assessments (id int primary key, id_movie int /*1..5*/, rating numeric /*1|2.5|5*/);

--@ q H01 | chatwoot/chatwoot app/builders/v2/reports/base_summary_builder.rb | resolutions and average times of agents | avg,floatsum,nocount
SELECT account_id, user_id, count(CASE WHEN name = 'conversation_resolved' THEN 1 END) AS resolved_count, avg(CASE WHEN name = 'conversation_resolved' THEN value END) AS avg_resolution_time, avg(CASE WHEN name = 'first_response' THEN value END) AS avg_first_response_time FROM reporting_events GROUP BY 1, 2

--@ q H03 | public tracing store ServiceMetricsWindow (spans, Go; find_string percentile_cont) | span count, errors, p50 p95 p99 | orderedset,exprtop
SELECT project_id, service_name, count(*) AS span_count, count(*) FILTER (WHERE status_code = 'ERROR') AS error_count, coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_us), 0)::bigint AS p95 FROM spans GROUP BY 1, 2

--@ q H05 | public runbook, task_audit_log errors (find_string percentile_cont) | errors and brands affected | countdistinct,orderby
SELECT error_type, count(*) AS count, count(DISTINCT brand) AS brands_affected FROM task_audit_log WHERE status = 'failure' GROUP BY 1 ORDER BY 2 DESC

--@ q H07 | public migration, character_stats backfill (find_string "AS sum_rating") | sum and number of ratings | exprtop
SELECT character_id, sum(rating)::int AS sum_rating, count(*)::int AS count_rating FROM character_ratings GROUP BY character_id

--@ app timeseries
create table conditions (time timestamptz not null, device int not null /*1..5*/, temperature float8 /*20.5|21|22.25*/);
create table stocks_real_time (time timestamptz not null, symbol text not null /*A|B*/, price float8 /*1|2.5|3*/);
create table rides (vendor_id int /*1|2*/, pickup timestamp not null, dropoff timestamp not null, rate_code int /*1..5*/, total_amount numeric /*1.5|20|33.3*/, tip_amount numeric /*0|2.5*/, trip_distance numeric /*0.5|3|9.9*/, passenger_count numeric /*1|2*/);
create table rates /*5*/ (rate_code int primary key, description text not null);
create table http_request (site_id int /*1|2|3*/, ingest_time timestamptz not null, ip_address text /*1|2|3|4*/, status_code int /*200|404*/, response_time_msec int /*1..99*/);
create table events (event_id int primary key, event_time timestamptz not null, client_id bigint /*1|2*/);
create table votes (id int primary key, post_id int not null /*1..5*/, vote_type smallint not null /*2|3|5*/, creation_date timestamp not null);
create table wikistat (pagename text not null /*a|b|c*/, pageviews int not null /*1..99*/);
create table github_events (event_type text not null /*WatchEvent|PushEvent*/, repo_name text not null /*r1|r2|r3*/, actor_login text not null /*u1|u2*/, created_at timestamp not null, payload jsonb /*{"action":"opened"}|{"action":"closed"}|{}*/);
create table bid (auction int not null /*1..4*/, bidder int not null /*1..6*/, price bigint not null /*100|20000|2000000*/, datetime timestamp not null);
create table auction /*4*/ (id int primary key, category int not null /*1..3*/, datetime timestamp not null, expires timestamp not null);
create table order_items (id int primary key, product_id int not null /*1..4*/, quantity int not null /*1..9*/, amount numeric not null /*5|7.5|10*/);
create table mz_events (id int primary key, insert_ms bigint not null /*1..9*/, delete_ms bigint not null /*5..19*/);
create table lineitem (l_orderkey int not null /*1..99*/, l_returnflag text not null /*A|N|R*/, l_linestatus text not null /*O|F*/, l_quantity numeric not null /*1..50*/, l_extendedprice numeric not null /*100.25|2000|99.9*/, l_discount numeric not null /*0.01|0.05|0.06*/, l_tax numeric not null /*0|0.08*/, l_shipdate date not null, l_shipmode text not null /*MAIL|SHIP|AIR*/);
create table orders /*99*/ (o_orderkey int primary key, o_orderpriority text not null /*1-URGENT|2-HIGH|5-LOW*/);

--@ q X01 | timescale/timescaledb README, docs conditions_summary_daily | weather by device and day | avg,floatsum,minmax,nocount
SELECT device, date_bin('1 day', time, '2000-01-01 00:00+00') AS bucket, avg(temperature) AS avg, max(temperature) AS max, min(temperature) AS min FROM conditions GROUP BY device, bucket

--@ q X03 | TimescaleDB NYC taxi tutorial (Newark trips per hour) | trips and average fare per hour | avg,orderby
SELECT rate_code, date_bin('1 hour', pickup, '2000-01-01') AS hour, count(*) AS trips, avg(total_amount) AS avg FROM rides GROUP BY 1, 2 ORDER BY 2

--@ q X05 | Citus docs use_cases/realtime_analytics http_request_1min | requests by minute: success, errors, average time | stable,nullsum,exprtop,nocount
SELECT site_id, date_trunc('minute', ingest_time) AS minute, count(1) AS request_count, sum(CASE WHEN status_code BETWEEN 200 AND 299 THEN 1 ELSE 0 END) AS success_count, sum(CASE WHEN status_code BETWEEN 200 AND 299 THEN 0 ELSE 1 END) AS error_count, sum(response_time_msec) / count(1) AS average_response_time_msec FROM http_request GROUP BY 1, 2

--@ q X07 | CrunchyData/pg_incremental README events_agg | events by day | stable
SELECT date_trunc('day', event_time) AS day, count(*) AS event_count FROM events GROUP BY 1

--@ q X09 | AWS EMR / Spark wikistat sample | most viewed pages | nocount,orderby,limit
SELECT pagename, sum(pageviews) AS c FROM wikistat GROUP BY pagename ORDER BY c DESC LIMIT 10
--@ compare c

--@ q X11 | ClickHouse/ClickHouse GH Archive queries | stars by year | orderby
SELECT extract(year FROM created_at) AS year, count(*) AS stars FROM github_events WHERE event_type = 'WatchEvent' GROUP BY year ORDER BY year

--@ q X13 | Apache Doris test of GH Archive as variant (v:payload.action) | events by a field of a JSON document | orderby
SELECT payload->>'action' AS action, count(*) AS n FROM github_events GROUP BY payload->>'action' ORDER BY payload->>'action'

--@ q X15 | TPC-H Q1 (as in many repositories) | pricing summary | avg,nullsum,orderby
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price, sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price, sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, avg(l_quantity) AS avg_qty, avg(l_extendedprice) AS avg_price, count(*) AS count_order FROM lineitem WHERE l_shipdate <= date '2026-12-01' - interval '10' day GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus

--@ q X17 | TPC-H Q12 | shipping modes and order priority | factjoin,nullsum,nocount,orderby
SELECT l_shipmode, sum(CASE WHEN o_orderpriority IN ('1-URGENT', '2-HIGH') THEN 1 ELSE 0 END) AS high, sum(CASE WHEN o_orderpriority NOT IN ('1-URGENT', '2-HIGH') THEN 1 ELSE 0 END) AS low FROM orders JOIN lineitem ON o_orderkey = l_orderkey GROUP BY l_shipmode ORDER BY l_shipmode
--@ none join of orders and their lines: a group for each order would be needed

--@ q X19 | nexmark/nexmark nexmark-flink/.../queries/q15.sql | bidders and auctions by day and level of price | stable,countdistinct
SELECT to_char(datetime, 'YYYY-MM-DD') AS day, count(*) AS total_bids, count(DISTINCT bidder) AS total_bidders, count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders, count(DISTINCT auction) AS total_auctions FROM bid GROUP BY 1

--@ q X21 | Materialize docs, aggregations: product_sales | sales of a product: count, sums, average, extremes | avg,minmax
SELECT product_id, count(*) AS sale_count, sum(quantity) AS total_quantity, sum(amount) AS total_revenue, avg(amount) AS avg_sale_amount, min(amount) AS min_sale, max(amount) AS max_sale FROM order_items GROUP BY product_id

--@ app shop
create table publisher /*6*/ (id int primary key, name text not null);
create table book /*40*/ (id int primary key, publisher_id int /*1..5*/, price numeric /*5|9.99|20*/, rating float8 /*3.5|4|4.5*/);
create table stock /*8*/ (id int primary key, product_variant_id int not null /*1..5*/, quantity int not null /*1..9*/);
create table allocation /*60*/ (id int primary key, stock_id int not null /*1..8*/, quantity_allocated int not null /*1..5*/);
create table sale_order /*30*/ (id int primary key, date_order timestamp not null, date_confirm date, create_date timestamp, partner_id int not null /*1..4*/, state text not null /*draft|done*/);
create table sale_order_line (id int primary key, order_id int not null /*1..30*/, product_id int /*1..5*/, product_uom_qty numeric /*1|2*/, price_unit numeric /*5|10*/, discount numeric /*0|10*/);

--@ q B01 | Django docs topics/db/aggregation annotate(Count) | books of each publisher, also of those with none | outerjoin,fdcol,nocount
SELECT p.id, p.name, count(b.id) AS num_books FROM publisher p LEFT JOIN book b ON b.publisher_id = p.id GROUP BY p.id

--@ q B03 | Django docs topics/db/aggregation aggregate(Avg, Max, Min) | average, highest, lowest price of all books | nogroup,avg,minmax,nocount
SELECT avg(price) AS avg, max(price) AS max, min(price) AS min FROM book

--@ q B05 | saleor/saleor saleor/product/models.py annotate_quantities (allocations_subquery) | allocated quantity of a stock | nocount
SELECT stock_id, coalesce(sum(quantity_allocated), 0) AS total_allocated FROM allocation GROUP BY 1
