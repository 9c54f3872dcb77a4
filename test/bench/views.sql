-- Tables of Notify with facts (:rows each) and dimensions, for rollups that are views over cores.
CREATE TABLE organisation (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE services (id int PRIMARY KEY, name text NOT NULL, organisation_id int, restricted bool NOT NULL, active bool NOT NULL,
    count_as_live bool NOT NULL, created_at timestamp NOT NULL);
CREATE TABLE templates (id int PRIMARY KEY, name text NOT NULL, template_type text NOT NULL, is_precompiled_letter bool NOT NULL);
CREATE TABLE provider_details (id int PRIMARY KEY, identifier text NOT NULL, priority int NOT NULL);
CREATE TABLE annual_billing (id int PRIMARY KEY, service_id int NOT NULL, financial_year_start int NOT NULL,
    free_sms_fragment_limit int NOT NULL);
CREATE TABLE unsubscribe_request_report (id int PRIMARY KEY, processed_by_service_at timestamp);
CREATE TABLE ft_billing (bst_date date NOT NULL, template_id int NOT NULL, service_id int NOT NULL, notification_type text NOT NULL,
    provider text NOT NULL, rate_multiplier int NOT NULL, rate numeric NOT NULL, postage text NOT NULL, billable_units int,
    notifications_sent int);
CREATE TABLE ft_notification_status (bst_date date NOT NULL, template_id int NOT NULL, service_id int NOT NULL, job_id int NOT NULL,
    notification_type text NOT NULL, key_type text NOT NULL, notification_status text NOT NULL, notification_count int NOT NULL);
CREATE TABLE unsubscribe_request (id int PRIMARY KEY, service_id int NOT NULL, unsubscribe_request_report_id int,
    created_at timestamp NOT NULL);

SELECT setseed(0.5) \g /dev/null
INSERT INTO organisation SELECT i, 'organisation ' || i FROM generate_series(1, 50) i;
INSERT INTO services SELECT i, 'service ' || i, 1 + i % 50, i % 10 = 0, i % 7 <> 0, i % 3 <> 0, '2024-01-01'::timestamp + i * interval '1 hour'
    FROM generate_series(1, 800) i;
INSERT INTO templates SELECT i, 'template ' || i, (ARRAY['email', 'sms', 'letter'])[1 + i % 3], i % 9 = 0 FROM generate_series(1, 4000) i;
INSERT INTO provider_details SELECT i, p, i FROM unnest(ARRAY['mmg', 'firetext', 'dvla', 'ses']) WITH ORDINALITY AS u(p, i);
INSERT INTO annual_billing SELECT i, 1 + i % 800, 2024 + i / 800, 10000 FROM generate_series(0, 1599) i;
INSERT INTO unsubscribe_request_report SELECT i, CASE WHEN i % 2 = 0 THEN '2026-11-01'::timestamp END FROM generate_series(1, 500) i;

-- a template belongs to one service, and a service sends its notifications unevenly
INSERT INTO ft_billing SELECT current_date - (365 * random())::int, t, 1 + t % 800, (ARRAY['email', 'sms', 'letter'])[1 + t % 3],
        (ARRAY['ses', 'mmg', 'dvla'])[1 + t % 3], 1 + (random() < 0.1)::int, (ARRAY[0, 0.0165, 0.43])[1 + t % 3],
        (ARRAY['none', 'none', 'second'])[1 + t % 3], 1 + (3 * random())::int, 1 + (50 * random())::int
    FROM (SELECT 1 + (3999 * power(random(), 2))::int AS t FROM generate_series(1, :rows)) r;
INSERT INTO ft_notification_status SELECT current_date - (365 * random())::int, t, 1 + t % 800, (10 * random())::int,
        (ARRAY['email', 'sms', 'letter'])[1 + t % 3], (ARRAY['normal', 'normal', 'normal', 'team', 'test'])[1 + (4 * random())::int],
        (ARRAY['delivered', 'delivered', 'sending', 'permanent-failure', 'technical-failure', 'cancelled'])[1 + (5 * random())::int],
        1 + (50 * random())::int
    FROM (SELECT 1 + (3999 * power(random(), 2))::int AS t FROM generate_series(1, :rows)) r;
INSERT INTO unsubscribe_request SELECT i, 1 + (799 * power(random(), 2))::int, nullif((600 * random())::int, 0),
        '2026-01-01'::timestamp + i * interval '27 seconds' FROM generate_series(1, :rows) i;
ALTER TABLE ft_billing REPLICA IDENTITY FULL;
ALTER TABLE ft_notification_status REPLICA IDENTITY FULL;
ALTER TABLE unsubscribe_request REPLICA IDENTITY FULL;
CREATE INDEX ON ft_billing (service_id, bst_date);
CREATE INDEX ON ft_notification_status (service_id, bst_date);
CREATE INDEX ON unsubscribe_request (service_id);
VACUUM ANALYZE;
