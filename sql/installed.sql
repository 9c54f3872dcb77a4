-- That the extension is installed, and works.  "make installcheck" runs this alone, on a server
-- that is used otherwise, and that may have a worker.
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS notify_stats;
CREATE SCHEMA installed;
SET search_path = installed;
CREATE TABLE letters (id integer PRIMARY KEY, kind text NOT NULL);
ALTER TABLE letters REPLICA IDENTITY FULL;
INSERT INTO letters VALUES (1, 'first class'), (2, 'second class'), (3, 'first class');
SELECT notify_stats.create_rollup('letters_by_kind', $$
    SELECT kind, count(*) AS letters FROM letters GROUP BY kind $$);
CALL notify_stats.catch_up();
SELECT * FROM letters_by_kind ORDER BY kind;
UPDATE letters SET kind = 'parcel' WHERE id = 1;
DELETE FROM letters WHERE id = 2;
CALL notify_stats.catch_up();
SELECT * FROM letters_by_kind ORDER BY kind;
SELECT * FROM notify_stats.verify('letters_by_kind');
SELECT notify_stats.drop_rollup('letters_by_kind');
CALL notify_stats.catch_up();
DROP SCHEMA installed CASCADE;
