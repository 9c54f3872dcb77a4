/*-------------------------------------------------------------------------
 *
 * expand.c
 *	  Brings a query into the form that the split works on.
 *
 * In this form there are no views and no WITH, and each column is referred to
 * by the FROM item that it comes from, not by a join.  Subqueries that only
 * select and join are part of the query around them, where that is simple.
 * PostgreSQL's planner does the same, but its result cannot be written as SQL
 * again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "expand.h"
#include "obstacle.h"
#include "range_table.h"

/* Added to the numbers of range table entries while they are moved. */
#define MOVED_VARNO 30000

/* The WITH queries of one level of the query. */
typedef struct Scope
{
	List	   *ctes;			/* of CommonTableExpr */
	int			level;			/* depth of the query that they belong to */
} Scope;

static void expand_level(Query *query, List *scopes, int level,
						 List **obstacles);

/* Returns whether the rows of a SELECT are groups of rows of FROM. */
bool
query_is_grouped(const Query *query)
{
	return query->groupClause != NIL || query->groupingSets != NIL ||
		query->hasAggs || query->havingQual != NULL;
}

/* ----------------------------------------------------------------
 *		views and WITH
 * ----------------------------------------------------------------
 */

/* Replaces a view by its query, except for the server's own views. */
static bool
expand_view(RangeTblEntry *rte)
{
	Relation	view;

	if (rte->rtekind != RTE_RELATION || !rte->inFromCl ||
		rte->relkind != RELKIND_VIEW || rte->relid < FirstNormalObjectId)
		return false;
	view = table_open(rte->relid, AccessShareLock);
	rte->subquery = copyObject(get_view_query(view));
	table_close(view, NoLock);
	rte->rtekind = RTE_SUBQUERY;
	rte->security_barrier = false;
	rte->relid = InvalidOid;
	rte->relkind = 0;
	rte->rellockmode = 0;
	rte->inh = false;
	return true;
}

static void
expand_noted_view(RangeTblEntry *rte, void *context)
{
	List	  **names = (List **) context;
	char	   *name = rte->rtekind == RTE_RELATION ?
	get_rel_name(rte->relid) : NULL;

	if (expand_view(rte))
		*names = lappend(*names, name);
}

/*
 * Replaces the views that a query reads by their queries, in place.  Returns
 * their names (char *).
 */
List	   *
expand_views(Query *query)
{
	List	   *names = NIL;

	range_table_visit(query, expand_noted_view, &names);
	return names;
}

/* Replaces a reference to a WITH query by the query. */
static void
expand_cte(RangeTblEntry *rte, List *scopes, int level, List **obstacles)
{
	int			wanted = level - (int) rte->ctelevelsup;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, scopes)
	{
		const Scope *scope = (const Scope *) lfirst(lc);

		if (scope->level != wanted)
			continue;
		foreach(lc2, scope->ctes)
		{
			const CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc2);

			if (strcmp(cte->ctename, rte->ctename) != 0)
				continue;
			if (rte->self_reference || cte->cterecursive ||
				!IsA(cte->ctequery, Query) ||
				((Query *) cte->ctequery)->commandType != CMD_SELECT)
				break;
			rte->subquery = (Query *) copyObject(cte->ctequery);
			IncrementVarSublevelsUp((Node *) rte->subquery,
									(int) rte->ctelevelsup, 1);
			rte->rtekind = RTE_SUBQUERY;
			rte->ctename = NULL;
			rte->ctelevelsup = 0;
			rte->coltypes = NIL;
			rte->coltypmods = NIL;
			rte->colcollations = NIL;
			return;
		}
	}
	*obstacles = lappend(*obstacles,
						 obstacle_unsupported(psprintf("WITH query \"%s\", which is recursive or changes data,",
													   rte->ctename),
											  NULL, "Write the query without it."));
}

/* ----------------------------------------------------------------
 *		references to columns
 * ----------------------------------------------------------------
 */

/*
 * Forgets which outer joins a column passes through, and the join by whose
 * name the user refers to it.  SQL text can do without.
 */
static bool
strip_nulling_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		forget_nulling_relations((Var *) node);
		((Var *) node)->varnosyn = 0;
		((Var *) node)->varattnosyn = 0;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, strip_nulling_walker,
								 context, 0);
	return expression_tree_walker(node, strip_nulling_walker, context);
}

/* Replaces the columns of joins by the columns of the joined items. */
static void
flatten_joins(Query *query)
{
	bool		has_join = false;
	ListCell   *lc;

	foreach(lc, query->rtable)
		has_join |= lfirst_node(RangeTblEntry, lc)->rtekind == RTE_JOIN;
	if (!has_join)
		return;
	query->targetList = (List *) flatten_join_columns(query, (Node *) query->targetList);
	query->havingQual = flatten_join_columns(query, query->havingQual);
	query->jointree = (FromExpr *) flatten_join_columns(query, (Node *) query->jointree);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY && rte->lateral)
			rte->subquery = (Query *) flatten_join_columns(query, (Node *) rte->subquery);
		if (rte->rtekind == RTE_FUNCTION)
			rte->functions = (List *) flatten_join_columns(query, (Node *) rte->functions);
	}
}

/* The columns of a FROM item: their names, and Vars of the item. */
typedef struct ItemColumns
{
	List	   *names;
	List	   *vars;
} ItemColumns;

static ItemColumns rebuild_join(Query *query, Node *node);

static ItemColumns
leaf_columns(Query *query, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	ItemColumns columns = {NIL, NIL};

	expand_rte(rte, rtindex, &columns.names, &columns.vars);
	return columns;
}

/* Adds the columns of one side to those of a join, in order. */
static void
add_side(RangeTblEntry *join, const ItemColumns *side, bool left)
{
	ListCell   *lc;
	int			n = 0;

	foreach(lc, side->vars)
	{
		n++;
		join->joinaliasvars = lappend(join->joinaliasvars, lfirst(lc));
		if (left)
			join->joinleftcols = lappend_int(join->joinleftcols, n);
		else
			join->joinrightcols = lappend_int(join->joinrightcols, n);
	}
	join->eref->colnames = list_concat(join->eref->colnames, side->names);
}

/* Describes a join again, after the items below it have changed. */
static ItemColumns
rebuild_join_expr(Query *query, JoinExpr *join)
{
	RangeTblEntry *rte = rt_fetch(join->rtindex, query->rtable);
	ItemColumns left = rebuild_join(query, join->larg);
	ItemColumns right = rebuild_join(query, join->rarg);
	ItemColumns columns = {NIL, NIL};
	int			n = 0;
	ListCell   *lc;

	join->isNatural = false;
	join->usingClause = NIL;
	join->join_using_alias = NULL;
	join->alias = NULL;
	rte->alias = NULL;
	rte->join_using_alias = NULL;
	rte->eref = makeAlias("unnamed_join", NIL);
	rte->joinmergedcols = 0;
	rte->joinaliasvars = NIL;
	rte->joinleftcols = NIL;
	rte->joinrightcols = NIL;
	add_side(rte, &left, true);
	add_side(rte, &right, false);

	/* above, the columns of this join are those of the joined items */
	foreach(lc, rte->joinaliasvars)
	{
		Node	   *var = (Node *) lfirst(lc);

		n++;
		columns.vars = lappend(columns.vars,
							   makeVar(join->rtindex, n, exprType(var),
									   exprTypmod(var), exprCollation(var), 0));
	}
	columns.names = list_copy(rte->eref->colnames);
	return columns;
}

static ItemColumns
rebuild_join(Query *query, Node *node)
{
	if (IsA(node, RangeTblRef))
		return leaf_columns(query, ((RangeTblRef *) node)->rtindex);
	return rebuild_join_expr(query, castNode(JoinExpr, node));
}

/* Lists the indexes of FROM items, each join after what it joins. */
static List *
list_items(Node *node, List *indexes)
{
	if (IsA(node, RangeTblRef))
		return lappend_int(indexes, ((RangeTblRef *) node)->rtindex);
	indexes = list_items(((JoinExpr *) node)->larg, indexes);
	indexes = list_items(((JoinExpr *) node)->rarg, indexes);
	return lappend_int(indexes, ((JoinExpr *) node)->rtindex);
}

/*
 * Reduces the range table to the items of FROM, each join after what it joins,
 * as the server expects it.
 */
static void
order_range_table(Query *query)
{
	List	   *indexes = NIL;
	List	   *rtable = NIL;
	ListCell   *lc;

	foreach(lc, query->jointree->fromlist)
		indexes = list_items((Node *) lfirst(lc), indexes);
	OffsetVarNodes((Node *) query, MOVED_VARNO, 0);
	foreach(lc, indexes)
	{
		rtable = lappend(rtable, rt_fetch(lfirst_int(lc), query->rtable));
		ChangeVarNodes((Node *) query, MOVED_VARNO + lfirst_int(lc),
					   list_length(rtable), 0);
	}
	query->rtable = rtable;
}

/*
 * Describes the joins of one level of the query again, after FROM items have
 * been replaced.  No expression may refer to the columns of a join.
 */
void
expand_join_columns(Query *query)
{
	ListCell   *lc;

	order_range_table(query);
	foreach(lc, query->jointree->fromlist)
		(void) rebuild_join(query, (Node *) lfirst(lc));
}

/* ----------------------------------------------------------------
 *		subqueries that only select and join
 * ----------------------------------------------------------------
 */

/* Returns whether a subquery can become part of the query around it. */
static bool
is_simple(const RangeTblEntry *rte)
{
	const Query *query = rte->subquery;

	return rte->rtekind == RTE_SUBQUERY && !rte->lateral &&
		query->commandType == CMD_SELECT && !query_is_grouped(query) &&
		query->setOperations == NULL && !query->hasWindowFuncs &&
		!query->hasTargetSRFs && query->distinctClause == NIL &&
		query->limitCount == NULL && query->limitOffset == NULL &&
		query->rowMarks == NIL && query->cteList == NIL &&
		query->jointree->fromlist != NIL &&
		!contain_volatile_functions((Node *) query);
}

/* Context of substitute_item_mutator. */
typedef struct ItemSubstitution
{
	int			varno;
	List	   *columns;		/* an Expr for each of its columns */
	int			sublevels_up;
} ItemSubstitution;

/* Replaces the columns of a subquery by their expressions. */
static Node *
substitute_item_mutator(Node *node, ItemSubstitution *context)
{
	Node	   *result;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		if (var->varno != context->varno ||
			(int) var->varlevelsup != context->sublevels_up)
			return (Node *) copyObject(var);
		result = copyObject(list_nth(context->columns, var->varattno - 1));
		IncrementVarSublevelsUp(result, context->sublevels_up, 0);
		return result;
	}
	if (IsA(node, Query))
	{
		context->sublevels_up++;
		result = (Node *) query_tree_mutator((Query *) node,
											 substitute_item_mutator, context,
											 0);
		context->sublevels_up--;
		return result;
	}
	return expression_tree_mutator(node, substitute_item_mutator, context);
}

/* Returns whether an expression refers to a whole row of an item. */
typedef struct WholeRow
{
	int			varno;
	int			sublevels_up;
} WholeRow;

static bool
whole_row_walker(Node *node, WholeRow *context)
{
	bool		result;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == context->varno &&
			(int) ((Var *) node)->varlevelsup == context->sublevels_up &&
			((Var *) node)->varattno <= 0;
	if (IsA(node, Query))
	{
		context->sublevels_up++;
		result = query_tree_walker((Query *) node, whole_row_walker, context,
								   0);
		context->sublevels_up--;
		return result;
	}
	return expression_tree_walker(node, whole_row_walker, context);
}

static bool
has_whole_row(const Query *query, int varno)
{
	WholeRow	context = {varno, 0};

	return query_tree_walker(unconstify(Query *, query), whole_row_walker,
							 &context, 0);
}

static void
add_qual(Node **quals, Node *qual)
{
	if (qual != NULL)
		*quals = *quals == NULL ? qual :
			(Node *) makeBoolExpr(AND_EXPR, list_make2(*quals, qual), -1);
}

/* Adds the items of an inner join without conditions to the query. */
static Node *
cross_join(Query *query, List *items)
{
	Node	   *result = (Node *) linitial(items);
	ListCell   *lc;

	for_each_from(lc, items, 1)
	{
		JoinExpr   *join = makeNode(JoinExpr);
		RangeTblEntry *rte = makeNode(RangeTblEntry);

		rte->rtekind = RTE_JOIN;
		rte->jointype = JOIN_INNER;
		rte->eref = makeAlias("unnamed_join", NIL);
		rte->inFromCl = true;
		query->rtable = lappend(query->rtable, rte);
		join->jointype = JOIN_INNER;
		join->larg = result;
		join->rarg = (Node *) lfirst(lc);
		join->quals = makeBoolConst(true, false);
		join->rtindex = list_length(query->rtable);
		result = (Node *) join;
	}
	return result;
}

/*
 * Finds a subquery below inner joins that can become part of the query.  On a
 * side of an outer join it stays: its conditions and expressions apply before
 * the join.  Returns 0 if there is none.
 */
static int
find_simple(const Query *query, Node *node)
{
	int			rtindex;

	if (IsA(node, RangeTblRef))
	{
		rtindex = ((RangeTblRef *) node)->rtindex;
		return is_simple(rt_fetch(rtindex, query->rtable)) &&
			!has_whole_row(query, rtindex) ? rtindex : 0;
	}
	if (((JoinExpr *) node)->jointype != JOIN_INNER)
		return 0;
	rtindex = find_simple(query, ((JoinExpr *) node)->larg);
	return rtindex > 0 ? rtindex :
		find_simple(query, ((JoinExpr *) node)->rarg);
}

/* Puts another item in the place of one below inner joins. */
static Node *
replace_item(Node *node, int rtindex, Node *item)
{
	JoinExpr   *join;

	if (IsA(node, RangeTblRef))
		return ((RangeTblRef *) node)->rtindex == rtindex ? item : node;
	join = castNode(JoinExpr, node);
	join->larg = replace_item(join->larg, rtindex, item);
	join->rarg = replace_item(join->rarg, rtindex, item);
	return node;
}

/* Makes a subquery, an item below inner joins, part of the query. */
static void
pull_up(Query *query, int rtindex)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	Query	   *sub = rte->subquery;
	ItemSubstitution substitution = {rtindex, NIL, 0};
	Node	   *item;
	ListCell   *lc;

	OffsetVarNodes((Node *) sub, list_length(query->rtable), 0);
	IncrementVarSublevelsUp((Node *) sub, -1, 1);
	foreach(lc, sub->targetList)
		substitution.columns = lappend(substitution.columns,
									   lfirst_node(TargetEntry, lc)->expr);

	/* the subquery stays in the range table, unused and empty */
	rte->rtekind = RTE_RESULT;
	rte->subquery = NULL;
	(void) query_tree_mutator(query, substitute_item_mutator, &substitution,
							  QTW_DONT_COPY_QUERY);

	query->rtable = list_concat(query->rtable, sub->rtable);
	query->hasSubLinks |= sub->hasSubLinks;
	add_qual(&query->jointree->quals, sub->jointree->quals);
	item = cross_join(query, sub->jointree->fromlist);
	foreach(lc, query->jointree->fromlist)
		lfirst(lc) = replace_item((Node *) lfirst(lc), rtindex, item);
}

/* Pulls up one subquery.  Returns whether there was one. */
static bool
pull_up_one(Query *query)
{
	ListCell   *lc;

	/* columns with the same expression are told apart by GROUPING SETS */
	if (query->groupingSets != NIL)
		return false;
	foreach(lc, query->jointree->fromlist)
	{
		int			rtindex = find_simple(query, (Node *) lfirst(lc));

		if (rtindex > 0)
		{
			pull_up(query, rtindex);
			return true;
		}
	}
	return false;
}

/* ----------------------------------------------------------------
 *		all levels
 * ----------------------------------------------------------------
 */

/* Context of sublink_walker. */
typedef struct SublinkWalk
{
	List	   *scopes;
	int			level;
	List	  **obstacles;
} SublinkWalk;

static bool
sublink_walker(Node *node, SublinkWalk *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		expand_level((Query *) node, context->scopes, context->level + 1,
					 context->obstacles);
		return false;
	}
	return expression_tree_walker(node, sublink_walker, context);
}

static void
expand_level(Query *query, List *scopes, int level, List **obstacles)
{
	SublinkWalk walk;
	ListCell   *lc;

	check_stack_depth();
	flatten_group_columns(query);
	if (query->cteList != NIL)
	{
		Scope	   *scope = palloc(sizeof(Scope));

		scope->ctes = query->cteList;
		scope->level = level;
		scopes = lcons(scope, scopes);
	}
	flatten_joins(query);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_CTE)
			expand_cte(rte, scopes, level, obstacles);
		if (rte->rtekind == RTE_SUBQUERY)
			expand_level(rte->subquery, scopes, level + 1, obstacles);
	}
	walk.scopes = scopes;
	walk.level = level;
	walk.obstacles = obstacles;
	(void) query_tree_walker(query, sublink_walker, &walk,
							 QTW_IGNORE_RT_SUBQUERIES |
							 QTW_IGNORE_CTE_SUBQUERIES);
	query->cteList = NIL;
	query->hasModifyingCTE = false;
	query->hasRecursive = false;
	while (pull_up_one(query))
		;
}

static bool
joins_walker(Node *node, void *context)
{
	Query	   *query = (Query *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, joins_walker, context);
	if (query->setOperations == NULL && query->jointree->fromlist != NIL)
		expand_join_columns(query);
	return query_tree_walker(query, joins_walker, context, 0);
}

/* Describes the joins of all levels of a query again. */
void
expand_all_joins(Query *query)
{
	(void) joins_walker((Node *) query, NULL);
}

/*
 * Returns a copy of an analyzed query without views in the form that the split
 * works on, in the current memory context.  Adds an Obstacle for each WITH query that
 * cannot be written in place.
 */
Query	   *
expand_query(const Query *query, List **obstacles)
{
	Query	   *copy = copyObject(unconstify(Query *, query));

	(void) strip_nulling_walker((Node *) copy, NULL);
	expand_level(copy, NIL, 0, obstacles);
	return copy;
}
