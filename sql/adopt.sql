-- Tables that exist become rollups, and the reverse.
CREATE SCHEMA adopt;
SET search_path = adopt;
\getenv srcdir PG_ABS_SRCDIR
\set common :srcdir '/sql/include/common.sql'
\i :common
-- OIDs and functions that belong to the table
CREATE FUNCTION belongings(relid regclass) RETURNS TABLE (what text) LANGUAGE sql AS $$
    SELECT 'index ' || indexrelid::regclass FROM pg_index WHERE indrelid = relid
    UNION ALL SELECT 'constraint ' || conname FROM pg_constraint WHERE (conrelid = relid OR confrelid = relid)
              AND contype <> 'n'
    -- without the privilege MAINTAIN of 17 and later
    UNION ALL SELECT 'grant ' || replace(replace(relacl::text, 'm/', '/'), current_user, 'owner') FROM pg_class WHERE oid = relid
    UNION ALL SELECT 'comment ' || obj_description(relid, 'pg_class')
    UNION ALL SELECT 'view ' || d.refobjid::regclass || ' in ' || w.ev_class::regclass
              FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid WHERE d.refobjid = relid GROUP BY d.refobjid, w.ev_class
    ORDER BY 1
$$;

-- Notify's table: a primary key, a second unique index, foreign keys, a column updated_at
CREATE TYPE kind AS ENUM ('email', 'sms', 'letter');
CREATE TABLE services (id integer PRIMARY KEY);
CREATE TABLE templates (id integer PRIMARY KEY);
CREATE TABLE statuses (name text PRIMARY KEY);
INSERT INTO services VALUES (1), (2);
INSERT INTO templates VALUES (10), (11), (20);
INSERT INTO statuses VALUES ('sending'), ('delivered');
CREATE TABLE notifications (id integer PRIMARY KEY, created_at timestamp NOT NULL, service_id integer NOT NULL,
    template_id integer NOT NULL, notification_type kind NOT NULL, notification_status text);
ALTER TABLE notifications REPLICA IDENTITY FULL;
INSERT INTO notifications VALUES
    (1, '2026-07-01 22:59', 1, 10, 'sms', 'sending'), (2, '2026-07-01 23:00', 1, 10, 'sms', 'delivered'),
    (3, '2026-07-02 00:00', 1, 10, 'sms', 'delivered'), (4, '2026-07-02 00:00', 1, 11, 'email', 'sending'),
    (5, '2026-07-02 00:00', 2, 20, 'letter', 'delivered');
CREATE TABLE ft_service_stats (bst_date date NOT NULL, service_id integer NOT NULL REFERENCES services,
    template_id integer NOT NULL REFERENCES templates DEFERRABLE INITIALLY DEFERRED, notification_type kind NOT NULL,
    notification_status text NOT NULL REFERENCES statuses, notification_count bigint NOT NULL DEFAULT 0,
    updated_at timestamptz, note text DEFAULT 'none',
    PRIMARY KEY (bst_date, service_id, template_id, notification_type, notification_status));
CREATE UNIQUE INDEX ix_ft_service_template_stats
    ON ft_service_stats (bst_date, template_id, notification_type, notification_status);
COMMENT ON TABLE ft_service_stats IS 'statistics for the dashboard';
GRANT SELECT ON ft_service_stats TO PUBLIC;
CREATE VIEW totals AS SELECT service_id, sum(notification_count) AS n FROM ft_service_stats GROUP BY 1;
-- exact, wrong, too much; and one is missing
INSERT INTO ft_service_stats VALUES
    ('2026-07-01', 1, 10, 'sms', 'sending', 1, '2026-01-01', 'exact'),
    ('2026-07-02', 1, 10, 'sms', 'delivered', 7, '2026-01-01', 'wrong'),
    ('2026-07-03', 1, 10, 'sms', 'delivered', 1, '2026-01-01', 'too much'),
    ('2026-07-02', 2, 20, 'letter', 'delivered', 1, '2026-01-01', 'exact');
\set stats 'SELECT (created_at AT TIME ZONE ''UTC'' AT TIME ZONE ''Europe/London'')::date AS bst_date, service_id, template_id, notification_type, notification_status, count(*) AS notification_count FROM adopt.notifications GROUP BY 1, 2, 3, 4, 5'
SELECT 'ft_service_stats'::regclass::oid AS old_oid \gset
CREATE TABLE before AS SELECT ctid AS address, * FROM ft_service_stats;
SELECT * FROM belongings('ft_service_stats');
SELECT notify_stats.create_rollup('ft_service_stats', :'stats');
SELECT notify_stats.create_rollup('ft_service_stats', :'stats', adopt => true, updated_at => 'updated_at');
SELECT rollup, state FROM notify_stats.rollups;
-- nothing has changed yet
SELECT count(*) FROM ft_service_stats s JOIN before b ON s.ctid = b.address AND (s.notification_count, s.note) = (b.notification_count, b.note);
CALL notify_stats.catch_up();
SELECT * FROM states();
SELECT bst_date, service_id, template_id, notification_type AS type, notification_status AS status, notification_count AS n,
       note, updated_at = '2026-01-01' AS untouched, updated_at > now() - interval '1 hour' AS noted,
       ctid IN (SELECT address FROM before) AS same_place
FROM ft_service_stats ORDER BY 1, 2, 3;
SELECT * FROM notify_stats.verify('ft_service_stats');
SELECT * FROM belongings('ft_service_stats');
SELECT 'ft_service_stats'::regclass::oid = :old_oid AS same_oid;

-- updated_at is set by each change, and only by changes
UPDATE ft_service_stats SET updated_at = '2026-02-02';
UPDATE notifications SET notification_status = 'delivered' WHERE id = 4;
INSERT INTO notifications VALUES (6, '2026-07-02', 2, 20, 'letter', 'delivered');
CALL notify_stats.catch_up();
SELECT template_id, notification_status, notification_count, note, updated_at = '2026-02-02' AS untouched
FROM ft_service_stats ORDER BY bst_date, 1, 2;
-- a rebuild keeps it where nothing differs
UPDATE ft_service_stats SET updated_at = '2026-02-02';
UPDATE ft_service_stats SET notification_count = 0 WHERE template_id = 20;
SELECT notify_stats.rebuild('ft_service_stats');
CALL notify_stats.catch_up();
SELECT template_id, notification_count, updated_at = '2026-02-02' AS untouched FROM ft_service_stats ORDER BY bst_date, 1;
-- what violates a constraint fails the rollup, and the table stays as it was
INSERT INTO notifications VALUES (7, '2026-07-02', 3, 20, 'letter', 'delivered');
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT * FROM states();
DELETE FROM notifications WHERE id = 7;
SELECT notify_stats.rebuild('ft_service_stats');
CALL notify_stats.catch_up();
SELECT * FROM states();

-- Changing it: the new form notes the time, too, but has no other columns.
SELECT notify_stats.alter_rollup('ft_service_stats', replace(:'stats', 'GROUP', 'WHERE id > 1 GROUP'));
CREATE TABLE by_service (service_id integer PRIMARY KEY, n bigint, touched timestamptz);
INSERT INTO by_service VALUES (1, 4, '2026-03-03'), (2, 5, '2026-03-03');
SELECT notify_stats.create_rollup('by_service', 'SELECT service_id, count(*) AS n FROM adopt.notifications GROUP BY 1',
                                  adopt => true, updated_at => 'touched');
CALL notify_stats.catch_up();
SELECT service_id, n, touched = '2026-03-03' AS untouched FROM by_service ORDER BY 1;
SELECT notify_stats.alter_rollup('by_service',
    'SELECT service_id, count(*) AS n, count(notification_status) AS m FROM adopt.notifications GROUP BY 1');
CALL notify_stats.catch_up();
SELECT service_id, n, m, touched > now() - interval '1 hour' AS noted FROM by_service ORDER BY 1;
UPDATE by_service SET touched = NULL;
DELETE FROM notifications WHERE id = 6;
CALL notify_stats.catch_up();
SELECT service_id, n, m, touched IS NOT NULL AS noted FROM by_service ORDER BY 1;
SELECT notify_stats.alter_rollup('by_service', 'SELECT service_id, avg(template_id) AS n FROM adopt.notifications GROUP BY 1');

-- Another table refers to it.  The hint keeps that, if it is followed.
CREATE TABLE budgets (service_id integer REFERENCES by_service);
INSERT INTO budgets VALUES (1);
SELECT 'SELECT service_id, count(*) AS n, count(notification_status) AS m FROM adopt.notifications WHERE id > 1 GROUP BY 1' AS other \gset
SELECT notify_stats.alter_rollup('by_service', :'other');
BEGIN;
SELECT notify_stats.drop_rollup('adopt.by_service', keep_table => true);
SELECT notify_stats.create_rollup('adopt.by_service', :'other', adopt => true, updated_at => 'touched');
COMMIT;
CALL notify_stats.catch_up();
SELECT service_id, n, m, touched IS NOT NULL AS noted FROM by_service ORDER BY 1;
SELECT * FROM notify_stats.verify('by_service');
SELECT conname FROM pg_constraint WHERE confrelid = 'by_service'::regclass;
-- the first part of the hint
DROP TABLE budgets;
SELECT notify_stats.alter_rollup('by_service', replace(:'other', 'WHERE id > 1 ', ''));
CALL notify_stats.catch_up();
SELECT rollup, state, replacement FROM notify_stats.rollups WHERE rollup = 'by_service'::regclass;

-- The column of a new table is added.
SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications GROUP BY 1',
                                  updated_at => 'at');
CALL notify_stats.catch_up();
SELECT notification_type, count, at > now() - interval '1 hour' AS noted FROM by_type ORDER BY 1;
\d by_type

-- if_not_exists
SET client_min_messages = notice;
SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications GROUP BY 1',
                                  updated_at => 'at', if_not_exists => true);
SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications GROUP BY 1',
                                  if_not_exists => true);
SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications WHERE id > 1 GROUP BY 1',
                                  updated_at => 'at', if_not_exists => true);
SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications GROUP BY 1',
                                  '{notifications}', updated_at => 'at', if_not_exists => true);
SELECT notify_stats.create_rollup('averages', 'SELECT service_id, avg(template_id) FROM adopt.notifications GROUP BY 1',
                                  if_not_exists => true);
SELECT notify_stats.create_rollup('averages', 'SELECT service_id, avg(template_id) FROM adopt.notifications GROUP BY 1',
                                  if_not_exists => true);
SELECT notify_stats.create_rollup('averages', 'SELECT service_id, avg(id) FROM adopt.notifications GROUP BY 1',
                                  if_not_exists => true);
SELECT notify_stats.create_rollup('services', 'SELECT service_id, count(*) FROM adopt.notifications GROUP BY 1',
                                  if_not_exists => true);
SELECT notify_stats.create_rollup('by_service', 'SELECT service_id, count(*) AS n, count(notification_status) AS m FROM adopt.notifications GROUP BY 1',
                                  adopt => true, updated_at => 'touched', if_not_exists => true);
SELECT rollup FROM notify_stats.rollups ORDER BY rollup::text;
SELECT notify_stats.create_rollup('by_type', NULL);

SET client_min_messages = warning;

-- Keeping the table
CREATE TABLE log (n bigint);
GRANT SELECT ON by_type TO PUBLIC;
CREATE VIEW types AS SELECT * FROM by_type;
SELECT obj_description('by_type'::regclass);
BEGIN;
SELECT notify_stats.drop_rollup('by_type', keep_table => true);
-- gone at once, in this transaction
SELECT rollup FROM notify_stats.rollups ORDER BY rollup::text;
SELECT notify_stats.applied_lsn('by_type'), to_regclass('by_type_definition');
SELECT notify_stats.rebuild('by_type');
ROLLBACK;
SELECT count(*) FROM notify_stats.rollups WHERE rollup = 'by_type'::regclass;
SELECT notify_stats.drop_rollup('by_type', keep_table => true);
SELECT * FROM belongings('by_type');
DELETE FROM notifications WHERE id = 5;
SELECT item, detail FROM notify_stats."check"() WHERE detail LIKE '%by\_type%';
CALL notify_stats.catch_up();
SELECT notification_type, count FROM types ORDER BY 1;
SELECT count(*) FROM notify_stats.rollup WHERE rollup = 'by_type'::regclass;
INSERT INTO by_type VALUES ('letter', 0) ON CONFLICT DO NOTHING;
-- and again, in one transaction
SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications GROUP BY 1', adopt => true);
CALL notify_stats.catch_up();
BEGIN;
SELECT notify_stats.drop_rollup('by_type', keep_table => true);
SELECT notify_stats.create_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications WHERE id > 1 GROUP BY 1',
                                  adopt => true);
COMMIT;
CALL notify_stats.catch_up();
SELECT * FROM notify_stats.verify('by_type');
SELECT notification_type, count FROM by_type ORDER BY 1;
SELECT notify_stats.drop_rollup('averages', keep_table => true);
SELECT notify_stats.drop_rollup('averages_core', keep_table => true);
SELECT notify_stats.drop_rollup('services', keep_table => true);
-- with a replacement that is being built
DROP VIEW types;
ALTER TABLE by_type DROP COLUMN at;
SELECT notify_stats.alter_rollup('by_type', 'SELECT notification_type, count(*) FROM adopt.notifications GROUP BY 1');
SELECT notify_stats.drop_rollup('by_type', keep_table => true);
CALL notify_stats.catch_up();
SELECT relname FROM pg_class WHERE relnamespace = 'adopt'::regnamespace AND relname LIKE 'by\_type%' ORDER BY 1;

-- What is in the way is listed at once.
CREATE TABLE parent (extra integer);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE UNLOGGED TABLE obstacles (extra integer NOT NULL, day date GENERATED ALWAYS AS ('2026-01-01') STORED, service_id bigint,
    type kind, n integer, code varchar(3) COLLATE "C") INHERITS (parent);
CREATE INDEX ON obstacles (day);
CREATE TRIGGER suppress BEFORE INSERT ON obstacles FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE RULE nowhere AS ON DELETE TO obstacles DO INSTEAD NOTHING;
ALTER TABLE obstacles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT notify_stats.create_rollup('obstacles',
    'SELECT created_at::date AS day, service_id, notification_status AS code, template_id, count(*) AS n FROM adopt.notifications GROUP BY 1, 2, 3, 4', adopt => true);
SELECT to_regclass('obstacles_definition');
-- keys: the statement of the hint helps
CREATE TABLE keys (service_id integer, template_id integer, n bigint);
CREATE UNIQUE INDEX ON keys (service_id, template_id);
CREATE UNIQUE INDEX ON keys (service_id, template_id) NULLS NOT DISTINCT WHERE n > 0;
CREATE UNIQUE INDEX ON keys (service_id, (template_id + 1)) NULLS NOT DISTINCT;
ALTER TABLE keys ADD UNIQUE NULLS NOT DISTINCT (service_id, template_id) DEFERRABLE;
SELECT notify_stats.create_rollup('keys', 'SELECT service_id, template_id, count(*) AS n FROM adopt.notifications GROUP BY 1, 2', adopt => true);
ALTER TABLE keys DROP CONSTRAINT keys_service_id_template_id_key;
DROP INDEX keys_service_id_expr_idx;
INSERT INTO keys VALUES (1, NULL, -1), (1, NULL, -1), (NULL, NULL, 0), (NULL, NULL, 0), (1, 10, 0);
SELECT notify_stats.create_rollup('keys', 'SELECT service_id, template_id, count(*) AS n FROM adopt.notifications GROUP BY 1, 2', adopt => true);
DELETE FROM keys WHERE ctid NOT IN (SELECT min(ctid) FROM keys GROUP BY service_id, template_id);
CREATE UNIQUE INDEX ON adopt.keys (service_id, template_id) NULLS NOT DISTINCT;
SELECT notify_stats.create_rollup('keys', 'SELECT service_id, template_id, count(*) AS n FROM adopt.notifications GROUP BY 1, 2', adopt => true);
CALL notify_stats.catch_up();
SELECT * FROM keys ORDER BY 1, 2;
-- a unique constraint suffices if its columns cannot be null
CREATE TABLE not_null (template_id integer NOT NULL UNIQUE, n bigint);
SELECT notify_stats.create_rollup('not_null', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
CALL notify_stats.catch_up();
SELECT * FROM not_null ORDER BY 1;

-- The columns of the query may be anywhere, in any order.
CREATE TABLE ordered (n bigint, template_id integer PRIMARY KEY);
SELECT notify_stats.create_rollup('ordered', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
CREATE TABLE messages (LIKE notifications INCLUDING ALL);
ALTER TABLE messages REPLICA IDENTITY FULL;
INSERT INTO messages TABLE notifications;
CREATE TABLE anywhere (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gone text,
    amount numeric,
    created_at timestamptz NOT NULL DEFAULT '2026-01-01',
    delivered bigint,
    touched timestamptz,
    code text,
    twice bigint GENERATED ALWAYS AS (n * 2) STORED,
    old integer,
    statuses bigint NOT NULL,
    service_id integer NOT NULL,
    day date NOT NULL,
    n bigint NOT NULL,
    UNIQUE NULLS NOT DISTINCT (service_id, code, day));
ALTER TABLE anywhere DROP COLUMN gone, DROP COLUMN old;
INSERT INTO anywhere (day, service_id, code, n, amount, delivered, statuses, touched) VALUES
    ('2026-07-01', 1, 'sending', 1, NULL, 0, 1, '2026-02-02'),   -- right
    ('2026-07-02', 1, 'delivered', 7, 7, 7, 7, '2026-02-02'),    -- wrong
    ('2026-07-03', 9, 'sending', 1, 1, 1, 1, '2026-02-02');      -- too much
\set anywhere 'SELECT created_at::date AS day, notification_status AS code, service_id, count(*) AS n, sum(template_id::numeric) FILTER (WHERE notification_status = $$delivered$$) AS amount, count(*) FILTER (WHERE notification_status = $$delivered$$) AS delivered, count(notification_status) AS statuses FROM adopt.messages GROUP BY 1, 2, 3'
-- updated_at is a column of the table only
SELECT notify_stats.create_rollup('anywhere', :'anywhere', adopt => true, updated_at => 'amount');
SELECT notify_stats.create_rollup('anywhere', :'anywhere', adopt => true, updated_at => 'touched');
SELECT column_names FROM notify_stats.rollup WHERE rollup = 'anywhere'::regclass;
CALL notify_stats.catch_up();
SELECT id, day, code, service_id, n, amount, delivered, statuses, twice, touched = '2026-02-02' AS untouched, created_at = '2026-01-01' AS "default"
FROM anywhere ORDER BY day, code, service_id;
-- changes: a group comes, one becomes NULL, one goes, one grows
INSERT INTO messages VALUES (20, '2026-07-05', 2, 20, 'letter', NULL), (21, '2026-07-02', 1, 11, 'email', 'delivered');
UPDATE messages SET notification_status = 'sending' WHERE id = 2;
DELETE FROM messages WHERE id = 1;
CALL notify_stats.catch_up();
SELECT id, day, code, service_id, n, amount, delivered, statuses, twice FROM anywhere ORDER BY day, code, service_id;
SELECT * FROM notify_stats.verify('anywhere');
SELECT * FROM differences('anywhere');
-- what is wrong is found, and corrected; rows that are right stay
UPDATE anywhere SET statuses = n, n = statuses + 1, touched = '2026-03-03' WHERE code IS NULL;
UPDATE anywhere SET amount = 0 WHERE service_id = 1 AND code = 'delivered';
SELECT * FROM notify_stats.verify('anywhere');
SELECT notify_stats.rebuild('anywhere', from_scratch => true);
CALL notify_stats.catch_up();
SELECT * FROM differences('anywhere');
SELECT id, n, amount, statuses, touched = '2026-03-03' AS untouched FROM anywhere ORDER BY day, code, service_id;
-- columns are renamed, and exchange their names: the rollup is not rebuilt, and the definition keeps its names
SELECT built_at AS built FROM notify_stats.rollups WHERE rollup = 'anywhere'::regclass \gset
ALTER TABLE anywhere RENAME COLUMN n TO swapped;
ALTER TABLE anywhere RENAME COLUMN statuses TO n;
ALTER TABLE anywhere RENAME COLUMN swapped TO statuses;
ALTER TABLE anywhere RENAME COLUMN code TO status;
UPDATE messages SET notification_status = NULL WHERE id = 21;
DELETE FROM messages WHERE id = 4;
CALL notify_stats.catch_up();
SELECT id, day, status, service_id, statuses AS "count(*)", amount, delivered, n AS "count(notification_status)" FROM anywhere ORDER BY day, status, service_id;
SELECT * FROM notify_stats.verify('anywhere');
SELECT state, built_at = :'built' AS same_build FROM notify_stats.rollups WHERE rollup = 'anywhere'::regclass;
SELECT column_names, column_numbers FROM notify_stats.rollup NATURAL JOIN notify_stats.rollup_activity WHERE rollup = 'anywhere'::regclass;
-- dropping other columns changes nothing
ALTER TABLE anywhere DROP COLUMN created_at, DROP COLUMN twice;
INSERT INTO messages VALUES (22, '2026-07-02', 1, 11, 'email', 'delivered');
CALL notify_stats.catch_up();
SELECT id, day, status, service_id, statuses, amount, delivered, n FROM anywhere WHERE status = 'delivered' ORDER BY day, service_id;
-- a measure is added: its column is found by its name
CREATE OR REPLACE VIEW anywhere_definition AS SELECT created_at::date AS day, notification_status AS code, service_id, count(*) AS n,
    sum(template_id::numeric) FILTER (WHERE notification_status = 'delivered') AS amount, count(*) FILTER (WHERE notification_status = 'delivered') AS delivered,
    count(notification_status) AS statuses, sum(template_id) AS templates FROM adopt.messages GROUP BY 1, 2, 3;
BEGIN;
ALTER TABLE anywhere ADD COLUMN more text DEFAULT 'x', ADD COLUMN templates bigint;
CREATE OR REPLACE VIEW anywhere_definition AS SELECT created_at::date AS day, notification_status AS code, service_id, count(*) AS n,
    sum(template_id::numeric) FILTER (WHERE notification_status = 'delivered') AS amount, count(*) FILTER (WHERE notification_status = 'delivered') AS delivered,
    count(notification_status) AS statuses, sum(template_id) AS templates FROM adopt.messages GROUP BY 1, 2, 3;
COMMIT;
CALL notify_stats.catch_up();
INSERT INTO messages VALUES (23, '2026-07-02', 1, 11, 'email', 'delivered');
CALL notify_stats.catch_up();
SELECT id, day, status, service_id, statuses, amount, delivered, n, templates, more FROM anywhere ORDER BY day, status, service_id;
SELECT column_names, column_numbers FROM notify_stats.rollup NATURAL JOIN notify_stats.rollup_activity WHERE rollup = 'anywhere'::regclass;
SELECT * FROM notify_stats.verify('anywhere');
-- another form: all columns that are not the query's are in the way
SELECT notify_stats.alter_rollup('anywhere', replace(:'anywhere', 'GROUP', 'WHERE id > 1 GROUP'));
-- without a definition for a while
SELECT notify_stats.alter_rollup('anywhere', NULL);
-- since PostgreSQL 16 without the name of the only table
SELECT replace(regexp_replace(pg_get_viewdef('anywhere_definition'), '\s+', ' ', 'g'), 'r.', '') AS definition;
CALL notify_stats.catch_up();
SELECT * FROM states() WHERE rollup = 'anywhere'::regclass;
ALTER TABLE anywhere DROP COLUMN id, DROP COLUMN more;
SELECT notify_stats.alter_rollup('anywhere', :'anywhere');
CALL notify_stats.catch_up();
SELECT column_names, column_numbers FROM notify_stats.rollup NATURAL JOIN notify_stats.rollup_activity WHERE rollup = 'anywhere'::regclass;
\d anywhere
SELECT * FROM differences('anywhere');
SELECT notify_stats.alter_rollup('ordered', 'SELECT template_id, count(*) AS n, count(notification_status) AS m FROM adopt.notifications GROUP BY 1');
CALL notify_stats.catch_up();
SELECT * FROM ordered ORDER BY 1;
SELECT * FROM differences('ordered');
SELECT notify_stats.drop_rollup('anywhere');
-- A rollup that had no other columns gets one, and then a measure, whose column comes after it.
SELECT notify_stats.create_rollup('extended', 'SELECT service_id, count(*) AS n FROM adopt.messages GROUP BY 1');
CALL notify_stats.catch_up();
ALTER TABLE extended ADD COLUMN budget bigint DEFAULT 100;
CALL notify_stats.catch_up();
SELECT column_names, column_numbers FROM notify_stats.rollup NATURAL JOIN notify_stats.rollup_activity WHERE rollup = 'extended'::regclass;
BEGIN;
ALTER TABLE extended ADD COLUMN statuses bigint;
CREATE OR REPLACE VIEW extended_definition AS SELECT service_id, count(*) AS n, count(notification_status) AS statuses FROM adopt.messages GROUP BY 1;
COMMIT;
CALL notify_stats.catch_up();
SELECT * FROM extended ORDER BY 1;
SELECT * FROM differences('extended');
SELECT notify_stats.drop_rollup('extended');
-- a dropped column; then a column of the query is dropped
CREATE TABLE dropped (gone integer, n bigint, template_id integer PRIMARY KEY);
ALTER TABLE dropped DROP COLUMN gone;
SELECT notify_stats.create_rollup('dropped', 'SELECT template_id, count(*) AS n FROM adopt.messages GROUP BY 1', adopt => true);
CALL notify_stats.catch_up();
SELECT * FROM dropped ORDER BY template_id;
ALTER TABLE dropped DROP COLUMN n;
DELETE FROM messages WHERE id = 23;
CALL notify_stats.catch_up();
CALL notify_stats.catch_up();
SELECT * FROM states() WHERE rollup = 'dropped'::regclass;
-- it cannot be taken for another column
ALTER TABLE dropped ADD COLUMN other bigint;
SELECT notify_stats.rebuild('dropped');
CALL notify_stats.catch_up();
SELECT state FROM states() WHERE rollup = 'dropped'::regclass;
-- as the hint says
SELECT notify_stats.drop_rollup('adopt.dropped', keep_table => true); ALTER TABLE adopt.dropped ADD COLUMN n bigint;
SELECT notify_stats.create_rollup('dropped', 'SELECT template_id, count(*) AS n FROM adopt.messages GROUP BY 1', adopt => true);
CALL notify_stats.catch_up();
SELECT * FROM differences('dropped');
SELECT notify_stats.drop_rollup('dropped');
-- not a table, not there, its own source, a source of another rollup, ours
SELECT notify_stats.create_rollup('missing', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
SELECT notify_stats.create_rollup('totals', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
SELECT notify_stats.create_rollup('notify_stats.stream', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
SELECT notify_stats.create_rollup('ordered', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
CREATE TABLE itself (template_id integer PRIMARY KEY, n bigint);
SELECT notify_stats.create_rollup('itself', 'SELECT template_id, count(*) AS n FROM adopt.itself GROUP BY 1', adopt => true);
CREATE TABLE child (template_id integer PRIMARY KEY, n bigint) INHERITS (itself);
SELECT notify_stats.create_rollup('itself', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
DROP TABLE child;
ALTER TABLE itself REPLICA IDENTITY FULL;
SELECT notify_stats.create_rollup('of_itself', 'SELECT n, count(*) FROM adopt.itself GROUP BY 1');
SELECT notify_stats.create_rollup('itself', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
-- options
SELECT notify_stats.create_rollup('itself', 'SELECT template_id, avg(id) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
SELECT notify_stats.create_rollup('itself', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', '{notifications}', adopt => true);
CREATE TABLE noted (template_id integer PRIMARY KEY, n bigint, at timestamp);
SELECT notify_stats.create_rollup('noted', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true, updated_at => 'at');
SELECT notify_stats.create_rollup('noted', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true, updated_at => 'n');
SELECT notify_stats.create_rollup('noted', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true, updated_at => 'when');
-- another owner
CREATE ROLE regress_adopt_owner;
GRANT CREATE, USAGE ON SCHEMA adopt TO regress_adopt_owner;
GRANT SELECT ON notifications TO regress_adopt_owner;
ALTER TABLE noted OWNER TO regress_adopt_owner;
SELECT notify_stats.create_rollup('noted', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
SET ROLE regress_adopt_owner;
SELECT notify_stats.create_rollup('noted', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
SELECT notify_stats.create_rollup('ordered', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', adopt => true);
SELECT notify_stats.drop_rollup('not_null', keep_table => true);
SELECT notify_stats.create_rollup('not_null', 'SELECT template_id, count(*) AS n FROM adopt.notifications GROUP BY 1', if_not_exists => true);
RESET ROLE;
CALL notify_stats.catch_up();
SELECT * FROM states();
SELECT r.rollup, d.* FROM notify_stats.rollup r, notify_stats.verify(r.rollup) d;
SELECT * FROM differences('keys');
SELECT * FROM differences('ordered');
SELECT * FROM differences('not_null');
SET client_min_messages = notice;

-- DROP TABLE and others say what it was.
DROP TABLE keys;
DROP VIEW averages;
DROP TABLE itself, ordered CASCADE;
DROP OWNED BY regress_adopt_owner;
SELECT notify_stats.drop_rollup('not_null');
-- an ordinary table, and one that was kept
DROP TABLE log;
SELECT notify_stats.drop_rollup('by_service', keep_table => true);
DROP TABLE by_service;
DO $$ BEGIN DROP TABLE adopt.ft_service_stats CASCADE; END $$;
CALL notify_stats.catch_up();
SELECT count(*) FROM notify_stats.rollup;

DROP ROLE regress_adopt_owner;
SET client_min_messages = warning;
DROP SCHEMA adopt CASCADE;
