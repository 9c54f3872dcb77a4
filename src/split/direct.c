/*-------------------------------------------------------------------------
 *
 * direct.c
 *	  Whether each row of a core is a row of the result.
 *
 * Then the view need not group again, and a condition or join on any of its
 * columns finds single rows of the core.  It is so if
 *
 *	- every other item is joined by a unique key, so that a row of the core
 *	  meets at most one row of it, and
 *	- the expressions by which the view groups tell the rows of the core apart:
 *	  each group column of the core is among them, or is equal to one of them
 *	  by an inner join.
 *
 * The result is wrong as soon as a key is no longer unique.  So the keys must
 * be constraints, and the view depends on them, as views do that rely on a
 * primary key in GROUP BY.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "direct.h"
#include "safe.h"
#include "unique.h"

/* What is known about the FROM clause of a view. */
typedef struct Joins
{
	const Query *view;
	int			core;			/* index of the core */
	bool		unsuitable;		/* it has something else than inner joins, and
								 * left joins with tables */
	List	   *conditions;		/* of inner joins and WHERE */
	List	   *items;			/* indexes of the items of inner joins */
	List	   *left_joins;		/* of JoinExpr, the innermost first */
	Bitmapset  *fixed;			/* items of which a row of the core meets at
								 * most one row */
	List	   *keys;			/* OIDs of the constraints that ensure it */
	const List *cores;			/* OIDs of the tables of cores; NIL: the core
								 * is a reference to WITH */
} Joins;

static const RangeTblEntry *
item(const Joins *joins, int rtindex)
{
	return rt_fetch(rtindex, joins->view->rtable);
}

static bool
is_core(const Joins *joins, const RangeTblEntry *rte)
{
	return joins->cores == NIL ? rte->rtekind == RTE_CTE :
		rte->rtekind == RTE_RELATION &&
		list_member_oid(joins->cores, rte->relid);
}

static void
read_joins(Joins *joins, Node *node)
{
	JoinExpr   *join = (JoinExpr *) node;
	int			rtindex;

	if (IsA(node, RangeTblRef))
	{
		rtindex = ((RangeTblRef *) node)->rtindex;
		if (is_core(joins, item(joins, rtindex)))
			joins->core = rtindex;
		else
			joins->items = lappend_int(joins->items, rtindex);
		return;
	}
	read_joins(joins, join->larg);
	if (join->jointype == JOIN_INNER)
	{
		read_joins(joins, join->rarg);
		joins->conditions = list_concat(joins->conditions,
										make_ands_implicit((Expr *) join->quals));
	}
	else if (join->jointype == JOIN_LEFT && IsA(join->rarg, RangeTblRef))
		joins->left_joins = lappend(joins->left_joins, join);
	else
		joins->unsuitable = true;
}

/* Returns the column of an item if the expression is one, or NULL. */
static const Var *
column_of(Node *node, int rtindex)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return IsA(node, Var) && ((Var *) node)->varno == rtindex &&
		((Var *) node)->varlevelsup == 0 && ((Var *) node)->varattno > 0 ?
		(const Var *) node : NULL;
}

static OpExpr *
equality(Node *condition)
{
	OpExpr	   *op = (OpExpr *) condition;

	return IsA(op, OpExpr) && list_length(op->args) == 2 &&
		op_hashjoinable(op->opno, exprType((Node *) linitial(op->args))) &&
		(!OidIsValid(op->inputcollid) ||
		 get_collation_isdeterministic(op->inputcollid)) ? op : NULL;
}

/*
 * Returns the column of an item that is one side of an equality, or NULL.  The
 * equality must be that of the column's own type, which unique keys go by: a
 * text may be compared as citext, for example.
 */
static const Var *
equated_column(OpExpr *op, int side, int rtindex)
{
	const Var  *column = column_of((Node *) list_nth(op->args, side), rtindex);
	TypeCacheEntry *entry;

	if (column == NULL)
		return NULL;
	entry = lookup_type_cache(getBaseType(column->vartype),
							  TYPECACHE_BTREE_OPFAMILY);
	return OidIsValid(entry->btree_opf) &&
		op_in_opfamily(op->opno, entry->btree_opf) ? column : NULL;
}

/*
 * Returns the columns of an item that conditions set equal to an expression
 * over items that are fixed.
 */
static Bitmapset *
fixed_columns(const Joins *joins, int rtindex, List *conditions)
{
	Bitmapset  *columns = NULL;
	ListCell   *lc;

	foreach(lc, conditions)
	{
		OpExpr	   *op = equality((Node *) lfirst(lc));

		for (int side = 0; op != NULL && side < 2; side++)
		{
			const Var  *column = equated_column(op, side, rtindex);
			Node	   *other = (Node *) list_nth(op->args, 1 - side);

			if (column != NULL && !contain_subplans(other) &&
				!contain_volatile_functions(other) &&
				bms_is_subset(pull_varnos(NULL, other), joins->fixed))
				columns = bms_add_member(columns, column->varattno);
		}
	}
	return columns;
}

/* Notes that an item is fixed, if conditions fix a unique key of it. */
static bool
fix_item(Joins *joins, int rtindex, List *conditions)
{
	const RangeTblEntry *rte = item(joins, rtindex);
	Oid			key = rte->rtekind != RTE_RELATION ? InvalidOid :
	unique_constraint(rte->relid, fixed_columns(joins, rtindex, conditions));

	if (!OidIsValid(key))
		return false;
	joins->fixed = bms_add_member(joins->fixed, rtindex);
	joins->keys = list_append_unique_oid(joins->keys, key);
	return true;
}

/* Fixes items of inner joins as long as one more can be. */
static bool
fix_items(Joins *joins)
{
	int			left = list_length(joins->items);
	bool		found = true;
	ListCell   *lc;

	while (found && left > 0)
	{
		found = false;
		foreach(lc, joins->items)
		{
			if (!bms_is_member(lfirst_int(lc), joins->fixed) &&
				fix_item(joins, lfirst_int(lc), joins->conditions))
			{
				found = true;
				left--;
			}
		}
	}
	return left == 0;
}

static bool
fix_left_joins(Joins *joins)
{
	ListCell   *lc;

	foreach(lc, joins->left_joins)
	{
		JoinExpr   *join = (JoinExpr *) lfirst(lc);

		if (!fix_item(joins, ((RangeTblRef *) join->rarg)->rtindex,
					  make_ands_implicit((Expr *) join->quals)))
			return false;
	}
	return true;
}

/* Returns whether a group column of the core is equal to one of the groups. */
static bool
is_grouped(const Joins *joins, int attnum, List *groups)
{
	ListCell   *lc;

	foreach(lc, groups)
	{
		const Var  *column = column_of((Node *) lfirst(lc), joins->core);

		if (column != NULL && column->varattno == attnum)
			return true;
	}
	foreach(lc, joins->conditions)
	{
		OpExpr	   *op = equality((Node *) lfirst(lc));

		for (int side = 0; op != NULL && side < 2; side++)
		{
			const Var  *column = equated_column(op, side, joins->core);

			if (column != NULL && column->varattno == attnum &&
				safe_image(unconstify(Node *, (const Node *) column)) &&
				list_member(groups, list_nth(op->args, 1 - side)))
				return true;
		}
	}
	return false;
}

/* Finds out which items are fixed.  Returns whether all are. */
static bool
fix_all(Joins *joins)
{
	const FromExpr *from = joins->view->jointree;
	ListCell   *lc;

	foreach(lc, from->fromlist)
		read_joins(joins, (Node *) lfirst(lc));
	joins->conditions = list_concat(joins->conditions,
									make_ands_implicit((Expr *) from->quals));
	if (joins->unsuitable || joins->core == 0)
		return false;
	joins->fixed = bms_make_singleton(joins->core);
	return fix_items(joins) && fix_left_joins(joins);
}

/*
 * Returns whether a view that groups again would have a group for each row of
 * its core, which has "ngroups" group columns.
 */
bool
direct_is_possible(const Query *view, int ngroups)
{
	Joins		joins = {.view = view};
	List	   *groups = get_sortgrouplist_exprs(view->groupClause,
												 view->targetList);

	if (view->groupClause == NIL || view->groupingSets != NIL ||
		!fix_all(&joins))
		return false;
	for (int attnum = 1; attnum <= ngroups; attnum++)
	{
		if (!is_grouped(&joins, attnum, groups))
			return false;
	}
	return true;
}

/* Context of keys_walker. */
typedef struct KeysWalk
{
	const List *cores;
	List	   *keys;
} KeysWalk;

static bool
keys_walker(Node *node, KeysWalk *walk)
{
	const Query *query = (const Query *) node;
	Joins		joins = {.view = query, .cores = walk->cores};

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, keys_walker, walk);
	if (query->setOperations == NULL && query->groupClause == NIL &&
		!query->hasAggs && query->distinctClause == NIL && fix_all(&joins))
		walk->keys = list_concat_unique_oid(walk->keys, joins.keys);
	return query_tree_walker((Query *) node, keys_walker, walk, 0);
}

/*
 * Returns the OIDs of the constraints that ensure that a view does not repeat
 * rows of its cores.  "cores" are the OIDs of their tables.
 */
List	   *
direct_keys(Query *view, const List *cores)
{
	KeysWalk	walk = {cores, NIL};

	(void) keys_walker((Node *) view, &walk);
	return walk.keys;
}
