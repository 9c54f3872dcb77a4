-- Services, templates and a stock of notifications for the load scripts to work on.
-- psql variable rows: notifications of the last 8 days (20000); a quarter as many go to the
-- history. Nothing here depends on random(), so two runs make the same rows but for the time.
\if :{?rows}
\else
    \set rows 20000
\endif

-- Notify's tables do not say which service is how busy. This one does, for the load scripts
-- alone: slot 1 is the template used most, slot 2000 the one used least.
CREATE SCHEMA simulation;
CREATE TABLE simulation.templates (
    slot integer PRIMARY KEY,
    service_id uuid NOT NULL,
    template_id uuid NOT NULL,
    notification_type notification_type NOT NULL,
    api_key_id uuid NOT NULL,
    test_api_key_id uuid NOT NULL
);

-- 800 services with 2 or 3 templates each, of which 6 in 10 are e-mails, 3 in 10 texts.
INSERT INTO simulation.templates
SELECT row_number() OVER (ORDER BY md5(format('%s/%s', s, t))),
       md5(format('service %s', s))::uuid,
       md5(format('template %s/%s', s, t))::uuid,
       CASE WHEN (s * 7 + t * 3) % 10 < 6 THEN 'email'
            WHEN (s * 7 + t * 3) % 10 < 9 THEN 'sms'
            ELSE 'letter' END::notification_type,
       md5(format('api key %s', s))::uuid,
       md5(format('test key %s', s))::uuid
FROM generate_series(1, 800) AS s, generate_series(1, 2 + s % 2) AS t;

INSERT INTO services SELECT DISTINCT service_id FROM simulation.templates;
INSERT INTO templates SELECT template_id FROM simulation.templates;
INSERT INTO templates_history SELECT template_id, 1 FROM simulation.templates;
INSERT INTO api_keys
SELECT api_key_id FROM simulation.templates
UNION SELECT test_api_key_id FROM simulation.templates;
INSERT INTO users SELECT md5(format('user %s', i))::uuid FROM generate_series(1, 100) AS i;
INSERT INTO jobs SELECT md5(format('job %s', i))::uuid FROM generate_series(0, 39) AS i;

-- n is the age, from 0 to 1; a, b and c are hashes of i between 0 and 1 that have nothing to
-- do with it or each other. The slot is skewed: two in five rows fall on 20 of 2000 templates.
CREATE TEMP TABLE stock AS
SELECT md5(format('notification %s', i))::uuid AS id,
       t.*,
       (now() AT TIME ZONE 'UTC') - n * interval '8 days' AS created_at,
       CASE WHEN a < 0.08 THEN 'test' WHEN a < 0.11 THEN 'team' ELSE 'normal' END AS key_type,
       CASE WHEN n < 0.005 THEN CASE WHEN b < 0.4 THEN 'created' ELSE 'sending' END
            WHEN b < 0.03 THEN 'sending'
            WHEN b < 0.04 THEN 'permanent-failure'
            WHEN b < 0.05 THEN 'temporary-failure'
            WHEN b < 0.052 THEN 'technical-failure'
            ELSE 'delivered' END AS status,
       i
FROM (SELECT i, (i - 1)::float8 / :rows AS n,
             (hashint4extended(i, 1) & 65535) / 65536.0 AS a,
             (hashint4extended(i, 2) & 65535) / 65536.0 AS b,
             (hashint4extended(i, 3) & 65535) / 65536.0 AS c
      FROM generate_series(1, :rows) AS i) AS r
JOIN simulation.templates AS t ON t.slot = floor(2000 ^ c);

INSERT INTO notifications
    (id, "to", service_id, template_id, created_at, sent_at, sent_by, updated_at, reference,
     template_version, _personalisation, api_key_id, key_type, notification_type,
     billable_units, client_reference, international, rate_multiplier, notification_status,
     normalised_to, postage)
SELECT id, 'user' || i || '@example.gov.uk',
       -- a few rows have lost their service or template
       CASE WHEN i % 500 <> 0 THEN service_id END,
       CASE WHEN i % 700 <> 0 THEN template_id END,
       created_at,
       CASE WHEN status <> 'created' THEN created_at + interval '2 s' END,
       CASE notification_type WHEN 'sms' THEN 'mmg' WHEN 'email' THEN 'ses' ELSE 'dvla' END,
       CASE WHEN status <> 'created' THEN created_at + interval '3 s' END,
       'ref-' || i, 1, repeat(md5(i::text), 10),
       CASE WHEN key_type = 'test' THEN test_api_key_id ELSE api_key_id END,
       key_type, notification_type,
       CASE WHEN notification_type = 'email' THEN 0 ELSE 1 END,
       'client-' || i % 1000, false, 1, status, 'user' || i || '@example.gov.uk',
       CASE WHEN notification_type = 'letter' THEN 'second' END
FROM stock;

-- The history holds older rows, and a few that the archive transaction will meet again.
INSERT INTO notification_history
    (id, service_id, template_id, template_version, api_key_id, key_type, notification_type,
     created_at, sent_at, sent_by, updated_at, reference, billable_units, international,
     rate_multiplier, notification_status, postage)
SELECT CASE WHEN i % 100 = 0 THEN id ELSE md5(format('history %s', i))::uuid END,
       service_id, template_id, 1, api_key_id, key_type, notification_type,
       CASE WHEN i % 100 = 0 THEN created_at ELSE created_at - interval '8 days' END,
       created_at, 'ses', created_at, 'old-' || i,
       CASE WHEN notification_type = 'email' THEN 0 ELSE 1 END, false, 1,
       CASE WHEN i % 300 <> 0 THEN status END,
       CASE WHEN notification_type = 'letter' THEN 'second' END
FROM stock
WHERE (i % 4 = 0 OR i % 100 = 0) AND key_type <> 'test';

DROP TABLE stock;
VACUUM ANALYZE;
