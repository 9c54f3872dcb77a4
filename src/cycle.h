/*-------------------------------------------------------------------------
 *
 * cycle.h
 *	  One pass over a stream: peek, fold, apply, commit, advance.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CYCLE_H
#define NOTIFY_STATS_CYCLE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "format.h"
#include "rollup.h"
#include "stream.h"

/* What one cycle of the main stream came to. */
typedef struct CycleResult
{
	bool		paused;			/* nothing was done */
	bool		has_rollups;
	XLogRecPtr	start_lsn;		/* where it began to read */
	BusyLock	busy;			/* if set, this lock was in the way: try again */
	bool		slot_in_use;	/* somebody else has the slot open: try again */
	XLogRecPtr	reached_lsn;	/* invalid if the stream rests */
	XLogRecPtr	own_end;		/* of the last record that the cycle wrote, or invalid */
	XLogRecPtr	restart_lsn;	/* what lies between it and reached_lsn is read each time */
	bool		more;			/* there is more to read at once */
	bool		unwritten;		/* a position is to be written in a second */
	bool		unlooked;		/* failed rollups may be tried again: look in a second */
	bool		unclosed;		/* a last position is to be written a little later */
	bool		unadvanced;		/* the slot is to be advanced a little later */
	List	   *wants_build;	/* OIDs of the rollups to build, in order */
} CycleResult;

/*
 * Runs one cycle of the main stream, in transactions of its own.  "manual"
 * works on a paused stream as well.  Makes the slot when the first rollup
 * needs one, and drops it after the last.
 */
extern CycleResult cycle_run(bool manual);

/*
 * Forgets what an earlier call in this session may have left when it failed: whose work
 * was being done, and since when a lock was waited for.
 */
extern void cycle_forget(void);

/* The transactions that a snapshot sees, by their top-level xid. */
typedef struct VisibleXids
{
	TransactionId xmin;			/* all before have ended */
	TransactionId xmax;			/* this one and all after have not */
	int			nrunning;
	TransactionId *running;		/* nor have these in between */
} VisibleXids;

/* A pass over a slot within the current transaction; see cycle_read. */
typedef struct CycleInput
{
	const char *slot_name;
	const Format *format;
	List	   *rollups;		/* opened */
	XLogRecPtr	applied_lsn;	/* what starts to commit before is skipped */
	XLogRecPtr	upto;			/* and what does not start before this */
	const VisibleXids *visible; /* if set: what it sees is skipped */
	const char *target;			/* where to apply; NULL: the rollups' tables */
} CycleInput;

typedef struct CycleOutput
{
	XLogRecPtr	reached_lsn;	/* the given end, or that of a commit across it */
	uint64		nchanges;
	List	   *facts;			/* of the live rollups' sources, if they were compared */
	bool		new_facts;		/* facts were written, so the position must be */
	List	   *changed;		/* of Rollup: those with changes */
	List	   *stale;			/* of Rollup: no longer exact ... */
	List	   *reasons;		/* ... and why, in the same order */
} CycleOutput;

/*
 * Peeks, folds and applies.  Commits nothing, and writes nothing of the
 * stream.  Errors are noted (trouble.h) and thrown.
 */
extern CycleOutput cycle_read(const CycleInput *input);

/*
 * Makes this transaction the only one that may move the main stream, reads its
 * row, and sees to it that this process can have its slot.  Waits.  False if the
 * extension is not installed.  Rollups opened before are not to be used any more.
 */
extern bool cycle_lock_stream(StreamRow *row);

/*
 * Opens the live rollups out of a list, into *live.  Takes no lock that is not
 * free: if there is such a one it is in *busy, and false is returned; the
 * caller should end the transaction, wait for the lock, and try again.
 */
extern bool cycle_open_live(const StreamRow *row, List *rollups, List **live, BusyLock *busy);

/*
 * Brings the main stream up to a safe position, whatever that takes, within
 * the current transaction, which has locked the stream and has loaded "row".
 * "settle": some catalog may have changed since this was done last.  The caller
 * writes the position, commits, and then calls cycle_finish.
 */
extern CycleOutput cycle_read_main(const StreamRow *row, List *live, XLogRecPtr upto, bool settle);

/*
 * Leaves the main stream for an upgrade of the server: the slot ends up behind
 * all that this database has committed, ourselves included, so that pg_upgrade
 * takes it along.  Nothing is applied afterwards until the new server takes over,
 * or resume().  To be called when all is caught up.  Throws if others go on writing.
 */
extern void cycle_prepare_upgrade(void);

/* If the stream was left for an upgrade, it is not any more. */
extern void cycle_cancel_upgrade(void);

/* Why the main slot cannot have kept all changes, or NULL. */
extern const char *cycle_loss_reason(const StreamRow *row);

/*
 * To be called after a commit, which is on disk, of that position: publishes it,
 * as of "at", and lets the slot advance to it, in a transaction of its own.
 */
extern void cycle_finish(const StreamRow *row, XLogRecPtr reached_lsn, TimestampTz at);

#endif							/* NOTIFY_STATS_CYCLE_H */
