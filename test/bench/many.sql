-- Psql variable rows: so many notifications of Notify's templates, all as likely, of 500 hours,
-- in no order. The table keeps its primary key and no other index: those take longer to make
-- than all else, and a build does not use them. With wal_level = minimal nothing of it is logged.
\ir ../notify/schema.sql
\set seeded 2000
\set total :rows
\set rows :seeded
\ir ../notify/seed.sql

SELECT format('DROP INDEX %s', indexrelid::regclass)
FROM pg_index LEFT JOIN pg_constraint ON conindid = indexrelid
WHERE indrelid = 'notifications'::regclass AND conindid IS NULL \gexec
ALTER TABLE notifications DROP CONSTRAINT uq_notifications_job_row_number;
ALTER TABLE notifications DROP CONSTRAINT notifications_pkey;

SET session_replication_role = replica;
BEGIN;
TRUNCATE notifications, notification_history;
INSERT INTO notifications
    (id, "to", service_id, template_id, created_at, sent_at, sent_by, updated_at, reference,
     template_version, _personalisation, api_key_id, key_type, notification_type,
     billable_units, client_reference, international, rate_multiplier, notification_status,
     normalised_to)
SELECT md5(i::text)::uuid, 'user' || i || '@example.gov.uk', service_id, template_id,
       date_trunc('hour', now() AT TIME ZONE 'UTC') - hour * interval '1 hour',
       now(), 'ses', now(), 'ref-' || i, 1, repeat(md5(i::text), 10), api_key_id, 'normal',
       notification_type, 1, 'client-' || i % 1000, false, 1, status,
       'user' || i || '@example.gov.uk'
FROM (SELECT i, (hashint4extended(i, 1) & 65535) % 2000 + 1 AS slot,
             (hashint4extended(i, 2) & 65535) % 500 AS hour,
             CASE WHEN i % 20 = 0 THEN 'permanent-failure' ELSE 'delivered' END AS status
      FROM generate_series(1, :total) AS i) AS r
JOIN simulation.templates USING (slot);
COMMIT;
RESET session_replication_role;

SET maintenance_work_mem = '1GB';
ALTER TABLE notifications ADD PRIMARY KEY (id);
CREATE TABLE bystander (n int NOT NULL);
INSERT INTO bystander SELECT 0 FROM generate_series(1, 10000);
RESET maintenance_work_mem;
CREATE EXTENSION notify_stats;
CREATE SCHEMA bench;
VACUUM (FREEZE, ANALYZE);
