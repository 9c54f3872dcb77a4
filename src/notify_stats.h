/*-------------------------------------------------------------------------
 *
 * notify_stats.h
 *	  Settings, and what every file needs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_H
#define NOTIFY_STATS_H

#define EXTENSION_NAME "notify_stats"
#define EXTENSION_SCHEMA "notify_stats"

/* notify_stats.database: a list of names, one worker each */
extern char *notify_stats_database;

/* notify_stats.naptime: milliseconds between two looks at the WAL */
extern int	notify_stats_naptime;

/* notify_stats.max_batch_wal: kilobytes of WAL that one cycle reads */
extern int	notify_stats_max_batch_wal;

/* Reads the configuration anew if the postmaster has said so. */
extern void reload_settings(void);

/*
 * Waits, interruptibly, for as long as notify_stats.debug_stop_at names this
 * point.  For tests that kill a process at a certain point.
 */
extern void debug_stop(const char *point);

#endif							/* NOTIFY_STATS_H */
