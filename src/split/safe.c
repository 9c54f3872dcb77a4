/*-------------------------------------------------------------------------
 *
 * safe.c
 *	  Expressions that raise no errors, and values that look as they compare.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/transam.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "safe.h"

/*
 * Functions of the server that raise no error for any argument that occurs in
 * practice: sums and products may exceed the range of their type, which would
 * make the query fail as well as soon as the row is shown.  Functions that
 * operators for comparison call are found by is_comparison.
 */
static const Oid safe_functions[] = {
	/* casts to a wider type */
	F_INT4_INT2, F_INT8_INT2, F_INT8_INT4, F_NUMERIC_INT2, F_NUMERIC_INT4,
	F_NUMERIC_INT8, F_FLOAT8_INT4, F_FLOAT8_INT8, F_FLOAT8_FLOAT4,
	F_NUMERIC_FLOAT4, F_NUMERIC_FLOAT8, F_NUMERIC_NUMERIC_INT4,
	F_BPCHAR_BPCHAR_INT4_BOOL, F_TEXT_BPCHAR,
	F_VARCHAR_VARCHAR_INT4_BOOL, F_TEXT_NAME,
	/* exact arithmetic */
	F_INT2PL, F_INT4PL, F_INT8PL, F_INT24PL, F_INT42PL, F_INT48PL, F_INT84PL,
	F_INT28PL, F_INT82PL,
	F_INT2MI, F_INT4MI, F_INT8MI, F_INT24MI, F_INT42MI, F_INT48MI, F_INT84MI,
	F_INT28MI, F_INT82MI,
	F_INT2MUL, F_INT4MUL, F_INT8MUL, F_INT24MUL, F_INT42MUL, F_INT48MUL,
	F_INT84MUL, F_INT28MUL, F_INT82MUL,
	F_INT2UM, F_INT4UM, F_INT8UM, F_NUMERIC_ADD, F_NUMERIC_SUB, F_NUMERIC_MUL,
	F_NUMERIC_UMINUS, F_ABS_INT2, F_ABS_INT4, F_ABS_INT8, F_ABS_NUMERIC,
	F_FLOOR_NUMERIC, F_CEIL_NUMERIC, F_ROUND_NUMERIC_INT4, F_ROUND_NUMERIC,
	F_TRUNC_NUMERIC, F_SCALE,
	/* dates and times */
	F_DATE_TIMESTAMP, F_TIMESTAMP_DATE, F_TIME_TIMESTAMP,
	F_TIMEZONE_TEXT_TIMESTAMP, F_TIMEZONE_TEXT_TIMESTAMPTZ,
	F_TIMEZONE_INTERVAL_TIMESTAMP, F_TIMEZONE_INTERVAL_TIMESTAMPTZ,
	F_DATE_TRUNC_TEXT_TIMESTAMP, F_EXTRACT_TEXT_TIMESTAMP,
	F_EXTRACT_TEXT_DATE, F_EXTRACT_TEXT_TIMESTAMPTZ, F_EXTRACT_TEXT_INTERVAL,
	F_DATE_PART_TEXT_TIMESTAMP, F_DATE_PART_TEXT_INTERVAL,
	F_DATE_PLI, F_DATE_MII, F_DATE_MI, F_DATE_PL_INTERVAL,
	F_DATE_MI_INTERVAL, F_TIMESTAMP_PL_INTERVAL, F_TIMESTAMP_MI_INTERVAL,
	F_TIMESTAMP_MI, F_TIMESTAMPTZ_MI,
	F_DATE_BIN_INTERVAL_TIMESTAMP_TIMESTAMP,
	F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ,
	/* texts */
	F_TEXTCAT, F_LOWER_TEXT, F_UPPER_TEXT, F_LENGTH_TEXT, F_BTRIM_TEXT,
	F_LTRIM_TEXT, F_RTRIM_TEXT, F_LEFT, F_RIGHT, F_TEXTLIKE, F_TEXTNLIKE,
	F_TEXTICLIKE, F_TEXTICNLIKE, F_STARTS_WITH, F_STRPOS, F_REPLACE,
	/* JSON */
	F_JSONB_OBJECT_FIELD_TEXT, F_JSONB_OBJECT_FIELD, F_JSONB_EXISTS,
	F_JSONB_CONTAINS, F_JSON_OBJECT_FIELD_TEXT, F_JSON_OBJECT_FIELD,
};

static bool
is_safe_function(Oid function, List *args)
{
	/* a unit or time zone that is not valid is an error */
	if (args != NIL && exprType((Node *) linitial(args)) == TEXTOID &&
		!IsA(linitial(args), Const) &&
		get_func_rettype(function) != TEXTOID &&
		get_func_rettype(function) != BOOLOID &&
		get_func_rettype(function) != INT4OID)
		return false;
	for (int i = 0; i < (int) lengthof(safe_functions); i++)
	{
		if (safe_functions[i] == function)
			return true;
	}
	return false;
}

/* Returns whether an operator of the server compares two values. */
static bool
is_comparison(Oid operator)
{
	return operator < FirstGenbkiObjectId &&
		operator_comparisons(operator) != NIL;
}

static bool
may_fail_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_FuncExpr:
			if (!is_safe_function(((FuncExpr *) node)->funcid,
								  ((FuncExpr *) node)->args))
				return true;
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			if (!is_comparison(((OpExpr *) node)->opno) &&
				!is_safe_function(get_opcode(((OpExpr *) node)->opno), NIL))
				return true;
			break;
		case T_ScalarArrayOpExpr:
			if (!is_comparison(((ScalarArrayOpExpr *) node)->opno))
				return true;
			break;
		case T_List:
		case T_Const:
		case T_Var:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, may_fail_walker, context);
}

/* Returns whether an expression is known to raise no errors. */
bool
safe_expression(Node *node)
{
	return !may_fail_walker(node, NULL);
}

/* Returns whether equal values of a range type of the server look the same. */
static bool
safe_range(Oid type)
{
	return type < FirstGenbkiObjectId && type_is_range(type) &&
		safe_image_of_type(get_range_subtype(type), -1, InvalidOid);
}

/*
 * Returns whether values of a type that are equal are also the same in every
 * other respect.
 */
bool
safe_image_of_type(Oid type, int32 typmod, Oid collation)
{
	TypeCacheEntry *entry;
	Oid			function;

	type = getBaseTypeAndTypmod(type, &typmod);
	if (type == NUMERICOID && typmod >= 0)
		return true;
	if (type == BPCHAROID && typmod < 0)
		return false;

	/* arrays compare their elements, and else only their dimensions */
	if (OidIsValid(get_base_element_type(type)))
		type = get_base_element_type(type);
	if (safe_range(type))
		return true;
	entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY);
	if (!OidIsValid(entry->btree_opf))
		return false;
	function = get_opfamily_proc(entry->btree_opf, entry->btree_opintype,
								 entry->btree_opintype, BTEQUALIMAGE_PROC);
	return OidIsValid(function) &&
		DatumGetBool(OidFunctionCall1Coll(function, collation,
										  ObjectIdGetDatum(entry->btree_opintype)));
}

/*
 * The same for values of an expression.  Then each expression over them has one
 * result for a group.  It is not so for 1.0 and 1.00, -0.0 and 0.0, '1 day' and
 * '24 hours', and for texts with a nondeterministic collation.
 */
bool
safe_image(Node *node)
{
	return safe_image_of_type(exprType(node), exprTypmod(node),
							  exprCollation(node));
}
