-- The dashboard's statistics as a rollup: how many notifications of each kind and status,
-- by the London day on which they were requested. Test keys are not counted. Archiving moves
-- a row from one table to the other, so it changes nothing here.
ALTER TABLE notifications REPLICA IDENTITY FULL;
ALTER TABLE notification_history REPLICA IDENTITY FULL;

SELECT notify_stats.create_rollup('ft_service_stats', $$
    SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS bst_date,
           service_id, template_id, notification_type, notification_status,
           count(*) AS notification_count
    FROM (SELECT created_at, service_id, template_id, notification_type,
                 notification_status, key_type
          FROM notifications
          UNION ALL
          SELECT created_at, service_id, template_id, notification_type,
                 notification_status, key_type
          FROM notification_history) AS n
    WHERE key_type <> 'test'
    GROUP BY 1, 2, 3, 4, 5
$$);
