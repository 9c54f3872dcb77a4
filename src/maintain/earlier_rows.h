/*-------------------------------------------------------------------------
 *
 * earlier_rows.h
 *	  The rows of a rollup as they were before changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_EARLIER_ROWS_H
#define NOTIFY_STATS_EARLIER_ROWS_H

#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "rollup.h"

typedef struct EarlierRows EarlierRows;

extern EarlierRows *earlier_rows_begin(const Rollup *rollup, Relation table,
									   Snapshot snapshot);
extern TupleTableSlot *earlier_rows_undo(EarlierRows *rows,
										 TupleTableSlot *found,
										 TupleTableSlot *delta);
extern TupleTableSlot *earlier_rows_next(EarlierRows *rows);
extern void earlier_rows_end(EarlierRows *rows);

#endif							/* NOTIFY_STATS_EARLIER_ROWS_H */
