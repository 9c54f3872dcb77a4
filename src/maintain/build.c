/*-------------------------------------------------------------------------
 *
 * build.c
 *	  Building, rebuilding and verifying a rollup, while everybody works.
 *
 * Nobody is locked out, so the definition's result is read at some snapshot
 * S while changes go on, and those that S does not see are added from a slot:
 *
 *	1. Copy the main slot, and move the copy to the end of the WAL: a build
 *	   stream at a position F.
 *	2. Barrier: wait until every transaction of this database that has an xid
 *	   by now has ended.
 *	   A commit that is in the WAL before F may still be unknown to snapshots,
 *	   for instance while it waits for a synchronous standby; without the
 *	   barrier it would be neither in the stream nor in S.
 *	3. Run the definition at S, into a temporary table.
 *	4. Read the build stream into that table, but skip the transactions that S
 *	   sees, until little is left.
 *	5. Join, in one transaction that has locked the main stream: read both
 *	   streams up to one position, so that the temporary table is what the
 *	   definition gives there, and the rollup what the main stream has made of
 *	   it.  Then put right, or report, what differs.
 *
 * The main stream goes on meanwhile, in other processes, but for step 5.  All
 * of this lives in temporary objects of one process: a crash leaves nothing,
 * and the build starts again.
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
#include "cycle.h"
#include "difference.h"
#include "facts.h"
#include "main_slot.h"
#include "main_stream.h"
#include "pass.h"
#include "settings.h"
#include "own_table.h"
#include "publication.h"
#include "request.h"
#include "shape.h"
#include "shared.h"
#include "slot.h"
#include "stream.h"
#include "temporary_table.h"
#include "time_limit.h"
#include "trouble.h"
#include "xact.h"

/*
 * The join may begin when less WAL than this is left, or after so many
 * tries.
 */
#define NEAR_ENOUGH (1024 * 1024)
#define MAX_PASSES 100

/* How often at most the worker looks what the slots of builds retain. */
#define WATCH_INTERVAL_MS 1000

typedef struct Build
{
	Oid			relid;
	bool		verifying;
	bool		manual;			/* works on a paused stream as well */
	int64		request;		/* the last request for a rebuild that is
								 * served */
	bool		joining;
	bool		in_vain;		/* the rollup was dropped or redefined
								 * meanwhile */
	SharedBuild *shared;
	MemoryContext pass_context; /* reset after each transaction */

	List	   *sources;		/* OIDs of what the definition reads */
	int64		fingerprint;	/* of the definition that is run; 0: not yet
								 * known */
	bool		filled;			/* it was run, into the temporary table */
	Oid			owner;			/* whom it was run as */
	char	   *columns;		/* what the rollup's columns were called */
	const Format *format;
	List	   *facts;			/* of the sources, if the format needs any */
	const char *name;			/* of the rollup, for messages; NULL: not yet
								 * known */
	TimestampTz locked_out_since;	/* it has come upon locks that were not
									 * free; 0: it has not */
	NameData	slot_name;		/* the copy of the main slot; empty: not yet
								 * made */
	XLogRecPtr	position;		/* the build stream's */
	VisibleXids visible;		/* to the snapshot that the definition ran in */
	XLogRecPtr	snapshot_lsn;	/* everything visible is before it */

	Differences *differences;	/* what verify() has found */
} Build;

/* Switches to the context that lives as long as the build. */
static MemoryContext
enter_build_context(Build *build)
{
	return MemoryContextSwitchTo(GetMemoryChunkContext(build));
}

/*
 * From here on errors are the rollup's own, unless it is only looked at:
 * verify() tells its caller, and the rollup stays what it is.
 */
static void
begin_own_work(const Build *build)
{
	if (!build->verifying)
		trouble_begin(build->relid);
}

/*
 * Whether the format can tell what has happened to the sources since the last
 * look, the first of which was when the slot was copied.
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
		!facts_bring_rows(build->facts, now, lfirst_oid(lc));
	build->facts = now;
	MemoryContextSwitchTo(context);
	return hold;
}

/* Whether the rollup is still what the temporary table was made for. */
static bool
is_unchanged(const Build *build, const Rollup *rollup)
{
	return build->fingerprint == 0 ||
		(build->fingerprint == rollup->shape->fingerprint &&
		 build->owner == rollup->shape->owner &&
		 strcmp(build->columns, shape_columns(rollup->shape)) == 0);
}

/*
 * Takes the locks without which facts would not hold until the end of the
 * transaction, if they are free.  At the join always: what goes on with the
 * partitions until then is noted by nobody, and afterwards by the event
 * trigger.  Not while the definition is run, which would hold up the main
 * stream.
 */
static bool
lock_facts(const Build *build, Rollup *rollup, BusyLock *busy)
{
	if (!build->joining && !(build->filled && build->format->by_name))
		return true;
	return shape_lock_facts(rollup->shape, build->format->by_name, busy);
}

/*
 * Locks the indexes of a table that is to be changed, if they may have to
 * be made again, and if that is free.
 */
static bool
lock_indexes(const Build *build, const Rollup *rollup, BusyLock *busy)
{
	return !build->joining || build->verifying ||
		!shape_order_may_change(rollup->shape) ||
		shape_lock_indexes(rollup->shape, busy);
}

/*
 * Whether it still holds nothing that others would miss: neither slot nor
 * WAL.
 */
static bool
is_starting(const Build *build)
{
	return NameStr(build->slot_name)[0] == '\0';
}

/*
 * Sees to it that no row of the rollup is locked when it is written at the
 * join, where all others would have to wait as well.  To find that out at
 * the end of a long build would be a pity, so it is looked at before, too,
 * if no cycle writes the rollup.
 */
static bool
lock_rows(const Build *build, const Rollup *rollup, BusyLock *busy)
{
	bool		due = build->joining || (is_starting(build) &&
										 rollup->state != ROLLUP_LIVE);

	return build->verifying || !due || rollup_lock_rows(rollup, busy);
}

/*
 * The rollup, opened.  NULL if it has been dropped, or changed so that the
 * build is in vain (which is an error only to who verifies it), or if a
 * lock was not free: then that is in *busy.
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
			/* the first look: later requests are for a later build */
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
				 errmsg("rollup with OID %u was concurrently dropped or changed",
						build->relid)));
	return access == SHAPE_READY && !build->in_vain ? rollup : NULL;
}

/*
 * Waits for a lock.  A build that has not begun lets others be built after
 * a while: false is returned.
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
 * Ends a transaction for which load_rollup has given NULL, and if that was for
 * a lock waits for it.  False if the build is in vain.
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
	/* the transaction's memory goes with it */
	locked = MemoryContextStrdup(GetMemoryChunkContext(build),
								 busy_lock_name(busy));
	xact_commit();
	again = wait_for_lock(build, busy, locked);
	pfree(locked);
	return again;
}

/*
 * Starts a transaction on the rollup; NULL, and none, if the build is in
 * vain.
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
 * The bound of what a slot may retain
 *
 * It is that of WAL which was written since the build began: what lies
 * before, the main slot had retained.
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

/* Throws if the build's slot retains more than it may. */
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
 * Has the error of a build that was told to end say why.  It stays a
 * cancellation by its SQLSTATE, which few handlers in code of users catch:
 * one that does, and goes on, would have the build store what it makes of
 * it.
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
		errcontext("%s rollup %s", build->verifying ? "verifying" : "building",
				   build->name);
	retained_error_callback(arg);
}

/*
 * For the worker: once a second at most, ends builds and verifications the
 * slot of which retains more WAL than notify_stats.max_build_wal.  They may
 * be stuck in code of a user.
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
 * Throws unless so many slots are free.  A verification leaves one, so that
 * a build or a stream can always have one.
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

/* Throws unless a live rollup on a stream at work is to be verified. */
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
						rollup->shape->name, names[rollup->state]),
				 errhint("The view notify_stats.rollups shows the progress or the reason.")));
}

static void
advance_build_slot(Build *build)
{
	xact_begin();
	slot_advance(NameStr(build->slot_name), build->position);
	xact_commit();
}

/* Throws if the changes of a source cannot be told. */
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
 * Sees to it that pgoutput tells the sources' changes from here on, and
 * that one request for this build is left, in a transaction of its own.
 * False if the build is in vain.
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
 * Moves the copy to the end of the WAL: the barrier comes after, so that the
 * snapshot sees what has committed until here.
 */
static void
skip_past(Build *build)
{
	build->position = slot_flush_written();
	advance_build_slot(build);
	shared_build_reached(build->shared, build->position);
}

/* Copies the main slot.  False if there is nothing to build. */
static bool
copy_slot(Build *build)
{
	StreamRow	row;
	Rollup	   *rollup = begin_on_rollup(build);
	bool		wanted;
	MemoryContext context;

	if (rollup == NULL)
		return false;
	wanted = stream_load(&row) && row.has_slot &&
		(build->verifying || rollup_wants_build(rollup));
	if (build->verifying)
	{
		check_verifiable(rollup, &row);
		check_free_slots(2);
	}
	else if (wanted)
		check_sources(build, rollup, row.format);
	if (wanted)
	{
		context = enter_build_context(build);
		build->sources = list_copy(rollup->shape->definition->sources);
		build->facts = facts_collect_versions(row.format,
											  list_make1(rollup->shape->definition));
		MemoryContextSwitchTo(context);
		build->format = row.format;
		snprintf(NameStr(build->slot_name), NAMEDATALEN, "%s_build_%d",
				 NameStr(row.slot_name), MyProcPid);
		shared_build_set_slot(build->shared, NameStr(build->slot_name));
		build->position = slot_copy(NameStr(row.slot_name),
									NameStr(build->slot_name),
									row.format->plugin);
		shared_build_reached(build->shared, build->position);
	}
	xact_commit();
	/* others may have taken some at the same time */
	if (build->verifying)
		check_free_slots(1);
	if (wanted)
		skip_past(build);
	debug_stop("build-copied");
	return wanted;
}

/*
 * Step 2: the barrier
 */

/* Whether a transaction, prepared ones included, is another database's. */
static bool
is_elsewhere(TransactionId xid)
{
	Oid			database = InvalidOid;

	LWLockAcquire(ProcArrayLock, LW_SHARED);
	/* allProcCount leaves out those of prepared transactions, which follow */
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
 * One of this database's transactions before "limit" that still run, or
 * invalid.
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

	/* xip has none that were assigned after the last one that has ended */
	xid = snapshot->xmax;
	while (TransactionIdPrecedes(xid, limit))
	{
		if (TransactionIdIsInProgress(xid) && !is_elsewhere(xid))
			return xid;
		TransactionIdAdvance(xid);
	}
	return InvalidTransactionId;
}

/* Waits for all transactions of this database that have an xid by now. */
static void
wait_for_transactions(Build *build)
{
	TransactionId limit = ReadNextTransactionId();
	TransactionId xid;

	shared_build_phase(build->shared, BUILD_WAITING_FOR_TRANSACTIONS);
	do
	{
		check_retained(build);
		xact_begin();
		xid = running_before(limit);
		if (TransactionIdIsValid(xid))
		{
			shared_build_waits_for(build->shared, xid);
			/* no snapshot while waiting, so that vacuum goes on */
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
	/* of none there may be no array, and memcpy wants one even so */
	if (snapshot->xcnt > 0)
		memcpy(build->visible.running, snapshot->xip,
			   sizeof(TransactionId) * snapshot->xcnt);
}

/*
 * Runs the definition as the owner, into a tuplestore first: a query that
 * writes would not be run by parallel workers.
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

	/* the name may be another view's by now, if its schema has been renamed */
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
 * Starts a transaction with the one snapshot that the definition is run with.
 * The sources are locked before: what rewrites a table makes it look empty to
 * older snapshots.
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
 * Makes the temporary table, in a transaction of its own: while the
 * definition is run, which may take as long as it likes, this process has
 * no xid for the barriers of other builds to wait for.  The index is there
 * before the rows: to make one of rows would compare them as ourselves.
 * False if the build is in vain.
 */
static bool
make_fresh_table(Build *build)
{
	Rollup	   *rollup = begin_on_rollup(build);
	MemoryContext context;

	if (rollup == NULL)
		return false;
	build->fingerprint = rollup->shape->fingerprint;
	build->owner = rollup->shape->owner;
	context = enter_build_context(build);
	build->columns = shape_columns(rollup->shape);
	MemoryContextSwitchTo(context);

	SPI_connect();

	/*
	 * of the definition's types, whatever the table has made of them
	 * meanwhile
	 */
	temporary_table_create(rollup, FRESH_NAME,
						   psprintf("(%s)",
									own_table_columns_of(rollup->shape->desc)));
	xact_execute(psprintf("CREATE UNIQUE INDEX ON " FRESH_TABLE " (%s) NULLS NOT DISTINCT",
						  shape_group_columns(rollup->shape->definition, "")));
	SPI_finish();
	xact_commit();
	return true;
}

/* Runs the definition into the temporary table, which the owner fills. */
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

/* Takes the snapshot and what the definition gives there; false if in vain. */
static bool
read_sources(Build *build)
{
	Rollup	   *rollup;
	BusyLock	busy;

	shared_build_phase(build->shared, BUILD_READING_SOURCES);
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
 * Reads the build stream, within the current transaction.  False if a change
 * came that cannot be told, so that the build has to start again.
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
	input.visible = &build->visible;
	input.target = FRESH_TABLE;

	/*
	 * what befalls the temporary table of verify() is not the rollup's
	 * trouble
	 */
	trouble_ignore(build->verifying);
	output = pass_read(&input);
	trouble_ignore(false);
	*upto = output.reached_lsn;
	if (output.stale != NIL)
		ereport(build->verifying ? ERROR : LOG,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a concurrent change to a source of rollup %s cannot be decoded: %s",
						rollup->shape->name,
						(char *) linitial(output.reasons)),
				 build->verifying ?
				 errhint("Try again.") : errdetail("The build will be restarted.")));
	return output.stale == NIL;
}

/* Reads the build stream up to a position; false if in vain. */
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
	xact_commit();
	if (!sound)
		return false;
	build->position = upto;
	shared_build_reached(build->shared, upto);
	advance_build_slot(build);
	MemoryContextReset(build->pass_context);
	return true;
}

/* Where the build's slot is read from, each time. */
static XLogRecPtr
restart_lsn(const Build *build)
{
	SlotInfo	slot;

	return slot_lookup(NameStr(build->slot_name), &slot) ?
		slot.restart_lsn : build->position;
}

/*
 * Reads the build stream until little is left; false if in vain.  While a
 * transaction is open, each pass, and the join, reads again what lies
 * before the position.  So half of that is little: one more pass would cost
 * more than it saves.
 */
static bool
catch_up(Build *build)
{
	shared_build_phase(build->shared, BUILD_CATCHING_UP);
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
				(errmsg_internal("build stream was read from %X/%X up to %X/%X",
								 LSN_FORMAT_ARGS(restart),
								 LSN_FORMAT_ARGS(build->position))));
	}
	return true;
}

/*
 * Step 5: the join
 */

/* Throws unless the main stream is sound and at work. */
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
 * Opens the transaction of the join: the main stream is locked, and all its
 * rollups and this one are open, and the time limit runs.  NULL, and no
 * transaction, if in vain.
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

/* Brings the table, or the list of differences, up to date. */
static void
bring_up_to_date(Build *build, const Rollup *rollup)
{
	int			guc_nestlevel = NewGUCNestLevel();

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
		if (rollup->state == ROLLUP_BUILDING)
			difference_fill_new_table(rollup);
		else
			difference_replace(rollup);
	}
	temporary_table_drop(DIFF_NAME);
	temporary_table_drop(FRESH_NAME);
	SPI_finish();
	AtEOXact_GUC(true, guc_nestlevel);
	trouble_end();
	if (!build->verifying)
	{
		rollup_set_built(rollup);
		request_forget(rollup->relid, build->request);
	}
}

/*
 * Reads both streams up to one position and settles what differs, in one
 * transaction.  The main stream stands still until it is over.  False if in
 * vain: the build has to start again, if the rollup still wants it.
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

	shared_build_phase(build->shared, BUILD_JOINING);
	build->joining = true;
	trouble_set_building(build->verifying ? InvalidOid : build->relid, true);
	trouble_set_request(0);		/* the main stream's errors are not the
								 * build's */
	/* a long backlog of the main stream is not for this one transaction */
	for (int pass = 0; pass < MAX_PASSES &&
		 cycle_run(build->manual).more; pass++)
		MemoryContextReset(build->pass_context);
	rollup = begin_join(build, &row, &live);
	if (rollup == NULL)
		return false;
	upto = Max(slot_safe_lsn(), Max(build->snapshot_lsn, row.applied_lsn));

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
	bring_up_to_date(build, rollup);
	facts_store_others(output.facts,
					   facts_collect(row.format,
									 list_make1(rollup->shape->definition)));
	stream_set_applied(upto);
	debug_stop("build-joined");
	xact_commit();
	time_limit_stop();
	main_stream_finish(&row, upto, now);
	if (!build->verifying)
		trouble_forget(build->relid);	/* if there was any, it is no more */
	return true;
}

/*
 * The whole
 */

static void
run_build(Build *build)
{
	if (!publish_sources(build) || !copy_slot(build))
		return;
	wait_for_transactions(build);
	(void) (read_sources(build) && catch_up(build) && join_main_stream(build));

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
		return;					/* another process is at it */
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
 * Fills a rollup that is building, or brings a live, stale or failed one to
 * what its definition says, and makes it live.  Runs transactions of its own.
 * Does nothing if the rollup needs no build (any more), or is being built by
 * another process.  "manual" works on a paused stream as well.
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
	/* no answer must not look like a good one */
	if (build->differences == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not verify the rollup because the stream has no slot"),
				 errhint("Try again.")));
	difference_report(build->differences, callback, arg);
}
