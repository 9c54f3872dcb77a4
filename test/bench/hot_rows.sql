-- A table of which any number of groups can be made to change all the time.
CREATE TABLE events (id int PRIMARY KEY, key int NOT NULL, amount int NOT NULL) WITH (fillfactor = 80);
ALTER TABLE events REPLICA IDENTITY FULL;
INSERT INTO events SELECT i, i % 10000, i FROM generate_series(1, 100000) AS i;
CREATE EXTENSION notify_stats;
VACUUM ANALYZE;
