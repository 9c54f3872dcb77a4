/*-------------------------------------------------------------------------
 *
 * catch_up_worker.h
 *	  Processes that help to read a backlog.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CATCH_UP_WORKER_H
#define NOTIFY_STATS_CATCH_UP_WORKER_H

extern int	catch_up_worker_start(int number);

#endif							/* NOTIFY_STATS_CATCH_UP_WORKER_H */
