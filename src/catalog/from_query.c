/*-------------------------------------------------------------------------
 *
 * from_query.c
 *	  Creating a rollup from any query.
 *
 * If a table can hold the result of the query, the rollup is that table.
 * Otherwise it is a view that computes the result from cores (computed.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "computed.h"
#include "create.h"
#include "estimate.h"
#include "from_query.h"
#include "obstacle.h"
#include "xact.h"

/*
 * A core with at least this many rows is reported if it has more than half as
 * many rows as it counts.
 */
#define LONG_CORE_ROWS 1000

/* Resolves the names of the tables that the user has named as facts. */
static List *
resolve_facts(List *names)
{
	List	   *facts = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		List	   *name = textToQualifiedNameList(cstring_to_text((char *) lfirst(lc)));

		facts = lappend_oid(facts,
							RangeVarGetRelid(makeRangeVarFromNameList(name),
											 NoLock, false));
	}
	return facts;
}

/* Throws if there are obstacles, and names all of them. */
static void
complain_of_obstacles(const List *obstacles)
{
	if (list_length(obstacles) < 2)
		obstacle_throw_first(obstacles);
	obstacle_throw_all(obstacles, ERRCODE_FEATURE_NOT_SUPPORTED,
					   "the query cannot be kept as a rollup");
}

/*
 * Throws if the current user may not read what the query reads.  The server
 * checks that when a query is started; with LIMIT 0 it returns at once.
 */
static void
check_privileges(const Split *split)
{
	SPI_connect();
	if (SPI_execute(psprintf("SELECT FROM (%s) AS q LIMIT 0",
							 split_definition_text(split)), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not check the privileges on the tables of a query");
	SPI_finish();
}

/*
 * Splits the text of a query.  "facts" are names (char *) of tables whose rows
 * are counted, where joins do not tell.
 */
Split	   *
from_query_split(const char *name, const char *text, List *facts)
{
	Query	   *query = create_analyze(text);
	int			guc_nestlevel = NewGUCNestLevel();
	Split	   *split;

	xact_use_portable_text();
	split = split_query(query, name, resolve_facts(facts));
	if (split->obstacles == NIL)
		check_privileges(split);
	AtEOXact_GUC(true, guc_nestlevel);
	return split;
}

/* The names of the columns of a core: group columns; measures. */
static void
append_columns(StringInfo buf, const Core *core)
{
	int			ngroups = list_length(core->query->groupClause);
	ListCell   *lc;

	foreach(lc, core->query->targetList)
	{
		int			n = foreach_current_index(lc);

		appendStringInfo(buf, "%s%s", n == 0 ? "" : n == ngroups ? "; " : ", ",
						 lfirst_node(TargetEntry, lc)->resname);
	}
}

/* Returns a description of what is computed when reading. */
static char *
describe_reading(const Split *split)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, split->findings)
	{
		const Finding *finding = (const Finding *) lfirst(lc);

		if (strcmp(finding->verdict, FINDING_COMPUTED) == 0)
			appendStringInfo(&buf, "%s%s", buf.len > 0 ? ", " : "",
							 finding->part);
	}
	return buf.len > 0 ? buf.data : "output columns";
}

/* Returns the advice of the first finding that has one, or NULL. */
static const char *
find_advice(const Split *split)
{
	ListCell   *lc;

	foreach(lc, split->findings)
	{
		if (((const Finding *) lfirst(lc))->advice != NULL)
			return ((const Finding *) lfirst(lc))->advice;
	}
	return NULL;
}

/* Tells the user what is kept, and what is computed when reading. */
static void
notice_split(const Split *split, const char *name)
{
	StringInfoData kept;
	bool		is_long = false;
	ListCell   *lc;

	initStringInfo(&kept);
	foreach(lc, split->cores)
	{
		const Core *core = (const Core *) lfirst(lc);
		CoreSize	size = estimate_core(core->query);

		appendStringInfo(&kept, "%s%s (", kept.len > 0 ? ", " : "",
						 quote_identifier(core->name));
		append_columns(&kept, core);
		appendStringInfo(&kept, "), about %.0f rows for %.0f", size.groups,
						 size.facts);
		is_long |= size.facts >= LONG_CORE_ROWS &&
			size.groups > size.facts / 2;
	}
	ereport(NOTICE,
			(errmsg("kept for rollup \"%s\": %s", name, kept.data),
			 errdetail("Computed when \"%s\" is read: %s.", name,
					   describe_reading(split)),
			 find_advice(split) != NULL ? errhint("%s", find_advice(split)) :
			 is_long ? errhint("What is kept is nearly as long as its source. Coarser group columns, such as a day instead of a time, make it shorter.") : 0));
}

static void
notice_changes(const Split *split)
{
	ListCell   *lc;

	foreach(lc, split->findings)
	{
		const Finding *finding = (const Finding *) lfirst(lc);

		if (strcmp(finding->verdict, FINDING_CHANGED) == 0)
			ereport(NOTICE, (errmsg("%s", finding->reason)));
	}
}

static char *
view_text(void *arg, List *core_relids)
{
	return split_view_text((const Split *) arg, core_relids);
}

static Oid
create_computed(const char *name, const char *relname, const char *text,
				Split *split, const Format *format, List *ignore_deletes)
{
	List	   *cores = NIL;
	ListCell   *lc;
	Oid			view;

	foreach(lc, split->cores)
	{
		const Core *core = (const Core *) lfirst(lc);
		ComputedCore *computed = palloc(sizeof(ComputedCore));

		computed->name = core->name;
		computed->text = core->text;
		cores = lappend(cores, computed);
	}
	view = computed_create(name, text, cores, view_text, split, format,
						   ignore_deletes);
	notice_split(split, relname);
	return view;
}

/* Throws if an option needs a table, as the rollup will be a view. */
static void
check_no_table_options(const Split *split, const CreateOptions *options)
{
	if (!options->adopt && options->updated_at == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 options->adopt ?
			 errmsg("cannot adopt a table because the rollup would be a view") :
			 errmsg("cannot use updated_at because the rollup would be a view"),
			 errdetail("A table cannot contain the result of this query. This would be computed when the rollup is read: %s.",
					   describe_reading(split)),
			 options->adopt ?
			 errhint("Leave these parts out of the query, and compute them in a view of your own over the table. Or create the rollup under another name, without adopt => true.") :
			 errhint("Leave these parts out of the query, and compute them in a view of your own over the rollup. Or leave out updated_at.")));
}

/*
 * Throws if there would be too many rollups.  One that is made to be compared
 * with another one does not stay.
 */
static void
check_number(const CreateOptions *options, int n)
{
	if (!options->to_compare)
		create_check_number(n);
}

/*
 * Creates the rollup of a query as the current user, and registers it as
 * building.  Returns the OID of its table or view.  Throws if the query cannot
 * be kept, naming all reasons, if there are too many rollups, and for the
 * reasons of rollup_create.
 */
Oid
from_query_create(const char *name, const char *text, const Format *format,
				  const CreateOptions *options)
{
	RangeVar   *rollup = create_resolve_name(name);
	Split	   *split;
	int			guc_nestlevel;
	Oid			relid;

	check_number(options, 1);
	split = from_query_split(rollup->relname, text, options->facts);
	complain_of_obstacles(split->obstacles);
	if (!split->plain)
		check_no_table_options(split, options);
	check_number(options, list_length(split->cores));
	notice_changes(split);
	if (split->plain && !split->changed)
		return rollup_create(name, text, format, options);
	guc_nestlevel = NewGUCNestLevel();
	xact_use_portable_text();
	text = split_definition_text(split);

	if (split->plain)
		relid = rollup_create(name, text, format, options);
	else
		relid = create_computed(name, rollup->relname, text, split, format,
								options->ignore_deletes);
	AtEOXact_GUC(true, guc_nestlevel);
	return relid;
}
