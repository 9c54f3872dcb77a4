/*-------------------------------------------------------------------------
 *
 * window.c
 *	  Conditions that move with the clock.
 *
 * A condition such as created_at >= now() - interval '7 days' is not always
 * true for the same row, so it is evaluated when reading.  The core would need
 * the column itself, and be as long as its source.  There are two ways out.
 *
 * If the bound is a date, whole days meet the condition or not, so the core
 * needs only the day: ts >= d is ts::date >= d, and ts < d is ts::date < d.
 * (It is not so for > and <=.)
 *
 * Otherwise the core keeps hours.  All of them but the one that contains the
 * bound meet the condition as a whole or not at all.  The facts of that hour
 * are read from the source, which must have an index on the column.
 *
 * That is also right for a bound of another type, which the session's time
 * zone converts.  Let c(t) be the point in time of a local time t, and l(p) the
 * local time of a point p.  Then c(l(p)) >= p, because the server takes the
 * later one of two points with the same local time; and if t > l(p), then
 * c(t) >= p, because a local time that is left out when clocks are set forward
 * counts as one after that moment.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "build_expr.h"
#include "compat.h"
#include "input.h"
#include "window.h"

/* A comparison of a column of the fact with an expression without columns. */
typedef struct Bound
{
	Var		   *time;			/* of type timestamp or timestamptz */
	Node	   *bound;
	int			strategy;		/* as if the column were on the left */
} Bound;

static bool
has_columns_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var) || IsA(node, SubLink) || IsA(node, Param))
		return true;
	return expression_tree_walker(node, has_columns_walker, context);
}

/* Returns the comparison strategy of an operator for times, or 0. */
static int
time_strategy(Oid operator)
{
	ListCell   *lc;

	foreach(lc, operator_comparisons(operator))
		return comparison_strategy(lfirst(lc));
	return 0;
}

static bool
read_bound(const CoreBuilder *core, Node *condition, Bound *bound)
{
	static const int commuted[] = {0, BTGreaterStrategyNumber, BTGreaterEqualStrategyNumber,
		BTEqualStrategyNumber, BTLessEqualStrategyNumber,
	BTLessStrategyNumber};
	OpExpr	   *op = (OpExpr *) condition;
	Node	   *time;
	bool		commute;
	int			strategy;

	if (!IsA(op, OpExpr) || list_length(op->args) != 2)
		return false;
	commute = IsA(lsecond(op->args), Var);
	time = (Node *) (commute ? lsecond(op->args) : linitial(op->args));
	bound->bound = (Node *) (commute ? linitial(op->args) : lsecond(op->args));
	bound->time = (Var *) time;
	strategy = time_strategy(op->opno);
	if (!IsA(time, Var) || bound->time->varno != core->fact ||
		bound->time->varlevelsup > 0 || bound->time->varattno <= 0 ||
		(exprType(time) != TIMESTAMPOID && exprType(time) != TIMESTAMPTZOID) ||
		has_columns_walker(bound->bound, NULL) ||
		contain_volatile_functions(bound->bound) ||
		strategy < 1 || strategy > 5)
		return false;
	bound->strategy = commute ? commuted[strategy] : strategy;
	return true;
}

/*
 * Returns a condition on the day of a fact that is equal to a condition on its
 * time, or NULL.
 */
Node	   *
window_of_days(const CoreBuilder *core, Node *condition)
{
	Bound		bound;

	if (!read_bound(core, condition, &bound) ||
		exprType(bound.bound) != DATEOID ||
		exprType((Node *) bound.time) != TIMESTAMPOID ||
		(bound.strategy != BTGreaterEqualStrategyNumber &&
		 bound.strategy != BTLessStrategyNumber))
		return NULL;
	return expr_operation(bound.strategy == BTLessStrategyNumber ? "<" : ">=",
					 (Node *) makeFuncExpr(F_DATE_TIMESTAMP, DATEOID,
										   list_make1(bound.time), InvalidOid,
										   InvalidOid, COERCE_EXPLICIT_CAST),
					 bound.bound);
}

/* Returns whether a btree index of a table begins with a column. */
static bool
has_index(Oid relid, AttrNumber attnum)
{
	Relation	table = table_open(relid, AccessShareLock);
	bool		found = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(table))
	{
		Relation	index = relation_open(lfirst_oid(lc), AccessShareLock);

		found |= index->rd_rel->relam == BTREE_AM_OID &&
			index->rd_index->indisvalid &&
			index->rd_index->indkey.values[0] == attnum &&
			RelationGetIndexPredicate(index) == NIL;
		relation_close(index, NoLock);
	}
	table_close(table, NoLock);
	return found;
}

static Node *
one_hour(void)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = USECS_PER_HOUR;
	return (Node *) makeConst(INTERVALOID, -1, InvalidOid, sizeof(Interval),
							  IntervalPGetDatum(interval), false, false);
}

/* Returns the start of the hour of a time. */
static Node *
hour_of(Node *time)
{
	if (exprType(time) == TIMESTAMPOID)
		return (Node *) makeFuncExpr(F_DATE_TRUNC_TEXT_TIMESTAMP, TIMESTAMPOID,
									 list_make2(expr_text("hour"),
												time),
									 InvalidOid, InvalidOid,
									 COERCE_EXPLICIT_CALL);
	return (Node *) makeFuncExpr(F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ,
								 TIMESTAMPTZOID,
								 list_make3(one_hour(), time,
											makeConst(TIMESTAMPTZOID, -1, InvalidOid, sizeof(TimestampTz),
													  TimestampTzGetDatum(0), false, FLOAT8PASSBYVAL)),
								 InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* Returns whether a condition is a lower bound for times of a single table. */
static bool
read_lower_bound(const CoreBuilder *core, Node *condition, Bound *bound)
{
	return list_length(core->inputs) == 1 &&
		((const Input *) linitial(core->inputs))->is_table &&
		read_bound(core, condition, bound) &&
		(bound->strategy == BTGreaterEqualStrategyNumber ||
		 bound->strategy == BTGreaterStrategyNumber);
}

/*
 * Returns the name of the column whose missing index keeps a condition from
 * being a window, or NULL.
 */
char	   *
window_lacks_index(const CoreBuilder *core, Node *condition)
{
	const Input *input = (const Input *) linitial(core->inputs);
	Bound		bound;

	return read_lower_bound(core, condition, &bound) &&
		!has_index(input->relid, bound.time->varattno) ?
		get_attname(input->relid, bound.time->varattno, false) : NULL;
}

/*
 * Returns a condition on the time of a fact as a window, or NULL if it is none
 * or if the table has no index to read the rest from.
 */
MovingWindow *
window_of_times(const CoreBuilder *core, Node *condition)
{
	const Input *input = (const Input *) linitial(core->inputs);
	MovingWindow *window;
	Bound		bound;
	Node	   *first;

	if (!read_lower_bound(core, condition, &bound) ||
		!has_index(input->relid, bound.time->varattno))
		return NULL;
	first = expr_cast((Node *) copyObject(bound.bound),
					  exprType((Node *) bound.time));
	window = palloc0(sizeof(MovingWindow));
	window->condition = condition;
	window->time = (Node *) bound.time;
	window->hour = hour_of((Node *) copyObject(bound.time));
	window->first = expr_operation("+", hour_of(first), one_hour());
	return window;
}

static void
add_qual(Query *query, Node *qual)
{
	query->jointree->quals = (Node *) make_and_qual(query->jointree->quals,
													qual);
}

/* Returns SELECT * FROM core WHERE hour >= first. */
static Query *
whole_hours(const MovingWindow *window, const Var *hour,
			const RangeTblEntry *core)
{
	Query	   *query = makeNode(Query);
	RangeTblRef *ref = makeNode(RangeTblRef);
	Var		   *column = copyObject(unconstify(Var *, hour));
	ListCell   *lc;

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = list_make1(copyObject(unconstify(RangeTblEntry *, core)));
	ref->rtindex = 1;
	query->jointree = makeFromExpr(list_make1(ref), NULL);
	foreach(lc, core->eref->colnames)
	{
		int			i = foreach_current_index(lc);

		query->targetList =
			lappend(query->targetList,
					makeTargetEntry((Expr *) makeVar(1, i + 1,
													 list_nth_oid(core->coltypes, i),
													 list_nth_int(core->coltypmods, i),
													 list_nth_oid(core->colcollations, i), 0),
									i + 1, strVal(lfirst(lc)), false));
	}
	column->varno = column->varnosyn = 1;
	add_qual(query, expr_operation(">=", (Node *) column,
							  copyObject(window->first)));
	return query;
}

/* Returns the core's definition for the facts of the hours that are cut. */
static Query *
cut_hours(const MovingWindow *window, const Query *definition, int fact)
{
	Query	   *query = copyObject(unconstify(Query *, definition));
	Node	   *condition = copyObject(window->condition);
	Node	   *before = expr_operation("<", copyObject(window->time),
								   copyObject(window->first));

	ChangeVarNodes(condition, fact, 1, 0);
	ChangeVarNodes(before, fact, 1, 0);
	add_qual(query, condition);
	add_qual(query, before);
	return query;
}

static RangeTblEntry *
subquery_item(Query *query, const char *name, List *colnames)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = query;
	rte->alias = makeAlias(name, NIL);
	rte->eref = makeAlias(name, copyObject(colnames));
	rte->inFromCl = true;
	return rte;
}

static Node *
item_ref(int rtindex)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = rtindex;
	return (Node *) ref;
}

/*
 * Makes the FROM item of a core a UNION ALL of the whole hours of the core, and
 * of the facts of the hours before, grouped as in the core.  "hour" is the
 * core's column of the hours.
 */
void
window_apply(const MovingWindow *window, Var *hour, Query *definition,
			 RangeTblEntry *core)
{
	Query	   *query = makeNode(Query);
	SetOperationStmt *all = makeNode(SetOperationStmt);
	Query	   *whole = whole_hours(window, hour, core);
	Query	   *cut = cut_hours(window, definition,
								((const Var *) window->time)->varno);

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = list_make2(subquery_item(whole, "whole", core->eref->colnames),
							   subquery_item(cut, "cut", core->eref->colnames));
	query->jointree = makeFromExpr(NIL, NULL);
	query->targetList = copyObject(whole->targetList);
	all->op = SETOP_UNION;
	all->all = true;
	all->larg = item_ref(1);
	all->rarg = item_ref(2);
	all->colTypes = core->coltypes;
	all->colTypmods = core->coltypmods;
	all->colCollations = core->colcollations;
	query->setOperations = (Node *) all;

	core->rtekind = RTE_SUBQUERY;
	core->subquery = query;
	core->ctename = NULL;
	core->coltypes = NIL;
	core->coltypmods = NIL;
	core->colcollations = NIL;
}
