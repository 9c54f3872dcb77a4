/*-------------------------------------------------------------------------
 *
 * delta_sum.h
 *	  The deltas of a long range of changes, summed per group.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DELTA_SUM_H
#define NOTIFY_STATS_DELTA_SUM_H

#include "fold.h"
#include "group_index.h"

typedef struct DeltaSum DeltaSum;

extern DeltaSum *delta_sum_begin(const Rollup *rollup,
								 const GroupIndex *index);
extern void delta_sum_add(DeltaSum *sum, Delta *delta, bool unchanged);
extern TupleTableSlot *delta_sum_next(DeltaSum *sum);
extern void delta_sum_end(DeltaSum *sum);

#endif							/* NOTIFY_STATS_DELTA_SUM_H */
