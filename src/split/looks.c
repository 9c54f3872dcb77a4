/*-------------------------------------------------------------------------
 *
 * looks.c
 *	  Whether it matters how values of a subquery look.
 *
 * A kept sum of numeric values may have more decimal places than the sum of
 * the rows that there are now.  That is no difference where it is returned,
 * compared, or added up; it is one in (s.total)::text or avg(s.total), if
 * "total" is such a sum.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "looks.h"

typedef struct LooksContext
{
	Index		varno;			/* of the subquery */
	int			sublevels_up;
	const Query *subquery;
	Bitmapset  *columns;		/* whose looks matter */
} LooksContext;

static bool looks_walker(Node *node, LooksContext *context);

/* Returns whether an expression only compares its arguments. */
static bool
is_comparison(Node *node)
{
	if (!IsA(node, OpExpr) && !IsA(node, DistinctExpr))
		return false;
	switch (get_opcode(((OpExpr *) node)->opno))
	{
		case F_NUMERIC_EQ:
		case F_NUMERIC_NE:
		case F_NUMERIC_LT:
		case F_NUMERIC_LE:
		case F_NUMERIC_GT:
		case F_NUMERIC_GE:
			return true;
		default:
			return false;
	}
}

/* Returns whether an aggregate only compares its arguments, or adds them up. */
static bool
is_plain_aggregate(Node *node)
{
	if (!IsA(node, Aggref))
		return false;
	switch (((Aggref *) node)->aggfnoid)
	{
		case F_SUM_NUMERIC:
		case F_MIN_NUMERIC:
		case F_MAX_NUMERIC:
		case F_COUNT_ANY:
			return true;
		default:
			return false;
	}
}

static void
note_var(LooksContext *context, const Var *var)
{
	if (var->varno != context->varno ||
		(int) var->varlevelsup != context->sublevels_up)
		return;
	if (var->varattno <= 0)
		context->columns = bms_add_members(context->columns,
										   looks_of_all(context->subquery));
	else if (var->vartype == NUMERICOID)
		context->columns = bms_add_member(context->columns, var->varattno);
}

/* Visits arguments of which only the value matters. */
static void
visit_values(LooksContext *context, List *args)
{
	ListCell   *lc;

	foreach(lc, args)
	{
		Node	   *arg = (Node *) lfirst(lc);

		if (IsA(arg, TargetEntry))
			arg = (Node *) ((TargetEntry *) arg)->expr;
		if (!IsA(arg, Var) || ((Var *) arg)->varattno <= 0)
			(void) looks_walker(arg, context);
	}
}

static bool
looks_walker(Node *node, LooksContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		note_var(context, (Var *) node);
		return false;
	}
	if (is_comparison(node))
	{
		visit_values(context, ((OpExpr *) node)->args);
		return false;
	}
	if (IsA(node, Query))
	{
		context->sublevels_up++;
		(void) query_tree_walker((Query *) node, looks_walker, context,
								 QTW_IGNORE_JOINALIASES);
		context->sublevels_up--;
		return false;
	}
	return expression_tree_walker(node, looks_walker, context);
}

/* Visits an output column of which only the value matters. */
static void
visit_output(LooksContext *context, Node *node)
{
	if (is_plain_aggregate(node))
	{
		visit_values(context, ((Aggref *) node)->args);
		(void) looks_walker((Node *) ((Aggref *) node)->aggfilter, context);
	}
	else if (IsA(node, CoalesceExpr))
	{
		ListCell   *lc;

		foreach(lc, ((CoalesceExpr *) node)->args)
			visit_output(context, (Node *) lfirst(lc));
	}
	else
		visit_values(context, list_make1(node));
}

/*
 * Returns the numbers of the columns of a subquery in FROM whose looks matter
 * to the query around it.  "looks" are those of the query's own columns.
 */
Bitmapset *
looks_of_item(Query *query, Index varno, const Bitmapset *looks)
{
	LooksContext context = {.varno = varno};
	Query		rest = *query;
	ListCell   *lc;

	context.subquery = rt_fetch(varno, query->rtable)->subquery;
	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (bms_is_member(entry->resno, looks))
			(void) looks_walker((Node *) entry->expr, &context);
		else
			visit_output(&context, (Node *) entry->expr);
	}
	rest.targetList = NIL;
	(void) query_tree_walker(&rest, looks_walker, &context,
							 QTW_IGNORE_JOINALIASES);
	return context.columns;
}

/* Returns the numbers of all columns of a query. */
Bitmapset *
looks_of_all(const Query *query)
{
	return bms_add_range(NULL, 1, list_length(query->targetList));
}
