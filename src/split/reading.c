/*-------------------------------------------------------------------------
 *
 * reading.c
 *	  What is computed from a core when it is read.
 *
 * Expressions of a grouped SELECT are put in terms of its core.  The parts
 * that depend on the fact alone become columns of the core; the rest is
 * computed when reading.  An aggregate is put together from the aggregates of
 * the core's rows: a count is a sum of counts, an average is a sum over a
 * count.  Where the fact can be missing in a row, because of an outer join,
 * all columns of the core are null in that row, which still counts as one.
 *
 * Aggregates fall into three classes:
 *
 *	count, sum, avg		add up.  The argument may mix columns of the fact with
 *						others, as long as it is linear in the former (Linear).
 *	min, bool_and,		do not depend on how often a value occurs: the argument
 *	DISTINCT ...		becomes a group column of the core, and the aggregate is
 *						computed from it.
 *	percentile, mode	do depend on it: besides, the view repeats each row of
 *						the core as often as there are facts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_aggregate.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "aggregate.h"
#include "build_expr.h"
#include "compat.h"
#include "input.h"
#include "obstacle.h"
#include "reading.h"
#include "safe.h"
#include "to_char.h"

/*
 * An expression, summed up over the facts of a row of the core: its sum, and
 * the number of facts for which it is not null.  Both are expressions over the
 * core and the other items.  The sum has an exact numeric type.
 */
typedef struct Linear
{
	Node	   *sum;
	Node	   *rows;
} Linear;

/* What is wanted of a Linear; a part that is not wanted is NULL. */
typedef enum LinearPart
{
	LINEAR_SUM = 1,
	LINEAR_ROWS = 2
} LinearPart;

static Linear linear(Reading *reading, Node *node, List *filter, int parts);

/* ----------------------------------------------------------------
 *		building expressions
 * ----------------------------------------------------------------
 */

/* Returns sum(node) with a filter (implicitly ANDed). */
static Node *
sum_of(Node *node, List *filter)
{
	Aggref	   *aggregate = makeNode(Aggref);

	if (exprType(node) == INT4OID || exprType(node) == INT2OID)
		node = expr_cast(node, INT8OID);
	aggregate->aggfnoid = exprType(node) == INT8OID ? F_SUM_INT8 : F_SUM_NUMERIC;
	aggregate->aggtype = NUMERICOID;
	aggregate->aggargtypes = list_make1_oid(exprType(node));
	aggregate->args = list_make1(makeTargetEntry((Expr *) node, 1, NULL,
												 false));
	if (filter != NIL)
		aggregate->aggfilter = make_ands_explicit(copyObject(filter));
	aggregate->aggkind = AGGKIND_NORMAL;
	aggregate->aggsplit = AGGSPLIT_SIMPLE;
	aggregate->aggno = -1;
	aggregate->aggtransno = -1;
	aggregate->location = -1;
	return (Node *) aggregate;
}

/* Returns whether sums of a type are exact. */
static bool
is_exact(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID ||
		type == NUMERICOID;
}

/* Returns the number of facts of a row of the core; null: there is no fact. */
static Node *
fact_count(const Reading *reading)
{
	return (Node *) core_count(reading->core, NULL, NIL, "n");
}

/* ----------------------------------------------------------------
 *		expressions outside aggregates
 * ----------------------------------------------------------------
 */

/* Context of expression_mutator. */
typedef struct ExpressionContext
{
	Reading    *reading;
	CoreUse		use;
	const char *name;			/* of the group column; NULL: derived */
	int			sublevels_up;
	bool		compared;		/* only how the value compares matters */
} ExpressionContext;

static void
add_obstacle(Reading *reading, Obstacle *obstacle)
{
	ListCell   *lc;

	foreach(lc, reading->obstacles)
	{
		if (strcmp(((Obstacle *) lfirst(lc))->message, obstacle->message) == 0)
			return;
	}
	reading->obstacles = lappend(reading->obstacles, obstacle);
}

/*
 * Returns whether all values of an expression have the same number of decimal
 * places.
 */
static bool
has_fixed_scale(Node *node)
{
	ListCell   *lc;
	List	   *args = NIL;
	Oid			function = InvalidOid;

	if (exprType(node) != NUMERICOID)
		return is_exact(exprType(node));
	if (IsA(node, Const) || exprTypmod(node) >= 0)
		return true;
	if (IsA(node, FuncExpr))
	{
		function = ((FuncExpr *) node)->funcid;
		args = ((FuncExpr *) node)->args;
	}
	else if (IsA(node, OpExpr))
	{
		function = get_opcode(((OpExpr *) node)->opno);
		args = ((OpExpr *) node)->args;
	}
	switch (function)
	{
		case F_NUMERIC_INT2:
		case F_NUMERIC_INT4:
		case F_NUMERIC_INT8:
		case F_NUMERIC_ADD:
		case F_NUMERIC_SUB:
		case F_NUMERIC_MUL:
		case F_NUMERIC_UMINUS:
			foreach(lc, args)
			{
				if (!has_fixed_scale((Node *) lfirst(lc)))
					return false;
			}
			return true;
		default:
			return false;
	}
}

/* An aggregate in a subquery can belong to the query around it. */
static void
refuse_outer_aggregate(Reading *reading)
{
	add_obstacle(reading,
				 obstacle_unsupported("an aggregate of the outer query in a subquery",
									  NULL,
									  "Use the aggregate outside the subquery."));
}

/*
 * Adds the number of decimal places as a group column, so that values which
 * are equal but look different, such as 1.0 and 1.00, are not in one group.
 */
static void
keep_scale(Reading *reading, Node *node)
{
	Node	   *scale;

	if (exprType(node) != NUMERICOID || has_fixed_scale(node))
		return;
	scale = (Node *) makeFuncExpr(F_SCALE, INT4OID,
								  list_make1(copyObject(node)), InvalidOid,
								  InvalidOid, COERCE_EXPLICIT_CALL);
	(void) core_group(reading->core, scale, CORE_ARGUMENT, NULL);
}

/*
 * Makes sure that an expression over a group column has the same value for all
 * facts of the group.
 */
static void
check_image(ExpressionContext *context, Node *node)
{
	if (context->compared || safe_image(node))
		return;
	if (exprType(node) == NUMERICOID)
		keep_scale(context->reading, node);
	else
		add_obstacle(context->reading,
					 obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
								   psprintf("an expression over a value of type %s together with columns of other tables is not supported in a rollup definition",
											format_type_be(exprType(node))),
								   "Values of this type can be equal and still look different.",
								   "Use an expression of columns of one table, or cast the value to another type."));
}

/* Returns why the core cannot group by a value, or NULL. */
static Obstacle *
obstacle_of_group(const CoreBuilder *core, Node *node, const char *name)
{
	Oid			sortop;
	Oid			eqop;
	bool		hashable;

	get_sort_group_operators(exprType(node), false, false, false, &sortop,
							 &eqop, NULL, &hashable);
	if (name == NULL && IsA(node, Var))
		name = get_rte_attribute_name(rt_fetch(core->fact, core->block->rtable),
									  ((Var *) node)->varattno);
	return group_obstacle(name ? name : "part of an expression", node,
						  hashable && OidIsValid(eqop), OidIsValid(sortop));
}

/* Returns the group column for a part of an expression. */
static Node *
group_column(ExpressionContext *context, Node *node)
{
	Reading    *reading = context->reading;
	CoreBuilder *core = reading->core;
	Obstacle   *obstacle = obstacle_of_group(core, node, context->name);
	Node	   *no_fact;
	Var		   *var;

	if (obstacle != NULL)
		add_obstacle(reading, obstacle);
	check_image(context, node);
	var = core_group(core, node, context->use, context->name);
	var->varlevelsup = context->sublevels_up;
	no_fact = core->nullable ? core_for_no_fact(core, node) : NULL;
	if (no_fact == NULL)
		return (Node *) var;
	return expr_when(expr_is_null(fact_count(reading)), no_fact, (Node *) var);
}

static Node *expression_mutator(Node *node, ExpressionContext *context);

/* Puts a column of the fact that stands alone in terms of the core. */
static Node *
fact_column(ExpressionContext *context, Var *var)
{
	Reading    *reading = context->reading;
	Var		   *own = copyObject(var);
	Obstacle   *obstacle;

	own->varlevelsup = 0;
	obstacle = own->varattno == 0 ?
		obstacle_unsupported("a whole-row reference", NULL,
						"Use the columns of the row separately.") :
		input_expression_obstacle(reading->core->inputs, (Node *) own,
								  own->varno);
	if (obstacle != NULL)
	{
		add_obstacle(reading, obstacle);
		return (Node *) makeNullConst(var->vartype, var->vartypmod,
									  var->varcollid);
	}
	return group_column(context, (Node *) own);
}

/* to_char() needs only the part of a time that its format shows. */
static Node *
to_char_of_bucket(ExpressionContext *context, FuncExpr *call)
{
	Node	   *bucket = to_char_bucket(call);
	FuncExpr   *copy;

	if (bucket == NULL || !core_can_keep(context->reading->core, bucket))
		return NULL;
	copy = copyObject(call);
	linitial(copy->args) = group_column(context, bucket);
	return (Node *) copy;
}

/* Visits the parts of a node; some of them may only be compared. */
static Node *
mutate_parts(Node *node, ExpressionContext *context)
{
	bool		compared = context->compared;
	const char *name = context->name;
	CoreBuilder *core = context->reading->core;
	bool		guarded = core->guarded;
	Node	   *result;

	/* the whole may not evaluate its parts for each fact */
	core->guarded = true;
	context->name = NULL;
	context->compared =
		(IsA(node, OpExpr) || IsA(node, DistinctExpr)) ?
		operator_comparisons(((OpExpr *) node)->opno) != NIL :
		IsA(node, ScalarArrayOpExpr) ?
		operator_comparisons(((ScalarArrayOpExpr *) node)->opno) != NIL :
		IsA(node, NullTest) || IsA(node, BooleanTest) ||
		(compared && IsA(node, List));
	result = expression_tree_mutator(node, expression_mutator, context);
	context->compared = compared;
	context->name = name;
	core->guarded = guarded;
	return result;
}

static Node *
expression_mutator(Node *node, ExpressionContext *context)
{
	Reading    *reading = context->reading;
	Node	   *result;

	if (node == NULL)
		return NULL;
	if (IsA(node, Query))
	{
		context->sublevels_up++;
		result = (Node *) query_tree_mutator((Query *) node,
											 expression_mutator, context, 0);
		context->sublevels_up--;
		return result;
	}
	if (IsA(node, Aggref) && context->sublevels_up > 0 &&
		(int) ((Aggref *) node)->agglevelsup == context->sublevels_up)
	{
		refuse_outer_aggregate(reading);
		return (Node *) makeNullConst(((Aggref *) node)->aggtype, -1,
									  ((Aggref *) node)->aggcollid);
	}
	if (IsA(node, Var))
	{
		if (((Var *) node)->varno == reading->core->fact &&
			(int) ((Var *) node)->varlevelsup == context->sublevels_up)
			return fact_column(context, (Var *) node);
		return (Node *) copyObject(node);
	}
	if (context->sublevels_up == 0 && !IsA(node, List) &&
		!IsA(node, TargetEntry) && !IsA(node, CaseWhen) &&
		!IsA(node, SubLink))
	{
		if (core_can_keep(reading->core, node) &&
			obstacle_of_group(reading->core, node, NULL) == NULL)
			return group_column(context, node);
		if (IsA(node, FuncExpr))
		{
			result = to_char_of_bucket(context, (FuncExpr *) node);
			if (result != NULL)
				return result;
		}
	}
	return mutate_parts(node, context);
}

/*
 * Puts an expression without aggregates in terms of the core: the largest
 * parts that the core can compute become group columns.  "name" is a name for
 * the group column if the whole expression becomes one, or NULL.
 */
Node *
reading_of_expression(Reading *reading, Node *node, CoreUse use,
					  const char *name)
{
	ExpressionContext context = {reading, use, name, 0, true};

	return expression_mutator(node, &context);
}

/* ----------------------------------------------------------------
 *		aggregates that add up
 * ----------------------------------------------------------------
 */

/* Returns whether the filter is true in a row without fact. */
static bool
filter_passes_no_fact(const Reading *reading, List *filter)
{
	Node	   *value;

	if (filter == NIL)
		return true;
	value = core_for_no_fact(reading->core,
							 (Node *) make_ands_explicit(copyObject(filter)));
	return value != NULL && IsA(value, Const) &&
		DatumGetBool(((Const *) value)->constvalue);
}

/*
 * Chooses between the value for a row without fact, if there can be one, and
 * that of a measure.
 */
static Node *
measure_or(Reading *reading, Node *measure, Node *no_fact, List *filter)
{
	if (!reading->core->nullable || no_fact == NULL ||
		!filter_passes_no_fact(reading, filter))
		return measure;
	return expr_when(expr_is_null(fact_count(reading)),
				expr_cast(no_fact, exprType(measure)), measure);
}

/* Returns how many rows of the join a row of the core stands for. */
static Node *
weight(Reading *reading, List *filter, const char *name)
{
	return measure_or(reading,
					  (Node *) core_count(reading->core, NULL, filter, name),
					  expr_bigint(1), filter);
}

/* An expression that the core can compute. */
static Linear
linear_kept(Reading *reading, Node *node, List *filter, int parts)
{
	CoreBuilder *core = reading->core;
	Node	   *no_fact = core->nullable ? core_for_no_fact(core, node) : NULL;
	Linear		result = {NULL, NULL};

	if (parts & LINEAR_SUM)
	{
		result.sum = measure_or(reading, (Node *) core_sum(core, node, filter,
														   reading->column),
								no_fact, filter);
		if (reading->keeps_scale)
			keep_scale(reading, node);
	}
	if (parts & LINEAR_ROWS)
		result.rows = measure_or(reading, (Node *) core_count(core, node, filter,
															  parts & LINEAR_SUM ?
															  psprintf("%s_n", reading->column) :
															  reading->column),
								 no_fact == NULL ? NULL : expr_bigint(1),
								 filter);
	return result;
}

/* An expression that has the same value for all facts of a row of the core. */
static Linear
linear_constant(Reading *reading, Node *node, List *filter, int parts)
{
	const char *name = parts & LINEAR_SUM ? psprintf("%s_rows", reading->column) :
	reading->column;
	Linear		result = {NULL, NULL};
	Node	   *rows;

	node = reading_of_expression(reading, node, CORE_ARGUMENT, NULL);
	if (parts & LINEAR_SUM)
	{
		rows = weight(reading, filter, name);
		result.sum = expr_operation("*", expr_numeric(node), expr_numeric(rows));
	}
	if (parts & LINEAR_ROWS)
		result.rows = IsA(node, Const) ?
			(((Const *) node)->constisnull ? expr_bigint(0) :
			 weight(reading, filter, name)) :
			expr_when(expr_is_not_null(copyObject(node)), weight(reading, filter, name), NULL);
	if (filter == NIL)
		return result;

	/* where no fact meets the filter, the expression must not be evaluated */
	if (parts & LINEAR_SUM)
		result.sum = expr_when(expr_operation(">", weight(reading, filter, name),
									expr_bigint(0)), result.sum, NULL);
	if (parts & LINEAR_ROWS)
		result.rows = expr_when(expr_operation(">", weight(reading, filter, name),
									 expr_bigint(0)), result.rows, NULL);
	return result;
}

/*
 * x + y, x - y, where both depend on the fact, and no column of the fact can
 * be null: then the whole is null for all facts of a row of the core, or none.
 */
static Linear
linear_sum(Reading *reading, OpExpr *op, List *filter, int parts)
{
	Linear		left = linear(reading, (Node *) linitial(op->args), filter,
							  parts);
	Linear		right = linear(reading, (Node *) lsecond(op->args), filter,
							   parts);

	if (parts & LINEAR_SUM)
		left.sum = expr_operation(get_opname(op->opno), expr_numeric(left.sum),
							 expr_numeric(right.sum));
	if (parts & LINEAR_ROWS)
		left.rows = expr_when(expr_is_not_null(right.rows), left.rows, NULL);
	return left;
}

/* x * constant; x + constant; and so on */
static Linear
linear_operation(Reading *reading, OpExpr *op, List *filter, int parts)
{
	const char *name = get_opname(op->opno);
	Node	   *left = (Node *) linitial(op->args);
	Node	   *right = (Node *) lsecond(op->args);
	bool		fact_left = core_has_fact(reading->core, left);
	Node	   *constant = fact_left ? right : left;
	Linear		result;

	if (fact_left && core_has_fact(reading->core, right))
		return linear_sum(reading, op, filter, parts);
	result = linear(reading, fact_left ? left : right, filter,
					*name == '*' ? parts : LINEAR_SUM | LINEAR_ROWS);
	constant = reading_of_expression(reading, constant, CORE_ARGUMENT, NULL);
	if (*name == '*')
	{
		if (parts & LINEAR_SUM)
			result.sum = expr_operation("*", expr_numeric(result.sum),
								   expr_numeric(constant));
	}
	else if (parts & LINEAR_SUM)
	{
		Node	   *other = expr_operation("*", expr_numeric(constant),
									  expr_numeric(copyObject(result.rows)));

		result.sum = fact_left ?
			expr_operation(name, expr_numeric(result.sum), other) :
			expr_operation(name, other, expr_numeric(result.sum));
	}
	if (parts & LINEAR_ROWS)
		result.rows = expr_when(expr_is_not_null(copyObject(constant)), result.rows,
						   NULL);
	return result;
}

/* CASE: the conditions are the same for all facts of a row of the core. */
static Linear
linear_case(Reading *reading, CaseExpr *expr, List *filter, int parts)
{
	CaseExpr   *sum = copyObject(expr);
	CaseExpr   *rows;
	Linear		otherwise = {NULL, NULL};
	Linear		result = {NULL, NULL};
	bool		guarded = reading->core->guarded;
	ListCell   *lc;
	ListCell   *lc2;

	/* a result is evaluated only for facts that meet its condition */
	reading->core->guarded = true;
	if (expr->arg != NULL)
		sum->arg = (Expr *) reading_of_expression(reading, (Node *) expr->arg,
												  CORE_ARGUMENT, NULL);
	rows = copyObject(sum);
	sum->casetype = NUMERICOID;
	rows->casetype = INT8OID;
	sum->casecollid = rows->casecollid = InvalidOid;
	forboth(lc, sum->args, lc2, rows->args)
	{
		CaseWhen   *branch = lfirst_node(CaseWhen, lc);
		Linear		part = linear(reading, (Node *) branch->result, filter,
								  parts);

		branch->expr = (Expr *) reading_of_expression(reading,
													  (Node *) branch->expr,
													  CORE_ARGUMENT, NULL);
		if (parts & LINEAR_SUM)
			branch->result = (Expr *) expr_numeric(part.sum);
		lfirst_node(CaseWhen, lc2)->expr = copyObject(branch->expr);
		lfirst_node(CaseWhen, lc2)->result = (Expr *) part.rows;
	}
	if (expr->defresult != NULL)
		otherwise = linear(reading, (Node *) expr->defresult, filter, parts);
	if (parts & LINEAR_SUM)
	{
		sum->defresult = (Expr *) (otherwise.sum ? expr_numeric(otherwise.sum) :
								   NULL);
		result.sum = (Node *) sum;
	}
	if (parts & LINEAR_ROWS)
	{
		rows->defresult = (Expr *) otherwise.rows;
		result.rows = (Node *) rows;
	}
	reading->core->guarded = guarded;
	return result;
}

static bool
is_average(const Aggref *aggregate)
{
	return aggregate->aggfnoid == F_AVG_INT2 ||
		aggregate->aggfnoid == F_AVG_INT4 ||
		aggregate->aggfnoid == F_AVG_INT8 ||
		aggregate->aggfnoid == F_AVG_NUMERIC;
}

/* Returns the argument of a cast to a wider exact type, or NULL. */
static Node *
widened(Node *node)
{
	FuncExpr   *call = (FuncExpr *) node;

	if (IsA(node, RelabelType))
		return (Node *) ((RelabelType *) node)->arg;
	if (!IsA(node, FuncExpr))
		return NULL;
	switch (call->funcid)
	{
		case F_INT4_INT2:
		case F_INT8_INT2:
		case F_INT8_INT4:
		case F_NUMERIC_INT2:
		case F_NUMERIC_INT4:
		case F_NUMERIC_INT8:
			return (Node *) linitial(call->args);
		default:
			return NULL;
	}
}

/* Returns whether an expression is left op right, of exact numbers. */
static bool
is_arithmetic(Node *node, const char *operators)
{
	OpExpr	   *op = (OpExpr *) node;
	const char *name;

	if (!IsA(node, OpExpr) || list_length(op->args) != 2 ||
		get_func_namespace(get_opcode(op->opno)) != PG_CATALOG_NAMESPACE ||
		!is_exact(exprType((Node *) linitial(op->args))) ||
		!is_exact(exprType((Node *) lsecond(op->args))))
		return false;
	name = get_opname(op->opno);
	return strlen(name) == 1 && strchr(operators, *name) != NULL;
}

/*
 * Returns whether an expression is null for all facts of a row of the core, or
 * for none.
 */
static bool
is_null_alike(const CoreBuilder *core, Node *node)
{
	if (!core_has_fact(core, node))
		return true;
	if (core_can_keep(core, node))
		return input_expression_never_null(core->inputs, node, core->fact);
	if (widened(node) != NULL)
		return is_null_alike(core, widened(node));
	return is_arithmetic(node, "+-*") &&
		is_null_alike(core, (Node *) linitial(((OpExpr *) node)->args)) &&
		is_null_alike(core, (Node *) lsecond(((OpExpr *) node)->args));
}

/*
 * Returns whether an operation can be taken apart: one side does not depend on
 * the fact, or it is a sum of two that do.
 */
static bool
is_linear_operation(const CoreBuilder *core, Node *node)
{
	Node	   *left;
	Node	   *right;

	if (!is_arithmetic(node, "+-*"))
		return false;
	left = (Node *) linitial(((OpExpr *) node)->args);
	right = (Node *) lsecond(((OpExpr *) node)->args);
	if (!core_has_fact(core, left) || !core_has_fact(core, right))
		return true;
	return is_arithmetic(node, "+-") && !core->nullable &&
		is_null_alike(core, left) && is_null_alike(core, right);
}

/*
 * Multiplies out x * (y + z), and puts x * (y * z) as (x * y) * z, if x is a
 * part that the core can compute and the rest mixes the fact with others.
 * Returns NULL for anything else.
 */
static Node *
multiplied_out(const CoreBuilder *core, OpExpr *op)
{
	Node	   *factor;
	OpExpr	   *rest;
	Node	   *left;
	Node	   *right;
	const char *name;

	if (!is_arithmetic((Node *) op, "*"))
		return NULL;
	factor = (Node *) linitial(op->args);
	rest = (OpExpr *) lsecond(op->args);
	if (!core_can_keep(core, factor))
	{
		factor = (Node *) lsecond(op->args);
		rest = (OpExpr *) linitial(op->args);
	}
	while (widened((Node *) rest) != NULL)
		rest = (OpExpr *) widened((Node *) rest);
	if (!core_can_keep(core, factor) || !core_has_fact(core, (Node *) rest) ||
		!is_arithmetic((Node *) rest, "+-*"))
		return NULL;
	name = get_opname(rest->opno);
	left = (Node *) linitial(rest->args);
	right = (Node *) lsecond(rest->args);
	factor = expr_numeric(copyObject(factor));
	if (strcmp(name, "*") == 0)
		return core_has_fact(core, left) ?
			expr_operation("*", expr_operation("*", factor, expr_numeric(left)), expr_numeric(right)) :
			expr_operation("*", expr_operation("*", factor, expr_numeric(right)), expr_numeric(left));
	return expr_operation(name, expr_operation("*", factor, expr_numeric(left)),
					 expr_operation("*", copyObject(factor), expr_numeric(right)));
}

/*
 * Sums an expression up over the facts of a row of the core.  If only the
 * number of values is wanted, its type does not matter.
 */
static Linear
linear(Reading *reading, Node *node, List *filter, int parts)
{
	CoreBuilder *core = reading->core;
	Node	   *expanded;

	if (core_can_keep(core, node))
		return linear_kept(reading, node, filter, parts);
	if (!core_has_fact(core, node))
		return linear_constant(reading, node, filter, parts);
	if (IsA(node, CaseExpr))
		return linear_case(reading, (CaseExpr *) node, filter, parts);
	if (widened(node) != NULL)
		return linear(reading, widened(node), filter, parts);
	expanded = multiplied_out(core, (OpExpr *) node);
	if (expanded != NULL)
		return linear(reading, expanded, filter, parts);
	if (is_linear_operation(core, node))
		return linear_operation(reading, (OpExpr *) node, filter, parts);
	return linear_constant(reading, node, filter, parts);
}

/*
 * Splits a FILTER.  Conditions that the core can compute are evaluated there;
 * the others become the filter of the aggregate over the core.
 */
static void
split_filter(Reading *reading, Expr *filter, List **kept, List **read)
{
	ListCell   *lc;

	*kept = NIL;
	*read = NIL;
	foreach(lc, make_ands_implicit(filter))
	{
		Node	   *condition = (Node *) lfirst(lc);
		Node	   *days = window_of_days(reading->core, condition);

		if (days != NULL)
			condition = days;
		if (core_can_keep(reading->core, condition))
			*kept = lappend(*kept, condition);
		else
			*read = lappend(*read,
							reading_of_expression(reading, condition,
												  CORE_CONDITION, NULL));
	}
	if (*read != NIL)
		reading->aggregates_again = true;
	if (reading->copy != NULL)
		*read = lappend(*read, expr_operation("=", (Node *) copyObject(reading->copy),
										 expr_bigint(1)));
}

/* Returns the sum over all rows of the core, or over the only one. */
static Node *
add_up(const Reading *reading, Node *node, List *filter)
{
	return reading->direct ? node : sum_of(node, filter);
}

/* ----------------------------------------------------------------
 *		aggregates made from several measures
 * ----------------------------------------------------------------
 */

/* Returns whether the aggregate is one of the server's, of one of these names. */
static bool
is_server_aggregate(const Aggref *aggregate, const char *const *names, int n)
{
	const char *name = get_func_name(aggregate->aggfnoid);

	if (get_func_namespace(aggregate->aggfnoid) != PG_CATALOG_NAMESPACE)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

/* Returns the sum of an expression that the core can compute. */
static Node *
sum_reading(Reading *reading, Node *arg, List *kept, List *read,
			const char *suffix)
{
	const char *name = psprintf("%s%s", reading->column, suffix);

	return add_up(reading, (Node *) core_sum(reading->core, arg, kept, name),
				  read);
}

static Node *
number_reading(Reading *reading, Node *arg, List *kept, List *read)
{
	const char *name = psprintf("%s_n", reading->column);

	return add_up(reading, (Node *) core_count(reading->core, arg, kept, name),
				  read);
}

/* bool_and, every, bool_or: how many are true, of how many? */
static Node *
boolean_reading(Reading *reading, const Aggref *aggregate, Node *arg,
				List *kept, List *read)
{
	List	   *true_filter = lappend(list_copy(kept), arg);
	Node	   *known = number_reading(reading, arg, kept, read);
	Node	   *met = add_up(reading, (Node *) core_count(reading->core, NULL,
														  true_filter,
														  psprintf("%s_true", reading->column)),
							 read);
	Node	   *result;

	if (strcmp(get_func_name(aggregate->aggfnoid), "bool_or") == 0)
		result = expr_operation(">", met, expr_bigint(0));
	else
		result = expr_operation("=", met, copyObject(known));
	return expr_when(expr_operation(">", known, expr_bigint(0)), result, NULL);
}

static Node *
call(Oid function, Oid type, List *args)
{
	return (Node *) makeFuncExpr(function, type, args, InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* Returns a field of an interval, as extract() does. */
static Node *
field(const char *name, Node *interval)
{
	FuncExpr   *extract = (FuncExpr *) call(F_EXTRACT_TEXT_INTERVAL, NUMERICOID,
											list_make2(expr_text(name), copyObject(interval)));

	extract->funcformat = COERCE_SQL_SYNTAX;
	return (Node *) extract;
}

static Node *
times(Node *node, int factor)
{
	return expr_operation("*", node, expr_numeric(expr_integer(factor)));
}

/*
 * A sum of intervals has the sums of their months, days and seconds.  The
 * seconds are put together from hours and the rest, because make_interval()
 * takes floating-point seconds, which are exact for small numbers only.
 */
static Node *
interval_reading(Reading *reading, const Aggref *aggregate, Node *arg,
				 List *kept, List *read)
{
	Node	   *months = expr_operation("+", times(field("year", arg), 12),
								   field("month", arg));
	Node	   *seconds = expr_operation("+", expr_operation("+", times(field("hour", arg), 3600),
												   times(field("minute", arg), 60)),
									field("second", arg));
	Node	   *hour = expr_numeric(expr_integer(3600));
	Node	   *sum;

	months = sum_reading(reading, months, kept, read, "_months");
	seconds = sum_reading(reading, seconds, kept, read, "_seconds");
	sum = call(F_MAKE_INTERVAL, INTERVALOID,
			   list_make5(expr_integer(0), expr_cast(months, INT4OID),
						  expr_integer(0),
						  expr_cast(sum_reading(reading, field("day", arg), kept,
											  read, "_days"), INT4OID),
						  expr_cast(call(F_DIV, NUMERICOID,
									   list_make2(seconds, hour)),
								  INT4OID)));
	((FuncExpr *) sum)->args =
		list_concat(((FuncExpr *) sum)->args,
					list_make2(expr_integer(0),
							   expr_cast(call(F_MOD_NUMERIC_NUMERIC, NUMERICOID,
											list_make2(copyObject(seconds), copyObject(hour))),
									   FLOAT8OID)));
	if (aggregate->aggfnoid == F_SUM_INTERVAL)
		return sum;
	return expr_operation("/", sum, expr_cast(number_reading(reading, arg, kept, read),
									   FLOAT8OID));
}

/* Returns the square root of a variance, rounded like the server's. */
static Node *
deviation(Node *variance)
{
	/* NaN has no scale */
	Node	   *scale = expr_coalesce(call(F_SCALE, INT4OID,
									  list_make1(copyObject(variance))),
								 expr_integer(0));

	variance = call(F_ROUND_NUMERIC_INT4, NUMERICOID,
					list_make2(variance, expr_operation("+", scale, expr_integer(20))));
	return call(F_ROUND_NUMERIC_INT4, NUMERICOID,
				list_make2(call(F_SQRT_NUMERIC, NUMERICOID, list_make1(variance)),
						   copyObject(scale)));
}

/*
 * Variance and deviation from the number of values, their sum and the sum of
 * their squares, rounded like the server's.
 */
static Node *
variance_reading(Reading *reading, const Aggref *aggregate, Node *arg,
				 List *kept, List *read)
{
	const char *name = get_func_name(aggregate->aggfnoid);
	bool		population = strstr(name, "_pop") != NULL;
	Node	   *square = expr_operation("*", expr_numeric(copyObject(arg)),
								   expr_numeric(copyObject(arg)));
	Node	   *n;
	Node	   *sum;
	Node	   *numerator;
	Node	   *divisor;
	Node	   *variance;

	keep_scale(reading, arg);
	n = expr_numeric(number_reading(reading, arg, kept, read));
	sum = expr_numeric(sum_reading(reading, arg, kept, read, "_sum"));
	square = sum_reading(reading, square, kept, read, "_squares");
	numerator = expr_operation("-", expr_operation("*", n, square),
						  expr_operation("*", sum, copyObject(sum)));
	divisor = expr_operation("*", copyObject(n), population ? copyObject(n) :
						expr_operation("-", copyObject(n),
								  expr_numeric(expr_integer(1))));
	variance = expr_operation("/", numerator, expr_null_if_zero(divisor));
	if (strncmp(name, "std", 3) == 0)
		variance = deviation(variance);

	/* the server's result for equal values is 0 without decimal places */
	return expr_when(expr_operation(">", copyObject(numerator), expr_numeric(expr_integer(0))),
				variance,
				expr_when(expr_operation(">", copyObject(divisor), expr_numeric(expr_integer(0))),
					 expr_numeric(expr_integer(0)), NULL));
}

/* How such an aggregate is put together. */
typedef Node *(*CompositeReading) (Reading *reading, const Aggref *aggregate,
								   Node *arg, List *kept, List *read);

static CompositeReading
composite_reading(const Aggref *aggregate, Oid type)
{
	static const char *const booleans[] = {"bool_and", "every", "bool_or"};
	static const char *const variances[] = {"variance", "var_samp", "var_pop",
	"stddev", "stddev_samp", "stddev_pop"};

	if (aggregate->aggdistinct != NIL)
		return NULL;
	if (is_server_aggregate(aggregate, booleans, lengthof(booleans)))
		return boolean_reading;
	if (aggregate->aggfnoid == F_SUM_INTERVAL ||
		aggregate->aggfnoid == F_AVG_INTERVAL)
		return interval_reading;
	if (is_exact(type) &&
		is_server_aggregate(aggregate, variances, lengthof(variances)))
		return variance_reading;
	return NULL;
}

/* ----------------------------------------------------------------
 *		aggregates
 * ----------------------------------------------------------------
 */


static Node *
count_reading(Reading *reading, Node *arg, List *kept, List *read)
{
	Node	   *rows;

	if (arg == NULL)
		rows = weight(reading, kept, reading->column);
	else
		rows = linear(reading, arg, kept, LINEAR_ROWS).rows;
	if (!reading->direct)
		return expr_coalesce(sum_of(rows, read), expr_bigint(0));
	return IsA(rows, Var) ? rows : expr_coalesce(rows, expr_bigint(0));
}

static Node *
average_reading(Reading *reading, Node *arg, List *kept, List *read)
{
	bool		keeps_scale = reading->keeps_scale;
	Linear		parts;

	reading->keeps_scale = true;
	parts = linear(reading, arg, kept, LINEAR_SUM | LINEAR_ROWS);
	reading->keeps_scale = keeps_scale;
	return expr_operation("/", expr_numeric(add_up(reading, parts.sum, read)),
					 expr_null_if_zero(add_up(reading, parts.rows, read)));
}

/* An aggregate for which it does not matter how often a value occurs. */
static Node *
unweighted_reading(Reading *reading, const Aggref *aggregate)
{
	Aggref	   *copy = copyObject(unconstify(Aggref *, aggregate));
	bool		guarded = reading->core->guarded;
	ListCell   *lc;

	/* the argument is evaluated for facts that do not meet the filter, too */
	reading->core->guarded |= aggregate->aggfilter != NULL;
	reading->aggregates_again = true;

	foreach(lc, copy->args)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		entry->expr = (Expr *) reading_of_expression(reading,
													 (Node *) entry->expr,
													 CORE_ARGUMENT, NULL);
	}
	copy->aggdirectargs = (List *)
		reading_of_expression(reading, (Node *) copy->aggdirectargs,
							  CORE_ARGUMENT, NULL);
	reading->core->guarded = guarded;
	copy->aggfilter = (Expr *)
		reading_of_expression(reading, (Node *) copy->aggfilter,
							  CORE_CONDITION, NULL);
	return (Node *) copy;
}

/* Returns whether the result depends only on which values occur. */
static bool
is_unweighted(const Aggref *aggregate)
{
	static const char *const names[] = {"min", "max", "bool_and", "bool_or",
	"every", "bit_and", "bit_or", "range_agg", "range_intersect_agg"};
	static const char *const distinct_names[] = {"count", "sum", "avg", "array_agg",
	"string_agg", "bit_xor"};

	if (is_server_aggregate(aggregate, names, lengthof(names)))
		return true;
	return aggregate->aggdistinct != NIL &&
		is_server_aggregate(aggregate, distinct_names,
							lengthof(distinct_names));
}

/* Notes an aggregate that is not simply a sum over the core. */
static void
note_computed(Reading *reading, const Aggref *aggregate)
{
	const char *name = get_func_name(aggregate->aggfnoid);
	ListCell   *lc;

	if (aggregate->aggdistinct != NIL)
		name = psprintf("%s(DISTINCT)", name);
	else if (aggregate_kind(aggregate, &(MeasureKind) {0}))
		return;
	else
		name = psprintf("%s()", name);
	foreach(lc, reading->computed)
	{
		if (strcmp((char *) lfirst(lc), name) == 0)
			return;
	}
	reading->computed = lappend(reading->computed, unconstify(char *, name));
}

static Node *
aggregate_reading(Reading *reading, Aggref *aggregate)
{
	Node	   *arg = aggregate->args == NIL ? NULL :
	(Node *) linitial_node(TargetEntry, aggregate->args)->expr;
	List	   *kept;
	List	   *read;
	CompositeReading composite = arg == NULL ? NULL :
	composite_reading(aggregate, exprType(arg));
	bool		guarded = reading->core->guarded;
	Node	   *result;
	Obstacle   *obstacle;

	note_computed(reading, aggregate);
	if (composite != NULL && core_can_keep(reading->core, arg) &&
		(!reading->core->nullable ||
		 core_for_no_fact(reading->core, arg) == NULL))
	{
		split_filter(reading, aggregate->aggfilter, &kept, &read);
		return composite(reading, aggregate, arg, kept, read);
	}
	if (is_unweighted(aggregate))
		return unweighted_reading(reading, aggregate);
	if (composite != NULL ||
		(aggregate->aggkind != AGGKIND_NORMAL &&
		 get_func_namespace(aggregate->aggfnoid) == PG_CATALOG_NAMESPACE))
	{
		reading->expands = true;
		return unweighted_reading(reading, aggregate);
	}
	obstacle = aggregate_obstacle(aggregate);
	if (obstacle != NULL && !is_average(aggregate))
	{
		add_obstacle(reading, obstacle);
		return (Node *) makeNullConst(aggregate->aggtype, -1,
									  aggregate->aggcollid);
	}
	split_filter(reading, aggregate->aggfilter, &kept, &read);

	/* the core would evaluate the argument for facts that the view filters */
	reading->core->guarded |= read != NIL;
	if (is_average(aggregate))
		result = average_reading(reading, arg, kept, read);
	else if (aggregate->aggfnoid == F_COUNT_ ||
			 aggregate->aggfnoid == F_COUNT_ANY)
		result = count_reading(reading, arg, kept, read);
	else
		result = add_up(reading, linear(reading, arg, kept, LINEAR_SUM).sum,
						read);
	reading->core->guarded = guarded;
	return expr_cast(result, aggregate->aggtype);
}

static bool
is_group(const Reading *reading, Node *node)
{
	ListCell   *lc;

	foreach(lc, reading->groups)
	{
		if (equal(lfirst(lc), node))
			return true;
	}
	return false;
}

/*
 * coalesce(sum(x), 0) is kept as a measure of its own, which is never null, if
 * the core can compute it.
 */
static Node *
never_null_reading(Reading *reading, Node *node)
{
	bool		never_null = false;
	Aggref	   *aggregate = IsA(node, CoalesceExpr) ?
	aggregate_of_column((Expr *) node, &never_null) : NULL;
	List	   *kept;
	List	   *read;
	Var		   *measure;

	if (aggregate == NULL || !never_null || reading->core->nullable ||
		aggregate_obstacle(aggregate) != NULL ||
		!core_can_keep(reading->core,
					   (Node *) linitial_node(TargetEntry, aggregate->args)->expr))
		return NULL;
	split_filter(reading, aggregate->aggfilter, &kept, &read);
	aggregate = copyObject(aggregate);
	aggregate->aggfilter = kept == NIL ? NULL : make_ands_explicit(kept);
	node = copyObject(node);
	linitial(((CoalesceExpr *) node)->args) = aggregate;
	measure = core_measure(reading->core, (Expr *) node, reading->column);
	if (reading->keeps_scale)
		keep_scale(reading, (Node *) linitial_node(TargetEntry, aggregate->args)->expr);
	if (reading->direct)
		return (Node *) measure;
	return expr_cast(expr_coalesce(sum_of((Node *) measure, read), expr_bigint(0)),
				   exprType(node));
}

static Node *
output_mutator(Node *node, Reading *reading)
{
	Node	   *result;

	if (node == NULL)
		return NULL;
	if (IsA(node, Aggref) && ((Aggref *) node)->agglevelsup > 0)
	{
		refuse_outer_aggregate(reading);
		return (Node *) copyObject(node);
	}
	if (IsA(node, Aggref))
		return aggregate_reading(reading, (Aggref *) node);
	result = never_null_reading(reading, node);
	if (result != NULL)
		return result;
	if (IsA(node, Const) && is_group(reading, node) &&
		core_has_group(reading->core, node))
		return (Node *) core_group(reading->core, node, CORE_GROUP, NULL);
	if (is_group(reading, node) || IsA(node, Var) || IsA(node, SubLink))
		return reading_of_expression(reading, node, CORE_GROUP,
									 reading->column);
	return expression_tree_mutator(node, output_mutator, reading);
}

/*
 * Puts an output column, or HAVING, in terms of the core.  The type, its
 * modifier and the collation stay the same.
 */
Node *
reading_of_output(Reading *reading, Node *node)
{
	return output_mutator(node, reading);
}

/* Returns how often the view repeats a row of the core. */
Node *
reading_count_of_copy(Reading *reading)
{
	return reading->core->nullable ?
		expr_coalesce(fact_count(reading), expr_bigint(1)) : fact_count(reading);
}
