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
#include "start_point.h"

/* The transactions visible to a snapshot, by their top-level xid. */
typedef struct VisibleXids
{
	TransactionId xmin;			/* all before it had ended */
	TransactionId xmax;			/* it and all later ones had not ended */
	int			nrunning;
	TransactionId *running;		/* those in between that had not ended */
} VisibleXids;

struct Delta;

/*
 * The parameters of a pass over a slot within the current transaction; see
 * pass_read.
 */
typedef struct PassInput
{
	const char *slot_name;
	const Format *format;
	List	   *rollups;		/* opened */
	const StartPoint *start;	/* the slot is a new one that begins there;
								 * NULL: it exists */
	XLogRecPtr	applied_lsn;	/* skip commits that start before this */
	XLogRecPtr	upto;			/* skip commits that start at or after this */
	bool		is_main;		/* it is the slot of the main stream */
	const VisibleXids *visible; /* if set: skip these transactions too */
	const char *target;			/* table to change; NULL: the rollups' own */

	/*
	 * If set, is called once before anything is applied.  If it returns false,
	 * nothing is.
	 */
	bool		(*before_apply) (void *arg);

	/*
	 * If set, takes the deltas of a rollup, which are not applied.  It is
	 * called again when later changes have made more deltas, maybe for the
	 * same groups.
	 */
	void		(*take_delta) (struct Delta *delta, void *arg);
	void	   *arg;
} PassInput;

typedef struct PassOutput
{
	XLogRecPtr	reached_lsn;	/* "upto", or a later position if a commit
								 * record spans that */
	bool		discarded;		/* before_apply has refused */
	uint64		nchanges;
	uint64		ntransactions;	/* with such changes */
	List	   *partitions;		/* facts (facts.h): partitions of the sources
								 * whose changes were read */
	List	   *facts;			/* of the live rollups' sources, if they were
								 * compared */
	bool		new_facts;		/* facts were written, so the position must be
								 * written too */
	List	   *changed;		/* of Rollup: those with changes */
	List	   *stale;			/* of Rollup: those no longer exact */
	List	   *reasons;		/* why those are stale, in the same order */
} PassOutput;

extern PassOutput pass_read(const PassInput *input);
extern void pass_count(const PassOutput *output);
extern XLogRecPtr pass_window_end(XLogRecPtr start, XLogRecPtr safe,
								  XLogRecPtr restart);

#endif							/* NOTIFY_STATS_PASS_H */
