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
#include "utils/tuplesort.h"

typedef struct GroupIndex GroupIndex;

/*
 * Opens an index that own_table_find_index has found, for searches in the current
 * memory context.  The table has to be locked.
 */
extern GroupIndex *group_index_open(Relation table, Oid index);

/*
 * The row of the table that has the group columns of "row", the columns of which are
 * numbered as those of the table, or NULL.  It is the row as it is now: a transaction
 * that is about to change it is waited for.  It stays valid until the next search.
 */
extern TupleTableSlot *group_index_find(GroupIndex *index, TupleTableSlot *row);

/* Starts a sort of such rows in the order of the index. */
extern Tuplesortstate *group_index_begin_sort(const GroupIndex *index, TupleDesc desc);

extern void group_index_close(GroupIndex *index);

#endif							/* NOTIFY_STATS_GROUP_INDEX_H */
