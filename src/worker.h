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

/*
 * Whether the server has a worker for the database of that name: notify_stats.database
 * lists it, and max_worker_processes has allowed one.
 */
extern bool worker_is_registered(const char *database);

/*
 * Says, at that level, that no worker serves this database, why, and what to do; nothing
 * if one does.
 */
extern void worker_report_missing(int elevel);

/* The place of that name in notify_stats.database, which is its worker's number, or -1. */
extern int	worker_place(const char *database);

#endif							/* NOTIFY_STATS_WORKER_H */
