-- weight: 100
-- A change that leaves the status as it is: the count of billable units, or a second receipt.
\set from random(0, 255)
\set then random(0, 15)
UPDATE notifications
SET billable_units = billable_units + 1, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = (
    SELECT id FROM notifications
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0') || to_hex(:then), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_status IN ('delivered', 'sending')
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);
