/* src/notify_stats--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION notify_stats" to load this file. \quit

-- names that are not qualified below refer to the server's own objects
SET LOCAL search_path = pg_catalog, pg_temp;

-- An existing schema must be empty, and as inaccessible to other roles as one
-- created by CREATE EXTENSION.
DO $$
DECLARE
    namespace pg_namespace;
BEGIN
    SELECT * INTO STRICT namespace FROM pg_namespace WHERE oid = '@extschema@'::regnamespace;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE oid = namespace.nspowner) OR
       EXISTS (SELECT FROM aclexplode(namespace.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
               WHERE a.privilege_type = 'CREATE' AND r.rolsuper IS NOT TRUE) OR
       EXISTS (SELECT FROM pg_depend
               WHERE refclassid = 'pg_namespace'::regclass AND refobjid = namespace.oid
                     AND classid <> 'pg_extension'::regclass)
    THEN
        RAISE EXCEPTION 'schema "%" already exists, and contains objects or grants privileges to other roles', namespace.nspname
            USING ERRCODE = 'duplicate_schema',
                  HINT = format('Check the contents of the schema, then drop it with DROP SCHEMA %I CASCADE or rename it. CREATE EXTENSION creates its own schema.',
                                namespace.nspname);
    END IF;
END
$$;

COMMENT ON SCHEMA @extschema@ IS 'results of summary queries kept up to date from the write-ahead log';
GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC;


-- The catalog
--
-- These tables, except source_fact, rollup_activity and rollup_source, are read in every
-- cycle, possibly with caches that decoding has emptied.  So they have no constraints or
-- defaults, which the server would read from its catalogs each time.  The first two also
-- have no index.  Their triggers (see below) are read with the table, at no measurable cost.

CREATE TABLE @extschema@.stream (
    slot_name   name,
    format      text,
    applied_lsn pg_lsn,
    applied_at  timestamptz,
    upgrade_from bigint,
    upgrade_lsn pg_lsn,
    slot_requests bigint NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- a publication of all tables needs this: without it, updates would be refused
ALTER TABLE @extschema@.stream REPLICA IDENTITY FULL;

COMMENT ON TABLE @extschema@.stream IS
    'the main stream of this database: one row, updated in the transaction that applies the changes';
COMMENT ON COLUMN @extschema@.stream.slot_name IS
    'name of the logical replication slot; NULL, like the next three columns, if there is no rollup';
COMMENT ON COLUMN @extschema@.stream.format IS
    'format of the output of the slot''s plugin: notify_stats, pgoutput or wal2json';
COMMENT ON COLUMN @extschema@.stream.applied_lsn IS
    'a transaction is in the rollups if and only if its commit record starts before this position';
COMMENT ON COLUMN @extschema@.stream.applied_at IS
    'time at which applied_lsn was written';

COMMENT ON COLUMN @extschema@.stream.upgrade_from IS
    'system identifier of the server on which prepare_upgrade() was run; NULL otherwise';
COMMENT ON COLUMN @extschema@.stream.upgrade_lsn IS
    'position of the slot after prepare_upgrade(); there are no changes to apply between applied_lsn and this position';

COMMENT ON COLUMN @extschema@.stream.slot_requests IS
    'number of calls of recreate_slot() that have been carried out';

INSERT INTO @extschema@.stream VALUES (NULL, NULL, NULL, NULL, NULL, NULL, 0);

-- Users and cycles write separate tables, so that an open transaction of a user
-- does not block a cycle.

CREATE TABLE @extschema@.control (
    paused      boolean NOT NULL,
    slot_requests bigint NOT NULL
);

ALTER TABLE @extschema@.control REPLICA IDENTITY FULL;

COMMENT ON TABLE @extschema@.control IS
    'control flags of the worker: one row';
COMMENT ON COLUMN @extschema@.control.paused IS
    'true if the worker must not apply changes';
COMMENT ON COLUMN @extschema@.control.slot_requests IS
    'number of calls of recreate_slot()';

INSERT INTO @extschema@.control VALUES (false, 0);

CREATE TABLE @extschema@.source_fact (
    rollup      oid NOT NULL,
    source      oid NOT NULL,
    fact        text NOT NULL,
    value       text NOT NULL,
    PRIMARY KEY (rollup, source, fact)
);

COMMENT ON TABLE @extschema@.source_fact IS
    'properties of the source tables as of applied_lsn: changes after it can be decoded only as long as these are the same';
COMMENT ON COLUMN @extschema@.source_fact.rollup IS
    '0 for the live rollups; else a rollup that was left behind, whose own position applies instead of that of the stream';
COMMENT ON COLUMN @extschema@.source_fact.source IS
    'the source table';
COMMENT ON COLUMN @extschema@.source_fact.fact IS
    'name of the property';
COMMENT ON COLUMN @extschema@.source_fact.value IS
    'value of the property; if it changes, the rollups of the table are rebuilt';

CREATE TABLE @extschema@.window_position (
    reached_at  timestamptz NOT NULL,
    applied_lsn pg_lsn NOT NULL,
    lsn         pg_lsn NOT NULL,
    restart_lsn pg_lsn NOT NULL,
    catalog_xmin xid NOT NULL
);

-- for a publication of all tables, as above
ALTER TABLE @extschema@.window_position REPLICA IDENTITY FULL;

COMMENT ON TABLE @extschema@.window_position IS
    'places in the window of applied WAL (notify_stats.resumable_wal_window) from which it can be decoded';
COMMENT ON COLUMN @extschema@.window_position.reached_at IS
    'time at which applied_lsn was written';
COMMENT ON COLUMN @extschema@.window_position.applied_lsn IS
    'position of the rollups at that time';
COMMENT ON COLUMN @extschema@.window_position.lsn IS
    'confirmed position of the main slot at that time: transactions that end after it can be decoded from here';
COMMENT ON COLUMN @extschema@.window_position.restart_lsn IS
    'position from which the WAL must be read for that';
COMMENT ON COLUMN @extschema@.window_position.catalog_xmin IS
    'the oldest transaction whose rows of the system catalogs are needed for that';

CREATE TABLE @extschema@.rebuild_request (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rollup      regclass NOT NULL,
    from_scratch boolean NOT NULL
);

COMMENT ON TABLE @extschema@.rebuild_request IS
    'requests for a rebuild; each row is deleted by the build that serves it';
COMMENT ON COLUMN @extschema@.rebuild_request.id IS
    'number of the request, in ascending order';
COMMENT ON COLUMN @extschema@.rebuild_request.rollup IS
    'the table';
COMMENT ON COLUMN @extschema@.rebuild_request.from_scratch IS
    'whether the rollup must be computed again even if its own position can be resumed';
COMMENT ON SEQUENCE @extschema@.rebuild_request_id_seq IS
    'numbers of the requests';

CREATE TABLE @extschema@.rollup (
    rollup       regclass PRIMARY KEY,
    definition   regclass NOT NULL,
    ignore_deletes regclass[] NOT NULL,
    state        text NOT NULL,
    fingerprint  bigint,
    updated_at   name,
    column_names name[]
) WITH (fillfactor = 50);

COMMENT ON TABLE @extschema@.rollup IS
    'the rollups of this database: the part that is included in a dump and visible to all roles';
COMMENT ON COLUMN @extschema@.rollup.rollup IS
    'the table';
COMMENT ON COLUMN @extschema@.rollup.definition IS
    'the view whose result the table contains';
COMMENT ON COLUMN @extschema@.rollup.ignore_deletes IS
    'the tables whose rows are still counted after they were deleted';
COMMENT ON COLUMN @extschema@.rollup.state IS
    'building: not filled yet; live: exact at applied_lsn; stale: to be rebuilt by the worker; failed: to be rebuilt with rebuild()';
COMMENT ON COLUMN @extschema@.rollup.fingerprint IS
    'hash of the definition that the table was last built from';
COMMENT ON COLUMN @extschema@.rollup.updated_at IS
    'the column of the table in which the time of the last change of a row is noted; NULL: none';
COMMENT ON COLUMN @extschema@.rollup.column_names IS
    'the columns of the table, by column of the definition; NULL: it had no others when last seen';

-- a dump contains the rollups, but not their position, so they are rebuilt
SELECT pg_catalog.pg_extension_config_dump('@extschema@.rollup',
    'WHERE rollup IN (SELECT oid FROM pg_catalog.pg_class) AND definition IN (SELECT oid FROM pg_catalog.pg_class)');

CREATE TABLE @extschema@.computed_rollup (
    rollup       regclass PRIMARY KEY,
    definition   regclass NOT NULL,
    cores        regclass[] NOT NULL
);

COMMENT ON TABLE @extschema@.computed_rollup IS
    'the rollups that are computed when they are read: views over other rollups, their cores';
COMMENT ON COLUMN @extschema@.computed_rollup.rollup IS
    'the view';
COMMENT ON COLUMN @extschema@.computed_rollup.definition IS
    'the view with the query whose result the rollup shows';
COMMENT ON COLUMN @extschema@.computed_rollup.cores IS
    'the tables that it is computed from, which are rollups';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.computed_rollup',
    'WHERE rollup IN (SELECT oid FROM pg_catalog.pg_class)');

CREATE TABLE @extschema@.replacement (
    rollup       regclass PRIMARY KEY,
    successor    regclass,
    reason       text
);

COMMENT ON TABLE @extschema@.replacement IS
    'the rollups that were altered, until the new form is built';
COMMENT ON COLUMN @extschema@.replacement.rollup IS
    'the table or view';
COMMENT ON COLUMN @extschema@.replacement.successor IS
    'the rollup that takes its place; NULL if that was given up';
COMMENT ON COLUMN @extschema@.replacement.reason IS
    'reason why it was given up; NULL if the rollup has no definition at present';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.replacement',
    'WHERE rollup IN (SELECT oid FROM pg_catalog.pg_class)');

-- Data that a dump does not need are in a separate table, as they may contain values of
-- rows.  The role that dumps the database must be able to read all dumped tables.

CREATE TABLE @extschema@.rollup_activity (
    rollup       regclass PRIMARY KEY,
    reason       text,
    reason_lsn   pg_lsn,
    built_at     timestamptz,
    changed_at   timestamptz,
    failed_catalog bigint,
    applied_lsn  pg_lsn,
    exact_since  pg_lsn,
    names        text,
    names_since  pg_lsn,
    column_numbers smallint[]
) WITH (fillfactor = 50);

COMMENT ON TABLE @extschema@.rollup_activity IS
    'history of the rollups, and what a dump must not contain; a rollup without a row has not been built in this database';
COMMENT ON COLUMN @extschema@.rollup_activity.rollup IS
    'the table';
COMMENT ON COLUMN @extschema@.rollup_activity.reason IS
    'reason why the rollup is stale or failed';
COMMENT ON COLUMN @extschema@.rollup_activity.reason_lsn IS
    'WAL position at which the rollup became stale or failed, if known';
COMMENT ON COLUMN @extschema@.rollup_activity.built_at IS
    'time at which the table was last filled or rebuilt';
COMMENT ON COLUMN @extschema@.rollup_activity.changed_at IS
    'time at which changes were last applied, with a precision of one second';
COMMENT ON COLUMN @extschema@.rollup_activity.failed_catalog IS
    'value of catalog_state() at which the rollup failed: it is rebuilt when the value differs; NULL if it is not rebuilt automatically';

COMMENT ON COLUMN @extschema@.rollup_activity.applied_lsn IS
    'position at which a rollup that was left behind is exact, and from which it can be resumed; NULL for a live rollup';
COMMENT ON COLUMN @extschema@.rollup_activity.exact_since IS
    'position from which on changes() can tell what has changed: the rollup was built there, or its sources were altered';
COMMENT ON COLUMN @extschema@.rollup_activity.names IS
    'names that changes() writes: of the columns, and versions of the labels of enums';
COMMENT ON COLUMN @extschema@.rollup_activity.names_since IS
    'position from which on changes() has written these names, if they were other ones before';
COMMENT ON COLUMN @extschema@.rollup_activity.column_numbers IS
    'the numbers of the columns in rollup.column_names, which a restore can change; NULL: they are found by their names';

CREATE TABLE @extschema@.rollup_source (
    rollup       regclass NOT NULL,
    source       regclass NOT NULL,
    columns      smallint[] NOT NULL,
    PRIMARY KEY (rollup, source)
);

COMMENT ON TABLE @extschema@.rollup_source IS
    'the tables that each rollup reads, as of its creation or last build';
COMMENT ON COLUMN @extschema@.rollup_source.rollup IS
    'the table of the rollup';
COMMENT ON COLUMN @extschema@.rollup_source.source IS
    'a table that its definition reads';
COMMENT ON COLUMN @extschema@.rollup_source.columns IS
    'the numbers of the columns that its definition reads';

-- Cores, by their names, that are tables and that the view reads.
CREATE FUNCTION @extschema@.left_cores(view oid) RETURNS regclass[]
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 1 SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT coalesce(array_agg(DISTINCT c.oid::regclass), '{}')
    FROM pg_class v
         JOIN pg_rewrite w ON w.ev_class = v.oid
         JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND
                             d.refclassid = 'pg_class'::regclass
         JOIN pg_class c ON c.oid = d.refobjid AND c.relnamespace = v.relnamespace AND c.relkind = 'r'
    WHERE v.oid = $1 AND starts_with(c.relname, v.relname || '_core') AND
          substr(c.relname, length(v.relname) + 6) ~ '^(_[0-9]+)?$' AND
          EXISTS (SELECT FROM pg_class d
                  WHERE d.relname = c.relname || '_definition' AND d.relnamespace = c.relnamespace AND d.relkind = 'v')
    $$;
COMMENT ON FUNCTION @extschema@.left_cores(oid) IS
    'returns the tables that may have been the cores of a view; see adopt_rollup()';
REVOKE ALL ON FUNCTION @extschema@.left_cores(oid) FROM PUBLIC;

-- Covers only the catalog rows that can affect a build.  The columns of partitions are left
-- out, as there may be many.  ANALYZE and VACUUM do not change the xmin of these rows.
CREATE FUNCTION @extschema@.catalog_state(rollup regclass, OUT state bigint, OUT youngest xid)
    LANGUAGE sql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE source AS (
        SELECT s.source::oid AS relid FROM @extschema@.rollup_source s WHERE s.rollup = $1
        UNION
        SELECT i.inhrelid FROM pg_inherits i JOIN source ON i.inhparent = source.relid
    ), named AS (
        SELECT unnest(ARRAY[r.rollup, r.definition]::oid[]) AS relid FROM @extschema@.rollup r WHERE r.rollup = $1
        UNION ALL
        SELECT s.source FROM @extschema@.rollup_source s WHERE s.rollup = $1
    ), relation AS (
        SELECT c.oid, c.xmin, c.relnamespace, c.relowner FROM pg_class c
        WHERE c.oid IN (SELECT relid FROM named UNION SELECT relid FROM source)
    ), used AS (
        SELECT d.refclassid, d.refobjid
        FROM named n JOIN pg_rewrite w ON w.ev_class = n.relid
             JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
    ), version (what, id, number, xmin) AS (
        SELECT 'relation', oid, 0, xmin FROM relation
        UNION ALL
        SELECT 'column', attrelid, attnum, xmin FROM pg_attribute WHERE attrelid IN (SELECT relid FROM named)
        UNION ALL
        SELECT 'index', indexrelid, 0, xmin FROM pg_index WHERE indrelid IN (SELECT oid FROM relation)
        UNION ALL
        SELECT 'rule', oid, 0, xmin FROM pg_rewrite WHERE ev_class IN (SELECT relid FROM named)
        UNION ALL
        SELECT 'function', oid, 0, xmin FROM pg_proc
        WHERE oid IN (SELECT refobjid FROM used WHERE refclassid = 'pg_proc'::regclass)
        UNION ALL
        SELECT 'type', oid, 0, xmin FROM pg_type
        WHERE oid IN (SELECT refobjid FROM used WHERE refclassid = 'pg_type'::regclass)
        UNION ALL
        SELECT 'schema', oid, 0, xmin FROM pg_namespace WHERE oid IN (SELECT relnamespace FROM relation)
        UNION ALL
        SELECT 'owner', oid, 0, xmin FROM pg_authid WHERE oid IN (SELECT relowner FROM relation)
        UNION ALL
        SELECT 'member of ' || roleid, member, 0, xmin FROM pg_auth_members
    )
    SELECT hashtextextended(coalesce(string_agg(v::text, ' ' ORDER BY v::text), ''), 0),
           (array_agg(v.xmin ORDER BY age(v.xmin)))[1]
    FROM version v
    $$;
COMMENT ON FUNCTION @extschema@.catalog_state(regclass) IS
    'returns a hash of the catalog rows that determine whether a rollup can be maintained, and the last transaction that wrote such a row';
REVOKE ALL ON FUNCTION @extschema@.catalog_state(regclass) FROM PUBLIC;


-- Creating and dropping rollups

CREATE FUNCTION @extschema@.create_rollup(rollup text, definition text, ignore_deletes text[] DEFAULT '{}',
        facts text[] DEFAULT '{}', adopt boolean DEFAULT false, updated_at text DEFAULT NULL,
        if_not_exists boolean DEFAULT false)
    RETURNS regclass
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_create_rollup';
COMMENT ON FUNCTION @extschema@.create_rollup(text, text, text[], text[], boolean, text, boolean) IS
    'creates a table that contains the result of a summary query and is kept up to date, or such tables and a view that computes the result from them, and the view <rollup>_definition; rows of the tables in ignore_deletes are still counted after they were deleted; facts are the tables whose rows are counted, where a join does not tell; with adopt => true, the table exists; updated_at is a column of it in which the time of the last change of a row is noted; with if_not_exists => true, does nothing if there is such a rollup already';

CREATE FUNCTION @extschema@.explain_rollup(definition text, facts text[] DEFAULT '{}',
        OUT part text, OUT verdict text, OUT reason text, OUT advice text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_explain_rollup';
COMMENT ON FUNCTION @extschema@.explain_rollup(text, text[]) IS
    'shows what create_rollup() would keep, what the view would compute, and everything that is not supported';

CREATE FUNCTION @extschema@.adopt_rollup(rollup regclass, ignore_deletes text[] DEFAULT '{}',
        updated_at text DEFAULT NULL)
    RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_adopt_rollup';
COMMENT ON FUNCTION @extschema@.adopt_rollup(regclass, text[], text) IS
    'turns a table and its view into a rollup again, after a restore of only the schema or after DROP EXTENSION';

CREATE FUNCTION @extschema@.drop_rollup(rollup regclass, keep_table boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_drop_rollup';
COMMENT ON FUNCTION @extschema@.drop_rollup(regclass, boolean) IS
    'drops a rollup with its table, or its cores, and its definition; with keep_table => true, its table remains as an ordinary one, with its rows';

CREATE FUNCTION @extschema@.alter_rollup(rollup regclass, definition text, facts text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_alter_rollup';
COMMENT ON FUNCTION @extschema@.alter_rollup(regclass, text, text[]) IS
    'builds a new form of a rollup beside the old one, which it then replaces in one transaction; with NULL as the definition, the rollup stays as it is and its source tables can be altered, until it gets a new definition';

CREATE FUNCTION @extschema@.rebuild(rollup regclass, forget_deleted boolean DEFAULT false,
        from_scratch boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_rebuild';
COMMENT ON FUNCTION @extschema@.rebuild(regclass, boolean, boolean) IS
    'requests that a rollup is recomputed online, starting after commit, or that a failed one is resumed from its own position, if the window of WAL still has it (from_scratch => true: never); forget_deleted => true is required to recompute a rollup with ignore_deletes, because deleted rows cannot be counted again';

CREATE FUNCTION @extschema@.is_resumable(lsn pg_lsn) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE COST 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM @extschema@.stream s
                              JOIN pg_replication_slots p ON p.slot_name = s.slot_name || '_window'
                         WHERE p.database = current_database() AND p.confirmed_flush_lsn <= $1 AND
                               p.wal_status IN ('reserved', 'extended', 'unreserved')) $$;
COMMENT ON FUNCTION @extschema@.is_resumable(pg_lsn) IS
    'returns whether the WAL after a position is in the window of applied WAL';
REVOKE ALL ON FUNCTION @extschema@.is_resumable(pg_lsn) FROM PUBLIC;

CREATE FUNCTION @extschema@.verify(rollup regclass,
        OUT group_key jsonb, OUT in_rollup jsonb, OUT in_definition jsonb) RETURNS SETOF record
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_verify';
COMMENT ON FUNCTION @extschema@.verify(regclass) IS
    'returns the groups in which a rollup, or a core, differs from its definition, both as of the same WAL position; then the rows in which a computed rollup differs from its definition, with their numbers, both computed from the sources';


-- Replacing a rollup by its new form
--
-- The functions below compare the old rollup with its successor.  They return steps: the
-- relation concerned, the role that runs a statement, and a statement, a name or a problem.

CREATE FUNCTION @extschema@.replacement_relations(rollup oid, OUT kind text, OUT n bigint, OUT relid oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT 'rollup', 0::bigint, $1
    UNION ALL
    SELECT 'definition', 0, u.definition FROM @extschema@.computed_rollup u WHERE u.rollup = $1
    UNION ALL
    SELECT 'definition', 0, r.definition FROM @extschema@.rollup r WHERE r.rollup = $1
    UNION ALL
    SELECT p.kind, c.n, p.relid
    FROM @extschema@.computed_rollup u CROSS JOIN unnest(u.cores) WITH ORDINALITY c (core, n)
         JOIN @extschema@.rollup r ON r.rollup = c.core
         CROSS JOIN LATERAL (VALUES ('core', r.rollup::oid), ('core definition', r.definition::oid)) p (kind, relid)
    WHERE u.rollup = $1
    $$;
COMMENT ON FUNCTION @extschema@.replacement_relations(oid) IS
    'returns the relations of a rollup; see alter_rollup()';

-- The columns of a rollup's table, or of the view of a computed rollup, by column of the definition.
CREATE FUNCTION @extschema@.replacement_columns(rollup oid, OUT n bigint, OUT attnum smallint) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT row_number() OVER (ORDER BY a.attnum), a.attnum
    FROM pg_attribute a
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND
          NOT EXISTS (SELECT FROM @extschema@.rollup r WHERE r.rollup = $1 AND r.column_names IS NOT NULL)
    UNION ALL
    SELECT d.attnum, a.attnum
    FROM @extschema@.rollup r
         JOIN pg_attribute d ON d.attrelid = r.definition AND d.attnum > 0
         LEFT JOIN @extschema@.rollup_activity v ON v.rollup = r.rollup
         JOIN pg_attribute a ON a.attrelid = r.rollup AND NOT a.attisdropped AND
             CASE WHEN v.column_numbers[d.attnum] IS NOT NULL THEN a.attnum = v.column_numbers[d.attnum]
                  ELSE a.attname = coalesce(r.column_names[d.attnum], d.attname) END
    WHERE r.rollup = $1 AND r.column_names IS NOT NULL
    $$;
COMMENT ON FUNCTION @extschema@.replacement_columns(oid) IS
    'returns the columns of a rollup, by column of its definition; see alter_rollup()';

-- "other" is not null if the view keeps its OID: both are views, and the new one has all columns.
CREATE FUNCTION @extschema@.replacement_place(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT $1, NULL::oid, NULL::text, CASE WHEN
           NOT EXISTS (SELECT FROM pg_class c WHERE c.oid IN ($1, $2) AND c.relkind <> 'v') AND
           NOT EXISTS (SELECT FROM @extschema@.replacement_relations($1) o
                            JOIN @extschema@.replacement_relations($2) s ON s.kind = o.kind
                            JOIN pg_attribute a ON a.attrelid = o.relid AND a.attnum > 0
                       WHERE o.kind IN ('rollup', 'definition') AND
                             NOT EXISTS (SELECT FROM pg_attribute b
                                         WHERE b.attrelid = s.relid AND b.attnum = a.attnum AND b.attname = a.attname AND
                                               b.atttypid = a.atttypid AND b.atttypmod = a.atttypmod AND
                                               b.attcollation = a.attcollation))
           THEN $1 END
    $$;
COMMENT ON FUNCTION @extschema@.replacement_place(oid, oid) IS
    'returns whether the view of a rollup can show its new form; see alter_rollup()';

CREATE FUNCTION @extschema@.replacement_same(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT $1, NULL::oid, NULL::text, NULL::oid
    FROM (SELECT array_agg(pg_get_viewdef(o.relid) ORDER BY o.kind, o.n) AS old
          FROM @extschema@.replacement_relations($1) o WHERE o.kind LIKE '%definition') o,
         (SELECT array_agg(pg_get_viewdef(s.relid) ORDER BY s.kind, s.n) AS new
          FROM @extschema@.replacement_relations($2) s WHERE s.kind LIKE '%definition') s
    WHERE o.old = s.new
    $$;
COMMENT ON FUNCTION @extschema@.replacement_same(oid, oid) IS
    'returns a row if both rollups have the same definitions; see alter_rollup()';

-- The indexes that users have created: "other" is the same one of the new form, if it exists;
-- "relid" is the table for it, or null.
CREATE FUNCTION @extschema@.replacement_indexes(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid, OUT index oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH part AS MATERIALIZED (
        SELECT p.*, c.relowner,
               -- the index that create_rollup() has created
               (SELECT i.indexrelid FROM pg_index i
                WHERE i.indrelid = p.relid AND i.indisunique AND (i.indisprimary OR i.indnullsnotdistinct) AND
                      i.indpred IS NULL AND i.indexprs IS NULL
                ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) AS own
        FROM (SELECT 'old' AS side, o.* FROM @extschema@.replacement_relations($1) o
              UNION ALL
              SELECT 'new', s.* FROM @extschema@.replacement_relations($2) s) p
             JOIN pg_class c ON c.oid = p.relid
        WHERE c.relkind = 'r'
    ), made AS (
        SELECT p.side, p.n, p.relid, i.indexrelid,
               CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX' AS what,
               substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*') AS how
        FROM part p JOIN pg_index i ON i.indrelid = p.relid
        WHERE i.indexrelid IS DISTINCT FROM p.own
    )
    SELECT t.relid, t.relowner, format('CREATE %s ON %s%s', m.what, t.relid::regclass, m.how),
           (SELECT x.indexrelid FROM made x
            WHERE x.side = 'new' AND x.relid = t.relid AND x.what = m.what AND x.how = m.how ORDER BY 1 LIMIT 1),
           m.indexrelid
    FROM made m
         LEFT JOIN LATERAL (
             SELECT q.relid, q.relowner FROM part q
             WHERE q.side = 'new' AND
                   NOT EXISTS (SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                               WHERE d.classid = 'pg_class'::regclass AND d.objid = m.indexrelid AND
                                     d.refclassid = 'pg_class'::regclass AND d.refobjid = m.relid AND
                                     NOT EXISTS (SELECT FROM pg_attribute b
                                                 WHERE b.attrelid = q.relid AND b.attname = a.attname AND
                                                       b.atttypid = a.atttypid AND b.attcollation = a.attcollation))
             ORDER BY q.n <> m.n, q.n LIMIT 1) t ON true
    WHERE m.side = 'old'
    ORDER BY m.indexrelid
    $$;
COMMENT ON FUNCTION @extschema@.replacement_indexes(oid, oid) IS
    'returns the indexes that users have created on a rollup, for its new form; see alter_rollup()';

-- The statements that replace views: the rollup and its definition themselves, or views of users.
CREATE FUNCTION @extschema@.replacement_views(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT v.oid, v.relowner,
           format('CREATE OR REPLACE VIEW %s%s AS %s', v.oid::regclass,
                  ' WITH (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(x.query)),
           NULL::oid
    FROM (SELECT o.relid, s.relid AS query
          FROM @extschema@.replacement_place($1, $2) p, @extschema@.replacement_relations($1) o
               JOIN @extschema@.replacement_relations($2) s ON s.kind = o.kind
          WHERE p.other IS NOT NULL AND o.kind IN ('rollup', 'definition')
          UNION
          SELECT w.ev_class, w.ev_class
          FROM @extschema@.replacement_place($1, $2) p, pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
          WHERE p.other IS NULL AND d.classid = 'pg_rewrite'::regclass AND
                d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND
                w.ev_class NOT IN (SELECT o.relid FROM @extschema@.replacement_relations($1) o)) x
         JOIN pg_class v ON v.oid = x.relid
    WHERE v.relkind = 'v'
    ORDER BY v.oid
    $$;
COMMENT ON FUNCTION @extschema@.replacement_views(oid, oid) IS
    'returns the statements that make views read the new form of a rollup; see alter_rollup()';

CREATE FUNCTION @extschema@.replacement_pairs(rollup oid, successor oid, OUT old oid, OUT new oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT o.relid, s.relid
    FROM @extschema@.replacement_place($1, $2) p, @extschema@.replacement_relations($1) o
         JOIN @extschema@.replacement_relations($2) s ON s.kind = o.kind AND s.n = o.n
    WHERE p.other IS NULL OR o.kind LIKE 'core%'
    $$;
COMMENT ON FUNCTION @extschema@.replacement_pairs(oid, oid) IS
    'returns the relations of a rollup of which another one takes the place; see alter_rollup()';

CREATE FUNCTION @extschema@.replacement_copies(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH pair AS MATERIALIZED (
        SELECT o.oid AS old, s.oid AS new, o.relkind AS old_kind, s.relkind AS new_kind, s.relowner AS owner,
               o.reloptions AS old_options, s.reloptions AS new_options,
               coalesce(o.relacl, acldefault('r', o.relowner)) AS old_acl,
               coalesce(s.relacl, acldefault('r', s.relowner)) AS new_acl,
               CASE s.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS what
        FROM @extschema@.replacement_pairs($1, $2) p
             JOIN pg_class o ON o.oid = p.old JOIN pg_class s ON s.oid = p.new
    ), grantee AS (
        SELECT r.oid, CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE r.oid::regrole::text END AS name
        FROM (SELECT 0::oid AS oid UNION ALL SELECT oid FROM pg_roles) r
    )
    SELECT x.new, x.owner, x.statement, NULL::oid
    FROM (SELECT 1 AS step, p.new, p.owner,
                 format('ALTER %s %s SET (%s)', p.what, p.new::regclass, array_to_string(p.old_options, ', ')) AS statement
          FROM pair p
          WHERE p.old_kind = p.new_kind AND p.old_options IS DISTINCT FROM p.new_options AND p.old_options IS NOT NULL
          UNION ALL
          SELECT DISTINCT 2, p.new, p.owner, format('REVOKE ALL ON %s FROM %s', p.new::regclass, g.name)
          FROM pair p, aclexplode(p.new_acl) a JOIN grantee g ON g.oid = a.grantee
          WHERE p.old_acl IS DISTINCT FROM p.new_acl
          UNION ALL
          SELECT 3, p.new, p.owner,
                 format('GRANT %s ON %s TO %s%s', a.privilege_type, p.new::regclass, g.name,
                        CASE WHEN a.is_grantable AND a.grantee <> p.owner THEN ' WITH GRANT OPTION' END)
          FROM pair p, aclexplode(p.old_acl) a JOIN grantee g ON g.oid = a.grantee
          WHERE p.old_acl IS DISTINCT FROM p.new_acl
          UNION ALL
          SELECT 4, p.new, p.owner,
                 format('GRANT %s (%I) ON %s TO %s%s', a.privilege_type, c.attname, p.new::regclass, g.name,
                        CASE WHEN a.is_grantable AND a.grantee <> p.owner THEN ' WITH GRANT OPTION' END)
          FROM pair p
               JOIN pg_attribute c ON c.attrelid = p.old AND c.attnum > 0 AND NOT c.attisdropped
               JOIN pg_attribute n ON n.attrelid = p.new AND n.attname = c.attname
               CROSS JOIN aclexplode(c.attacl) a JOIN grantee g ON g.oid = a.grantee
          UNION ALL
          SELECT 5, p.new, p.owner,
                 format('COMMENT ON COLUMN %s.%I IS %L', p.new::regclass, c.attname, col_description(p.old, c.attnum))
          FROM pair p
               JOIN pg_attribute c ON c.attrelid = p.old AND c.attnum > 0 AND NOT c.attisdropped
               JOIN pg_attribute n ON n.attrelid = p.new AND n.attname = c.attname
          WHERE col_description(p.old, c.attnum) IS NOT NULL) x
    ORDER BY x.step, x.new, x.statement
    $$;
COMMENT ON FUNCTION @extschema@.replacement_copies(oid, oid) IS
    'returns the statements that copy privileges, settings and the comments on columns; see alter_rollup()';

-- Our own comments name the relations of the rollup.
CREATE FUNCTION @extschema@.replacement_comments(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH place AS (
        SELECT p.other IS NOT NULL AS kept FROM @extschema@.replacement_place($1, $2) p
    ), name AS (
        SELECT replace(o.relname, '"', '""') AS old, replace(s.relname, '"', '""') AS new
        FROM pg_class o, pg_class s WHERE o.oid = $1 AND s.oid = $2
    ), comment AS (
        SELECT CASE WHEN p.kept AND s.kind = 'rollup' THEN $1 ELSE s.relid END AS relid,
               replace(obj_description(s.relid, 'pg_class'), n.new, n.old) AS ours,
               obj_description(o.relid, 'pg_class') AS old
        FROM place p CROSS JOIN name n CROSS JOIN @extschema@.replacement_relations($2) s
             LEFT JOIN @extschema@.replacement_relations($1) o ON o.kind = s.kind AND o.n = s.n
        WHERE NOT p.kept OR s.kind <> 'definition'
    )
    SELECT c.oid, c.relowner,
           format('COMMENT ON %s %s IS %L', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass,
                  CASE WHEN x.old ~ '^(rollup|definition of rollup) .* the extension notify_stats' THEN x.ours
                       ELSE coalesce(x.old, x.ours) END),
           NULL::oid
    FROM comment x JOIN pg_class c ON c.oid = x.relid
    $$;
COMMENT ON FUNCTION @extschema@.replacement_comments(oid, oid) IS
    'returns the statements that set the comments on the relations of a new form; see alter_rollup()';

-- The names that relations and indexes of the new form get, when the old ones are gone.
CREATE FUNCTION @extschema@.replacement_names(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH name AS (
        SELECT o.relname::text AS old, s.relname::text AS new FROM pg_class o, pg_class s WHERE o.oid = $1 AND s.oid = $2
    ), part AS (
        SELECT s.* FROM @extschema@.replacement_relations($2) s CROSS JOIN @extschema@.replacement_place($1, $2) p
        WHERE p.other IS NULL OR s.kind LIKE 'core%'
    ), made AS MATERIALIZED (
        SELECT x.other, c.relname FROM @extschema@.replacement_indexes($1, $2) x JOIN pg_class c ON c.oid = x.index
    )
    SELECT c.oid, c.relowner,
           coalesce((SELECT m.relname::text FROM made m WHERE m.other = c.oid LIMIT 1), n.old || substr(c.relname, length(n.new) + 1)),
           NULL::oid
    FROM name n
         CROSS JOIN (SELECT p.kind, p.relid FROM part p WHERE p.kind <> 'rollup'
                     UNION ALL
                     SELECT 'index', i.indexrelid FROM part p JOIN pg_index i ON i.indrelid = p.relid) x
         JOIN pg_class c ON c.oid = x.relid
    WHERE starts_with(c.relname, n.new) OR c.oid IN (SELECT m.other FROM made m)
    ORDER BY x.kind = 'index', c.oid
    $$;
COMMENT ON FUNCTION @extschema@.replacement_names(oid, oid) IS
    'returns the names of the parts of a new form; see alter_rollup()';

CREATE FUNCTION @extschema@.replacement_obstacles(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH own AS MATERIALIZED (
        SELECT 'old' AS side, o.* FROM @extschema@.replacement_relations($1) o
        UNION ALL
        SELECT 'new', s.* FROM @extschema@.replacement_relations($2) s
    ), gone AS MATERIALIZED (
        SELECT o.kind, o.relid FROM own o CROSS JOIN @extschema@.replacement_place($1, $2) p
        WHERE o.side = 'old' AND (p.other IS NULL OR o.kind LIKE 'core%')
    ), object (base, classid, objid) AS (
        -- everything that is dropped
        SELECT g.relid, 'pg_class'::regclass, g.relid FROM gone g
        UNION ALL
        SELECT g.relid, 'pg_type'::regclass, unnest(ARRAY[t.oid, t.typarray]) FROM gone g JOIN pg_type t ON t.typrelid = g.relid
        UNION ALL
        SELECT g.relid, 'pg_constraint'::regclass, c.oid FROM gone g JOIN pg_constraint c ON c.conrelid = g.relid
        UNION ALL
        SELECT g.relid, 'pg_class'::regclass, i.indexrelid FROM gone g JOIN pg_index i ON i.indrelid = g.relid
    ), dependent AS MATERIALIZED (
        SELECT o.base, o.objid = $1 AS direct, d.refobjsubid,
               CASE WHEN w.oid IS NULL OR w.rulename <> '_RETURN' THEN d.classid ELSE 'pg_class'::regclass END AS classid,
               CASE WHEN w.oid IS NULL OR w.rulename <> '_RETURN' THEN d.objid ELSE w.ev_class END AS objid,
               coalesce(w.rulename = '_RETURN', false) AND c.relkind = 'v' AS is_view, c.relkind, k.contype
        FROM object o
             JOIN pg_depend d ON d.refclassid = o.classid AND d.refobjid = o.objid AND d.deptype IN ('n', 'a')
             LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
             LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
             LEFT JOIN pg_class c ON c.oid = coalesce(w.ev_class, CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END)
    ), problem (n, text) AS (
        SELECT 1, format('%s uses column %I of %s, which does not have this column or this type any more',
                         pg_describe_object(d.classid, d.objid, 0), a.attname, d.base::regclass)
        FROM dependent d JOIN pg_attribute a ON a.attrelid = $1 AND a.attnum = d.refobjsubid
        WHERE d.is_view AND d.direct AND d.refobjsubid > 0 AND d.objid NOT IN (SELECT o.relid FROM own o) AND
              NOT EXISTS (SELECT FROM pg_attribute b
                          WHERE b.attrelid = $2 AND b.attname = a.attname AND b.atttypid = a.atttypid AND
                                b.atttypmod = a.atttypmod AND b.attcollation = a.attcollation)
        UNION
        SELECT 2, format('%s depends on %s', pg_describe_object(d.classid, d.objid, 0), d.base::regclass)
        FROM dependent d
        WHERE NOT (d.is_view AND d.direct) AND
              NOT (d.classid = 'pg_class'::regclass AND
                   (d.relkind IN ('i', 't') OR d.objid IN (SELECT o.relid FROM own o))) AND
              d.classid <> 'pg_attrdef'::regclass AND coalesce(d.contype, 'x') NOT IN ('p', 'n') AND
              (d.contype IS NULL OR NOT EXISTS (SELECT FROM pg_constraint k JOIN pg_index i ON i.indexrelid = k.conindid
                                                WHERE k.oid = d.objid AND k.contype IN ('p', 'u') AND i.indnullsnotdistinct))
        UNION
        SELECT 3, format('the owner of view %s may not create it again in its schema', v.oid::regclass)
        FROM @extschema@.replacement_views($1, $2) x JOIN pg_class v ON v.oid = x.relid
        WHERE NOT has_schema_privilege(v.relowner, v.relnamespace, 'CREATE')
        UNION
        SELECT 4, format('index %s needs columns that the new form does not have', x.index::regclass)
        FROM @extschema@.replacement_indexes($1, $2) x WHERE x.relid IS NULL
        UNION
        SELECT 5, format('column %I of %s has privileges, which the new form cannot have', a.attname, p.old::regclass)
        FROM @extschema@.replacement_pairs($1, $2) p
             JOIN pg_attribute a ON a.attrelid = p.old AND a.attacl IS NOT NULL AND a.attnum > 0 AND NOT a.attisdropped
        WHERE NOT EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = p.new AND b.attname = a.attname)
        UNION
        SELECT 6, format('column %I of %s is not one of its definition', a.attname, a.attrelid::regclass)
        FROM gone g
             JOIN @extschema@.rollup r ON r.rollup = g.relid
             JOIN pg_attribute a ON a.attrelid = r.rollup AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.attnum NOT IN (SELECT c.attnum FROM @extschema@.replacement_columns(r.rollup) c
                               WHERE c.n <= (SELECT count(*) FROM pg_attribute b WHERE b.attrelid = r.definition AND b.attnum > 0)) AND
              a.attname IS DISTINCT FROM r.updated_at
        UNION
        SELECT 7, format('%s inherits from %s', i.inhrelid::regclass, i.inhparent::regclass)
        FROM gone g JOIN pg_inherits i ON i.inhrelid = g.relid
        UNION
        SELECT 8, format('%s has row-level security', c.oid::regclass)
        FROM gone g JOIN pg_class c ON c.oid = g.relid WHERE c.relrowsecurity
        UNION
        SELECT 9, format('relation %s has the name of a part of the new form', c.oid::regclass)
        FROM @extschema@.replacement_names($1, $2) x
             JOIN pg_class r ON r.oid = x.relid AND r.relkind <> 'i'
             JOIN pg_class o ON o.oid = $1
             JOIN pg_class c ON c.relname = x.text AND c.relnamespace = o.relnamespace
        WHERE c.oid NOT IN (SELECT o.relid FROM own o)
        UNION
        SELECT 10, format('the name %s of a part of the new form is too long', x.text)
        FROM @extschema@.replacement_names($1, $2) x JOIN pg_class r ON r.oid = x.relid
        WHERE r.relkind <> 'i' AND octet_length(x.text) > 63
    )
    SELECT NULL::oid, NULL::oid, p.text, NULL::oid FROM problem p ORDER BY p.n, p.text
    $$;
COMMENT ON FUNCTION @extschema@.replacement_obstacles(oid, oid) IS
    'returns what could not be kept if a rollup were replaced; see alter_rollup()';

-- Definitions that read the tables of the rollup themselves.
CREATE FUNCTION @extschema@.replacement_stubs(rollup oid, successor oid,
        OUT relid oid, OUT role oid, OUT text text, OUT other oid) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT v.oid, v.relowner,
           format('CREATE OR REPLACE VIEW %s AS SELECT %s FROM %s r', v.oid::regclass,
                  (SELECT string_agg(format('r.%I::%s AS %I', t.attname, format_type(a.atttypid, a.atttypmod), a.attname),
                                     ', ' ORDER BY a.n)
                   FROM (SELECT *, row_number() OVER (ORDER BY attnum) AS n FROM pg_attribute
                         WHERE attrelid = v.oid AND attnum > 0 AND NOT attisdropped) a
                        JOIN @extschema@.replacement_columns(r.relid) c ON c.n = a.n
                        JOIN pg_attribute t ON t.attrelid = r.relid AND t.attnum = c.attnum),
                  r.relid::regclass),
           NULL::oid
    FROM @extschema@.replacement_relations($1) d
         JOIN @extschema@.replacement_relations($1) r ON r.n = d.n AND
             r.kind = CASE d.kind WHEN 'definition' THEN 'rollup' ELSE 'core' END
         JOIN pg_class v ON v.oid = d.relid
    WHERE d.kind LIKE '%definition'
    $$;
COMMENT ON FUNCTION @extschema@.replacement_stubs(oid, oid) IS
    'returns the statements that make a rollup independent of its source tables; see alter_rollup()';

REVOKE ALL ON FUNCTION @extschema@.replacement_relations(oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_columns(oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_place(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_same(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_indexes(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_views(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_pairs(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_copies(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_comments(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_names(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_obstacles(oid, oid) FROM PUBLIC;
REVOKE ALL ON FUNCTION @extschema@.replacement_stubs(oid, oid) FROM PUBLIC;


-- Waiting and catching up

-- A note of DDL on a source (FACT_IS_NOTE in facts.h) may make any rollup stale, at a
-- position that was written before the worker has seen the DDL, as in wait_for_lsn().
CREATE FUNCTION @extschema@.applied_lsn(rollup regclass DEFAULT NULL) RETURNS pg_lsn
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (SELECT s.applied_lsn FROM @extschema@.stream s
            WHERE $1 IS NULL OR
                  (NOT EXISTS (SELECT FROM unnest(coalesce((SELECT c.cores FROM @extschema@.computed_rollup c
                                                            WHERE c.rollup = $1), ARRAY[$1])) part
                               WHERE NOT EXISTS (SELECT FROM @extschema@.rollup r
                                                      JOIN pg_class d ON d.oid = r.definition
                                                 WHERE r.rollup = part AND r.state = 'live')) AND
                   NOT EXISTS (SELECT FROM @extschema@.source_fact f
                               WHERE f.rollup = 0 AND
                                     (f.fact LIKE 'shape %' OR f.fact LIKE 'detached partition %'))));
COMMENT ON FUNCTION @extschema@.applied_lsn(regclass) IS
    'returns the position up to which the rollups contain every transaction, according to the snapshot of the query; NULL for a rollup that is not live, or after DDL on a source table until the worker has processed it';

CREATE FUNCTION @extschema@.wait_for_lsn(lsn pg_lsn DEFAULT NULL,
        timeout interval DEFAULT '30 seconds', rollup regclass DEFAULT NULL,
        no_throw boolean DEFAULT false) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_wait_for_lsn';
COMMENT ON FUNCTION @extschema@.wait_for_lsn(pg_lsn, interval, regclass, boolean) IS
    'waits until the rollups contain every transaction before a position (default: everything written so far), and returns true; fails after the timeout, or with no_throw => true returns false';

CREATE FUNCTION @extschema@.wait_for_publisher(token pg_lsn, subscription name,
        timeout interval DEFAULT '30 seconds', rollup regclass DEFAULT NULL,
        no_throw boolean DEFAULT false) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_wait_for_publisher';
COMMENT ON FUNCTION @extschema@.wait_for_publisher(pg_lsn, name, interval, regclass, boolean) IS
    'waits until the rollups contain every transaction before a position of the publisher of a subscription, and returns true; fails if the subscription is disabled, and after the timeout, or with no_throw => true returns false after it';


-- Following a rollup

CREATE FUNCTION @extschema@.changes(rollup regclass, since pg_lsn, wait interval DEFAULT '0',
        OUT lsn pg_lsn, OUT group_key jsonb, OUT measures jsonb) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_changes';
COMMENT ON FUNCTION @extschema@.changes(regclass, pg_lsn, interval) IS
    'returns the groups of a rollup that have changed since a position, with their measures now (NULL: the group is gone) and the position reached; one row without a group if none has changed until the wait is over; all groups if since is NULL';

CREATE FUNCTION @extschema@.changed_rows(rollup anyelement, since pg_lsn, wait interval DEFAULT '0',
        OUT lsn pg_lsn, OUT deleted boolean, OUT group_row anyelement) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_changed_rows';
COMMENT ON FUNCTION @extschema@.changed_rows(anyelement, pg_lsn, interval) IS
    'the same as changes(), with the rows of the rollup: its first argument is NULL of the type of these rows; a row that is gone has its group columns only';

CREATE FUNCTION @extschema@.rollup_as_of(rollup anyelement, lsn pg_lsn) RETURNS SETOF anyelement
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_rollup_as_of';
COMMENT ON FUNCTION @extschema@.rollup_as_of(anyelement, pg_lsn) IS
    'returns the rows of a rollup as they were at an earlier position in the window of applied WAL; its first argument is NULL of the type of these rows';

CREATE FUNCTION @extschema@.position_at(at timestamptz) RETURNS pg_lsn
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_position_at';
COMMENT ON FUNCTION @extschema@.position_at(timestamptz) IS
    'returns the last position that was noted for the window of applied WAL at a time or before it, for rollup_as_of(); positions are noted at least once per minute while changes are applied';

CREATE PROCEDURE @extschema@.catch_up()
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'notify_stats_catch_up';
COMMENT ON PROCEDURE @extschema@.catch_up() IS
    'does the work of the background worker in this session: applies all changes written so far, and runs all builds that are due';
REVOKE ALL ON PROCEDURE @extschema@.catch_up() FROM PUBLIC;

CREATE FUNCTION @extschema@.check_primary() RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE
    AS 'MODULE_PATHNAME', 'notify_stats_check_primary';
COMMENT ON FUNCTION @extschema@.check_primary() IS
    'fails on a standby; called by pause() and resume()';
REVOKE ALL ON FUNCTION @extschema@.check_primary() FROM PUBLIC;

CREATE FUNCTION @extschema@.pause() RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT @extschema@.check_primary();
          UPDATE @extschema@.control SET paused = true $$;
COMMENT ON FUNCTION @extschema@.pause() IS
    'stops applying changes after the current cycle; the slot retains WAL until resume()';
REVOKE ALL ON FUNCTION @extschema@.pause() FROM PUBLIC;

CREATE FUNCTION @extschema@.resume() RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT @extschema@.check_primary();
          UPDATE @extschema@.control SET paused = false;
          UPDATE @extschema@.stream SET upgrade_from = NULL WHERE upgrade_from IS NOT NULL $$;
COMMENT ON FUNCTION @extschema@.resume() IS
    'resumes applying changes after pause() or prepare_upgrade()';
REVOKE ALL ON FUNCTION @extschema@.resume() FROM PUBLIC;

CREATE FUNCTION @extschema@.recreate_slot(forget_deleted boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_recreate_slot';
COMMENT ON FUNCTION @extschema@.recreate_slot(boolean) IS
    'requests that the replication slot is dropped and created again with the output plugin that notify_stats.format names, and that all live rollups are rebuilt; forget_deleted => true is needed if one of them has ignore_deletes, as the deleted rows cannot be counted again';
REVOKE ALL ON FUNCTION @extschema@.recreate_slot(boolean) FROM PUBLIC;

CREATE PROCEDURE @extschema@.prepare_upgrade()
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'notify_stats_prepare_upgrade';
COMMENT ON PROCEDURE @extschema@.prepare_upgrade() IS
    'applies all changes and advances the slot so that pg_upgrade can migrate it; then no changes are applied until the server is upgraded, or until resume()';
REVOKE ALL ON PROCEDURE @extschema@.prepare_upgrade() FROM PUBLIC;


-- Recording DDL on sources

CREATE FUNCTION @extschema@.note_ddl() RETURNS event_trigger
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'notify_stats_note_ddl';
COMMENT ON FUNCTION @extschema@.note_ddl() IS
    'records DDL on a source table, or on a type of its columns, that prevents the decoding of unread changes';
REVOKE ALL ON FUNCTION @extschema@.note_ddl() FROM PUBLIC;

CREATE EVENT TRIGGER notify_stats_ddl ON ddl_command_end
    EXECUTE FUNCTION @extschema@.note_ddl();
ALTER EVENT TRIGGER notify_stats_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER notify_stats_ddl IS
    'records DDL on the source tables of rollups';

-- runs as the user who has altered the owner, whose privileges it needs
CREATE FUNCTION @extschema@.follow_owner() RETURNS event_trigger
    LANGUAGE c SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'notify_stats_follow_owner';
COMMENT ON FUNCTION @extschema@.follow_owner() IS
    'gives the cores and definitions of a computed rollup to the new owner of its view';
REVOKE ALL ON FUNCTION @extschema@.follow_owner() FROM PUBLIC;

CREATE EVENT TRIGGER notify_stats_owner ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER VIEW')
    EXECUTE FUNCTION @extschema@.follow_owner();
ALTER EVENT TRIGGER notify_stats_owner ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER notify_stats_owner IS
    'gives the cores and definitions of a computed rollup to the new owner of its view';

-- runs as the user who has replaced the view
CREATE FUNCTION @extschema@.check_view() RETURNS event_trigger
    LANGUAGE c SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'notify_stats_check_view';
COMMENT ON FUNCTION @extschema@.check_view() IS
    'fails if a definition was replaced by one that cannot be maintained, or a view of a computed rollup was replaced';
REVOKE ALL ON FUNCTION @extschema@.check_view() FROM PUBLIC;

CREATE EVENT TRIGGER notify_stats_view ON ddl_command_end
    WHEN TAG IN ('CREATE VIEW')
    EXECUTE FUNCTION @extschema@.check_view();
ALTER EVENT TRIGGER notify_stats_view ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER notify_stats_view IS
    'checks the definitions of rollups that are replaced';

CREATE FUNCTION @extschema@.report_drop() RETURNS event_trigger
    LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'notify_stats_report_drop';
COMMENT ON FUNCTION @extschema@.report_drop() IS
    'reports by a NOTICE that a dropped table or view was a rollup';
REVOKE ALL ON FUNCTION @extschema@.report_drop() FROM PUBLIC;

CREATE EVENT TRIGGER notify_stats_drop ON sql_drop
    EXECUTE FUNCTION @extschema@.report_drop();
ALTER EVENT TRIGGER notify_stats_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER notify_stats_drop IS
    'reports that a dropped table or view was a rollup';


-- Monitoring

CREATE FUNCTION @extschema@.stream_activity(
        OUT preloaded boolean, OUT worker_registered boolean, OUT state text, OUT pid int,
        OUT reached_lsn pg_lsn, OUT reached_at timestamptz, OUT changes_per_second float8,
        OUT last_error text, OUT last_error_at timestamptz, OUT waits_for_relation regclass,
        OUT backlog_bytes_per_second float8, OUT slot_user int, OUT worker_listed boolean,
        OUT changes_total bigint, OUT transactions_total bigint, OUT cycles_total bigint, OUT errors_total bigint,
        OUT wal_bytes_total bigint, OUT cpu_seconds_total float8, OUT stats_reset timestamptz) RETURNS record
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'notify_stats_stream_activity';
COMMENT ON FUNCTION @extschema@.stream_activity() IS
    'returns the state of the main stream from shared memory, to members of pg_monitor; see the view status';

CREATE FUNCTION @extschema@.build_activity(
        OUT rollup regclass, OUT pid int, OUT verifying boolean, OUT slot_name name, OUT phase text,
        OUT waits_for_xid xid, OUT reached_lsn pg_lsn, OUT started_at timestamptz) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 2
    AS 'MODULE_PATHNAME', 'notify_stats_build_activity';
COMMENT ON FUNCTION @extschema@.build_activity() IS
    'returns the running builds and verifications from shared memory, to the owner of the rollup and members of pg_monitor; see the views status and rollups';

CREATE FUNCTION @extschema@.catch_up_activity(
        OUT pid int, OUT is_leader boolean, OUT state text,
        OUT start_lsn pg_lsn, OUT end_lsn pg_lsn, OUT read_lsn pg_lsn) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 2
    AS 'MODULE_PATHNAME', 'notify_stats_catch_up_activity';
COMMENT ON FUNCTION @extschema@.catch_up_activity() IS
    'returns the processes that read a backlog together from shared memory, to members of pg_monitor; see the view catch_up_progress';

CREATE FUNCTION @extschema@.display_name(rollup regclass) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 1
    RETURN (SELECT coalesce((SELECT format('%s (core %s)', c.rollup, $1)
                             FROM @extschema@.computed_rollup c JOIN pg_class v ON v.oid = c.rollup
                             WHERE $1 = ANY (c.cores) LIMIT 1), $1::text));
COMMENT ON FUNCTION @extschema@.display_name(regclass) IS
    'returns the name of a rollup; for a core also that of its view; see the views status and rollups';

CREATE FUNCTION @extschema@.ignored_by(rollups regclass[]) RETURNS regclass[]
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 1
    RETURN (SELECT coalesce(array_agg(DISTINCT i), '{}')
            FROM @extschema@.rollup r, unnest(r.ignore_deletes) i WHERE r.rollup = ANY ($1));
COMMENT ON FUNCTION @extschema@.ignored_by(regclass[]) IS
    'returns the tables whose deleted rows are still counted by one of these rollups, in order; see the view rollups';

CREATE FUNCTION @extschema@.worst_part(rollup regclass) RETURNS regclass
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 1
    RETURN (SELECT r.rollup FROM @extschema@.rollup r
            WHERE r.rollup = ANY (coalesce((SELECT c.cores FROM @extschema@.computed_rollup c WHERE c.rollup = $1), ARRAY[$1]))
            ORDER BY array_position('{failed, stale, building, live}', r.state), r.rollup LIMIT 1);
COMMENT ON FUNCTION @extschema@.worst_part(regclass) IS
    'returns a rollup, or the one of its cores with the worst state; see the view rollups';

CREATE FUNCTION @extschema@.is_successor(rollup regclass) RETURNS boolean
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 1
    RETURN EXISTS (SELECT FROM @extschema@.replacement x WHERE x.successor = $1);
COMMENT ON FUNCTION @extschema@.is_successor(regclass) IS
    'returns whether a rollup is the new form of another one, which it will replace; see the view rollups';

-- These are functions, declared with a low cost.  If their queries were part of the view, the planner's
-- cost estimate would be so high that the view would be compiled by JIT, which takes seconds.

CREATE FUNCTION @extschema@.transaction_name(xid) RETURNS text
    LANGUAGE sql VOLATILE STRICT PARALLEL SAFE COST 1
    RETURN (SELECT coalesce((SELECT 'prepared transaction ' || quote_literal(x.gid) FROM pg_prepared_xacts x
                             WHERE x.transaction = $1),
                            'transaction ' || $1::text));
COMMENT ON FUNCTION @extschema@.transaction_name(xid) IS
    'returns a description of a transaction; see the view status';

-- pg_blocking_pids() returns 0 for a prepared transaction.
CREATE FUNCTION @extschema@.blocked_by(pid int) RETURNS text
    LANGUAGE sql VOLATILE PARALLEL SAFE COST 1
    RETURN (SELECT string_agg(b.owner, ', ')
            FROM (SELECT 'process ' || blocker FROM unnest(pg_blocking_pids($1)) blocker WHERE blocker <> 0
                  UNION
                  SELECT 'prepared transaction ' || quote_literal(x.gid)
                      FROM pg_locks w
                           JOIN pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype AND
                               (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid,
                                h.classid, h.objid, h.objsubid) IS NOT DISTINCT FROM
                               (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid,
                                w.classid, w.objid, w.objsubid)
                           -- it holds the lock of its own xid as well
                           JOIN pg_locks t ON t.pid IS NULL AND t.virtualtransaction = h.virtualtransaction AND
                               t.locktype = 'transactionid' AND t.granted
                           JOIN pg_prepared_xacts x ON x.transaction = t.transactionid
                      WHERE w.pid = $1 AND NOT w.granted) b (owner));
COMMENT ON FUNCTION @extschema@.blocked_by(int) IS
    'returns the processes and prepared transactions that a process waits for; see the view status';

CREATE FUNCTION @extschema@.late_standbys(slot name, lsn pg_lsn) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT string_agg(format('replication slot %I in synchronized_standby_slots, which %s', n.name,
                             CASE WHEN t.slot_name IS NULL THEN 'does not exist'
                                  WHEN t.slot_type <> 'physical' THEN 'is not a physical slot'
                                  WHEN t.wal_status = 'lost' THEN 'was invalidated'
                                  WHEN NOT t.active THEN 'is not in use by a standby'
                                  ELSE 'is behind' END), '; ')
        FROM pg_replication_slots p
             CROSS JOIN unnest(string_to_array(current_setting('synchronized_standby_slots', true), ',')) l (item)
             CROSS JOIN trim(BOTH ' "' FROM l.item) n (name)
             LEFT JOIN pg_replication_slots t ON t.slot_name = n.name
        -- failover is a column since 17
        WHERE p.slot_name = $1 AND (to_jsonb(p) ->> 'failover')::boolean AND p.confirmed_flush_lsn < $2 AND
              (t.slot_type = 'physical' AND t.active AND $2 - t.restart_lsn < 1024 * 1024) IS NOT TRUE
    $$;
COMMENT ON FUNCTION @extschema@.late_standbys(name, pg_lsn) IS
    'returns the standby slots because of which a failover slot cannot be advanced to a position, if they are missing or far behind';

-- The planner assumes that a table that was never analyzed has ten full pages of rows.  So
-- stream and control, which have one row, have a LIMIT 1 where they are joined to other
-- tables, and functions that return a few rows are declared with ROWS.  Otherwise the planner
-- would expect millions of rows and use JIT, which takes a hundred times as long as the query.
CREATE VIEW @extschema@.status WITH (security_barrier) AS
    SELECT 'main' AS stream,
           CASE WHEN NOT a.preloaded THEN 'not preloaded'
                WHEN c.paused THEN 'paused'
                WHEN s.upgrade_from IS NOT NULL THEN 'left for upgrade'
                -- with '*', a worker starts with the first rollup
                WHEN a.state = 'off' AND a.worker_registered AND NOT pg_catalog.pg_is_in_recovery() AND
                     NOT EXISTS (SELECT FROM @extschema@.rollup) THEN 'no rollups'
                ELSE a.state END AS state,
           a.pid,
           s.slot_name,
           s.format,
           s.applied_lsn,
           greatest(a.reached_lsn, s.applied_lsn) AS reached_lsn,
           greatest(w.flushed - greatest(a.reached_lsn, s.applied_lsn), 0)::bigint AS lag_bytes,
           CASE WHEN w.flushed <= greatest(a.reached_lsn, s.applied_lsn) THEN 0
                ELSE extract(epoch FROM clock_timestamp() - coalesce(a.reached_at, s.applied_at))
           END::float8 AS lag_seconds,
           CASE WHEN w.flushed <= greatest(a.reached_lsn, s.applied_lsn) THEN 0
                ELSE (w.flushed - greatest(a.reached_lsn, s.applied_lsn))::float8 / a.backlog_bytes_per_second
           END AS remaining_seconds,
           (w.flushed - p.restart_lsn)::bigint AS retained_bytes,
           (w.flushed - p.confirmed_flush_lsn)::bigint AS unconfirmed_bytes,
           p.wal_status,
           p.safe_wal_size,
           age(p.catalog_xmin) AS catalog_xmin_age,
           n.confirmed_flush_lsn AS window_lsn,
           (w.flushed - n.restart_lsn)::bigint AS window_bytes,
           a.changes_per_second,
           (SELECT count(*) FROM @extschema@.catch_up_activity())::int AS catch_up_processes,
           a.last_error,
           a.last_error_at,
           CASE WHEN c.paused OR s.upgrade_from IS NOT NULL THEN 'resume()'
                WHEN a.worker_listed AND NOT a.worker_registered THEN 'a worker: max_worker_processes is too low'
                WHEN a.preloaded AND NOT a.worker_registered THEN 'a worker: the database is not in notify_stats.database'
                WHEN a.waits_for_relation IS NOT NULL THEN
                    'a lock on ' || a.waits_for_relation::text
                WHEN a.slot_user IS NOT NULL THEN
                    'process ' || a.slot_user || ', which has the replication slot open'
                WHEN act.wait_event_type = 'Lock' THEN @extschema@.blocked_by(a.pid)
                ELSE @extschema@.late_standbys(s.slot_name, s.applied_lsn) COLLATE "default"
           END AS waits_for,
           h.transaction AS held_back_by,
           a.changes_total,
           a.transactions_total,
           a.cycles_total,
           a.errors_total,
           a.wal_bytes_total,
           a.cpu_seconds_total,
           a.stats_reset
    FROM (SELECT * FROM @extschema@.stream LIMIT 1) s
         CROSS JOIN (SELECT * FROM @extschema@.control LIMIT 1) c
         CROSS JOIN @extschema@.stream_activity() a
         CROSS JOIN (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                                 ELSE pg_catalog.pg_current_wal_flush_lsn() END AS flushed) w
         LEFT JOIN pg_catalog.pg_replication_slots p
             ON p.slot_name = s.slot_name AND p.database = pg_catalog.current_database()
         LEFT JOIN pg_catalog.pg_replication_slots n
             ON n.slot_name = s.slot_name || '_window' AND n.database = pg_catalog.current_database() AND
                n.wal_status <> 'lost'
         LEFT JOIN pg_catalog.pg_stat_activity act ON act.pid = a.pid
         LEFT JOIN LATERAL (
             SELECT format('transaction %s of %s, open since %s', t.xid, t.owner, t.since) AS transaction
             FROM (SELECT backend_xid AS xid, 'process ' || pid AS owner, xact_start AS since
                       FROM pg_catalog.pg_stat_activity
                       WHERE backend_xid IS NOT NULL AND pid IS DISTINCT FROM a.pid
                   UNION ALL
                   SELECT transaction, 'prepared transaction ' || quote_literal(gid), prepared
                       FROM pg_catalog.pg_prepared_xacts) t
             WHERE t.since < clock_timestamp() - interval '1 second'
             ORDER BY age(t.xid) DESC
             LIMIT 1) h ON greatest(a.reached_lsn, s.applied_lsn) - p.restart_lsn > 1024 * 1024
    WHERE pg_has_role('pg_monitor', 'USAGE')
    UNION ALL
    SELECT CASE WHEN b.verifying THEN 'verify ' ELSE 'build ' END || @extschema@.display_name(b.rollup),
           b.phase,
           b.pid,
           b.slot_name,
           s.format,
           NULL,
           b.reached_lsn,
           (pg_catalog.pg_current_wal_flush_lsn() - b.reached_lsn)::bigint,
           NULL,
           NULL,
           (pg_catalog.pg_current_wal_flush_lsn() - p.restart_lsn)::bigint,
           (pg_catalog.pg_current_wal_flush_lsn() - p.confirmed_flush_lsn)::bigint,
           p.wal_status,
           p.safe_wal_size,
           age(p.catalog_xmin),
           NULL,
           NULL,
           NULL,
           NULL,
           NULL,
           NULL,
           @extschema@.transaction_name(b.waits_for_xid),
           NULL,
           NULL,
           NULL,
           NULL,
           NULL,
           NULL,
           NULL,
           NULL
    FROM @extschema@.build_activity() b
         CROSS JOIN (SELECT * FROM @extschema@.stream LIMIT 1) s
         LEFT JOIN pg_catalog.pg_replication_slots p ON p.slot_name = b.slot_name;
COMMENT ON VIEW @extschema@.status IS
    'one row per stream: the main stream, and the streams of running builds and verifications; roles that are not members of pg_monitor see builds of their own rollups only';
COMMENT ON COLUMN @extschema@.status.stream IS
    'main, or the rollup that is being built or verified';
COMMENT ON COLUMN @extschema@.status.state IS
    'state of the main stream: running, no rollups, creating slot, paused, left for upgrade (after prepare_upgrade()), starting, off or not preloaded; for a build: its phase';
COMMENT ON COLUMN @extschema@.status.pid IS
    'process ID of the process that reads the stream';
COMMENT ON COLUMN @extschema@.status.slot_name IS
    'name of the logical replication slot';
COMMENT ON COLUMN @extschema@.status.format IS
    'format of the output of the slot''s plugin: notify_stats, pgoutput or wal2json';
COMMENT ON COLUMN @extschema@.status.applied_lsn IS
    'position up to which the rollups contain every transaction';
COMMENT ON COLUMN @extschema@.status.reached_lsn IS
    'position up to which WAL was read; there are no changes for any rollup between applied_lsn and this position';
COMMENT ON COLUMN @extschema@.status.lag_bytes IS
    'amount of WAL on disk after reached_lsn';
COMMENT ON COLUMN @extschema@.status.lag_seconds IS
    'age of reached_lsn if there is more WAL to read, otherwise 0';
COMMENT ON COLUMN @extschema@.status.remaining_seconds IS
    'estimated time to read the rest of a backlog at the current rate of all processes, in seconds; NULL if the rate is not known yet';
COMMENT ON COLUMN @extschema@.status.retained_bytes IS
    'amount of WAL that the slot retains';
COMMENT ON COLUMN @extschema@.status.unconfirmed_bytes IS
    'amount of WAL on disk after the confirmed position of the slot; the rest of the retained WAL is needed for open transactions';
COMMENT ON COLUMN @extschema@.status.wal_status IS
    'availability of WAL for the slot, as in pg_replication_slots';
COMMENT ON COLUMN @extschema@.status.safe_wal_size IS
    'amount of WAL that can be written before the slot is in danger of being lost; NULL without max_slot_wal_keep_size';
COMMENT ON COLUMN @extschema@.status.catalog_xmin_age IS
    'age, in transactions, of the oldest transaction whose system catalog rows VACUUM must retain for the slot';
COMMENT ON COLUMN @extschema@.status.window_lsn IS
    'position after which applied WAL can still be read (notify_stats.resumable_wal_window); NULL without a window';
COMMENT ON COLUMN @extschema@.status.window_bytes IS
    'amount of WAL that the slot of the window retains';
COMMENT ON COLUMN @extschema@.status.changes_per_second IS
    'rate of row changes that are relevant for a rollup, over the last seconds';
COMMENT ON COLUMN @extschema@.status.catch_up_processes IS
    'number of processes that read a backlog together, as in the view catch_up_progress; 0 if one process reads';
COMMENT ON COLUMN @extschema@.status.last_error IS
    'last error of a cycle or build since the server started, with the rollup concerned; errors of dropped rollups are not shown';
COMMENT ON COLUMN @extschema@.status.last_error_at IS
    'time of the last error';
COMMENT ON COLUMN @extschema@.status.waits_for IS
    'lock, process, slot or function call that the stream waits for; NULL if it does not wait';
COMMENT ON COLUMN @extschema@.status.held_back_by IS
    'the oldest open transaction, if the slot retains more than 1 MB because of it; with pgoutput and wal2json, each cycle reads that WAL again';
COMMENT ON COLUMN @extschema@.status.changes_total IS
    'number of row changes that were applied to rollups since stats_reset';
COMMENT ON COLUMN @extschema@.status.transactions_total IS
    'number of transactions with such changes since stats_reset';
COMMENT ON COLUMN @extschema@.status.cycles_total IS
    'number of cycles since stats_reset; a cycle reads new WAL and applies the changes in it';
COMMENT ON COLUMN @extschema@.status.errors_total IS
    'number of errors of cycles and builds since stats_reset';
COMMENT ON COLUMN @extschema@.status.wal_bytes_total IS
    'amount of WAL that the processes of notify_stats have written since stats_reset';
COMMENT ON COLUMN @extschema@.status.cpu_seconds_total IS
    'CPU time that the processes of notify_stats have used since stats_reset, in seconds';
COMMENT ON COLUMN @extschema@.status.stats_reset IS
    'time since which the columns that end in _total count: the first use after the last start of the server';

CREATE VIEW @extschema@.catch_up_progress WITH (security_barrier) AS
    SELECT a.pid, a.is_leader, a.state, a.start_lsn, a.end_lsn, a.read_lsn
    FROM @extschema@.catch_up_activity() a;
COMMENT ON VIEW @extschema@.catch_up_progress IS
    'one row per process that reads a large backlog together with others, with the part that it reads, its window; for members of pg_monitor';
COMMENT ON COLUMN @extschema@.catch_up_progress.pid IS
    'process ID';
COMMENT ON COLUMN @extschema@.catch_up_progress.is_leader IS
    'whether it is the worker, or the session that runs catch_up(), for which the others read';
COMMENT ON COLUMN @extschema@.catch_up_progress.state IS
    'reading, waiting for its turn (until all WAL before the window is applied), applying or between windows';
COMMENT ON COLUMN @extschema@.catch_up_progress.start_lsn IS
    'position where the window begins';
COMMENT ON COLUMN @extschema@.catch_up_progress.end_lsn IS
    'position where the window ends';
COMMENT ON COLUMN @extschema@.catch_up_progress.read_lsn IS
    'position up to which the window was read';

-- The state of a rollup remains live until the worker has seen that it is not exact.  There may be
-- no worker, as in a copy of a database.
CREATE FUNCTION @extschema@.loss_reason() RETURNS text
    LANGUAGE sql VOLATILE PARALLEL SAFE COST 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN s.slot_name IS NULL THEN 'restored from a dump'
                      ELSE format('there is no replication slot %I of this database', s.slot_name) END
          FROM @extschema@.stream s
          WHERE NOT pg_is_in_recovery() AND
                NOT EXISTS (SELECT FROM pg_replication_slots p
                            WHERE p.slot_name = s.slot_name AND p.database = current_database()) $$;
COMMENT ON FUNCTION @extschema@.loss_reason() IS
    'returns the reason why no rollup of this database can be live, if the replication slot is missing; otherwise NULL';

-- A subscription writes a source, a partition of it, or a table that the source is a partition
-- of.  Most databases have no subscription, and then the loops begin with no row.
CREATE FUNCTION @extschema@.fed_tables(
        OUT rollup regclass, OUT relid regclass, OUT subscription oid, OUT state "char") RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE COST 1 ROWS 2 SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    WITH RECURSIVE below AS (
        SELECT srsubid, srrelid, srsubstate, srrelid AS part FROM pg_subscription_rel
        UNION
        SELECT b.srsubid, b.srrelid, b.srsubstate, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.part
    ), above AS (
        SELECT srsubid, srrelid, srsubstate, srrelid AS part FROM pg_subscription_rel
        UNION
        SELECT a.srsubid, a.srrelid, a.srsubstate, i.inhparent FROM above a JOIN pg_inherits i ON i.inhrelid = a.part
    )
    SELECT DISTINCT s.rollup, t.srrelid::regclass, t.srsubid, t.srsubstate
    FROM (TABLE below UNION TABLE above) t
         JOIN @extschema@.rollup_source s ON s.source = t.part
         JOIN @extschema@.rollup r ON r.rollup = s.rollup
    $$;
COMMENT ON FUNCTION @extschema@.fed_tables() IS
    'returns the tables that subscriptions write and that rollups count, with srsubstate of pg_subscription_rel; see check()';

CREATE FUNCTION @extschema@.subscription_problem(subscription oid) RETURNS text
    LANGUAGE sql VOLATILE STRICT PARALLEL SAFE COST 1
    RETURN (SELECT p.problem ||
                   CASE WHEN e.errors > 0 THEN format(' (errors: %s)', e.errors) ELSE '' END
            FROM pg_subscription s
                 LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL
                 LEFT JOIN pg_stat_activity a ON a.pid = w.pid
                 -- the counters differ between versions; those of conflicts are new in 18
                 CROSS JOIN LATERAL (SELECT coalesce(sum(c.value::bigint) FILTER (WHERE c.key ~ 'error_count$'), 0) AS errors,
                                            coalesce(sum(c.value::bigint) FILTER (WHERE c.key ~ '^confl_.*_missing$'), 0) AS missing
                                     FROM pg_stat_subscription_stats t CROSS JOIN jsonb_each_text(to_jsonb(t)) c
                                     WHERE t.subid = s.oid AND c.key ~ '^confl_|_count$') e
                 CROSS JOIN LATERAL (SELECT CASE
                     WHEN NOT s.subenabled THEN format('subscription %I is disabled', s.subname)
                     WHEN w.pid IS NULL THEN format('subscription %I has no apply worker', s.subname)
                     WHEN a.wait_event_type = 'Lock' THEN
                         format('the apply worker of subscription %I waits for %s', s.subname, @extschema@.blocked_by(w.pid))
                     -- one that fails is started again every few seconds, and may run when we look
                     WHEN e.errors > 0 AND (a.pid IS NULL OR a.backend_start > clock_timestamp() - interval '1 minute') THEN
                         format('the apply worker of subscription %I was started less than a minute ago, after errors', s.subname)
                     WHEN e.missing > 0 THEN
                         format('subscription %I did not find %s rows that it was to update or delete', s.subname, e.missing)
                     END) p (problem)
            -- since 16, workers that apply in parallel have a leader
            WHERE s.oid = $1 ORDER BY to_jsonb(w) ->> 'leader_pid' NULLS FIRST LIMIT 1);
COMMENT ON FUNCTION @extschema@.subscription_problem(oid) IS
    'returns the reason why a subscription applies no changes, or may fail again, with the numbers of its errors; NULL if it works';

-- The path makes names look as in check().
CREATE FUNCTION @extschema@.subscription_problems(OUT rollup regclass, OUT problem text) RETURNS SETOF record
    LANGUAGE sql VOLATILE PARALLEL SAFE COST 1 ROWS 2 SET search_path = pg_catalog, pg_temp
    BEGIN ATOMIC
    SELECT p.rollup, string_agg(p.problem, '; ' ORDER BY p.problem)
    FROM (SELECT DISTINCT f.rollup, @extschema@.subscription_problem(f.subscription) AS problem FROM @extschema@.fed_tables() f
          UNION
          SELECT f.rollup, format('table %s is not synchronized', f.relid) FROM @extschema@.fed_tables() f
          WHERE f.state <> 'r') p
    WHERE p.problem IS NOT NULL AND NOT pg_is_in_recovery()
    GROUP BY p.rollup;
    END;
COMMENT ON FUNCTION @extschema@.subscription_problems() IS
    'returns the problems of the subscriptions that write the sources of each rollup; see the view rollups';

-- Cores are not listed.  The row of their view shows the worst of them.
CREATE VIEW @extschema@.rollups WITH (security_barrier) AS
    SELECT p.rollup,
           p.definition,
           p.ignore_deletes,
           (array_agg(p.state ORDER BY p.rank, p.part))[1] AS state,
           (array_agg(CASE WHEN cardinality(p.cores) > 1 THEN p.part::text || ': ' || p.reason ELSE p.reason END
                      ORDER BY p.rank, p.part))[1] AS reason,
           (array_agg(p.reason_lsn ORDER BY p.rank, p.part))[1] AS reason_lsn,
           CASE WHEN bool_and(p.applied_lsn IS NOT NULL) THEN min(p.applied_lsn) END AS applied_lsn,
           (array_agg(b.phase ORDER BY b.started_at))[1] AS build_phase,
           min(b.started_at) AS build_started_at,
           sum(CASE WHEN t.reltuples >= 0 THEN t.reltuples::bigint END)::bigint AS groups,
           CASE WHEN bool_and(p.built_at IS NOT NULL) THEN min(p.built_at) END AS built_at,
           max(p.changed_at) AS changed_at,
           p.cores,
           min(CASE WHEN x.successor IS NULL THEN 'given up: ' || x.reason
                    ELSE y.state || coalesce(': ' || z.reason, '') END) AS replacement,
           min(f.problem) AS subscription_problem
    FROM (SELECT coalesce(u.rollup, r.rollup) AS rollup,
                 coalesce(u.definition, r.definition) AS definition,
                 coalesce(u.cores, '{}') AS cores,
                 r.rollup AS part,
                 CASE WHEN u.rollup IS NULL THEN r.ignore_deletes ELSE @extschema@.ignored_by(u.cores) END AS ignore_deletes,
                 s.state,
                 array_position('{failed, stale, building, live}', s.state) AS rank,
                 coalesce(d.reason, v.reason) AS reason,
                 v.reason_lsn, v.built_at, v.changed_at,
                 CASE s.state WHEN 'live' THEN (SELECT m.applied_lsn FROM @extschema@.stream m) ELSE v.applied_lsn END AS applied_lsn
          FROM @extschema@.rollup r
               JOIN pg_catalog.pg_class w ON w.oid = r.definition
               LEFT JOIN (SELECT c.rollup, c.definition, c.cores, core
                          FROM @extschema@.computed_rollup c JOIN pg_catalog.pg_class o ON o.oid = c.rollup
                               CROSS JOIN unnest(c.cores) core) u ON u.core = r.rollup
               LEFT JOIN @extschema@.rollup_activity v ON v.rollup = r.rollup
               CROSS JOIN LATERAL (SELECT CASE WHEN r.state = 'live' THEN @extschema@.loss_reason() END) d (reason)
               CROSS JOIN LATERAL (SELECT CASE WHEN d.reason IS NOT NULL THEN 'stale' ELSE r.state END) s (state)) p
         JOIN pg_catalog.pg_class c ON c.oid = p.rollup
         JOIN pg_catalog.pg_class t ON t.oid = p.part
         LEFT JOIN @extschema@.build_activity() b ON b.rollup = p.part AND NOT b.verifying
         LEFT JOIN @extschema@.subscription_problems() f ON f.rollup = p.part
         LEFT JOIN @extschema@.replacement x ON x.rollup = p.rollup
         LEFT JOIN @extschema@.rollup y ON y.rollup = @extschema@.worst_part(x.successor)
         LEFT JOIN @extschema@.rollup_activity z ON z.rollup = y.rollup
    WHERE (pg_has_role(c.relowner, 'USAGE') OR pg_has_role('pg_monitor', 'USAGE')) AND
          @extschema@.is_successor(p.rollup) IS NOT TRUE
    GROUP BY p.rollup, p.definition, p.ignore_deletes, p.cores;
COMMENT ON VIEW @extschema@.rollups IS
    'one row per rollup, visible to its owner and to members of pg_monitor';
COMMENT ON COLUMN @extschema@.rollups.rollup IS
    'the table, or the view of a computed rollup';
COMMENT ON COLUMN @extschema@.rollups.definition IS
    'the view whose result the rollup shows';
COMMENT ON COLUMN @extschema@.rollups.ignore_deletes IS
    'the tables whose rows are still counted after they were deleted';
COMMENT ON COLUMN @extschema@.rollups.state IS
    'building, live, stale or failed; of several cores, the worst: failed, stale, building, live';
COMMENT ON COLUMN @extschema@.rollups.reason IS
    'reason why the rollup is stale or failed; if it has several cores, with the name of the core';
COMMENT ON COLUMN @extschema@.rollups.reason_lsn IS
    'WAL position at which the rollup became stale or failed, if known';
COMMENT ON COLUMN @extschema@.rollups.applied_lsn IS
    'position up to which the rollup contains every transaction, and none after it; of several cores, the first; NULL if there is none, as during a build or after changes were lost';
COMMENT ON COLUMN @extschema@.rollups.build_phase IS
    'phase of a running build';
COMMENT ON COLUMN @extschema@.rollups.build_started_at IS
    'time at which the running build started';
COMMENT ON COLUMN @extschema@.rollups.groups IS
    'number of rows of the table, or of all cores, as estimated by the last VACUUM or ANALYZE';
COMMENT ON COLUMN @extschema@.rollups.built_at IS
    'time at which the table, or the first of the cores, was last filled or rebuilt';
COMMENT ON COLUMN @extschema@.rollups.changed_at IS
    'time at which changes were last applied, with a precision of one second';
COMMENT ON COLUMN @extschema@.rollups.cores IS
    'the tables that a computed rollup is a view over; empty for a rollup that is a table';
COMMENT ON COLUMN @extschema@.rollups.replacement IS
    'after alter_rollup(): state of the new form that is built beside the rollup, the worst of its parts; or why the replacement was given up';
COMMENT ON COLUMN @extschema@.rollups.subscription_problem IS
    'reason why the sources do not receive all changes of their publisher: a subscription that does not work, or a table that is not synchronized; NULL if they do, or no subscription writes them';

CREATE FUNCTION @extschema@.source_gaps(
        OUT rollup regclass, OUT source regclass, OUT missing text, OUT refusal text, OUT hint text) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 2
    AS 'MODULE_PATHNAME', 'notify_stats_source_gaps';
COMMENT ON FUNCTION @extschema@.source_gaps() IS
    'returns the source tables whose replica identity does not cover the columns that a rollup reads, or prevents updates and deletes, with a hint';
REVOKE ALL ON FUNCTION @extschema@.source_gaps() FROM PUBLIC;

CREATE FUNCTION @extschema@.computed_gaps(OUT detail text, OUT hint text) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL SAFE COST 1 ROWS 2 SET search_path = pg_catalog, pg_temp
    AS $$
    WITH computed AS (
        SELECT u.rollup, u.definition, u.cores, v.relowner AS owner
        FROM @extschema@.computed_rollup u JOIN pg_class v ON v.oid = u.rollup
    ), part AS (
        SELECT u.rollup, u.owner, u.definition::oid AS relid FROM computed u
        UNION ALL
        SELECT u.rollup, u.owner, part
        FROM computed u JOIN @extschema@.rollup r ON r.rollup = ANY (u.cores)
             CROSS JOIN unnest(ARRAY[r.rollup, r.definition]::oid[]) part
    ), read AS (
        -- the columns that the view reads; 0 is the relation itself
        SELECT u.rollup, u.owner, c.oid AS relid,
               bool_and(CASE WHEN d.refobjsubid > 0
                             THEN has_column_privilege(u.owner, c.oid, d.refobjsubid::smallint, 'SELECT')
                             ELSE has_any_column_privilege(u.owner, c.oid, 'SELECT') END) AS allowed
        FROM computed u
             JOIN pg_rewrite w ON w.ev_class = u.rollup
             JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND
                                 d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
             JOIN pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'v', 'm', 'f', 'p')
        WHERE c.oid <> ALL (u.cores::oid[]) OR c.relowner = u.owner
        GROUP BY u.rollup, u.owner, c.oid
    )
    SELECT format('rollup %s has lost its core %s', u.rollup, core),
           format('Drop the rollup and create it again. To drop it, run: SELECT notify_stats.drop_rollup(%L);', u.rollup::text)
        FROM computed u CROSS JOIN unnest(u.cores) core
        WHERE NOT EXISTS (SELECT FROM @extschema@.rollup r JOIN pg_class c ON c.oid = r.rollup WHERE r.rollup = core)
    UNION ALL
    SELECT format('rollup %s and %s have different owners', p.rollup, c.oid::regclass),
           format('Run: ALTER VIEW %s OWNER TO %s;', p.rollup, p.owner::regrole)
        FROM part p JOIN pg_class c ON c.oid = p.relid
        WHERE c.relowner <> p.owner
    UNION ALL
    SELECT format('rollup %s cannot be read: its owner may not read %s', r.rollup, r.relid::regclass),
           format('Run: GRANT SELECT ON %s TO %s;', r.relid::regclass, r.owner::regrole)
        FROM read r
        WHERE NOT r.allowed
    UNION ALL
    SELECT format('the view over the cores %s is missing', array_to_string(u.cores, ', ')),
           'The cores are rollups of their own now. Drop those that are not needed with notify_stats.drop_rollup().'
        FROM @extschema@.computed_rollup u
        WHERE NOT EXISTS (SELECT FROM pg_class v WHERE v.oid = u.rollup) AND
              EXISTS (SELECT FROM pg_class c WHERE c.oid = ANY (u.cores::oid[]))
    $$;
COMMENT ON FUNCTION @extschema@.computed_gaps() IS
    'returns the problems of rollups that are views over cores: a missing part, another owner, a lost privilege; with a hint';
REVOKE ALL ON FUNCTION @extschema@.computed_gaps() FROM PUBLIC;

CREATE FUNCTION @extschema@."check"(
        OUT item text, OUT ok boolean, OUT detail text, OUT hint text) RETURNS SETOF record
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    WITH setting AS (
        SELECT current_setting('wal_level') AS wal_level,
               -- since 19; it is logical while a logical slot exists, unless wal_level is minimal
               current_setting('effective_wal_level', true) AS effective_wal_level,
               current_setting('max_replication_slots')::int AS slots,
               (SELECT count(*) FROM pg_replication_slots) AS slots_used,
               current_setting('max_slot_wal_keep_size') AS keep_size,
               current_setting('output_plugin_libraries', true) AS plugins
    ), used AS (
        SELECT count(*) AS processes FROM pg_stat_activity
        WHERE backend_type NOT IN ('client backend', 'walsender', 'checkpointer', 'background writer',
                                   'walwriter', 'archiver', 'startup', 'walreceiver', 'logger',
                                   'autovacuum launcher', 'autovacuum worker', 'io worker',
                                   'slotsync worker', 'walsummarizer')
    ), main AS (
        SELECT * FROM @extschema@.stream LIMIT 1
    ), computed AS MATERIALIZED (
        SELECT u.rollup, u.cores FROM @extschema@.computed_rollup u JOIN pg_class v ON v.oid = u.rollup
    ), left_view AS MATERIALIZED (
        SELECT v.oid AS view, v.definition, @extschema@.left_cores(v.oid) AS cores
        FROM (SELECT v.oid, d.oid AS definition
              FROM pg_class v
                   JOIN pg_class c ON c.relnamespace = v.relnamespace AND c.relname = v.relname || '_core'
                   JOIN pg_class d ON d.relnamespace = v.relnamespace AND d.relname = v.relname || '_definition'
              WHERE v.relkind = 'v' AND c.relkind = 'r' AND d.relkind = 'v' AND
                    v.relowner = c.relowner AND v.relowner = d.relowner AND
                    NOT EXISTS (SELECT FROM @extschema@.computed_rollup u WHERE u.rollup = v.oid)) v
    ), fed AS MATERIALIZED (
        SELECT * FROM @extschema@.fed_tables()
    ), locks AS MATERIALIZED (
        SELECT (SELECT count(*) FROM @extschema@.rollup r, LATERAL (
                    SELECT r.rollup UNION ALL SELECT r.definition UNION ALL
                    SELECT indexrelid FROM pg_index WHERE indrelid = r.rollup) locked) +
               (WITH RECURSIVE source AS (
                    SELECT source AS relid FROM @extschema@.rollup_source
                    UNION
                    SELECT i.inhrelid FROM pg_inherits i JOIN source s ON i.inhparent = s.relid)
                SELECT count(*) FROM source) AS needed,
               current_setting('max_locks_per_transaction')::bigint *
               (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int +
                current_setting('max_worker_processes')::int + current_setting('max_wal_senders')::int +
                coalesce(current_setting('autovacuum_worker_slots', true),
                         current_setting('autovacuum_max_workers'))::int + 1) AS capacity
    )
    SELECT 'preload', a.preloaded,
           CASE WHEN a.preloaded THEN 'the library is preloaded' ELSE 'the library is not preloaded' END,
           CASE WHEN NOT a.preloaded THEN
               'Add notify_stats to shared_preload_libraries in postgresql.conf and restart the server.' END
        FROM @extschema@.stream_activity() a
    UNION ALL
    SELECT 'worker', a.worker_registered,
           CASE WHEN a.worker_registered AND a.pid IS NULL AND NOT EXISTS (SELECT FROM @extschema@.rollup) THEN
                    format('a worker will serve database %I when it has rollups', current_database())
                WHEN a.worker_registered THEN format('a worker serves database %I', current_database())
                WHEN a.worker_listed THEN
                    format('no worker serves database %I: max_worker_processes = %s is too low', current_database(),
                           current_setting('max_worker_processes'))
                ELSE format('no worker serves database %I', current_database()) END,
           CASE WHEN a.worker_registered THEN NULL
                WHEN a.worker_listed THEN
               'Raise max_worker_processes and restart the server, or run CALL notify_stats.catch_up(); regularly.'
                ELSE
               format('Add %s to notify_stats.database in postgresql.conf and reload the configuration, or run CALL notify_stats.catch_up(); regularly.',
                      quote_literal(quote_ident(current_database()))) END
        FROM @extschema@.stream_activity() a
    UNION ALL
    SELECT 'wal_level', l.enough,
           format('wal_level is %s', wal_level) ||
           CASE WHEN effective_wal_level <> wal_level THEN format(', effective_wal_level is %s', effective_wal_level)
                ELSE '' END,
           CASE WHEN NOT l.enough THEN
               format('Set wal_level = %s in postgresql.conf and restart the server.',
                      CASE WHEN effective_wal_level IS NULL THEN 'logical' ELSE 'replica' END) END
        FROM setting, LATERAL (
            SELECT wal_level = 'logical' OR (wal_level = 'replica' AND effective_wal_level IS NOT NULL) AS enough) l
    UNION ALL
    SELECT 'replication slots', slots - slots_used >= CASE WHEN s.slot_name IS NULL THEN 2 ELSE 1 END,
           format('%s of max_replication_slots = %s are in use', slots_used, slots),
           CASE WHEN slots - slots_used < CASE WHEN s.slot_name IS NULL THEN 2 ELSE 1 END THEN
               'Drop unused slots, or raise max_replication_slots and restart the server. notify_stats needs one slot for each database, and one for each build or verification.' END
        FROM setting, main s
    UNION ALL
    SELECT 'worker processes', current_setting('max_worker_processes')::int - u.processes >= 1,
           format('%s of max_worker_processes = %s are in use', u.processes, current_setting('max_worker_processes')),
           CASE WHEN current_setting('max_worker_processes')::int - u.processes < 1 THEN
               'Raise max_worker_processes and restart the server. Each build or verification needs a process.' END
        FROM used u
    UNION ALL
    SELECT 'catch-up processes', p.possible >= n.wanted,
           CASE WHEN n.wanted = 1 THEN 'one process reads a backlog'
                ELSE format('%s of %s processes can read a large backlog', greatest(p.possible, 1), n.wanted) END,
           CASE WHEN p.possible < n.wanted THEN
               format('Raise %s and restart the server, or lower notify_stats.max_catch_up_workers. Each process needs a replication slot, and all but the first need a worker process.',
                      concat_ws(' and ', CASE WHEN p.processes < n.wanted THEN 'max_worker_processes' END,
                                CASE WHEN p.slots < n.wanted THEN 'max_replication_slots' END)) END
        FROM main s CROSS JOIN used u
             CROSS JOIN LATERAL (SELECT CASE WHEN coalesce(s.format, current_setting('notify_stats.format', true)) = 'notify_stats' AND
                                                  current_setting('notify_stats.parallel_backlog', true) <> '0'
                                             THEN current_setting('notify_stats.max_catch_up_workers', true)::int ELSE 1 END AS wanted) n
             -- those of a running catch-up are free
             CROSS JOIN LATERAL (SELECT current_setting('max_replication_slots')::int - count(*) -
                                        CASE WHEN s.slot_name IS NULL THEN 1 ELSE 0 END AS slots
                                 FROM pg_replication_slots
                                 WHERE NOT (temporary AND slot_name ~ '^notify_stats_[0-9]+_[0-9]+$')) r
             CROSS JOIN LATERAL (SELECT current_setting('max_worker_processes')::int - u.processes + count(*) AS processes
                                 FROM pg_stat_activity WHERE backend_type = 'notify_stats catch-up worker') w
             CROSS JOIN LATERAL (SELECT f.slots, f.processes, least(n.wanted, f.slots, f.processes) AS possible
                                 FROM (SELECT CASE WHEN n.wanted = 1 THEN 1 ELSE r.slots END AS slots,
                                              1 + greatest(w.processes, 0) AS processes) f) p
        WHERE current_setting('notify_stats.max_catch_up_workers', true) IS NOT NULL
    UNION ALL
    SELECT 'output plugin', p.allowed,
           CASE WHEN plugins IS NULL THEN 'this server has no list of allowed output plugins'
                WHEN f.plugin = 'notify_stats' THEN 'notify_stats adds its own plugin to output_plugin_libraries for its own calls'
                ELSE format('output_plugin_libraries is %s', plugins) END,
           CASE WHEN NOT p.allowed THEN
               format('Set output_plugin_libraries = ''%s, %s'' in postgresql.conf and reload the configuration.', plugins, f.plugin) END
        FROM setting CROSS JOIN main s
             CROSS JOIN LATERAL (SELECT coalesce(s.format, current_setting('notify_stats.format', true), 'notify_stats')) f (plugin)
             CROSS JOIN LATERAL (SELECT plugins IS NULL OR f.plugin = 'notify_stats' OR
                                        f.plugin = ANY (regexp_split_to_array(plugins, '[ ,"]+'))) p (allowed)
    UNION ALL
    SELECT 'format', s.format = current_setting('notify_stats.format'),
           format('slot %I has the format %s, and notify_stats.format is %s', s.slot_name, s.format, current_setting('notify_stats.format')),
           CASE WHEN s.format <> current_setting('notify_stats.format') THEN
               'Set notify_stats.format to what the slot has, or run: SELECT notify_stats.recreate_slot(); then the worker makes a new one and rebuilds the rollups.' END
        FROM main s
        WHERE s.format IS NOT NULL AND current_setting('notify_stats.format', true) IS NOT NULL
    UNION ALL
    SELECT 'slot', coalesce(p.wal_status, 'none') IN ('reserved', 'extended'),
           CASE WHEN p.slot_name IS NULL THEN format('slot %I is missing', s.slot_name)
                -- the reason is a column since 17
                ELSE format('slot %I is %s%s', p.slot_name, p.wal_status,
                            ' (' || (to_jsonb(p) ->> 'invalidation_reason') || ')') END,
           CASE WHEN to_jsonb(p) ->> 'invalidation_reason' = 'idle_timeout' THEN
               'Raise idle_replication_slot_timeout, or set it to 0. The worker creates a new slot and, if changes were lost, rebuilds the rollups.'
                WHEN coalesce(p.wal_status, 'none') NOT IN ('reserved', 'extended') THEN
               'Raise max_slot_wal_keep_size. Changes were lost or are about to be lost. The worker creates a new slot and rebuilds the rollups.' END
        FROM main s
             LEFT JOIN pg_replication_slots p ON p.slot_name = s.slot_name AND p.database = current_database()
        WHERE s.slot_name IS NOT NULL AND NOT pg_is_in_recovery()
    UNION ALL
    SELECT 'idle slot', a.worker_registered AND NOT c.paused,
           format('idle_replication_slot_timeout is %s', t.timeout),
           CASE WHEN c.paused THEN
               format('Run SELECT notify_stats.resume(); in time, or set idle_replication_slot_timeout = 0. If the pause lasts longer than the timeout, the server invalidates slot %I.', s.slot_name)
                WHEN NOT a.worker_registered THEN
               format('Set idle_replication_slot_timeout = 0. If notify_stats.catch_up() is not run for longer than the timeout, the server invalidates slot %I.', s.slot_name) END
        FROM main s CROSS JOIN (SELECT * FROM @extschema@.control LIMIT 1) c CROSS JOIN @extschema@.stream_activity() a
             CROSS JOIN current_setting('idle_replication_slot_timeout', true) t (timeout)
        WHERE s.slot_name IS NOT NULL AND t.timeout <> '0' AND NOT pg_is_in_recovery()
    UNION ALL
    SELECT 'standby slots', false, format('slot %I waits for %s', s.slot_name, t.late),
           'Start the standbys, create the missing slots, or remove them from synchronized_standby_slots and reload the configuration. Until then, the slot retains WAL.'
        FROM main s CROSS JOIN @extschema@.late_standbys(s.slot_name, s.applied_lsn) t (late)
        WHERE t.late IS NOT NULL
    UNION ALL
    SELECT 'WAL limit', keep_size <> '-1', format('max_slot_wal_keep_size is %s', keep_size),
           CASE WHEN keep_size = '-1' THEN
               'Set max_slot_wal_keep_size to an amount for which the disk has space. Without a limit, the slot retains all WAL if the worker is stopped.' END
        FROM setting
    UNION ALL
    SELECT 'window of WAL', p.slot_name IS NOT NULL AND p.wal_status <> 'lost' AND b.fits,
           CASE WHEN p.slot_name IS NULL THEN format('slot %I is missing', s.slot_name || '_window')
                ELSE format('notify_stats.resumable_wal_window is %s, and slot %I is %s',
                            current_setting('notify_stats.resumable_wal_window'), p.slot_name, p.wal_status) END,
           CASE WHEN NOT b.fits THEN
               'Raise max_slot_wal_keep_size to at least twice notify_stats.resumable_wal_window, or lower the latter. Otherwise the server may invalidate the slot of the window.'
                WHEN p.slot_name IS NULL OR p.wal_status = 'lost' THEN
               'The worker creates the slot if at least two replication slots are free. If they are not, drop unused slots, or raise max_replication_slots and restart the server.' END
        FROM setting CROSS JOIN main s
             LEFT JOIN pg_replication_slots p
                 ON p.slot_name = s.slot_name || '_window' AND p.database = current_database()
             CROSS JOIN LATERAL (SELECT keep_size = '-1' OR
                                        pg_size_bytes(keep_size) >=
                                        2 * pg_size_bytes(current_setting('notify_stats.resumable_wal_window')) AS fits) b
        WHERE s.slot_name IS NOT NULL AND NOT pg_is_in_recovery() AND
              coalesce(current_setting('notify_stats.resumable_wal_window', true), '0') <> '0'
    UNION ALL
    SELECT 'WAL retained by the slot', p.retained <= p.limit OR p.limit = 0,
           format('slot %I retains %s bytes', s.slot_name, p.retained),
           CASE WHEN p.retained > p.limit AND p.limit > 0 THEN
               'Check waits_for and held_back_by in the view notify_stats.status. The amount exceeds notify_stats.warn_retained_wal.' END
        FROM main s
             JOIN LATERAL (SELECT pg_current_wal_flush_lsn() - restart_lsn AS retained,
                                  pg_size_bytes(current_setting('notify_stats.warn_retained_wal')) AS limit
                           FROM pg_replication_slots
                           WHERE slot_name = s.slot_name AND database = current_database() AND
                                 restart_lsn IS NOT NULL) p ON true
        WHERE NOT pg_is_in_recovery() AND current_setting('notify_stats.warn_retained_wal', true) IS NOT NULL
    UNION ALL
    SELECT 'lock table', 2 * l.needed <= l.capacity,
           format('a cycle needs up to %s of %s locks of the server', l.needed, l.capacity),
           CASE WHEN 2 * l.needed > l.capacity THEN
               'Raise max_locks_per_transaction and restart the server, or drop rollups. If the locks are not available, no rollup is updated.' END
        FROM locks l
    UNION ALL
    SELECT 'replica identity', false,
           CASE WHEN g.missing IS NULL THEN format('the server refuses updates and deletes of %s: %s', g.source, g.refusal)
                ELSE format('the replica identity of %s does not cover %s, which rollup %s reads', g.source, g.missing,
                            @extschema@.display_name(g.rollup)) END,
           g.hint
        FROM @extschema@.source_gaps() g
    UNION ALL
    SELECT 'subscription', false,
           format('subscription %I writes to %s, which %s', s.subname, c.oid::regclass,
                  CASE WHEN r.rollup IS NULL THEN 'belongs to notify_stats: its rows are discarded'
                       ELSE 'is a rollup: it cannot be maintained' END),
           format('On the publisher, create a publication with FOR TABLE that lists the source tables but no rollups. Then, on this server, run ALTER SUBSCRIPTION %I SET PUBLICATION with the name of that publication.',
                  s.subname)
        FROM pg_subscription_rel l
             JOIN pg_subscription s ON s.oid = l.srsubid
             JOIN pg_class c ON c.oid = l.srrelid
             LEFT JOIN (@extschema@.rollup r JOIN pg_class w ON w.oid = r.definition) ON r.rollup = l.srrelid
        WHERE r.rollup IS NOT NULL OR c.relnamespace = '@extschema@'::regnamespace
    UNION ALL
    -- the server refuses to refresh one that is disabled, and says nothing about a publication that is missing
    SELECT 'subscription', false, format('subscription %I has no tables', s.subname),
           format('Run ALTER SUBSCRIPTION %1$I REFRESH PUBLICATION. If it has no tables after that, publication %2$s does not exist on the publisher, or has none: add tables to it there, or run ALTER SUBSCRIPTION %1$I SET PUBLICATION with the name of another one.',
                  s.subname, (SELECT string_agg(quote_ident(p), ', ') FROM unnest(s.subpublications) p))
        FROM pg_subscription s
        WHERE s.subenabled AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND
              NOT EXISTS (SELECT FROM pg_subscription_rel l WHERE l.srsubid = s.oid) AND NOT pg_is_in_recovery()
    UNION ALL
    SELECT 'source subscription', g.problem IS NULL,
           coalesce(g.problem, format('subscription %I writes to tables that rollups count', s.subname)),
           CASE WHEN NOT s.subenabled THEN
               format('Run ALTER SUBSCRIPTION %I ENABLE. If an error has disabled it, fix the cause first: the server log has the error. Until then, the publisher retains WAL.', s.subname)
                WHEN g.problem LIKE '%did not find%' THEN
               format('The tables differ from those of the publisher: empty them and copy them again. Then run SELECT pg_stat_reset_subscription_stats(%s);', s.oid)
                WHEN g.problem IS NOT NULL THEN
               'The server log has the error if a worker of the subscription has ended with one. If there is none, wait, or raise max_logical_replication_workers and restart the server. Until then, the publisher retains WAL.' END
        FROM fed JOIN pg_subscription s ON s.oid = fed.subscription
             CROSS JOIN LATERAL (SELECT @extschema@.subscription_problem(s.oid)) g (problem)
        WHERE NOT pg_is_in_recovery()
        GROUP BY s.oid, s.subname, s.subenabled, g.problem
    UNION ALL
    SELECT 'subscription commit', s.subsynccommit <> 'off',
           format('subscription %I has synchronous_commit = %s', s.subname, s.subsynccommit),
           CASE WHEN s.subsynccommit = 'off' THEN
               format('Run ALTER SUBSCRIPTION %I SET (synchronous_commit = on). With off, the worker reads changes later, after notify_stats.naptime.', s.subname) END
        FROM pg_subscription s
        WHERE s.oid IN (SELECT subscription FROM fed)
    UNION ALL
    SELECT 'subscribed table', false,
           format('table %s is not synchronized by subscription %I: its srsubstate is %s', f.relid, s.subname, f.state),
           'Wait for the initial copy. If the server log has errors of it, fix their cause.'
        FROM (SELECT DISTINCT relid, subscription, state FROM fed) f JOIN pg_subscription s ON s.oid = f.subscription
        WHERE f.state <> 'r'
    UNION ALL
    SELECT 'subscribed table', false,
           format('table %s, which subscription %I writes, has no primary key', k.relid::regclass, s.subname),
           'Add a primary key. Without one, each update and delete that the subscription applies can search the whole table.'
        FROM (SELECT DISTINCT f.subscription, coalesce(p.relid, f.relid) AS relid
              FROM fed f LEFT JOIN LATERAL pg_partition_tree(f.relid) p ON true
              WHERE p.isleaf IS NOT FALSE) k
             JOIN pg_subscription s ON s.oid = k.subscription
        WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.relid AND i.indisvalid AND
                                                       (i.indisprimary OR i.indisreplident))
    UNION ALL
    SELECT 'primary key', false,
           format('the primary key of rollup %s cannot be restored from a dump because it is NULLS NOT DISTINCT',
                  @extschema@.display_name(r.rollup)),
           format('Run: ALTER TABLE %s DROP CONSTRAINT %I, ADD PRIMARY KEY (%s);', r.rollup, c.conname,
                  (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n)
                   FROM unnest(c.conkey) WITH ORDINALITY k (attnum, n)
                        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum))
        FROM @extschema@.rollup r
             JOIN pg_index i ON i.indrelid = r.rollup AND i.indisprimary AND i.indnullsnotdistinct
             JOIN pg_constraint c ON c.conrelid = r.rollup AND c.conindid = i.indexrelid AND c.contype = 'p'
    UNION ALL
    SELECT 'rollup', r.state <> 'failed' AND d.reason IS NULL,
           format('%s is %s%s', @extschema@.display_name(r.rollup), CASE WHEN d.reason IS NULL THEN r.state ELSE 'stale' END,
                  ': ' || coalesce(d.reason, v.reason)),
           CASE WHEN d.reason IS NOT NULL THEN
               'The worker will create the slot and rebuild the rollup. If no worker serves this database, run: CALL notify_stats.catch_up();'
                WHEN r.state = 'failed' THEN
               format('Fix the cause, then run: SELECT notify_stats.rebuild(%L%s);%s',
                      coalesce((SELECT u.rollup FROM computed u WHERE r.rollup = ANY (u.cores) LIMIT 1), r.rollup)::text,
                      CASE WHEN r.ignore_deletes <> '{}' AND p.resumable IS NOT TRUE THEN ', forget_deleted => true' END,
                      CASE WHEN r.ignore_deletes = '{}' AND p.resumable
                           THEN ' If it fails again at the same change, add from_scratch => true.' END) END
        FROM @extschema@.rollup r JOIN pg_class c ON c.oid = r.rollup JOIN pg_class w ON w.oid = r.definition
             LEFT JOIN @extschema@.rollup_activity v ON v.rollup = r.rollup
             CROSS JOIN LATERAL (SELECT CASE WHEN r.state = 'live' THEN @extschema@.loss_reason() END) d (reason)
             CROSS JOIN LATERAL (SELECT r.state = 'failed' AND @extschema@.is_resumable(v.applied_lsn)) p (resumable)
    UNION ALL
    SELECT 'computed rollup', false, g.detail, g.hint FROM @extschema@.computed_gaps() g
    UNION ALL
    SELECT 'replacement', false, format('rollup %s was not replaced: %s', x.rollup, x.reason),
           'Fix the cause, then call notify_stats.alter_rollup() again.'
        FROM @extschema@.replacement x JOIN pg_class c ON c.oid = x.rollup
        WHERE x.successor IS NULL AND x.reason IS NOT NULL
    UNION ALL
    SELECT 'former rollup', false, format('view %s is no longer a rollup of %s', l.view::regclass, l.definition::regclass),
           format('Run: SELECT notify_stats.adopt_rollup(%L);%s', l.view::regclass::text,
                  CASE WHEN obj_description(l.view, 'pg_class') LIKE '%ignore\_deletes: %' THEN
                      ' The comment on the view lists the tables for ignore_deletes.' END)
        FROM left_view l
        WHERE l.cores <> '{}'
    UNION ALL
    -- left over from a schema-only dump, or from an extension that was dropped
    SELECT 'former rollup', false, format('table %s is no longer maintained as a rollup of %s', t.oid::regclass, v.oid::regclass),
           format('Run: SELECT notify_stats.adopt_rollup(%L);%s', t.oid::regclass::text,
                  CASE WHEN obj_description(t.oid, 'pg_class') LIKE '%ignore\_deletes: %' THEN
                      ' The comment on the table lists the tables for ignore_deletes.' END)
        FROM pg_class v
             JOIN pg_class t ON t.relnamespace = v.relnamespace AND t.relname || '_definition' = v.relname
             JOIN pg_rewrite w ON w.ev_class = v.oid
        WHERE v.relkind = 'v' AND v.relname LIKE '%\_definition' AND t.relkind = 'r' AND t.relowner = v.relowner AND
              w.ev_action::text LIKE '%:hasAggs true%' AND
              EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisunique AND
                                                   (i.indnullsnotdistinct OR
                                                    NOT EXISTS (SELECT FROM pg_attribute a
                                                                WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey) AND
                                                                      NOT a.attnotnull))) AND
              NOT EXISTS (SELECT FROM @extschema@.rollup r WHERE r.rollup = t.oid) AND
              NOT EXISTS (SELECT FROM left_view l WHERE t.oid = ANY (l.cores)) AND
              (NOT EXISTS (SELECT attnum, atttypid FROM pg_attribute WHERE attrelid = v.oid
                           EXCEPT SELECT attnum, atttypid FROM pg_attribute WHERE attrelid = t.oid) OR
               NOT EXISTS (SELECT attname, atttypid FROM pg_attribute WHERE attrelid = v.oid
                           EXCEPT SELECT attname, atttypid FROM pg_attribute WHERE attrelid = t.oid))
    $$;
COMMENT ON FUNCTION @extschema@."check"() IS
    'checks settings, slots, tables and rollups; each row that is not ok has a hint';
REVOKE ALL ON FUNCTION @extschema@."check"() FROM PUBLIC;


-- Protection from subscriptions
--
-- A publication of all tables includes our tables, with the publisher's rows.

CREATE FUNCTION @extschema@.keep_own_rows() RETURNS trigger
    LANGUAGE c
    AS 'MODULE_PATHNAME', 'notify_stats_keep_own_rows';
COMMENT ON FUNCTION @extschema@.keep_own_rows() IS
    'discards rows that a subscription writes to a table of notify_stats';
REVOKE ALL ON FUNCTION @extschema@.keep_own_rows() FROM PUBLIC;

DO $$
DECLARE
    own name;
BEGIN
    FOR own IN
        SELECT relname FROM pg_class WHERE relnamespace = '@extschema@'::regnamespace AND relkind = 'r'
    LOOP
        EXECUTE format('CREATE TRIGGER notify_stats_rows BEFORE INSERT OR UPDATE OR DELETE ON @extschema@.%I
                        FOR EACH ROW EXECUTE FUNCTION @extschema@.keep_own_rows()', own);
        EXECUTE format('CREATE TRIGGER notify_stats_truncate BEFORE TRUNCATE ON @extschema@.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION @extschema@.keep_own_rows()', own);
        EXECUTE format('ALTER TABLE @extschema@.%I ENABLE ALWAYS TRIGGER notify_stats_rows', own);
        EXECUTE format('ALTER TABLE @extschema@.%I ENABLE ALWAYS TRIGGER notify_stats_truncate', own);
    END LOOP;
END
$$;


-- Privileges of other roles
--
-- ALTER DEFAULT PRIVILEGES must not apply to these tables: a role that can write to them has
-- the privileges of every owner of a rollup.

DO $$
DECLARE
    grantee name;
BEGIN
    FOR grantee IN
        SELECT r.rolname FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE c.relnamespace = '@extschema@'::regnamespace AND r.oid <> c.relowner
        UNION
        SELECT r.rolname FROM pg_proc p, aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
        WHERE p.pronamespace = '@extschema@'::regnamespace AND r.oid <> p.proowner
    LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA @extschema@ FROM %I', grantee);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA @extschema@ FROM %I', grantee);
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA @extschema@ FROM %I', grantee);
    END LOOP;
END
$$;
REVOKE ALL ON ALL TABLES IN SCHEMA @extschema@ FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA @extschema@ FROM PUBLIC;

GRANT SELECT (applied_lsn) ON @extschema@.stream TO PUBLIC;
-- the whole table, as pg_dump reads whole tables
GRANT SELECT ON @extschema@.rollup TO PUBLIC;
GRANT SELECT ON @extschema@.computed_rollup TO PUBLIC;
GRANT SELECT ON @extschema@.replacement TO PUBLIC;
GRANT SELECT (rollup, fact) ON @extschema@.source_fact TO PUBLIC;
GRANT SELECT ON @extschema@.status TO PUBLIC;
GRANT SELECT ON @extschema@.catch_up_progress TO PUBLIC;
GRANT SELECT ON @extschema@.rollups TO PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@."check"() TO pg_monitor;
