/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Building, rebuilding and verifying a rollup online.
 *
 * Other sessions are not locked out.  So the definition's result is read with
 * some snapshot S while the sources change.  Changes that are not visible to S
 * are then added from a slot.  The steps are:
 *
 *	1. Copy the main slot, and move the copy to the end of the WAL: a build
 *	   stream at a position F.
 *	2. Barrier: wait until every transaction of this database that has an xid
 *	   by now has ended.
 *	   A commit that is in the WAL before F may still be invisible to
 *	   snapshots, for example while it waits for a synchronous standby.
 *	   Without the barrier it would be neither in the stream nor in S.
 *	3. Run the definition with S, into a temporary table.
 *	4. Read the build stream into that table until little is left.  Skip the
 *	   transactions that are visible to S.
 *	5. Join, in one transaction that has locked the main stream: read both
 *	   streams up to the same position.  Then the temporary table has the
 *	   definition's result at that position, and the rollup has the result of
 *	   the main stream.  Correct, or report, the differences.
 *
 * Except in step 5, other processes continue to maintain the main stream.  A
 * build uses only temporary objects of one process.  So a crash leaves
 * nothing, and the build starts again.
 *
 * A rollup that was left behind at a position of its own (position.c) is
 * resumed if the WAL since then can still be read (wal_window.c): the build
 * stream begins there, steps 2 and 3 are left out, and steps 4 and 5 apply the
 * changes to the rollup itself.  Its position is committed with them, so it is
 * resumed from there after a crash.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "apply.h"
#include "build.h"
#include "busy_lock.h"
#include "compat.h"
#include "core.h"
#include "cycle.h"
#include "difference.h"
#include "facts.h"
#include "group_key.h"
#include "main_slot.h"
#include "main_stream.h"
#include "pass.h"
#include "settings.h"
#include "notification.h"
#include "own_table.h"
#include "position.h"
#include "publication.h"
#include "request.h"
#include "shape.h"
#include "shared.h"
#include "slot.h"
#include "stream.h"
#include "temporary_table.h"
#include "time_limit.h"
#include "trouble.h"
#include "usage.h"
#include "wal_window.h"
#include "xact.h"

/*
 * The join may begin when less WAL than NEAR_ENOUGH is left, or after
 * MAX_PASSES passes.
 */
#define NEAR_ENOUGH (1024 * 1024)
#define MAX_PASSES 100

/* Minimum time between checks of how much WAL the slots of builds retain. */
#define WATCH_INTERVAL_MS 1000

typedef struct Build
{
	Oid			relid;
	bool		verifying;
	bool		manual;			/* works on a paused stream as well */
	int64		request;		/* the last request for a rebuild that is
								 * served */
	bool		resuming;		/* instead of building it */
	bool		joining;
	bool		in_vain;		/* must end, as the rollup was dropped or
								 * changed */
	SharedBuild *shared;
	MemoryContext pass_context; /* reset after each transaction */

	List	   *sources;		/* OIDs of the tables the definition reads */
	int64		fingerprint;	/* of the definition that is run; 0: not yet
								 * known */
	bool		filled;			/* it was run, into the temporary table */
	Oid			owner;			/* role that it was run as */
	char	   *columns;		/* names of the rollup's columns then */
	const Format *format;
	List	   *facts;			/* of the sources, if the format needs any */
	const char *name;			/* of the rollup, for messages; NULL: not yet
								 * known */
	TimestampTz locked_out_since;	/* since when it has found locks that were
									 * not free; 0: it has not */
	NameData	slot_name;		/* the copy of the main slot; empty: not yet
								 * created */
	XLogRecPtr	position;		/* of the build stream */
	VisibleXids visible;		/* to the snapshot that the definition used */
	XLogRecPtr	snapshot_lsn;	/* all visible commits are before it */

	Differences *differences;	/* result of verify() */
} Build;

/* What the build has used until now is counted. */
static void
enter_phase(Build *build, BuildPhase phase)
{
	shared_build_phase(build->shared, phase);
	usage_count();
}

/* Switches to the context that lives as long as the build. */
static MemoryContext
enter_build_context(Build *build)
{
	return MemoryContextSwitchTo(GetMemoryChunkContext(build));
}

/*
 * Attributes errors from here on to the rollup, unless it is only verified.
 * An error of verify() is reported to its caller, and the state of the rollup
 * does not change.
 */
static void
begin_own_work(const Build *build)
{
	if (!build->verifying)
		trouble_begin(build->relid);
}

/*
 * Returns whether the format can decode the changes of the sources since the
 * last check.  The facts for the first check were collected when the slot was
 * copied.
 */
static bool
facts_hold(Build *build, Rollup *rollup)
{
	MemoryContext context;
	List	   *now;
	bool		hold = true;
	ListCell   *lc;

	if (build->facts == NIL)
		return true;
	context = enter_build_context(build);
	now = facts_collect_versions(build->format,
								 list_make1(rollup->shape->definition));
	foreach(lc, build->sources)
		hold &= facts_break(build->format, build->facts, now,
							rollup->shape->definition, lfirst_oid(lc),
							rollup_ignores_deletes(rollup, lfirst_oid(lc))) ==
		NULL &&
		!facts_bring_rows(build->facts, now, lfirst_oid(lc), false);
	build->facts = now;
	MemoryContextSwitchTo(context);
	return hold;
}

/* Returns whether the rollup still matches the temporary table. */
static bool
is_unchanged(const Build *build, const Rollup *rollup)
{
	return build->fingerprint == 0 ||
		(build->fingerprint == rollup->shape->fingerprint &&
		 build->owner == rollup->shape->owner &&
		 strcmp(build->columns, shape_columns(rollup->shape)) == 0);
}

/*
 * Takes the locks without which facts might change before the end of the
 * transaction, if they are free.  Always does so at the join: changes of
 * partitions are recorded by the event trigger only after the join.  Does not
 * do so while the definition is run, as that would delay the main stream.
 */
static bool
lock_facts(const Build *build, Rollup *rollup, BusyLock *busy)
{
	if (!build->joining && !(build->filled && build->format->by_name))
		return true;
	return shape_lock_facts(rollup->shape, build->format->by_name, busy);
}

/*
 * At the join, locks the indexes of the rollup's table, if they may need to be
 * rebuilt and the locks are free.
 */
static bool
lock_indexes(const Build *build, const Rollup *rollup, BusyLock *busy)
{
	return !build->joining || build->verifying ||
		!shape_order_may_change(rollup->shape) ||
		shape_lock_indexes(rollup->shape, busy);
}

/*
 * Returns whether the build has no slot yet.  So it does not yet hold a slot
 * that others may need, and retains no WAL.
 */
static bool
is_starting(const Build *build)
{
	return NameStr(build->slot_name)[0] == '\0';
}

/*
 * Locks the table of the rollup against writers, if that lock is free.  Then
 * no row of it is locked by others when it is written at the join, where all
 * other rollups would wait too.  To avoid finding a locked row only
 * after a long build, also does so at the start, if no cycle writes the
 * rollup.
 */
static bool
lock_rows(const Build *build, const Rollup *rollup, BusyLock *busy)
{
	bool		due = build->joining || (is_starting(build) &&
										 rollup->state != ROLLUP_LIVE);

	return build->verifying || !due || rollup_lock_rows(rollup, busy);
}

/*
 * Opens and returns the rollup.  Returns NULL if a lock was not free, with the
 * lock in *busy.  Also returns NULL if the rollup was dropped, or changed so
 * that the build is in vain; for a verification that is an error.
 */
static Rollup *
load_rollup(Build *build, List *rollups, BusyLock *busy)
{
	Rollup	   *rollup = rollup_find(rollups, build->relid);
	ShapeAccess access = SHAPE_GONE;

	if (rollup != NULL)
	{
		if (build->name == NULL)
			build->name = MemoryContextStrdup(GetMemoryChunkContext(build),
											  rollup_qualified_name(build->relid));
		if (!build->verifying && build->sources == NIL)
		{
			/* on the first call: later requests are for a later build */
			build->request = rollup->request;
			trouble_set_request(build->request);
			trouble_set_catalog(rollup_catalog_state(build->relid, NULL));
		}
		begin_own_work(build);
		access = rollup_open(rollup, busy);
		trouble_end();
		if (access == SHAPE_READY &&
			!(lock_facts(build, rollup, busy) &&
			  lock_rows(build, rollup, busy) &&
			  lock_indexes(build, rollup, busy)))
			access = SHAPE_BUSY;
	}
	build->in_vain = access == SHAPE_GONE ||
		(access == SHAPE_READY &&
		 !(rollup->shape->obstacle == NULL && is_unchanged(build, rollup) &&
		   facts_hold(build, rollup)));
	if (build->in_vain && build->verifying)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 build->name != NULL ?
				 errmsg("rollup %s was concurrently dropped or changed",
						build->name) :
				 errmsg("rollup with OID %u was concurrently dropped or changed",
						build->relid),
				 errhint("If it has been altered, call notify_stats.verify() again.")));
	return access == SHAPE_READY && !build->in_vain ? rollup : NULL;
}

/*
 * Waits for a lock.  Returns false if a build that has no slot yet has waited
 * for lock_timeout, so that other rollups can be built.
 */
static bool
wait_for_lock(Build *build, BusyLock busy, const char *locked)
{
	bool		may_end = !build->verifying && is_starting(build) &&
	notify_stats_lock_timeout > 0;

	if (build->locked_out_since == 0)
		build->locked_out_since = GetCurrentTimestamp();
	if (may_end)
		busy.until = TimestampTzPlusMilliseconds(build->locked_out_since,
												 notify_stats_lock_timeout);
	if (busy_lock_wait(busy) || !may_end)
		return true;
	ereport(LOG,
			(errmsg("could not start to build rollup %s: %s is locked",
					build->name, locked),
			 errdetail("The build will be retried.")));
	shared_stream()->locked_out_build = build->relid;
	return false;
}

/*
 * Ends a transaction in which load_rollup returned NULL.  If a lock was not
 * free, waits for it.  Returns false if the build must end.
 */
static bool
may_try_again(Build *build, BusyLock busy)
{
	char	   *locked;
	bool		again;

	if (build->in_vain)
	{
		xact_commit();
		return false;
	}
	/* the memory of the transaction is freed by the commit */
	locked = MemoryContextStrdup(GetMemoryChunkContext(build),
								 busy_lock_name(busy));
	xact_commit();
	again = wait_for_lock(build, busy, locked);
	pfree(locked);
	return again;
}

/*
 * Starts a transaction and opens the rollup.  Returns NULL, without a
 * transaction, if the build must end.
 */
static Rollup *
begin_on_rollup(Build *build)
{
	Rollup	   *rollup;
	BusyLock	busy;

	do
	{
		xact_begin();
		rollup = load_rollup(build, rollup_list(NULL), &busy);
	} while (rollup == NULL && may_try_again(build, busy));
	build->locked_out_since = 0;
	return rollup;
}

/*
 * The limit of the WAL that a slot may retain
 *
 * Only WAL that was written since the build began counts.  Earlier WAL was
 * already retained by the main slot.
 */

static bool
retains_much(const SharedBuild *shared)
{
	SlotInfo	slot;
	XLogRecPtr	since;

	if (notify_stats_max_build_wal == 0 ||
		!slot_lookup(NameStr(shared->slot_name), &slot))
		return false;
	since = Max(slot.restart_lsn, shared->start_lsn);
	return slot_safe_lsn() > since &&
		slot_safe_lsn() - since >
		(uint64) notify_stats_max_build_wal * 1024 * 1024;
}

#define RETAINS_MUCH "the replication slot of a build or verification retains more than %d MB of WAL"
#define RETAINS_MUCH_HINT "Check waits_for in the view notify_stats.status, or raise notify_stats.max_build_wal."

/* Throws if the build's slot retains more WAL than the limit. */
static void
check_retained(const Build *build)
{
	if (retains_much(build->shared))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg(RETAINS_MUCH, notify_stats_max_build_wal),
				 errhint(RETAINS_MUCH_HINT)));
}

/*
 * Replaces the message of the error in a build that was terminated because of
 * this limit.  The SQLSTATE remains that of a cancellation, which few
 * exception handlers in code of users catch.  If a handler caught it and
 * continued, the build would store a wrong result.
 */
static void
retained_error_callback(void *arg)
{
	const Build *build = (const Build *) arg;

	if (!build->shared->retains_much ||
		(geterrcode() != ERRCODE_QUERY_CANCELED &&
		 geterrcode() != ERRCODE_ADMIN_SHUTDOWN))
		return;
	errmsg(RETAINS_MUCH, notify_stats_max_build_wal);
	errhint(RETAINS_MUCH_HINT);
}

static void
build_error_callback(void *arg)
{
	const Build *build = (const Build *) arg;

	if (build->name != NULL)
		errcontext("%s rollup %s", build->verifying ? "verifying" :
				   build->resuming ? "resuming" : "building", build->name);
	retained_error_callback(arg);
}

/*
 * Terminates builds and verifications whose slot retains more WAL than
 * notify_stats.max_build_wal.  Called by the worker; checks at most once per
 * second.  The processes may be stuck in code of a user, so they cannot always
 * check that themselves.
 */
void
build_watch_retained(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(last, now, WATCH_INTERVAL_MS))
		return;
	last = now;
	shared_builds_end_if(retains_much,
						 psprintf(RETAINS_MUCH, notify_stats_max_build_wal));
}

/*
 * Step 1: the build stream
 */

/*
 * Throws unless this number of slots is free.  A verification must leave one
 * free slot, so that it never prevents a build or a stream.
 */
static void
check_free_slots(int needed)
{
	if (slot_count_free() < needed)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("not enough free replication slots to verify a rollup"),
				 errdetail("A verification uses one slot, and must leave one slot for a build."),
				 errhint("Try again later, drop unused slots, or raise max_replication_slots and restart the server.")));
}

/* Throws unless the rollup is live and the stream is not paused. */
static void
check_verifiable(const Rollup *rollup, const StreamRow *row)
{
	static const char *const names[] = {
		"being built", "live", "stale", "failed"
	};

	if (row->paused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot verify a rollup while the stream is paused"),
				 errhint("Run: SELECT notify_stats.resume();")));
	if (rollup->state != ROLLUP_LIVE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot verify rollup %s: it is %s",
						core_display_name(rollup->relid),
						names[rollup->state]),
				 errhint("The view notify_stats.rollups shows the progress or the reason.")));
}

static void
advance_build_slot(Build *build)
{
	xact_begin();
	slot_advance(NameStr(build->slot_name), build->position);
	xact_commit();
}

/* Throws if the format cannot decode the changes of a source. */
static void
check_sources(const Build *build, const Rollup *rollup, const Format *format)
{
	ListCell   *lc;

	begin_own_work(build);
	foreach(lc, rollup->shape->definition->sources)
		format_check_source(format, rollup->shape->definition, lfirst_oid(lc));
	trouble_end();
}

/*
 * Adds the sources to the publication, so that pgoutput decodes their changes
 * from here on.  Also deletes older requests for a rebuild, so that only the
 * last one is left.  Does this in a transaction of its own.  Returns false if
 * the build must end.
 */
static bool
publish_sources(Build *build)
{
	Rollup	   *rollup;
	BusyLock	busy;
	StreamRow	row;

	do
	{
		xact_begin();
		rollup = load_rollup(build, rollup_list(NULL), &busy);
		if (rollup != NULL && !build->verifying && stream_load(&row) &&
			row.has_slot && row.format == &format_pgoutput)
		{
			check_sources(build, rollup, row.format);
			(void) publication_ensure();
			if (!publication_add(rollup->shape->definition->sources, &busy))
				rollup = NULL;
		}
	} while (rollup == NULL && may_try_again(build, busy));
	if (rollup == NULL)
		return false;
	if (!build->verifying && build->request > 0)
		request_forget_before(build->relid, build->request);
	xact_commit();
	return true;
}

/*
 * Moves the copy of the slot to the end of the WAL.  All commits before that
 * position will be visible to the snapshot, because the barrier comes later.
 */
static void
skip_past(Build *build)
{
	build->position = slot_flush_written();
	advance_build_slot(build);
	shared_build_reached(build->shared, build->position);
}

/* Remembers the form of the rollup that the stored result has. */
static void
remember_form(Build *build, const Rollup *rollup)
{
	MemoryContext context = enter_build_context(build);

	build->fingerprint = rollup->shape->fingerprint;
	build->owner = rollup->shape->owner;
	build->columns = shape_columns(rollup->shape);
	MemoryContextSwitchTo(context);
}

/*
 * Returns whether a rollup that is to be built should be resumed instead, if it
 * can be.
 */
static bool
wants_to_resume(const Build *build, const Rollup *rollup)
{
	return !build->verifying && rollup->state != ROLLUP_LIVE &&
		rollup->built_from != 0 && !rollup->from_scratch;
}

/*
 * Finds the place where to begin to resume a rollup from its position.
 * Returns why there is none, or NULL.
 */
static const char *
find_resume_point(const Rollup *rollup, const StreamRow *row,
				  XLogRecPtr *position, StartPoint *point)
{
	const char *reason;

	if (rollup->built_from != rollup->shape->fingerprint)
		return "the definition was replaced";
	*position = position_of(rollup->relid);
	if (XLogRecPtrIsInvalid(*position))
		return "its position is not known any more";
	reason = main_stream_reason_facts_differ(row->format, rollup,
											 facts_load(rollup->relid));
	if (reason != NULL)
		return reason;
	return wal_window_find(row, *position, point) ? NULL :
		"the WAL since its position is not retained any more";
}

/*
 * Throws if a rollup that cannot be resumed would forget deleted rows in a
 * build.  As for any error that keeps a rollup from being resumed, it loses its
 * position, so that hints say what is left to do.
 */
static void
check_forgets_nothing(const Rollup *rollup, const char *reason)
{
	if (rollup->ignores == NIL)
		return;
	trouble_set_resuming(true);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rollup %s cannot be resumed: %s",
					rollup->shape->name, reason),
			 errdetail("The rollup still counts rows that were deleted from %s. These rows cannot be counted again.",
					   rollup_ignored_names(rollup)),
			 errhint("To rebuild it anyway, run: %s",
					 rollup_rebuild_statement(rollup->shape->name, true))));
}

/* Makes the build stream begin at the rollup's own position. */
static void
begin_resuming(Build *build, const Rollup *rollup, const StreamRow *row,
			   XLogRecPtr position, const StartPoint *point)
{
	slot_create_at(point, NameStr(build->slot_name), row->format->plugin);
	if (!wal_window_holds(row, point))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the window of applied WAL was moved concurrently")));
	build->position = position;
	build->resuming = true;
	build->filled = true;
	remember_form(build, rollup);
	ereport(LOG,
			(errmsg("notify_stats resumes rollup %s from " LSN_FORMAT,
					rollup->shape->name, LSN_FORMAT_ARGS(position))));
}

/* Makes the slot of the build. */
static void
make_slot(Build *build, const Rollup *rollup, const StreamRow *row)
{
	MemoryContext context = enter_build_context(build);
	bool		resumes = wants_to_resume(build, rollup);
	const char *reason = NULL;
	XLogRecPtr	position;
	StartPoint	point;

	build->sources = list_copy(rollup->shape->definition->sources);
	build->facts = facts_collect_versions(row->format,
										  list_make1(rollup->shape->definition));
	MemoryContextSwitchTo(context);
	build->format = row->format;
	snprintf(NameStr(build->slot_name), NAMEDATALEN, "%s_build_%d",
			 NameStr(row->slot_name), MyProcPid);
	shared_build_set_slot(build->shared, NameStr(build->slot_name));
	if (resumes)
		reason = find_resume_point(rollup, row, &position, &point);
	if (reason != NULL)
		check_forgets_nothing(rollup, reason);
	if (resumes && reason == NULL)
		begin_resuming(build, rollup, row, position, &point);
	else
		build->position = slot_copy(NameStr(row->slot_name),
									NameStr(build->slot_name),
									row->format->plugin, true);
	shared_build_reached(build->shared, build->position);
}

/*
 * Returns whether a build was requested to resume a rollup that has been resumed
 * since.  A rollup that would forget deleted rows is built only if that was
 * requested.
 */
static bool
is_served(const Build *build, const Rollup *rollup)
{
	return !build->verifying && rollup->state == ROLLUP_LIVE &&
		rollup->ignores != NIL && !rollup->from_scratch;
}

/* Makes the slot of the build.  Returns false if there is nothing to build. */
static bool
create_stream(Build *build)
{
	StreamRow	row;
	Rollup	   *rollup = begin_on_rollup(build);
	bool		wanted;

	if (rollup == NULL)
		return false;
	if (is_served(build, rollup))
		request_forget(build->relid, build->request);
	wanted = stream_load(&row) && row.has_slot &&
		(build->verifying || rollup_wants_build(rollup)) &&
		!is_served(build, rollup);
	if (build->verifying)
	{
		check_verifiable(rollup, &row);
		check_free_slots(2);
	}
	else if (wanted)
		check_sources(build, rollup, row.format);
	if (wanted)
		make_slot(build, rollup, &row);
	xact_commit();
	/* other processes may have taken slots at the same time */
	if (build->verifying)
		check_free_slots(1);
	if (wanted && !build->resuming)
		skip_past(build);
	debug_stop("build-copied");
	return wanted;
}

/*
 * Step 2: the barrier
 */

/*
 * Returns whether a transaction belongs to another database.  It may also be a
 * prepared transaction.
 */
static bool
is_elsewhere(TransactionId xid)
{
	Oid			database = InvalidOid;

	LWLockAcquire(ProcArrayLock, LW_SHARED);
	/* allProcCount excludes prepared transactions, which are stored last */
	for (uint32 i = 0; i < ProcGlobal->allProcCount + max_prepared_xacts; i++)
	{
		PGPROC	   *proc = &ProcGlobal->allProcs[i];

		if (TransactionIdEquals(proc->xid, xid))
			database = proc->databaseId;
	}
	LWLockRelease(ProcArrayLock);
	return OidIsValid(database) && database != MyDatabaseId;
}

/*
 * Returns the xid of one transaction of this database that is before "limit"
 * and still running, or an invalid xid if there is none.
 */
static TransactionId
running_before(TransactionId limit)
{
	Snapshot	snapshot = GetLatestSnapshot();
	TransactionId xid;

	for (uint32 i = 0; i < snapshot->xcnt; i++)
		if (TransactionIdPrecedes(snapshot->xip[i], limit) &&
			!is_elsewhere(snapshot->xip[i]))
			return snapshot->xip[i];

	/* xip has no xid that is later than the latest completed one */
	xid = snapshot->xmax;
	while (TransactionIdPrecedes(xid, limit))
	{
		if (TransactionIdIsInProgress(xid) && !is_elsewhere(xid))
			return xid;
		TransactionIdAdvance(xid);
	}
	return InvalidTransactionId;
}

/* Waits until all transactions of this database with an xid have ended. */
static void
wait_for_transactions(Build *build)
{
	TransactionId limit = ReadNextTransactionId();
	TransactionId xid;

	enter_phase(build, BUILD_WAITING_FOR_TRANSACTIONS);
	do
	{
		check_retained(build);
		xact_begin();
		xid = running_before(limit);
		if (TransactionIdIsValid(xid))
		{
			shared_build_waits_for(build->shared, xid);
			/* hold no snapshot while waiting, to not hold back vacuum */
			PopActiveSnapshot();
			XactLockTableWait(xid, NULL, NULL, XLTW_None);
			PushActiveSnapshot(GetLatestSnapshot());
		}
		xact_commit();
	} while (TransactionIdIsValid(xid));
	shared_build_waits_for(build->shared, InvalidTransactionId);
}

/*
 * Step 3: the definition's result
 */

static void
remember_visible(Build *build, Snapshot snapshot)
{
	build->visible.xmin = snapshot->xmin;
	build->visible.xmax = snapshot->xmax;
	build->visible.nrunning = snapshot->xcnt;
	build->visible.running = palloc(sizeof(TransactionId) * (snapshot->xcnt +
															 1));
	/* xip may be NULL if xcnt is 0, and memcpy does not allow NULL */
	if (snapshot->xcnt > 0)
		memcpy(build->visible.running, snapshot->xip,
			   sizeof(TransactionId) * snapshot->xcnt);
}

/*
 * Runs the definition as the owner.  The result is stored in a tuplestore
 * first, because parallel workers are not used for a query that writes.
 */
static Tuplestorestate *
run_definition(const Build *build, const Rollup *rollup, uint64 *nrows)
{
	Tuplestorestate *rows = tuplestore_begin_heap(false, false,
												  maintenance_work_mem);
	DestReceiver *receiver = CreateTuplestoreDestReceiver();
	SPIExecuteOptions options = {0};
	SavedRole	saved;
	int			rc;

	/* if its schema was renamed, the name may now belong to another view */
	SetTuplestoreDestReceiverParams(receiver, rows, CurrentMemoryContext,
									false, rollup->shape->desc,
									"the definition was renamed concurrently");
	options.read_only = true;
	options.must_return_tuples = true;
	options.dest = receiver;

	saved = rollup_begin_as_owner(rollup, !build->verifying);
	rc = SPI_execute_extended(psprintf("SELECT * FROM %s",
									   rollup->shape->view_name), &options);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not read %s: %s", rollup->shape->view_name,
			 SPI_result_code_string(rc));
	rollup_end_as_owner(saved);
	*nrows = SPI_processed;
	receiver->rDestroy(receiver);
	return rows;
}

/*
 * Starts a transaction with the snapshot that the definition will use.  The
 * sources are locked before the snapshot is taken, because a table that is
 * rewritten may look empty to older snapshots.
 */
static void
begin_with_snapshot(Build *build)
{
	Snapshot	snapshot;
	MemoryContext context;
	BusyLock	busy;

	xact_begin_repeatable_read();
	while (!shape_lock_sources(build->sources, &busy))
	{
		xact_commit();
		busy_lock_wait(busy);
		xact_begin_repeatable_read();
	}
	snapshot = GetTransactionSnapshot();
	PushActiveSnapshot(snapshot);
	context = enter_build_context(build);
	remember_visible(build, snapshot);
	MemoryContextSwitchTo(context);
	build->snapshot_lsn = slot_flush_written();
}

/*
 * Creates the temporary table, in a transaction of its own.  So this process
 * has no xid while the definition runs, which may take very long, and barriers
 * of other builds do not wait for it.  The index is created before the rows
 * are inserted, because creating it later would compare them as our own role,
 * not as the owner.  Returns false if the build must end.
 */
static bool
make_fresh_table(Build *build)
{
	Rollup	   *rollup = begin_on_rollup(build);

	if (rollup == NULL)
		return false;
	remember_form(build, rollup);

	SPI_connect();

	/* use the types of the definition; those of the table may be different */
	temporary_table_create(rollup, FRESH_NAME,
						   psprintf("(%s)",
									own_table_columns_of(rollup->shape->desc)));
	xact_execute(psprintf("CREATE UNIQUE INDEX ON " FRESH_TABLE " (%s) NULLS NOT DISTINCT",
						  shape_group_columns(rollup->shape->definition, "")));
	SPI_finish();
	xact_commit();
	return true;
}

/* Runs the definition, and fills the temporary table, both as the owner. */
static void
fill_fresh_table(Build *build, const Rollup *rollup)
{
	Tuplestorestate *rows;
	uint64		nrows;
	SavedRole	saved;

	SPI_connect();
	rows = run_definition(build, rollup, &nrows);
	saved = rollup_begin_as_owner(rollup, !build->verifying);
	apply_query_with_rows(psprintf("INSERT INTO " FRESH_TABLE " SELECT * FROM " APPLY_ROWS
								   " ORDER BY %s",
								   shape_group_columns(rollup->shape->definition, "")),
						  rows, rollup->shape->desc, nrows);
	rollup_end_as_owner(saved);
	tuplestore_end(rows);
	SPI_finish();
}

/*
 * Takes the snapshot and stores the definition's result in the temporary
 * table.  Returns false if the build must end.
 */
static bool
read_sources(Build *build)
{
	Rollup	   *rollup;
	BusyLock	busy;

	enter_phase(build, BUILD_READING_SOURCES);
	if (!make_fresh_table(build))
		return false;
	do
	{
		begin_with_snapshot(build);
		rollup = load_rollup(build, rollup_list(NULL), &busy);
	} while (rollup == NULL && may_try_again(build, busy));
	if (rollup == NULL)
		return false;
	debug_stop("build-snapshot");

	fill_fresh_table(build, rollup);
	xact_commit();
	build->filled = true;
	debug_stop("build-filled");
	return true;
}

/*
 * Step 4: catching up
 */

/*
 * Handles a change that cannot be decoded, so that the build must start again.
 * A rollup that was to be resumed must then be built, which the next cycle
 * records.
 */
static void
complain_of_stale(const Build *build, const Rollup *rollup, const char *reason)
{
	if (build->resuming)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("rollup %s cannot be resumed: %s",
						rollup->shape->name, reason)));
	ereport(build->verifying ? ERROR : LOG,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("a concurrent change to a source of rollup %s cannot be decoded: %s",
					rollup->shape->name, reason),
			 build->verifying ?
			 errhint("Try again.") :
			 errdetail("The build will be restarted.")));
}

/*
 * Returns whether the partitions whose changes were read are among those that
 * the facts of the build have.  A new one may be detached before the facts are
 * collected again, which would then not notice that its rows have gone.  What
 * a resumed rollup has counted can only be undone by an error.
 */
static bool
partitions_are_known(const Build *build, const Rollup *rollup,
					 List *partitions)
{
	if (facts_without(partitions, build->facts) == NIL)
		return true;
	if (build->resuming)
	{
		trouble_set_resuming(false);
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a partition was concurrently added to a source of rollup %s",
						rollup->shape->name)));
	}
	complain_of_stale(build, rollup, "a partition was added");
	return false;
}

/*
 * Reads the build stream, within the current transaction.  Returns false if a
 * change cannot be decoded, so that the build must start again.
 */
static bool
read_build_stream(Build *build, Rollup *rollup, XLogRecPtr *upto)
{
	PassInput	input = {0};
	PassOutput	output;

	input.slot_name = NameStr(build->slot_name);
	input.format = build->format;
	input.rollups = list_make1(rollup);
	input.applied_lsn = build->position;
	input.upto = *upto;
	if (!build->resuming)
	{
		input.visible = &build->visible;
		input.target = FRESH_TABLE;
	}

	/* errors while writing the temporary table of verify() are not noted */
	trouble_ignore(build->verifying);
	trouble_set_resuming(build->resuming);
	output = pass_read(&input);
	trouble_ignore(false);
	*upto = output.reached_lsn;
	if (output.stale != NIL)
	{
		complain_of_stale(build, rollup, (char *) linitial(output.reasons));
		return false;
	}
	if (!partitions_are_known(build, rollup, output.partitions))
		return false;
	trouble_set_resuming(false);
	/* a build only prepares rows */
	if (build->resuming)
		rollup_set_changed(output.changed);
	return true;
}

/*
 * Reads the build stream up to a position.  Returns false if the build must
 * end.
 */
static bool
catch_up_to(Build *build, XLogRecPtr upto)
{
	Rollup	   *rollup;
	bool		sound;

	check_retained(build);
	rollup = begin_on_rollup(build);
	if (rollup == NULL)
		return false;
	sound = read_build_stream(build, rollup, &upto);
	if (build->resuming)
		position_move(build->relid, upto);
	xact_commit();
	if (!sound)
		return false;
	debug_stop("build-moved");
	build->position = upto;
	shared_build_reached(build->shared, upto);
	usage_count();
	advance_build_slot(build);
	MemoryContextReset(build->pass_context);
	return true;
}

/* Returns the position from which each peek reads the build's slot. */
static XLogRecPtr
restart_lsn(const Build *build)
{
	SlotInfo	slot;

	return slot_lookup(NameStr(build->slot_name), &slot) ?
		slot.restart_lsn : build->position;
}

/*
 * Reads the build stream until little is left.  Returns false if the build
 * must end.  While an old transaction is running, each pass, and the join,
 * reads WAL before the position again.  "Little" is less than half of that,
 * because one more pass would then cost more than it saves.
 */
static bool
catch_up(Build *build)
{
	enter_phase(build, build->resuming ? BUILD_RESUMING : BUILD_CATCHING_UP);
	for (int pass = 0; pass < MAX_PASSES; pass++)
	{
		XLogRecPtr	safe = slot_safe_lsn();
		XLogRecPtr	restart = restart_lsn(build);
		XLogRecPtr	upto = pass_window_end(build->position, safe, restart);
		uint64		again = build->position >
		restart ? build->position - restart : 0;

		if (upto == safe && safe - build->position < Max(NEAR_ENOUGH,
														 again / 2))
			break;
		if (upto != safe)
			pass--;				/* a full window is progress */
		if (!catch_up_to(build, upto))
			return false;
		ereport(DEBUG1,
				(errmsg_internal("build stream was read from " LSN_FORMAT " up to " LSN_FORMAT,
								 LSN_FORMAT_ARGS(restart),
								 LSN_FORMAT_ARGS(build->position))));
	}
	return true;
}

/*
 * Step 5: the join
 */

/* Throws unless the main stream has a usable slot and is not paused. */
static void
check_stream(const Build *build, StreamRow *row)
{
	const char *reason;

	if (!row->has_slot)
		reason = "the stream has no slot";
	else if (row->paused && !build->manual)
		reason = "the stream was paused";
	else
		reason = main_slot_loss_reason(row);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not finish the build of a rollup: %s", reason),
				 errdetail("The build will be restarted.")));
}

/*
 * Starts the transaction of the join.  Locks the main stream, opens all its
 * rollups and this one, and starts the time limit.  Returns NULL, without a
 * transaction, if the build must end.
 */
static Rollup *
begin_join(Build *build, StreamRow *row, List **live)
{
	List	   *rollups;
	Rollup	   *rollup;
	BusyLock	busy;

	do
	{
		xact_begin();
		(void) main_stream_lock(row);
		time_limit_start();
		check_stream(build, row);
		rollups = rollup_list(NULL);
		rollup = NULL;
		if (main_stream_open_live(row, rollups, live, &busy))
			rollup = load_rollup(build, rollups, &busy);
		if (rollup == NULL)
			time_limit_stop();
	} while (rollup == NULL && may_try_again(build, busy));
	return rollup;
}

/*
 * Records that a rollup that was resumed has reached the main stream.  It may
 * have got other names since it was left behind.
 */
static void
end_resuming(const Build *build, const Rollup *rollup, XLogRecPtr lsn)
{
	rollup_set_resumed(build->relid);
	(void) position_note_names(list_make1_oid(build->relid),
							   list_make1(group_key_names(rollup->shape)),
							   lsn);
	request_forget(build->relid, build->request);
	ereport(LOG,
			(errmsg("rollup %s has been resumed", build->name)));
}

/*
 * Corrects the rollup's table, or collects the differences for verify(), as of
 * a position.
 */
static void
bring_up_to_date(Build *build, const Rollup *rollup, XLogRecPtr lsn)
{
	int			guc_nestlevel = NewGUCNestLevel();
	bool		was_exact = false;

	trouble_set_request(build->request);
	begin_own_work(build);
	xact_limit_lock_waits(rollup_lock_patience(rollup));
	SPI_connect();
	if (build->verifying)
		build->differences = difference_collect(rollup,
												GetMemoryChunkContext(build));
	else
	{
		rollup_check_name(rollup);
		/* a table that was adopted has rows */
		if (rollup->state == ROLLUP_BUILDING && difference_finds_empty(rollup))
			difference_fill_new_table(rollup);
		else
			was_exact = !difference_replace(rollup) &&
				rollup->state == ROLLUP_LIVE;
	}
	temporary_table_drop(DIFF_NAME);
	temporary_table_drop(FRESH_NAME);
	SPI_finish();
	AtEOXact_GUC(true, guc_nestlevel);
	trouble_end();
	if (!build->verifying)
	{
		rollup_set_built(rollup);
		if (!was_exact)
		{
			position_set_exact_since(rollup->relid, lsn);
			position_set_names(rollup->relid,
							   group_key_names(rollup->shape));
		}
		request_forget(rollup->relid, build->request);
	}
}

/*
 * Lets restart_lsn follow past the transaction of the join, which may be large.
 * Otherwise each process that opens the slot would decode it again.  The record
 * is read, and the slot advanced past it, by the next cycle of any process, for
 * which the position is not closed yet.
 */
static void
move_restart_past_join(void)
{
	(void) slot_log_running_transactions();
	shared_stream()->progress.unclosed = true;
}

/*
 * Enters the phase of the join.  Reads a long backlog of the main stream before
 * the transaction in which others wait.
 */
static void
prepare_join(Build *build)
{
	enter_phase(build, BUILD_JOINING);
	build->joining = true;
	trouble_set_building(build->verifying ? InvalidOid : build->relid, true);
	trouble_set_request(0);		/* errors of the main stream do not belong to
								 * the build */
	for (int pass = 0; pass < MAX_PASSES &&
		 cycle_run(build->manual).more; pass++)
		MemoryContextReset(build->pass_context);
}

/*
 * Reads both streams up to the same position and corrects the differences, or
 * collects them, in one transaction.  The main stream is blocked until that
 * transaction ends.  Returns false if the build must start again, provided
 * that the rollup still needs it.
 */
static bool
join_main_stream(Build *build)
{
	TimestampTz now = GetCurrentTimestamp();
	StreamRow	row;
	List	   *live;
	Rollup	   *rollup;
	PassOutput	output;
	XLogRecPtr	upto;

	prepare_join(build);
	rollup = begin_join(build, &row, &live);
	if (rollup == NULL)
		return false;

	/*
	 * after any position that a reader has seen, even one whose commit is not
	 * on disk yet: from there on, changes alone tell what the rollup has
	 */
	upto = Max(slot_flush_written(), Max(build->snapshot_lsn,
										 row.applied_lsn));

	if (build->verifying)
		check_verifiable(rollup, &row);
	trouble_set_request(build->request);
	if (!read_build_stream(build, rollup, &upto))
	{
		xact_commit();
		time_limit_stop();
		return false;
	}
	trouble_set_request(0);
	output = main_stream_read(&row, live, upto, true);
	upto = output.reached_lsn;
	if (build->verifying && rollup->state != ROLLUP_LIVE)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rollup %s has become stale", rollup->shape->name),
				 errdetail("The rollup will be rebuilt.")));

	time_limit_charge(build->relid, !build->verifying);
	if (build->resuming)
		end_resuming(build, rollup, upto);
	else
		bring_up_to_date(build, rollup, upto);
	facts_store_others(output.facts,
					   facts_collect(row.format,
									 list_make1(rollup->shape->definition)));
	stream_set_applied(upto);
	notification_send(build->verifying ? output.changed :
					  list_append_unique_ptr(output.changed, rollup), upto);
	debug_stop("build-joined");
	xact_commit();
	time_limit_stop();
	pass_count(&output);
	if (!build->verifying)
		move_restart_past_join();
	main_stream_finish(&row, upto, now);
	if (!build->verifying)
		trouble_forget(build->relid);	/* earlier errors are obsolete */
	return true;
}

/*
 * The complete build
 */

static void
run_build(Build *build)
{
	if (!publish_sources(build) || !create_stream(build))
		return;
	if (!build->resuming)
		wait_for_transactions(build);
	(void) ((build->resuming || read_sources(build)) && catch_up(build) &&
			join_main_stream(build));

	xact_begin();
	slot_drop(NameStr(build->slot_name));
	xact_commit();
}

static void
run_guarded(Build *build)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback error_context;

	build->shared = shared_build_begin(build->relid, build->verifying);
	if (build->shared == NULL)
		return;					/* another process builds it */
	error_context.callback = build_error_callback;
	error_context.arg = build;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	build->pass_context = AllocSetContextCreate(context, "notify_stats build",
												ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		MemoryContextSwitchTo(build->pass_context);
		trouble_set_building(build->verifying ? InvalidOid : build->relid,
							 false);
		run_build(build);
	}
	PG_CATCH();
	{
		shared_build_end(build->shared);
		trouble_record(!build->verifying);
		trouble_set_request(0);
		trouble_set_building(InvalidOid, false);
		PG_RE_THROW();
	}
	PG_END_TRY();
	error_context_stack = error_context.previous;
	trouble_set_request(0);
	trouble_set_building(InvalidOid, false);
	shared_build_end(build->shared);
	MemoryContextSwitchTo(context);
	MemoryContextDelete(build->pass_context);
}

/*
 * Fills a new rollup, or makes a live, stale or failed one match its
 * definition.  The rollup is live afterwards.  Runs transactions of its own.
 * Does nothing if the rollup needs no build (any more), or another process is
 * building it.  With "manual", also works on a paused stream.
 */
void
build_rollup(Oid relid, bool manual)
{
	Build	   *build = palloc0(sizeof(Build));

	build->relid = relid;
	build->manual = manual;
	run_guarded(build);
}

/*
 * Reports the groups in which a live rollup differs from its definition, both
 * as of one position of the WAL.  Runs transactions of its own.  Throws if the
 * rollup is not live, or the stream is paused.
 */
void
build_verify(Oid relid, VerifyCallback callback, void *arg)
{
	Build	   *build = palloc0(sizeof(Build));

	build->relid = relid;
	build->verifying = true;
	run_guarded(build);
	/* a missing result must not look like one without differences */
	if (build->differences == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not verify the rollup because the stream has no slot"),
				 errhint("Try again.")));
	difference_report(build->differences, callback, arg);
}
