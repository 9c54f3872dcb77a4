/*-------------------------------------------------------------------------
 *
 * fact.h
 *	  The FROM item of a grouped SELECT whose rows are counted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FACT_H
#define NOTIFY_STATS_FACT_H

#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"

#include "obstacle.h"

/* A FROM item that is not a join. */
typedef struct FromItem
{
	int			rtindex;
	List	   *inputs;			/* its tables (input.h) if it can be the fact */
	List	   *obstacles;		/* if it cannot */
	bool		nullable;		/* on the nullable side of an outer join */
	Bitmapset  *join_columns;	/* compared for equality with another item */
	bool		is_argument;	/* arguments of aggregates use it */
} FromItem;

extern List *fact_items(Query *query);
extern FromItem *fact_choose(const Query *query, List *items, List *facts,
							 List **obstacles);

extern Oid	fact_read_twice(const List *items);
extern Obstacle *fact_self_join(Oid relid);

#endif							/* NOTIFY_STATS_FACT_H */
