/*-------------------------------------------------------------------------
 *
 * aggregate.c
 *	  Which aggregates and group columns a rollup's table can hold.
 *
 * For every aggregate, it must be possible to subtract a deleted row again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/regproc.h"

#include "aggregate.h"
#include "expression.h"

/* The aggregates from which a row can be subtracted again. */
static const struct
{
	Oid			aggregate;
	MeasureKind kind;
}			measure_kinds[] = {
	{F_COUNT_, MEASURE_COUNT},
	{F_COUNT_ANY, MEASURE_COUNT},
	{F_SUM_INT2, MEASURE_SUM_INT},
	{F_SUM_INT4, MEASURE_SUM_INT},
	{F_SUM_INT8, MEASURE_SUM_NUMERIC},
	{F_SUM_NUMERIC, MEASURE_SUM_NUMERIC},
};

/*
 * Messages for other aggregates; the last entry applies to all that are not
 * listed.
 */
static const struct
{
	const char *name;
	Oid			aggregate;		/* invalid: all of that name */
	const char *detail;
	const char *hint;
}			refused_aggregates[] = {

	{"sum", F_SUM_INTERVAL,
		"Only sums of exact numbers can be subtracted exactly.",
	"Sum the seconds: coalesce(sum(extract(epoch FROM x)), 0)."},
	{"sum", F_SUM_MONEY,
		"Only sums of exact numbers can be subtracted exactly.",
	MONEY_HINT},
	{"sum", InvalidOid,
		"Only sums of exact numbers can be subtracted exactly.",
	"Use a smallint, integer, bigint or numeric argument. A double precision value can be cast: sum(x::numeric)."},
	{"avg", InvalidOid,
		"Only sums of exact numbers can be subtracted exactly.",
	"Use a smallint, integer, bigint, numeric or interval argument. A double precision value can be cast: avg(x::numeric)."},
	{"min", InvalidOid,
		"When the smallest value is deleted, the next one must be searched for.",
	"Use count(*), count(x) or sum(x), or add the column to GROUP BY."},
	{"max", InvalidOid,
		"When the greatest value is deleted, the next one must be searched for.",
	"Use count(*), count(x) or sum(x), or add the column to GROUP BY."},
	{"bool_and", InvalidOid, NULL,
	"Use count(*) FILTER (WHERE NOT x), and compare with 0 when reading the rollup."},
	{"every", InvalidOid, NULL,
	"Use count(*) FILTER (WHERE NOT x), and compare with 0 when reading the rollup."},
	{"bool_or", InvalidOid, NULL,
	"Use count(*) FILTER (WHERE x), and compare with 0 when reading the rollup."},
	{NULL, InvalidOid, NULL,
	"Use count, sum, avg, min, max, or DISTINCT in the aggregate."},
};

/* Returns whether an aggregate has a floating-point argument. */
static bool
is_of_float(Oid aggregate)
{
	Oid		   *types;
	int			n;

	(void) get_func_signature(aggregate, &types, &n);
	return n == 1 && (types[0] == FLOAT4OID || types[0] == FLOAT8OID);
}

/*
 * Returns the obstacle of an aggregate that is not supported.
 */
static Obstacle *
refused_aggregate(Oid aggregate)
{
	const char *name = "";
	int			i = 0;

	/*
	 * the messages for count and sum do not apply to functions of the same
	 * name in other schemas
	 */
	if (get_func_namespace(aggregate) == PG_CATALOG_NAMESPACE)
		name = get_func_name(aggregate);
	if (is_of_float(aggregate) &&
		(strcmp(name, "avg") == 0 || strncmp(name, "var", 3) == 0 ||
		 strncmp(name, "stddev", 6) == 0))
		return obstacle_unsupported(psprintf("aggregate %s",
											 format_procedure(aggregate)),
									"Only sums of exact numbers can be subtracted exactly.",
									psprintf("A double precision value can be cast: %s(x::numeric).",
											 name));

	while (refused_aggregates[i].name != NULL &&
		   (strcmp(refused_aggregates[i].name, name) != 0 ||
			(OidIsValid(refused_aggregates[i].aggregate) &&
			 refused_aggregates[i].aggregate != aggregate)))
		i++;
	return obstacle_unsupported(psprintf("aggregate %s",
										 format_procedure(aggregate)),
								refused_aggregates[i].detail,
								refused_aggregates[i].hint);
}

/*
 * Returns whether rows can be subtracted from the aggregate again, and if so,
 * sets *kind.  Does not check its argument and FILTER.
 */
bool
aggregate_kind(const Aggref *aggregate, MeasureKind *kind)
{
	if (aggregate->aggdistinct != NIL || aggregate->aggorder != NIL)
		return false;
	for (int i = 0; i < (int) lengthof(measure_kinds); i++)
	{
		if (measure_kinds[i].aggregate == aggregate->aggfnoid)
		{
			*kind = measure_kinds[i].kind;
			return true;
		}
	}
	return false;
}

/*
 * Returns why aggregate_kind is false for an aggregate, or NULL.  Does not
 * check its argument and FILTER.
 */
Obstacle   *
aggregate_obstacle(const Aggref *aggregate)
{
	int			kind = 0;

	while (kind < (int) lengthof(measure_kinds) &&
		   measure_kinds[kind].aggregate != aggregate->aggfnoid)
		kind++;
	if (kind == (int) lengthof(measure_kinds))
		return refused_aggregate(aggregate->aggfnoid);

	if (aggregate->aggdistinct != NIL)
		return obstacle_unsupported("DISTINCT in an aggregate", NULL,
									"Add the argument to GROUP BY, and count the rows of the rollup.");
	if (aggregate->aggorder != NIL)
		return obstacle_unsupported("ORDER BY in an aggregate", NULL,
									"Omit it. The results of count and sum do not depend on the order.");
	return NULL;
}

/*
 * Returns whether the expression is the constant zero, of the type of an
 * aggregate.
 */
static bool
is_zero(Node *node, Oid type)
{
	Const	   *constant;

	if (contain_agg_clause(node) || contain_var_clause(node) ||
		contain_mutable_functions(node))
		return false;

	/* the numeric constant 0 is a cast until it is folded */
	node = eval_const_expressions(NULL, node);
	if (!IsA(node, Const))
		return false;

	constant = (Const *) node;
	if (constant->constisnull || constant->consttype != type)
		return false;

	switch (type)
	{
		case INT8OID:
			return DatumGetInt64(constant->constvalue) == 0;
		case NUMERICOID:
			return DatumGetBool(DirectFunctionCall2(numeric_eq,
													constant->constvalue,
													NumericGetDatum(int64_to_numeric(0))));
		default:
			return false;
	}
}

/*
 * Returns the aggregate of an output column: the column itself, or the sum(x)
 * in coalesce(sum(x), 0), which is never NULL.  (Around a count, coalesce has
 * no effect.)  Returns NULL for other expressions.  The result is a part of
 * the expression.
 */
Aggref	   *
aggregate_of_column(Expr *expr, bool *never_null)
{
	CoalesceExpr *coalesce;
	Node	   *aggregate;

	*never_null = false;
	if (IsA(expr, Aggref))
		return (Aggref *) expr;
	if (!IsA(expr, CoalesceExpr))
		return NULL;

	coalesce = (CoalesceExpr *) expr;
	aggregate = linitial(coalesce->args);
	if (list_length(coalesce->args) != 2 || !IsA(aggregate, Aggref) ||
		!is_zero(lsecond(coalesce->args), coalesce->coalescetype))
		return NULL;

	*never_null = true;
	return (Aggref *) aggregate;
}

/*
 * Returns a hint on what to group by instead of values of a type that cannot
 * be hashed or sorted.
 */
static const char *
group_hint(Oid type)
{
	Oid			output;
	bool		is_varlena;

	if (type == MONEYOID)
		return MONEY_HINT;
	if (type_is_rowtype(type))
		return "Group by the columns of the row separately.";
	getTypeOutputInfo(type, &output, &is_varlena);
	if (func_volatile(output) == PROVOLATILE_IMMUTABLE)
		return "Cast the column to a type with such operator classes, for example text.";
	return "Group by another value that can be computed from the column.";
}

/*
 * Returns why the rollup cannot be grouped by a column because of its type, or
 * NULL.  "hashable" and "sortable" are those of its SortGroupClause: whether
 * the type has default operator classes for hash and btree.  The deltas of a
 * group are found in a hash table, its row by a btree index.  Does not check
 * the expression.
 */
Obstacle   *
group_obstacle(const char *column_name, Node *expr, bool hashable,
			   bool sortable)
{
	if (hashable && sortable)
		return NULL;
	return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
						 psprintf("cannot group by column \"%s\" of type %s",
								  column_name,
								  format_type_be(exprType(expr))),
						 "The type must have default operator classes for both hash and btree.",
						 group_hint(exprType(expr)));
}
