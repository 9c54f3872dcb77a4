/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker of a database.
 *
 * Runs cycles in an endless loop.  Any error ends the process with exit code
 * 1, and the launcher starts it again.  After repeated errors, the new process
 * waits before it starts to work.  If the error was before that, for instance
 * while connecting, the launcher waits.
 *
 * In a database that notify_stats.database does not name, but includes by an
 * asterisk, the worker ends when there are no rollups.  It also ends when the
 * setting does not include the database any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"

#include "build.h"
#include "background.h"
#include "builder.h"
#include "busy_lock.h"
#include "catalog.h"
#include "catalog_version.h"
#include "compat.h"
#include "cycle.h"
#include "main_slot.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "stream.h"
#include "trouble.h"
#include "usage.h"
#include "wake.h"
#include "wal_window.h"
#include "worker.h"
#include "xact.h"

#define RESTART_SECONDS 1

/* With more unread WAL than this, the worker does not rest. */
#define BACKLOG_WAL ((uint64) 1024 * 1024)

/*
 * Time after which to read WAL that may contain no commit, if more than this
 * amount must be read again for it.
 */
#define MUCH_AGAIN BACKLOG_WAL
#define MUCH_AGAIN_DELAY_MS 10000

/*
 * After a rest of this length, the worker checks again whether it may
 * continue.
 */
#define MAX_REST_MS 100

/*
 * Time after which to read the WAL that the last cycle has written itself, if
 * there is no cycle before.
 */
#define OWN_WAL_DELAY_MS 1000

/*
 * Time after which to close the slot, so that others can use it, if there is
 * no cycle.
 */
#define CLOSE_DELAY_MS 1000

/*
 * Time after which to report the counts of the last cycles to the statistics
 * system, if there is no cycle.
 */
#define REPORT_DELAY_MS 1000

/* Interval at which to check whether a failed build is to be tried again. */
#define BUILD_RETRY_MS 1000

/*
 * Time without rollups after which the worker ends, if the database is not
 * named in notify_stats.database.
 */
#define LEAVE_DELAY_MS 5000

/* Maximum time that a wait for a position is prolonged by a rest. */
#define MAX_WAIT_MS 1000

PGDLLEXPORT void notify_stats_worker_main(Datum main_arg);

/* The arguments that the process gets from the launcher, in bgw_extra. */
typedef struct WorkerArgs
{
	Oid			database;
	NameData	name;			/* its name when the process was started */
	int			entry;			/* in shared memory ... */
	uint64		launch;			/* ...  if this is still its number */
	WorkerHistory history;
} WorkerArgs;

static WorkerArgs args;

/*
 * Returns how long to wait after this number of failures in a row: 1, 2, 4 ...
 * seconds, starting with the second failure.
 */
static int
delay_seconds(int failures)
{
	return failures < 2 ? 0 : background_backoff(failures - 2);
}

/*
 * Returns after how many seconds a worker is to be started again.  After
 * errors during its work, it waits by itself when it has connected.
 */
int
worker_restart_seconds(WorkerHistory history)
{
	return RESTART_SECONDS +
		(history.ended_early ? delay_seconds(history.failures) : 0);
}

/*
 * Starts the worker of a database, for the launcher.  Returns the number of
 * its entry in shared memory, or -1 if all background processes are in use.
 */
int
worker_start(Oid database, const char *name, WorkerHistory history,
			 BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;
	WorkerArgs	new_args = {.database = database,.history = history};

	StaticAssertStmt(sizeof(WorkerArgs) <= BGW_EXTRALEN,
					 "the arguments must fit into bgw_extra");
	new_args.entry = shared_worker_claim(database, &new_args.launch);
	if (new_args.entry < 0)
		return -1;
	namestrcpy(&new_args.name, name);
	background_describe(&worker, "notify_stats worker",
						"notify_stats_worker_main", BGW_NEVER_RESTART);
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "notify_stats worker for %s", name);
	memcpy(worker.bgw_extra, &new_args, sizeof(new_args));
	if (RegisterDynamicBackgroundWorker(&worker, handle))
		return new_args.entry;
	(void) shared_worker_release(new_args.entry);
	return -1;
}

/*
 * Shows the activity of this process in pg_stat_activity and in the process
 * list.
 */
static void
show_activity(BackendState state, const char *activity)
{
	char		title[128];

	snprintf(title, sizeof(title), "notify_stats: %s", activity);
	pgstat_report_activity(state, title);
	set_ps_display(activity);
}

static void
leave_stream(int code, Datum arg)
{
	SharedStream *stream = (SharedStream *) DatumGetPointer(arg);

	pg_atomic_write_u32(&stream->sleeping, 0);
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->pid = 0;
	stream->state =
		shared_state->workers[args.entry].phase == WORKER_UNNEEDED ?
		STREAM_NO_ROLLUPS : STREAM_OFF;
	LWLockRelease(shared_state->lock);
}

/* Registers this process as the stream's worker. */
static void
enter_stream(SharedStream *stream)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->pid = MyProcPid;
	stream->worker_procno = MyProc - ProcGlobal->allProcs;
	stream->state = STREAM_STARTING;
	LWLockRelease(shared_state->lock);
	before_shmem_exit(leave_stream, PointerGetDatum(stream));
}

/*
 * Returns whether notify_stats.database includes the database.  Its name
 * cannot change while this process is connected.
 */
static bool
is_included(void)
{
	return settings_include_database(NameStr(args.name));
}

/* Waits for the delay that follows from earlier failures. */
static void
wait_after_failures(SharedStream *stream, int failures)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													delay_seconds(failures) * 1000);

	show_activity(STATE_IDLE, "waiting after an error");
	while (GetCurrentTimestamp() < until && is_included())
		wake_sleep(stream,
				   TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												   until), false,
				   NULL, NULL);
}

/*
 * Waits for a lock, but not so long that the server might invalidate the slot
 * as idle.
 */
static void
wait_for_lock(BusyLock busy)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													(int64) main_slot_touch_interval());

	if (busy.until == 0 || busy.until > until)
		busy.until = until;
	busy_lock_wait(busy);
}

/* Runs one cycle, and starts a build that is due. */
static CycleResult
work(SharedStream *stream)
{
	CycleResult result;

	show_activity(STATE_RUNNING, "applying changes");
	result = cycle_run(false);

	/*
	 * Release advisory locks that users' code has taken at session level.
	 * Otherwise they would be held until this process ends.
	 */
	LockReleaseSession(USER_LOCKMETHOD);
	build_watch_retained();
	shared_worker_set_phase(args.entry, WORKER_WORKING);
	shared_stream_set_state(result.has_rollups ?
							STREAM_RUNNING : STREAM_NO_ROLLUPS);
	if (OidIsValid(result.busy.relid))
	{
		show_activity(STATE_RUNNING, "waiting for a lock on a table");
		slot_close();			/* the holder of the lock may need the slot */
		wait_for_lock(result.busy);
	}
	builder_start_due(result.wants_build);
	show_activity(STATE_IDLE, "waiting for changes");
	return result;
}

/* The data that determines when the next cycle is due. */
typedef struct Schedule
{
	SharedStream *stream;
	CycleResult last;
	uint64		foreign;		/* transactions of others that had ended
								 * before the last cycle */
	CatalogStamp catalogs;		/* state of the catalogs at that time */
	XLogRecPtr	seen;			/* the last cycle has read up to here */
	XLogRecPtr	own;			/* end of the WAL that it has written itself */
	TimestampTz leftover_at;	/* when to do the work that it has deferred;
								 * 0: none */
	TimestampTz rest_until;		/* no cycle before, to limit the CPU time */
	TimestampTz last_cycle;		/* when it began */
	TimestampTz unneeded_since; /* no rollups since then; 0: there are some */
	bool		unreported;		/* it may have counts that were not reported
								 * to the statistics system */
} Schedule;

/*
 * Returns how much WAL the next cycle must read again, because the slot is not
 * kept open.
 */
static uint64
read_again(const CycleResult *result)
{
	return result->reached_lsn > result->restart_lsn ?
		result->reached_lsn - result->restart_lsn : 0;
}

/*
 * Returns whether the WAL may contain a new commit.  WAL that the last cycle
 * has written itself does not count, unless another transaction has ended
 * since, as its commit may be before that WAL.  WAL of a transaction that is
 * still open does not count if it would all have to be read again.  It is
 * nevertheless read at intervals, because a transaction that waits for a
 * standby has committed but not ended.
 */
static bool
has_news(const Schedule *schedule)
{
	SharedStream *stream = schedule->stream;
	XLogRecPtr	safe = slot_safe_lsn();
	XLogRecPtr	async = wake_async_lsn(stream);

	if (safe <= schedule->seen)
		return false;
	if (shared_foreign_transactions() != schedule->foreign ||
		pg_atomic_read_u64(&stream->wanted_lsn) > schedule->seen ||
		(async > schedule->seen && async <= safe))
		return true;
	return safe > schedule->own &&
		(read_again(&schedule->last) <= MUCH_AGAIN ||
		 TimestampDifferenceExceeds(schedule->last_cycle,
									GetCurrentTimestamp(),
									MUCH_AGAIN_DELAY_MS));
}

/*
 * Returns whether there is work to do.  The notification of a change of the
 * catalogs may arrive after the commit that has woken this process.
 */
static bool
is_due(void *arg)
{
	const Schedule *schedule = (const Schedule *) arg;
	SharedStream *stream = schedule->stream;

	return schedule->last.more || OidIsValid(schedule->last.busy.relid) ||
		builder_is_due() ||
		(!catalog_stamp_holds(&schedule->catalogs) &&
		 !XLogRecPtrIsInvalid(schedule->last.reached_lsn)) ||
		((OidIsValid(stream->trouble.rollup) ||
		  OidIsValid(stream->unreadable.source)) &&
		 !XLogRecPtrIsInvalid(schedule->last.reached_lsn)) ||
		(schedule->leftover_at != 0 &&
		 GetCurrentTimestamp() >= schedule->leftover_at) ||
		has_news(schedule);
}

/*
 * Returns whether the worker should not rest because of a backlog: much WAL is
 * unread, or was read by the last cycle.  WAL that each cycle must read again,
 * because a transaction is open, does not reduce the rest.  Otherwise it would
 * make up more and more of the work.
 */
static bool
has_backlog(const CycleResult *result)
{
	uint64		much = Max(BACKLOG_WAL, read_again(result));
	XLogRecPtr	safe = slot_safe_lsn();

	return result->more || result->reached_lsn - result->start_lsn > much ||
		(safe > result->reached_lsn && safe - result->reached_lsn > much);
}

/*
 * Returns when to resume the work that a cycle has deferred, if nothing else
 * is due before; or 0.
 */
static TimestampTz
leftover_time(const Schedule *schedule)
{
	int			milliseconds = schedule->last.again_after_ms;

	if (milliseconds == 0 && schedule->own > schedule->seen)
		milliseconds = OWN_WAL_DELAY_MS;
	return milliseconds == 0 ? 0 :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
}

/* Runs a cycle and schedules the next one. */
static void
run_cycle(Schedule *schedule)
{
	TimestampTz start = GetCurrentTimestamp();
	int64		cpu = usage_cpu_time();
	XLogRecPtr	safe;

	schedule->last_cycle = start;
	schedule->unreported = true;
	schedule->foreign = shared_foreign_transactions();
	catalog_stamp(&schedule->catalogs, catalog_version());
	safe = slot_safe_lsn();
	schedule->last = work(schedule->stream);
	schedule->rest_until = start +
		(usage_cpu_time() - cpu) * 100 / notify_stats_max_cpu_percent;
	if (OidIsValid(schedule->last.busy.relid))
		return;					/* it is tried again immediately */
	if (XLogRecPtrIsInvalid(schedule->last.reached_lsn))
	{
		/* there is nothing to read, so the next cycle is not urgent */
		schedule->seen = schedule->own = safe;
		schedule->leftover_at = schedule->last.slot_in_use ?
			TimestampTzPlusMilliseconds(start, MAIN_SLOT_RETRY_MS) : 0;
		schedule->rest_until = TimestampTzPlusMilliseconds(start, MAX_REST_MS);
		return;
	}
	schedule->seen = schedule->last.reached_lsn;
	schedule->own = Max(schedule->seen, schedule->last.own_end);
	schedule->leftover_at = leftover_time(schedule);
}

/*
 * Returns for how many milliseconds the worker must rest before it checks
 * again; or 0.  A session that waits for a position does not wait for the end
 * of a long rest.
 */
static long
rest_time(const Schedule *schedule)
{
	TimestampTz now = GetCurrentTimestamp();

	if (schedule->rest_until <= now ||
		(!XLogRecPtrIsInvalid(schedule->last.reached_lsn) &&
		 has_backlog(&schedule->last)) ||
		(pg_atomic_read_u64(&schedule->stream->wanted_lsn) > schedule->seen &&
		 TimestampDifferenceExceeds(schedule->last_cycle, now,
									MAX_WAIT_MS)))
		return 0;
	return Min(MAX_REST_MS,
			   TimestampDifferenceMilliseconds(now, schedule->rest_until));
}

/*
 * Writes asynchronous commits, which do not wake the worker, to disk, so that
 * they can be read.
 */
static void
flush_async_commits(SharedStream *stream)
{
	XLogRecPtr	lsn = wake_async_lsn(stream);

	if (lsn > slot_safe_lsn())
		XLogFlush(lsn);
}

/*
 * Reports the counts of the last cycles to the statistics system.  The server
 * reports what a commit did to tables at most once per second.  So it would
 * retain the counts of the last commit until there is another one.
 */
static void
report_statistics(Schedule *schedule)
{
	if (!schedule->unreported ||
		!TimestampDifferenceExceeds(schedule->last_cycle,
									GetCurrentTimestamp(), REPORT_DELAY_MS))
		return;
	(void) pgstat_report_stat(true);
	schedule->unreported = false;
}

/* Sleeps until something may be due. */
static void
nap(Schedule *schedule)
{
	long		milliseconds = Min(notify_stats_naptime,
								   main_slot_touch_interval());

	if (schedule->leftover_at != 0)
		milliseconds = Min(milliseconds,
						   TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   schedule->leftover_at));
	if (slot_is_open(NULL))
		milliseconds = Min(milliseconds, CLOSE_DELAY_MS);
	if (schedule->last.wants_build != NIL)
		milliseconds = Min(milliseconds, BUILD_RETRY_MS);
	if (schedule->unreported)
		milliseconds = Min(milliseconds, REPORT_DELAY_MS);
	if (!schedule->last.has_rollups)
		milliseconds = Min(milliseconds, LEAVE_DELAY_MS);
	if (!main_slot_follows_settings())
		milliseconds = Min(milliseconds, MAIN_SLOT_RETRY_MS);
	wake_sleep(schedule->stream, milliseconds, true, is_due, schedule);
	if (is_due(schedule))
		return;
	report_statistics(schedule);
	usage_count();
	flush_async_commits(schedule->stream);
	if (TimestampDifferenceExceeds(schedule->last_cycle, GetCurrentTimestamp(),
								   CLOSE_DELAY_MS))
		slot_close();
}

/*
 * Returns whether the database needs a worker: it is named, or has rollups, or
 * a slot, or a stream that names one.  A transaction that is running may be
 * creating the first rollup.
 */
static bool
is_needed(void)
{
	StreamRow	row;
	bool		result;

	if (settings_names_database(NameStr(args.name)) ||
		slot_main_exists_in(MyDatabaseId))
		return true;
	xact_begin();
	result = catalog_may_have_rows(CATALOG_ROLLUP) ||
		(stream_load(&row) && row.has_slot);
	xact_commit();
	return result;
}

/* Returns whether the worker has not been needed for some time. */
static bool
is_unneeded(Schedule *schedule)
{
	TimestampTz now = GetCurrentTimestamp();

	if (schedule->last.has_rollups || schedule->unneeded_since == 0)
	{
		schedule->unneeded_since = schedule->last.has_rollups ? 0 : now;
		return false;
	}
	if (!TimestampDifferenceExceeds(schedule->unneeded_since, now,
									LEAVE_DELAY_MS))
		return false;
	schedule->unneeded_since = now;
	return !is_needed();
}

/*
 * Runs a cycle whenever one is due, and then rests in proportion to its cost.
 * While the worker rests or works, commits do not wake it, and changes
 * accumulate to one batch.  Returns when the worker is not needed any more, or
 * the database is not to have one.
 */
static void
run(SharedStream *stream)
{
	MemoryContext cycle_context = AllocSetContextCreate(TopMemoryContext,
														"notify_stats cycle",
														ALLOCSET_DEFAULT_SIZES);
	Schedule	schedule = {0};

	schedule.stream = stream;
	schedule.leftover_at = GetCurrentTimestamp();	/* run a cycle at the
													 * start */
	MemoryContextSwitchTo(cycle_context);
	while (is_included() && !is_unneeded(&schedule))
	{
		long		rest = rest_time(&schedule);

		if (wake_slot_is_wanted(stream))
			slot_close();
		main_slot_touch();
		main_slot_follow_settings(false);
		wal_window_maintain(false);
		MemoryContextReset(cycle_context);
		if (!is_due(&schedule))
			nap(&schedule);
		else if (rest > 0)
			wake_sleep(stream, rest, false, NULL, NULL);
		else
		{
			/* these are otherwise done during a rest, which a backlog omits */
			CHECK_FOR_INTERRUPTS();
			settings_reload();
			run_cycle(&schedule);
		}
	}
}

/* Adds to a connection error of the server when it is tried again. */
static void
connection_error_callback(void *arg)
{
	WorkerHistory next = {args.history.failures + 1, true};

	errcontext("connecting to database \"%s\", which \"notify_stats.database\" includes",
			   NameStr(args.name));
	if (geterrcode() != ERRCODE_UNDEFINED_DATABASE)
		errhint("The worker will retry in %d s.", worker_restart_seconds(next));
}

static void
connect_to_database(void)
{
	ErrorContextCallback error_context;

	set_ps_display("connecting");
	error_context.callback = connection_error_callback;
	error_context.arg = NULL;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	BackgroundWorkerInitializeConnectionByOid(args.database, InvalidOid, 0);
	error_context_stack = error_context.previous;
	shared_worker_set_phase(args.entry, WORKER_LOOKING);
	pgstat_report_appname("notify_stats worker");
	xact_set_worker_defaults();
}

/* Works until an error occurs or the worker is to end. */
static void
serve_database(void)
{
	SharedStream *stream;
	Trouble		trouble;
	char	   *reason;

	slot_keep_open(TopMemoryContext);
	stream = shared_stream();
	enter_stream(stream);
	usage_count_at_exit();
	shared_worker_set_phase(args.entry, WORKER_STARTING);
	ereport(LOG,
			(errmsg("notify_stats worker for database \"%s\" started",
					NameStr(args.name))));

	/*
	 * Errors of a rollup or source are handled by the next cycle.  If the last
	 * process has not come this far, the launcher has waited.
	 */
	if (!args.history.ended_early && !trouble_read(&trouble) &&
		!OidIsValid(trouble_unreadable_source(&reason)))
		wait_after_failures(stream, args.history.failures);
	run(stream);
	ereport(LOG,
			(errmsg("notify_stats worker for database \"%s\" ended",
					NameStr(args.name)),
			 is_included() ? errdetail("The database has no rollups.") :
			 errdetail("The database is no longer included in \"notify_stats.database\".")));
}

void
notify_stats_worker_main(Datum main_arg)
{
	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	settings_follow();
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!shared_worker_enter(args.entry, args.launch))
		return;
	connect_to_database();
	settings_reload();
	if (is_needed())
		serve_database();
	if (is_included())
		shared_worker_set_phase(args.entry, WORKER_UNNEEDED);
}
