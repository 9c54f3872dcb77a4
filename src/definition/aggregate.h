/*-------------------------------------------------------------------------
 *
 * aggregate.h
 *	  Which aggregates and group columns a rollup's table can hold.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_AGGREGATE_H
#define NOTIFY_STATS_AGGREGATE_H

#include "nodes/primnodes.h"

#include "obstacle.h"

typedef enum MeasureKind
{
	MEASURE_COUNT,				/* count(*) or count(x), a bigint */
	MEASURE_SUM_INT,			/* sum of smallint or integer, a bigint */
	MEASURE_SUM_NUMERIC			/* sum of bigint or numeric, a numeric */
} MeasureKind;

extern bool aggregate_kind(const Aggref *aggregate, MeasureKind *kind);
extern Obstacle *aggregate_obstacle(const Aggref *aggregate);
extern Aggref *aggregate_of_column(Expr *expr, bool *never_null);
extern Obstacle *group_obstacle(const char *column_name, Node *expr,
								bool hashable, bool sortable);

#endif							/* NOTIFY_STATS_AGGREGATE_H */
