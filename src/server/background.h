/*-------------------------------------------------------------------------
 *
 * background.h
 *	  Functions shared by our background processes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_BACKGROUND_H
#define NOTIFY_STATS_BACKGROUND_H

#include "postmaster/bgworker.h"

extern void background_connect(Oid database, const char *name);
extern int	background_backoff(int failures);
extern void background_describe(BackgroundWorker *worker, const char *type,
								const char *function, int restart);

#endif							/* NOTIFY_STATS_BACKGROUND_H */
