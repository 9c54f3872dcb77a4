/*-------------------------------------------------------------------------
 *
 * rollup.c
 *	  The catalog of rollups.
 *
 * A rollup is a table, and a view that holds its definition.  The view is an
 * internal dependent of the table: DROP TABLE also drops the view, and the
 * view cannot be dropped alone.  Because of the view, the server refuses to
 * drop a column in use or to change its type, and the definition follows
 * renames.
 *
 * The catalog belongs to the extension's owner.  Functions called by users run
 * as the user, and switch to the owner only to access the catalog.
 *
 * The state is written under the stream's lock (stream.c): a cycle makes a
 * rollup stale or failed, and the join of a build makes it live.  Only two
 * things are written without that lock: the row of a new rollup, which no
 * other session sees before it is committed, and requests for a rebuild
 * (request.c).  So a state that was read under the lock is valid until the
 * transaction ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "busy_lock.h"
#include "catalog.h"
#include "compat.h"
#include "core.h"
#include "facts.h"
#include "names.h"
#include "settings.h"
#include "own_columns.h"
#include "own_table.h"
#include "position.h"
#include "request.h"
#include "rollup.h"
#include "shape.h"
#include "shared.h"
#include "subscription.h"
#include "trouble.h"
#include "xact.h"

/* Maximum number of times the waiting time for a lock is halved. */
#define MAX_HALVINGS 10

/* Minimum interval at which a process records that a rollup was changed. */
#define CHANGE_NOTE_INTERVAL_MS 1000

/* The time at which this process last recorded a change of a rollup. */
typedef struct ChangeNote
{
	Oid			rollup;			/* hash key */
	TimestampTz at;
} ChangeNote;

static const char *const state_names[] = {
	"building", "live", "stale", "failed"
};

/*
 * Returns the name of a relation, schema-qualified and quoted, or its OID if
 * it no longer exists; palloc'd.
 */
char	   *
rollup_qualified_name(Oid relid)
{
	char	   *name = qualified_name_or_null(relid);

	return name ? name : psprintf("with OID %u", relid);
}

/* Returns the statement that rebuilds a rollup of that name; palloc'd. */
char	   *
rollup_rebuild_statement(const char *name, bool forgets)
{
	return psprintf("SELECT notify_stats.rebuild(%s%s);",
					quote_literal_cstr(name),
					forgets ? ", forget_deleted => true" : "");
}

/*
 * Returns the hint for a rollup that has failed; palloc'd.  If it can be
 * resumed, the change at which it stopped is read again, even if its row was
 * corrected since.
 */
char *
rollup_repair_hint(const char *name, bool ignores, bool resumable)
{
	return psprintf("Fix the cause, then run: %s%s",
					rollup_rebuild_statement(name, ignores && !resumable),
					resumable && !ignores ?
					" If it fails again at the same change, add from_scratch => true." : "");
}

/*
 * A statement that sets new states, with the reason and the position where it
 * occurred.  A rollup has no row in rollup_activity before the first of these
 * statements.
 */
#define SETTING_STATE(changes, reason, reason_lsn) \
	"WITH changed AS (UPDATE " EXTENSION_SCHEMA ".rollup SET" changes " RETURNING rollup)" \
	" INSERT INTO " EXTENSION_SCHEMA ".rollup_activity (rollup, reason, reason_lsn)" \
	" SELECT rollup, " reason ", " reason_lsn " FROM changed" \
	" ON CONFLICT (rollup) DO UPDATE SET reason = excluded.reason, reason_lsn = excluded.reason_lsn," \
	" failed_catalog = NULL"

/*
 * A rollup ends when its definition is dropped: with its table, or alone if its
 * table is kept (release.c).  Its rows in the catalog remain until the next
 * cycle.
 */
#define ROLLUP_HAS_VIEW \
	"EXISTS (SELECT FROM pg_catalog.pg_class d WHERE d.oid = r.definition)"

bool
rollup_exists(Oid relid)
{
	SavedRole	saved = catalog_enter();
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};
	bool		found;

	if (SPI_execute_with_args("SELECT 1 FROM " EXTENSION_SCHEMA ".rollup r WHERE r.rollup = $1 AND " ROLLUP_HAS_VIEW,
							  1, argtypes, args, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a rollup");
	found = SPI_processed > 0;
	catalog_leave(saved);
	return found;
}

/*
 * Makes the view dependent on its table: it is dropped with the table, and not
 * without it.
 */
void
rollup_make_dependent(Oid relid, Oid view)
{
	relation_make_dependent(view, relid, DEPENDENCY_INTERNAL);
}

static Datum
make_column_array(const Bitmapset *columns)
{
	Datum	   *values = palloc(sizeof(Datum) * (bms_num_members(columns) +
												 1));
	int			n = 0;
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		values[n++] = Int16GetDatum(attnum);
	return PointerGetDatum(construct_array(values, n, INT2OID, sizeof(int16),
										   true, TYPALIGN_SHORT));
}

/* Replaces the stored list of what a rollup reads. */
void
rollup_store_sources(Oid relid, const Definition *definition)
{
	Oid			argtypes[3] = {OIDOID, OIDOID, INT2ARRAYOID};
	Datum		args[3] = {ObjectIdGetDatum(relid)};
	ListCell   *lc;

	catalog_execute_for("DELETE FROM " EXTENSION_SCHEMA ".rollup_source WHERE rollup = $1", relid);
	foreach(lc, definition->sources)
	{
		args[1] = ObjectIdGetDatum(lfirst_oid(lc));
		args[2] = make_column_array(definition_source_columns(definition,
															  lfirst_oid(lc)));
		catalog_execute("INSERT INTO " EXTENSION_SCHEMA ".rollup_source VALUES ($1, $2, $3)",
						3, argtypes, args, NULL);
	}
}

/*
 * Adopting what is left of a rollup, by a dump of the schema alone or DROP
 * EXTENSION
 */

/* Dropping, and requesting a rebuild */

/*
 * Returns whether the current user may see more of a rollup than its rows: why
 * it failed, which may contain a value, and how it is built.  This is allowed
 * to its owner and to members of pg_monitor.
 */
bool
rollup_is_visible(Oid relid)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) ||
		(SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) &&
		 owns_relation(relid, GetUserId()));
}

/* Throws because a relation is not a rollup. */
void
rollup_complain_missing(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 get_rel_name(relid) ?
			 errmsg("\"%s\" is not a rollup", get_rel_name(relid)) :
			 errmsg("rollup with OID %u does not exist", relid),
			 errhint("The view notify_stats.rollups lists the rollups.")));
}

/*
 * Throws unless "relid" is a rollup, computed or not, that the current user
 * owns.
 */
void
rollup_check_owner(Oid relid)
{
	if (get_rel_name(relid) == NULL ||
		(!rollup_exists(relid) && core_find_computed(relid) == NULL))
		rollup_complain_missing(relid);
	if (!owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
}

/* Throws if the rollup is a core, which is dropped with its view only. */
void
rollup_check_no_core(Oid relid)
{
	Oid			users = core_users_rollup(relid);

	if (users != relid)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop core %s of rollup %s",
						qualified_name(relid), qualified_name(users)),
				 errhint("To drop the rollup, run: SELECT notify_stats.drop_rollup(%s);",
						 quote_literal_cstr(qualified_name(users)))));
}

/*
 * Drops all relations of a rollup.  The current user must own it.
 */
void
rollup_drop(Oid relid)
{
	ObjectAddress address;
	const Computed *computed;

	rollup_check_owner(relid);
	rollup_check_no_core(relid);
	LockRelationOid(relid, AccessExclusiveLock);
	rollup_check_owner(relid);	/* the owner may have changed in between */
	ObjectAddressSet(address, RelationRelationId, relid);

	/* after a restore, not everything may depend on the view yet */
	computed = core_find_computed(relid);
	if (computed != NULL)
	{
		(void) core_make_dependent(computed);
		CommandCounterIncrement();
	}

	/*
	 * As after DROP TABLE, the next cycle deletes the catalog entries.
	 * Deleting them here would lock the row that a cycle updates when it
	 * gives up a table that is locked for long.
	 */
	performDeletion(&address, DROP_RESTRICT, 0);
}

/* Throws if a rollup counts deleted rows, which a rebuild would forget. */
static void
check_forgettable(Oid relid)
{
	Rollup	   *rollup = rollup_find(rollup_list(NULL), relid);

	/* a rollup that was never built has nothing to forget */
	if (rollup == NULL || rollup->ignores == NIL || rollup->built_from == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot rebuild rollup %s without forgetting deleted rows",
					core_display_name(relid)),
			 errdetail("The rollup still counts rows that were deleted from %s. These rows cannot be counted again.",
					   rollup_ignored_names(rollup)),
			 errhint("Compare it with the view \"%s\" to see what would remain. To rebuild it anyway, run: %s",
					 get_rel_name(rollup->view),
					 rollup_rebuild_statement(qualified_name(core_users_rollup(relid)),
											  true))));
}

/* The last request stands for all, so it includes what others have asked for. */
static void
request_rebuild(Oid relid, bool from_scratch)
{
	static const char insert[] =
	"INSERT INTO " EXTENSION_SCHEMA ".rebuild_request (rollup, from_scratch)"
	" SELECT $1, $2 OR EXISTS (SELECT FROM " EXTENSION_SCHEMA ".rebuild_request q WHERE q.rollup = $1 AND q.from_scratch)";
	Oid			argtypes[2] = {OIDOID, BOOLOID};
	Datum		args[2] = {ObjectIdGetDatum(relid), BoolGetDatum(from_scratch)};

	if (request_is_made(relid) && !from_scratch)
		return;
	catalog_execute(insert, 2, argtypes, args, NULL);
	request_forget_others(relid);
}

/*
 * Records a request for a rebuild of a rollup that is a table.  The current
 * user must own it.  One row stands for any number of requests.  Unless
 * "from_scratch", the rollup is resumed if it can be when the build begins;
 * "resumable" tells whether it can be now.  Throws if the rebuild would forget
 * deleted rows that still count, unless "forget_deleted" is true.
 */
void
rollup_request_rebuild(Oid relid, bool forget_deleted, bool from_scratch,
					   bool resumable)
{
	rollup_check_owner(relid);
	if (!forget_deleted && (from_scratch || !resumable))
		check_forgettable(relid);
	request_rebuild(relid, from_scratch || forget_deleted);
}

/*
 * All rollups are to be given up.  Throws if that would forget rows that are
 * deleted and still count; told to, asks for rebuilds of these rollups.
 */
void
rollup_allow_give_up_all(bool forget_deleted)
{
	ListCell   *lc;

	foreach(lc, rollup_list(NULL))
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);

		/* one that was left behind could be resumed until then */
		if (rollup->ignores == NIL ||
			(rollup->state != ROLLUP_LIVE &&
			 XLogRecPtrIsInvalid(position_of(rollup->relid))))
			continue;
		if (!forget_deleted)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("recreating the replication slot would forget deleted rows"),
					 errdetail("Rollup %s still counts rows that were deleted from %s. They cannot be counted again.",
							   core_display_name(rollup->relid),
							   rollup_ignored_names(rollup)),
					 errhint("To recreate it all the same, run: SELECT notify_stats.recreate_slot(forget_deleted => true);")));
		request_rebuild(rollup->relid, true);
	}
}

/*
 * Reading
 */

static RollupState
state_from_name(const char *name)
{
	for (int i = 0; i < lengthof(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (RollupState) i;
	elog(ERROR, "unknown state \"%s\" of a rollup", name);
}

static List *
oids_of_array(Datum array)
{
	Datum	   *values;
	int			n;
	List	   *oids = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), REGCLASSOID, sizeof(Oid),
					  true, TYPALIGN_INT,
					  &values, NULL, &n);
	for (int i = 0; i < n; i++)
		oids = lappend_oid(oids, DatumGetObjectId(values[i]));
	return oids;
}

static List *
names_of_array(Datum array)
{
	Datum	   *values;
	int			n;
	List	   *names = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), NAMEOID, NAMEDATALEN, false,
					  TYPALIGN_CHAR, &values, NULL, &n);
	for (int i = 0; i < n; i++)
		names = lappend(names,
						makeString(pstrdup(NameStr(*DatumGetName(values[i])))));
	return names;
}

static Rollup *
make_rollup(HeapTuple tuple, TupleDesc desc)
{
	Rollup	   *rollup = palloc0(sizeof(Rollup));
	bool		isnull;
	Datum		value;

	rollup->relid = DatumGetObjectId(heap_getattr(tuple, ROLLUP_ROLLUP, desc,
												  &isnull));
	rollup->view = DatumGetObjectId(heap_getattr(tuple, ROLLUP_DEFINITION,
												 desc, &isnull));
	rollup->state = state_from_name(TextDatumGetCString(heap_getattr(tuple,
																	 ROLLUP_STATE, desc,
																	 &isnull)));
	value = heap_getattr(tuple, ROLLUP_IGNORE_DELETES, desc, &isnull);
	rollup->ignores = isnull ? NIL : oids_of_array(value);
	value = heap_getattr(tuple, ROLLUP_FINGERPRINT, desc, &isnull);
	rollup->built_from = isnull ? 0 : DatumGetInt64(value);
	value = heap_getattr(tuple, ROLLUP_UPDATED_AT, desc, &isnull);
	rollup->updated_at = isnull ? NULL : pstrdup(NameStr(*DatumGetName(value)));
	value = heap_getattr(tuple, ROLLUP_COLUMN_NAMES, desc, &isnull);
	rollup->column_names = isnull ? NIL : names_of_array(value);
	return rollup;
}

static int
compare_relids(const ListCell *a, const ListCell *b)
{
	const Rollup *rollup1 = (const Rollup *) lfirst(a);
	const Rollup *rollup2 = (const Rollup *) lfirst(b);

	return rollup1->relid < rollup2->relid ?
		-1 : rollup1->relid > rollup2->relid;
}

/* Adds the requests for a rebuild to the list. */
static void
load_requests(List *rollups)
{
	TupleDesc	desc;
	ListCell   *lc;

	foreach(lc, catalog_read(CATALOG_REBUILD_REQUEST, &desc))
	{
		HeapTuple	tuple = (HeapTuple) lfirst(lc);
		bool		isnull;
		int64		id = DatumGetInt64(heap_getattr(tuple, REQUEST_ID, desc,
													&isnull));
		Rollup	   *rollup;

		rollup = rollup_find(rollups,
							 DatumGetObjectId(heap_getattr(tuple,
														   REQUEST_ROLLUP,
														   desc,
														   &isnull)));
		if (rollup == NULL)
			continue;
		rollup->request = Max(rollup->request, id);
		rollup->from_scratch |=
			DatumGetBool(heap_getattr(tuple, REQUEST_FROM_SCRATCH, desc,
									  &isnull));
	}
}

/*
 * Lists (of Rollup, not opened) the rollups of this database, ordered by OID.
 * *some_dropped, unless NULL, is set to whether the catalog contains a rollup
 * whose table or definition was dropped.
 */
List	   *
rollup_list(bool *some_dropped)
{
	List	   *rollups = NIL;
	List	   *all = NIL;
	TupleDesc	desc;
	ListCell   *lc;

	if (some_dropped != NULL)
		*some_dropped = false;
	foreach(lc, catalog_read(CATALOG_ROLLUP, &desc))
	{
		Rollup	   *rollup = make_rollup((HeapTuple) lfirst(lc), desc);

		if (shape_is_kept(rollup->relid, rollup->view) ||
			(SearchSysCacheExists1(RELOID, ObjectIdGetDatum(rollup->relid)) &&
			 SearchSysCacheExists1(RELOID, ObjectIdGetDatum(rollup->view))))
			rollups = lappend(rollups, rollup);
		else if (some_dropped != NULL)
			*some_dropped = true;
	}
	load_requests(rollups);
	list_sort(rollups, compare_relids);
	foreach(lc, rollups)
		all = lappend_oid(all, ((Rollup *) lfirst(lc))->relid);
	foreach(lc, rollups)
		((Rollup *) lfirst(lc))->all = all;
	return rollups;
}

/* Returns the OIDs of all rollups, in order. */
List	   *
rollup_relids(void)
{
	List	   *rollups = rollup_list(NULL);

	return rollups == NIL ?
		NIL : unconstify(List *, ((Rollup *) linitial(rollups))->all);
}

/* Converts a row of the query in rollup_known_sources. */
static RollupSource *
known_source(HeapTuple tuple, TupleDesc desc)
{
	RollupSource *source = palloc0(sizeof(RollupSource));
	bool		isnull;
	Datum	   *attnums;
	int			n;

	source->rollup = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
	source->source = DatumGetObjectId(SPI_getbinval(tuple, desc, 2, &isnull));
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(tuple, desc, 3,
													   &isnull)), INT2OID,
					  sizeof(int16), true, TYPALIGN_SHORT, &attnums, NULL, &n);
	for (int i = 0; i < n; i++)
		source->columns = bms_add_member(source->columns,
										 DatumGetInt16(attnums[i]));
	return source;
}

/*
 * Lists (of RollupSource) the sources of all rollups, except of those that
 * have failed and cannot be resumed.  It compiles no definition and locks no
 * source, so no user's rollup can delay or stop the caller.  A source may have
 * been dropped by the time the caller reads it.
 */
List	   *
rollup_known_sources(void)
{
	/*
	 * a replaced definition may no longer prevent a column from being dropped
	 */
	static const char query[] =
	"SELECT s.rollup, s.source, ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a"
	" WHERE a.attrelid = s.source AND a.attnum = ANY (s.columns) AND NOT a.attisdropped)"
	" FROM " EXTENSION_SCHEMA ".rollup_source s JOIN " EXTENSION_SCHEMA ".rollup r ON r.rollup = s.rollup"
	" JOIN pg_catalog.pg_class c ON c.oid = s.rollup WHERE " ROLLUP_HAS_VIEW " AND (r.state <> 'failed' OR EXISTS (SELECT FROM "
	EXTENSION_SCHEMA ".rollup_activity v WHERE v.rollup = r.rollup AND v.applied_lsn IS NOT NULL)) ORDER BY 1, 2";
	MemoryContext context = CurrentMemoryContext;
	SavedRole	saved = catalog_enter();
	List	   *sources = NIL;

	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the sources of rollups");
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		sources = lappend(sources,
						  known_source(SPI_tuptable->vals[i],
									   SPI_tuptable->tupdesc));
	catalog_leave(saved);
	return sources;
}

/*
 * Deletes the catalog entries of rollups whose table or definition has been
 * dropped.
 */
void
rollup_forget_dropped(void)
{
	static const char *const tables[] = {
		"rollup_activity", "rollup_source", "source_fact"
	};

	request_forget_dropped();
	catalog_execute("DELETE FROM " EXTENSION_SCHEMA ".rollup r WHERE NOT EXISTS"
					" (SELECT FROM pg_catalog.pg_class c WHERE c.oid = r.rollup) OR NOT " ROLLUP_HAS_VIEW,
					0, NULL, NULL, NULL);

	/*
	 * another rollup may be dropped concurrently, so these follow the rows
	 * deleted above
	 */
	for (int i = 0; i < lengthof(tables); i++)
		catalog_execute(psprintf("DELETE FROM " EXTENSION_SCHEMA ".%s o WHERE o.rollup <> 0::pg_catalog.oid AND NOT EXISTS"
								 " (SELECT FROM " EXTENSION_SCHEMA ".rollup r WHERE r.rollup = o.rollup)",
								 tables[i]),
						0, NULL, NULL, NULL);
	core_forget_dropped();
}

/*
 * Deletes what the catalog still has of a rollup whose table was kept, so that
 * the table can become a rollup again.
 */
void
rollup_forget_released(Oid relid)
{
	static const char *const tables[] = {
		"rollup_activity", "rollup_source", "source_fact", "rebuild_request",
		"replacement"
	};

	if (catalog_execute_for("DELETE FROM " EXTENSION_SCHEMA ".rollup r WHERE r.rollup = $1 AND NOT " ROLLUP_HAS_VIEW,
							relid) == 0)
		return;
	for (int i = 0; i < lengthof(tables); i++)
		catalog_execute_for(psprintf("DELETE FROM " EXTENSION_SCHEMA ".%s WHERE rollup = $1",
									 tables[i]), relid);
}

/*
 * Marks rollups as not exact because they were not maintained here in the
 * meantime.  Their fingerprint is removed, by which they are recognized as
 * restored.  It is kept for rollups with "ignore_deletes", for which a rebuild
 * must be requested.
 */
void
rollup_give_up_restored(List *relids, const char *reason)
{
	Oid			argtypes[2] = {OIDARRAYOID, TEXTOID};
	Datum		args[2] = {catalog_oid_array(relids),
	CStringGetTextDatum(reason)};

	catalog_execute(SETTING_STATE(" state = CASE WHEN ignore_deletes = '{}' THEN 'stale' ELSE 'failed' END,"
								  " fingerprint = CASE WHEN ignore_deletes = '{}' THEN NULL ELSE fingerprint END"
								  " WHERE rollup = ANY ($1)",
								  "$2", "NULL::pg_catalog.pg_lsn"),
					2, argtypes, args, NULL);
}

/*
 * Makes the view of a rollup dependent on its table again.  Returns false if
 * there is nothing to do.
 */
bool
rollup_adopt_view(const Rollup *rollup)
{
	if (relation_is_dependent(rollup->view, rollup->relid,
							  DEPENDENCY_INTERNAL) ||
		get_rel_relkind(rollup->view) != RELKIND_VIEW)
		return false;
	rollup_make_dependent(rollup->relid, rollup->view);
	return true;
}

/*
 * Handles rollups restored from a dump.  These are live although there is no
 * slot, or although their view does not depend on their table.  They are given
 * up, and the dependency is restored.  Returns true if anything was written.
 */
bool
rollup_settle_restored(List *rollups, bool has_slot)
{
	List	   *restored = NIL;
	bool		written = false;
	ListCell   *lc;

	foreach(lc, rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);
		bool		adopted;

		if (has_slot && shape_is_kept(rollup->relid, rollup->view))
			continue;
		adopted = rollup_adopt_view(rollup);
		if (adopted)
			(void) core_adopt(rollup->relid);
		if (rollup->state == ROLLUP_LIVE && (adopted || !has_slot))
			restored = lappend_oid(restored, rollup->relid);
		written |= adopted;
	}
	if (restored != NIL)
	{
		ereport(LOG, (errmsg("rollups were restored from a dump")));
		rollup_give_up_restored(restored,
								"restored from a dump, which does not contain the WAL position");
	}
	return written || restored != NIL;
}

/*
 * Returns whether a rollup was restored from a dump and has not been built
 * since.
 */
bool
rollup_is_restored(const Rollup *rollup)
{
	return rollup->state == ROLLUP_STALE && rollup->built_from == 0;
}

/*
 * Restores data that pg_upgrade does not carry over, or that differs between
 * server versions, although the rollups themselves are unchanged.
 */
void
rollup_take_over(List *rollups)
{
	ListCell   *lc;

	foreach(lc, rollups)
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);
		Oid			argtypes[2] = {OIDOID, INT8OID};
		Datum		args[2];

		(void) rollup_adopt_view(rollup);
		(void) core_adopt(rollup->relid);
		if (rollup->state != ROLLUP_LIVE ||
			get_rel_relkind(rollup->view) != RELKIND_VIEW)
			continue;
		args[0] = ObjectIdGetDatum(rollup->relid);
		args[1] = Int64GetDatum(shape_fingerprint(rollup->view));
		catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup SET fingerprint = $2 WHERE rollup = $1",
						2, argtypes, args, NULL);
	}
}

/*
 * Returns the columns, by column of the definition, of the own table of an
 * opened rollup, or of one created for the same definition.
 */
const AttrNumber *
rollup_columns(const Rollup *rollup, Relation table)
{
	return RelationGetRelid(table) == rollup->relid ?
		rollup->shape->columns : rollup->shape->first_columns;
}

/*
 * Returns the index that finds a group of an opened rollup, in its own table
 * or in one created for the same definition.  Throws if there is none.
 */
Oid
rollup_group_index(const Rollup *rollup, Relation table)
{
	Oid			index = RelationGetRelid(table) ==
	rollup->relid ? rollup->shape->group_index :
	own_table_find_index(table, rollup->shape->definition,
						 rollup_columns(rollup, table));

	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rollup %s has no unique index on its group columns",
						rollup->shape->name),
				 errhint("Run: CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT;", rollup->shape->name,
						 shape_group_columns(rollup->shape->definition, ""))));
	return index;
}

/*
 * Returns whether the table has a unique index that can be the index of its
 * groups.
 */
bool
rollup_has_index(const Rollup *rollup)
{
	Relation	table;
	bool		result;

	/*
	 * the session that has locked it may create the index, and a build waits
	 * for the lock
	 */
	if (!ConditionalLockRelationOid(rollup->relid, AccessShareLock))
		return true;
	table = try_relation_open(rollup->relid, NoLock);
	if (table == NULL)
		return true;
	result = OidIsValid(own_table_find_index(table, NULL, NULL));
	relation_close(table, NoLock);
	return result;
}

Rollup	   *
rollup_find(List *rollups, Oid relid)
{
	ListCell   *lc;

	foreach(lc, rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);

		if (rollup->relid == relid)
			return rollup;
	}
	return NULL;
}

/*
 * Opening
 */

/* Opens the shape of a rollup; see shape_open. */
ShapeAccess
rollup_open(Rollup *rollup, BusyLock *busy)
{
	return shape_open(&rollup->shape, rollup->relid, rollup->view,
					  rollup->column_names, rollup->all, busy);
}

/*
 * Starts a section of work that runs code of a rollup's owner.  Until
 * rollup_end_as_owner is called with the result, code runs as the owner
 * (xact_become) and errors count as the rollup's own (trouble_begin).  Without
 * "blame", errors are the caller's, since the rollup is only inspected.
 */
SavedRole
rollup_begin_as_owner(const Rollup *rollup, bool blame)
{
	if (blame)
		trouble_begin(rollup->relid);
	return xact_become(rollup->shape->owner);
}

void
rollup_end_as_owner(SavedRole saved)
{
	xact_restore_role(saved);
	trouble_end();
}

/* Returns the definitions of opened rollups. */
List	   *
rollup_definitions(List *rollups)
{
	List	   *definitions = NIL;
	ListCell   *lc;

	foreach(lc, rollups)
		definitions = lappend(definitions,
							  ((Rollup *) lfirst(lc))->shape->definition);
	return definitions;
}

/*
 * Returns for how many milliseconds all rollups wait for a lock that this one,
 * opened or listed, needs; 0: no limit.  This is notify_stats.lock_timeout.
 * But a rollup that counts deleted rows cannot be rebuilt without forgetting
 * them.  For it the others wait as long as for slow code,
 * notify_stats.max_rollup_time, if that is longer.  Each wait in vain halves
 * the time for the next one, unless that is more than an hour later.
 */
int
rollup_lock_patience(const Rollup *rollup)
{
	int			patience = rollup->ignores == NIL || rollup->resumable ?
	notify_stats_lock_timeout : rollup_long_patience();

	if (patience == 0)
		return 0;
	return Max(1, patience >> Min(shared_stream_offences(rollup->relid, false),
								  MAX_HALVINGS));
}

/* Returns the longer of the two times. */
int
rollup_long_patience(void)
{
	if (notify_stats_lock_timeout == 0 || notify_stats_max_rollup_time == 0)
		return 0;
	return Max(notify_stats_lock_timeout, notify_stats_max_rollup_time);
}

/*
 * Takes, if it is free, the lock that keeps all but readers from a rollup's
 * table.  Then no other transaction has a row of it locked.
 */
bool
rollup_lock_rows(const Rollup *rollup, BusyLock *busy)
{
	return busy_lock_relation(rollup->relid, ExclusiveLock, busy);
}

/* Throws a temporary error if another table now has the rollup's name. */
void
rollup_check_name(const Rollup *rollup)
{
	List	   *names =
	textToQualifiedNameList(cstring_to_text(rollup->shape->name));

	/* renaming a schema does not lock its tables */
	if (RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock,
						 true) != rollup->relid)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rollup %s was renamed concurrently",
						rollup->shape->name)));
}

/* Returns whether deleted rows of that source continue to count. */
bool
rollup_ignores_deletes(const Rollup *rollup, Oid source)
{
	return list_member_oid(rollup->ignores, source);
}

/* Returns the names of these sources for messages; palloc'd. */
char	   *
rollup_ignored_names(const Rollup *rollup)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, rollup->ignores)
		appendStringInfo(&buf, "%s\"%s\"", buf.len > 0 ? ", " : "",
						 get_rel_name(lfirst_oid(lc)));
	return buf.data;
}

/* Returns whether the worker must build or rebuild the rollup. */
bool
rollup_wants_build(const Rollup *rollup)
{
	return rollup->request > 0 || rollup->state == ROLLUP_BUILDING ||
		rollup->state == ROLLUP_STALE;
}

/*
 * Waiting
 */

/* Returns whether a column of the only row of a result is true. */
static bool
is_true(SPITupleTable *table, int column)
{
	bool		isnull;

	return DatumGetBool(SPI_getbinval(table->vals[0], table->tupdesc, column,
									  &isnull));
}

/*
 * Throws if a rollup that is waited for has failed; "visible": with the
 * reason.
 */
static void
check_awaited(Oid relid, SPITupleTable *table, bool visible)
{
	char	   *state;

	if (SPI_processed == 0)
		rollup_complain_missing(relid);
	state = SPI_getvalue(table->vals[0], table->tupdesc, 2);
	if (strcmp(state, state_names[ROLLUP_FAILED]) == 0 &&
		SPI_getvalue(table->vals[0], table->tupdesc, 1) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rollup %s has failed", core_display_name(relid)),
				 visible ? errdetail_internal("%s",
											  SPI_getvalue(table->vals[0],
														   table->tupdesc,
														   3)) : 0,
				 errhint("%s",
						 rollup_repair_hint(rollup_qualified_name(core_users_rollup(relid)),
											is_true(table, 4), is_true(table, 6)))));
}

/*
 * Returns the position that the stream has reached, according to shared memory
 * or its row, if that is before "target"; else an invalid position.
 */
static XLogRecPtr
position_before(XLogRecPtr target, XLogRecPtr reached)
{
	static const char query[] =
	"SELECT applied_lsn FROM " EXTENSION_SCHEMA ".stream";
	XLogRecPtr	applied;
	bool		isnull;

	if (SPI_execute(query, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the stream");
	applied = DatumGetLSN(SPI_getbinval(SPI_tuptable->vals[0],
										SPI_tuptable->tupdesc, 1, &isnull));
	/* without a slot there is no rollup, and nothing to wait for */
	if (isnull || applied >= target)
		return InvalidXLogRecPtr;
	return Max(applied, reached);
}

/*
 * Returns whether this rollup, or with InvalidOid every rollup that has not
 * failed, contains all transactions before "target".  "reached" is the
 * position of the stream in shared memory.  If not, *missing says what is not
 * done yet.  Without rollups there is nothing to wait for, even if the stream
 * still has a slot.  Throws if the rollup does not exist or has failed.  Sees
 * the current catalog, regardless of the isolation level.
 */
bool
rollup_reached(Oid relid, XLogRecPtr target, XLogRecPtr reached,
			   Unreached *missing)
{
	/*
	 * State 'failed' counts as waiting only if a rebuild was requested.  So
	 * does 'live' if there is no slot, since such a rollup comes from a dump,
	 * see rollup_settle_restored, and if a new slot was requested.  A note of
	 * the event trigger about a source may make any rollup stale as soon as a
	 * cycle sees it, whatever position was reached before.
	 */
	static const char query[] =
	"SELECT CASE WHEN r.state = 'building' THEN 'built'"
	" WHEN r.state = 'stale' OR EXISTS (SELECT FROM " EXTENSION_SCHEMA ".rebuild_request q WHERE q.rollup = r.rollup)"
	" OR (r.state = 'live' AND NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA ".stream s, " EXTENSION_SCHEMA ".control c"
	" WHERE s.slot_name IS NOT NULL AND s.slot_requests = c.slot_requests))"
	" THEN 'rebuilt' WHEN r.state = 'live' AND EXISTS (SELECT FROM " EXTENSION_SCHEMA ".source_fact f"
	" WHERE f.rollup = 0 AND (" FACT_IS_NOTE ")) THEN 'checked after DDL' END, r.state,"
	" (SELECT v.reason FROM " EXTENSION_SCHEMA ".rollup_activity v WHERE v.rollup = r.rollup),"
	" r.ignore_deletes OPERATOR(pg_catalog.<>) '{}', r.rollup,"
	" r.state = 'failed' AND " EXTENSION_SCHEMA ".is_resumable("
	"(SELECT v.applied_lsn FROM " EXTENSION_SCHEMA ".rollup_activity v WHERE v.rollup = r.rollup))"
	" FROM " EXTENSION_SCHEMA ".rollup r JOIN pg_catalog.pg_class c ON c.oid = r.rollup"
	" WHERE ($1 = 0::pg_catalog.oid OR r.rollup = $1) AND " ROLLUP_HAS_VIEW " ORDER BY 1 NULLS LAST LIMIT 1";
	bool		visible = OidIsValid(relid) && rollup_is_visible(relid);
	SavedRole	saved = catalog_enter();
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};
	char	   *step = NULL;

	memset(missing, 0, sizeof(*missing));
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(query, 1, argtypes, args, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the rollups");
	if (OidIsValid(relid))
		check_awaited(relid, SPI_tuptable, visible);
	if (SPI_processed > 0)
		step = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (step != NULL)
	{
		bool		isnull;

		strlcpy(missing->step, step, sizeof(missing->step));
		missing->rollup = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
														 SPI_tuptable->tupdesc,
														 5, &isnull));
	}
	else if (SPI_processed > 0 && reached < target)
		missing->reached = position_before(target, reached);
	PopActiveSnapshot();
	catalog_leave(saved);
	return !OidIsValid(missing->rollup) &&
		XLogRecPtrIsInvalid(missing->reached);
}

/*
 * Changes of state
 */

/* Sets a new state.  The reason may be NULL, and the position invalid. */
void
rollup_set_state(Oid relid, RollupState state, const char *reason,
				 XLogRecPtr lsn)
{
	Oid			argtypes[4] = {OIDOID, TEXTOID, TEXTOID, PG_LSNOID};
	Datum		args[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};

	args[0] = ObjectIdGetDatum(relid);
	args[1] = CStringGetTextDatum(state_names[state]);
	args[2] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	nulls[2] = reason ? ' ' : 'n';
	args[3] = LSNGetDatum(lsn);
	nulls[3] = XLogRecPtrIsInvalid(lsn) ? 'n' : ' ';
	catalog_execute(SETTING_STATE(" state = $2 WHERE rollup = $1", "$3", "$4"),
					4, argtypes, args, nulls);
}

/*
 * Stores the columns of an opened rollup, if they are not stored by number, or
 * have other names.  Returns true if anything was written.
 */
bool
rollup_note_columns(const Rollup *rollup)
{
	const RollupShape *shape = rollup->shape;
	List	   *names;

	if (shape->columns_stored && rollup->column_names == NIL)
		return false;
	names = own_columns_names(shape->desc, shape->first_columns,
							  shape->desc->natts);
	if (shape->columns_stored && equal(names, rollup->column_names))
		return false;
	own_columns_store(rollup->relid, names, shape->columns);
	return true;
}

/* Records the end of a build. */
void
rollup_set_built(const Rollup *rollup)
{
	Oid			argtypes[2] = {OIDOID, INT8OID};
	Datum		args[2] = {ObjectIdGetDatum(rollup->relid),
	Int64GetDatum(rollup->shape->fingerprint)};

	catalog_execute(SETTING_STATE(" state = 'live', fingerprint = $2 WHERE rollup = $1",
								  "NULL::pg_catalog.text",
								  "NULL::pg_catalog.pg_lsn"),
					2, argtypes, args, NULL);
	catalog_execute_for("UPDATE " EXTENSION_SCHEMA ".rollup_activity"
						" SET built_at = pg_catalog.clock_timestamp() WHERE rollup = $1",
						rollup->relid);
	position_forget(rollup->relid);
	rollup_store_sources(rollup->relid, rollup->shape->definition);
	(void) rollup_note_columns(rollup);
	/* a restore may have entered its view after the rollup itself was seen */
	(void) core_adopt(rollup->relid);
}

/* Records that a rollup that was left behind has the position of the stream. */
void
rollup_set_resumed(Oid relid)
{
	rollup_set_state(relid, ROLLUP_LIVE, NULL, InvalidXLogRecPtr);
	position_forget(relid);
}

/* Returns whether this is the recorded reason of a rollup's state. */
static bool
has_reason(Oid relid, const char *reason)
{
	Oid			argtypes[2] = {OIDOID, TEXTOID};
	Datum		args[2] = {ObjectIdGetDatum(relid),
	CStringGetTextDatum(reason)};

	return catalog_execute("SELECT FROM " EXTENSION_SCHEMA ".rollup_activity"
						   " WHERE rollup = $1 AND reason = $2", 2, argtypes,
						   args, NULL) > 0;
}

/*
 * Returns whether a subscription writes to a rollup's table, so that it cannot
 * be built.  If so, makes that the recorded reason of its state.
 */
bool
rollup_is_obstructed(const Rollup *rollup)
{
	char	   *reason = subscription_reason(rollup->relid);

	if (reason == NULL)
		return false;
	if (!has_reason(rollup->relid, reason))

		/*
		 * a rollup that was never built stays "building"; "stale" would mean
		 * that it comes from a dump
		 */
		rollup_set_state(rollup->relid,
						 rollup->built_from == 0 &&
						 rollup->state != ROLLUP_STALE ?
						 ROLLUP_BUILDING : ROLLUP_STALE,
						 reason, InvalidXLogRecPtr);
	return true;
}

/* Returns a rollup's name for messages.  The rollup need not be opened. */
static const char *
display_name(const Rollup *rollup)
{
	const char *name;

	if (rollup->shape != NULL)
		return rollup->shape->name;
	name = qualified_name_or_null(rollup->relid);
	return name ? name : "?";
}

/*
 * Returns a hash of the catalog contents about a rollup, its sources, their
 * privileges and their children.  These determine whether a rollup that could
 * be opened before fails, and the reverse.  *youngest, unless NULL, is set to
 * the last transaction that has written any of these.
 */
int64
rollup_catalog_state(Oid relid, TransactionId *youngest)
{
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};
	SavedRole	saved = catalog_enter();
	int64		state;
	bool		isnull;

	if (SPI_execute_with_args("SELECT * FROM " EXTENSION_SCHEMA ".catalog_state($1)", 1, argtypes, args,
							  NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read the state of the catalogs");
	state = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
										SPI_tuptable->tupdesc, 1, &isnull));
	if (youngest != NULL)
		*youngest = DatumGetTransactionId(SPI_getbinval(SPI_tuptable->vals[0],
														SPI_tuptable->tupdesc,
														2, &isnull));
	catalog_leave(saved);
	return state;
}

/*
 * Makes a failed rollup be tried again when its catalog state differs from
 * this one.
 */
void
rollup_set_retry(Oid relid, int64 state)
{
	Oid			argtypes[2] = {OIDOID, INT8OID};
	Datum		args[2] = {ObjectIdGetDatum(relid), Int64GetDatum(state)};

	catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup_activity SET failed_catalog = $2 WHERE rollup = $1",
					2, argtypes, args, NULL);
}

/*
 * Makes the rollup one to be built if its catalog state differs now.  Returns
 * true if anything was written.
 */
bool
rollup_retry(Rollup *rollup)
{
	static const char query[] =
	SETTING_STATE(" state = CASE WHEN fingerprint IS NULL THEN 'building' ELSE 'stale' END"
				  " WHERE rollup = $1 AND EXISTS (SELECT FROM " EXTENSION_SCHEMA ".rollup_activity v"
				  " WHERE v.rollup = $1 AND v.failed_catalog <>"
				  " (SELECT c.state FROM " EXTENSION_SCHEMA ".catalog_state($1) c))",
				  "(SELECT v.reason FROM " EXTENSION_SCHEMA ".rollup_activity v WHERE v.rollup = changed.rollup)",
				  "NULL::pg_catalog.pg_lsn");

	if (rollup->state != ROLLUP_FAILED ||
		catalog_execute_for(query, rollup->relid) == 0)
		return false;
	ereport(LOG,
			(errmsg("rollup %s has failed and will be %s", display_name(rollup),
					XLogRecPtrIsInvalid(position_of(rollup->relid)) ?
					"rebuilt" : "tried again"),
			 errdetail("The rollup, a source table or a privilege was altered.")));
	return true;
}

/*
 * Records, also in the server log, that a rollup is no longer exact.  It
 * becomes stale and will be rebuilt.  If a rebuild would forget deleted rows,
 * it becomes failed.
 */
void
rollup_give_up(Rollup *rollup, const char *reason, XLogRecPtr lsn)
{
	const char *name = display_name(rollup);

	if (rollup->ignores == NIL)
		ereport(LOG,
				(errmsg("rollup %s is stale and will be rebuilt", name),
				 errdetail_internal("%s", reason)));
	else
		ereport(LOG,
				(errmsg("rollup %s has failed: %s", name, reason),
				 errdetail("A rebuild would forget rows that were deleted from %s and are still counted.",
						   rollup_ignored_names(rollup)),
				 errhint("To rebuild it anyway, run: %s",
						 rollup_rebuild_statement(name, true))));
	rollup->state = rollup->ignores == NIL ? ROLLUP_STALE : ROLLUP_FAILED;
	rollup_set_state(rollup->relid, rollup->state, reason, lsn);
}

/*
 * Records the same of a rollup that can be resumed from its position, which the
 * caller has kept.  It becomes stale, since nothing is forgotten by that.
 */
void
rollup_leave_behind(Rollup *rollup, const char *reason, XLogRecPtr lsn)
{
	ereport(LOG,
			(errmsg("rollup %s is stale and will be resumed",
					display_name(rollup)),
			 errdetail_internal("%s", reason)));
	rollup->state = ROLLUP_STALE;
	rollup_set_state(rollup->relid, rollup->state, reason, lsn);
}

/*
 * The same as rollup_give_up for all live rollups.  Without "rebuild", all of
 * them become failed, including stale ones that would otherwise be rebuilt
 * automatically.  A rollup that would forget deleted rows is rebuilt only if
 * that was requested.
 */
void
rollup_give_up_all(const char *reason, XLogRecPtr lsn, bool rebuild)
{
	Oid			argtypes[3] = {TEXTOID, PG_LSNOID, BOOLOID};
	Datum		args[3];
	char		nulls[3] = {' ', XLogRecPtrIsInvalid(lsn) ? 'n' : ' ', ' '};

	args[0] = CStringGetTextDatum(reason);
	args[1] = LSNGetDatum(lsn);
	args[2] = BoolGetDatum(rebuild);
	catalog_execute(SETTING_STATE(" state = CASE WHEN $3 AND (ignore_deletes = '{}' OR EXISTS (SELECT FROM "
								  EXTENSION_SCHEMA ".rebuild_request q WHERE q.rollup = rollup.rollup AND q.from_scratch))"
								  " THEN 'stale' ELSE 'failed' END"
								  " WHERE state = 'live' OR (state = 'stale' AND NOT $3)", "$1", "$2"),
					3, argtypes, args, nulls);
}

/*
 * Returns whether a second has passed since this process last recorded a
 * change of this rollup, and if so, remembers the current time.  Recording it
 * once per second is sufficient for users and avoids dead rows.  Reading the
 * row in each cycle would cost more.
 */
static bool
is_change_to_be_noted(Oid relid)
{
	static HTAB *notes = NULL;
	TimestampTz now = GetCurrentTimestamp();
	ChangeNote *note;
	bool		found;

	if (notes == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(Oid),
		.entrysize = sizeof(ChangeNote)};

		notes = hash_create("notify_stats changed rollups", 16, &info,
							HASH_ELEM | HASH_BLOBS);
	}
	note = hash_search(notes, &relid, HASH_ENTER, &found);
	if (found && !TimestampDifferenceExceeds(note->at, now,
											 CHANGE_NOTE_INTERVAL_MS))
		return false;
	note->at = now;
	return true;
}

/*
 * Records that changes of these rollups (a list of Rollup) have just been
 * applied.
 */
void
rollup_set_changed(List *rollups)
{
	List	   *relids = NIL;
	ListCell   *lc;
	Oid			argtypes[1] = {OIDARRAYOID};
	Datum		args[1];

	foreach(lc, rollups)
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);

		if (is_change_to_be_noted(rollup->relid))
			relids = lappend_oid(relids, rollup->relid);
	}
	if (relids == NIL)
		return;
	args[0] = catalog_oid_array(relids);
	catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup_activity"
					" SET changed_at = pg_catalog.clock_timestamp() WHERE rollup = ANY ($1)",
					1, argtypes, args, NULL);
}
