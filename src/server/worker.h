/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The background worker of a database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WORKER_H
#define NOTIFY_STATS_WORKER_H

extern void worker_register_all(void);
extern bool worker_is_registered(const char *database);
extern void worker_report_missing(int elevel);

#endif							/* NOTIFY_STATS_WORKER_H */
