-- weight: 300
-- The API accepts a notification: one row. One in twelve is made with a test key, one in 500
-- has no template, and one in 200 is long enough to be TOASTed.
\set slot random_zipfian(1, 2000, 1.05)
\set key random(1, 100)
\set rare random(1, 1000)
INSERT INTO notifications
    (id, "to", service_id, template_id, created_at, reference, template_version,
     _personalisation, api_key_id, key_type, notification_type, billable_units,
     client_reference, international, rate_multiplier, notification_status, normalised_to)
SELECT gen_random_uuid(), 'user' || :rare || '@example.gov.uk',
       CASE WHEN :rare <> 1 THEN service_id END,
       CASE WHEN :rare NOT IN (2, 3) THEN template_id END,
       now() AT TIME ZONE 'UTC', md5(random()::text), 1,
       CASE WHEN :rare BETWEEN 4 AND 8
            THEN (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 300))
            ELSE repeat(md5(random()::text), 10) END,
       CASE WHEN :key <= 8 THEN test_api_key_id ELSE api_key_id END,
       CASE WHEN :key <= 8 THEN 'test' WHEN :key <= 11 THEN 'team' ELSE 'normal' END,
       notification_type, CASE WHEN notification_type = 'email' THEN 0 ELSE 1 END,
       'client-' || :rare, false, 1, 'created', 'user' || :rare || '@example.gov.uk'
FROM simulation.templates
WHERE slot = :slot;
