-- weight: 1
-- The post returns letters: one transaction over both tables.
\set from random(0, 255)
BEGIN;
WITH returned AS MATERIALIZED (
    SELECT id FROM notifications
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0'), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_type = 'letter' AND notification_status = 'delivered'
    ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED)
UPDATE notifications AS n
SET notification_status = 'returned-letter', updated_at = now() AT TIME ZONE 'UTC'
FROM returned WHERE n.id = returned.id;
WITH returned AS MATERIALIZED (
    SELECT id FROM notification_history
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0'), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_type = 'letter' AND notification_status = 'delivered'
    ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED)
UPDATE notification_history AS n
SET notification_status = 'returned-letter', updated_at = now() AT TIME ZONE 'UTC'
FROM returned WHERE n.id = returned.id;
COMMIT;
