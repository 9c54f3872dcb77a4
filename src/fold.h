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

/*
 * Starts a fold for compiled rollups, in the current memory context.  It
 * evaluates expressions as the rollups' owners.
 */
extern Fold *fold_begin(List *rollups);

/* What the rollups read: a list of Source, for the format to fill. */
extern List *fold_sources(Fold *fold);

/* Adds one change. */
extern void fold_change(Fold *fold, const RowChange *change);

/* Whether the deltas take so much memory that they should be applied now. */
extern bool fold_is_large(Fold *fold);

/* How many changes were added. */
extern uint64 fold_count(const Fold *fold);

/* The list of Delta, one a rollup. */
extern List *fold_deltas(Fold *fold);

/* Forgets the deltas, after they were applied. */
extern void fold_reset(Fold *fold);

extern void fold_end(Fold *fold);

extern Rollup *delta_rollup(const Delta *delta);

/* Why the rollup cannot be kept exact from here on, or NULL. */
extern const char *delta_stale_reason(const Delta *delta);

/* Whether everything that was in the rollup is gone, before the deltas. */
extern bool delta_truncated(const Delta *delta);

/*
 * Writes the groups that change into a tuplestore, in the current memory
 * context: rows like those of the definition, with signed measures.  NULL if
 * there are none; else their number is in *ngroups.
 */
extern Tuplestorestate *delta_rows(Delta *delta, uint64 *ngroups);

#endif							/* NOTIFY_STATS_FOLD_H */
