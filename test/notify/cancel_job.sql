-- weight: 1
-- A whole job is cancelled as far as it has not been sent.
\set job random(0, 39)
WITH waiting AS MATERIALIZED (
    SELECT id FROM notifications
    WHERE job_id = md5(format('job %s', :job))::uuid AND notification_status = 'created'
    LIMIT 5000 FOR UPDATE SKIP LOCKED)
UPDATE notifications AS n
SET notification_status = 'cancelled', billable_units = 0,
    updated_at = now() AT TIME ZONE 'UTC'
FROM waiting
WHERE n.id = waiting.id;
