-- The stream continues with slot :slot, at the start of its format.
UPDATE notify_stats.stream
SET slot_name = s.slot_name, format = s.plugin, applied_lsn = s.confirmed_flush_lsn
FROM pg_replication_slots AS s
WHERE s.slot_name = :'slot';
SELECT 'DELETE FROM notify_stats.source_fact'
WHERE to_regclass('notify_stats.source_fact') IS NOT NULL \gexec
