/*-------------------------------------------------------------------------
 *
 * expression.h
 *	  Which expressions over one row of a table can be maintained.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_EXPRESSION_H
#define NOTIFY_STATS_EXPRESSION_H

#include "nodes/nodes.h"

#include "obstacle.h"

#define MONEY_HINT \
	"The numeric value of type money depends on lc_monetary. Store it in a column of type numeric or bigint."
#define SET_HINT \
	"Group by the argument of the function, and use the function when reading the rollup."
#define SUBQUERY_HINT \
	"Use only columns of the source, and look up other values when reading the rollup."

extern Obstacle *expression_whole_row(void);
extern Obstacle *expression_obstacle(Node *expr, Oid relid);
extern bool expression_is_never_null(Node *expr, Oid relid);

#endif							/* NOTIFY_STATS_EXPRESSION_H */
