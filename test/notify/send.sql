-- weight: 300
-- A provider accepts a notification: created, then sending. Which one is left to chance: the
-- first that is due in some 256th of the (random) ids, so that clients seldom meet.
\set from random(0, 255)
\set then random(0, 15)
\set international random(1, 50)
UPDATE notifications
SET notification_status = CASE WHEN :international = 1 AND notification_type = 'sms'
                               THEN 'sent' ELSE 'sending' END,
    sent_at = now() AT TIME ZONE 'UTC', updated_at = now() AT TIME ZONE 'UTC',
    sent_by = CASE notification_type WHEN 'sms' THEN 'mmg' WHEN 'email' THEN 'ses'
                                     ELSE 'dvla' END
WHERE id = (
    SELECT id FROM notifications
    WHERE id >= rpad(lpad(to_hex(:from), 2, '0') || to_hex(:then), 32, '0')::uuid
      AND id <= rpad(lpad(to_hex(:from), 2, '0'), 32, 'f')::uuid
      AND notification_status = 'created'
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED);
