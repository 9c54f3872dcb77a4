-- weight: 30
-- One row of a spreadsheet of addresses. The queue delivers some rows twice.
\set slot random_zipfian(1, 2000, 1.05)
\set job random(0, 39)
\set row random(1, 2000)
INSERT INTO notifications
    (id, "to", job_id, job_row_number, service_id, template_id, created_at, reference,
     template_version, _personalisation, api_key_id, key_type, notification_type,
     billable_units, international, rate_multiplier, notification_status, normalised_to)
SELECT gen_random_uuid(), '07700900' || :row, md5(format('job %s', :job))::uuid, :row,
       service_id, template_id, now() AT TIME ZONE 'UTC', md5(random()::text),
       1, repeat(md5(random()::text), 10), api_key_id, 'normal', notification_type,
       1, false, 1, CASE WHEN :row % 50 = 0 THEN 'validation-failed' ELSE 'created' END,
       '447700900' || :row
FROM simulation.templates
WHERE slot = :slot
ON CONFLICT ON CONSTRAINT uq_notifications_job_row_number DO NOTHING;
