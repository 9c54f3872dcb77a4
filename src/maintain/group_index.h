/*-------------------------------------------------------------------------
 *
 * group_index.h
 *	  Finds groups in a table by its unique index on the group columns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_GROUP_INDEX_H
#define NOTIFY_STATS_GROUP_INDEX_H

#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/tuplesort.h"

#include "rollup.h"

typedef struct GroupIndex GroupIndex;

extern GroupIndex *group_index_open(const Rollup *rollup, Relation table,
									Snapshot snapshot);
extern TupleTableSlot *group_index_find(GroupIndex *index,
										TupleTableSlot *delta);
extern Tuplesortstate *group_index_begin_sort(const GroupIndex *index,
											  TupleDesc desc);

extern void group_index_close(GroupIndex *index);

#endif							/* NOTIFY_STATS_GROUP_INDEX_H */
