/*-------------------------------------------------------------------------
 *
 * following.c
 *	  The SQL functions for readers that follow a rollup.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
#include "utils/wait_event.h"

#include "catalog.h"
#include "changes.h"
#include "compat.h"
#include "functions.h"
#include "position.h"
#include "settings.h"
#include "shared.h"

sql_function(notify_stats_changes);
sql_function(notify_stats_changed_rows);
sql_function(notify_stats_rollup_as_of);
sql_function(notify_stats_position_at);

/*
 * A reader that waits rests so many times as long as its last look at the
 * changes took, but no longer than MAX_REST_MS.  It looks only if its rollup may
 * have changed, but such changes may cancel out, or be those of another one.
 */
#define REST_FACTOR 9
#define MAX_REST_MS 1000

/*
 * So often it looks at the state of the rollup, and notes that the rollup is
 * the same as of a later position, which may otherwise fall out of the window.
 */
#define STATE_INTERVAL_MS 1000

#define CHANGE_COLUMNS 3

/* Adds a row of changes() or changed_rows(). */
static void
put_change(ReturnSetInfo *rsinfo, XLogRecPtr lsn, Datum second,
		   bool second_isnull, Datum third, bool third_isnull)
{
	Datum		values[CHANGE_COLUMNS] = {LSNGetDatum(lsn), second, third};
	bool		nulls[CHANGE_COLUMNS] = {false, second_isnull, third_isnull};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static Datum
jsonb_or_null(const char *text)
{
	return text == NULL ? (Datum) 0 :
		DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

static void
put_json(const char *group_key, const char *measures, XLogRecPtr lsn,
		 void *arg)
{
	put_change((ReturnSetInfo *) arg, lsn, jsonb_or_null(group_key), false,
			   jsonb_or_null(measures), measures == NULL);
}

static void
put_changed_row(TupleTableSlot *row, bool gone, XLogRecPtr lsn, void *arg)
{
	put_change((ReturnSetInfo *) arg, lsn, BoolGetDatum(gone), false,
			   ExecFetchSlotHeapTupleDatum(row), false);
}

static void
put_row(TupleTableSlot *row, bool gone, XLogRecPtr lsn, void *arg)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) arg;

	tuplestore_puttupleslot(rsinfo->setResult, row);
}

/* Returns the table of which the first argument has the row type. */
static Oid
table_of_argument(FunctionCallInfo fcinfo)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	Oid			relid = OidIsValid(type) ? get_typ_typrelid(type) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the first argument does not have the row type of a rollup"),
				 errhint("Pass NULL with the name of the rollup as its type, such as NULL::orders_by_day.")));
	return relid;
}

/* Answers a request with the current snapshot, instead of that of the query. */
static ChangesResult
read_latest(ChangesRequest *request)
{
	ChangesResult result;

	request->snapshot = RegisterSnapshot(GetLatestSnapshot());
	result = changes_read(request);
	UnregisterSnapshot(request->snapshot);
	return result;
}

/*
 * Returns whether there may be anything to report of a rollup, whose state was
 * that.  If not, moves the request to the position that it has reached, but not
 * past a position from which on readers know the rollup by other names: this one
 * has not read them.
 */
static bool
may_report(ChangesRequest *request, const RollupPosition *before)
{
	RollupPosition now;

	if (!position_read(request->rollup, GetLatestSnapshot(), &now) ||
		XLogRecPtrIsInvalid(now.lsn) || now.is_live != before->is_live ||
		now.exact_since != before->exact_since || now.file != before->file ||
		request->since < now.names_since)
		return true;
	if (now.lsn <= request->since)
		return false;
	if (shared_stream_may_have_changed(request->rollup, request->since))
		return true;
	request->since = now.lsn;
	return false;
}

/*
 * Sleeps until there may be something to report, or until a time.  While the
 * rollup does not change, that takes hardly any time of this process, whatever
 * else changes.
 */
static void
wait_for_change(ChangesRequest *request, const RollupPosition *before,
				TimestampTz until)
{
	TimestampTz next = 0;		/* look at the state then */

	ConditionVariablePrepareToSleep(&shared_state->reached_cv);
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (now >= next ||
			shared_stream_may_have_changed(request->rollup, request->since))
		{
			if (may_report(request, before))
				break;
			next = TimestampTzPlusMilliseconds(now, STATE_INTERVAL_MS);
		}
		if (now >= until)
			break;
		/* as in wait_for_lsn() */
		SetLatch(MyLatch);
		(void) ConditionVariableTimedSleep(&shared_state->reached_cv,
										   TimestampDifferenceMilliseconds(now, Min(next, until)) + 1,
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* Rests after a look at the changes that began at that time, and was in vain. */
static void
rest(TimestampTz begun_at, TimestampTz until)
{
	TimestampTz now = GetCurrentTimestamp();
	long		took = TimestampDifferenceMilliseconds(begun_at, now);
	TimestampTz end = TimestampTzPlusMilliseconds(now, Min(took * REST_FACTOR,
														   MAX_REST_MS));

	end = Min(end, until);
	while (GetCurrentTimestamp() < end)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
																end)),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* A transaction that has one snapshot only would wait in vain. */
static bool
may_wait(const ChangesRequest *request, TimestampTz until)
{
	return request->kind == CHANGES_SINCE && !IsolationUsesXactSnapshot() &&
		GetCurrentTimestamp() < until;
}

/* Answers a request, and as long as nothing has changed, again, until a time. */
static ChangesResult
read_until(ChangesRequest *request, TimestampTz until)
{
	TimestampTz begun_at = GetCurrentTimestamp();
	RollupPosition before = {0};
	ChangesResult result;

	/* before each look, so that no change of the state is missed */
	if (may_wait(request, until))
		(void) position_read(request->rollup, GetLatestSnapshot(), &before);
	result = changes_read(request);
	while (result.ngroups == 0 && may_wait(request, until))
	{
		request->since = result.lsn;
		rest(begun_at, until);
		wait_for_change(request, &before, until);
		begun_at = GetCurrentTimestamp();
		(void) position_read(request->rollup, GetLatestSnapshot(), &before);
		result = read_latest(request);
	}
	return result;
}

/* Returns the time until which to wait, by the third argument. */
static TimestampTz
end_of_wait(FunctionCallInfo fcinfo)
{
	int64		timeout;

	if (PG_ARGISNULL(2))
		return DT_NOEND;
	timeout = interval_ms(PG_GETARG_INTERVAL_P(2));
	/* longer than that it is without end */
	return timeout > (int64) 1000 * SECS_PER_YEAR * 1000 ? DT_NOEND :
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);
}

/* Runs changes() or changed_rows(). */
static Datum
report_changes(FunctionCallInfo fcinfo, ChangesRequest *request)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz until = end_of_wait(fcinfo);
	ChangesResult result;

	check_primary();
	shared_require();
	InitMaterializedSRF(fcinfo, 0);
	request->kind = PG_ARGISNULL(1) ? CHANGES_ALL : CHANGES_SINCE;
	request->since = PG_ARGISNULL(1) ? InvalidXLogRecPtr : PG_GETARG_LSN(1);
	request->snapshot = GetActiveSnapshot();
	request->arg = rsinfo;
	result = read_until(request, until);
	if (result.ngroups == 0)
		put_change(rsinfo, result.lsn, (Datum) 0, true, (Datum) 0, true);
	return (Datum) 0;
}

Datum
notify_stats_changes(PG_FUNCTION_ARGS)
{
	ChangesRequest request = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("rollup must not be null")));
	request.rollup = PG_GETARG_OID(0);
	request.take_json = put_json;
	return report_changes(fcinfo, &request);
}

Datum
notify_stats_changed_rows(PG_FUNCTION_ARGS)
{
	ChangesRequest request = {0};

	request.rollup = table_of_argument(fcinfo);
	request.take_row = put_changed_row;
	return report_changes(fcinfo, &request);
}

Datum
notify_stats_rollup_as_of(PG_FUNCTION_ARGS)
{
	ChangesRequest request = {0};

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("position must not be null")));
	check_primary();
	shared_require();
	request.rollup = table_of_argument(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	request.kind = CHANGES_UNDONE;
	request.since = PG_GETARG_LSN(1);
	request.snapshot = GetActiveSnapshot();
	request.take_row = put_row;
	request.row_type = ((ReturnSetInfo *) fcinfo->resultinfo)->setDesc;
	request.arg = fcinfo->resultinfo;
	(void) changes_read(&request);
	return (Datum) 0;
}

/* Returns the last position that was noted at a time or before it. */
Datum
notify_stats_position_at(PG_FUNCTION_ARGS)
{
	static const char query[] =
	"SELECT p.lsn FROM (SELECT w.reached_at, w.applied_lsn FROM " EXTENSION_SCHEMA ".window_position w"
	" UNION ALL SELECT s.applied_at, s.applied_lsn FROM " EXTENSION_SCHEMA ".stream s) p (at, lsn)"
	" WHERE p.at OPERATOR(pg_catalog.<=) $1 ORDER BY p.at DESC, p.lsn DESC LIMIT 1";
	Oid			argtypes[1] = {TIMESTAMPTZOID};
	Datum		args[1] = {PG_GETARG_DATUM(0)};
	SavedRole	saved;
	Datum		lsn = (Datum) 0;
	bool		isnull = true;

	check_primary();
	saved = catalog_enter();
	if (SPI_execute_with_args(query, 1, argtypes, args, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the positions in the window of WAL");
	if (SPI_processed > 0)
		lsn = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
							&isnull);
	catalog_leave(saved);
	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_CHANGES_UNKNOWN),
				 errmsg("no position is known for %s",
						timestamptz_to_str(DatumGetTimestampTz(args[0]))),
				 errdetail("The time is before the window of applied WAL."),
				 notify_stats_resumable_wal_window == 0 ?
				 errhint("Set notify_stats.resumable_wal_window to retain such a window.") : 0));
	PG_RETURN_DATUM(lsn);
}
