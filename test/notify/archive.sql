-- weight: 3
-- The nightly archive for one service and type: rows older than :retention days move to
-- the history in one transaction, by way of a temporary table.
\set slot random_zipfian(1, 2000, 1.05)
BEGIN;
CREATE TEMP TABLE notification_archive ON COMMIT DROP AS
SELECT n.*
FROM notifications AS n
JOIN simulation.templates AS t USING (service_id, notification_type)
WHERE t.slot = :slot
  AND n.created_at < (date_trunc('day', now() AT TIME ZONE 'Europe/London')
                      - :retention * interval '1 day')
                     AT TIME ZONE 'Europe/London' AT TIME ZONE 'UTC'
  AND n.key_type IN ('normal', 'team')
ORDER BY n.created_at
LIMIT 5000
FOR UPDATE OF n SKIP LOCKED;
INSERT INTO notification_history
    (id, job_id, job_row_number, service_id, template_id, template_version, api_key_id,
     key_type, notification_type, created_at, sent_at, sent_by, updated_at, reference,
     billable_units, client_reference, international, phone_prefix, rate_multiplier,
     notification_status, created_by_id, postage, document_download_count)
SELECT id, job_id, job_row_number, service_id, template_id, template_version, api_key_id,
       key_type, notification_type, created_at, sent_at, sent_by, updated_at, reference,
       billable_units, client_reference, international, phone_prefix, rate_multiplier,
       notification_status, created_by_id, postage, document_download_count
FROM notification_archive
ON CONFLICT ON CONSTRAINT notification_history_pkey DO NOTHING;
DELETE FROM notifications WHERE id IN (SELECT id FROM notification_archive);
COMMIT;
