/*-------------------------------------------------------------------------
 *
 * pass.h
 *	  A pass over a slot: peek, fold, apply.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_PASS_H
#define NOTIFY_STATS_PASS_H

#include "format.h"
#include "rollup.h"

/* The transactions that a snapshot sees, by their top-level xid. */
typedef struct VisibleXids
{
	TransactionId xmin;			/* all before have ended */
	TransactionId xmax;			/* this one and all after have not */
	int			nrunning;
	TransactionId *running;		/* nor have these in between */
} VisibleXids;

/* A pass over a slot within the current transaction; see pass_read. */
typedef struct PassInput
{
	const char *slot_name;
	const Format *format;
	List	   *rollups;		/* opened */
	XLogRecPtr	applied_lsn;	/* what starts to commit before is skipped */
	XLogRecPtr	upto;			/* and what does not start before this */
	const VisibleXids *visible; /* if set: what it sees is skipped */
	const char *target;			/* where to apply; NULL: the rollups' tables */
} PassInput;

typedef struct PassOutput
{
	XLogRecPtr	reached_lsn;	/* the given end, or that of a commit across
								 * it */
	uint64		nchanges;
	List	   *facts;			/* of the live rollups' sources, if they were
								 * compared */
	bool		new_facts;		/* facts were written, so the position must be */
	List	   *changed;		/* of Rollup: those with changes */
	List	   *stale;			/* of Rollup: no longer exact ... */
	List	   *reasons;		/* ... and why, in the same order */
} PassOutput;

extern PassOutput pass_read(const PassInput *input);
extern XLogRecPtr pass_window_end(XLogRecPtr start, XLogRecPtr safe,
								  XLogRecPtr restart);

#endif							/* NOTIFY_STATS_PASS_H */
