-- What a service's dashboard asks (psql variable condition: of which service): the last seven
-- London days, today included, counted from the notifications themselves.
SELECT template_id, notification_type, notification_status, count(*) AS notification_count
FROM notifications
WHERE :condition
  AND key_type <> 'test'
  AND created_at >= ((now() AT TIME ZONE 'Europe/London')::date - 6)::timestamp
                    AT TIME ZONE 'Europe/London' AT TIME ZONE 'UTC'
GROUP BY 1, 2, 3;
