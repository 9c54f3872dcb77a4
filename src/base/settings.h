/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  Settings, and the points at which tests make processes wait.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SETTINGS_H
#define NOTIFY_STATS_SETTINGS_H

#include "nodes/pg_list.h"

#define EXTENSION_NAME "notify_stats"
#define EXTENSION_SCHEMA "notify_stats"

/* notify_stats.database: a list of names, or of this for all databases */
#define ALL_DATABASES "*"
extern char *notify_stats_database;
extern List *settings_databases(void);
extern bool settings_names_database(const char *database);
extern bool settings_mean_all_databases(void);
extern bool settings_include_database(const char *database);

/*
 * notify_stats.naptime: milliseconds between two reads of the WAL, if no
 * commit wakes the worker
 */
extern int	notify_stats_naptime;

/*
 * notify_stats.max_cpu_percent: 1 to 100, of one core; does not apply while
 * there is a backlog
 */
extern int	notify_stats_max_cpu_percent;

/*
 * notify_stats.lock_timeout: milliseconds for which all rollups wait for a
 * lock that one of them needs; 0: no limit
 */
extern int	notify_stats_lock_timeout;

/*
 * notify_stats.max_rollup_time: milliseconds that one rollup may take in a
 * cycle; 0: no limit
 */
extern int	notify_stats_max_rollup_time;

/* notify_stats.max_batch_wal: kilobytes of WAL that one cycle reads */
extern int	notify_stats_max_batch_wal;

/*
 * notify_stats.parallel_backlog: kilobytes of unread WAL from which several
 * processes read it; 0: never
 */
extern int	notify_stats_parallel_backlog;

/* notify_stats.max_catch_up_workers: how many, at least 1 */
#define MAX_CATCH_UP_WORKERS 32
extern int	notify_stats_max_catch_up_workers;

/*
 * notify_stats.resumable_wal_window: megabytes of WAL that remain readable
 * after they were applied; 0: none
 */
extern int	notify_stats_resumable_wal_window;

/* notify_stats.notify: whether clients are notified of changed rollups */
extern bool notify_stats_notify;
extern bool notify_stats_catch_up_on_wait;

/* notify_stats.format: of a new slot; an index into the formats in format.c */
extern int	notify_stats_format;

/* notify_stats.wal2json_format_version: 1 or 2 */
extern int	notify_stats_wal2json_format_version;

/* notify_stats.wal2json_numeric_as_string: needs wal2json 2.6 or later */
extern bool notify_stats_wal2json_numeric_as_string;

/*
 * notify_stats.on_lost_slot: what is done with the rollups when changes were
 * lost
 */
typedef enum LostSlotAction
{
	LOST_SLOT_REBUILD,			/* they are rebuilt */
	LOST_SLOT_STOP				/* they fail and must be rebuilt by a user */
} LostSlotAction;

extern int	notify_stats_on_lost_slot;

/* notify_stats.failover: of a new slot, from 17 on */
extern bool notify_stats_failover;

/*
 * notify_stats.warn_retained_wal: megabytes of WAL retained by the slot above
 * which a warning is logged; 0: never
 */
extern int	notify_stats_warn_retained_wal;

/*
 * notify_stats.max_build_wal: megabytes of WAL that the slot of a build may
 * retain; 0: no limit
 */
extern int	notify_stats_max_build_wal;

/* notify_stats.max_rollups: in a database */
extern int	notify_stats_max_rollups;

/*
 * notify_stats.max_rollups_per_role: in a database; does not apply to
 * superusers
 */
extern int	notify_stats_max_rollups_per_role;
extern void settings_define(void);
extern void settings_follow(void);
extern void settings_reload(void);
extern void settings_reload_now(void);

/* how often this process has read the configuration again */
extern uint64 settings_reloads;

extern void debug_stop(const char *point);

#endif							/* NOTIFY_STATS_SETTINGS_H */
