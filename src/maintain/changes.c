/*-------------------------------------------------------------------------
 *
 * changes.c
 *	  What has changed in a rollup since a position.
 *
 * The changes of the sources since then are decoded again, with a temporary
 * slot that begins in the window of applied WAL (wal_window.c), up to the
 * position that the reader's snapshot shows, and are folded, but not applied.
 * That gives the groups that have changed.  Their rows are then read from the
 * rollup's table with the same snapshot.
 *
 * All this is done in the reader's session, which needs no more than SELECT on
 * the rollup.  So the session may have any settings, the values are read with
 * those of a worker, and code of users runs as the rollup's owner.  No lock
 * remains when the changes were reported, because a reader that waits for the
 * next ones must not hold up anybody.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "changes.h"
#include "core.h"
#include "delta_sum.h"
#include "earlier_rows.h"
#include "facts.h"
#include "fold.h"
#include "follower_slot.h"
#include "group_index.h"
#include "group_json.h"
#include "group_key.h"
#include "main_stream.h"
#include "pass.h"
#include "position.h"
#include "slot.h"
#include "stream.h"
#include "trouble.h"

/* The state of one request. */
typedef struct ChangesReading
{
	const ChangesRequest *request;
	ChangesResult result;
	Rollup	   *rollup;			/* opened */
	StreamRow	row;
	RollupPosition now;			/* not as of the request's snapshot */
	Relation	table;
	GroupIndex *index;
	DeltaSum   *deltas;			/* NULL: nothing has changed */
	bool		truncated;		/* a source was */
	TupleTableSlot *group;		/* a row of a group that is gone */
	GroupJson  *json;			/* NULL: rows are wanted */
	EarlierRows *earlier;		/* NULL: only what has changed is wanted */
	MemoryContext row_context;	/* reset after each group */
} ChangesReading;

/*
 * Errors
 */

/* Throws because the reader must read the whole rollup. */
static void
complain_of_gap(const ChangesReading *reading, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHANGES_UNKNOWN),
			 errmsg("changes of rollup %s since " LSN_FORMAT " cannot be read",
					rollup_qualified_name(reading->request->rollup),
					LSN_FORMAT_ARGS(reading->request->since)),
			 errdetail_internal("%s", reason),
			 reading->request->kind == CHANGES_SINCE ?
			 errhint("Read the whole rollup with NULL instead of the position, and go on from the position that this returns.") : 0));
}

/* Throws because the rollup is not exact at any position. */
static void
complain_of_state(const ChangesReading *reading)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rollup %s is not exact at present",
					rollup_qualified_name(reading->request->rollup)),
			 errdetail("It is being built, or has failed."),
			 errhint("Wait with notify_stats.wait_for_lsn(rollup => %s). The view notify_stats.rollups shows the state.",
					 quote_literal_cstr(rollup_qualified_name(reading->request->rollup)))));
}

/*
 * Throws if code of an owner calls this.  A pass may be running around it, in a
 * worker or in another request, which would go on with the slot opened here.
 */
static void
check_outside_of_pass(void)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot read the changes of a rollup within security-restricted operation")));
}

/* Throws unless the current user may read every row of the rollup. */
static void
check_access(Oid relid)
{
	const Computed *computed = core_find_computed(relid);
	AclResult	result;

	if (computed != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("rollup %s is a view, of which changes cannot be read",
						rollup_qualified_name(relid)),
				 errhint("Read the changes of its cores, such as %s.",
						 rollup_qualified_name(linitial_oid(computed->cores)))));
	if (!rollup_exists(relid))
		rollup_complain_missing(relid);
	result = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_TABLE, get_rel_name(relid));
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security applies to rollup %s",
						rollup_qualified_name(relid)),
				 errdetail("Changes of groups that a policy hides cannot be left out."),
				 errhint("Read them as a role that bypasses row-level security.")));
}

/*
 * The range of the WAL
 */

/*
 * Returns whether the changes of the sources since the position can still be
 * decoded as when they were applied: no fact is gone, even one that does not
 * matter for later changes.
 */
static bool
facts_hold(const ChangesReading *reading)
{
	const Rollup *rollup = reading->rollup;
	const Format *format = reading->row.format;
	List	   *stored = facts_load(reading->now.is_live ?
									InvalidOid : rollup->relid);
	List	   *now = facts_collect(format,
									list_make1(rollup->shape->definition));
	ListCell   *lc;

	foreach(lc, rollup->shape->definition->sources)
	{
		if (facts_break(format, stored, now, rollup->shape->definition,
						lfirst_oid(lc), false) != NULL)
			return false;
	}
	return main_stream_reason_facts_differ(format, rollup, stored) == NULL;
}

/*
 * Throws if the reader may know the groups by other names.  The worker may not
 * have seen yet that these have changed.
 */
static void
check_names(const ChangesReading *reading)
{
	const RollupPosition *now = &reading->now;

	if (reading->request->since < now->names_since || now->names == NULL ||
		strcmp(now->names, group_key_names(reading->rollup->shape)) != 0)
		complain_of_gap(reading, "A column of the rollup, or a label of an enum, was renamed.");
}

/*
 * Throws if anything but changes of the sources has changed the rollup.  Reads
 * the position again after the facts: a cycle may replace both at once.
 */
static void
check_exactness(ChangesReading *reading)
{
	const ChangesRequest *request = reading->request;
	const Rollup *rollup = reading->rollup;
	bool		known = facts_hold(reading);

	(void) position_read(request->rollup, GetLatestSnapshot(),
						 &reading->now);
	if (rollup->built_from != rollup->shape->fingerprint ||
		rollup->shape->obstacle != NULL ||
		XLogRecPtrIsInvalid(reading->now.lsn) ||
		XLogRecPtrIsInvalid(reading->now.exact_since))
		complain_of_state(reading);
	if (request->since < reading->now.exact_since)
		complain_of_gap(reading, psprintf("The rollup was built, or a source table was altered, at " LSN_FORMAT ".",
										  LSN_FORMAT_ARGS(reading->now.exact_since)));
	if (!known)
		complain_of_gap(reading, "A source table was altered.");
	if (request->take_json != NULL)
		check_names(reading);
}

/*
 * Handles a position that the snapshot does not show yet.  The reader knows the
 * rollup as of then, and nothing is to be added.  Throws if that cannot be.
 */
static void
check_future(const ChangesReading *reading)
{
	XLogRecPtr	since = reading->request->since;

	if (reading->request->kind == CHANGES_SINCE &&
		since <= slot_written_lsn() &&
		(reading->now.is_live || since <= reading->now.lsn))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CHANGES_UNKNOWN),
			 errmsg("rollup %s has not reached position " LSN_FORMAT,
					rollup_qualified_name(reading->request->rollup),
					LSN_FORMAT_ARGS(since)),
			 errdetail("The position reached is " LSN_FORMAT ".",
					   LSN_FORMAT_ARGS(reading->result.lsn)),
			 reading->request->kind == CHANGES_SINCE ?
			 errhint("If the position is from another server, such as one that has failed, read the whole rollup with NULL instead of the position.") : 0));
}

/*
 * Throws if the table was rewritten after the snapshot, to which it is then
 * empty, or is not as it was.
 */
static void
check_rewrite(const ChangesReading *reading, const RollupPosition *shown)
{
	if (shown->file != reading->now.file)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rollup %s was rewritten after the snapshot of the query",
						rollup_qualified_name(reading->request->rollup)),
				 errhint("Run the query again, in another transaction if this one is REPEATABLE READ or SERIALIZABLE.")));
}

/*
 * Finds out how far the snapshot's rows reach.  Returns whether there may be
 * changes up to there.
 */
static bool
find_range(ChangesReading *reading)
{
	const ChangesRequest *request = reading->request;
	RollupPosition shown;

	if (!stream_load(&reading->row) ||
		!position_read(request->rollup, request->snapshot, &shown) ||
		XLogRecPtrIsInvalid(shown.lsn) || !reading->row.has_slot)
		complain_of_state(reading);
	(void) position_read(request->rollup, GetLatestSnapshot(),
						 &reading->now);
	check_rewrite(reading, &shown);
	reading->result.lsn = shown.lsn;
	if (request->kind == CHANGES_ALL)
		return false;
	if (request->since > shown.lsn)
	{
		check_future(reading);
		reading->result.lsn = request->since;
	}
	return request->since < shown.lsn;
}

/*
 * The changed groups
 */

/*
 * Takes deltas from the pass.  Their groups may come again.  If rows may look
 * different without a change of any value, a group counts as changed if any of
 * its rows has.
 */
static void
take_delta(Delta *delta, void *arg)
{
	ChangesReading *reading = (ChangesReading *) arg;

	reading->truncated |= delta->truncated;
	if (delta->stale_reason == NULL)
		delta_sum_add(reading->deltas, delta,
					  group_key_looks_vary(reading->rollup->shape->definition));
}

/*
 * Throws if the query has opened one of these tables.  The relation cache shows
 * an open table as it is now, also to a plugin that decodes earlier changes.
 * If it is in a schema that did not exist then, wal2json crashes.
 */
static void
check_not_open(List *relids)
{
	ListCell   *lc;

	foreach(lc, relids)
	{
		Relation	table = table_open(lfirst_oid(lc), NoLock);
		bool		used = table->rd_refcnt > 1;

		table_close(table, NoLock);
		if (used)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("cannot read changes while the query uses table \"%s\"",
							get_rel_name(lfirst_oid(lc))),
					 errdetail("The output plugin decodes by the names of tables."),
					 errhint("Read the changes in a query, and with cursors closed, that does not use the rollup and its sources.")));
	}
}

/*
 * Decodes and folds the changes.  The tables must not be open, and need no
 * locks but those of rollup_open().
 */
static void
read_changes(ChangesReading *reading)
{
	PassInput	input = {0};
	PassOutput	output;
	NameData	slot_name;
	const char *reason = follower_slot_prepare(reading->request->rollup,
											   &reading->row,
											   reading->request->since);

	if (reason != NULL)
		complain_of_gap(reading, reason);
	if (reading->row.format->by_name)
		check_not_open(lappend_oid(list_copy(reading->rollup->shape->reads),
								   reading->request->rollup));
	slot_follower_name(&slot_name);
	input.slot_name = NameStr(slot_name);
	input.format = reading->row.format;
	input.rollups = list_make1(reading->rollup);
	input.applied_lsn = reading->request->since;
	input.upto = reading->result.lsn;
	input.take_delta = take_delta;
	input.arg = reading;
	output = pass_read(&input);
	if (output.stale != NIL)
		complain_of_gap(reading, (char *) linitial(output.reasons));
	if (reading->truncated)
		complain_of_gap(reading, "A source table was truncated.");
	if (output.reached_lsn != reading->result.lsn)
		elog(ERROR, "changes were read up to " LSN_FORMAT " instead of " LSN_FORMAT,
			 LSN_FORMAT_ARGS(output.reached_lsn),
			 LSN_FORMAT_ARGS(reading->result.lsn));
	/* this format depends on the catalogs as they are now */
	if (input.format->by_name)
		check_exactness(reading);
}

/*
 * Reporting groups
 */

static void
take_json(const char *group_key, const char *measures, void *arg)
{
	const ChangesReading *reading = (const ChangesReading *) arg;

	reading->request->take_json(group_key, measures, reading->result.lsn,
								reading->request->arg);
}

/* Reports one row. */
static void
report(ChangesReading *reading, TupleTableSlot *row, bool gone)
{
	reading->result.ngroups++;
	if (reading->json != NULL)
		group_json_add(reading->json, row, gone);
	else
		reading->request->take_row(row, gone, reading->result.lsn,
								   reading->request->arg);
}

/* Returns whether a group that does not exist did before a delta. */
static bool
has_existed(const ChangesReading *reading, TupleTableSlot *delta)
{
	const Definition *definition = reading->rollup->shape->definition;
	bool		isnull;

	return DatumGetInt64(slot_getattr(delta, definition->measures[definition->row_count].attnum,
									  &isnull)) != 0;
}

/* Reports a group by the sum of its deltas. */
static void
report_delta(ChangesReading *reading, TupleTableSlot *delta,
			 TupleTableSlot *found)
{
	TupleTableSlot *row;

	if (reading->earlier != NULL)
	{
		row = earlier_rows_undo(reading->earlier, found, delta);
		if (row != NULL)
			report(reading, row, false);
	}
	else if (found != NULL)
		report(reading, found, false);
	else if (has_existed(reading, delta))
	{
		delta_store_group(reading->rollup->shape, delta, reading->group);
		report(reading, reading->group, true);
	}
}

/*
 * Reports all groups that have deltas, once.  The index scan keeps memory of the
 * context in which it is called.
 */
static void
report_deltas(ChangesReading *reading)
{
	TupleTableSlot *delta;

	while ((delta = delta_sum_next(reading->deltas)) != NULL)
	{
		TupleTableSlot *found = group_index_find(reading->index, delta);
		MemoryContext context = MemoryContextSwitchTo(reading->row_context);

		report_delta(reading, delta, found);
		MemoryContextSwitchTo(context);
		MemoryContextReset(reading->row_context);
	}
}

/* Reports all rows of the table that were not reported. */
static void
report_rows(ChangesReading *reading)
{
	TupleTableSlot *row;

	while ((row = earlier_rows_next(reading->earlier)) != NULL)
	{
		MemoryContext context = MemoryContextSwitchTo(reading->row_context);

		report(reading, row, false);
		MemoryContextSwitchTo(context);
		MemoryContextReset(reading->row_context);
	}
}

/*
 * The whole request
 */

/*
 * Throws unless rows of the table are what the reader's query takes them for,
 * which was planned without a lock on the table.
 */
static void
check_row_type(const ChangesReading *reading)
{
	TupleDesc	expected = reading->request->row_type;
	TupleDesc	desc = RelationGetDescr(reading->table);
	bool		same = expected == NULL || expected->natts == desc->natts;

	for (int i = 0; same && expected != NULL && i < desc->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(expected, i);
		Form_pg_attribute b = TupleDescAttr(desc, i);

		same = a->atttypid == b->atttypid && a->attlen == b->attlen &&
			a->attalign == b->attalign && a->attisdropped == b->attisdropped;
	}
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the columns of rollup %s were altered concurrently",
						rollup_qualified_name(reading->request->rollup)),
				 errhint("Run the query again.")));
}

/* Opens the rollup's table and index, for the role that is the rollup's owner. */
static void
open_table(ChangesReading *reading)
{
	reading->table = table_open(reading->request->rollup, NoLock);
	check_row_type(reading);
	reading->index = group_index_open(reading->rollup, reading->table,
									  reading->request->snapshot);
}

static void
close_table(ChangesReading *reading)
{
	group_index_close(reading->index);
	table_close(reading->table, NoLock);
}

/* Sums up what has changed.  The table is open only before that. */
static void
sum_changes(ChangesReading *reading)
{
	open_table(reading);
	reading->deltas = delta_sum_begin(reading->rollup, reading->index);
	close_table(reading);
	read_changes(reading);
}

/* Reports what is wanted of the open table. */
static void
report_all(ChangesReading *reading)
{
	const ChangesRequest *request = reading->request;
	SavedRole	saved;

	reading->group = MakeSingleTupleTableSlot(RelationGetDescr(reading->table),
											  &TTSOpsVirtual);
	reading->row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "notify_stats row",
												 ALLOCSET_SMALL_SIZES);
	if (request->kind != CHANGES_SINCE)
		reading->earlier = earlier_rows_begin(reading->rollup, reading->table,
											  request->snapshot);
	if (request->take_json != NULL)
		reading->json = group_json_begin(reading->rollup, take_json, reading);

	saved = rollup_begin_as_owner(reading->rollup, true);
	if (reading->deltas != NULL)
		report_deltas(reading);
	if (reading->earlier != NULL)
		report_rows(reading);
	if (reading->json != NULL)
		group_json_end(reading->json);
	rollup_end_as_owner(saved);

	if (reading->earlier != NULL)
		earlier_rows_end(reading->earlier);
	ExecDropSingleTupleTableSlot(reading->group);
}

/* Answers the request with an opened rollup. */
static void
answer(ChangesReading *reading)
{
	bool		changed;

	if (reading->request->take_json != NULL)
		group_key_check(reading->rollup);
	changed = find_range(reading);
	if (!changed && reading->request->kind == CHANGES_SINCE)
		return;
	if (reading->request->kind != CHANGES_ALL)
		check_exactness(reading);
	else if (XLogRecPtrIsInvalid(reading->now.exact_since))
		complain_of_state(reading);
	if (changed && !shared_stream_may_have_changed(reading->request->rollup,
												   reading->request->since))
		changed = false;
	if (!changed && reading->request->kind == CHANGES_SINCE)
		return;
	if (changed)
		sum_changes(reading);
	open_table(reading);
	report_all(reading);
	close_table(reading);
	if (changed)
	{
		delta_sum_end(reading->deltas);
		follower_slot_release(reading->request->rollup, &reading->row,
							  reading->result.lsn);
	}
}

/*
 * Tries to answer the request.  If a lock is not free, stores it in *busy and
 * returns false.
 */
static bool
try_answer(ChangesReading *reading, BusyLock *busy)
{
	Oid			relid = reading->request->rollup;
	SavedRole	saved = xact_become(BOOTSTRAP_SUPERUSERID);
	ShapeAccess access;

	xact_use_worker_values();
	reading->rollup = rollup_find(rollup_list(NULL), relid);
	if (reading->rollup == NULL)
		rollup_complain_missing(relid);
	access = rollup_open(reading->rollup, busy);
	if (access == SHAPE_GONE)
		rollup_complain_missing(relid);
	if (access == SHAPE_READY)
		answer(reading);
	xact_restore_role(saved);
	return access == SHAPE_READY;
}

/*
 * Answers the request.  Waits for locks as other statements do, in the queue:
 * the server notices if others wait for locks of this transaction.
 */
static void
answer_with_locks(ChangesReading *reading)
{
	const ChangesRequest *request = reading->request;
	MemoryContext context = CurrentMemoryContext;
	BusyLock	busy;

	while (!try_answer(reading, &busy))
	{
		busy_lock_queue(busy);
		MemoryContextReset(context);
		memset(reading, 0, sizeof(*reading));
		reading->request = request;
		check_access(request->rollup);
	}
}

/* The same, after which no locks remain. */
static ChangesResult
answer_without_locks(const ChangesRequest *request)
{
	ResourceOwner caller_owner = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(caller_owner,
											  "notify_stats changes");
	ChangesReading reading = {.request = request};

	check_access(request->rollup);
	CurrentResourceOwner = owner;
	answer_with_locks(&reading);
	CurrentResourceOwner = caller_owner;
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, true, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, true, false);
	ResourceOwnerDelete(owner);
	return reading.result;
}

/*
 * Reports what a request asks for.  Throws ERRCODE_CHANGES_UNKNOWN if it cannot
 * be told.  After any error, the slot of the session is dropped, as changes
 * that were read would not be read again.
 */
ChangesResult
changes_read(const ChangesRequest *request)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats changes",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	ChangesResult result;

	check_outside_of_pass();
	trouble_ignore(true);
	PG_TRY();
	{
		result = answer_without_locks(request);
	}
	PG_CATCH();
	{
		trouble_reset();
		follower_slot_discard();
		PG_RE_THROW();
	}
	PG_END_TRY();
	trouble_ignore(false);
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
	return result;
}
