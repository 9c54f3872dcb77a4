/*-------------------------------------------------------------------------
 *
 * users_code.c
 *	  Whether an expression may call code of users.
 *
 * What initdb has made is known by its OID.  All else counts as users', be
 * it of an extension or of a superuser.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"

#include "users_code.h"

/*
 * The same of the functions that a type comes with.  Those of an enum are the
 * server's.
 */
bool
users_code_in_type(Oid type)
{
	return type >= FirstNormalObjectId && get_typtype(type) != TYPTYPE_ENUM;
}

static bool
is_users_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/*
 * Whether values of a users' type come in here, which other nodes then
 * compare.
 */
static bool
brings_users_type(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_ArrayExpr:
		case T_RowExpr:
			return users_code_in_type(exprType(node));
		case T_CoerceToDomain:
			return true;
		default:
			return false;
	}
}

static bool
users_code_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (brings_users_type(node) ||
		check_functions_in_node(node, is_users_function, context))
		return true;
	return expression_tree_walker(node, users_code_walker, context);
}

/*
 * Whether to evaluate an expression, or a list of them, may call anything
 * but what came with the server: a function of its own, or one that
 * compares, reads or checks values of a type.  Rather true than false.
 */
bool
users_code_in(Node *expression)
{
	return users_code_walker(expression, NULL);
}
