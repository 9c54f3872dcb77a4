-- The same from the rollup.
SELECT template_id, notification_type, notification_status,
       sum(notification_count)::bigint AS notification_count
FROM ft_service_stats
WHERE :condition
  AND bst_date >= (now() AT TIME ZONE 'Europe/London')::date - 6
GROUP BY 1, 2, 3;
