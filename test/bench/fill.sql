-- The stock of notifications of test/notify/seed.sql, psql variable rows of them, where that
-- would take long: without checks of foreign keys, and with most indexes made afterwards.
SET session_replication_role = replica;
CREATE TEMP TABLE dropped_index AS
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index
WHERE indrelid IN ('notifications'::regclass, 'notification_history'::regclass)
  AND NOT indisunique;
SELECT 'DROP INDEX ' || name FROM dropped_index \gexec
\ir ../notify/seed.sql
SELECT definition FROM dropped_index \gexec
