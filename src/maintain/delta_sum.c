/*-------------------------------------------------------------------------
 *
 * delta_sum.c
 *	  The deltas of a long range of changes, summed per group.
 *
 * A pass over many changes returns deltas several times, as their memory is
 * limited, and a group may be in each of them.  They are sorted here in the
 * order of the rollup's index, within work_mem, and those of one group are
 * added.  Comparisons may call functions of users, so the caller of
 * delta_sum_next must have switched to the rollup's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "delta_sum.h"

struct DeltaSum
{
	const Rollup *rollup;
	Tuplesortstate *sort;
	bool		sorted;
	ExprState  *same_group;		/* of "sum" and "delta" */
	ExprContext *econtext;
	TupleTableSlot *sum;
	TupleTableSlot *delta;		/* the next one; empty: there is none */
	MemoryContext group_context;	/* has the values of "sum" */
};

/* Returns an expression that compares the groups of two deltas. */
static ExprState *
make_comparison(const RollupShape *shape)
{
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

/* Starts a sum, in the current memory context. */
DeltaSum *
delta_sum_begin(const Rollup *rollup, const GroupIndex *index)
{
	TupleDesc	desc = rollup->shape->desc;
	DeltaSum   *sum = palloc0(sizeof(DeltaSum));

	sum->rollup = rollup;
	sum->sort = group_index_begin_sort(index, desc);
	sum->same_group = make_comparison(rollup->shape);
	sum->econtext = CreateStandaloneExprContext();
	sum->sum = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	sum->delta = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	sum->group_context = AllocSetContextCreate(CurrentMemoryContext,
											   "notify_stats sum",
											   ALLOCSET_SMALL_SIZES);
	return sum;
}

/*
 * Adds the deltas of a part of the changes; with "unchanged", also of groups
 * whose measures these do not change.  Frees them.
 */
void
delta_sum_add(DeltaSum *sum, Delta *delta, bool unchanged)
{
	uint64		nrows;
	Tuplestorestate *rows = delta_rows(delta, unchanged, &nrows);
	TupleTableSlot *row;
	SavedRole	saved;

	if (rows == NULL)
		return;
	row = MakeSingleTupleTableSlot(sum->rollup->shape->desc,
								   &TTSOpsMinimalTuple);
	saved = rollup_begin_as_owner(sum->rollup, true);
	while (tuplestore_gettupleslot(rows, true, false, row))
		tuplesort_puttupleslot(sum->sort, row);
	rollup_end_as_owner(saved);
	ExecDropSingleTupleTableSlot(row);
	tuplestore_end(rows);
}

static void
fetch_delta(DeltaSum *sum)
{
	CHECK_FOR_INTERRUPTS();
	(void) tuplesort_gettupleslot(sum->sort, true, false, sum->delta, NULL);
}

/* Makes the sum a copy of the first delta of a group. */
static void
start_group(DeltaSum *sum)
{
	TupleTableSlot *slot = sum->sum;
	TupleDesc	desc = slot->tts_tupleDescriptor;
	MemoryContext context;

	ExecClearTuple(slot);
	MemoryContextReset(sum->group_context);
	context = MemoryContextSwitchTo(sum->group_context);
	slot_getallattrs(sum->delta);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		slot->tts_isnull[i] = sum->delta->tts_isnull[i];
		if (!slot->tts_isnull[i])
			slot->tts_values[i] = datumCopy(sum->delta->tts_values[i],
											column->attbyval, column->attlen);
	}
	MemoryContextSwitchTo(context);
	ExecStoreVirtualTuple(slot);
}

static bool
is_same_group(DeltaSum *sum)
{
	bool		result;

	sum->econtext->ecxt_innertuple = sum->sum;
	sum->econtext->ecxt_outertuple = sum->delta;
	result = ExecQual(sum->same_group, sum->econtext);
	ResetExprContext(sum->econtext);
	return result;
}

/*
 * Adds the next delta to the sum.  The difference of two values of bigint may
 * exceed the type, so sums of that type are added modulo 2^64.  From a value of
 * now, that leads to the right value of before, which does not exceed it.
 */
static void
add_delta(DeltaSum *sum)
{
	const Definition *definition = sum->rollup->shape->definition;
	MemoryContext context = MemoryContextSwitchTo(sum->group_context);

	for (int i = 0; i < definition->nmeasures; i++)
	{
		const Measure *measure = &definition->measures[i];
		Datum	   *value = &sum->sum->tts_values[measure->attnum - 1];
		bool		isnull;
		Datum		added = slot_getattr(sum->delta, measure->attnum, &isnull);

		if (measure->kind == MEASURE_SUM_NUMERIC)
			*value = DirectFunctionCall2(numeric_add, *value, added);
		else
			*value = Int64GetDatum((int64) ((uint64) DatumGetInt64(*value) +
											(uint64) DatumGetInt64(added)));
	}
	MemoryContextSwitchTo(context);
}

/*
 * Returns the next group and the sum of its deltas, until the next call, or
 * NULL.  Those of type bigint are modulo 2^64.
 */
TupleTableSlot *
delta_sum_next(DeltaSum *sum)
{
	if (!sum->sorted)
	{
		tuplesort_performsort(sum->sort);
		sum->sorted = true;
		fetch_delta(sum);
	}
	if (TTS_EMPTY(sum->delta))
		return NULL;
	start_group(sum);
	for (fetch_delta(sum); !TTS_EMPTY(sum->delta) && is_same_group(sum);
		 fetch_delta(sum))
		add_delta(sum);
	return sum->sum;
}

void
delta_sum_end(DeltaSum *sum)
{
	tuplesort_end(sum->sort);
	FreeExprContext(sum->econtext, true);
	ExecDropSingleTupleTableSlot(sum->delta);
	ExecDropSingleTupleTableSlot(sum->sum);
	MemoryContextDelete(sum->group_context);
	pfree(sum);
}
