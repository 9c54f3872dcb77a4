/*-------------------------------------------------------------------------
 *
 * replacement.c
 *	  Replacing a rollup by another one that is built beside it.
 *
 * alter_rollup() creates the new form of a rollup as a rollup of its own, the
 * successor, and notes that it replaces the old one.  It is built like any
 * rollup.  When all its parts are live, both are at the position of the main
 * stream.  Then a cycle puts it in the place of the old one, in one
 * transaction.  It depends on the old rollup, so that it is dropped with it.
 *
 * If both are views, and the new one has all columns of the old one, the query
 * of the old view is replaced, and it takes over the cores.  So its OID
 * remains, and everything that depends on it.  Otherwise the new relation gets
 * the name of the old one, and the views of users that read the old one are
 * replaced by the same queries.
 *
 * The SQL functions replacement_...() say what to copy, and what could not be
 * kept.  The latter is an error of alter_rollup().  It is checked again before
 * the swap, which is then given up: the old rollup stays.
 *
 * The cycle takes only locks that are free.  As readers may follow each other
 * without a gap, it also waits for them, for a short time, once in
 * INSIST_INTERVAL_MS.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "busy_lock.h"
#include "catalog.h"
#include "computed.h"
#include "core.h"
#include "create.h"
#include "from_query.h"
#include "names.h"
#include "replacement.h"
#include "rollup.h"
#include "settings.h"
#include "slot.h"
#include "source.h"
#include "stream.h"
#include "xact.h"

/* The name of a successor, and the longest name that is appended to it. */
#define SUCCESSOR_SUFFIX "_new"
#define LONGEST_SUFFIX "_core_99_definition"

#define INSIST_INTERVAL_MS 10000
#define INSIST_MS 100

typedef struct Replacement
{
	Oid			rollup;
	Oid			successor;		/* InvalidOid: there is none */
	bool		given_up;		/* none, because it was given up; else the
								 * definition was detached */
} Replacement;

/* A row of a function replacement_...(). */
typedef struct Step
{
	Oid			relid;
	Oid			role;			/* that runs the statement */
	char	   *text;			/* a statement, a name or a problem */
	Oid			other;
} Step;

/* The views that this process itself replaces are not checked. */
static bool working = false;

/*
 * Catalog
 */

static List *
list_replacements(void)
{
	List	   *list = NIL;
	TupleDesc	desc;
	ListCell   *lc;

	foreach(lc, catalog_read(CATALOG_REPLACEMENT, &desc))
	{
		HeapTuple	row = (HeapTuple) lfirst(lc);
		Replacement *replacement = palloc0(sizeof(Replacement));
		bool		isnull;
		Datum		value;

		replacement->rollup =
			DatumGetObjectId(heap_getattr(row, REPLACEMENT_ROLLUP, desc,
										  &isnull));
		value = heap_getattr(row, REPLACEMENT_SUCCESSOR, desc, &isnull);
		replacement->successor = isnull ? InvalidOid : DatumGetObjectId(value);
		(void) heap_getattr(row, REPLACEMENT_REASON, desc, &isnull);
		replacement->given_up = !isnull;
		list = lappend(list, replacement);
	}
	return list;
}

static const Replacement *
find_replacement(Oid rollup)
{
	ListCell   *lc;

	foreach(lc, list_replacements())
	{
		if (((const Replacement *) lfirst(lc))->rollup == rollup)
			return (const Replacement *) lfirst(lc);
	}
	return NULL;
}

/* Returns the rollup that a rollup is to replace, or InvalidOid. */
static Oid
replaced_by(Oid successor)
{
	ListCell   *lc;

	foreach(lc, list_replacements())
	{
		if (((const Replacement *) lfirst(lc))->successor == successor)
			return ((const Replacement *) lfirst(lc))->rollup;
	}
	return InvalidOid;
}

static void
forget_replacement(Oid rollup)
{
	catalog_execute_for("DELETE FROM " EXTENSION_SCHEMA ".replacement WHERE rollup = $1",
						rollup);
}

/*
 * Enters the successor of a rollup, or none and the reason, or neither if the
 * definition was detached.
 */
static void
note_replacement(Oid rollup, Oid successor, const char *reason)
{
	Oid			argtypes[3] = {OIDOID, OIDOID, TEXTOID};
	Datum		args[3] = {ObjectIdGetDatum(rollup),
		ObjectIdGetDatum(successor),
	reason ? CStringGetTextDatum(reason) : (Datum) 0};
	char		nulls[3] = {' ', OidIsValid(successor) ? ' ' : 'n',
	reason ? ' ' : 'n'};

	catalog_execute("INSERT INTO " EXTENSION_SCHEMA ".replacement (rollup, successor, reason) VALUES ($1, $2, $3)"
					" ON CONFLICT (rollup) DO UPDATE SET successor = excluded.successor, reason = excluded.reason",
					3, argtypes, args, nulls);
}

/*
 * Returns the rows (of Step) of one of the functions replacement_...().  They
 * are run as the extension's owner.
 */
static List *
steps_of(const char *function, Oid rollup, Oid successor)
{
	Oid			argtypes[2] = {OIDOID, OIDOID};
	Datum		args[2] = {ObjectIdGetDatum(rollup),
	ObjectIdGetDatum(successor)};
	MemoryContext context = CurrentMemoryContext;
	SavedRole	saved = catalog_enter();
	List	   *steps = NIL;

	if (SPI_execute_with_args(psprintf("SELECT s.relid, s.role, s.text, s.other FROM "
									   EXTENSION_SCHEMA ".%s($1, $2) s",
									   function),
							  2, argtypes, args, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute %s()", function);
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Step	   *step = palloc0(sizeof(Step));
		bool		isnull;

		/* the values of nulls are 0 */
		step->relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		step->role = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		step->text = SPI_getvalue(row, desc, 3);
		if (step->text != NULL)
			step->text = MemoryContextStrdup(context, step->text);
		step->other = DatumGetObjectId(SPI_getbinval(row, desc, 4, &isnull));
		steps = lappend(steps, step);
	}
	catalog_leave(saved);
	return steps;
}

/* Runs a statement as a role. */
static void
run_as(Oid role, const char *statement)
{
	SavedRole	saved = xact_become(role);

	SPI_connect();
	xact_execute(statement);
	SPI_finish();
	xact_restore_role(saved);
	CommandCounterIncrement();
}

static void
run_steps(List *steps)
{
	ListCell   *lc;

	foreach(lc, steps)
		run_as(((const Step *) lfirst(lc))->role,
			   ((const Step *) lfirst(lc))->text);
}

/* Returns whether the view keeps its OID. */
static bool
is_in_place(Oid rollup, Oid successor)
{
	return ((const Step *) linitial(steps_of("replacement_place", rollup,
											 successor)))->other != InvalidOid;
}

/* Returns the OIDs of all relations of a rollup, the rollup itself first. */
static List *
relations_of(Oid rollup)
{
	const Computed *computed = core_find_computed(rollup);
	List	   *rollups = rollup_list(NULL);
	List	   *relids = list_make1_oid(rollup);
	ListCell   *lc;

	if (computed != NULL)
		relids = lappend_oid(relids, computed->definition);
	foreach(lc, core_parts(rollup))
	{
		const Rollup *part = rollup_find(rollups, lfirst_oid(lc));

		relids = list_append_unique_oid(relids, lfirst_oid(lc));
		if (part != NULL)
			relids = lappend_oid(relids, part->view);
	}
	return relids;
}

/*
 * Returns whether a view reads one of these relations, or any if the list is
 * empty, as of a snapshot; NULL: now.
 */
static bool
reads_one(Oid view, List *relids, Snapshot snapshot)
{
	Relation	rewrite = table_open(RewriteRelationId, AccessShareLock);
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc rules;
	HeapTuple	rule;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_rewrite_ev_class, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(view));
	rules = systable_beginscan(rewrite, RewriteRelRulenameIndexId, true,
							   snapshot, 1, &key);
	while (HeapTupleIsValid(rule = systable_getnext(rules)))
	{
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber,
					F_OIDEQ, ObjectIdGetDatum(RewriteRelationId));
		ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber,
					F_OIDEQ,
					ObjectIdGetDatum(((Form_pg_rewrite) GETSTRUCT(rule))->oid));
		scan = systable_beginscan(depend, DependDependerIndexId, true,
								  snapshot, 2, keys);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);

			/* each rule of a view also depends on the view */
			found |= row->refclassid == RelationRelationId &&
				(relids == NIL ? row->refobjid != view :
				 list_member_oid(relids, row->refobjid));
		}
		systable_endscan(scan);
	}
	systable_endscan(rules);
	table_close(depend, AccessShareLock);
	table_close(rewrite, AccessShareLock);
	return found;
}

/*
 * Beginning
 */

static void
complain_of_part(Oid relid, Oid users)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s cannot be altered by itself",
					qualified_name(relid)),
			 errdetail("It belongs to rollup %s.", qualified_name(users)),
			 errhint("Alter rollup %s.", qualified_name(users))));
}

/* Throws unless the current user may replace the rollup. */
static void
check_alterable(Oid relid)
{
	List	   *rollups = rollup_list(NULL);
	ListCell   *lc;

	rollup_check_owner(relid);
	if (core_users_rollup(relid) != relid)
	{
		Oid			users = core_users_rollup(relid);
		Oid			replaced = replaced_by(users);

		complain_of_part(relid, OidIsValid(replaced) ? replaced : users);
	}
	if (OidIsValid(replaced_by(relid)))
		complain_of_part(relid, replaced_by(relid));
	foreach(lc, core_parts(relid))
	{
		const Rollup *part = rollup_find(rollups, lfirst_oid(lc));

		if (part != NULL && part->ignores != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot alter rollup %s, which has ignore_deletes",
							qualified_name(relid)),
					 errdetail("The rollup still counts rows that were deleted from %s. These rows cannot be counted again.",
							   rollup_ignored_names(part)),
					 errhint("Save its totals, drop it, and create it again.")));
	}
}

/*
 * Switches to the owner of the rollup, if another role alters it.  Unlike
 * xact_become, retains the search_path, which the text of the definition
 * needs.
 */
static void
become_owner(Oid relid)
{
	Oid			userid;
	int			sec_context;

	GetUserIdAndSecContext(&userid, &sec_context);
	if (userid != source_owner(relid))
		SetUserIdAndSecContext(source_owner(relid),
							   sec_context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
}

static void
drop_relation(Oid relid)
{
	ObjectAddress address;

	ObjectAddressSet(address, RelationRelationId, relid);
	performDeletion(&address, DROP_RESTRICT, 0);
	CommandCounterIncrement();
}

static void
drop_successor(Oid successor)
{
	const Computed *computed = core_find_computed(successor);

	if (computed != NULL)
	{
		(void) core_make_dependent(computed);
		CommandCounterIncrement();
	}
	LockRelationOid(successor, AccessExclusiveLock);
	drop_relation(successor);
}

/*
 * Ends a replacement of a rollup that was begun earlier, or that is noted.
 */
void
replacement_cancel(Oid relid)
{
	const Replacement *pending = find_replacement(relid);

	if (pending == NULL)
		return;
	if (OidIsValid(pending->successor) &&
		get_rel_name(pending->successor) != NULL)
	{
		ereport(NOTICE,
				(errmsg("the replacement of rollup %s that was being built is canceled",
						qualified_name(relid))));
		drop_successor(pending->successor);
	}
	forget_replacement(relid);
}

/* Returns whether a relation that begins with this name exists. */
static bool
is_name_used(const char *name, Oid namespace)
{
	static const char *const suffixes[] = {"", "_definition", "_core",
	"_core_definition"};

	for (int i = 0; i < lengthof(suffixes); i++)
	{
		if (OidIsValid(get_relname_relid(psprintf("%s%s", name, suffixes[i]),
										 namespace)))
			return true;
	}
	return false;
}

/* Returns a free name, qualified and quoted, for the successor of a rollup. */
static char *
choose_name(Oid relid)
{
	char	   *name = get_rel_name(relid);
	Oid			namespace = get_rel_namespace(relid);
	char	   *chosen;

	name[pg_mbcliplen(name, strlen(name), NAMEDATALEN - 1 - strlen(LONGEST_SUFFIX) -
					  strlen(SUCCESSOR_SUFFIX) - 3)] = '\0';
	chosen = psprintf("%s" SUCCESSOR_SUFFIX, name);
	for (int i = 2; is_name_used(chosen, namespace) && i < 1000; i++)
		chosen = psprintf("%s" SUCCESSOR_SUFFIX "%d", name, i);
	return quote_qualified_identifier(get_namespace_name(namespace), chosen);
}

/* Returns the column in which a rollup notes the time of a change, or NULL. */
static const char *
updated_at_of(Oid relid)
{
	const Rollup *rollup = rollup_find(rollup_list(NULL), relid);

	return rollup == NULL ? NULL : rollup->updated_at;
}

/* Returns whether a table has columns of the same names and types as another. */
static bool
has_columns_of(Oid relid, Oid other)
{
	char	   *name;

	for (AttrNumber i = 1; (name = get_attname(other, i, true)) != NULL; i++)
	{
		AttrNumber	attnum = get_attnum(relid, name);

		if (attnum == InvalidAttrNumber ||
			get_atttype(relid, attnum) != get_atttype(other, i))
			return false;
	}
	return true;
}

/*
 * Returns how a rollup can be altered without a new table, to be added to
 * another hint.  Returns "" if the new form is a view or has other columns.
 */
static const char *
keep_table_hint(Oid rollup, Oid successor)
{
	const char *name = quote_literal_cstr(qualified_name(rollup));
	const char *updated_at = updated_at_of(rollup);

	if (get_rel_relkind(rollup) != RELKIND_RELATION ||
		get_rel_relkind(successor) != RELKIND_RELATION ||
		!has_columns_of(rollup, successor))
		return "";
	return psprintf(" To keep the table, with all that belongs to it, run in one transaction: SELECT notify_stats.drop_rollup(%s, keep_table => true); SELECT notify_stats.create_rollup(%s, definition, adopt => true%s);",
					name, name, updated_at == NULL ? "" :
					psprintf(", updated_at => %s",
							 quote_literal_cstr(updated_at)));
}

/* Throws if something that belongs to the old rollup could not be kept. */
static void
check_obstacles(Oid rollup, Oid successor)
{
	List	   *steps = steps_of("replacement_obstacles", rollup, successor);
	StringInfoData detail;
	ListCell   *lc;

	if (steps == NIL)
		return;
	initStringInfo(&detail);
	foreach(lc, steps)
		appendStringInfo(&detail, "%s%s.", detail.len > 0 ? "\n" : "",
						 ((const Step *) lfirst(lc))->text);
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot alter rollup %s because not everything that belongs to it can be kept",
					qualified_name(rollup)),
			 errdetail("%s", detail.data),
			 errhint("Drop or change these objects first.%s",
					 keep_table_hint(rollup, successor))));
}

/* Creates the indexes that users have created on the old rollup. */
static void
create_indexes(Oid rollup, Oid successor)
{
	ListCell   *lc;

	foreach(lc, steps_of("replacement_indexes", rollup, successor))
	{
		const Step *step = (const Step *) lfirst(lc);

		if (!OidIsValid(step->other))
			run_as(step->role, step->text);
	}
}

/*
 * Creates the new form of a rollup, and registers it as its successor, which
 * takes its place when it is built.  Throws if the query cannot be kept, or if
 * something that belongs to the rollup could not be.
 */
void
replacement_begin(Oid relid, const char *text, const Format *format,
				  List *facts)
{
	CreateOptions options = {.facts = facts};
	Oid			userid;
	int			sec_context;
	Oid			successor;

	check_alterable(relid);
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	check_alterable(relid);		/* it may have changed in between */
	options.updated_at = updated_at_of(relid);
	GetUserIdAndSecContext(&userid, &sec_context);
	become_owner(relid);
	replacement_cancel(relid);
	successor = from_query_create(choose_name(relid), text, format, &options);
	if (steps_of("replacement_same", relid, successor) != NIL)
	{
		ereport(NOTICE,
				(errmsg("rollup %s already has this definition",
						qualified_name(relid))));
		drop_successor(successor);
	}
	else
	{
		note_replacement(relid, successor, NULL);
		relation_make_dependent(successor, relid, DEPENDENCY_AUTO);
		CommandCounterIncrement();
		check_obstacles(relid, successor);
		create_indexes(relid, successor);
	}
	SetUserIdAndSecContext(userid, sec_context);
}

/* Returns the sources, in order, whose deleted rows a rollup still counts. */
static List *
ignored_by(Oid relid)
{
	List	   *rollups = rollup_list(NULL);
	List	   *ignored = NIL;
	ListCell   *lc;

	foreach(lc, core_parts(relid))
	{
		const Rollup *part = rollup_find(rollups, lfirst_oid(lc));

		if (part != NULL)
			ignored = list_concat_unique_oid(ignored, part->ignores);
	}
	list_sort(ignored, list_oid_cmp);
	return ignored;
}

static bool
same_name(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/*
 * Returns whether a rollup is what create_rollup() would make of this query
 * with these options.  Makes it under another name, compares, and drops it.
 */
static bool
is_same(Oid relid, const char *text, const Format *format,
		const CreateOptions *options)
{
	CreateOptions other = *options;
	int			guc_nestlevel = NewGUCNestLevel();
	Oid			successor;
	bool		same;

	other.adopt = false;
	other.to_compare = true;
	/* notices would name the wrong relation */
	(void) set_config_option("client_min_messages", "warning", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	successor = from_query_create(choose_name(relid), text, format, &other);
	same = steps_of("replacement_same", relid, successor) != NIL &&
		equal(ignored_by(relid), ignored_by(successor)) &&
		same_name(updated_at_of(relid), options->updated_at);
	drop_successor(successor);
	AtEOXact_GUC(true, guc_nestlevel);
	return same;
}

/*
 * Returns the OID of a rollup that has this name already, after a NOTICE, or
 * InvalidOid if there is none.  Throws if its definition or an option differs.
 */
Oid
replacement_find_same(const char *name, const char *text,
					  const Format *format, const CreateOptions *options)
{
	RangeVar   *rollup = create_resolve_name(name);
	Oid			relid = RangeVarGetRelid(rollup, NoLock, true);

	if (!OidIsValid(relid) ||
		(!rollup_exists(relid) && core_find_computed(relid) == NULL))
		return InvalidOid;
	rollup_check_owner(relid);
	if (!is_same(relid, text, format, options))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("rollup \"%s\" already exists with another definition",
						rollup->relname),
				 errdetail("The query, ignore_deletes or updated_at differs."),
				 errhint("To replace its query, use: SELECT notify_stats.alter_rollup(%s, definition);",
						 quote_literal_cstr(qualified_name(relid)))));
	ereport(NOTICE,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("rollup \"%s\" already exists, skipping",
					rollup->relname)));
	return relid;
}

/* Runs steps that replace views of a rollup. */
static void
replace_views(List *steps)
{
	working = true;
	PG_TRY();
	{
		run_steps(steps);
	}
	PG_FINALLY();
	{
		working = false;
	}
	PG_END_TRY();
}

/*
 * Replaces the definitions of a rollup by queries that read its own tables.
 * Then the server allows any change of its sources.  The rollup fails, and
 * stays as it is until it is altered again.
 */
void
replacement_detach(Oid relid)
{
	check_alterable(relid);
	LockRelationOid(relid, ShareUpdateExclusiveLock);
	check_alterable(relid);
	replacement_cancel(relid);
	replace_views(steps_of("replacement_stubs", relid, InvalidOid));
	note_replacement(relid, InvalidOid, NULL);
}

/*
 * Swapping
 */

/* Gives the successor to the owner of the rollup, and moves it to its schema. */
static void
follow(const Replacement *replacement)
{
	Oid			owner = source_owner(replacement->rollup);
	Oid			namespace = get_rel_namespace(replacement->rollup);
	ListCell   *lc;

	foreach(lc, relations_of(replacement->successor))
	{
		if (source_owner(lfirst_oid(lc)) == owner)
			continue;
		ATExecChangeOwner(lfirst_oid(lc), owner, false, AccessExclusiveLock);
		CommandCounterIncrement();
	}
	foreach(lc, relations_of(replacement->successor))
	{
		Oid			relid = lfirst_oid(lc);

		if (get_rel_namespace(relid) != namespace)
			run_as(owner, psprintf("ALTER %s %s SET SCHEMA %s",
								   get_rel_relkind(relid) == RELKIND_VIEW ?
								   "VIEW" : "TABLE", qualified_name(relid),
								   quote_identifier(get_namespace_name(namespace))));
	}
}

/* Restores the dependencies that a dump does not contain. */
static void
restore_dependencies(Oid rollup)
{
	const Computed *computed = core_find_computed(rollup);
	List	   *rollups = rollup_list(NULL);
	ListCell   *lc;

	if (computed != NULL)
		(void) core_make_dependent(computed);
	foreach(lc, core_parts(rollup))
	{
		const Rollup *part = rollup_find(rollups, lfirst_oid(lc));

		if (part != NULL)
			(void) rollup_adopt_view(part);
	}
	CommandCounterIncrement();
}

static void
remove_dependency(Oid dependent, Oid relid)
{
	(void) deleteDependencyRecordsForSpecific(RelationRelationId, dependent,
											  DEPENDENCY_AUTO,
											  RelationRelationId, relid);
	CommandCounterIncrement();
}

static void
rename_relation(Oid relid, const char *name)
{
	char		relkind = get_rel_relkind(relid);
	bool		is_index = relkind == RELKIND_INDEX;

	if (strcmp(get_rel_name(relid), name) == 0)
		return;
	/* the name of an index does not matter so much */
	if (is_index && OidIsValid(get_relname_relid(name,
												 get_rel_namespace(relid))))
		return;
	RenameRelationInternal(relid, name, true, is_index);
	CommandCounterIncrement();
}

/* The view has got the new query: gives it the new cores. */
static void
take_over_cores(const Replacement *replacement)
{
	Computed   *old = core_find_computed(replacement->rollup);
	const Computed *new = core_find_computed(replacement->successor);
	List	   *old_cores = old->cores;
	Oid			argtypes[2] = {OIDOID, OIDARRAYOID};
	Datum		args[2] = {ObjectIdGetDatum(replacement->rollup)};
	ListCell   *lc;

	foreach(lc, new->cores)
		remove_dependency(lfirst_oid(lc), new->view);
	drop_relation(new->view);
	foreach(lc, old_cores)
	{
		remove_dependency(lfirst_oid(lc), old->view);
		drop_relation(lfirst_oid(lc));
	}
	catalog_execute_for("DELETE FROM " EXTENSION_SCHEMA ".computed_rollup WHERE rollup = $1",
						new->view);
	args[1] = catalog_oid_array(new->cores);
	catalog_execute("UPDATE " EXTENSION_SCHEMA ".computed_rollup SET cores = $2::pg_catalog.regclass[] WHERE rollup = $1",
					2, argtypes, args, NULL);
	old->cores = new->cores;
	(void) core_make_dependent(old);
	CommandCounterIncrement();
}

/* Puts the successor in the place of the rollup.  All locks are held. */
static void
swap(void *arg)
{
	const Replacement *replacement = (const Replacement *) arg;
	Oid			rollup = replacement->rollup;
	Oid			successor = replacement->successor;
	char	   *name = get_rel_name(rollup);
	bool		in_place;
	List	   *views;
	List	   *names;
	List	   *comments;
	ListCell   *lc;

	/* locks that were not foreseen */
	xact_limit_lock_waits(INSIST_MS);
	restore_dependencies(rollup);
	restore_dependencies(successor);
	follow(replacement);
	check_obstacles(rollup, successor);
	create_indexes(rollup, successor);
	in_place = is_in_place(rollup, successor);
	run_steps(steps_of("replacement_copies", rollup, successor));
	/* these refer to the old names, and must be read before they change */
	views = steps_of("replacement_views", rollup, successor);
	names = steps_of("replacement_names", rollup, successor);
	comments = steps_of("replacement_comments", rollup, successor);
	run_steps(comments);

	remove_dependency(successor, rollup);
	if (in_place)
	{
		replace_views(views);
		take_over_cores(replacement);
	}
	else
	{
		rename_relation(rollup, psprintf("notify_stats_old_%u", rollup));
		rename_relation(successor, name);
		replace_views(views);
		drop_relation(rollup);
	}
	foreach(lc, names)
		rename_relation(((const Step *) lfirst(lc))->relid,
						((const Step *) lfirst(lc))->text);
	forget_replacement(rollup);
	debug_stop("swapped");
}

/*
 * Runs a function in a subtransaction.  Returns the error, or NULL.  No slot
 * may be open.  A cancellation ends the transaction as usual.
 */
static ErrorData *
attempt(void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
		ERRCODE_OPERATOR_INTERVENTION)
		ReThrowError(error);
	return error;
}

/* Returns whether an error may not occur the next time. */
static bool
is_passing(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		category == ERRCODE_TRANSACTION_ROLLBACK ||
		category == ERRCODE_INSUFFICIENT_RESOURCES;
}

/* Lists everything that is renamed, replaced or dropped; the rollup first. */
static List *
relations_to_lock(const Replacement *replacement)
{
	List	   *relids = relations_of(replacement->rollup);
	ListCell   *lc;

	relids = list_concat_unique_oid(relids,
									relations_of(replacement->successor));
	foreach(lc, steps_of("replacement_views", replacement->rollup,
						 replacement->successor))
		relids = list_append_unique_oid(relids,
										((const Step *) lfirst(lc))->relid);
	return relids;
}

/* Locks all relations of a list, if the locks are free. */
static bool
lock_free(List *relids)
{
	List	   *locked = NIL;
	ListCell   *lc;

	foreach(lc, relids)
	{
		BusyLock	busy;

		if (!busy_lock_relation(lfirst_oid(lc), AccessExclusiveLock, &busy))
			break;
		locked = lappend_oid(locked, lfirst_oid(lc));
	}
	if (lc == NULL)
		return true;
	/* readers must not wait for the end of the cycle */
	foreach(lc, locked)
		UnlockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
	return false;
}

static void
lock_insistently(void *arg)
{
	ListCell   *lc;

	xact_limit_lock_waits(INSIST_MS);
	foreach(lc, (List *) arg)
		LockRelationOid(lfirst_oid(lc), AccessExclusiveLock);
}

/*
 * Locks all relations of a list.  Waits for the locks only once in
 * INSIST_INTERVAL_MS.  That delays readers, and all rollups.
 */
static bool
lock_all(List *relids)
{
	static TimestampTz insist_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (lock_free(relids))
	{
		insist_at = 0;
		return true;
	}
	if (insist_at != 0 && now >= insist_at)
	{
		insist_at = 0;
		slot_close();
		if (attempt(lock_insistently, relids) == NULL)
			return true;
	}
	if (insist_at == 0)
		insist_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												INSIST_INTERVAL_MS);
	return false;
}

static void
drop_given_up(void *arg)
{
	drop_successor(((const Replacement *) arg)->successor);
}

/*
 * Returns the reason for a column that everybody may read.  Our own errors
 * contain names of objects only.  Others may contain values of rows, and are in
 * the server log.
 */
static char *
public_reason(const ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
		return psprintf("SQLSTATE %s, see the server log",
						unpack_sql_state(error->sqlerrcode));
	return error->detail == NULL ? error->message :
		psprintf("%s: %s", error->message, error->detail);
}

/* Gives a replacement up: the rollup stays as it is. */
static void
give_up(Replacement *replacement, const ErrorData *error)
{

	ereport(LOG,
			(errmsg("the replacement of rollup %s was given up: %s",
					qualified_name(replacement->rollup), error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0));
	(void) attempt(drop_given_up, replacement);
	note_replacement(replacement->rollup, InvalidOid, public_reason(error));
}

/* Returns whether all parts of the successor are live. */
static bool
is_built(const Replacement *replacement, List *rollups)
{
	ListCell   *lc;

	foreach(lc, core_parts(replacement->successor))
	{
		const Rollup *part = rollup_find(rollups, lfirst_oid(lc));

		if (part == NULL || part->state != ROLLUP_LIVE)
			return false;
	}
	return true;
}

/* Puts a successor that is built in its place, if the locks are free. */
static ReplacementStep
carry_out(Replacement *replacement)
{
	char	   *name = rollup_qualified_name(replacement->rollup);
	ErrorData  *error;

	if (!lock_all(relations_to_lock(replacement)))
		return REPLACEMENT_LATER;
	debug_stop("swap-locked");
	slot_close();
	error = attempt(swap, replacement);
	if (error == NULL)
		ereport(LOG, (errmsg("rollup %s was replaced", name)));
	else if (is_passing(error))
		return REPLACEMENT_LATER;
	else
		give_up(replacement, error);
	return REPLACEMENT_SOMETHING;
}

/*
 * Makes the parts of a rollup failed whose definition was detached, before a
 * cycle notices that as an error.  Returns whether there are such parts, and
 * sets *written if it has changed the state of one.
 */
static bool
fail_detached(const Replacement *replacement, List *rollups, bool *written)
{
	static const char reason[] = "its definition was removed by alter_rollup()";
	bool		detached = false;
	ListCell   *lc;

	*written = false;
	foreach(lc, core_parts(replacement->rollup))
	{
		const Rollup *part = rollup_find(rollups, lfirst_oid(lc));

		if (part == NULL ||
			!reads_one(part->view, list_make1_oid(part->relid), NULL))
			continue;
		detached = true;
		if (part->state == ROLLUP_FAILED)
			continue;
		ereport(LOG,
				(errmsg("rollup %s has failed: %s",
						core_display_name(part->relid), reason)));
		rollup_set_state(part->relid, ROLLUP_FAILED, reason,
						 InvalidXLogRecPtr);
		*written = true;
	}
	return detached;
}

static ReplacementStep
continue_one(Replacement *replacement, List *rollups, bool *ready)
{
	bool		exists = get_rel_name(replacement->rollup) != NULL;
	bool		detached;
	bool		written = false;

	detached = exists && fail_detached(replacement, rollups, &written);
	if (written)
		return REPLACEMENT_SOMETHING;
	if (exists && !OidIsValid(replacement->successor) &&
		(detached || replacement->given_up))
		return REPLACEMENT_NONE;
	/* otherwise it may have got a new definition by hand */
	if (!exists || !OidIsValid(replacement->successor) ||
		get_rel_name(replacement->successor) == NULL)
	{
		forget_replacement(replacement->rollup);
		return REPLACEMENT_SOMETHING;
	}
	if (!relation_is_dependent(replacement->successor, replacement->rollup,
							   DEPENDENCY_AUTO))
	{
		/* it comes from a dump */
		relation_make_dependent(replacement->successor, replacement->rollup,
								DEPENDENCY_AUTO);
		return REPLACEMENT_SOMETHING;
	}
	if (!is_built(replacement, rollups))
		return REPLACEMENT_LATER;
	*ready = true;
	return carry_out(replacement);
}

/*
 * Carries out the replacements whose successor is built; "rollups" are all
 * rollups.  The stream is locked.  *ready is set to
 * whether one waits for locks only.
 */
ReplacementStep
replacement_continue(List *rollups, bool *ready)
{
	ReplacementStep result = REPLACEMENT_NONE;
	ListCell   *lc;

	*ready = false;
	foreach(lc, list_replacements())
	{
		ReplacementStep step = continue_one((Replacement *) lfirst(lc),
											rollups, ready);

		if (step == REPLACEMENT_SOMETHING)
			return step;		/* commit that first */
		result = Max(result, step);
	}
	return result;
}

/*
 * Views that users replace
 */

/*
 * Throws if a view had a query before this command.  A dump first creates the
 * views that rely on a key without their queries.
 */
static void
refuse(Oid view, Oid rollup)
{
	if (!reads_one(view, NIL, GetActiveSnapshot()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot replace view %s, which belongs to rollup %s",
					qualified_name(view), qualified_name(rollup)),
			 errhint("Run: SELECT notify_stats.alter_rollup(%s, definition);",
					 quote_literal_cstr(qualified_name(rollup)))));
}

/* Throws if a rollup could not be maintained with the definition it has now. */
static void
check_definition(Rollup *rollup)
{
	StreamRow	row;
	BusyLock	busy;
	ListCell   *lc;

	if (rollup_open(rollup, &busy) != SHAPE_READY)
		return;					/* the next cycle checks it */
	if (!stream_load(&row) || !row.has_slot)
		return;
	foreach(lc, rollup->shape->definition->sources)
		format_check_source(row.format, rollup->shape->definition,
							lfirst_oid(lc));
}

/*
 * A view was created or replaced.  Throws if it belongs to a rollup, which
 * could not be maintained then.
 */
void
replacement_check_view(Oid view)
{
	ListCell   *lc;

	if (working || IsBinaryUpgrade)
		return;
	foreach(lc, core_list_computed())
	{
		const Computed *computed = (const Computed *) lfirst(lc);

		if (view != computed->definition && view != computed->view)
			continue;
		refuse(view, computed->view);
		/* a dump; the worker may have seen the cores before this query */
		if (core_make_dependent(computed))
			CommandCounterIncrement();
	}
	foreach(lc, rollup_list(NULL))
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);

		if (rollup->view != view)
			continue;
		if (core_users_rollup(rollup->relid) != rollup->relid)
			refuse(view, core_users_rollup(rollup->relid));
		else
			check_definition(rollup);
	}
}
