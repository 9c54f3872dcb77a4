-- The output plugin alone.
CREATE SCHEMA plugin;
SET search_path = plugin;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
-- servers since August 2026 have a list of allowed plugins
DO $$
BEGIN
    PERFORM set_config('output_plugin_libraries', 'pgoutput, test_decoding, notify_stats', false)
    WHERE current_setting('output_plugin_libraries', true) IS NOT NULL;
END $$;
SELECT slot_name FROM pg_create_logical_replication_slot('regress_plugin', 'notify_stats');
\set peek 'SELECT count(*) FROM pg_logical_slot_peek_binary_changes(''regress_plugin'', NULL, NULL'

-- invalid options
:peek);
:peek, 'version', '1');
:peek, 'tables', '');
:peek, 'version', '1', 'tables', '', 'nonsense', '1');
:peek, 'version', '1', 'tables', '', 'version', '1');
:peek, 'tables', '', 'tables', '', 'version', '1');
:peek, 'version', '1', 'Tables', '');
:peek, 'version', '2', 'tables', '');
:peek, 'version', '01', 'tables', '');
:peek, 'version', '', 'tables', '');
:peek, 'version', 'one', 'tables', 'nonsense');
:peek, 'version', '1', 'tables', NULL);
:peek, 'version', '1', 'tables');
\echo :LAST_ERROR_SQLSTATE
:peek, 'version', '1', 'tables', 'letters:1');
\echo :LAST_ERROR_SQLSTATE
:peek, 'version', '1', 'tables', '16384');
:peek, 'version', '1', 'tables', '0:1');
:peek, 'version', '1', 'tables', '016384:1');
:peek, 'version', '1', 'tables', '-1:1');
:peek, 'version', '1', 'tables', '4294967296:1');
:peek, 'version', '1', 'tables', '99999999999999999999999999:1');
:peek, 'version', '1', 'tables', '16384:0');
:peek, 'version', '1', 'tables', '16384:-1');
:peek, 'version', '1', 'tables', '16384:1601');
:peek, 'version', '1', 'tables', '16384:1,');
:peek, 'version', '1', 'tables', '16384:1,,2');
:peek, 'version', '1', 'tables', '16384:1,1');
:peek, 'version', '1', 'tables', '16384:1;');
:peek, 'version', '1', 'tables', '16384:1;16384:2');
:peek, 'version', '1', 'tables', ';');
:peek, 'version', '1', 'tables', ' 16384:1');
:peek, 'version', '1', 'tables', '16384:1 ');
:peek, 'version', '1', 'tables', '16384: 1');
:peek, 'version', '1', 'tables', '16384:1:2');
-- valid options, whether or not the table exists
:peek, 'version', '1', 'tables', '');
:peek, 'tables', '4294967295:1600', 'version', '1');
:peek, 'version', '1', 'tables', '16384:;16385:2,1');
-- no textual output
SELECT count(*) FROM pg_logical_slot_peek_changes('regress_plugin', NULL, NULL, 'version', '1', 'tables', '');

-- changes: of listed tables and columns only, one message per transaction
CREATE TABLE letters (id integer PRIMARY KEY, kind text, pages integer, body text);
ALTER TABLE letters REPLICA IDENTITY FULL;
CREATE TABLE other (id integer);
CREATE FUNCTION peek(columns text, relation regclass DEFAULT 'letters')
RETURNS TABLE (bytes integer, content text) LANGUAGE sql AS $$
    -- version, xid and LSN of the commit differ each time; the rest is shown without OIDs and padding
    SELECT length(data), replace(replace(encode(substring(data FROM 17), 'escape'),
                                         encode((SELECT string_agg(substring(int4send(relation::oid::bigint::integer) FROM i FOR 1), '' ORDER BY i DESC)
                                                 FROM generate_series(1, 4) i), 'escape'), '<oid>'), '\000', '')
    FROM pg_logical_slot_peek_binary_changes('regress_plugin', NULL, NULL, 'version', '1',
                                             'tables', relation::oid || ':' || columns)
$$;
INSERT INTO letters VALUES (1, 'a', 1, 'x');
SELECT * FROM peek('2');
SELECT * FROM peek('');
SELECT * FROM peek('1,2,3');
SELECT * FROM peek('4,2');
SELECT * FROM peek('1', 'other');
SELECT * FROM peek('5');
BEGIN;
INSERT INTO other VALUES (1);
UPDATE letters SET body = 'y';
COMMIT;
SELECT count(*) AS without, (SELECT count(*) FROM peek('4')) AS with FROM peek('2,3');
BEGIN;
UPDATE letters SET kind = 'b';
INSERT INTO letters VALUES (2, NULL, NULL, NULL);
DELETE FROM letters WHERE id = 1;
COMMIT;
BEGIN;
INSERT INTO letters VALUES (3);
ROLLBACK;
TRUNCATE letters;
SELECT * FROM peek('2');
SELECT * FROM peek('');
-- old values that are missing
ALTER TABLE letters REPLICA IDENTITY DEFAULT;
INSERT INTO letters VALUES (4, 'd'), (5, 'e');
SELECT count(*) FROM pg_logical_slot_get_binary_changes('regress_plugin', NULL, NULL, 'version', '1', 'tables', '');
UPDATE letters SET kind = 'f' WHERE id = 4;
UPDATE letters SET id = 6 WHERE id = 4;
DELETE FROM letters WHERE id = 5;
SELECT * FROM peek('2');
SELECT * FROM peek('1');
SELECT * FROM peek('');
ALTER TABLE letters REPLICA IDENTITY NOTHING;
SELECT count(*) FROM pg_logical_slot_get_binary_changes('regress_plugin', NULL, NULL, 'version', '1', 'tables', '');
UPDATE letters SET kind = 'g';
SELECT * FROM peek('1');
SELECT * FROM peek('');
-- a large transaction is split into several messages
ALTER TABLE letters REPLICA IDENTITY FULL;
SELECT count(*) FROM pg_logical_slot_get_binary_changes('regress_plugin', NULL, NULL, 'version', '1', 'tables', '');
INSERT INTO letters SELECT i, 'h', i, NULL FROM generate_series(10, 10000) i;
SELECT count(*) BETWEEN 2 AND 20 AS several, max(bytes) BETWEEN 65536 AND 70000 AS of_64_kb FROM peek('1,2,3');
-- catalogs change within a transaction
SELECT count(*) FROM pg_logical_slot_get_binary_changes('regress_plugin', NULL, NULL, 'version', '1', 'tables', '');
TRUNCATE letters;
BEGIN;
INSERT INTO letters VALUES (1, 'i', 1);
ALTER TABLE letters ALTER pages TYPE bigint;
INSERT INTO letters VALUES (2, 'j', 2);
ALTER TABLE letters DROP COLUMN pages;
INSERT INTO letters VALUES (3, 'k');
COMMIT;
SELECT * FROM peek('3');
SELECT * FROM peek('2');

SELECT pg_drop_replication_slot('regress_plugin');
DROP SCHEMA plugin CASCADE;
