/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The background worker of a database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WORKER_H
#define NOTIFY_STATS_WORKER_H

#include "postmaster/bgworker.h"

/* What the launcher knows about the workers before this one. */
typedef struct WorkerHistory
{
	int			failures;		/* that have ended with an error, in a row */
	bool		ended_early;	/* the last one, before it served the database */
} WorkerHistory;

extern int	worker_start(Oid database, const char *name,
						 WorkerHistory history,
						 BackgroundWorkerHandle **handle);
extern int	worker_restart_seconds(WorkerHistory history);

#endif							/* NOTIFY_STATS_WORKER_H */
