-- weight: 10
-- A precompiled letter: inserted, scanned and accepted in one transaction, with one change
-- taken back on the way.
\set slot random_zipfian(1, 2000, 1.05)
\set scan random(1, 20)
BEGIN;
INSERT INTO notifications
    (id, "to", service_id, template_id, created_at, reference, template_version, api_key_id,
     key_type, notification_type, billable_units, international, rate_multiplier,
     notification_status, postage)
SELECT gen_random_uuid(), 'Provided as PDF', service_id, template_id,
       now() AT TIME ZONE 'UTC', md5(random()::text), 1, api_key_id,
       'normal', 'letter', 0, false, 1, 'pending-virus-check', 'second'
FROM simulation.templates
WHERE slot = :slot
RETURNING id AS letter \gset
SAVEPOINT scan;
UPDATE notifications SET notification_status = 'technical-failure' WHERE id = ':letter';
ROLLBACK TO SAVEPOINT scan;
UPDATE notifications
SET notification_status = CASE WHEN :scan = 1 THEN 'virus-scan-failed' ELSE 'created' END,
    billable_units = 1, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = ':letter';
COMMIT;
