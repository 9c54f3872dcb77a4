-- weight: 10
-- An upload fails half-way: nothing of the transaction remains.
\set slot random_zipfian(1, 2000, 1.05)
\set from random(0, 255)
BEGIN;
INSERT INTO notifications
    (id, "to", service_id, template_id, created_at, template_version, api_key_id, key_type,
     notification_type, billable_units, notification_status)
SELECT gen_random_uuid(), 'nobody', service_id, template_id, now() AT TIME ZONE 'UTC', 1,
       api_key_id, 'normal', notification_type, 1, 'created'
FROM simulation.templates
WHERE slot = :slot;
UPDATE notifications SET notification_status = 'cancelled'
WHERE id = (SELECT id FROM notifications
            WHERE id >= rpad(lpad(to_hex(:from), 2, '0'), 32, '0')::uuid
              AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
              AND notification_status = 'created'
            LIMIT 1 FOR UPDATE SKIP LOCKED);
ROLLBACK;
