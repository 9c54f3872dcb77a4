/*-------------------------------------------------------------------------
 *
 * view_difference.c
 *	  Comparing the view of a computed rollup with its definition.
 *
 * The cores are as of the position of the stream, and the other tables that
 * the view reads are as of now.  So the view itself may differ from its
 * definition for a moment.  What has to be equal is the view over the
 * definitions of its cores.  One statement computes both from the sources,
 * with one snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "range_table.h"
#include "rollup.h"
#include "source.h"
#include "view_difference.h"
#include "xact.h"

/* The number of rows that are fetched at a time. */
#define FETCH_ROWS 1000

/* Makes a query read the definition of a rollup instead of its table. */
static void
use_definition(RangeTblEntry *rte, void *context)
{
	List	   *cores = (List *) context;	/* of Rollup */
	const Rollup *core = rte->rtekind == RTE_RELATION ?
	rollup_find(cores, rte->relid) : NULL;

	if (core == NULL)
		return;
	rte->relid = core->view;
	rte->relkind = RELKIND_VIEW;
}

/*
 * Returns the query of a view as SQL, over the definitions of the given
 * rollups, without its LIMIT and OFFSET, for which rows that are equal in the
 * order are interchangeable.  Sets *columns to the view's.
 */
static char *
query_of_view(Oid relid, List *cores, TupleDesc *columns)
{
	Relation	view = relation_open(relid, AccessShareLock);
	Query	   *query = copyObject(get_view_query(view));

	*columns = CreateTupleDescCopy(RelationGetDescr(view));
	relation_close(view, NoLock);
	range_table_visit(query, use_definition, cores);
	query->limitOffset = NULL;
	query->limitCount = NULL;
	query->limitOption = LIMIT_OPTION_COUNT;
	if (!query->hasDistinctOn)
		query->sortClause = NIL;
	return pg_get_querydef(query, false);
}

/*
 * Appends one side of the comparison.  Its columns are c1, c2 ..., as text if
 * GROUP BY cannot compare their type.
 */
static void
append_side(StringInfo buf, const char *query, TupleDesc columns,
			bool computed)
{
	appendStringInfoString(buf, "SELECT ");
	for (int i = 1; i <= columns->natts; i++)
	{
		Oid			type = TupleDescAttr(columns, i - 1)->atttypid;
		bool		comparable =
		OidIsValid(lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr);

		appendStringInfo(buf, "q.c%d%s AS c%d, ", i,
						 comparable ? "" : "::text", i);
	}
	appendStringInfo(buf, "%s AS computed FROM (%s) q (",
					 computed ? "true" : "false", query);
	for (int i = 1; i <= columns->natts; i++)
		appendStringInfo(buf, "%sc%d", i > 1 ? ", " : "", i);
	appendStringInfoChar(buf, ')');
}

/*
 * Returns the query for the rows that are not equally often in both results:
 * the row as JSON, and the two numbers.
 */
static char *
difference_query(const Computed *computed)
{
	static const char counts[] =
	"count(*) FILTER (WHERE s.computed)%s, count(*) FILTER (WHERE NOT s.computed)%s";
	StringInfoData buf;
	TupleDesc	columns;
	List	   *rollups = rollup_list(NULL);
	List	   *cores = NIL;
	ListCell   *lc;
	char	   *view;
	char	   *definition;

	foreach(lc, computed->cores)
	{
		Rollup	   *core = rollup_find(rollups, lfirst_oid(lc));

		if (core != NULL)
			cores = lappend(cores, core);
	}
	view = query_of_view(computed->view, cores, &columns);
	definition = query_of_view(computed->definition, NIL, &columns);

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT (SELECT to_json(x)::text FROM (SELECT ");
	for (int i = 1; i <= columns->natts; i++)
		appendStringInfo(&buf, "%ss.c%d AS %s", i > 1 ? ", " : "", i,
						 quote_identifier(NameStr(TupleDescAttr(columns, i - 1)->attname)));
	appendStringInfoString(&buf, ") x), ");
	appendStringInfo(&buf, counts, "::text", "::text");
	appendStringInfoString(&buf, " FROM (");
	append_side(&buf, view, columns, true);
	appendStringInfoString(&buf, " UNION ALL ");
	append_side(&buf, definition, columns, false);
	appendStringInfoString(&buf, ") s GROUP BY ");
	for (int i = 1; i <= columns->natts; i++)
		appendStringInfo(&buf, "%ss.c%d", i > 1 ? ", " : "", i);
	appendStringInfoString(&buf, " HAVING count(*) FILTER (WHERE s.computed) <> count(*) FILTER (WHERE NOT s.computed) ORDER BY 1");
	return buf.data;
}

/*
 * Reports the rows that are not equally often in the result of the view and in
 * that of its definition, both computed from the sources.  The current user
 * must be allowed to run code of the owner.
 */
void
view_difference_report(const Computed *computed, VerifyCallback callback,
					   void *arg)
{
	SavedRole	saved = xact_become(source_owner(computed->view));
	Portal		portal;

	xact_use_portable_text();
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, difference_query(computed), 0,
									   NULL, NULL, NULL, true, 0);
	do
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	row = SPI_tuptable->vals[i];
			TupleDesc	desc = SPI_tuptable->tupdesc;

			callback(SPI_getvalue(row, desc, 1), SPI_getvalue(row, desc, 2),
					 SPI_getvalue(row, desc, 3), arg);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
	SPI_finish();
	xact_restore_role(saved);
}
