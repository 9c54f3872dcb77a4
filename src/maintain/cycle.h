/*-------------------------------------------------------------------------
 *
 * cycle.h
 *	  A cycle of the main stream: settle, read, commit, advance.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CYCLE_H
#define NOTIFY_STATS_CYCLE_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "busy_lock.h"

/* The result of one cycle of the main stream. */
typedef struct CycleResult
{
	bool		paused;			/* nothing was done */
	bool		has_rollups;
	XLogRecPtr	start_lsn;		/* where it began to read */
	BusyLock	busy;			/* if set, this lock was not free: try again */
	bool		slot_in_use;	/* another process has the slot open: try
								 * again */
	XLogRecPtr	reached_lsn;	/* invalid if the stream was not read */
	XLogRecPtr	own_end;		/* of the last record that the cycle wrote, or
								 * invalid */
	XLogRecPtr	restart_lsn;	/* the WAL between it and reached_lsn is read
								 * each time */
	bool		more;			/* there is more to read immediately */
	int			again_after_ms; /* the next cycle is due after this time at
								 * the latest; 0: no limit */
	List	   *wants_build;	/* OIDs of the rollups to build, in order */
} CycleResult;

extern CycleResult cycle_run(bool manual);
extern void cycle_forget(void);

#endif							/* NOTIFY_STATS_CYCLE_H */
