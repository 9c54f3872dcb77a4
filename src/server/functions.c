/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  The SQL functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/wait_event.h"

#include "build.h"
#include "builder.h"
#include "busy_lock.h"
#include "catch_up.h"
#include "compat.h"
#include "computed.h"
#include "core.h"
#include "create.h"
#include "cycle.h"
#include "definition.h"
#include "estimate.h"
#include "from_query.h"
#include "functions.h"
#include "launcher.h"
#include "main_slot.h"
#include "names.h"
#include "settings.h"
#include "release.h"
#include "replacement.h"
#include "rollup.h"
#include "shape.h"
#include "shared.h"
#include "slot.h"
#include "source.h"
#include "stream.h"
#include "upgrade.h"
#include "usage.h"
#include "view_difference.h"
#include "wake.h"
#include "wal_window.h"
#include "xact.h"

sql_function(notify_stats_check_primary);
sql_function(notify_stats_create_rollup);
sql_function(notify_stats_explain_rollup);
sql_function(notify_stats_adopt_rollup);
sql_function(notify_stats_alter_rollup);
sql_function(notify_stats_drop_rollup);
sql_function(notify_stats_rebuild);
sql_function(notify_stats_verify);
sql_function(notify_stats_wait_for_lsn);
sql_function(notify_stats_catch_up);
sql_function(notify_stats_recreate_slot);
sql_function(notify_stats_prepare_upgrade);
sql_function(notify_stats_stream_activity);
sql_function(notify_stats_build_activity);
sql_function(notify_stats_catch_up_activity);
sql_function(notify_stats_source_gaps);

/* Throws on a standby, where the rollups are replicated from the primary. */
void
check_primary(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("recovery is in progress"),
				 errhint("Run this on the primary. On a standby, use notify_stats.applied_lsn() to see how current the rollups are.")));
}

/*
 * Rollups
 */

/*
 * Returns the format of the stream's slot, or NULL if the stream has no slot
 * or has lost it.  A slot that only has the same name as ours does not count.
 */
static const Format *
stream_format(void)
{
	StreamRow	row;
	SlotInfo	slot;

	if (!stream_load(&row) || !row.has_slot ||
		!slot_lookup(NameStr(row.slot_name), &slot) ||
		slot.lost || slot.database != MyDatabaseId ||
		strcmp(NameStr(slot.plugin), row.format->plugin) != 0)
		return NULL;
	return row.format;
}

/*
 * Throws if this server cannot maintain any rollup.  Otherwise returns the
 * format of a new one.
 */
static const Format *
check_server(void)
{
	const Format *format;
	int			needed;

	check_primary();
	shared_require();
	if (wal_level < LOWEST_WAL_LEVEL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("notify_stats requires wal_level >= %s",
						LOWEST_WAL_LEVEL_NAME),
				 errdetail("Changes are read from WAL by logical decoding."),
				 errhint("Set wal_level = %s in postgresql.conf and restart the server.",
						 LOWEST_WAL_LEVEL_NAME)));

	/* one slot for the stream, unless it has one, and one for the build */
	format = stream_format();
	needed = format != NULL ? 1 : 2;
	if (format == NULL)
		format = format_chosen();
	slot_check_plugin(format->plugin);
	if (slot_count_free() < needed)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("all replication slots are in use"),
				 errdetail("notify_stats needs one slot for each database, and one for each build."),
				 errhint("Drop unused slots, or raise max_replication_slots and restart the server.")));

	(void) launcher_report_missing(NOTICE);
	wake_launcher_at_commit();
	return format;
}

/* Returns the strings of an array.  Throws if one of them is null. */
static List *
strings_of_array(ArrayType *array)
{
	Datum	   *values;
	bool	   *isnull;
	int			n;
	List	   *strings = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values,
					  &isnull, &n);
	for (int i = 0; i < n; i++)
	{
		if (isnull[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("table name must not be null")));
		strings = lappend(strings, TextDatumGetCString(values[i]));
	}
	return strings;
}

/* Called by SQL functions. */
Datum
notify_stats_check_primary(PG_FUNCTION_ARGS)
{
	check_primary();
	PG_RETURN_VOID();
}

/* Returns an argument of type text, or NULL. */
static char *
text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * Looks for a rollup that exists already.  That needs no free slot.  See
 * replacement_find_same.
 */
static Oid
find_existing(const char *name, const char *definition,
			  const CreateOptions *options)
{
	const Format *format;

	check_primary();
	shared_require();
	format = stream_format();
	return replacement_find_same(name, definition,
								 format != NULL ? format : format_chosen(),
								 options);
}

Datum
notify_stats_create_rollup(PG_FUNCTION_ARGS)
{
	CreateOptions options = {0};
	char	   *name;
	char	   *definition;

	/* updated_at may be null */
	for (int i = 0; i < 7; i++)
	{
		if (PG_ARGISNULL(i) && i != 5)
			PG_RETURN_NULL();
	}
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	definition = text_to_cstring(PG_GETARG_TEXT_PP(1));
	options.ignore_deletes = strings_of_array(PG_GETARG_ARRAYTYPE_P(2));
	options.facts = strings_of_array(PG_GETARG_ARRAYTYPE_P(3));
	options.adopt = PG_GETARG_BOOL(4);
	options.updated_at = text_or_null(fcinfo, 5);

	if (PG_GETARG_BOOL(6))
	{
		Oid			relid = find_existing(name, definition, &options);

		if (OidIsValid(relid))
			PG_RETURN_OID(relid);
	}
	PG_RETURN_OID(from_query_create(name, definition, check_server(),
									&options));
}

static void
put_finding(ReturnSetInfo *rsinfo, const char *part, const char *verdict,
			const char *reason, const char *advice)
{
	const char *texts[4] = {part, verdict, reason, advice};
	Datum		values[4];
	bool		nulls[4];

	for (int i = 0; i < 4; i++)
	{
		nulls[i] = texts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(texts[i]);
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Reports the columns that the replica identity of each source must contain. */
static void
put_identities(ReturnSetInfo *rsinfo, const Core *core)
{
	const Definition *definition = definition_compile(core->query);
	ListCell   *lc;

	foreach(lc, definition->sources)
	{
		Oid			source = lfirst_oid(lc);
		const Bitmapset *columns = definition_source_columns(definition,
															 source);
		List	   *gaps = source_identity_gaps(source, columns, true);

		put_finding(rsinfo, psprintf("replica identity of %s",
									 qualified_name(source)),
					gaps == NIL ? "sufficient" : "missing",
					psprintf("It must contain %s.",
							 source_column_names(source, columns)),
					gaps == NIL ? NULL : ((const IdentityGap *) linitial(gaps))->hint);
	}
}

static void
put_cores(ReturnSetInfo *rsinfo, const Split *split)
{
	ListCell   *lc;

	foreach(lc, split->cores)
	{
		const Core *core = (const Core *) lfirst(lc);
		CoreSize	size = estimate_core(core->query);

		put_finding(rsinfo, psprintf("table %s", quote_identifier(split->plain ? "rollup" :
																  core->name)),
					FINDING_KEPT, core->text,
					psprintf("About %.0f rows for %.0f.", size.groups,
							 size.facts));
	}
	if (!split->plain)
		put_finding(rsinfo, "view rollup", FINDING_COMPUTED,
					split_view_text(split, NIL), NULL);
	foreach(lc, split->cores)
		put_identities(rsinfo, (const Core *) lfirst(lc));
}

/*
 * Shows what create_rollup() would make of a query, and changes nothing.
 */
Datum
notify_stats_explain_rollup(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *definition = text_to_cstring(PG_GETARG_TEXT_PP(0));
	List	   *facts = strings_of_array(PG_GETARG_ARRAYTYPE_P(1));
	Split	   *split = from_query_split("rollup", definition, facts);
	int			guc_nestlevel = NewGUCNestLevel();
	ListCell   *lc;

	xact_use_portable_text();
	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, split->obstacles)
	{
		const Obstacle *obstacle = (const Obstacle *) lfirst(lc);

		put_finding(rsinfo, obstacle->message, FINDING_UNSUPPORTED,
					obstacle->detail, obstacle->hint);
	}
	foreach(lc, split->findings)
	{
		const Finding *finding = (const Finding *) lfirst(lc);

		put_finding(rsinfo, finding->part, finding->verdict, finding->reason,
					finding->advice);
	}
	if (split->obstacles == NIL)
		put_cores(rsinfo, split);
	AtEOXact_GUC(true, guc_nestlevel);
	return (Datum) 0;
}

Datum
notify_stats_adopt_rollup(PG_FUNCTION_ARGS)
{
	CreateOptions options = {0};
	Oid			relid;
	const Format *format;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	relid = PG_GETARG_OID(0);
	options.ignore_deletes = strings_of_array(PG_GETARG_ARRAYTYPE_P(1));
	options.updated_at = text_or_null(fcinfo, 2);
	format = check_server();
	if (computed_is_left(relid))
		computed_adopt(relid, format, options.ignore_deletes);
	else
		rollup_adopt_table(relid, format, &options);
	PG_RETURN_VOID();
}

Datum
notify_stats_alter_rollup(PG_FUNCTION_ARGS)
{
	Oid			relid;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	relid = PG_GETARG_OID(0);
	if (PG_ARGISNULL(1))
	{
		check_primary();
		replacement_detach(relid);
	}
	else
		replacement_begin(relid, text_to_cstring(PG_GETARG_TEXT_PP(1)),
						  check_server(),
						  strings_of_array(PG_GETARG_ARRAYTYPE_P(2)));
	PG_RETURN_VOID();
}

Datum
notify_stats_drop_rollup(PG_FUNCTION_ARGS)
{
	check_primary();
	if (PG_GETARG_BOOL(1))
		release_table(PG_GETARG_OID(0));
	else
		rollup_drop(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

/*
 * Returns the parts of a rollup that are not live; all parts if they all are.
 */
static List *
parts_to_repair(Oid relid)
{
	List	   *parts = core_parts(relid);
	List	   *rollups = rollup_list(NULL);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, parts)
	{
		const Rollup *rollup = rollup_find(rollups, lfirst_oid(lc));

		if (rollup != NULL && rollup->state != ROLLUP_LIVE)
			result = lappend_oid(result, rollup->relid);
	}
	return result == NIL ? parts : result;
}

/* Returns whether a rollup can be resumed from its own position. */
static bool
is_resumable(Oid rollup)
{
	StreamRow	row;

	return stream_load(&row) && wal_window_can_resume(&row, rollup);
}

Datum
notify_stats_rebuild(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	bool		all = PG_GETARG_BOOL(1) || PG_GETARG_BOOL(2);
	ListCell   *lc;

	check_primary();
	shared_require();
	rollup_check_owner(relid);
	foreach(lc, all ? core_parts(relid) : parts_to_repair(relid))
		rollup_request_rebuild(lfirst_oid(lc), PG_GETARG_BOOL(1),
							   PG_GETARG_BOOL(2),
							   is_resumable(lfirst_oid(lc)));
	PG_RETURN_VOID();
}

static void
put_difference(const char *group_key, const char *in_rollup,
			   const char *in_definition, void *arg)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) arg;
	const char *texts[3] = {group_key, in_rollup, in_definition};
	Datum		values[3];
	bool		nulls[3];

	for (int i = 0; i < 3; i++)
	{
		nulls[i] = texts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 :
			DirectFunctionCall1(jsonb_in, CStringGetDatum(texts[i]));
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Reports by a NOTICE what verify() cannot check. */
static void
notice_ignored_deletes(Oid relid)
{
	const Rollup *rollup = rollup_find(rollup_list(NULL), relid);

	if (rollup != NULL && rollup->ignores != NIL)
		ereport(NOTICE,
				(errmsg("rollup %s still counts rows that were deleted from %s",
						core_display_name(relid),
						rollup_ignored_names(rollup)),
				 errdetail("Groups with more rows than in the definition cannot be checked.")));
}

Datum
notify_stats_verify(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	const Computed *computed;
	ListCell   *lc;

	check_primary();
	shared_require();
	rollup_check_owner(relid);
	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, core_parts(relid))
	{
		notice_ignored_deletes(lfirst_oid(lc));
		builder_verify(lfirst_oid(lc), put_difference, fcinfo->resultinfo);
	}
	computed = core_find_computed(relid);
	if (computed != NULL)
		view_difference_report(computed, put_difference, fcinfo->resultinfo);
	return (Datum) 0;
}

/*
 * Waiting
 */

/* Interval at which it is checked whether a process that catches up has ended. */
#define SEE_AGAIN_MS 200

/* Returns the milliseconds of an interval, at least 0. */
int64
interval_ms(const Interval *interval)
{
	int64		days = interval->day +
	(int64) interval->month * DAYS_PER_MONTH;

	return Max(0, days * SECS_PER_DAY * 1000 + interval->time / 1000);
}

/*
 * Makes the worker read the WAL before a position immediately, as far as it
 * exists.  Asks for a worker if there is none.
 */
static void
hasten(SharedStream *stream, XLogRecPtr target)
{
	if (!shared_has_worker())
		shared_launcher_request(MyDatabaseId);
	/* WAL that is not on disk yet cannot be read */
	if (target > slot_safe_lsn())
		(void) slot_flush_written();
	/* not WAL that does not exist yet: its commit wakes the worker */
	wake_for_lsn(stream, Min(target, slot_written_lsn()));
}

/* Throws in the same way as the server's WAIT FOR LSN. */
static void
complain_of_timeout(XLogRecPtr target, const Unreached *missing)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("timed out while waiting for position " LSN_FORMAT " to be applied",
					LSN_FORMAT_ARGS(target)),
			 OidIsValid(missing->rollup) ?
			 errdetail("Rollup %s has not been %s yet.",
					   core_display_name(missing->rollup),
					   missing->step) :
			 errdetail("The position reached is " LSN_FORMAT ".",
					   LSN_FORMAT_ARGS(missing->reached)),
			 errhint("The view notify_stats.status shows what the worker waits for, and its last error.")));
}

/*
 * The same as rollup_reached for each of these rollups.  NIL stands for all of
 * the database.
 */
static bool
all_reached(List *relids, XLogRecPtr target, XLogRecPtr reached,
			Unreached *missing)
{
	ListCell   *lc;

	if (relids == NIL)
		return rollup_reached(InvalidOid, target, reached, missing);
	foreach(lc, relids)
	{
		if (!rollup_reached(lfirst_oid(lc), target, reached, missing))
			return false;
	}
	return true;
}

/* Warns that nothing will be reached by itself. */
static void
warn_of_pause(void)
{
	StreamRow	row;

	if (stream_load(&row) && row.paused)
		ereport(WARNING,
				(errmsg("notify_stats is paused in this database"),
				 errhint("Run: SELECT notify_stats.resume(); or: CALL notify_stats.catch_up();")));
}

/*
 * Makes the changes before a position be applied as soon as possible: by the
 * worker, or if there is none, perhaps by a process that is started for that.
 * Says what to call if they will not be, and sets *warned if it is because no
 * worker serves this database.  Returns whether to call this again while
 * waiting.
 */
static bool
see_to_it(SharedStream *stream, XLogRecPtr target, CatchUpElsewhere *elsewhere,
		  bool *warned)
{
	bool		again = false;

	hasten(stream, target);
	if (!launcher_serves_database())
		again = catch_up_elsewhere(elsewhere);
	if (!again && elsewhere->handle == NULL)
	{
		*warned = launcher_report_missing(WARNING);
		warn_of_pause();
	}
	return again;
}

/*
 * Waits until every transaction before a position is in the rollups, and none
 * of these rollups (NIL: none at all) is being built.  Sleeps on a condition
 * variable that each cycle and each build broadcasts at its end.
 */
bool
wait_until_applied(XLogRecPtr target, List *relids, TimestampTz start,
				   int64 timeout, bool no_throw)
{
	SharedStream *stream = shared_stream();
	bool		warned = false;
	CatchUpElsewhere elsewhere = {0};
	bool		see_again = timeout > 0;
	bool		reached;
	Unreached	missing;

	ConditionVariablePrepareToSleep(&shared_state->reached_cv);
	for (;;)
	{
		int64		left;

		reached = all_reached(relids, target,
							  pg_atomic_read_u64(&stream->reached_lsn),
							  &missing);
		if (see_again && !reached)
			see_again = see_to_it(stream, target, &elsewhere,
								  &warned);
		/* that all processes are in use may turn out during the wait */
		else if (!warned && !reached && timeout > 0)
			warned = launcher_report_missing(WARNING);
		left = timeout - (GetCurrentTimestamp() - start) / 1000;
		if (reached || left <= 0)
			break;

		/*
		 * A query that had to wait may have reset the latch after a broadcast
		 * had set it.
		 */
		SetLatch(MyLatch);
		(void) ConditionVariableTimedSleep(&shared_state->reached_cv,
										   Min(left, see_again ? SEE_AGAIN_MS : PG_INT32_MAX),
										   PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	if (!reached && !no_throw)
		complain_of_timeout(target, &missing);
	return reached;
}

/* Returns an argument that is a timeout, in ms; null is no limit. */
int64
timeout_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? PG_INT64_MAX / 2 :
		interval_ms(PG_GETARG_INTERVAL_P(n));
}

Datum
notify_stats_wait_for_lsn(PG_FUNCTION_ARGS)
{
	TimestampTz start = GetCurrentTimestamp();
	int64		timeout = timeout_argument(fcinfo, 1);
	bool		no_throw = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3);
	List	   *relids = NIL;
	XLogRecPtr	target;

	check_primary();
	if (!PG_ARGISNULL(2))
		relids = core_parts(PG_GETARG_OID(2));
	target = PG_ARGISNULL(0) ?
		slot_written_lsn() : slot_normalize_lsn(PG_GETARG_LSN(0));
	PG_RETURN_BOOL(wait_until_applied(target, relids, start, timeout,
									  no_throw));
}

/* Catching up in the session itself */

/* Runs the body of a procedure that has its own transactions. */
static void
run_procedure(FunctionCallInfo fcinfo, const char *name, void (*body) (void))
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("%s() cannot run inside a transaction block or a function", name),
				 errdetail("It runs its own transactions."),
				 errhint("Run CALL notify_stats.%s() as a separate statement.",
						 name)));
	check_primary();
	shared_require();

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	usage_start();
	PG_TRY();
	{
		SPI_commit();
		xact_in_procedure(true);
		cycle_forget();
		body();
	}
	PG_FINALLY();
	{
		xact_in_procedure(false);
		slot_forget();
		cycle_forget();
		usage_count();
	}
	PG_END_TRY();
	SPI_finish();
}

Datum
notify_stats_catch_up(PG_FUNCTION_ARGS)
{
	run_procedure(fcinfo, "catch_up", catch_up);
	PG_RETURN_VOID();
}

Datum
notify_stats_recreate_slot(PG_FUNCTION_ARGS)
{
	check_primary();
	shared_require();
	slot_check_plugin(format_chosen()->plugin);
	rollup_allow_give_up_all(PG_GETARG_BOOL(0));
	stream_request_slot();
	PG_RETURN_VOID();
}

static void
prepare_upgrade(void)
{
	upgrade_cancel();
	catch_up();
	upgrade_prepare();
}

Datum
notify_stats_prepare_upgrade(PG_FUNCTION_ARGS)
{
	run_procedure(fcinfo, "prepare_upgrade", prepare_upgrade);
	PG_RETURN_VOID();
}

/*
 * Monitoring
 */

static const char *
stream_state_name(StreamState state)
{
	switch (state)
	{
		case STREAM_OFF:
			return "off";
		case STREAM_STARTING:
			return "starting";
		case STREAM_NO_ROLLUPS:
			return "no rollups";
		case STREAM_CREATING_SLOT:
			return "creating slot";
		case STREAM_RUNNING:
			return "running";
	}
	return "unknown";
}

static const char *
build_phase_name(BuildPhase phase)
{
	switch (phase)
	{
		case BUILD_STARTING:
			return "starting";
		case BUILD_WAITING_FOR_TRANSACTIONS:
			return "waiting for transactions";
		case BUILD_READING_SOURCES:
			return "reading sources";
		case BUILD_RESUMING:
			return "resuming";
		case BUILD_CATCHING_UP:
			return "catching up";
		case BUILD_JOINING:
			return "joining";
	}
	return "unknown";
}

static const char *
window_phase_name(WindowPhase phase)
{
	switch (phase)
	{
		case WINDOW_READING:
			return "reading";
		case WINDOW_WAITING:
			return "waiting for its turn";
		case WINDOW_APPLYING:
			return "applying";
	}
	return "unknown";
}

/*
 * Returns the last error, with the rollup that it concerns.  Returns NULL if
 * that rollup no longer exists.
 */
static const char *
last_error(const SharedStream *stream)
{
	if (stream->last_error.at == 0)
		return NULL;
	if (!OidIsValid(stream->last_error.rollup))
		return stream->last_error.message;
	if (get_rel_name(stream->last_error.rollup) == NULL)
		return NULL;
	return psprintf("rollup %s: %s",
					core_display_name(stream->last_error.rollup),
					stream->last_error.message);
}

static Datum
timestamp_or_null(TimestampTz timestamp, bool *isnull)
{
	*isnull = timestamp == 0;
	return TimestampTzGetDatum(timestamp);
}

static Datum
lsn_or_null(XLogRecPtr lsn, bool *isnull)
{
	*isnull = XLogRecPtrIsInvalid(lsn);
	return LSNGetDatum(lsn);
}

/* The columns of stream_activity(). */
enum
{
	ACTIVITY_PRELOADED,
	ACTIVITY_REGISTERED,
	ACTIVITY_STATE,
	ACTIVITY_PID,
	ACTIVITY_REACHED_LSN,
	ACTIVITY_REACHED_AT,
	ACTIVITY_RATE,
	ACTIVITY_LAST_ERROR,
	ACTIVITY_LAST_ERROR_AT,
	ACTIVITY_WAITS_FOR,
	ACTIVITY_BACKLOG_RATE,
	ACTIVITY_SLOT_USER,
	ACTIVITY_LISTED,
	ACTIVITY_CHANGES,
	ACTIVITY_TRANSACTIONS,
	ACTIVITY_CYCLES,
	ACTIVITY_ERRORS,
	ACTIVITY_WAL_BYTES,
	ACTIVITY_CPU_SECONDS,
	ACTIVITY_SINCE,
	ACTIVITY_COLUMNS
};

static void
fill_totals(const SharedTotals *totals, Datum *values, bool *nulls)
{
	values[ACTIVITY_CHANGES] = UInt64GetDatum(totals->changes);
	values[ACTIVITY_TRANSACTIONS] = UInt64GetDatum(totals->transactions);
	values[ACTIVITY_CYCLES] = UInt64GetDatum(totals->cycles);
	values[ACTIVITY_ERRORS] = UInt64GetDatum(totals->errors);
	values[ACTIVITY_WAL_BYTES] = UInt64GetDatum(totals->wal_bytes);
	values[ACTIVITY_CPU_SECONDS] =
		Float8GetDatum(totals->cpu_time / 1000000.0);
	values[ACTIVITY_SINCE] = TimestampTzGetDatum(totals->since);
	for (int i = ACTIVITY_CHANGES; i <= ACTIVITY_SINCE; i++)
		nulls[i] = false;
}

/* Fills in the columns that come from the stream's shared memory. */
static void
fill_activity(Datum *values, bool *nulls)
{
	SharedStream *stream = shared_stream();
	const char *error;
	SharedStream copy;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	copy = *stream;
	LWLockRelease(shared_state->lock);

	values[ACTIVITY_STATE] =
		CStringGetTextDatum(stream_state_name(copy.state));
	nulls[ACTIVITY_STATE] = false;
	values[ACTIVITY_PID] = Int32GetDatum(copy.pid);
	nulls[ACTIVITY_PID] = copy.pid == 0;
	values[ACTIVITY_REACHED_LSN] =
		lsn_or_null(pg_atomic_read_u64(&copy.reached_lsn),
					&nulls[ACTIVITY_REACHED_LSN]);
	values[ACTIVITY_REACHED_AT] = timestamp_or_null(copy.reached_at,
													&nulls[ACTIVITY_REACHED_AT]);
	/* a rate that was measured long ago does not count */
	values[ACTIVITY_RATE] =
		Float8GetDatum(TimestampDifferenceExceeds(copy.rate.window_start,
												  GetCurrentTimestamp(),
												  5000) ?
					   0 : copy.rate.changes_per_second);
	nulls[ACTIVITY_RATE] = false;
	error = last_error(&copy);
	if (error != NULL)
	{
		values[ACTIVITY_LAST_ERROR] = CStringGetTextDatum(error);
		values[ACTIVITY_LAST_ERROR_AT] = timestamp_or_null(copy.last_error.at,
														   &nulls[ACTIVITY_LAST_ERROR_AT]);
		nulls[ACTIVITY_LAST_ERROR] = false;
	}
	values[ACTIVITY_WAITS_FOR] = ObjectIdGetDatum(copy.waits_for);
	nulls[ACTIVITY_WAITS_FOR] = !OidIsValid(copy.waits_for);
	/* the speed of an earlier backlog does not apply to this one */
	values[ACTIVITY_BACKLOG_RATE] =
		Float8GetDatum(copy.backlog.bytes_per_second);
	nulls[ACTIVITY_BACKLOG_RATE] = copy.backlog.at == 0 ||
		TimestampDifferenceExceeds(copy.backlog.at, GetCurrentTimestamp(),
								   60000);
	values[ACTIVITY_SLOT_USER] = Int32GetDatum(copy.slot_user);
	nulls[ACTIVITY_SLOT_USER] = copy.slot_user == 0;
	fill_totals(&copy.totals, values, nulls);
}

Datum
notify_stats_stream_activity(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[ACTIVITY_COLUMNS] = {0};
	bool		nulls[ACTIVITY_COLUMNS];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	memset(nulls, true, sizeof(nulls));
	values[ACTIVITY_PRELOADED] = BoolGetDatum(shared_state != NULL);
	values[ACTIVITY_REGISTERED] =
		BoolGetDatum(launcher_serves_database());
	values[ACTIVITY_LISTED] =
		BoolGetDatum(settings_include_database(get_database_name(MyDatabaseId)));
	nulls[ACTIVITY_PRELOADED] = nulls[ACTIVITY_REGISTERED] =
		nulls[ACTIVITY_LISTED] = false;
	/* the text of an error may reveal a value */
	if (shared_state != NULL &&
		has_privs_of_role(GetUserId(), ROLE_PG_MONITOR))
		fill_activity(values, nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

Datum
notify_stats_build_activity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (shared_state == NULL)
		return (Datum) 0;

	for (int i = 0; i < SHARED_BUILDS; i++)
	{
		Datum		values[8];
		bool		nulls[8] = {false};
		SharedBuild copy;

		LWLockAcquire(shared_state->lock, LW_SHARED);
		copy = shared_state->builds[i];
		LWLockRelease(shared_state->lock);
		if (copy.pid == 0 || copy.database != MyDatabaseId ||
			!rollup_is_visible(copy.rollup))
			continue;

		values[0] = ObjectIdGetDatum(copy.rollup);
		values[1] = Int32GetDatum(copy.pid);
		values[2] = BoolGetDatum(copy.verifying);
		values[3] = NameGetDatum(&copy.slot_name);
		nulls[3] = NameStr(copy.slot_name)[0] == '\0';
		values[4] = CStringGetTextDatum(build_phase_name(copy.phase));
		values[5] = TransactionIdGetDatum(copy.waits_for);
		nulls[5] = !TransactionIdIsValid(copy.waits_for);
		values[6] = lsn_or_null(copy.reached_lsn, &nulls[6]);
		values[7] = timestamp_or_null(copy.started_at, &nulls[7]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/* Adds the row of a process; NULL: it has no window now. */
static void
put_window(ReturnSetInfo *rsinfo, int pid, bool is_leader,
		   const SharedWindow *window)
{
	XLogRecPtr	none = InvalidXLogRecPtr;
	Datum		values[6];
	bool		nulls[6] = {false};

	values[0] = Int32GetDatum(pid);
	values[1] = BoolGetDatum(is_leader);
	values[2] = CStringGetTextDatum(window == NULL ? "between windows" :
									window_phase_name(window->phase));
	values[3] = lsn_or_null(window ? window->start : none, &nulls[3]);
	values[4] = lsn_or_null(window ? window->end : none, &nulls[4]);
	values[5] = lsn_or_null(window ? window->read_lsn : none, &nulls[5]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
notify_stats_catch_up_activity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SharedStream *stream = shared_stream_if_any();
	SharedCatchUp copy;
	bool		leader_has_window = false;

	InitMaterializedSRF(fcinfo, 0);
	if (stream == NULL || !has_privs_of_role(GetUserId(), ROLE_PG_MONITOR))
		return (Datum) 0;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	copy = stream->catch_up;
	LWLockRelease(shared_state->lock);
	for (int i = 0; i < MAX_CATCH_UP_WORKERS; i++)
	{
		const SharedWindow *window = &copy.windows[i];
		bool		is_leader = window->pid == copy.leader;

		if (window->pid == 0)
			continue;
		put_window(rsinfo, window->pid, is_leader, window);
		leader_has_window |= is_leader;
	}
	if (copy.leader != 0 && !leader_has_window)
		put_window(rsinfo, copy.leader, true, NULL);
	return (Datum) 0;
}

/* Returns whether no rollup before this one reads the same table. */
static bool
is_first_of_table(const RollupSource *source, List *sources)
{
	ListCell   *lc;

	foreach(lc, sources)
	{
		if (((const RollupSource *) lfirst(lc))->source == source->source)
			return lfirst(lc) == source;
	}
	return false;
}

/* Returns the columns of a table that any rollup reads. */
static Bitmapset *
columns_in_use(Oid table, List *sources)
{
	Bitmapset  *columns = NULL;
	ListCell   *lc;

	foreach(lc, sources)
	{
		const RollupSource *source = (const RollupSource *) lfirst(lc);

		if (source->source == table)
			columns = bms_add_members(columns, source->columns);
	}
	return columns;
}

/*
 * Lists the problems of the replica identities of a source.  Returns NIL if
 * the source is locked, or was dropped concurrently.  Statements that the
 * server refuses because of replica identities are listed with the first
 * rollup only, as they are the same for all.
 */
static List *
gaps_of_source(const RollupSource *source, List *sources, bool by_us)
{
	List	   *gaps;
	BusyLock	busy;

	if (!ConditionalLockRelationOid(source->source, AccessShareLock) ||
		get_rel_name(source->source) == NULL ||
		!shape_lock_sources(list_make1_oid(source->source), &busy))
		return NIL;
	gaps = source_identity_gaps(source->source, source->columns, by_us);
	if (!is_first_of_table(source, sources))
		return gaps;
	return list_concat(gaps, source_refusals(source->source,
											 columns_in_use(source->source,
															sources), false));
}

/* Returns whether we publish the sources, or will publish them. */
static bool
publishes_sources(void)
{
	StreamRow	row;

	return (stream_load(&row) && row.has_slot ?
			row.format : format_chosen()) == &format_pgoutput;
}

static void
put_gap(ReturnSetInfo *rsinfo, Oid rollup, const IdentityGap *gap)
{
	Datum		values[5] = {0};
	bool		nulls[5] = {false};

	values[0] = ObjectIdGetDatum(rollup);
	values[1] = ObjectIdGetDatum(gap->relid);
	nulls[2] = gap->missing == NULL;
	if (!nulls[2])
		values[2] = CStringGetTextDatum(gap->missing);
	nulls[3] = gap->refusal == NULL;
	if (!nulls[3])
		values[3] = CStringGetTextDatum(gap->refusal);
	values[4] = CStringGetTextDatum(gap->hint);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
notify_stats_source_gaps(PG_FUNCTION_ARGS)
{
	List	   *sources = rollup_known_sources();
	bool		by_us = publishes_sources();
	ListCell   *lc;
	ListCell   *lc2;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, sources)
	{
		const RollupSource *source = (const RollupSource *) lfirst(lc);

		foreach(lc2, gaps_of_source(source, sources, by_us))
			put_gap((ReturnSetInfo *) fcinfo->resultinfo, source->rollup,
					(const IdentityGap *) lfirst(lc2));
	}
	return (Datum) 0;
}
