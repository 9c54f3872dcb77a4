/*-------------------------------------------------------------------------
 *
 * input.h
 *	  FROM items in terms of single tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_INPUT_H
#define NOTIFY_STATS_INPUT_H

#include "nodes/parsenodes.h"

#include "obstacle.h"

/*
 * What a FROM item takes from one table.  All expressions are in terms of the
 * table, Vars of varno 1.
 */
typedef struct Input
{
	Oid			relid;
	bool		is_table;		/* the item is the table itself */
	List	   *columns;		/* else an Expr for each column of the item */
	List	   *quals;			/* implicitly ANDed */
} Input;

extern List *input_clause_obstacles(const Query *query);
extern List *input_read_query(const Query *query, Index *varno,
							  List **obstacles);
extern List *input_read_item(RangeTblEntry *rte, List **obstacles);
extern List *input_substitute(List *exprs, const Input *input, Index varno);
extern Obstacle *input_reference_obstacle(List *inputs, Node *expr,
										  Index varno);
extern Obstacle *input_expression_obstacle(List *inputs, Node *expr,
										   Index varno);
extern List *input_qual_obstacles(List *inputs);
extern bool input_expression_never_null(List *inputs, Node *expr,
										Index varno);

#endif							/* NOTIFY_STATS_INPUT_H */
