/*-------------------------------------------------------------------------
 *
 * expression.c
 *	  Which expressions over one row of a table can be maintained.
 *
 * An expression must depend only on the columns of the row, permanently.  So
 * every function must be immutable.  The code lists the nodes that are
 * supported: a node that a later server adds is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "expression.h"

/* Context of obstacle_walker. */
typedef struct ExpressionCheck
{
	Oid			relid;
	Obstacle   *obstacle;		/* the first one, or NULL */
} ExpressionCheck;

#define CURRENT_TIME_HINT \
	"Omit the current time, and filter by it when reading the rollup."
#define FORMAT_HINT \
	"Use the value itself, or date_trunc() or extract(), and format it when reading the rollup."
#define PARTS_HINT \
	"Construct the date from parts of the text: make_date(left(x, 4)::integer, substr(x, 6, 2)::integer, substr(x, 9, 2)::integer)."
#define CONCATENATION_HINT \
	"Use a separate column for each value, or cast values that are not text: a || b::text."

/* Hints on what to write instead of functions that are not immutable. */
static const struct
{
	Oid			function;
	const char *hint;
}			function_hints[] = {
	{F_AGE_TIMESTAMP, CURRENT_TIME_HINT},
	{F_AGE_TIMESTAMPTZ, CURRENT_TIME_HINT},
	{F_TO_CHAR_TIMESTAMP_TEXT, FORMAT_HINT},
	{F_TO_CHAR_TIMESTAMPTZ_TEXT, FORMAT_HINT},
	{F_TO_CHAR_INTERVAL_TEXT, FORMAT_HINT},
	{F_DATE_IN, PARTS_HINT},
	{F_TIMESTAMP_IN, PARTS_HINT},
	{F_TIMESTAMPTZ_IN, PARTS_HINT},
	{F_TO_DATE, PARTS_HINT},
	{F_TO_TIMESTAMP_TEXT_TEXT, PARTS_HINT},
	{F_TEXTANYCAT, CONCATENATION_HINT},
	{F_ANYTEXTCAT, CONCATENATION_HINT},
	{F_CONCAT, CONCATENATION_HINT},
	{F_CONCAT_WS, CONCATENATION_HINT},
	{F_NUMERIC_MONEY, MONEY_HINT},
	{F_CASH_OUT, MONEY_HINT},
	{F_ENUM_OUT, "Use the enum itself, and cast it when reading the rollup."},
	{F_RECORD_OUT, "Use the columns of the row separately."},
	{F_TO_TSVECTOR_TEXT,
	"Specify the text search configuration: to_tsvector('english', x)."},
	{F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8,
	"Use make_timestamp(...) AT TIME ZONE 'Europe/London'."},
	{F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8_TEXT,
	"Use make_timestamp(...) AT TIME ZONE 'Europe/London'."},
};

/*
 * Functions of the server that return NULL only if an argument is NULL.  They
 * raise an error where they have no result.  The server's catalogs have no
 * such information.
 */
static const Oid never_null_functions[] = {
	/* times into days, hours and the like */
	F_DATE_TIMESTAMP, F_TIMESTAMP_DATE,
	F_TIMEZONE_TEXT_TIMESTAMP, F_TIMEZONE_TEXT_TIMESTAMPTZ,
	F_TIMEZONE_INTERVAL_TIMESTAMP, F_TIMEZONE_INTERVAL_TIMESTAMPTZ,
	F_DATE_TRUNC_TEXT_TIMESTAMP,
	F_DATE_BIN_INTERVAL_TIMESTAMP_TIMESTAMP,
	F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ,
	F_DATE_PLI, F_DATE_MII, F_DATE_MI,
	F_DATE_PL_INTERVAL, F_DATE_MI_INTERVAL,
	F_TIMESTAMP_PL_INTERVAL, F_TIMESTAMP_MI_INTERVAL, F_TIMESTAMP_MI,
	/* arithmetic of exact numbers */
	F_INT2PL, F_INT4PL, F_INT8PL, F_INT24PL, F_INT42PL,
	F_INT28PL, F_INT82PL, F_INT48PL, F_INT84PL, F_NUMERIC_ADD,
	F_INT2MI, F_INT4MI, F_INT8MI, F_INT24MI, F_INT42MI,
	F_INT28MI, F_INT82MI, F_INT48MI, F_INT84MI, F_NUMERIC_SUB,
	F_INT2MUL, F_INT4MUL, F_INT8MUL, F_INT24MUL, F_INT42MUL,
	F_INT28MUL, F_INT82MUL, F_INT48MUL, F_INT84MUL, F_NUMERIC_MUL,
	F_INT2DIV, F_INT4DIV, F_INT8DIV, F_INT24DIV, F_INT42DIV,
	F_INT28DIV, F_INT82DIV, F_INT48DIV, F_INT84DIV, F_NUMERIC_DIV,
	F_INT2MOD, F_INT4MOD, F_INT8MOD, F_NUMERIC_MOD,
	F_INT2UM, F_INT4UM, F_INT8UM, F_NUMERIC_UMINUS,
	F_INT2UP, F_INT4UP, F_INT8UP, F_NUMERIC_UPLUS,
	F_ABS_INT2, F_ABS_INT4, F_ABS_INT8, F_ABS_NUMERIC,
	F_FLOOR_NUMERIC, F_CEIL_NUMERIC, F_CEILING_NUMERIC,
	F_ROUND_NUMERIC, F_ROUND_NUMERIC_INT4,
	F_TRUNC_NUMERIC, F_TRUNC_NUMERIC_INT4,
	/* casts to exact numbers */
	F_INT2_INT4, F_INT2_INT8, F_INT2_NUMERIC,
	F_INT4_INT2, F_INT4_INT8, F_INT4_NUMERIC, F_INT4_BOOL,
	F_INT8_INT2, F_INT8_INT4, F_INT8_NUMERIC,
	F_NUMERIC_INT2, F_NUMERIC_INT4, F_NUMERIC_INT8,
	F_NUMERIC_FLOAT4, F_NUMERIC_FLOAT8, F_NUMERIC_NUMERIC_INT4,
	/* texts */
	F_TEXTCAT, F_UPPER_TEXT, F_LOWER_TEXT, F_TEXT_BPCHAR,
	F_LENGTH_TEXT, F_LENGTH_BPCHAR,
	F_CHAR_LENGTH_TEXT, F_CHARACTER_LENGTH_TEXT, F_OCTET_LENGTH_TEXT,
};

static bool obstacle_walker(Node *node, ExpressionCheck *check);
static bool is_immutable_json(Node *node);
static bool note_mutable_function(Oid function, void *context);
static char *deparse(Node *node, Oid relid);
static Obstacle *column_obstacle(Oid relid, AttrNumber attnum);
static Obstacle *function_obstacle(Oid function, Node *node, Oid relid);
static const char *function_hint(Oid function, Node *node, Oid relid);
static const char *time_zone_hint(Oid function, Node *node, Oid relid);
static Node *in_time_zone(Node *node);
static bool are_never_null(List *nodes, Oid relid);

/* ----------------------------------------------------------------
 *		obstacles
 * ----------------------------------------------------------------
 */

/*
 * Returns the first obstacle of an expression, or of a list of expressions,
 * over one row of the table, or NULL.  Vars have varno 1 and the attribute
 * numbers of the table.  Evaluates nothing.  The caller must check the
 * expression again after expression_planner, which inserts default arguments
 * and inlines functions.
 */
Obstacle   *
expression_obstacle(Node *expr, Oid relid)
{
	ExpressionCheck check = {relid, NULL};

	(void) obstacle_walker(expr, &check);
	return check.obstacle;
}

/*
 * Returns whether a node, apart from its children, depends on its arguments
 * alone, provided that the functions that it calls do.
 */
static bool
is_supported(Node *node)
{
	switch (nodeTag(node))
	{
		case T_List:
		case T_Const:
		case T_SubscriptingRef:
		case T_FuncExpr:
		case T_NamedArgExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_FieldSelect:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_RowCompareExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
			return true;
		default:
			return is_immutable_json(node);
	}
}

/*
 * Returns a function that the node itself calls and that is not immutable, or
 * InvalidOid.
 */
static Oid
mutable_function(Node *node)
{
	Oid			function = InvalidOid;

	if (IsA(node, MinMaxExpr))
		note_mutable_function(lookup_type_cache(exprType(node),
												TYPECACHE_CMP_PROC)->cmp_proc,
							  &function);
	else
		check_functions_in_node(node, note_mutable_function, &function);
	return function;
}

/*
 * Returns the obstacle of a node that is supported in no expression, or NULL.
 */
static Obstacle *
node_obstacle(Node *node, Oid relid)
{
	switch (nodeTag(node))
	{
		case T_Var:
			return column_obstacle(relid, ((Var *) node)->varattno);

		case T_CoerceToDomain:
			/* a column that already has the domain type needs no cast */
			return obstacle_unsupported(psprintf("a cast to domain %s",
												 format_type_be(exprType(node))),
										"The constraints of a domain may change.",
										"Cast to the base type of the domain.");

		case T_SQLValueFunction:
			return obstacle_unsupported(deparse_expression(node, NIL, false,
														   false),
										"A row must be counted in the same way when it is inserted and when it is deleted.",
										"Filter by it when reading the rollup.");

		case T_Param:
			return obstacle_unsupported("a parameter", NULL,
										"Use a constant.");

		case T_SubLink:
			return obstacle_unsupported("a subquery in an expression", NULL,
										SUBQUERY_HINT);

		default:
			if ((IsA(node, FuncExpr) && ((FuncExpr *) node)->funcretset) ||
				(IsA(node, OpExpr) && ((OpExpr *) node)->opretset))
				return obstacle_unsupported("a set-returning function", NULL,
											SET_HINT);
			if (!is_supported(node))
				return obstacle_unsupported(deparse(node, relid), NULL,
											"Use columns, constants, operators and immutable functions.");
			return NULL;
	}
}

/* Finds the first obstacle of an expression. */
static bool
obstacle_walker(Node *node, ExpressionCheck *check)
{
	Oid			function;

	if (node == NULL)
		return false;

	check->obstacle = node_obstacle(node, check->relid);
	if (check->obstacle != NULL)
		return true;
	if (IsA(node, Var))
		return false;

	/*
	 * children are checked first, so that the error names now() rather than
	 * the expression around it
	 */
	function = mutable_function(node);
	if (expression_tree_walker(node, obstacle_walker, check))
		return true;
	if (OidIsValid(function))
		check->obstacle = function_obstacle(function, node, check->relid);
	return check->obstacle != NULL;
}

/*
 * Returns whether the node is a part of SQL/JSON, or an SQL/JSON predicate or
 * query whose result depends only on its arguments.  The server checks the
 * path of a query, but not the conversion of its result to the RETURNING type.
 */
static bool
is_immutable_json(Node *node)
{
	Oid			input;
	Oid			param;

	if (is_json_part(node))
		return true;
	if (!is_json_query(node) || contain_mutable_functions(node) ||
		exprType(node) >= FirstNormalObjectId)
		return false;
	getTypeInputInfo(exprType(node), &input, &param);
	return func_volatile(input) == PROVOLATILE_IMMUTABLE;
}

/*
 * Returns an expression over the columns of the table as text, in the way a
 * definition would write it.
 */
static char *
deparse(Node *node, Oid relid)
{
	return deparse_expression(node, deparse_context_for(get_rel_name(relid),
														relid), false, false);
}

/* Returns the obstacle of a reference to a whole row. */
Obstacle   *
expression_whole_row(void)
{
	return obstacle_unsupported("a whole-row reference", NULL,
								"Use the columns of the row separately.");
}

/*
 * Returns why the column is not in the rows that logical decoding returns, or
 * NULL.
 */
static Obstacle *
column_obstacle(Oid relid, AttrNumber attnum)
{
	if (attnum == InvalidAttrNumber)
		return expression_whole_row();

	if (attnum < 0)
		return obstacle_unsupported(psprintf("system column \"%s\"",
											 NameStr(SystemAttributeDefinition(attnum)->attname)),
									NULL, "Use the user columns of the table.");

	if (get_attgenerated(relid, attnum) == ATTRIBUTE_GENERATED_VIRTUAL)
		return obstacle_unsupported(psprintf("virtual generated column \"%s\"",
											 get_attname(relid, attnum, false)),
									"Virtual generated columns are not written to WAL.",
									"Use the generation expression instead of the column.");
	return NULL;
}

/*
 * Callback of check_functions_in_node.  If the result of the function depends
 * on more than its arguments, notes the function and stops the walk.
 */
static bool
note_mutable_function(Oid function, void *context)
{
	if (func_volatile(function) == PROVOLATILE_IMMUTABLE)
		return false;

	*(Oid *) context = function;
	return true;
}

/*
 * Returns in which construct of the definition a function is called, as a
 * sentence, where that is not its own name.
 */
static const char *
caller_sentence(Node *node)
{
	if (IsA(node, CoerceViaIO))
		return psprintf("The function is called by the cast from %s to %s. ",
						format_type_be(exprType((Node *) ((CoerceViaIO *) node)->arg)),
						format_type_be(exprType(node)));
	if (IsA(node, FuncExpr) &&
		((FuncExpr *) node)->funcformat != COERCE_EXPLICIT_CALL &&
		((FuncExpr *) node)->funcformat != COERCE_SQL_SYNTAX)
		return psprintf("The function is called by the cast from %s to %s. ",
						format_type_be(exprType(linitial(((FuncExpr *) node)->args))),
						format_type_be(exprType(node)));
	if (IsA(node, OpExpr))
		return psprintf("The function is called by operator %s. ",
						format_operator(((OpExpr *) node)->opno));
	return "";
}

/* Returns the obstacle that a node calls a function that is not immutable. */
static Obstacle *
function_obstacle(Oid function, Node *node, Oid relid)
{
	bool		is_volatile = func_volatile(function) == PROVOLATILE_VOLATILE;

	return obstacle_make(ERRCODE_INVALID_OBJECT_DEFINITION,
						 psprintf("%s function %s is not supported in a rollup definition",
								  is_volatile ? "volatile" : "stable",
								  format_procedure(function)),
						 psprintf("%sA row must be counted in the same way when it is inserted and when it is deleted.",
								  caller_sentence(node)),
						 function_hint(function, node, relid));
}

/*
 * Returns a hint on what to write instead of a function that is not immutable
 * and that the node calls.
 */
static const char *
function_hint(Oid function, Node *node, Oid relid)
{
	const char *hint;
	bool		is_cast = IsA(node, CoerceViaIO) ||
	(IsA(node, FuncExpr) &&
	 ((FuncExpr *) node)->funcformat == COERCE_EXPLICIT_CAST);

	for (int i = 0; i < (int) lengthof(function_hints); i++)
		if (function_hints[i].function == function)
			return function_hints[i].hint;

	if (get_func_rettype(function) == TIMESTAMPTZOID &&
		get_func_nargs(function) == 0)
		return CURRENT_TIME_HINT;
	if (func_volatile(function) == PROVOLATILE_VOLATILE ||
		get_func_nargs(function) == 0)
		return "Use only columns, constants and immutable functions.";

	hint = time_zone_hint(function, node, relid);
	if (hint != NULL)
		return hint;
	return is_cast ?
		"Use the value itself, and cast it when reading the rollup." :
		"Use the argument of the function, and call the function when reading the rollup.";
}

/*
 * Returns a hint on how to avoid the time zone of the session, or NULL if none
 * is known.
 */
static const char *
time_zone_hint(Oid function, Node *node, Oid relid)
{
	bool		is_explicit;
	Node	   *local;
	char	   *arg;

	if (!IsA(node, FuncExpr) && !IsA(node, OpExpr))
		return NULL;
	if (IsA(node, OpExpr) ||
		(function != F_TIMESTAMPTZ_DATE &&
		 function != F_TIMESTAMPTZ_TIMESTAMP))
	{
		local = in_time_zone(node);
		return local ? psprintf("Specify the time zone: %s.",
								deparse(local, relid)) : NULL;
	}

	is_explicit = ((FuncExpr *) node)->funcformat != COERCE_IMPLICIT_CAST;
	arg = deparse(linitial(((FuncExpr *) node)->args), relid);
	if (function == F_TIMESTAMPTZ_TIMESTAMP)
		return psprintf("Specify the time zone: (%s) AT TIME ZONE 'Europe/London'.", arg);
	if (is_explicit)
		return psprintf("Specify the time zone: (%s)::timestamp AT TIME ZONE 'Europe/London'.", arg);
	return psprintf("Use a timestamp without time zone: (%s)::timestamp.",
					arg);
}

/*
 * Returns x AT TIME ZONE zone, which converts a point in time to a local time.
 */
static Node *
local_time(Node *arg, Node *zone)
{
	return (Node *) makeFuncExpr(F_TIMEZONE_TEXT_TIMESTAMPTZ, TIMESTAMPOID,
								 list_make2(zone, arg),
								 InvalidOid, DEFAULT_COLLATION_OID,
								 COERCE_SQL_SYNTAX);
}

/*
 * Converts the arguments that are points in time to local times, and stores
 * the types of all arguments.  Returns false if one of them cannot be written
 * as SQL.
 */
static bool
make_local(List *args, Node *zone, Oid *types)
{
	ListCell   *lc;

	foreach(lc, args)
	{
		Node	   *arg = lfirst(lc);

		if (IsA(arg, CaseTestExpr))
			return false;
		if (exprType(arg) == TIMESTAMPTZOID)
			lfirst(lc) = local_time(arg, zone);
		types[foreach_current_index(lc)] = exprType(lfirst(lc));
	}
	return true;
}

/*
 * Returns the server's function of that name for arguments of these types, if
 * it is immutable; otherwise InvalidOid.
 */
static Oid
find_immutable(const char *name, int nargs, const Oid *types)
{
	List	   *qualified = list_make2(makeString("pg_catalog"),
									   makeString(pstrdup(name)));
	Oid			function = LookupFuncName(qualified, nargs, types, true);

	return OidIsValid(function) &&
		func_volatile(function) == PROVOLATILE_IMMUTABLE ? function :
		InvalidOid;
}

/*
 * Returns the call of a function with local times instead of points in time.
 * Returns NULL if there is no such function, or if it is not immutable either.
 */
static Node *
call_in_time_zone(FuncExpr *call, Node *zone)
{
	Oid			types[FUNC_MAX_ARGS];

	call = copyObject(call);
	if (call->funcid == F_TIMESTAMP_TIMESTAMPTZ)
		return local_time(linitial(call->args), zone);
	if (call->funcid == F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT)
	{
		zone = llast(call->args);
		call->args = list_truncate(call->args, 2);
	}
	if (get_func_namespace(call->funcid) != PG_CATALOG_NAMESPACE ||
		!make_local(call->args, zone, types))
		return NULL;
	call->funcid = find_immutable(get_func_name(call->funcid),
								  list_length(call->args), types);
	return OidIsValid(call->funcid) ? (Node *) call : NULL;
}

/*
 * The same for an operator.
 */
static Node *
operator_in_time_zone(OpExpr *expr, Node *zone)
{
	Oid			types[2] = {InvalidOid, InvalidOid};
	List	   *name;

	expr = copyObject(expr);
	if (list_length(expr->args) != 2 || !make_local(expr->args, zone, types))
		return NULL;
	name = list_make2(makeString("pg_catalog"),
					  makeString(get_opname(expr->opno)));
	expr->opno = OpernameGetOprid(name, types[0], types[1]);
	expr->opfuncid = OidIsValid(expr->opno) ?
		get_opcode(expr->opno) : InvalidOid;
	return OidIsValid(expr->opfuncid) &&
		func_volatile(expr->opfuncid) == PROVOLATILE_IMMUTABLE ?
		(Node *) expr : NULL;
}

static Node *
in_time_zone(Node *node)
{
	Node	   *zone = (Node *) makeConst(UNKNOWNOID, -1, InvalidOid, -2,
										  CStringGetDatum("Europe/London"),
										  false, false);

	return IsA(node, FuncExpr) ? call_in_time_zone((FuncExpr *) node, zone) :
		operator_in_time_zone((OpExpr *) node, zone);
}

/* ----------------------------------------------------------------
 *		NULL
 * ----------------------------------------------------------------
 */

/* Returns whether a function returns NULL only for NULL. */
static bool
is_never_null_function(Oid function)
{
	for (int i = 0; i < (int) lengthof(never_null_functions); i++)
	{
		if (never_null_functions[i] == function)
			return true;
	}
	return false;
}

/*
 * Returns whether an operator returns NULL only for NULL.  These are the
 * server's operators that compare, and those of the functions above.
 */
static bool
is_never_null_operator(Oid operator)
{
	return is_never_null_function(get_opcode(operator)) ||
		(operator < FirstGenbkiObjectId &&
		 operator_comparisons(operator) != NIL);
}

/* Returns whether each of the expressions can never be NULL. */
static bool
are_never_null(List *nodes, Oid relid)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		if (!expression_is_never_null(lfirst(lc), relid))
			return false;
	}
	return true;
}

/* Returns whether one of the expressions can never be NULL. */
static bool
is_any_never_null(List *nodes, Oid relid)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		if (expression_is_never_null(lfirst(lc), relid))
			return true;
	}
	return false;
}

/* Returns whether the column has a valid NOT NULL constraint. */
static bool
is_column_not_null(Oid relid, AttrNumber attnum)
{
	Relation	rel;
	bool		not_null;

	if (attnum <= 0)
		return false;
	rel = table_open(relid, AccessShareLock);
	not_null = attribute_is_not_null(RelationGetDescr(rel), attnum);
	table_close(rel, NoLock);
	return not_null;
}

/* Returns whether no branch of CASE can be NULL.  Each condition may be. */
static bool
is_case_never_null(const CaseExpr *expr, Oid relid)
{
	ListCell   *lc;

	foreach(lc, expr->args)
	{
		Node	   *result = (Node *) lfirst_node(CaseWhen, lc)->result;

		if (!expression_is_never_null(result, relid))
			return false;
	}
	return expression_is_never_null((Node *) expr->defresult, relid);
}

/*
 * Returns whether an expression over one row of the table can never be NULL,
 * given the current state of the table, which must be locked.  The expression
 * must have passed expression_obstacle; it may be planned or not.
 */
bool
expression_is_never_null(Node *expr, Oid relid)
{
	if (expr == NULL)
		return false;			/* CASE without ELSE */
	check_stack_depth();

	switch (nodeTag(expr))
	{
		case T_Const:
			return !((Const *) expr)->constisnull;
		case T_Var:
			return is_column_not_null(relid, ((Var *) expr)->varattno);
		case T_NullTest:
		case T_BooleanTest:
			return true;

		case T_FuncExpr:
			return is_never_null_function(((FuncExpr *) expr)->funcid) &&
				are_never_null(((FuncExpr *) expr)->args, relid);
		case T_OpExpr:
			return is_never_null_operator(((OpExpr *) expr)->opno) &&
				are_never_null(((OpExpr *) expr)->args, relid);
		case T_DistinctExpr:
			/* NULLs are compared without the operator */
			return is_never_null_operator(((DistinctExpr *) expr)->opno);

		case T_RelabelType:
			return expression_is_never_null((Node *) ((RelabelType *) expr)->arg,
											relid);
		case T_CollateExpr:
			return expression_is_never_null((Node *) ((CollateExpr *) expr)->arg,
											relid);
		case T_BoolExpr:
			return are_never_null(((BoolExpr *) expr)->args, relid);
		case T_CaseExpr:
			return is_case_never_null((CaseExpr *) expr, relid);

		case T_CoalesceExpr:
			return is_any_never_null(((CoalesceExpr *) expr)->args, relid);
		case T_MinMaxExpr:
			/* GREATEST and LEAST ignore NULLs */
			return is_any_never_null(((MinMaxExpr *) expr)->args, relid);

		default:
			return false;
	}
}
