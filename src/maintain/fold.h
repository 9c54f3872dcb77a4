/*-------------------------------------------------------------------------
 *
 * fold.h
 *	  Row changes become deltas.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FOLD_H
#define NOTIFY_STATS_FOLD_H

#include "nodes/execnodes.h"
#include "utils/tuplestore.h"

#include "format.h"
#include "rollup.h"

/* The deltas of one rollup: what the changes come to, by group. */
typedef struct Delta
{
	Rollup	   *rollup;
	bool		truncated;		/* all that was in the rollup is gone, before
								 * the deltas */
	char	   *stale_reason;	/* why it cannot be kept exact from here on,
								 * or NULL */

	struct FoldBranch *branches;
	int			nbranches;

	/* names of parts of the definition, for trouble_set_part */
	const char *group_part;
	const char **measure_parts;

	/* the hash table by group */
	TupleHashTable groups;
	FmgrInfo   *hash_functions;
	TupleTableSlot *group_slot; /* the group of the row at hand */
} Delta;

/* The deltas of all rollups of a stream. */
typedef struct Fold
{
	MemoryContext context;		/* as long as the fold */
	MemoryContext table_context;	/* the hash tables and their entries */
	ExprContext *econtext;
	List	   *sources;		/* of Source: what the rollups read, for the
								 * format to fill */
	List	   *deltas;			/* of Delta, one a rollup */
	uint64		nchanges;		/* how many were added */
} Fold;

extern Fold *fold_begin(List *rollups);
extern void fold_change(Fold *fold, const RowChange *change);
extern bool fold_is_large(Fold *fold);
extern void fold_reset(Fold *fold);
extern void fold_end(Fold *fold);

extern Tuplestorestate *delta_rows(Delta *delta, uint64 *ngroups);

#endif							/* NOTIFY_STATS_FOLD_H */
