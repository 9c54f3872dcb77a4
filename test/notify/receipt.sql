-- weight: 280
-- A receipt arrives: delivered, or now and then a failure.
\set from random(0, 255)
\set then random(0, 15)
\set result random(1, 100)
UPDATE notifications
SET notification_status = CASE WHEN :result <= 95 THEN 'delivered'
                               WHEN :result <= 98 THEN 'permanent-failure'
                               WHEN :result <= 99 THEN 'temporary-failure'
                               ELSE 'pending' END,
    updated_at = now() AT TIME ZONE 'UTC'
WHERE id = (
    SELECT id FROM notifications
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0') || to_hex(:then), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_status IN ('sending', 'pending')
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);
