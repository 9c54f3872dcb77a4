-- Counters kept by triggers, as one would write them without notify_stats: bench.count_row()
-- for each row, bench.count_statement() for all rows of a statement together. Which of them is
-- used is up to the caller. The table is laid out as that of a rollup.
CREATE SCHEMA bench;

CREATE TABLE bench.counters (
    bst_date date,
    service_id uuid,
    template_id uuid,
    notification_type notification_type,
    notification_status text,
    notification_count bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT
        (bst_date, service_id, template_id, notification_type, notification_status)
) WITH (fillfactor = 70);

CREATE VIEW bench.counters_definition AS
SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date AS bst_date,
       service_id, template_id, notification_type, notification_status,
       count(*) AS notification_count
FROM notifications
WHERE key_type <> 'test'
GROUP BY 1, 2, 3, 4, 5;

-- They decrement to zero, but delete nothing.
CREATE VIEW bench.counters_shown AS
SELECT * FROM bench.counters WHERE notification_count <> 0;

-- The old group first: statuses only go forward, so clients meet in one order and none waits
-- for another in a circle.
CREATE FUNCTION bench.count_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.key_type <> 'test' THEN
        INSERT INTO bench.counters AS c
        VALUES ((OLD.created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date,
                OLD.service_id, OLD.template_id, OLD.notification_type,
                OLD.notification_status, -1)
        ON CONFLICT (bst_date, service_id, template_id, notification_type, notification_status)
        DO UPDATE SET notification_count = c.notification_count - 1;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.key_type <> 'test' THEN
        INSERT INTO bench.counters AS c
        VALUES ((NEW.created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date,
                NEW.service_id, NEW.template_id, NEW.notification_type,
                NEW.notification_status, 1)
        ON CONFLICT (bst_date, service_id, template_id, notification_type, notification_status)
        DO UPDATE SET notification_count = c.notification_count + 1;
    END IF;
    RETURN NULL;
END
$$;

-- The groups in order, for the same reason.
CREATE FUNCTION bench.count_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO bench.counters AS c
        SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date,
               service_id, template_id, notification_type, notification_status, count(*)
        FROM new_rows
        WHERE key_type <> 'test'
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (bst_date, service_id, template_id, notification_type, notification_status)
        DO UPDATE SET notification_count = c.notification_count + excluded.notification_count;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO bench.counters AS c
        SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date,
               service_id, template_id, notification_type, notification_status, -count(*)
        FROM old_rows
        WHERE key_type <> 'test'
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (bst_date, service_id, template_id, notification_type, notification_status)
        DO UPDATE SET notification_count = c.notification_count + excluded.notification_count;
    ELSE
        INSERT INTO bench.counters AS c
        SELECT (created_at AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/London')::date,
               service_id, template_id, notification_type, notification_status, sum(n)
        FROM (SELECT created_at, service_id, template_id, notification_type,
                     notification_status, key_type, 1 AS n FROM new_rows
              UNION ALL
              SELECT created_at, service_id, template_id, notification_type,
                     notification_status, key_type, -1 FROM old_rows) AS changed
        WHERE key_type <> 'test'
        GROUP BY 1, 2, 3, 4, 5 HAVING sum(n) <> 0 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (bst_date, service_id, template_id, notification_type, notification_status)
        DO UPDATE SET notification_count = c.notification_count + excluded.notification_count;
    END IF;
    RETURN NULL;
END
$$;
