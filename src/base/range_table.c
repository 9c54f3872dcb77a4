/*-------------------------------------------------------------------------
 *
 * range_table.c
 *	  The FROM items of a query and of all its subqueries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"

#include "range_table.h"

typedef struct Visit
{
	RangeTableVisit visit;
	void	   *context;
} Visit;

static bool
visit_walker(Node *node, Visit *visit)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		visit->visit((RangeTblEntry *) node, visit->context);
		return false;			/* its subquery is visited as a Query */
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, visit_walker, visit,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, visit_walker, visit);
}

/*
 * Calls a function for each range table entry of a query, its subqueries, WITH
 * queries and sublinks; for a subquery in FROM before those in it.  The
 * function may change the entry, and make it a subquery.
 */
void
range_table_visit(Query *query, RangeTableVisit visit, void *context)
{
	Visit		visits = {visit, context};

	(void) visit_walker((Node *) query, &visits);
}

static void
note_relation(RangeTblEntry *rte, void *context)
{
	List	  **relids = (List **) context;

	if (rte->rtekind == RTE_RELATION)
		*relids = list_append_unique_oid(*relids, rte->relid);
}

/* Returns the OIDs of all relations that a query reads. */
List	   *
range_table_relations(Query *query)
{
	List	   *relids = NIL;

	range_table_visit(query, note_relation, &relids);
	return relids;
}
