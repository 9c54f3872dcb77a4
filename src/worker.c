/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker of a database.
 *
 * Runs cycles for ever.  Any error ends the process with exit code 1, and the
 * postmaster starts it again; if that happens repeatedly, the new process
 * waits a while before it tries.  It never exits with 0, for then it would not
 * come back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "builder.h"
#include "compat.h"
#include "cycle.h"
#include "notify_stats.h"
#include "shared.h"
#include "slot.h"
#include "trouble.h"
#include "worker.h"
#include "xact.h"

#define RESTART_SECONDS 1
#define MAX_DELAY_SECONDS 60

PGDLLEXPORT void notify_stats_worker_main(Datum main_arg);

/* The names in notify_stats.database; throws if it is not a list. */
static List *
database_names(void)
{
	List	   *entries = NIL;
	List	   *names = NIL;
	ListCell   *lc;

	if (notify_stats_database != NULL &&
		!SplitGUCList(pstrdup(notify_stats_database), ',', &entries))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid list syntax in parameter \"%s\"", "notify_stats.database"),
				 errhint("Write database names separated by commas.")));

	/* a name that is listed twice is one database */
	foreach(lc, entries)
	{
		char	   *name = (char *) lfirst(lc);
		bool		known = false;
		ListCell   *lc2;

		foreach(lc2, names)
			known |= strcmp((char *) lfirst(lc2), name) == 0;
		if (!known)
			names = lappend(names, name);
	}
	return names;
}

void
worker_register_all(void)
{
	ListCell   *lc;

	foreach(lc, database_names())
	{
		const char *database = (const char *) lfirst(lc);
		BackgroundWorker worker;

		memset(&worker, 0, sizeof(worker));
		worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
		worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
		worker.bgw_restart_time = RESTART_SECONDS;
		snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), EXTENSION_NAME);
		snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
				 "notify_stats_worker_main");
		snprintf(worker.bgw_name, sizeof(worker.bgw_name), "notify_stats worker for %s", database);
		snprintf(worker.bgw_type, sizeof(worker.bgw_type), "notify_stats worker");
		strlcpy(worker.bgw_extra, database, sizeof(worker.bgw_extra));
		RegisterBackgroundWorker(&worker);
	}
}

bool
worker_is_registered(const char *database)
{
	ListCell   *lc;

	foreach(lc, database_names())
		if (strcmp((const char *) lfirst(lc), database) == 0)
			return true;
	return false;
}

static void
leave_stream(int code, Datum arg)
{
	SharedStream *stream = (SharedStream *) DatumGetPointer(arg);

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->pid = 0;
	stream->state = STREAM_OFF;
	LWLockRelease(shared_state->lock);
}

/*
 * Enters this process as the stream's worker, and returns how many before it
 * have failed in a row.  It counts as failed itself until a cycle succeeds.
 */
static int
enter_stream(SharedStream *stream)
{
	int			failures;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->pid = MyProcPid;
	stream->state = STREAM_STARTING;
	failures = stream->failures++;
	LWLockRelease(shared_state->lock);
	before_shmem_exit(leave_stream, PointerGetDatum(stream));
	return failures;
}

static void
note_success(SharedStream *stream, StreamState state)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->failures = 0;
	stream->state = state;
	LWLockRelease(shared_state->lock);
}

static void
wait_for(long milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	reload_settings();
}

/* Waits out earlier failures: 1, 2, 4 … seconds after the second. */
static void
wait_after_failures(int failures)
{
	TimestampTz until;
	int			seconds;

	if (failures < 2)
		return;
	seconds = Min(MAX_DELAY_SECONDS, 1 << Min(failures - 2, 6));
	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds * 1000);
	while (GetCurrentTimestamp() < until)
		wait_for(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until));
}

/* One cycle, and the start of a build that is due. */
static CycleResult
work(SharedStream *stream)
{
	CycleResult result;

	pgstat_report_activity(STATE_RUNNING, "notify_stats: applying changes");
	result = cycle_run(false);
	note_success(stream, result.has_rollups ? STREAM_RUNNING : STREAM_NO_ROLLUPS);
	if (OidIsValid(result.busy.relid))
		rollup_wait_for_lock(result.busy);
	builder_start_due(result.wants_build);
	pgstat_report_activity(STATE_IDLE, NULL);
	return result;
}

/*
 * Looks at the WAL every naptime, and runs a cycle if it has grown, if the last
 * one left something, or if a build waits to be tried again.
 */
static void
run(SharedStream *stream)
{
	MemoryContext cycle_context = AllocSetContextCreate(TopMemoryContext, "notify_stats cycle",
														ALLOCSET_DEFAULT_SIZES);
	XLogRecPtr	seen = InvalidXLogRecPtr;
	CycleResult last = {0};
	TimestampTz write_at = 0;	/* when to write a position that was held back */

	MemoryContextSwitchTo(cycle_context);
	for (;;)
	{
		XLogRecPtr	safe = slot_safe_lsn();

		if (safe != seen || last.more || OidIsValid(last.busy.relid) || builder_is_due() ||
			(last.unwritten && GetCurrentTimestamp() >= write_at))
		{
			last = work(stream);
			seen = safe;
			write_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000);
			MemoryContextReset(cycle_context);
		}
		wait_for(last.more ? 0 : notify_stats_naptime);
	}
}

void
notify_stats_worker_main(Datum main_arg)
{
	SharedStream *stream;
	int			failures;
	Trouble		trouble;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnection(MyBgworkerEntry->bgw_extra, NULL, 0);
	pgstat_report_appname("notify_stats worker");
	xact_set_worker_defaults();

	stream = shared_stream();
	failures = enter_stream(stream);
	ereport(LOG,
			(errmsg("notify_stats worker for database \"%s\" started", MyBgworkerEntry->bgw_extra)));
	/* a rollup's own trouble is settled by the next cycle, so go on at once */
	if (!trouble_read(&trouble))
		wait_after_failures(failures);
	run(stream);
}
