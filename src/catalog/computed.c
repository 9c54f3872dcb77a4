/*-------------------------------------------------------------------------
 *
 * computed.c
 *	  Rollups that are computed when they are read.
 *
 * See core.c for what such a rollup consists of.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "compat.h"
#include "computed.h"
#include "core.h"
#include "create.h"
#include "names.h"
#include "rollup.h"
#include "settings.h"
#include "source.h"
#include "xact.h"

/*
 * Throws unless both views have the same columns.  Only an error in the split
 * of a query can be the reason.
 */
static void
check_same_columns(Oid view, Oid definition)
{
	Relation	computed = relation_open(view, AccessShareLock);
	Relation	wanted = relation_open(definition, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(computed);
	TupleDesc	wanted_desc = RelationGetDescr(wanted);

	if (desc->natts != wanted_desc->natts)
		elog(ERROR, "the view of rollup \"%s\" has %d columns instead of %d",
			 RelationGetRelationName(computed), desc->natts,
			 wanted_desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		Form_pg_attribute other = TupleDescAttr(wanted_desc, i);

		if (strcmp(NameStr(column->attname), NameStr(other->attname)) != 0 ||
			column->atttypid != other->atttypid ||
			column->atttypmod != other->atttypmod ||
			column->attcollation != other->attcollation)
			elog(ERROR, "column %d of the view of rollup \"%s\" is \"%s\" %s instead of \"%s\" %s",
				 i + 1, RelationGetRelationName(computed),
				 NameStr(column->attname),
				 format_type_with_typemod(column->atttypid,
										  column->atttypmod),
				 NameStr(other->attname),
				 format_type_with_typemod(other->atttypid, other->atttypmod));
	}
	relation_close(wanted, NoLock);
	relation_close(computed, NoLock);
}

/* Returns how the view is kept, for its comment. */
static char *
describe_view(List *cores)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "computed from ");
	foreach(lc, cores)
		appendStringInfo(&buf, "%s%s", lc == list_head(cores) ? "" : ", ",
						 qualified_name(lfirst_oid(lc)));
	appendStringInfoString(&buf, " by");
	return buf.data;
}

/* Registers a computed rollup whose relations exist. */
static void
register_computed(const Computed *computed)
{
	(void) core_make_dependent(computed);
	core_register(computed);
	CommandCounterIncrement();
}

/* Compiles the definitions of the cores.  Returns a list of NewTable. */
static List *
prepare_cores(const RangeVar *rollup, List *cores, const Format *format)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, cores)
	{
		const ComputedCore *core = (const ComputedCore *) lfirst(lc);

		tables = lappend(tables, create_prepare(rollup, core->name,
												core->text, format));
	}
	return tables;
}

static List *
names_of_cores(List *cores)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, cores)
		names = lappend(names, ((const ComputedCore *) lfirst(lc))->name);
	return names;
}

static List *
definitions_of_tables(List *tables)
{
	List	   *definitions = NIL;
	ListCell   *lc;

	foreach(lc, tables)
		definitions = lappend(definitions,
							  ((const NewTable *) lfirst(lc))->definition);
	return definitions;
}

/*
 * Creates a rollup that is a view over cores, as the current user: the cores,
 * each as rollup_create does, the view, and the view <name>_definition with
 * the user's query.  Returns the OID of the view.  "cores" is a list of
 * ComputedCore, in the order in which view_text gets their OIDs.
 * "ignore_deletes" are names of sources of the cores.  All checks come before
 * anything is created, except for those of the server.  The caller has checked
 * the number of rollups.
 */
Oid
computed_create(const char *name, const char *definition_text, List *cores,
				ViewText view_text, void *arg, const Format *format,
				List *ignore_deletes)
{
	Computed	computed = {0};
	RangeVar   *rollup;
	const char *definition_name;
	RawStmt    *statement;
	List	   *tables;
	List	   *ignored;
	char	   *text;
	ListCell   *lc;

	rollup = create_resolve_name(name);
	create_check_names(rollup, names_of_cores(cores), false);
	statement = create_parse(definition_text);
	tables = prepare_cores(rollup, cores, format);
	ignored = create_resolve_ignored(ignore_deletes,
									 definitions_of_tables(tables), format,
									 true);

	foreach(lc, tables)
		computed.cores = lappend_oid(computed.cores,
									 create_prepared((const NewTable *) lfirst(lc),
													 ignored));
	definition_name = create_definition_name(rollup->relname);
	computed.definition = create_view(rollup, definition_name, statement,
									  definition_text);
	text = view_text(arg, computed.cores);

	computed.view = create_view(rollup, rollup->relname, create_parse(text),
								text);
	check_same_columns(computed.view, computed.definition);

	SPI_connect();
	/* read no rows, but fail if the user may not read what they are made of */
	xact_execute(psprintf("SELECT FROM %s LIMIT 0",
						  qualified_name(computed.definition)));
	xact_execute(psprintf("SELECT FROM %s LIMIT 0",
						  qualified_name(computed.view)));
	create_comments("VIEW", qualified_name(computed.view),
					qualified_name(computed.definition),
					describe_view(computed.cores), ignored);
	SPI_finish();
	register_computed(&computed);
	return computed.view;
}

/*
 * Adopting
 */

/*
 * Lists the tables that are, by their names, the cores of a view; see the SQL
 * function.
 */
static List *
left_cores(Oid view)
{
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(view)};
	MemoryContext context = CurrentMemoryContext;
	SavedRole	saved = catalog_enter();
	List	   *cores = NIL;

	if (SPI_execute_with_args("SELECT core FROM pg_catalog.unnest(" EXTENSION_SCHEMA ".left_cores($1)) core",
							  1, argtypes, args, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the cores of a view");
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;

		cores = lappend_oid(cores,
							DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
														   SPI_tuptable->tupdesc,
														   1, &isnull)));
	}
	catalog_leave(saved);
	return cores;
}

/* Returns whether a relation can only have been a computed rollup. */
bool
computed_is_left(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_VIEW && left_cores(relid) != NIL;
}

/*
 * Returns the view with the query of a former computed rollup; throws if there
 * is none with the same owner.
 */
static Oid
find_left_definition(Oid view)
{
	char	   *name = create_definition_name(get_rel_name(view));
	Oid			definition = get_relname_relid(name, get_rel_namespace(view));

	if (!OidIsValid(definition) ||
		get_rel_relkind(definition) != RELKIND_VIEW ||
		source_owner(definition) != source_owner(view))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not the view of a former rollup",
						get_rel_name(view)),
				 errdetail("The view \"%s\" with the definition is missing, or has another owner.",
						   name),
				 errhint("If it was renamed, rename it back. To create a new rollup, use notify_stats.create_rollup().")));
	return definition;
}

/*
 * Turns a view, its definition and its cores into a rollup again, if they were
 * one but the catalog no longer has it.  Cores that are rollups already stay as
 * they are.  The current user must own all of them.
 */
void
computed_adopt(Oid view, const Format *format, List *ignore_deletes)
{
	Computed	computed = {.view = view};
	List	   *rollups = NIL;
	List	   *definitions = NIL;
	List	   *ignored;
	ListCell   *lc;

	create_check_adoptable(view);
	computed.definition = find_left_definition(view);
	computed.cores = left_cores(view);
	foreach(lc, computed.cores)
	{
		Rollup	   *rollup;

		if (rollup_exists(lfirst_oid(lc)))
		{
			rollup_check_owner(lfirst_oid(lc));
			continue;
		}
		rollup = create_open_left(lfirst_oid(lc), format);
		rollups = lappend(rollups, rollup);
		definitions = lappend(definitions, rollup->shape->definition);
	}
	create_check_number(list_length(rollups));
	ignored = create_resolve_ignored(ignore_deletes, definitions, format, true);
	foreach(lc, rollups)
		create_adopt_left((const Rollup *) lfirst(lc), ignored, NULL);
	register_computed(&computed);
}

/*
 * Owners
 */

/* Gives a relation to a role, if the current user may do that. */
static void
give_to(Oid relid, Oid owner)
{
	if (get_rel_name(relid) == NULL || source_owner(relid) == owner)
		return;
	ATExecChangeOwner(relid, owner, false, AccessExclusiveLock);
	CommandCounterIncrement();
}

/*
 * If a view is a computed rollup, gives its definition, its cores and their
 * definitions to the owner of the view.  The server checks the privileges of
 * the current user as it does for ALTER TABLE ... OWNER TO.
 */
void
computed_follow_owner(Oid view)
{
	const Computed *computed = core_find_computed(view);
	List	   *rollups;
	Oid			owner;
	ListCell   *lc;

	if (computed == NULL)
		return;
	owner = source_owner(view);
	rollups = rollup_list(NULL);
	give_to(computed->definition, owner);
	foreach(lc, computed->cores)
	{
		const Rollup *core = rollup_find(rollups, lfirst_oid(lc));

		give_to(lfirst_oid(lc), owner);
		if (core != NULL)
			give_to(core->view, owner);
	}
}
