/*-------------------------------------------------------------------------
 *
 * apply.c
 *	  Deltas become rows.
 *
 * One statement a rollup: INSERT … ON CONFLICT DO UPDATE, which finds groups
 * with NULLs too, since it goes by the unique index (NULLS NOT DISTINCT).  The
 * deltas are handed to it as a named tuplestore, as trigger transition tables
 * are, so that columns of any type pass unchanged.  A second statement deletes
 * the groups whose count has come to zero, by their address, so that no index
 * on the count is needed, which would make every update touch all indexes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"

#include "apply.h"
#include "catalog.h"
#include "compat.h"
#include "own_table.h"
#include "trouble.h"
#include "xact.h"

/* Describes rows for statements, which call them APPLY_ROWS. */
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

void
apply_query_with_rows(const char *query, Tuplestorestate *rows, TupleDesc desc, uint64 nrows)
{
	if (SPI_register_relation(name_rows(rows, desc, nrows)) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows");
	xact_execute(query);
	SPI_unregister_relation(APPLY_ROWS);
}

/* From so many rows on, writing them in the order of the index is worth a sort. */
#define SORTED_ROWS 100

static bool
is_nullable_sum(const Measure *measure)
{
	return measure->kind != MEASURE_COUNT && measure->companion >= 0;
}

/*
 * The rows to insert.  A sum over no input has to be NULL in a new group; a
 * zero that is to be added to an existing one makes no difference as NULL.
 */
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
				appendStringInfo(buf, "%sCASE WHEN d.%s <> 0 OR d.%s <> 0 THEN d.%s END", separator,
								 quote_identifier(definition->measures[measure->companion].name),
								 quote_identifier(measure->name),
								 quote_identifier(measure->name));
			else
				appendStringInfo(buf, "%sd.%s", separator, quote_identifier(measure->name));
		}
	}
}

static void
append_update(StringInfo buf, const Definition *definition)
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
							 "CASE WHEN r.%s + excluded.%s <> 0 THEN"
							 " coalesce(r.%s, 0) + coalesce(excluded.%s, 0) END",
							 count, count, name, name);
		}
		else
			appendStringInfo(buf, "r.%s + excluded.%s", name, name);
	}
}

/* True of a row whose count is zero and which yet holds something. */
static void
append_remainder(StringInfo buf, const Definition *definition)
{
	appendStringInfoString(buf, "false");
	for (int i = 0; i < definition->nmeasures; i++)
		appendStringInfo(buf, " OR r.%s <> 0", quote_identifier(definition->measures[i].name));
}

/*
 * The statement that adds the deltas.  It returns the address of each row that
 * it has written, its count, and whether there is more to it than the count.
 */
static char *
upsert_query(const Rollup *rollup, const char *target, bool sorted)
{
	const Definition *definition = rollup->definition;
	const char *count = quote_identifier(definition->measures[definition->row_count].name);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "INSERT INTO %s AS r (%s) ", target,
					 rollup_columns(rollup));
	append_select(&buf, definition);
	appendStringInfoString(&buf, " FROM " APPLY_ROWS " d");
	if (sorted)
		appendStringInfo(&buf, " ORDER BY %s", rollup_group_columns(definition, "d."));
	appendStringInfo(&buf, " ON CONFLICT (%s) DO UPDATE SET ",
					 own_table_conflict_target(definition));
	append_update(&buf, definition);
	appendStringInfo(&buf, " RETURNING r.ctid, r.%s, ", count);
	append_remainder(&buf, definition);
	return buf.data;
}

void
apply_check_written(const Rollup *rollup, uint64 written, uint64 expected)
{
	if (written != expected)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("could not write all groups of rollup %s", rollup->name),
				 errdetail("A trigger or rule on the table has kept rows away."),
				 errhint("Drop it, and run: %s",
						 rollup_rebuild_statement(rollup->name, rollup->ignores != NIL))));
}

/* Throws if the name of the rollup's own table has become another one's. */
static void
check_target(const Rollup *rollup, const char *target)
{
	if (target == rollup->name)
		rollup_check_name(rollup);
}

/* Throws unless the rollup's own table has the index that finds a group. */
static void
check_index(const Rollup *rollup, const char *target)
{
	if (target == rollup->name && !rollup->shape->has_index)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rollup %s has no unique index on its group columns", rollup->name),
				 errhint("Run: CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT;", rollup->name,
						 rollup_group_columns(rollup->definition, ""))));
}

/* The statements of a rollup. */
typedef enum ApplyStatement
{
	APPLY_FEW,					/* the upsert, in any order */
	APPLY_MANY,					/* the same, in the order of the index */
	APPLY_DELETE				/* of groups, by their addresses */
} ApplyStatement;

#define APPLY_STATEMENTS 3

/* A plan that a rollup's shape keeps. */
typedef struct ApplyPlan
{
	const char *query;			/* its text, for logs */
	PlannedStmt *plan;
	uint64		version;		/* of the catalogs when it was planned */
} ApplyPlan;

static char *
statement_text(const Rollup *rollup, const char *target, ApplyStatement statement)
{
	if (statement == APPLY_DELETE)
		return psprintf("DELETE FROM ONLY %s WHERE ctid = ANY ($1)", target);
	return upsert_query(rollup, target, statement == APPLY_MANY);
}

/* Whether a plan writes that table alone, as a rule may have it do otherwise. */
static bool
writes_only(const PlannedStmt *plan, Oid relid)
{
	return list_length(plan->resultRelations) == 1 &&
		rt_fetch(linitial_int(plan->resultRelations), plan->rtable)->relid == relid;
}

static PlannedStmt *
plan_statement(const Rollup *rollup, const char *target, ApplyStatement statement,
			   const char *query, QueryEnvironment *environment)
{
	Oid			params[1] = {TIDARRAYOID};
	List	   *queries;
	PlannedStmt *plan = NULL;

	check_target(rollup, target);
	queries = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, pg_parse_query(query)),
												 query, params,
												 statement == APPLY_DELETE ? 1 : 0, environment);
	if (list_length(queries) == 1)
		plan = pg_plan_query(linitial_node(Query, queries), query, 0, NULL);
	if (plan == NULL || (target == rollup->name && !writes_only(plan, rollup->relid)))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("cannot write rollup %s, as its table has rules", rollup->name),
				 errhint("Drop the rules, and run: %s",
						 rollup_rebuild_statement(rollup->name, rollup->ignores != NIL))));
	return plan;
}

/*
 * The plan of a statement: for the rollup's own table a kept one, unless some
 * catalog has changed.  SPI would plan it anew whenever decoding has emptied the
 * plan cache; that would take longer than to run it, for the few groups of a
 * usual batch.  The only table in it is locked.
 */
static ApplyPlan
find_plan(const Rollup *rollup, const char *target, ApplyStatement statement,
		  QueryEnvironment *environment)
{
	RollupShape *shape = rollup->shape;
	ApplyPlan	plan;
	ApplyPlan  *entry;
	MemoryContext context;

	plan.version = catalog_version();
	if (shape->plans == NULL)
		shape->plans = MemoryContextAllocZero(shape->context,
											  sizeof(ApplyPlan) * APPLY_STATEMENTS);
	entry = &shape->plans[statement];
	if (target == rollup->name && entry->plan != NULL && entry->version == plan.version)
		return *entry;

	plan.query = statement_text(rollup, target, statement);
	plan.plan = plan_statement(rollup, target, statement, plan.query, environment);
	if (target != rollup->name)
		return plan;
	context = MemoryContextSwitchTo(shape->context);
	entry->query = pstrdup(plan.query);
	entry->plan = copyObject(plan.plan);
	entry->version = plan.version;
	MemoryContextSwitchTo(context);
	return *entry;
}

/* Runs a statement, and returns how many rows it has changed. */
static uint64
run_statement(const Rollup *rollup, const char *target, ApplyStatement statement,
			  QueryEnvironment *environment, ParamListInfo params, DestReceiver *receiver)
{
	ApplyPlan	plan;
	QueryDesc  *query;
	uint64		nrows;

	PushActiveSnapshot(GetTransactionSnapshot());
	plan = find_plan(rollup, target, statement, environment);
	query = CreateQueryDesc(plan.plan, plan.query, GetActiveSnapshot(), InvalidSnapshot, receiver,
							params, environment, 0);
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

/* What becomes of the rows that the upsert returns. */
typedef struct UpsertReceiver
{
	DestReceiver pub;			/* first, so that one can be cast to the other */
	const Rollup *rollup;
	uint64		nwritten;
	uint64		nempty;
	uint64		max_empty;		/* as many fit */
	Datum	   *empty;			/* addresses of groups whose count is now zero */
	MemoryContext context;		/* of these */
} UpsertReceiver;

/* Throws if a group whose count is not above zero is not simply empty. */
static void
check_empty_group(const Rollup *rollup, TupleTableSlot *row)
{
	bool		isnull;
	Datum		count = slot_getattr(row, 2, &isnull);

	if (!isnull && DatumGetInt64(count) == 0 && !DatumGetBool(slot_getattr(row, 3, &isnull)))
		return;
	(void) slot_getattr(row, 2, &isnull);
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("rollup %s does not match its definition: a group would have a count of %s",
					rollup->name,
					isnull ? "NULL" : psprintf(INT64_FORMAT, DatumGetInt64(count))),
			 errdetail("The table may have been changed by hand."),
			 errhint("Run: %s", rollup_rebuild_statement(rollup->name, rollup->ignores != NIL))));
}

/*
 * Takes a row that was written.  A count below zero, or one of zero beside
 * something else, means that the table was not what the definition had: changed
 * by hand, or worse.  That is said, never mended in silence.
 */
static bool
receive_row(TupleTableSlot *row, DestReceiver *self)
{
	UpsertReceiver *receiver = (UpsertReceiver *) self;
	bool		isnull;
	Datum		count = slot_getattr(row, 2, &isnull);
	MemoryContext context;

	receiver->nwritten++;
	if (!isnull && DatumGetInt64(count) > 0)
		return true;
	check_empty_group(receiver->rollup, row);

	context = MemoryContextSwitchTo(receiver->context);
	if (receiver->nempty == receiver->max_empty)
	{
		receiver->max_empty = Max(64, receiver->max_empty * 2);
		receiver->empty = receiver->empty == NULL ?
			palloc(sizeof(Datum) * receiver->max_empty) :
			repalloc_huge(receiver->empty, sizeof(Datum) * receiver->max_empty);
	}
	receiver->empty[receiver->nempty++] = datumCopy(slot_getattr(row, 1, &isnull), false,
													sizeof(ItemPointerData));
	MemoryContextSwitchTo(context);
	return true;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
receiver_shutdown(DestReceiver *self)
{
}

/* Deletes the groups that are empty, by their addresses. */
static void
delete_groups(const Rollup *rollup, const char *target, Datum *addresses, uint64 naddresses)
{
	ParamListInfo params = makeParamList(1);

	params->params[0].value =
		PointerGetDatum(construct_array(addresses, naddresses, TIDOID,
										sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = TIDARRAYOID;
	if (run_statement(rollup, target, APPLY_DELETE, NULL, params, None_Receiver) != naddresses)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not delete the empty groups of rollup %s", rollup->name),
				 errdetail("A trigger or rule on the table may have interfered.")));
}

/* Adds the rows to the target, and deletes the groups that are empty then. */
static void
add_rows(const Rollup *rollup, const char *target, Tuplestorestate *rows, uint64 nrows)
{
	UpsertReceiver receiver = {0};
	QueryEnvironment *environment = create_queryEnv();

	register_ENR(environment, name_rows(rows, rollup->desc, nrows));
	receiver.pub.receiveSlot = receive_row;
	receiver.pub.rStartup = receiver_startup;
	receiver.pub.rShutdown = receiver_shutdown;
	receiver.pub.rDestroy = receiver_shutdown;
	receiver.pub.mydest = DestNone;
	receiver.rollup = rollup;
	receiver.context = CurrentMemoryContext;
	(void) run_statement(rollup, target, nrows < SORTED_ROWS ? APPLY_FEW : APPLY_MANY,
						 environment, NULL, &receiver.pub);
	apply_check_written(rollup, receiver.nwritten, nrows);
	if (receiver.nempty > 0)
		delete_groups(rollup, target, receiver.empty, receiver.nempty);
}

static void
empty_table(const Rollup *rollup, const char *target)
{
	check_target(rollup, target);
	SPI_connect();
	if (SPI_execute(psprintf("DELETE FROM ONLY %s", target), false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not empty rollup %s", rollup->name);
	SPI_finish();
}

bool
apply_delta(Delta *delta, const char *target)
{
	const Rollup *rollup = delta_rollup(delta);
	Tuplestorestate *rows;
	uint64		nrows;
	SavedRole	saved;

	rows = delta_rows(delta, &nrows);
	if (rows == NULL && !delta_truncated(delta))
		return false;

	trouble_begin(rollup->relid);
	saved = xact_become(rollup->owner);
	xact_limit_lock_waits(rollup_lock_patience(rollup));
	check_index(rollup, target);
	if (delta_truncated(delta))
		empty_table(rollup, target);
	if (rows != NULL)
	{
		add_rows(rollup, target, rows, nrows);
		tuplestore_end(rows);
	}
	xact_restore_role(saved);
	trouble_end();
	return true;
}
