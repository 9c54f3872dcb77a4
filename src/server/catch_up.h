/*-------------------------------------------------------------------------
 *
 * catch_up.h
 *	  Doing the work of the worker once, without it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CATCH_UP_H
#define NOTIFY_STATS_CATCH_UP_H

#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"

/* The process that catches up for this one; all zero: none yet. */
typedef struct CatchUpElsewhere
{
	BackgroundWorkerHandle *handle;
	TimestampTz started_at;
} CatchUpElsewhere;

extern void catch_up(void);
extern bool catch_up_elsewhere(CatchUpElsewhere *state);

#endif							/* NOTIFY_STATS_CATCH_UP_H */
