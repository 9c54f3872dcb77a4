-- weight: 15
-- News of a notification that is already in the history.
\set from random(0, 255)
\set then random(0, 15)
\set late random(1, 10)
UPDATE notification_history
SET notification_status = CASE WHEN :late = 1 THEN 'technical-failure' ELSE 'delivered' END,
    updated_at = now() AT TIME ZONE 'UTC'
WHERE id = (
    SELECT id FROM notification_history
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0') || to_hex(:then), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_status IN ('created', 'sending', 'temporary-failure')
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);
