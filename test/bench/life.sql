-- The life of one notification, for pgbench: inserted, sent and delivered, in three
-- transactions. The statements are those of test/notify/insert.sql, send.sql and receipt.sql,
-- but of a row that is known: the scripts there look for one, which costs more the longer they
-- run.
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
WHERE slot = :slot
RETURNING id AS notification \gset
UPDATE notifications
SET notification_status = 'sending',
    sent_at = now() AT TIME ZONE 'UTC', updated_at = now() AT TIME ZONE 'UTC',
    sent_by = CASE notification_type WHEN 'sms' THEN 'mmg' WHEN 'email' THEN 'ses'
                                     ELSE 'dvla' END
WHERE id = ':notification';
UPDATE notifications
SET notification_status = CASE WHEN :rare <= 950 THEN 'delivered' ELSE 'permanent-failure' END,
    updated_at = now() AT TIME ZONE 'UTC'
WHERE id = ':notification';
