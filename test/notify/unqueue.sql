-- weight: 5
-- Queueing failed after the insert: the fresh row is deleted.
\set from random(0, 255)
\set then random(0, 15)
DELETE FROM notifications
WHERE id = (
    SELECT id FROM notifications
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0') || to_hex(:then), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_status = 'created'
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);
