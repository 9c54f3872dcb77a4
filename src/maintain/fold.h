/*-------------------------------------------------------------------------
 *
 * fold.h
 *	  Row changes become deltas.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FOLD_H
#define NOTIFY_STATS_FOLD_H

#include "utils/tuplestore.h"

#include "format.h"
#include "rollup.h"

/* The deltas of one rollup. */
typedef struct Delta Delta;

/* The deltas of all rollups of a stream. */
typedef struct Fold Fold;

extern Fold *fold_begin(List *rollups);
extern List *fold_sources(Fold *fold);
extern void fold_change(Fold *fold, const RowChange *change);
extern bool fold_is_large(Fold *fold);
extern uint64 fold_count(const Fold *fold);
extern List *fold_deltas(Fold *fold);
extern void fold_reset(Fold *fold);

extern void fold_end(Fold *fold);

extern Rollup *delta_rollup(const Delta *delta);
extern const char *delta_stale_reason(const Delta *delta);
extern bool delta_truncated(const Delta *delta);
extern Tuplestorestate *delta_rows(Delta *delta, uint64 *ngroups);

#endif							/* NOTIFY_STATS_FOLD_H */
