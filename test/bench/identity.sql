-- Tables with rows of several kinds, 2,000 in each that are updated. All have a status that a
-- rollup would read, and what no rollup reads. Notify's own has null services and templates, which
-- an index that is to be a replica identity must not have.
DELETE FROM notifications WHERE service_id IS NULL OR template_id IS NULL;
ALTER TABLE notifications ALTER service_id SET NOT NULL, ALTER template_id SET NOT NULL;

CREATE SCHEMA bench;
CREATE TABLE narrow (
    id int PRIMARY KEY,
    created_at timestamp NOT NULL,
    status text NOT NULL,
    amount numeric NOT NULL,
    other int NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE binary_20_kb (LIKE narrow INCLUDING ALL, body bytea) WITH (fillfactor = 70);
CREATE TABLE json_200_kb (LIKE narrow INCLUDING ALL, body text) WITH (fillfactor = 70);

INSERT INTO narrow
SELECT i, now() - i * interval '1 minute', 'sending', i, 0 FROM generate_series(1, 20000) AS i;
INSERT INTO binary_20_kb
SELECT n.*, (SELECT decode(string_agg(md5(format('%s/%s', n.id, k)), ''), 'hex')
             FROM generate_series(1, 1250) AS k)
FROM narrow AS n WHERE id <= 3000;
INSERT INTO json_200_kb
SELECT n.*, (SELECT string_agg(format('{"id": "%s", "name": "user %s", "state": "delivered", "units": 1}',
                                      md5(format('%s/%s', n.id, k)), k), ',')
             FROM generate_series(1, 2200) AS k)
FROM narrow AS n WHERE id <= 3000;

-- DELETE of so many rows, a transaction each: the last ones, which nobody updates.
CREATE PROCEDURE bench.delete_each(source regclass, ids text[]) LANGUAGE plpgsql AS $$
DECLARE
    row_id text;
BEGIN
    FOREACH row_id IN ARRAY ids LOOP
        EXECUTE format('DELETE FROM %s WHERE id = %L', source, row_id);
        COMMIT;
    END LOOP;
END
$$;
VACUUM ANALYZE;
