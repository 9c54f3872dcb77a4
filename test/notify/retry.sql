-- weight: 40
-- A provider fails and the text is tried with others: changes without a change of status,
-- several of the same row in one transaction.
\set from random(0, 255)
\set then random(0, 15)
BEGIN;
-- always one row, or \gset would end the client
SELECT coalesce((
    SELECT id FROM notifications
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0') || to_hex(:then), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_status = 'created'
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED), gen_random_uuid()) AS tried \gset
UPDATE notifications SET billable_units = billable_units + 1, sent_by = 'firetext'
WHERE id = ':tried';
UPDATE notifications SET billable_units = billable_units + 1, sent_by = 'mmg'
WHERE id = ':tried';
COMMIT;
