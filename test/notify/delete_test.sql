-- weight: 1
-- Rows made with a test key are deleted, and never reach the history.
\set slot random_zipfian(1, 2000, 1.05)
WITH doomed AS MATERIALIZED (
    SELECT n.id
    FROM notifications AS n
    JOIN simulation.templates AS t USING (service_id, notification_type)
    WHERE t.slot = :slot
      AND n.key_type = 'test'
      AND n.created_at < (now() AT TIME ZONE 'UTC') - :timeout * interval '1 s'
    LIMIT 5000
    FOR UPDATE OF n SKIP LOCKED)
DELETE FROM notifications AS n USING doomed WHERE n.id = doomed.id;
