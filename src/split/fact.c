/*-------------------------------------------------------------------------
 *
 * fact.c
 *	  The FROM item of a grouped SELECT whose rows are counted.
 *
 * The other items are dimensions: small tables, which the view reads itself.
 * A dimension is joined by a unique key, so it adds columns to a fact, but no
 * rows.  So the fact is the item that is not joined by a unique key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "fact.h"
#include "input.h"
#include "obstacle.h"
#include "unique.h"

static FromItem *
find_item(const List *items, int rtindex)
{
	ListCell   *lc;

	foreach(lc, items)
	{
		FromItem   *item = (FromItem *) lfirst(lc);

		if (item->rtindex == rtindex)
			return item;
	}
	return NULL;
}

/* Notes a column that is compared for equality with another item. */
static void
note_join_column(const List *items, Node *node, Node *other)
{
	const Var  *var;
	FromItem   *item;

	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	var = (const Var *) node;
	if (!IsA(node, Var) || var->varlevelsup > 0 || var->varattno <= 0)
		return;
	item = find_item(items, var->varno);
	if (item != NULL &&
		!bms_is_member(var->varno, pull_varnos(NULL, other)) &&
		!bms_is_empty(pull_varnos(NULL, other)))
		item->join_columns = bms_add_member(item->join_columns,
											var->varattno);
}

static void
note_quals(const List *items, Node *quals)
{
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) quals))
	{
		OpExpr	   *op = (OpExpr *) lfirst(lc);

		if (!IsA(op, OpExpr) || list_length(op->args) != 2 ||
			!op_hashjoinable(op->opno, exprType((Node *) linitial(op->args))))
			continue;
		note_join_column(items, (Node *) linitial(op->args),
						 (Node *) lsecond(op->args));
		note_join_column(items, (Node *) lsecond(op->args),
						 (Node *) linitial(op->args));
	}
}

/* Collects the items of a FROM clause. */
static void
collect_items(const Query *query, Node *node, bool nullable, List **items)
{
	JoinExpr   *join;
	FromItem   *item;
	RangeTblEntry *rte;

	if (IsA(node, JoinExpr))
	{
		join = (JoinExpr *) node;
		collect_items(query, join->larg, nullable ||
					  join->jointype == JOIN_RIGHT ||
					  join->jointype == JOIN_FULL, items);
		collect_items(query, join->rarg, nullable ||
					  join->jointype == JOIN_LEFT ||
					  join->jointype == JOIN_FULL, items);
		return;
	}
	item = palloc0(sizeof(FromItem));
	item->rtindex = castNode(RangeTblRef, node)->rtindex;
	item->nullable = nullable;
	rte = rt_fetch(item->rtindex, query->rtable);
	item->inputs = input_read_item(rte, &item->obstacles);
	item->obstacles = list_concat(item->obstacles,
								  input_qual_obstacles(item->inputs));
	if (item->obstacles != NIL)
		item->inputs = NIL;
	*items = lappend(*items, item);
}

static void
note_join_quals(const List *items, Node *node)
{
	JoinExpr   *join = (JoinExpr *) node;

	if (!IsA(node, JoinExpr))
		return;
	note_join_quals(items, join->larg);
	note_join_quals(items, join->rarg);
	note_quals(items, join->quals);
}

/* Notes the items that arguments of aggregates use. */
static bool
note_arguments_walker(Node *node, List *items)
{
	int			varno = -1;
	Bitmapset  *varnos;

	if (node == NULL)
		return false;
	if (!IsA(node, Aggref))
		return expression_tree_walker(node, note_arguments_walker, items);
	varnos = pull_varnos(NULL, node);
	while ((varno = bms_next_member(varnos, varno)) >= 0)
	{
		FromItem   *item = find_item(items, varno);

		if (item != NULL)
			item->is_argument = true;
	}
	return false;
}

/* Returns the FROM items (FromItem) of a SELECT. */
List	   *
fact_items(Query *query)
{
	List	   *items = NIL;
	ListCell   *lc;

	foreach(lc, query->jointree->fromlist)
		collect_items(query, (Node *) lfirst(lc), false, &items);
	foreach(lc, query->jointree->fromlist)
		note_join_quals(items, (Node *) lfirst(lc));
	note_quals(items, query->jointree->quals);
	(void) note_arguments_walker((Node *) query->targetList, items);
	(void) note_arguments_walker(query->havingQual, items);
	return items;
}

/* Returns whether an item reads one of these tables (OIDs). */
static bool
reads_any(const FromItem *item, const List *facts)
{
	ListCell   *lc;

	foreach(lc, item->inputs)
	{
		if (list_member_oid(facts, ((const Input *) lfirst(lc))->relid))
			return true;
	}
	return false;
}

static bool
is_joined_by_key(const Query *query, const FromItem *item)
{
	return unique_in_item(rt_fetch(item->rtindex, query->rtable),
						  item->join_columns);
}

/* Leaves out items that are never facts: VALUES and functions. */
static List *
without_values(const Query *query, List *items)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, items)
	{
		RTEKind		kind = rt_fetch(((FromItem *) lfirst(lc))->rtindex,
									query->rtable)->rtekind;

		if (kind == RTE_RELATION || kind == RTE_SUBQUERY)
			result = lappend(result, lfirst(lc));
	}
	return result;
}

static char *
item_names(const Query *query, const List *items)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, items)
		appendStringInfo(&buf, "%s\"%s\"", buf.len > 0 ? ", " : "",
						 rt_fetch(((FromItem *) lfirst(lc))->rtindex,
								  query->rtable)->eref->aliasname);
	return buf.data;
}

/* Returns a table that several items read, or InvalidOid. */
Oid
fact_read_twice(const List *items)
{
	List	   *relids = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, items)
	{
		List	   *own = NIL;

		foreach(lc2, ((FromItem *) lfirst(lc))->inputs)
			own = list_append_unique_oid(own, ((const Input *) lfirst(lc2))->relid);
		foreach(lc2, own)
		{
			if (list_member_oid(relids, lfirst_oid(lc2)))
				return lfirst_oid(lc2);
		}
		relids = list_concat(relids, own);
	}
	return InvalidOid;
}

Obstacle   *
fact_self_join(Oid relid)
{
	return obstacle_unsupported(psprintf("a join of table \"%s\" with itself",
										 get_rel_name(relid)),
								"A change of one row would change many rows of the join.",
								"Group each side in a subquery in FROM, and join the results.");
}

/*
 * Returns the item whose rows are counted.  "facts" are the OIDs of tables
 * that the user has named as facts.  Returns NULL if none of the items can be
 * the fact; then the SELECT is computed when reading.  Adds an Obstacle if
 * several items can be.
 */
FromItem   *
fact_choose(const Query *query, List *items, List *facts, List **obstacles)
{
	List	   *named = NIL;
	List	   *candidates = NIL;
	List	   *arguments = NIL;
	ListCell   *lc;

	foreach(lc, items)
	{
		FromItem   *item = (FromItem *) lfirst(lc);

		if (item->inputs != NIL && reads_any(item, facts))
			named = lappend(named, item);
		if (!is_joined_by_key(query, item))
			candidates = lappend(candidates, item);
	}
	if (list_length(named) == 1)
		return (FromItem *) linitial(named);
	if (named != NIL)
	{
		*obstacles = lappend(*obstacles,
							 obstacle_unsupported(psprintf("a join of the facts %s",
														   item_names(query, named)),
												  "A change of one row would change many rows of the join.",
												  "Group each of them in a subquery in FROM, and join the results."));
		return NULL;
	}
	if (candidates == NIL)
		candidates = items;
	if (list_length(candidates) > 1)
	{
		foreach(lc, candidates)
		{
			if (((FromItem *) lfirst(lc))->is_argument)
				arguments = lappend(arguments, lfirst(lc));
		}
		if (list_length(arguments) == 1)
			candidates = arguments;
	}
	if (list_length(candidates) > 1)
		candidates = without_values(query, candidates);
	if (list_length(candidates) == 1)
		return ((FromItem *) linitial(candidates))->inputs == NIL ? NULL :
			(FromItem *) linitial(candidates);
	if (OidIsValid(fact_read_twice(candidates)))
	{
		*obstacles = lappend(*obstacles,
							 fact_self_join(fact_read_twice(candidates)));
		return NULL;
	}
	*obstacles = lappend(*obstacles,
						 obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
									   "cannot tell which table of the join is the one whose rows are counted",
									   psprintf("None or several of %s are joined by a unique key.",
												item_names(query, items)),
									   "Name it: create_rollup(..., facts => ARRAY['table']). Every other table of the join is read when the rollup is read."));
	return NULL;
}
