/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The background worker of a database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WORKER_H
#define NOTIFY_STATS_WORKER_H

/* Registers a worker for each database in notify_stats.database. */
extern void worker_register_all(void);

/* Whether a worker is registered for the database of that name. */
extern bool worker_is_registered(const char *database);

/* The place of that name in notify_stats.database, which is its worker's number, or -1. */
extern int	worker_place(const char *database);

#endif							/* NOTIFY_STATS_WORKER_H */
