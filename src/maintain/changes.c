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
 * The slot remains open if its format allows it: a reader that goes on from
 * where it was reads only what is new.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/pg_lsn.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"

#include "apply.h"
#include "changes.h"
#include "compat.h"
#include "core.h"
#include "difference.h"
#include "facts.h"
#include "fold.h"
#include "group_index.h"
#include "main_stream.h"
#include "pass.h"
#include "position.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "stream.h"
#include "trouble.h"
#include "wal_window.h"

/* So many rows at a time are written as JSON. */
#define JSON_ROWS 1000

/*
 * A slot that is kept reads what the reader knows from elsewhere, if it is not
 * more than that.  Otherwise it is faster to make another.
 */
#define MAX_KNOWN_WAL (4 * 1024 * 1024)

/* The changes that the temporary slot of this session has read. */
static struct
{
	Oid			rollup;			/* InvalidOid: none */
	const Format *format;
	XLogRecPtr	lsn;			/* up to here */
}			follower;

/* The rows that are to be written as JSON, as g1, ..., m1, ... and "gone". */
typedef struct JsonRows
{
	TupleDesc	desc;
	char	   *query;
	Tuplestorestate *rows;
	uint64		nrows;
	TupleTableSlot *slot;
} JsonRows;

/* The state of one request. */
typedef struct Reading
{
	const ChangesRequest *request;
	ChangesResult result;
	Rollup	   *rollup;			/* opened */
	StreamRow	row;
	RollupPosition now;			/* not as of the request's snapshot */
	NameData	slot_name;
	Relation	table;
	GroupIndex *index;
	Tuplesortstate *deltas;		/* in the order of the index */
	bool		truncated;		/* a source was */
	TupleTableSlot *group;		/* a row of a group that is gone */
	JsonRows	json;
	HTAB	   *undone;			/* addresses of the rows that have changed */
	MemoryContext row_context;	/* reset after each group */
} Reading;

/*
 * Errors
 */

/* Throws because the reader must read the whole rollup. */
static void
complain_of_gap(const Reading *reading, const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHANGES_UNKNOWN),
			 errmsg("changes of rollup %s since %X/%X cannot be read",
					rollup_qualified_name(reading->request->rollup),
					LSN_FORMAT_ARGS(reading->request->since)),
			 errdetail_internal("%s", reason),
			 reading->request->kind == CHANGES_SINCE ?
			 errhint("Read the whole rollup with NULL instead of the position, and go on from the position that this returns.") : 0));
}

/* Throws because the rollup is not exact at any position. */
static void
complain_of_state(const Reading *reading)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rollup %s is not exact at present",
					rollup_qualified_name(reading->request->rollup)),
			 errdetail("It is being built, or has failed."),
			 errhint("Wait with notify_stats.wait_for_lsn(rollup => %s). The view notify_stats.rollups shows the state.",
					 quote_literal_cstr(rollup_qualified_name(reading->request->rollup)))));
}

static void
complain_of_slots(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("not enough free replication slots to read the changes of a rollup"),
			 errdetail("To read changes takes one slot, and must leave one slot to others."),
			 errhint("Drop unused slots, or raise max_replication_slots and restart the server.")));
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
facts_hold(const Reading *reading)
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
 * Throws if anything but changes of the sources has changed the rollup.  Reads
 * the position again after the facts: a cycle may replace both at once.
 */
static void
check_exactness(Reading *reading)
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
		complain_of_gap(reading, psprintf("The rollup was built, or a source table was altered, at %X/%X.",
										  LSN_FORMAT_ARGS(reading->now.exact_since)));
	if (!known)
		complain_of_gap(reading, "A source table was altered.");
}

/*
 * Handles a position that the snapshot does not show yet.  The reader knows the
 * rollup as of then, and nothing is to be added.  Throws if that cannot be.
 */
static void
check_future(const Reading *reading)
{
	XLogRecPtr	since = reading->request->since;

	if (reading->request->kind == CHANGES_SINCE &&
		since <= slot_written_lsn() &&
		(reading->now.is_live || since <= reading->now.lsn))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CHANGES_UNKNOWN),
			 errmsg("rollup %s has not reached position %X/%X",
					rollup_qualified_name(reading->request->rollup),
					LSN_FORMAT_ARGS(since)),
			 errdetail("The position reached is %X/%X.",
					   LSN_FORMAT_ARGS(reading->result.lsn)),
			 reading->request->kind == CHANGES_SINCE ?
			 errhint("If the position is from another server, such as one that has failed, read the whole rollup with NULL instead of the position.") : 0));
}

/*
 * Throws if the table was rewritten after the snapshot, to which it is then
 * empty, or is not as it was.
 */
static void
check_rewrite(const Reading *reading, const RollupPosition *shown)
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
find_range(Reading *reading)
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
 * The slot
 */

/* Drops the session's slot, and no other one that has its name. */
static void
close_slot(const NameData *name)
{
	SlotInfo	info;

	slot_keep_open(NULL);
	if (slot_lookup(NameStr(*name), &info) && info.temporary &&
		info.active_pid == MyProcPid)
		slot_drop(NameStr(*name));
	follower.rollup = InvalidOid;
}

/* Makes a slot that decodes everything after the position. */
static void
create_slot(Reading *reading)
{
	static MemoryContext context = NULL;
	const StreamRow *row = &reading->row;
	StartPoint	point;

	if (!wal_window_find(row, reading->request->since, &point))
		complain_of_gap(reading, notify_stats_resumable_wal_window == 0 ?
						"The WAL was removed, because notify_stats.resumable_wal_window is not set." :
						"The position is before the window of applied WAL.");
	if (slot_count_free() <= SLOTS_OF_OTHERS)
		complain_of_slots();
	slot_create_at(&point, NameStr(reading->slot_name), row->format->plugin);
	if (!wal_window_holds(row, &point))
		complain_of_gap(reading, "The window of applied WAL was moved concurrently.");
	/* other processes may have taken slots at the same time */
	if (slot_count_free() < SLOTS_OF_OTHERS)
		complain_of_slots();
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext,
										"notify_stats follower",
										ALLOCSET_SMALL_SIZES);
	slot_keep_open(context);
}

/* Returns whether the slot that this session has kept can be used. */
static bool
has_slot(const Reading *reading)
{
	XLogRecPtr	since = reading->request->since;

	return follower.rollup == reading->request->rollup &&
		follower.lsn <= since && since - follower.lsn <= MAX_KNOWN_WAL &&
		follower.format == reading->row.format &&
		slot_is_held(NameStr(reading->slot_name));
}

/*
 * Makes the slot be where the changes begin, or before.  The first lock keeps
 * the worker from taking its WAL away until the request is answered.  Since
 * slots are made in turn, all sessions together use no more than one beside
 * those that are kept.
 */
static void
prepare_slot(Reading *reading)
{
	(void) wal_window_lock_follower(MyProcPid, true);
	if (!has_slot(reading))
	{
		close_slot(&reading->slot_name);
		wal_window_take_turn();
		create_slot(reading);
	}
	follower.rollup = InvalidOid;
}

/*
 * Lets the slot go on from the position reached, if not too many sessions keep
 * theirs.  Only one that is open is cheap enough to be worth that.  Without a
 * window, nothing would limit the WAL that it retains.
 */
static void
release_slot(Reading *reading)
{
	const NameData *name = &reading->slot_name;

	if (!slot_is_open(NameStr(*name)) ||
		notify_stats_resumable_wal_window == 0 ||
		!slot_may_keep_follower())
	{
		close_slot(name);
		return;
	}
	slot_advance(NameStr(*name), reading->result.lsn);
	follower.rollup = reading->request->rollup;
	follower.format = reading->row.format;
	follower.lsn = reading->result.lsn;
}

/*
 * The changed groups
 */

/* Takes deltas from the pass.  Their groups may come again. */
static void
take_delta(Delta *delta, void *arg)
{
	Reading    *reading = (Reading *) arg;
	Tuplestorestate *rows;
	TupleTableSlot *row;
	uint64		nrows;
	SavedRole	saved;

	reading->truncated |= delta->truncated;
	if (delta->stale_reason != NULL)
		return;
	rows = delta_rows(delta, &nrows);
	if (rows == NULL)
		return;
	row = MakeSingleTupleTableSlot(reading->rollup->shape->desc,
								   &TTSOpsMinimalTuple);
	saved = rollup_begin_as_owner(reading->rollup, true);
	while (tuplestore_gettupleslot(rows, true, false, row))
		tuplesort_puttupleslot(reading->deltas, row);
	rollup_end_as_owner(saved);
	ExecDropSingleTupleTableSlot(row);
	tuplestore_end(rows);
}

/* Decodes and folds the changes. */
static void
read_changes(Reading *reading)
{
	PassInput	input = {0};
	PassOutput	output;

	input.slot_name = NameStr(reading->slot_name);
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
		elog(ERROR, "changes were read up to %X/%X instead of %X/%X",
			 LSN_FORMAT_ARGS(output.reached_lsn),
			 LSN_FORMAT_ARGS(reading->result.lsn));
	/* this format depends on the catalogs as they are now */
	if (input.format->by_name)
		check_exactness(reading);
}

/*
 * JSON
 */

static void
init_json(Reading *reading)
{
	const RollupShape *shape = reading->rollup->shape;
	const Definition *definition = shape->definition;
	JsonRows   *json = &reading->json;
	TupleDesc	desc = CreateTemplateTupleDesc(definition->ncolumns + 1);
	StringInfoData buf;

	for (int i = 0; i < definition->ngroups; i++)
	{
		TupleDescCopyEntry(desc, i + 1, shape->desc,
						   definition->groups[i].attnum);
		namestrcpy(&TupleDescAttr(desc, i)->attname, psprintf("g%d", i + 1));
	}
	for (int i = 0; i < definition->nmeasures; i++)
	{
		int			column = definition->ngroups + i;

		TupleDescCopyEntry(desc, column + 1, shape->desc,
						   definition->measures[i].attnum);
		namestrcpy(&TupleDescAttr(desc, column)->attname,
				   psprintf("m%d", i + 1));
	}
	TupleDescInitEntry(desc, desc->natts, "gone", BOOLOID, -1, 0);
	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT ");
	difference_append_key(&buf, definition);
	appendStringInfoString(&buf, ", ");
	difference_append_measures(&buf, definition, "NOT d.gone", "m");
	appendStringInfoString(&buf, " FROM " APPLY_ROWS " d");
	json->desc = desc;
	json->query = buf.data;
	json->slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	json->rows = tuplestore_begin_heap(false, false, work_mem);
}

static char *
text_or_null(SPITupleTable *table, uint64 row, int column)
{
	return SPI_getvalue(table->vals[row], table->tupdesc, column);
}

/* Reports the rows that were collected. */
static void
flush_json(Reading *reading)
{
	const ChangesRequest *request = reading->request;
	JsonRows   *json = &reading->json;

	if (json->nrows == 0)
		return;
	SPI_connect();
	apply_query_with_rows(json->query, json->rows, json->desc, json->nrows);
	for (uint64 i = 0; i < SPI_processed; i++)
		request->take_json(text_or_null(SPI_tuptable, i, 1),
						   text_or_null(SPI_tuptable, i, 2),
						   reading->result.lsn, request->arg);
	SPI_finish();
	tuplestore_clear(json->rows);
	json->nrows = 0;
}

static void
add_json(Reading *reading, TupleTableSlot *row, bool gone)
{
	const Definition *definition = reading->rollup->shape->definition;
	JsonRows   *json = &reading->json;
	TupleTableSlot *slot = json->slot;
	int			n = 0;

	ExecClearTuple(slot);
	for (int i = 0; i < definition->ngroups; i++, n++)
		slot->tts_values[n] = slot_getattr(row, definition->groups[i].attnum,
										   &slot->tts_isnull[n]);
	for (int i = 0; i < definition->nmeasures; i++, n++)
		slot->tts_values[n] = slot_getattr(row, definition->measures[i].attnum,
										   &slot->tts_isnull[n]);
	slot->tts_values[n] = BoolGetDatum(gone);
	slot->tts_isnull[n] = false;
	ExecStoreVirtualTuple(slot);
	tuplestore_puttupleslot(json->rows, slot);
	if (++json->nrows >= JSON_ROWS)
		flush_json(reading);
}

/* Reports one row. */
static void
report(Reading *reading, TupleTableSlot *row, bool gone)
{
	reading->result.ngroups++;
	if (reading->request->take_json != NULL)
		add_json(reading, row, gone);
	else
		reading->request->take_row(row, gone, reading->result.lsn,
								   reading->request->arg);
}

/*
 * Reporting groups
 */

/* Makes a row that has only the group columns of a delta. */
static TupleTableSlot *
row_of_group(Reading *reading, TupleTableSlot *delta)
{
	const Definition *definition = reading->rollup->shape->definition;
	TupleTableSlot *row = reading->group;

	ExecStoreAllNullTuple(row);
	for (int i = 0; i < definition->ngroups; i++)
	{
		AttrNumber	column = definition->groups[i].attnum;

		row->tts_values[column - 1] = slot_getattr(delta, column,
												   &row->tts_isnull[column - 1]);
	}
	return row;
}

/* Sets a measure of a row, which has that of today, to what it was before. */
static void
subtract_measure(const Measure *measure, TupleTableSlot *row,
				 TupleTableSlot *delta)
{
	int			column = measure->attnum - 1;
	bool		isnull;
	Datum		added = slot_getattr(delta, measure->attnum, &isnull);

	if (measure->kind == MEASURE_SUM_NUMERIC)
		row->tts_values[column] =
			DirectFunctionCall2(numeric_sub, row->tts_isnull[column] ?
								NumericGetDatum(int64_to_numeric(0)) :
								row->tts_values[column], added);
	else
		row->tts_values[column] =
			DirectFunctionCall2(int8mi, row->tts_isnull[column] ?
								Int64GetDatum(0) : row->tts_values[column],
								added);
	row->tts_isnull[column] = false;
}

/* Makes sums of no value NULL. */
static void
clear_sums(const Definition *definition, TupleTableSlot *row)
{
	for (int i = 0; i < definition->nmeasures; i++)
	{
		const Measure *measure = &definition->measures[i];

		if (measure->kind != MEASURE_COUNT && measure->companion >= 0 &&
			DatumGetInt64(row->tts_values[definition->measures[measure->companion].attnum - 1]) == 0)
			row->tts_isnull[measure->attnum - 1] = true;
	}
}

/* Reports a group as it was before a delta, if it existed. */
static void
report_undone(Reading *reading, TupleTableSlot *found, TupleTableSlot *delta)
{
	const Definition *definition = reading->rollup->shape->definition;
	TupleTableSlot *row = row_of_group(reading, delta);
	int64		count;

	if (found != NULL)
	{
		slot_getallattrs(found);
		memcpy(row->tts_values, found->tts_values,
			   sizeof(Datum) * row->tts_tupleDescriptor->natts);
		memcpy(row->tts_isnull, found->tts_isnull,
			   sizeof(bool) * row->tts_tupleDescriptor->natts);
		(void) hash_search(reading->undone, &found->tts_tid, HASH_ENTER, NULL);
	}
	for (int i = 0; i < definition->nmeasures; i++)
		subtract_measure(&definition->measures[i], row, delta);
	count = DatumGetInt64(row->tts_values[definition->measures[definition->row_count].attnum - 1]);
	if (count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("rollup %s does not match its definition",
						reading->rollup->shape->name),
				 errdetail("The table may have been modified manually.")));
	if (count == 0)
		return;
	clear_sums(definition, row);
	report(reading, row, false);
}

/*
 * Reports a group by the sum of its deltas.  The index scan keeps memory of the
 * context in which it is called.
 */
static void
report_delta(Reading *reading, TupleTableSlot *delta)
{
	TupleTableSlot *found = group_index_find(reading->index, delta);
	MemoryContext context = MemoryContextSwitchTo(reading->row_context);

	if (reading->request->kind == CHANGES_UNDONE)
		report_undone(reading, found, delta);
	else if (found != NULL)
		report(reading, found, false);
	else
		report(reading, row_of_group(reading, delta), true);
	MemoryContextSwitchTo(context);
}

/* Returns an expression that compares the groups of two deltas. */
static ExprState *
make_comparison(Reading *reading)
{
	const RollupShape *shape = reading->rollup->shape;
	const Definition *definition = shape->definition;
	AttrNumber *columns = palloc(sizeof(AttrNumber) * definition->ngroups);
	Oid		   *operators = palloc(sizeof(Oid) * definition->ngroups);

	for (int i = 0; i < definition->ngroups; i++)
	{
		columns[i] = definition->groups[i].attnum;
		operators[i] = definition->groups[i].eqop;
	}
	return execTuplesMatchPrepare(shape->desc, definition->ngroups, columns,
								  operators, definition->group_hash.collations,
								  NULL);
}

/* Adds the measures of a delta to those of another of the same group. */
static void
add_measures(Reading *reading, TupleTableSlot *sum, TupleTableSlot *delta)
{
	const Definition *definition = reading->rollup->shape->definition;
	MemoryContext context = MemoryContextSwitchTo(reading->row_context);

	for (int i = 0; i < definition->nmeasures; i++)
	{
		const Measure *measure = &definition->measures[i];
		Datum	   *value = &sum->tts_values[measure->attnum - 1];
		bool		isnull;
		Datum		added = slot_getattr(delta, measure->attnum, &isnull);

		*value = DirectFunctionCall2(measure->kind == MEASURE_SUM_NUMERIC ?
									 numeric_add : int8pl, *value, added);
	}
	MemoryContextSwitchTo(context);
}

/* Makes "sum" a copy of a delta, in a context that is reset before. */
static void
start_sum(Reading *reading, TupleTableSlot *sum, TupleTableSlot *delta)
{
	TupleDesc	desc = sum->tts_tupleDescriptor;
	MemoryContext context;

	ExecClearTuple(sum);
	MemoryContextReset(reading->row_context);
	context = MemoryContextSwitchTo(reading->row_context);
	slot_getallattrs(delta);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		sum->tts_isnull[i] = delta->tts_isnull[i];
		if (!delta->tts_isnull[i])
			sum->tts_values[i] = datumCopy(delta->tts_values[i],
										   column->attbyval, column->attlen);
	}
	MemoryContextSwitchTo(context);
	ExecStoreVirtualTuple(sum);
}

/* Reports all groups that have deltas, once. */
static void
report_deltas(Reading *reading)
{
	const RollupShape *shape = reading->rollup->shape;
	TupleTableSlot *sum = MakeSingleTupleTableSlot(shape->desc,
												   &TTSOpsVirtual);
	TupleTableSlot *delta = MakeSingleTupleTableSlot(shape->desc,
													 &TTSOpsMinimalTuple);
	ExprState  *same_group = make_comparison(reading);
	ExprContext *econtext = CreateStandaloneExprContext();

	tuplesort_performsort(reading->deltas);
	while (tuplesort_gettupleslot(reading->deltas, true, false, delta, NULL))
	{
		bool		is_same;

		CHECK_FOR_INTERRUPTS();
		econtext->ecxt_innertuple = sum;
		econtext->ecxt_outertuple = delta;
		is_same = !TTS_EMPTY(sum) && ExecQual(same_group, econtext);
		ResetExprContext(econtext);
		if (is_same)
			add_measures(reading, sum, delta);
		else
		{
			if (!TTS_EMPTY(sum))
				report_delta(reading, sum);
			start_sum(reading, sum, delta);
		}
	}
	if (!TTS_EMPTY(sum))
		report_delta(reading, sum);
	FreeExprContext(econtext, true);
	ExecDropSingleTupleTableSlot(delta);
	ExecDropSingleTupleTableSlot(sum);
}

/* Reports all rows of the table that were not reported. */
static void
report_rows(Reading *reading)
{
	TableScanDesc scan = table_beginscan(reading->table,
										 reading->request->snapshot, 0, NULL);
	TupleTableSlot *row = table_slot_create(reading->table, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		MemoryContext context = MemoryContextSwitchTo(reading->row_context);

		CHECK_FOR_INTERRUPTS();
		if (hash_search(reading->undone, &row->tts_tid, HASH_FIND,
						NULL) == NULL)
			report(reading, row, false);
		MemoryContextSwitchTo(context);
		MemoryContextReset(reading->row_context);
	}
	ExecDropSingleTupleTableSlot(row);
	table_endscan(scan);
}

/*
 * The whole request
 */

/*
 * Throws unless rows of the table are what the reader's query takes them for,
 * which was planned without a lock on the table.
 */
static void
check_row_type(const Reading *reading)
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

/* Opens the rollup's table, for the role that is the rollup's owner. */
static void
open_table(Reading *reading)
{
	HASHCTL		info = {.keysize = sizeof(ItemPointerData),
		.entrysize = sizeof(ItemPointerData),
	.hcxt = CurrentMemoryContext};

	reading->table = table_open(reading->request->rollup, NoLock);
	check_row_type(reading);
	reading->index = group_index_open(reading->table,
									  rollup_group_index(reading->rollup,
														 reading->table),
									  reading->request->snapshot);
	reading->group = MakeSingleTupleTableSlot(RelationGetDescr(reading->table),
											  &TTSOpsVirtual);
	reading->undone = hash_create("notify_stats changed rows", 256, &info,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	reading->row_context = AllocSetContextCreate(CurrentMemoryContext,
												 "notify_stats row",
												 ALLOCSET_SMALL_SIZES);
	if (reading->request->take_json != NULL)
		init_json(reading);
}

/* Reports what is wanted.  "changed": some groups may differ. */
static void
report_all(Reading *reading, bool changed)
{
	SavedRole	saved = rollup_begin_as_owner(reading->rollup, true);

	if (changed)
		report_deltas(reading);
	if (reading->request->kind != CHANGES_SINCE)
		report_rows(reading);
	if (reading->request->take_json != NULL)
		flush_json(reading);
	rollup_end_as_owner(saved);
}

static void
close_table(Reading *reading)
{
	group_index_close(reading->index);
	ExecDropSingleTupleTableSlot(reading->group);
	table_close(reading->table, NoLock);
}

/* Answers the request with an opened rollup. */
static void
answer(Reading *reading)
{
	bool		changed = find_range(reading);

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
	open_table(reading);
	if (changed)
	{
		reading->deltas = group_index_begin_sort(reading->index,
												 reading->rollup->shape->desc);
		prepare_slot(reading);
		read_changes(reading);
	}
	report_all(reading, changed);
	if (changed)
	{
		tuplesort_end(reading->deltas);
		release_slot(reading);
	}
	close_table(reading);
}

/*
 * Tries to answer the request.  If a lock is not free, stores it in *busy and
 * returns false.
 */
static bool
try_answer(Reading *reading, BusyLock *busy)
{
	Oid			relid = reading->request->rollup;
	SavedRole	saved = xact_become(BOOTSTRAP_SUPERUSERID);
	ShapeAccess access;

	xact_use_worker_values();
	slot_follower_name(&reading->slot_name);
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
answer_with_locks(Reading *reading)
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
	Reading		reading = {.request = request};

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
		NameData	name;

		trouble_reset();
		follower.rollup = InvalidOid;
		slot_follower_name(&name);
		slot_discard(NameStr(name));
		PG_RE_THROW();
	}
	PG_END_TRY();
	trouble_ignore(false);
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
	return result;
}
