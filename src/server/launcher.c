/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The background process that starts and stops the workers of databases.
 *
 * It is the only process that is registered when the server starts, and is
 * connected to no database.  It reads notify_stats.database and pg_database,
 * and starts a worker in each database of the list.  It starts a worker again
 * after its end.  When the database is no longer in the list, a worker ends by
 * itself.  One that does not, as it runs code of users or waits, is stopped.
 *
 * Only a process that is connected to a database can see whether it has
 * rollups.  So if the list has an asterisk, a worker is started in each
 * database.  One that finds no rollups ends at once, and is started again when
 * a session reports, at its commit, that it may have created one.  Databases
 * that have our slot come first.  The others are looked at a few at a time, so
 * that a server with many databases is not occupied by this.
 *
 * What is known about databases is in the memory of this process.  Shared
 * memory has only the workers that run, so that a new launcher, after an
 * error, finds those of the one before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/bgworker_internals.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "background.h"
#include "compat.h"
#include "launcher.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "worker.h"
#include "xact.h"

#define RESTART_SECONDS 1

/* How many databases without our slot are looked at at a time. */
#define MAX_LOOKING 2

/*
 * Interval at which pg_database is read although no session has reported a
 * change: it can also be updated like any table.
 */
#define READ_DATABASES_MS 60000

/* Time that a worker has to end by itself when its database is not included. */
#define STOP_PATIENCE_MS 5000

/* Interval at which to try again if all background processes are in use. */
#define LACK_RETRY_MS 1000

PGDLLEXPORT void notify_stats_launcher_main(Datum main_arg);

/* A database that is to have a worker, or still has one. */
typedef struct Served
{
	Oid			oid;			/* hash key */
	NameData	name;
	bool		included;		/* in notify_stats.database */
	bool		accepts;		/* new connections; a worker that runs stays */
	bool		named;			/* by its name: the worker always runs */
	bool		unneeded;		/* the last worker has found no rollups ... */
	bool		requested;		/* ...  but some may have been created since it
								 * was started */
	int			worker;			/* its entry in shared memory; -1: none runs */
	BackgroundWorkerHandle *handle; /* NULL: an earlier launcher started it */
	TimestampTz stop_at;		/* when to stop it; 0: it is not to end */
	bool		stopping;		/* it was signaled to end */
	bool		lacks_process;	/* the last attempt to start one has failed */
	WorkerHistory history;
	TimestampTz start_at;		/* no new worker before */
} Served;

/*
 * Whether the launcher is registered.  Set before the server forks.
 */
static bool registered = false;

static HTAB *databases = NULL;	/* of Served */
static List *reported = NIL;	/* names of databases that cannot be served,
								 * which the log has a message about */
static TimestampTz read_at = 0; /* when pg_database is to be read next */

/*
 * For other processes
 */

static int
count_background_workers(void)
{
	int			count = 0;
	background_worker_iter iter;

	foreach_background_worker(iter)
		count++;
	return count;
}

/*
 * Registers the launcher.  If there are too many background workers, the
 * server only logs that.
 */
void
launcher_register(void)
{
	int			before = count_background_workers();
	BackgroundWorker worker;

	background_describe(&worker, "notify_stats launcher",
						"notify_stats_launcher_main", RESTART_SECONDS);
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "notify_stats launcher");
	RegisterBackgroundWorker(&worker);
	registered = count_background_workers() > before;
}

/* Returns whether a worker is lacking because all processes are in use. */
static bool
lacks_process(void)
{
	return !registered || (!shared_has_worker() && shared_lacks_process());
}

/*
 * Returns whether the server sees to it that this database has a worker when
 * it has rollups: notify_stats.database includes it, and max_worker_processes
 * is high enough.
 */
bool
launcher_serves_database(void)
{
	return shared_state != NULL && !lacks_process() &&
		settings_include_database(get_database_name(MyDatabaseId));
}

/*
 * Reports at level "elevel" that no worker serves this database, with the
 * reason and a hint.  Returns false, and does nothing, if that is not so.
 */
bool
launcher_report_missing(int elevel)
{
	const char *database = get_database_name(MyDatabaseId);

	if (launcher_serves_database())
		return false;
	if (!settings_include_database(database))
		ereport(elevel,
				(errmsg("no worker serves database \"%s\"", database),
				 errhint("Add the database to notify_stats.database and reload the configuration, or run: CALL notify_stats.catch_up();")));
	else
		ereport(elevel,
				(errmsg("no worker serves database \"%s\"", database),
				 errdetail("All %d background processes that max_worker_processes allows are in use.",
						   max_worker_processes),
				 errhint("Raise max_worker_processes and restart the server, or run: CALL notify_stats.catch_up();")));
	return true;
}

/*
 * What is known about databases
 */

static TimestampTz
time_after(int milliseconds)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
}

static Served *
find_served(Oid oid, bool create)
{
	bool		found;
	Served	   *served = hash_search(databases, &oid,
									 create ? HASH_ENTER : HASH_FIND, &found);

	if (create && !found)
	{
		memset(served, 0, sizeof(Served));
		served->oid = oid;
		served->worker = -1;
	}
	return served;
}

/* Reports once that a database in the list cannot be served. */
static List *
report_once(List *now, const char *name, bool exists)
{
	ListCell   *lc;

	foreach(lc, reported)
	{
		if (strcmp((const char *) lfirst(lc), name) == 0)
			return lappend(now, pstrdup(name));
	}
	ereport(WARNING,
			(errcode(ERRCODE_UNDEFINED_DATABASE),
			 exists ?
			 errmsg("database \"%s\" is not accepting connections", name) :
			 errmsg("database \"%s\" does not exist", name),
			 errdetail("It is named in \"notify_stats.database\". Its worker will start as soon as it can connect."),
			 errhint("If rollups are not to be maintained there, remove it from \"notify_stats.database\" and reload the configuration.")));
	return lappend(now, pstrdup(name));
}

static bool
accepts_connections(const FormData_pg_database *row)
{
	/* a negative limit other than -1 marks what is left of a database */
	return row->datallowconn && row->datconnlimit >= -1;
}

/*
 * Enters a row of pg_database, unless it is neither included nor served.
 * Removes its name from "missing", which has names of the list, and adds it to
 * "refusing" if there is no worker and none can connect.
 */
static void
read_database(const FormData_pg_database *row, List *names, bool all,
			  List **missing, List **refusing)
{
	Served	   *served = find_served(row->oid, false);
	bool		accepts = accepts_connections(row);
	bool		runs = served != NULL && served->worker >= 0;
	bool		named = false;
	ListCell   *lc;

	foreach(lc, names)
	{
		if (strcmp((const char *) lfirst(lc), NameStr(row->datname)) != 0)
			continue;
		named = true;
		*missing = list_delete_ptr(*missing, lfirst(lc));
		if (!accepts && !runs)
			*refusing = list_append_unique_ptr(*refusing, lfirst(lc));
	}
	if (!(named || all) || !(accepts || runs))
		return;
	served = find_served(row->oid, true);
	served->name = row->datname;
	served->named = named;
	served->included = true;
	served->stop_at = 0;
	served->accepts = accepts;
}

/* Names that were reported, in memory that lasts. */
static void
remember_reported(List *missing, List *refusing)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);
	List	   *now = NIL;
	ListCell   *lc;

	foreach(lc, missing)
		now = report_once(now, (const char *) lfirst(lc), false);
	foreach(lc, refusing)
		now = report_once(now, (const char *) lfirst(lc), true);
	list_free_deep(reported);
	reported = now;
	MemoryContextSwitchTo(context);
}

/* Reads which databases of the list there are. */
static void
read_databases(void)
{
	List	   *names;
	List	   *missing;
	List	   *refusing = NIL;
	bool		all = settings_mean_all_databases();
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;
	MemoryContext context = CurrentMemoryContext;
	HASH_SEQ_STATUS status;
	Served	   *served;

	hash_seq_init(&status, databases);
	while ((served = hash_seq_search(&status)) != NULL)
		served->included = false;

	names = settings_databases();
	missing = all ? NIL : list_copy(names);
	xact_begin();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		MemoryContext old_context = MemoryContextSwitchTo(context);

		read_database((const FormData_pg_database *) GETSTRUCT(tuple), names,
					  all, &missing, &refusing);
		MemoryContextSwitchTo(old_context);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	xact_commit();
	MemoryContextSwitchTo(context);
	remember_reported(missing, refusing);
	read_at = time_after(READ_DATABASES_MS);
}

/* A session may have created a rollup there. */
static void
note_request(Served *served)
{
	served->requested = true;
	if (served->unneeded && served->worker < 0)
		served->unneeded = false;
}

/* Reads what was reported to the launcher. */
static void
read_news(void)
{
	LauncherNews news;
	HASH_SEQ_STATUS status;
	Served	   *served;

	shared_launcher_take_news(&news);
	if (news.databases_changed)
		read_at = 0;
	for (int i = 0; i < news.nrequests; i++)
	{
		served = find_served(news.requests[i], false);
		/* a database that is not known yet is looked at anyway */
		if (served != NULL)
			note_request(served);
	}
	if (!news.all_requested)
		return;
	hash_seq_init(&status, databases);
	while ((served = hash_seq_search(&status)) != NULL)
		note_request(served);
}

/* Enters the workers that an earlier launcher has started. */
static void
adopt_workers(void)
{
	for (int i = 0; i < shared_state->ndatabases; i++)
	{
		Oid			database;

		LWLockAcquire(shared_state->lock, LW_SHARED);
		database = shared_state->workers[i].database;
		LWLockRelease(shared_state->lock);
		if (OidIsValid(database))
			find_served(database, true)->worker = i;
	}
}

/*
 * Starting and stopping
 */

static bool
has_ended(const Served *served)
{
	pid_t		pid;

	if (served->handle != NULL)
		return GetBackgroundWorkerPid(served->handle, &pid) == BGWH_STOPPED;
	return shared_state->workers[served->worker].pid == 0;
}

/* Determines from the end of a worker when the next one is to be started. */
static void
note_end(Served *served)
{
	WorkerPhase phase = shared_worker_release(served->worker);

	if (served->handle != NULL)
		pfree(served->handle);
	served->handle = NULL;
	served->worker = -1;
	served->stop_at = 0;
	served->stopping = false;
	served->unneeded = phase == WORKER_UNNEEDED && !served->requested;
	if (!served->accepts)
		read_at = 0;			/* it is to be reported now */
	served->history.ended_early = phase < WORKER_STARTING;
	if (phase < WORKER_WORKING)
		served->history.failures++;
	else
		served->history.failures = 0;
	served->start_at = phase == WORKER_UNNEEDED ? 0 :
		time_after(worker_restart_seconds(served->history) * 1000);
}

/*
 * Stops a worker if it has had time to end by itself.  *next is lowered to the
 * time when that will be so.
 */
static void
stop_worker(Served *served, TimestampTz *next)
{
	if (served->stopping)
		return;
	if (served->stop_at == 0)
		served->stop_at = time_after(STOP_PATIENCE_MS);
	if (served->stop_at > GetCurrentTimestamp())
	{
		*next = Min(*next, served->stop_at);
		return;
	}
	served->stopping = true;
	ereport(LOG,
			(errmsg("stopping the notify_stats worker of database \"%s\"",
					NameStr(served->name)),
			 errdetail("The database is no longer included in \"notify_stats.database\", and the worker has not ended by itself.")));
	if (served->handle != NULL)
		TerminateBackgroundWorker(served->handle);
	else
		shared_worker_terminate(served->worker);
}

static void
note_ends(void)
{
	HASH_SEQ_STATUS status;
	Served	   *served;

	hash_seq_init(&status, databases);
	while ((served = hash_seq_search(&status)) != NULL)
	{
		if (served->worker >= 0 && has_ended(served))
			note_end(served);
	}
}

/*
 * Stops the workers of databases that are not included any more, and forgets
 * those databases when their workers have ended.  *next is lowered to the time
 * when another one is to be stopped.
 */
static void
stop_workers(TimestampTz *next)
{
	HASH_SEQ_STATUS status;
	Served	   *served;

	hash_seq_init(&status, databases);
	while ((served = hash_seq_search(&status)) != NULL)
	{
		if (served->included)
			continue;
		if (served->worker >= 0)
			stop_worker(served, next);
		else
			hash_search(databases, &served->oid, HASH_REMOVE, NULL);
	}
}

/* Returns whether a worker should run there, and is to be started now. */
static bool
is_due(const Served *served, TimestampTz *next)
{
	if (!served->included || !served->accepts || served->worker >= 0 ||
		(served->unneeded && !served->named))
		return false;
	if (served->start_at <= GetCurrentTimestamp())
		return true;
	*next = Min(*next, served->start_at);
	return false;
}

/* Returns whether the database certainly has rollups, or is named. */
static bool
comes_first(const Served *served)
{
	return served->named || slot_main_exists_in(served->oid);
}

/* Counts the workers of other databases that still look for rollups. */
static int
count_looking(void)
{
	int			count = 0;
	HASH_SEQ_STATUS status;
	Served	   *served;

	hash_seq_init(&status, databases);
	while ((served = hash_seq_search(&status)) != NULL)
		count += served->worker >= 0 &&
			shared_state->workers[served->worker].phase < WORKER_STARTING &&
			!comes_first(served);
	return count;
}

/* Returns a database whose worker could not be started, or NULL. */
static const Served *
find_lack(void)
{
	HASH_SEQ_STATUS status;
	const Served *served;

	hash_seq_init(&status, databases);
	while ((served = hash_seq_search(&status)) != NULL)
	{
		if (served->included && served->lacks_process)
		{
			hash_seq_term(&status);
			return served;
		}
	}
	return NULL;
}

/*
 * Publishes whether a worker could not be started for lack of a process, and
 * reports that once.
 */
static void
publish_lack(void)
{
	const Served *served = find_lack();

	if (shared_launcher_set_lack(served != NULL) && served != NULL)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start a notify_stats worker for database \"%s\"",
						NameStr(served->name)),
				 errdetail("All %d background processes that max_worker_processes allows are in use.",
						   max_worker_processes),
				 errhint("Raise max_worker_processes and restart the server. The launcher tries again each second.")));
}

static bool
start_worker(Served *served)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);

	served->requested = false;
	served->unneeded = false;
	served->worker = worker_start(served->oid, NameStr(served->name),
								  served->history, &served->handle);
	served->lacks_process = served->worker < 0;
	MemoryContextSwitchTo(context);
	return !served->lacks_process;
}

/*
 * Starts the workers that are due; "first" distinguishes two sets of
 * databases.  Returns false if that failed.  *next is lowered to the time when
 * another one is due.
 */
static bool
start_due(bool first, TimestampTz *next)
{
	int			looking = first ? 0 : count_looking();
	bool		result = true;
	HASH_SEQ_STATUS status;
	Served	   *served;

	hash_seq_init(&status, databases);
	while ((served = hash_seq_search(&status)) != NULL)
	{
		if (!result || looking >= MAX_LOOKING)
		{
			hash_seq_term(&status);
			break;
		}
		if (!is_due(served, next) || comes_first(served) != first)
			continue;
		result = start_worker(served);
		looking += !first;
	}
	return result;
}

/* Starts and stops workers.  Returns when to do that again, at the latest. */
static TimestampTz
manage_workers(void)
{
	TimestampTz next;

	note_ends();
	if (read_at <= GetCurrentTimestamp())
		read_databases();
	next = read_at;
	stop_workers(&next);
	if (!start_due(true, &next) || !start_due(false, &next))
		next = Min(next, time_after(LACK_RETRY_MS));
	publish_lack();
	return next;
}

static void
connect_launcher(void)
{
	HASHCTL		control = {0};

	settings_follow();
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("notify_stats launcher");
	xact_set_worker_defaults();
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Served);
	databases = hash_create("notify_stats databases", 64, &control,
							HASH_ELEM | HASH_BLOBS);
	shared_launcher_enter();
	adopt_workers();
}

void
notify_stats_launcher_main(Datum main_arg)
{
	MemoryContext context;
	uint32		wait_event = new_wait_event("NotifyStatsLauncher");
	uint64		reloads;

	connect_launcher();
	context = AllocSetContextCreate(TopMemoryContext, "notify_stats launcher",
									ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	for (;;)
	{
		TimestampTz next;

		CHECK_FOR_INTERRUPTS();
		reloads = settings_reloads;
		settings_reload();
		if (settings_reloads != reloads)
			read_at = 0;
		read_news();
		next = manage_workers();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH,
						 TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														 next),
						 wait_event);
		ResetLatch(MyLatch);
		MemoryContextReset(context);
	}
}
