/*-------------------------------------------------------------------------
 *
 * build_expr.h
 *	  Building expressions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_BUILD_EXPR_H
#define NOTIFY_STATS_BUILD_EXPR_H

#include "nodes/parsenodes.h"

extern Node *expr_operation(const char *operator, Node *left, Node *right);
extern Node *expr_cast(Node *node, Oid type);
extern Node *expr_numeric(Node *node);
extern Node *expr_bigint(int64 value);
extern Node *expr_is_not_null(Node *node);
extern Node *expr_is_null(Node *node);
extern Node *expr_when(Node *condition, Node *result, Node *otherwise);
extern Node *expr_coalesce(Node *node, Node *otherwise);
extern Node *expr_null_if_zero(Node *node);
extern Node *expr_integer(int value);
extern Node *expr_text(const char *value);
extern SortGroupClause *expr_group_clause(TargetEntry *entry, Index ref,
										  bool must_sort);

#endif							/* NOTIFY_STATS_BUILD_EXPR_H */
