/*-------------------------------------------------------------------------
 *
 * range_table.h
 *	  The FROM items of a query and of all its subqueries.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_RANGE_TABLE_H
#define NOTIFY_STATS_RANGE_TABLE_H

#include "nodes/parsenodes.h"

typedef void (*RangeTableVisit) (RangeTblEntry *rte, void *context);

extern void range_table_visit(Query *query, RangeTableVisit visit,
							  void *context);
extern List *range_table_relations(Query *query);

#endif							/* NOTIFY_STATS_RANGE_TABLE_H */
