/*-------------------------------------------------------------------------
 *
 * fold.h
 *	  Converts row changes to deltas.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FOLD_H
#define NOTIFY_STATS_FOLD_H

#include "nodes/execnodes.h"
#include "utils/tuplestore.h"

#include "format.h"
#include "rollup.h"

/* The deltas of one rollup: the sum of the changes for each group. */
typedef struct Delta
{
	Rollup	   *rollup;
	struct Fold *fold;
	bool		truncated;		/* all groups must be deleted before the
								 * deltas are applied */
	char	   *stale_reason;	/* why it cannot be maintained from here on,
								 * or NULL */

	struct FoldBranch *branches;
	int			nbranches;

	/* names of parts of the definition, for trouble_set_part */
	const char *group_part;
	const char **measure_parts;

	List	   *readers;		/* of FoldReader, one per source */

	/* the hash table of groups, and the memory of it and of its entries */
	MemoryContext context;
	Size		allocated;		/* by this context, as of the last change */
	TupleHashTable groups;
	FmgrInfo   *hash_functions;
	TupleTableSlot *group_slot; /* the group of the current row */
} Delta;

/* The deltas of all rollups of a stream. */
typedef struct Fold
{
	MemoryContext context;		/* lives as long as the fold */
	ExprContext *econtext;
	List	   *sources;		/* of Source: the sources of the rollups; the
								 * format fills them */
	List	   *deltas;			/* of Delta, one per rollup */
	uint64		nchanges;		/* number of changes added */
	Size		allocated;		/* by all deltas */
	char	   *batch;			/* changes that are not in the deltas yet, or
								 * NULL */
	Size		batch_used;
	bool		batch_closed;	/* it is in some deltas, but not in all */
} Fold;

extern Fold *fold_begin(List *rollups);
extern void fold_change(Fold *fold, const RowChange *change);
extern bool fold_is_large(Fold *fold);
extern void fold_reset(Fold *fold);
extern void fold_end(Fold *fold);

extern Tuplestorestate *delta_rows(Delta *delta, bool unchanged,
								   uint64 *ngroups);
extern void delta_store_group(const RollupShape *shape, TupleTableSlot *delta,
							  TupleTableSlot *row);

#endif							/* NOTIFY_STATS_FOLD_H */
