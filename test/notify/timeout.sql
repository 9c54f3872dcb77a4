-- weight: 1
-- The nightly timeout, many rows in one UPDATE: notifications without a provider's report fail.
-- Notify waits three days; the load waits :timeout seconds.
WITH overdue AS MATERIALIZED (
    SELECT id FROM notifications
    WHERE notification_type IN ('email', 'sms')
      AND notification_status IN ('sending', 'pending')
      AND created_at < (now() AT TIME ZONE 'UTC') - :timeout * interval '1 s'
    LIMIT 5000 FOR UPDATE SKIP LOCKED)
UPDATE notifications AS n
SET notification_status = 'temporary-failure', updated_at = now() AT TIME ZONE 'UTC'
FROM overdue
WHERE n.id = overdue.id;
