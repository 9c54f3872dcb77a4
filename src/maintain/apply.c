/*-------------------------------------------------------------------------
 *
 * apply.c
 *	  Applies deltas to tables.
 *
 * Each changed group is looked up in the table by its unique index.  It is
 * deleted if its count becomes zero, or otherwise updated or inserted.  There
 * is one DELETE, one UPDATE and one INSERT, as needed.  So constraints,
 * generated columns and triggers of the table see only the rows that the table
 * has before and after.  A single INSERT ... ON CONFLICT DO UPDATE would
 * propose the deltas as rows.  The server would check constraints and compute
 * generated columns for these rows.  It also could not delete.
 *
 * The rows are passed to the statements as named tuplestores, in the same way
 * as transition tables to triggers, so that values of any type are unchanged.
 * Each row has the address of the row that was found, as column ctid.  A
 * column of the table cannot have that name.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "apply.h"
#include "catalog.h"
#include "catalog_version.h"
#include "compat.h"
#include "group_index.h"
#include "shape.h"
#include "trouble.h"
#include "xact.h"

/* Makes rows available to statements, under the name APPLY_ROWS. */
static EphemeralNamedRelation
name_rows(Tuplestorestate *rows, TupleDesc desc, uint64 nrows)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = APPLY_ROWS;
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = (double) nrows;
	enr->reldata = rows;
	return enr;
}

/*
 * Runs a query that reads the rows of a tuplestore.  The query refers to them
 * as notify_stats_rows, with the columns of "desc".  SPI must be connected.
 */
void
apply_query_with_rows(const char *query, Tuplestorestate *rows, TupleDesc desc,
					  uint64 nrows)
{
	if (SPI_register_relation(name_rows(rows, desc, nrows)) !=
		SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows");
	xact_execute(query);
	SPI_unregister_relation(APPLY_ROWS);
}

/*
 * With at least this number of rows, they are sorted, in order to find and
 * write them in the order of the index.
 */
#define SORTED_ROWS 100

/*
 * The statements of a rollup, in the order in which they run.  DELETE is
 * first, so that rows to be deleted cannot conflict with others.
 */
typedef enum ApplyStatement
{
	APPLY_DELETE,
	APPLY_UPDATE,
	APPLY_INSERT
} ApplyStatement;

#define APPLY_STATEMENTS 3

static bool
is_nullable_sum(const Measure *measure)
{
	return measure->kind != MEASURE_COUNT && measure->companion >= 0;
}

/* Appends the SELECT of the rows to insert.  A sum of no value is NULL. */
static void
append_select(StringInfo buf, const Definition *definition)
{
	appendStringInfoString(buf, "SELECT ");
	for (int column = 1; column <= definition->ncolumns; column++)
	{
		const char *separator = column > 1 ? ", " : "";

		for (int i = 0; i < definition->ngroups; i++)
			if (definition->groups[i].attnum == column)
				appendStringInfo(buf, "%sd.%s", separator,
								 quote_identifier(definition->groups[i].name));
		for (int i = 0; i < definition->nmeasures; i++)
		{
			const Measure *measure = &definition->measures[i];

			if (measure->attnum != column)
				continue;
			if (is_nullable_sum(measure))
				appendStringInfo(buf,
								 "%sCASE WHEN d.%s <> 0 OR d.%s <> 0 THEN d.%s END", separator,
								 quote_identifier(definition->measures[measure->companion].name),
								 quote_identifier(measure->name),
								 quote_identifier(measure->name));
			else
				appendStringInfo(buf, "%sd.%s", separator,
								 quote_identifier(measure->name));
		}
	}
}

static void
append_assignments(StringInfo buf, const Definition *definition)
{
	for (int i = 0; i < definition->nmeasures; i++)
	{
		const Measure *measure = &definition->measures[i];
		const char *name = quote_identifier(measure->name);

		appendStringInfo(buf, "%s%s = ", i > 0 ? ", " : "", name);
		if (is_nullable_sum(measure))
		{
			const char *count = quote_identifier(definition->measures[measure->companion].name);

			appendStringInfo(buf,
							 "CASE WHEN r.%s + d.%s <> 0 THEN coalesce(r.%s, 0) + d.%s END",
							 count, count, name, name);
		}
		else
			appendStringInfo(buf, "r.%s + d.%s", name, name);
	}
}

/*
 * The table to which a rollup's deltas are applied: its own, or the temporary
 * table of a build.
 */
typedef struct ApplyTarget
{
	const Rollup *rollup;
	const char *name;			/* qualified and quoted */
	bool		is_own;
} ApplyTarget;

static char *
statement_text(const ApplyTarget *target, ApplyStatement statement)
{
	const RollupShape *shape = target->rollup->shape;
	const char *updated_at = target->is_own ?
	target->rollup->updated_at : NULL;
	StringInfoData buf;

	initStringInfo(&buf);
	switch (statement)
	{
		case APPLY_DELETE:
			appendStringInfo(&buf,
							 "DELETE FROM ONLY %s AS r USING " APPLY_ROWS " d"
							 " WHERE r.ctid = d.ctid", target->name);
			break;
		case APPLY_UPDATE:
			appendStringInfo(&buf, "UPDATE ONLY %s AS r SET ", target->name);
			append_assignments(&buf, shape->definition);
			if (updated_at != NULL)
				appendStringInfo(&buf, ", %s = now()",
								 quote_identifier(updated_at));
			appendStringInfoString(&buf,
								   " FROM " APPLY_ROWS " d WHERE r.ctid = d.ctid");
			break;
		case APPLY_INSERT:
			appendStringInfo(&buf, "INSERT INTO %s (%s%s%s) ", target->name,
							 shape_columns(shape), updated_at ? ", " : "",
							 updated_at ? quote_identifier(updated_at) : "");
			append_select(&buf, shape->definition);
			if (updated_at != NULL)
				appendStringInfoString(&buf, ", now()");
			appendStringInfoString(&buf, " FROM " APPLY_ROWS " d");
			break;
	}
	return buf.data;
}

/* Throws unless the expected number of groups was written. */
void
apply_check_written(const Rollup *rollup, uint64 written, uint64 expected)
{
	if (written != expected)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("could not write all groups of rollup %s",
						rollup->shape->name),
				 errdetail("A trigger or rule on the table has suppressed rows."),
				 errhint("Drop the trigger or rule, then run: %s",
						 rollup_rebuild_statement(rollup->shape->name, false))));
}

/* Throws if the name of the rollup's own table now means another table. */
static void
check_target(const ApplyTarget *target)
{
	if (target->is_own)
		rollup_check_name(target->rollup);
}

/* A plan that is cached in a rollup's shape. */
typedef struct ApplyPlan
{
	const char *query;			/* its text, for the server log */
	PlannedStmt *plan;
	CatalogStamp stamp;			/* of the catalogs when it was planned */
} ApplyPlan;

/*
 * Returns whether a plan writes only the given table.  A rule may cause it to
 * write others.
 */
static bool
writes_only(const PlannedStmt *plan, Oid relid)
{
	int			written = plan_written_table(plan);

	return written != 0 && rt_fetch(written, plan->rtable)->relid == relid;
}

/*
 * Plans an UPDATE or DELETE such that it fetches rows by their addresses,
 * regardless of the statistics of the table.  The plan is reused while the
 * table grows.
 */
static PlannedStmt *
plan_by_address(Query *query, const char *text)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {{"enable_seqscan", "off"},
	{"enable_tidscan", "on"}, {"enable_nestloop", "on"}};
	int			nestlevel = NewGUCNestLevel();
	PlannedStmt *plan;

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i].name, settings[i].value,
								 PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	plan = plan_query(query, text);
	AtEOXact_GUC(false, nestlevel);
	return plan;
}

static PlannedStmt *
plan_statement(const ApplyTarget *target, ApplyStatement statement,
			   const char *text,
			   QueryEnvironment *environment)
{
	const Rollup *rollup = target->rollup;
	List	   *queries;
	PlannedStmt *plan = NULL;

	check_target(target);
	queries = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt,
															   pg_parse_query(text)),
												 text, NULL, 0, environment);
	if (list_length(queries) == 1)
		plan = statement == APPLY_INSERT ?
			plan_query(linitial_node(Query, queries), text) :
			plan_by_address(linitial_node(Query, queries), text);
	if (plan == NULL || (target->is_own && !writes_only(plan, rollup->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("cannot write to rollup %s because its table has rules",
						rollup->shape->name),
				 errhint("Drop the rules, then run: %s",
						 rollup_rebuild_statement(rollup->shape->name, false))));
	return plan;
}

/*
 * Returns the plan of a statement.  Plans for the rollup's own table are
 * cached until some catalog changes.  SPI would plan the statement again each
 * time after decoding has invalidated the plan cache.  For the few groups of a
 * usual batch, planning takes longer than execution.  The plan needs no locks,
 * since the only table in it is locked.
 */
static ApplyPlan
find_plan(const ApplyTarget *target, ApplyStatement statement,
		  QueryEnvironment *environment)
{
	RollupShape *shape = target->rollup->shape;
	uint64		version = catalog_version();
	ApplyPlan	plan = {0};
	ApplyPlan  *entry;
	MemoryContext context;

	if (shape->plans == NULL)
		shape->plans = MemoryContextAllocZero(shape->context,
											  sizeof(ApplyPlan) * APPLY_STATEMENTS);
	entry = &shape->plans[statement];
	if (target->is_own && catalog_stamp_holds(&entry->stamp))
		return *entry;

	plan.query = statement_text(target, statement);
	plan.plan = plan_statement(target, statement, plan.query, environment);
	if (!target->is_own)
		return plan;
	context = MemoryContextSwitchTo(shape->context);
	entry->query = pstrdup(plan.query);
	entry->plan = copyObject(plan.plan);
	catalog_stamp(&entry->stamp, version);
	MemoryContextSwitchTo(context);
	return *entry;
}

/* Runs a statement, and returns the number of rows it has changed. */
static uint64
run_statement(const ApplyTarget *target, ApplyStatement statement,
			  QueryEnvironment *environment)
{
	ApplyPlan	plan;
	QueryDesc  *query;
	uint64		nrows;

	PushActiveSnapshot(GetTransactionSnapshot());
	plan = find_plan(target, statement, environment);
	query = CreateQueryDesc(plan.plan, plan.query, GetActiveSnapshot(),
							InvalidSnapshot,
							None_Receiver, NULL, environment, 0);
	ExecutorStart(query, 0);
	executor_run(query);
	nrows = query->estate->es_processed;
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
	PopActiveSnapshot();
	CommandCounterIncrement();
	return nrows;
}

/*
 * Choosing the statement for each delta
 */

/* The deltas of a rollup, divided by statement. */
typedef struct Batch
{
	const ApplyTarget *target;
	const RollupShape *shape;	/* of the target's rollup */
	const AttrNumber *columns;	/* of the target, by column of the definition */
	GroupIndex *index;
	TupleTableSlot *row;		/* a delta and the address of its group */
	Tuplestorestate *rows[APPLY_STATEMENTS];	/* NULL: none */
	uint64		nrows[APPLY_STATEMENTS];
	MemoryContext row_context;
} Batch;

/*
 * Returns whether a measure of a group becomes zero.  "found" is NULL for a
 * new group.
 */
static bool
comes_to_zero(const Batch *batch, const Measure *measure,
			  TupleTableSlot *found, TupleTableSlot *delta)
{
	bool		isnull = true;
	Datum		value = found ?
	slot_getattr(found, batch->columns[measure->attnum - 1], &isnull) :
	(Datum) 0;
	bool		never_null;
	Datum		added = slot_getattr(delta, measure->attnum, &never_null);
	Datum		zero = NumericGetDatum(int64_to_numeric(0));
	int64		sum;

	if (measure->kind != MEASURE_SUM_NUMERIC)
		return !pg_add_s64_overflow(isnull ? 0 : DatumGetInt64(value),
									DatumGetInt64(added), &sum) &&
			sum == 0;
	if (!isnull)
		added = DirectFunctionCall2(numeric_add, value, added);
	return DatumGetBool(DirectFunctionCall2(numeric_eq, added, zero));
}

static bool
all_come_to_zero(const Batch *batch, TupleTableSlot *found,
				 TupleTableSlot *delta)
{
	const Definition *definition = batch->shape->definition;

	for (int i = 0; i < definition->nmeasures; i++)
		if (!comes_to_zero(batch, &definition->measures[i], found, delta))
			return false;
	return true;
}

/* Returns the new row count of a group. */
static int64
new_count(const Batch *batch, TupleTableSlot *found, TupleTableSlot *delta,
		  bool *isnull)
{
	const Definition *definition = batch->shape->definition;
	AttrNumber	attnum = definition->measures[definition->row_count].attnum;
	Datum		added = slot_getattr(delta, attnum, isnull);
	Datum		count = found ?
	slot_getattr(found, batch->columns[attnum - 1], isnull) :
	Int64GetDatum(0);

	return *isnull ?
		0 : DatumGetInt64(DirectFunctionCall2(int8pl, count, added));
}

/*
 * Returns the statement for a delta.  Throws if the count becomes negative, or
 * if it becomes zero and another measure does not.  Then the table did not
 * match the definition, for example because it was modified manually.  Such a
 * table is never corrected silently.
 */
static ApplyStatement
choose_statement(const Batch *batch, TupleTableSlot *found,
				 TupleTableSlot *delta)
{
	const Rollup *rollup = batch->target->rollup;
	bool		isnull;
	int64		count = new_count(batch, found, delta, &isnull);

	if (!isnull && count > 0)
		return found ? APPLY_UPDATE : APPLY_INSERT;
	if (!isnull && count == 0 && all_come_to_zero(batch, found, delta))
		return APPLY_DELETE;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("rollup %s does not match its definition: a group would have a count of %s",
					rollup->shape->name, isnull ?
					"NULL" : psprintf(INT64_FORMAT, count)),
			 errdetail("The table may have been modified manually."),
			 errhint("Run: %s", rollup_rebuild_statement(rollup->shape->name,
														 rollup->ignores !=
														 NIL))));
}

/* Returns a row type with the columns of the definition, and ctid. */
static TupleDesc
batch_desc(TupleDesc columns)
{
	TupleDesc	desc = CreateTemplateTupleDesc(columns->natts + 1);

	for (int i = 1; i <= columns->natts; i++)
		TupleDescCopyEntry(desc, i, columns, i);
	TupleDescInitEntry(desc, desc->natts, "ctid", TIDOID, -1, 0);
	TupleDescFinalize(desc);
	return desc;
}

static void
add_to_batch(Batch *batch, ApplyStatement statement, TupleTableSlot *found,
			 TupleTableSlot *delta)
{
	int			ncolumns = batch->shape->desc->natts;
	TupleTableSlot *row = batch->row;

	ExecClearTuple(row);
	slot_getallattrs(delta);
	memcpy(row->tts_values, delta->tts_values, sizeof(Datum) * ncolumns);
	memcpy(row->tts_isnull, delta->tts_isnull, sizeof(bool) * ncolumns);
	row->tts_isnull[ncolumns] = found == NULL;
	if (found != NULL)
		row->tts_values[ncolumns] = PointerGetDatum(&found->tts_tid);
	ExecStoreVirtualTuple(row);

	if (batch->rows[statement] == NULL)
		batch->rows[statement] = tuplestore_begin_heap(false, false, work_mem);
	tuplestore_puttupleslot(batch->rows[statement], row);
	batch->nrows[statement]++;
}

/* Looks up the group of a delta, and adds it to the batch. */
static void
take_delta(Batch *batch, TupleTableSlot *delta)
{
	TupleTableSlot *found = group_index_find(batch->index, delta);
	MemoryContext context = MemoryContextSwitchTo(batch->row_context);
	ApplyStatement statement = choose_statement(batch, found, delta);

	MemoryContextSwitchTo(context);
	MemoryContextReset(batch->row_context);
	add_to_batch(batch, statement, found, delta);
}

/* Adds many deltas to the batch, in the order of the index. */
static void
take_sorted(Batch *batch, Tuplestorestate *deltas, TupleTableSlot *delta)
{
	Tuplesortstate *sort = group_index_begin_sort(batch->index,
												  batch->shape->desc);

	while (tuplestore_gettupleslot(deltas, true, false, delta))
		tuplesort_puttupleslot(sort, delta);
	tuplesort_performsort(sort);
	while (tuplesort_gettupleslot(sort, true, false, delta, NULL))
		take_delta(batch, delta);
	ExecClearTuple(delta);
	tuplesort_end(sort);
}

static void
take_deltas(Batch *batch, Tuplestorestate *deltas, uint64 ndeltas)
{
	TupleTableSlot *delta = MakeSingleTupleTableSlot(batch->shape->desc,
													 &TTSOpsMinimalTuple);

	if (ndeltas >= SORTED_ROWS)
		take_sorted(batch, deltas, delta);
	else
		while (tuplestore_gettupleslot(deltas, true, false, delta))
			take_delta(batch, delta);
	ExecDropSingleTupleTableSlot(delta);
}

static Relation
open_target(const ApplyTarget *target)
{
	List	   *names;

	if (target->is_own)
		return table_open(target->rollup->relid, RowExclusiveLock);
	names = textToQualifiedNameList(cstring_to_text(target->name));
	return table_openrv(makeRangeVarFromNameList(names), RowExclusiveLock);
}

/*
 * Throws because not all rows that were found were written.  If there are
 * BEFORE ROW triggers, they may suppress the rows each time.  Otherwise
 * another session has concurrently changed the rows.
 */
static void
complain_of_missing(const Rollup *rollup, Relation table, uint64 written,
					uint64 expected)
{
	TriggerDesc *triggers = table->trigdesc;

	if (triggers != NULL && (triggers->trig_delete_before_row ||
							 triggers->trig_update_before_row ||
							 triggers->trig_insert_before_row))
		apply_check_written(rollup, written, expected);
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("rollup %s was changed by another session while it was being written", rollup->shape->name),
			 errhint("Only notify_stats should modify the table of a rollup.")));
}

static void
write_rows(const Batch *batch, Relation table, ApplyStatement statement)
{
	QueryEnvironment *environment = create_queryEnv();
	uint64		expected = batch->nrows[statement];
	uint64		written;

	register_ENR(environment,
				 name_rows(batch->rows[statement],
						   batch->row->tts_tupleDescriptor,
						   expected));
	written = run_statement(batch->target, statement, environment);
	if (written != expected)
		complain_of_missing(batch->target->rollup, table, written, expected);
	tuplestore_end(batch->rows[statement]);
}

/* Adds deltas to the target, and frees their tuplestore. */
static void
add_deltas(const ApplyTarget *target, Tuplestorestate *deltas, uint64 ndeltas)
{
	Relation	table = open_target(target);
	Batch		batch = {0};

	batch.target = target;
	batch.shape = target->rollup->shape;
	batch.columns = rollup_columns(target->rollup, table);
	batch.index = group_index_open(target->rollup, table, NULL);
	batch.row = MakeSingleTupleTableSlot(batch_desc(batch.shape->desc),
										 &TTSOpsVirtual);
	batch.row_context = AllocSetContextCreate(CurrentMemoryContext,
											  "notify_stats row",
											  ALLOCSET_SMALL_SIZES);
	take_deltas(&batch, deltas, ndeltas);
	tuplestore_end(deltas);
	group_index_close(batch.index);
	for (int i = 0; i < APPLY_STATEMENTS; i++)
		if (batch.rows[i] != NULL)
			write_rows(&batch, table, i);
	ExecDropSingleTupleTableSlot(batch.row);
	table_close(table, NoLock);
}

static void
empty_table(const ApplyTarget *target)
{
	check_target(target);
	SPI_connect();
	if (SPI_execute(psprintf("DELETE FROM ONLY %s", target->name), false,
					0) != SPI_OK_DELETE)
		elog(ERROR, "could not empty rollup %s", target->rollup->shape->name);
	SPI_finish();
}

/*
 * Applies the deltas of one rollup to the temporary table of a build, given by
 * its qualified and quoted name, or to the rollup's own table (NULL).  Runs as
 * the rollup's owner.  Returns whether anything changed.  Throws if the table
 * did not match the definition, for example if a count becomes negative.
 */
bool
apply_delta(Delta *delta, const char *build_table)
{
	const Rollup *rollup = delta->rollup;
	ApplyTarget target = {rollup, build_table ?
	build_table : rollup->shape->name, build_table == NULL};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats apply",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	uint64		ndeltas;
	Tuplestorestate *deltas = delta_rows(delta, false, &ndeltas);
	bool		changes = deltas != NULL || delta->truncated;
	SavedRole	saved;

	if (changes)
	{
		saved = rollup_begin_as_owner(rollup, true);
		xact_limit_lock_waits(rollup_lock_patience(rollup));
		xact_check_constraints_at_once();
		if (delta->truncated)
			empty_table(&target);
		if (deltas != NULL)
			add_deltas(&target, deltas, ndeltas);
		rollup_end_as_owner(saved);
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
	return changes;
}
