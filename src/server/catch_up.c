/*-------------------------------------------------------------------------
 *
 * catch_up.c
 *	  Doing the work of the worker once, without it.
 *
 * CALL catch_up() does it in the session itself.  A function cannot, because it
 * runs in a transaction of its caller.  So wait_for_lsn(), if it is told to,
 * starts a process that does it and ends.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/condition_variable.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "background.h"
#include "build.h"
#include "busy_lock.h"
#include "catch_up.h"
#include "cycle.h"
#include "main_slot.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"

PGDLLEXPORT void notify_stats_catch_up_once_main(Datum main_arg);

/* Minimum time between two processes that one caller starts. */
#define RESTART_MS 1000

/*
 * If another process builds that rollup, waits for the build to end, but for
 * at most one second.
 */
static void
wait_for_other_build(Oid relid)
{
	ConditionVariablePrepareToSleep(&shared_state->reached_cv);
	if (shared_build_running(relid))
		(void) ConditionVariableTimedSleep(&shared_state->reached_cv, 1000,
										   PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/*
 * Runs a cycle, and then, with the slot closed, the work that it reports as
 * due.  Returns whether nothing is left to do and everything before "target"
 * has been read.
 */
static bool
catch_up_once(MemoryContext slot_context, XLogRecPtr target)
{
	CycleResult result;
	bool		done;
	ListCell   *lc;

	slot_keep_open(slot_context);
	result = cycle_run(true);
	if (result.more)
		return false;
	done = !OidIsValid(result.busy.relid) && result.wants_build == NIL &&
		(!result.has_rollups || result.reached_lsn >= target);
	/* read past our own last commit, so that wait_for_lsn() does not wait */
	if (done)
		(void) cycle_run(true);
	slot_keep_open(NULL);

	foreach(lc, result.wants_build)
	{
		build_rollup(lfirst_oid(lc), true);
		wait_for_other_build(lfirst_oid(lc));
	}
	if (OidIsValid(result.busy.relid))
		busy_lock_wait(result.busy);
	return done;
}

/* Works until everything is done that was to be done at the start. */
void
catch_up(void)
{
	XLogRecPtr	target = slot_flush_written();
	MemoryContext slot_context = AllocSetContextCreate(CurrentMemoryContext,
													   "notify_stats slot",
													   ALLOCSET_SMALL_SIZES);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats catch_up",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);

	main_slot_follow_settings(true);
	while (!catch_up_once(slot_context, target))
		MemoryContextReset(context);
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
	MemoryContextDelete(slot_context);
}

/* The process that catch_up_elsewhere() starts. */
void
notify_stats_catch_up_once_main(Datum main_arg)
{
	background_connect(DatumGetObjectId(main_arg),
					   "notify_stats catch-up on wait");
	pgstat_report_activity(STATE_RUNNING, "notify_stats: catching up");
	catch_up();
}

/* Returns whether the current user may call catch_up(). */
static bool
may_catch_up(void)
{
	static const char query[] =
	"SELECT pg_catalog.has_function_privilege('" EXTENSION_SCHEMA ".catch_up()', 'EXECUTE')";
	bool		isnull;
	bool		result;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not check the privilege on catch_up()");
	result = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
										SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return result;
}

/*
 * Makes another process catch up, if the settings tell so and the current user
 * may do that.  Called again, starts one again if that has ended.  Returns
 * whether one was started; *state is the caller's.
 */
bool
catch_up_elsewhere(CatchUpElsewhere *state)
{
	BackgroundWorker worker;
	pid_t		pid;

	if (!notify_stats_catch_up_on_wait ||
		(state->started_at == 0 && !may_catch_up()))
		return false;
	if (state->handle != NULL &&
		(GetBackgroundWorkerPid(state->handle, &pid) != BGWH_STOPPED ||
		 !TimestampDifferenceExceeds(state->started_at, GetCurrentTimestamp(),
									 RESTART_MS)))
		return true;
	background_describe(&worker, "notify_stats catch-up on wait",
						"notify_stats_catch_up_once_main", BGW_NEVER_RESTART);
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "notify_stats catch-up on wait");
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	worker.bgw_notify_pid = MyProcPid;
	state->started_at = GetCurrentTimestamp();
	return RegisterDynamicBackgroundWorker(&worker, &state->handle);
}
