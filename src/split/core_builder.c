/*-------------------------------------------------------------------------
 *
 * core_builder.c
 *	  The core of a grouped SELECT: the table that is kept for it.
 *
 * A core is a rollup of the fact alone.  It has a group column for each part
 * of the SELECT that depends on the fact and is not added up, and a measure
 * for each part that is.  So a row of the core stands for rows of the fact
 * that the rest of the SELECT cannot tell apart, and says how many they are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_aggregate.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "build_expr.h"
#include "compat.h"
#include "core_builder.h"
#include "input.h"
#include "safe.h"
#include "unique.h"

/* Attribute numbers of measures before core_finish. */
#define MEASURE_BASE 1000

/* ----------------------------------------------------------------
 *		expressions
 * ----------------------------------------------------------------
 */

/* Returns whether an expression depends on the fact. */
bool
core_has_fact(const CoreBuilder *builder, Node *node)
{
	return bms_is_member(builder->fact, pull_varnos(NULL, node));
}

/* Looks for what only the whole SELECT can compute. */
static bool
needs_select_walker(Node *node, int *case_depth)
{
	bool		result;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_SubLink:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
		case T_Param:
		case T_Query:
			return true;
		case T_Var:
			return ((Var *) node)->varlevelsup > 0 ||
				((Var *) node)->varattno <= 0;
		case T_CaseTestExpr:
			return *case_depth == 0;
		case T_CaseExpr:
		case T_ArrayCoerceExpr:
			(*case_depth)++;
			result = expression_tree_walker(node, needs_select_walker,
											case_depth);
			(*case_depth)--;
			return result;
		default:
			return expression_tree_walker(node, needs_select_walker,
										  case_depth);
	}
}

/*
 * Returns whether the core can compute an expression: it depends on the fact
 * and on nothing else, and always has the same value for the same row.  If
 * conditions that are evaluated when reading can hide facts, it must not raise
 * errors either, since the query would never evaluate it for a hidden fact.
 */
bool
core_can_keep(const CoreBuilder *builder, Node *node)
{
	int			case_depth = 0;
	int			varno;

	return bms_get_singleton_member(pull_varnos(NULL, node), &varno) &&
		varno == builder->fact &&
		!needs_select_walker(node, &case_depth) &&
		!expression_returns_set(node) &&
		(!builder->guarded || safe_expression(node)) &&
		input_expression_obstacle(builder->inputs, node,
								  builder->fact) == NULL;
}

/* Replaces the columns of the fact by NULL. */
static Node *
null_fact_mutator(Node *node, int *fact)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == *fact)
		return (Node *) makeNullConst(exprType(node), exprTypmod(node),
									  exprCollation(node));
	return expression_tree_mutator(node, null_fact_mutator, fact);
}

/*
 * Returns the value of an expression that the core can compute, in a row to
 * which an outer join has added no fact.  Returns NULL if it is the SQL null.
 */
Node	   *
core_for_no_fact(const CoreBuilder *builder, Node *node)
{
	int			fact = builder->fact;

	node = eval_const_expressions(NULL, null_fact_mutator(node, &fact));
	return IsA(node, Const) && ((Const *) node)->constisnull ? NULL : node;
}

/* ----------------------------------------------------------------
 *		columns
 * ----------------------------------------------------------------
 */

static bool
is_name_used(const CoreBuilder *builder, const char *name)
{
	List	   *columns = list_concat_copy(builder->groups, builder->measures);
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (strcmp(((CoreColumn *) lfirst(lc))->name, name) == 0)
			return true;
	}
	return false;
}

/* Returns a name that no column of the core has yet. */
static char *
new_name(const CoreBuilder *builder, const char *name)
{
	char	   *result;

	for (int i = 1;; i++)
	{
		char		suffix[16] = "";

		if (i > 1)
			snprintf(suffix, sizeof(suffix), "_%d", i);
		result = psprintf("%.*s%s", (int) pg_mbcliplen(name, strlen(name),
													   NAMEDATALEN - 1 - strlen(suffix)),
						  name, suffix);
		if (!is_name_used(builder, result))
			return result;
	}
}

/* Returns the name of a group column, if the query has none for it. */
static const char *
group_name(const CoreBuilder *builder, Node *expr)
{
	const RangeTblEntry *rte = rt_fetch(builder->fact, builder->block->rtable);
	const FuncExpr *call;

	while (IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;
	if (IsA(expr, Var))
		return strVal(list_nth(rte->eref->colnames,
							   ((Var *) expr)->varattno - 1));
	if (!IsA(expr, FuncExpr))
		return "part";
	call = (const FuncExpr *) expr;
	if (call->funcformat != COERCE_EXPLICIT_CALL && call->args != NIL &&
		call->funcformat != COERCE_SQL_SYNTAX)
		return group_name(builder, (Node *) linitial(call->args));
	if (call->funcid == F_SCALE)
		return psprintf("%s_scale", group_name(builder, (Node *) linitial(call->args)));
	return get_func_name(call->funcid);
}

static CoreColumn *
find_column(List *columns, Expr *expr, int *position)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		CoreColumn *column = (CoreColumn *) lfirst(lc);

		if (equal(column->expr, expr))
		{
			*position = foreach_current_index(lc);
			return column;
		}
	}
	return NULL;
}

static CoreColumn *
make_column(const CoreBuilder *builder, Expr *expr, const char *name)
{
	CoreColumn *column = palloc0(sizeof(CoreColumn));

	column->name = new_name(builder, name);
	column->expr = expr;
	return column;
}

static Var *
column_var(const CoreBuilder *builder, int attnum, const Expr *expr)
{
	return makeVar(builder->varno, attnum, exprType((Node *) expr),
				   exprTypmod((Node *) expr), exprCollation((Node *) expr), 0);
}

/* Returns whether there is a group column with the value of an expression. */
bool
core_has_group(const CoreBuilder *builder, Node *expr)
{
	int			position;

	return find_column(builder->groups, (Expr *) expr, &position) != NULL;
}

/*
 * Returns the group column with the value of an expression that the core can
 * compute.  "name" is a name for it; NULL: derived from the expression.
 */
Var		   *
core_group(CoreBuilder *builder, Node *expr, CoreUse use, const char *name)
{
	int			position;
	CoreColumn *column = find_column(builder->groups, (Expr *) expr,
									 &position);

	if (column == NULL)
	{
		column = make_column(builder, (Expr *) copyObject(expr),
							 name ? name : group_name(builder, expr));
		column->use = use;
		position = list_length(builder->groups);
		builder->groups = lappend(builder->groups, column);
	}
	column->use = Min(column->use, use);
	return column_var(builder, position + 1, column->expr);
}

/* Returns the measure with the value of an aggregate. */
Var		   *
core_measure(CoreBuilder *builder, Expr *aggregate, const char *name)
{
	int			position;
	CoreColumn *column = find_column(builder->measures, aggregate, &position);

	if (column == NULL)
	{
		column = make_column(builder, aggregate, name);
		position = list_length(builder->measures);
		builder->measures = lappend(builder->measures, column);
	}
	return column_var(builder, MEASURE_BASE + position, column->expr);
}

/* Returns an aggregate with one argument, or none. */
static Aggref *
make_aggregate(Oid function, Oid type, Node *arg, List *filter)
{
	Aggref	   *aggregate = makeNode(Aggref);

	aggregate->aggfnoid = function;
	aggregate->aggtype = type;
	aggregate->aggkind = AGGKIND_NORMAL;
	aggregate->aggsplit = AGGSPLIT_SIMPLE;
	aggregate->aggno = -1;
	aggregate->aggtransno = -1;
	aggregate->location = -1;
	aggregate->aggstar = arg == NULL;
	if (arg != NULL)
	{
		aggregate->args = list_make1(makeTargetEntry((Expr *) copyObject(arg),
													 1, NULL, false));
		aggregate->aggargtypes = list_make1_oid(exprType(arg));
	}
	if (filter != NIL)
		aggregate->aggfilter = make_ands_explicit(copyObject(filter));
	return aggregate;
}

/*
 * Returns the measure that counts the facts that meet the filter (implicitly
 * ANDed), or those of them for which the argument is not null.
 */
Var		   *
core_count(CoreBuilder *builder, Node *arg, List *filter, const char *name)
{
	Aggref	   *aggregate;

	if (arg != NULL && IsA(arg, Const) && !((Const *) arg)->constisnull)
		arg = NULL;
	aggregate = make_aggregate(arg ? F_COUNT_ANY : F_COUNT_, INT8OID, arg,
							   filter);
	return core_measure(builder, (Expr *) aggregate,
						arg || filter ? name : "n");
}

/*
 * Returns the measure that sums an argument of type smallint, integer, bigint
 * or numeric.  It is null if no argument was not null; so the core counts the
 * arguments as well.
 */
Var		   *
core_sum(CoreBuilder *builder, Node *arg, List *filter, const char *name)
{
	Oid			type = exprType(arg);
	Oid			function = type == INT2OID ? F_SUM_INT2 :
	type == INT4OID ? F_SUM_INT4 :
	type == INT8OID ? F_SUM_INT8 : F_SUM_NUMERIC;
	Aggref	   *aggregate = make_aggregate(function,
										   type == INT2OID || type == INT4OID ?
										   INT8OID : NUMERICOID, arg, filter);
	Var		   *sum = core_measure(builder, (Expr *) aggregate, name);

	/* count() takes a domain as it is, sum() its base type */
	while (IsA(arg, RelabelType))
		arg = (Node *) ((RelabelType *) arg)->arg;
	if (filter != NIL ||
		!input_expression_never_null(builder->inputs, arg, builder->fact))
		(void) core_count(builder, arg, filter, psprintf("%s_n", name));
	return sum;
}

/*
 * Returns whether the core would have a row for each row of the fact because
 * of what is computed when reading: then nothing is gained by keeping it.
 */
bool
core_is_row_per_row(const CoreBuilder *builder)
{
	Bitmapset  *grouped = NULL;
	Bitmapset  *needed = NULL;
	const Input *input = (const Input *) linitial(builder->inputs);
	ListCell   *lc;

	if (list_length(builder->inputs) > 1 || !input->is_table)
		return false;
	foreach(lc, builder->groups)
	{
		const CoreColumn *column = (const CoreColumn *) lfirst(lc);
		const Var  *var = (const Var *) column->expr;

		if (!IsA(var, Var) || column->use == CORE_ARGUMENT)
			continue;
		needed = bms_add_member(needed, var->varattno);
		if (column->use == CORE_GROUP)
			grouped = bms_add_member(grouped, var->varattno);
	}
	return unique_in_table(input->relid, needed) &&
		!unique_in_table(input->relid, grouped);
}

/* ----------------------------------------------------------------
 *		the query
 * ----------------------------------------------------------------
 */

/* Gives the measures the numbers that they have in the table. */
static Node *
number_measures_mutator(Node *node, const CoreBuilder *builder)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) copyObject(node);

		if (var->varno == builder->varno && var->varlevelsup == 0 &&
			var->varattno >= MEASURE_BASE)
			var->varattno += list_length(builder->groups) + 1 - MEASURE_BASE;
		var->varnosyn = 0;
		return (Node *) var;
	}
	return expression_tree_mutator(node, number_measures_mutator,
								   unconstify(CoreBuilder *, builder));
}

/*
 * Returns the definition of the core.  Without group columns it groups by a
 * constant, since a rollup must have one.
 */
static Query *
make_query(CoreBuilder *builder)
{
	Query	   *query = makeNode(Query);
	RangeTblRef *ref = makeNode(RangeTblRef);
	ListCell   *lc;

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->hasAggs = true;
	ref->rtindex = 1;
	query->rtable = list_make1(copyObject(rt_fetch(builder->fact,
												   builder->block->rtable)));
	foreach(lc, builder->groups)
	{
		CoreColumn *column = (CoreColumn *) lfirst(lc);
		int			n = foreach_current_index(lc) + 1;
		TargetEntry *entry = makeTargetEntry(copyObject(column->expr), n,
											 column->name, false);

		query->targetList = lappend(query->targetList, entry);
		query->groupClause = lappend(query->groupClause,
									 expr_group_clause(entry, n, true));
	}
	foreach(lc, builder->measures)
	{
		CoreColumn *column = (CoreColumn *) lfirst(lc);

		query->targetList = lappend(query->targetList,
									makeTargetEntry(copyObject(column->expr),
													list_length(query->targetList) + 1,
													column->name, false));
	}
	query->jointree = makeFromExpr(list_make1(ref), builder->quals == NIL ?
								   NULL : (Node *) make_ands_explicit(copyObject(builder->quals)));
	ChangeVarNodes((Node *) query->targetList, builder->fact, 1, 0);
	ChangeVarNodes(query->jointree->quals, builder->fact, 1, 0);
	return query;
}

/* Describes the core as a FROM item of the view. */
static RangeTblEntry *
make_rte(const CoreBuilder *builder, const Query *core, const char *core_name)
{
	const RangeTblEntry *fact = rt_fetch(builder->fact,
										 builder->block->rtable);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	ListCell   *lc;

	rte->rtekind = RTE_CTE;
	rte->ctename = pstrdup(core_name);
	rte->inFromCl = true;
	rte->alias = makeAlias(fact->eref->aliasname, NIL);
	rte->eref = makeAlias(fact->eref->aliasname, NIL);
	foreach(lc, core->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		rte->eref->colnames = lappend(rte->eref->colnames,
									  makeString(pstrdup(entry->resname)));
		rte->coltypes = lappend_oid(rte->coltypes,
									exprType((Node *) entry->expr));
		rte->coltypmods = lappend_int(rte->coltypmods,
									  exprTypmod((Node *) entry->expr));
		rte->colcollations = lappend_oid(rte->colcollations,
										 exprCollation((Node *) entry->expr));
	}
	return rte;
}

/*
 * Ends the making of a core.  Returns its definition, and makes it a FROM item
 * of "view", the SELECT that reads it, in the place of the fact.
 */
Query	   *
core_finish(CoreBuilder *builder, Query *view, const char *core_name)
{
	Query	   *core;

	(void) core_count(builder, NULL, NIL, "n");
	if (builder->groups == NIL)
	{
		CoreColumn *column = make_column(builder,
										 (Expr *) makeBoolConst(true, false),
										 "total");

		builder->groups = list_make1(column);
	}
	core = make_query(builder);
	(void) query_tree_mutator(view, number_measures_mutator, builder,
							  QTW_DONT_COPY_QUERY |
							  QTW_IGNORE_RT_SUBQUERIES |
							  QTW_IGNORE_JOINALIASES);
	lfirst(list_nth_cell(view->rtable, builder->fact - 1)) =
		make_rte(builder, core, core_name);
	ChangeVarNodes((Node *) view, builder->varno, builder->fact, 0);
	return core;
}
