/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  Settings, and the points at which tests make processes wait.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "settings.h"

char	   *notify_stats_database = NULL;
int			notify_stats_naptime = 100;
int			notify_stats_max_cpu_percent = 10;
int			notify_stats_lock_timeout = 10 * 1000;
int			notify_stats_max_rollup_time = 10 * 60 * 1000;
int			notify_stats_max_batch_wal = 256 * 1024;
int			notify_stats_parallel_backlog = 256 * 1024;
int			notify_stats_resumable_wal_window = 0;
bool		notify_stats_notify = false;
bool		notify_stats_catch_up_on_wait = false;
int			notify_stats_max_catch_up_workers = 2;
int			notify_stats_format = 0;
int			notify_stats_wal2json_format_version = 2;
bool		notify_stats_wal2json_numeric_as_string = false;
int			notify_stats_on_lost_slot = LOST_SLOT_REBUILD;
int			notify_stats_warn_retained_wal = 4096;
bool		notify_stats_failover = false;
int			notify_stats_max_build_wal = 16 * 1024;
int			notify_stats_max_rollups = 1000;
int			notify_stats_max_rollups_per_role = 200;
static char *debug_stop_at = NULL;
uint64		settings_reloads = 0;

/* in the order of the formats in format.c */
static const struct config_enum_entry format_options[] = {
	{"notify_stats", 0, false},
	{"pgoutput", 1, false},
	{"wal2json", 2, false},
	{NULL, 0, false}
};

static const struct config_enum_entry lost_slot_options[] = {
	{"rebuild", LOST_SLOT_REBUILD, false},
	{"stop", LOST_SLOT_STOP, false},
	{NULL, 0, false}
};

/*
 * Limits on the resources that the rollups of one role can take from the
 * others.
 */
static void
define_limits(void)
{
	DefineCustomIntVariable("notify_stats.lock_timeout",
							"Sets the maximum time to wait for a lock that only some rollups need.",
							"After this time, these rollups become stale, and are resumed or rebuilt when the lock is free. Zero disables the limit.",
							&notify_stats_lock_timeout,
							10 * 1000, 0, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.max_rollup_time",
							"Sets the maximum time that the work for one rollup may take in a cycle.",
							"A rollup that exceeds the limit fails. Zero disables the limit.",
							&notify_stats_max_rollup_time,
							10 * 60 * 1000, 0, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.max_build_wal",
							"Sets the maximum amount of WAL that the slot of a build or verification may retain.",
							"A build that exceeds the limit is restarted later. A verification fails. Zero disables the limit.",
							&notify_stats_max_build_wal,
							16 * 1024, 0, MAX_KILOBYTES,
							PGC_SIGHUP,
							GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.max_rollups",
							"Sets the maximum number of rollups in a database.",
							NULL,
							&notify_stats_max_rollups,
							1000, 0, INT_MAX,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.max_rollups_per_role",
							"Sets the maximum number of rollups that a role may own in a database.",
							"The limit does not apply to superusers.",
							&notify_stats_max_rollups_per_role,
							200, 0, INT_MAX,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
}

static bool
check_databases(char **value, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*value);
	List	   *names = NIL;
	bool		valid = SplitGUCList(copy, ',', &names);

	if (!valid)
	{
		GUC_check_errdetail("List syntax is invalid.");
		GUC_check_errhint("Write database names separated by commas.");
	}
	list_free(names);
	pfree(copy);
	return valid;
}

/* The settings of a cycle: how often, how fast, how much. */
static void
define_cycle(void)
{
	DefineCustomIntVariable("notify_stats.naptime",
							"Sets the maximum time between two checks for new WAL.",
							NULL,
							&notify_stats_naptime,
							100, 1, 3600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.max_cpu_percent",
							"Sets the maximum share of one CPU core that a worker uses, in percent.",
							"The limit does not apply while a worker is catching up.",
							&notify_stats_max_cpu_percent,
							10, 1, 100,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.max_batch_wal",
							"Sets the maximum amount of WAL that is read in one cycle.",
							"A transaction is never split, so the amount may be larger.",
							&notify_stats_max_batch_wal,
							256 * 1024, 64, MAX_KILOBYTES,
							PGC_SIGHUP,
							GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.parallel_backlog",
							"Sets the amount of unread WAL from which several processes read it.",
							"Zero disables this.",
							&notify_stats_parallel_backlog,
							256 * 1024, 0, MAX_KILOBYTES,
							PGC_SIGHUP,
							GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.max_catch_up_workers",
							"Sets the maximum number of processes that read a backlog of one database.",
							"The worker, or the session that runs catch_up(), is one of them.",
							&notify_stats_max_catch_up_workers,
							2, 1, MAX_CATCH_UP_WORKERS,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
}

/* What is written by output plugins. */
static void
define_output(void)
{
	DefineCustomEnumVariable("notify_stats.format",
							 "Sets the output plugin of a new replication slot.",
							 "An existing slot keeps its output plugin until notify_stats.recreate_slot() is called.",
							 &notify_stats_format,
							 0, format_options,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.wal2json_format_version",
							"Sets the format version that is requested from wal2json.",
							"Version 1 writes each transaction as one string, which cannot exceed 1 GB.",
							&notify_stats_wal2json_format_version,
							2, 1, 2,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("notify_stats.wal2json_numeric_as_string",
							 "Sets whether wal2json writes numbers as strings.",
							 "This preserves NaN and infinity. It requires wal2json 2.6 or later.",
							 &notify_stats_wal2json_numeric_as_string,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
}

/* The settings of the replication slots. */
static void
define_slots(void)
{
	DefineCustomEnumVariable("notify_stats.on_lost_slot",
							 "Sets the action to take if changes in the replication slot were lost.",
							 "\"rebuild\" rebuilds the rollups. \"stop\" makes them fail until they are rebuilt manually.",
							 &notify_stats_on_lost_slot,
							 LOST_SLOT_REBUILD, lost_slot_options,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("notify_stats.failover",
							 "Sets whether the replication slot is synchronized to standbys.",
							 "This requires PostgreSQL 17 or later.",
							 &notify_stats_failover,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.warn_retained_wal",
							"Sets the amount of WAL retained by the replication slot above which a warning is logged.",
							"Zero disables the warning.",
							&notify_stats_warn_retained_wal,
							4096, 0, MAX_KILOBYTES,
							PGC_SIGHUP,
							GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("notify_stats.resumable_wal_window",
							"Sets the maximum amount of WAL that remains readable after it was applied.",
							"A rollup that has failed, or a client, continues from its own position in it. A second replication slot retains this WAL. Zero means none.",
							&notify_stats_resumable_wal_window,
							0, 0, MAX_KILOBYTES / 1024,
							PGC_SIGHUP,
							GUC_UNIT_MB,
							NULL, NULL, NULL);
}

/* What is done for clients. */
static void
define_clients(void)
{
	DefineCustomBoolVariable("notify_stats.notify",
							 "Sets whether clients are notified of changed rollups.",
							 "Each batch sends a notification for each rollup that it changes, on the channel notify_stats.",
							 &notify_stats_notify,
							 false,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("notify_stats.catch_up_on_wait",
							 "Sets whether wait_for_lsn() does the work of a missing worker.",
							 "It starts a process that runs catch_up() once, if the user may call that and the database has no worker.",
							 &notify_stats_catch_up_on_wait,
							 false,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
}

/* Defines the settings.  Must be called while libraries are preloaded. */
void
settings_define(void)
{
	DefineCustomStringVariable("notify_stats.database",
							   "Sets the databases in which rollups are maintained.",
							   "This is a comma-separated list of names; an asterisk stands for all databases. One worker is started for each database with rollups. An empty string means no worker.",
							   &notify_stats_database,
							   "*",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   check_databases, NULL, NULL);
	define_cycle();
	define_output();
	define_slots();
	define_clients();
	define_limits();
	DefineCustomStringVariable("notify_stats.debug_stop_at",
							   "Sets the point of a cycle or build at which a process stops, for tests.",
							   NULL,
							   &debug_stop_at,
							   "",
							   PGC_SUSET,
							   GUC_NOT_IN_SAMPLE,
							   NULL, NULL, NULL);
	MarkGUCPrefixReserved(EXTENSION_NAME);
}

/*
 * Makes a background process follow changes of the settings, including those
 * since it was forked.
 */
void
settings_follow(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* until now the server made this process ignore the signal */
	ConfigReloadPending = true;
}

/* Reads the configuration again if the postmaster has signaled a change. */
void
settings_reload(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		settings_reloads++;
	}
}

/*
 * Reads the configuration again even if no change has been signaled.  A caller
 * of pg_reload_conf() may have made a request before the signal arrives.
 */
void
settings_reload_now(void)
{
	ConfigReloadPending = true;
	settings_reload();
}

/*
 * Waits, interruptibly, while notify_stats.debug_stop_at names this point.
 * Tests use it to kill a process at a certain point.
 */
void
debug_stop(const char *point)
{
	bool		said = false;

	for (;;)
	{
		/* the latch may have been reset since the signal arrived */
		settings_reload();
		if (debug_stop_at == NULL || strcmp(debug_stop_at, point) != 0)
			return;
		if (!said)
			ereport(LOG,
					(errmsg("notify_stats stopped at \"%s\"", point)));
		said = true;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH, -1L,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Returns the entries of notify_stats.database.  The value was checked when it
 * was set.
 */
List *
settings_databases(void)
{
	List	   *names = NIL;

	if (notify_stats_database != NULL &&
		!SplitGUCList(pstrdup(notify_stats_database), ',', &names))
		elog(ERROR, "invalid list syntax in parameter \"%s\"",
			 "notify_stats.database");
	return names;
}

static bool
has_entry(const char *name)
{
	ListCell   *lc;

	foreach(lc, settings_databases())
	{
		if (strcmp((const char *) lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

/*
 * Returns whether notify_stats.database names a database.  An asterisk does
 * not name one.
 */
bool
settings_names_database(const char *database)
{
	return strcmp(database, ALL_DATABASES) != 0 && has_entry(database);
}

/* Returns whether it stands for all databases. */
bool
settings_mean_all_databases(void)
{
	return has_entry(ALL_DATABASES);
}

/* Returns whether rollups in that database are to be maintained. */
bool
settings_include_database(const char *database)
{
	return has_entry(ALL_DATABASES) || has_entry(database);
}
