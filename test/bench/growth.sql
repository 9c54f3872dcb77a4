-- A table whose number of groups depends on the writer, and one that no rollup reads.
CREATE TABLE events (id bigint PRIMARY KEY, key int NOT NULL);
ALTER TABLE events REPLICA IDENTITY FULL;
CREATE TABLE unrelated (id bigint PRIMARY KEY, key int NOT NULL);
ALTER TABLE unrelated REPLICA IDENTITY FULL;

-- So many changes of events, half of them INSERTs and half UPDATEs that move a row from one of
-- the groups to another, a COMMIT after each "each"; and for each of them so many changes of
-- the other table, in transactions of their own. Returns how many there were of events. The
-- running transactions are logged each 15,000 changes of events, as they would be at 1,000
-- changes per second, or each "logged_each".
CREATE PROCEDURE bench.make_events(changes int, groups int, each int, unrelated int,
                                   INOUT done int DEFAULT 0, logged_each int DEFAULT 15000)
LANGUAGE plpgsql AS $$
DECLARE
    row_id bigint;
BEGIN
    WHILE done < changes LOOP
        row_id := 10000000 + done / 2;
        IF done % 2 = 0 THEN
            INSERT INTO events VALUES (row_id, (hashint4extended(done, 1) & 2147483647) % groups);
        ELSE
            UPDATE events SET key = (hashint4extended(done, 2) & 2147483647) % groups
            WHERE id = row_id;
        END IF;
        done := done + 1;
        IF done % each = 0 THEN
            COMMIT;
            IF done % logged_each = 0 THEN
                CALL bench.log_running_transactions();
            END IF;
        END IF;
        FOR i IN 1 .. unrelated LOOP
            INSERT INTO unrelated VALUES (done::bigint * 1000 + i, i);
            COMMIT;
        END LOOP;
    END LOOP;
END
$$;
