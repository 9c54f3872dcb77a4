/*-------------------------------------------------------------------------
 *
 * build_expr.c
 *	  Building expressions.
 *
 * The arguments become part of the result.  An expression that is used twice
 * has to be copied by the caller.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_node.h"
#include "parser/parse_oper.h"
#include "utils/builtins.h"

#include "build_expr.h"

/* Returns left op right, with the casts that the parser adds. */
Node *
expr_operation(const char *operator, Node *left, Node *right)
{
	ParseState *pstate = make_parsestate(NULL);

	return (Node *) make_op(pstate, list_make2(makeString("pg_catalog"),
											   makeString(pstrdup(operator))),
							left, right, NULL, -1);
}

/* Returns an explicit cast, or the constant that it results in. */
Node *
expr_cast(Node *node, Oid type)
{
	bool		constant = IsA(node, Const);

	if (exprType(node) == type)
		return node;
	node = coerce_to_target_type(NULL, node, exprType(node), type, -1,
								 COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
	return constant ? eval_const_expressions(NULL, node) : node;
}

Node *
expr_numeric(Node *node)
{
	return expr_cast(node, NUMERICOID);
}

Node *
expr_bigint(int64 value)
{
	return (Node *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64),
							  Int64GetDatum(value), false, FLOAT8PASSBYVAL);
}

Node *
expr_is_not_null(Node *node)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = (Expr *) node;
	test->nulltesttype = IS_NOT_NULL;
	test->location = -1;
	return (Node *) test;
}

Node *
expr_is_null(Node *node)
{
	NullTest   *test = (NullTest *) expr_is_not_null(node);

	test->nulltesttype = IS_NULL;
	return (Node *) test;
}

/*
 * Returns CASE WHEN condition THEN result ELSE otherwise END; without
 * "otherwise", null.
 */
Node *
expr_when(Node *condition, Node *result, Node *otherwise)
{
	CaseExpr   *expr = makeNode(CaseExpr);
	CaseWhen   *branch = makeNode(CaseWhen);

	branch->expr = (Expr *) condition;
	branch->result = (Expr *) result;
	branch->location = -1;
	expr->casetype = exprType(result);
	expr->casecollid = exprCollation(result);
	expr->args = list_make1(branch);
	expr->defresult = (Expr *) (otherwise ? otherwise :
								(Node *) makeNullConst(expr->casetype, -1, expr->casecollid));
	expr->location = -1;
	return (Node *) expr;
}

/* Returns coalesce(node, otherwise), of the type of the first. */
Node *
expr_coalesce(Node *node, Node *otherwise)
{
	CoalesceExpr *expr = makeNode(CoalesceExpr);

	expr->coalescetype = exprType(node);
	expr->coalescecollid = exprCollation(node);
	expr->args = list_make2(node, expr_cast(otherwise, exprType(node)));
	expr->location = -1;
	return (Node *) expr;
}

/* Returns nullif(node, 0). */
Node *
expr_null_if_zero(Node *node)
{
	NullIfExpr *expr;
	OpExpr	   *equality = (OpExpr *) expr_operation("=", node, expr_bigint(0));

	expr = (NullIfExpr *) copyObject(equality);
	NodeSetTag(expr, T_NullIfExpr);
	expr->opresulttype = exprType((Node *) linitial(expr->args));
	return (Node *) expr;
}

Node *
expr_integer(int value)
{
	return (Node *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
							  Int32GetDatum(value), false, true);
}

Node *
expr_text(const char *value)
{
	return (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
							  CStringGetTextDatum(value), false, false);
}

/*
 * Returns a clause for GROUP BY or DISTINCT, and gives the output column the
 * number by which it refers to it.  If the type has no order, throws, or
 * without "must_sort" leaves the operators invalid.
 */
SortGroupClause *
expr_group_clause(TargetEntry *entry, Index ref, bool must_sort)
{
	SortGroupClause *clause = makeNode(SortGroupClause);
	bool		hashable;

	entry->ressortgroupref = ref;
	clause->tleSortGroupRef = ref;
	get_sort_group_operators(exprType((Node *) entry->expr), false, must_sort,
							 false, &clause->sortop, &clause->eqop, NULL,
							 &hashable);
	clause->hashable = hashable;
	return clause;
}
