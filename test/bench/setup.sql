-- Needed by the benchmarks in addition to Notify's tables and their rollup, and cpu.sql.
CREATE PUBLICATION notify_stats FOR TABLE notifications, notification_history;

-- The columns that the definition reads, from the dependencies of its view, as an option of our plugin.
CREATE VIEW bench.sources AS
SELECT string_agg(format('%s:%s', relid, attnums), ';' ORDER BY relid) AS tables
FROM (SELECT refobjid AS relid, string_agg(refobjsubid::text, ',' ORDER BY refobjsubid) AS attnums
      FROM pg_depend JOIN pg_rewrite AS r ON classid = 'pg_rewrite'::regclass AND objid = r.oid
      WHERE ev_class = 'ft_service_stats_definition'::regclass
        AND refclassid = 'pg_class'::regclass AND refobjsubid > 0
      GROUP BY 1) AS source;

-- At least so many row changes, and how many they were: a notification is inserted, sent and
-- delivered; then every second is archived, or deleted if it was made with a test key. All of
-- that changes columns that the rollup reads. The statements are those of test/notify, though
-- nothing depends on random() here. If each is committed, the running transactions are logged
-- each 15,000 changes, as they would be at 1,000 changes per second.
CREATE PROCEDURE bench.life_cycle(changes int, commit_each boolean, INOUT done int DEFAULT 0)
LANGUAGE plpgsql AS $$
DECLARE
    template simulation.templates;
    notification uuid;
    test boolean;
BEGIN
    FOR i IN 1 .. changes LOOP
        EXIT WHEN done >= changes;
        SELECT * INTO template FROM simulation.templates
        WHERE slot = floor(2000 ^ ((hashint4extended(i, 4) & 65535) / 65536.0));
        notification := md5(format('bench %s', i))::uuid;
        test := i % 12 = 0;
        FOR step IN 1 .. 5 LOOP
            CONTINUE WHEN step >= 4 AND i % 2 = 1 OR step = 4 AND test;
            CASE step
                WHEN 1 THEN
                    INSERT INTO notifications
                        (id, "to", service_id, template_id, created_at, reference,
                         template_version, _personalisation, api_key_id, key_type,
                         notification_type, billable_units, client_reference, international,
                         rate_multiplier, notification_status, normalised_to)
                    VALUES
                        (notification, 'user' || i || '@example.gov.uk', template.service_id,
                         CASE WHEN i % 500 > 0 THEN template.template_id END,
                         clock_timestamp() AT TIME ZONE 'UTC', md5(i::text), 1,
                         CASE WHEN i % 200 = 0       -- long enough to be TOASTed
                              THEN (SELECT string_agg(md5(format('%s/%s', i, n)), '')
                                    FROM generate_series(1, 300) AS n)
                              ELSE repeat(md5(i::text), 10) END,
                         CASE WHEN test THEN template.test_api_key_id
                              ELSE template.api_key_id END,
                         CASE WHEN test THEN 'test' WHEN i % 33 = 0 THEN 'team'
                              ELSE 'normal' END,
                         template.notification_type,
                         CASE WHEN template.notification_type = 'email' THEN 0 ELSE 1 END,
                         'client-' || i % 1000, false, 1, 'created',
                         'user' || i || '@example.gov.uk');
                WHEN 2 THEN
                    UPDATE notifications
                    SET notification_status = 'sending',
                        sent_at = clock_timestamp() AT TIME ZONE 'UTC',
                        updated_at = clock_timestamp() AT TIME ZONE 'UTC',
                        sent_by = CASE template.notification_type
                                  WHEN 'sms' THEN 'mmg' WHEN 'email' THEN 'ses'
                                  ELSE 'dvla' END
                    WHERE id = notification;
                WHEN 3 THEN
                    UPDATE notifications
                    SET notification_status = CASE WHEN i % 20 > 0 THEN 'delivered'
                                                   ELSE 'permanent-failure' END,
                        updated_at = clock_timestamp() AT TIME ZONE 'UTC'
                    WHERE id = notification;
                WHEN 4 THEN
                    INSERT INTO notification_history
                        (id, job_id, job_row_number, service_id, template_id,
                         template_version, api_key_id, key_type, notification_type,
                         created_at, sent_at, sent_by, updated_at, reference, billable_units,
                         client_reference, international, phone_prefix, rate_multiplier,
                         notification_status, created_by_id, postage,
                         document_download_count)
                    SELECT id, job_id, job_row_number, service_id, template_id,
                           template_version, api_key_id, key_type, notification_type,
                           created_at, sent_at, sent_by, updated_at, reference, billable_units,
                           client_reference, international, phone_prefix, rate_multiplier,
                           notification_status, created_by_id, postage,
                           document_download_count
                    FROM notifications WHERE id = notification;
                WHEN 5 THEN
                    DELETE FROM notifications WHERE id = notification;
            END CASE;
            done := done + 1;
            IF commit_each THEN
                COMMIT;
                IF done % 15000 = 0 THEN
                    CALL bench.log_running_transactions();
                END IF;
            END IF;
        END LOOP;
    END LOOP;
END
$$;
