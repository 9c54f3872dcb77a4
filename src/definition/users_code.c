/*-------------------------------------------------------------------------
 *
 * users_code.c
 *	  Whether an expression may call code of users.
 *
 * Objects created by initdb are recognized by their OID.  Everything else
 * counts as code of users, also that of extensions or superusers.
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
 * Returns whether the functions of a type may be code of users.  Those of an
 * enum belong to the server.
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
 * Returns whether the node produces values of a user-defined type, which other
 * nodes then compare.
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
 * Returns whether evaluating an expression, or a list of expressions, may call
 * code that did not come with the server: a function that it names, or one
 * that compares, reads or checks values of a type.  If in doubt, returns true.
 */
bool
users_code_in(Node *expression)
{
	return users_code_walker(expression, NULL);
}
