/*-------------------------------------------------------------------------
 *
 * fold.c
 *	  Converts row changes to deltas.
 *
 * Each rollup has a hash table with one entry per changed group.  The entry
 * holds the values to add to the measures of the group.  A deleted row is
 * added like an inserted row, but with the opposite sign.  So many changes of
 * one group become one update.  A row that is inserted and deleted again has
 * no effect.
 *
 * The hash table and the expressions are those of the executor.  Expressions
 * that may call functions of users are evaluated as the rollup's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/int.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "compat.h"
#include "fold.h"
#include "trouble.h"
#include "xact.h"

/*
 * Deltas are applied early, within the transaction, when they use more bytes
 * than this.  This limits the memory for transactions that change very many
 * groups.  Batches of usual size use much less.
 */
#define FOLD_MEMORY_LIMIT ((Size) 64 * 1024 * 1024)

/* The value to add to one measure of one group. */
typedef struct MeasureDelta
{
	int64		count;			/* MEASURE_COUNT and MEASURE_SUM_INT */
	Numeric		sum;			/* MEASURE_SUM_NUMERIC; NULL stands for 0 */
} MeasureDelta;

/* A source of changes of this fold. */
typedef struct FoldSource
{
	Source		source;			/* must be first, for casts */
	TupleTableSlot *old_slot;	/* share their arrays with the source's rows */
	TupleTableSlot *new_slot;
} FoldSource;

/* A branch of a definition, ready to be evaluated. */
typedef struct FoldBranch
{
	Oid			source;
	ExprState  *qual;
	ProjectionInfo *groups;		/* into the delta's group_slot */
	ExprState **args;			/* NULL for count(*) */
	ExprState **filters;		/* NULL without FILTER */
} FoldBranch;

/*
 * Setting up
 */

static ExprState **
init_expressions(List *expressions)
{
	ExprState **states =
	palloc0(sizeof(ExprState *) * (list_length(expressions) + 1));
	int			i = 0;
	ListCell   *lc;

	foreach(lc, expressions)
		states[i++] = lfirst(lc) ? ExecInitExpr((Expr *) lfirst(lc), NULL) :
		NULL;
	return states;
}

/* Returns a projection that computes all group columns of a row. */
static ProjectionInfo *
init_projection(List *expressions, ExprContext *econtext,
				TupleTableSlot *result)
{
	List	   *entries = NIL;
	ListCell   *lc;

	foreach(lc, expressions)
		entries = lappend(entries,
						  makeTargetEntry((Expr *) lfirst(lc),
										  list_length(entries) + 1,
										  NULL, false));
	return ExecBuildProjectionInfo(entries, econtext, result, NULL, NULL);
}

static void
init_branch(FoldBranch *target, const Branch *branch, ExprContext *econtext,
			TupleTableSlot *group_slot)
{
	target->source = branch->source;
	target->qual = ExecInitQual(branch->quals, NULL);
	target->groups = init_projection(branch->groups, econtext, group_slot);
	target->args = init_expressions(branch->args);
	target->filters = init_expressions(branch->filters);
}

static void
make_hash_table(Fold *fold, Delta *delta)
{
	const Definition *definition = delta->rollup->shape->definition;
	const GroupHash *hash = &definition->group_hash;

	delta->groups = build_tuple_hash_table(hash->desc, definition->ngroups,
										   hash->columns, hash->eq_functions,
										   delta->hash_functions,
										   hash->collations,
										   sizeof(MeasureDelta) * definition->nmeasures,
										   fold->table_context,
										   fold->econtext->ecxt_per_tuple_memory);
}

static void
name_parts(Delta *delta, const Definition *definition)
{
	delta->group_part = definition->ngroups > 1 ? "in a group column" :
		psprintf("in column \"%s\"", definition->groups[0].name);
	delta->measure_parts = palloc(sizeof(char *) * definition->nmeasures);
	for (int i = 0; i < definition->nmeasures; i++)
		delta->measure_parts[i] = psprintf("in column \"%s\"",
										   definition->measures[i].name);
}

static Delta *
make_delta(Rollup *rollup, ExprContext *econtext)
{
	const Definition *definition = rollup->shape->definition;
	int			ngroups = definition->ngroups;
	Delta	   *delta = palloc0(sizeof(Delta));
	SavedRole	saved;
	ListCell   *lc;

	delta->rollup = rollup;
	name_parts(delta, definition);
	delta->hash_functions = palloc0(sizeof(FmgrInfo) * ngroups);
	for (int i = 0; i < ngroups; i++)
		fmgr_info(definition->group_hash.hash_functions[i],
				  &delta->hash_functions[i]);
	delta->group_slot = MakeSingleTupleTableSlot(definition->group_hash.desc,
												 &TTSOpsVirtual);

	saved = rollup_begin_as_owner(rollup, true);
	delta->branches =
		palloc0(sizeof(FoldBranch) * list_length(definition->branches));
	foreach(lc, definition->branches)
		init_branch(&delta->branches[delta->nbranches++],
					(Branch *) lfirst(lc), econtext,
					delta->group_slot);
	rollup_end_as_owner(saved);
	return delta;
}

/* Creates a virtual slot whose arrays are used as a row image. */
static TupleTableSlot *
make_image(TupleDesc desc, RowImage *image)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);

	image->values = slot->tts_values;
	image->isnull = slot->tts_isnull;
	memset(image->isnull, true, sizeof(bool) * desc->natts);
	ExecStoreVirtualTuple(slot);
	return slot;
}

static FoldSource *
find_source(Fold *fold, Oid relid)
{
	ListCell   *lc;

	foreach(lc, fold->sources)
	{
		FoldSource *source = (FoldSource *) lfirst(lc);

		if (source->source.relid == relid)
			return source;
	}
	return NULL;
}

static void
add_source(Fold *fold, Oid relid, TupleDesc desc, Bitmapset *columns,
		   bool tells_moves)
{
	FoldSource *source = find_source(fold, relid);

	if (source == NULL)
	{
		source = palloc0(sizeof(FoldSource));
		source->source.relid = relid;
		source->source.desc = desc;
		source->old_slot = make_image(desc, &source->source.old_row);
		source->new_slot = make_image(desc, &source->source.new_row);
		fold->sources = lappend(fold->sources, source);
	}
	source->source.columns = bms_add_members(source->source.columns, columns);
	source->source.tells_moves |= tells_moves;
}

/*
 * Starts a fold for compiled rollups, in the current memory context.  The fold
 * evaluates expressions as the rollups' owners.
 */
Fold	   *
fold_begin(List *rollups)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats fold",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	Fold	   *fold = palloc0(sizeof(Fold));
	ListCell   *lc;
	ListCell   *lc2;
	ListCell   *lc3;

	fold->context = context;
	fold->table_context = AllocSetContextCreate(context, "notify_stats deltas",
												ALLOCSET_DEFAULT_SIZES);
	fold->econtext = CreateStandaloneExprContext();
	foreach(lc, rollups)
	{
		Delta	   *delta = make_delta((Rollup *) lfirst(lc), fold->econtext);
		const Definition *definition = delta->rollup->shape->definition;

		make_hash_table(fold, delta);
		fold->deltas = lappend(fold->deltas, delta);
		forboth(lc2, definition->sources, lc3,
				delta->rollup->shape->source_descs)
			add_source(fold, lfirst_oid(lc2), (TupleDesc) lfirst(lc3),
					   definition_source_columns(definition, lfirst_oid(lc2)),
					   rollup_ignores_deletes(delta->rollup, lfirst_oid(lc2)));
	}
	MemoryContextSwitchTo(caller_context);
	return fold;
}

/*
 * Adding changes
 */

/* Adds to a sum of numeric, which is stored in the hash table's memory. */
static void
add_numeric(Fold *fold, MeasureDelta *delta, Numeric value, int sign)
{
	MemoryContext caller_context =
	MemoryContextSwitchTo(fold->econtext->ecxt_per_tuple_memory);
	Numeric		sum;

	/* these cannot be subtracted again: infinity minus infinity is not zero */
	if (numeric_is_nan(value) || numeric_is_inf(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("cannot maintain a sum of NaN or infinity"),
				 errhint("Exclude such values with FILTER (WHERE ...) in the definition.")));

	if (sign < 0)
		value = DatumGetNumeric(DirectFunctionCall1(numeric_uminus,
													NumericGetDatum(value)));
	sum = delta->sum == NULL ? value :
		DatumGetNumeric(DirectFunctionCall2(numeric_add,
											NumericGetDatum(delta->sum),
											NumericGetDatum(value)));

	MemoryContextSwitchTo(fold->table_context);
	if (delta->sum != NULL)
		pfree(delta->sum);
	delta->sum = DatumGetNumericCopy(NumericGetDatum(sum));
	MemoryContextSwitchTo(caller_context);
}

static void
add_int(MeasureDelta *delta, int64 value, int sign)
{
	if (sign < 0 ? pg_sub_s64_overflow(delta->count, value, &delta->count) :
		pg_add_s64_overflow(delta->count, value, &delta->count))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("bigint out of range")));
}

static Numeric
int8_to_numeric(Fold *fold, int64 value)
{
	MemoryContext caller_context =
	MemoryContextSwitchTo(fold->econtext->ecxt_per_tuple_memory);
	Numeric		result = int64_to_numeric(value);

	MemoryContextSwitchTo(caller_context);
	return result;
}

/* Adds the argument of a sum. */
static void
add_sum(Fold *fold, const Measure *measure, MeasureDelta *delta, Datum value,
		int sign)
{
	switch (measure->argtype)
	{
		case INT2OID:
			add_int(delta, DatumGetInt16(value), sign);
			break;
		case INT4OID:
			add_int(delta, DatumGetInt32(value), sign);
			break;
		case INT8OID:
			add_numeric(fold, delta,
						int8_to_numeric(fold, DatumGetInt64(value)), sign);
			break;
		case NUMERICOID:
			add_numeric(fold, delta, DatumGetNumeric(value), sign);
			break;
		default:
			elog(ERROR, "unexpected argument type %u of sum",
				 measure->argtype);
	}
}

/* Throws for a NULL in an argument that could not be NULL. */
static void
refuse_null(const Measure *measure)
{
	bool		is_count = measure->kind == MEASURE_COUNT;

	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("argument of %s in column \"%s\" is null",
					is_count ? "count" : "sum", measure->name),
			 errdetail("The argument could not be null when the rollup was created."),
			 is_count ?
			 errhint("Drop the rollup and create it again, with count(*) in its definition.") :
			 errhint("Drop the rollup and create it again, with a count of the same argument in its definition.")));
}

static void
add_measure(Fold *fold, const Measure *measure, MeasureDelta *delta,
			ExprState *arg, ExprState *filter, int sign)
{
	ExprContext *econtext = fold->econtext;
	Datum		value = (Datum) 0;
	bool		isnull = false;

	if (filter != NULL)
	{
		Datum		passes = ExecEvalExprSwitchContext(filter, econtext,
													   &isnull);

		if (isnull || !DatumGetBool(passes))
			return;
	}
	if (arg != NULL)
	{
		value = ExecEvalExprSwitchContext(arg, econtext, &isnull);
		if (isnull && measure->arg_not_null)
			refuse_null(measure);
		if (isnull)
			return;
	}
	if (measure->kind == MEASURE_COUNT)
		delta->count += sign;
	else
		add_sum(fold, measure, delta, value, sign);
}

static MeasureDelta *
entry_measures(Delta *delta, TupleHashEntry entry)
{
	return (MeasureDelta *)
		tuple_hash_entry_additional(delta->groups, entry,
									sizeof(MeasureDelta) * delta->rollup->shape->definition->nmeasures);
}

/* Returns the measures of the group to which the current row belongs. */
static MeasureDelta *
find_group(Delta *delta, const FoldBranch *branch)
{
	TupleHashEntry entry;
	bool		isnew;

	entry = LookupTupleHashEntry(delta->groups, ExecProject(branch->groups),
								 &isnew, NULL);
	return entry_measures(delta, entry);
}

/*
 * Adds one row to its group in a branch, or subtracts it, as given by "sign".
 * Does nothing if the row does not pass the filters of the branch.
 */
static void
fold_row(Fold *fold, Delta *delta, const FoldBranch *branch,
		 TupleTableSlot *row, int sign)
{
	const Definition *definition = delta->rollup->shape->definition;
	MeasureDelta *measures;

	fold->econtext->ecxt_scantuple = row;
	trouble_set_part("in WHERE");
	if (!ExecQual(branch->qual, fold->econtext))
		return;
	trouble_set_part(delta->group_part);
	measures = find_group(delta, branch);
	for (int i = 0; i < definition->nmeasures; i++)
	{
		trouble_set_part(delta->measure_parts[i]);
		add_measure(fold, &definition->measures[i], &measures[i],
					branch->args[i], branch->filters[i], sign);
	}
}

static void
mark_stale(Fold *fold, Delta *delta, const char *reason, Oid source)
{
	if (delta->stale_reason == NULL)
	{
		MemoryContext caller_context = MemoryContextSwitchTo(fold->context);

		delta->stale_reason = psprintf("%s (table \"%s\")", reason,
									   get_rel_name(source));
		MemoryContextSwitchTo(caller_context);
	}
}

/*
 * Handles TRUNCATE of a source.  If it is the only source, the rollup becomes
 * empty.  If there are several, it is unknown which part of a group came from
 * this one, so the rollup becomes stale.
 */
static void
fold_truncate(Fold *fold, Delta *delta, Oid source)
{
	if (list_length(delta->rollup->shape->definition->sources) == 1)
	{
		make_hash_table(fold, delta);
		delta->truncated = true;
	}
	else
		mark_stale(fold, delta, "one of several sources was truncated",
				   source);
}

static bool
reads_source(const Delta *delta, Oid source)
{
	return list_member_oid(delta->rollup->shape->definition->sources, source);
}

/* Returns whether rows are deleted, rather than moved between partitions. */
static bool
is_deletion(const RowChange *change)
{
	return (change->kind == ROW_DELETE && !change->moves) ||
		change->kind == ROW_TRUNCATE || change->kind == ROW_PARTITION_TRUNCATE;
}

static void
fold_change_of_rollup(Fold *fold, Delta *delta, const RowChange *change)
{
	FoldSource *source = (FoldSource *) change->source;

	if (is_deletion(change) &&
		rollup_ignores_deletes(delta->rollup, change->source->relid))
		return;
	if (change->kind == ROW_TRUNCATE)
	{
		fold_truncate(fold, delta, change->source->relid);
		return;
	}
	if (change->kind == ROW_PARTITION_TRUNCATE)
	{
		mark_stale(fold, delta, "a partition was truncated",
				   change->source->relid);
		return;
	}
	if (change->kind == ROW_UNKNOWN)
	{
		mark_stale(fold, delta, change->reason, change->source->relid);
		return;
	}
	for (int i = 0; i < delta->nbranches; i++)
	{
		const FoldBranch *branch = &delta->branches[i];

		if (branch->source != change->source->relid)
			continue;
		if (change->kind == ROW_DELETE || change->kind == ROW_UPDATE)
			fold_row(fold, delta, branch, source->old_slot, -1);
		if (change->kind == ROW_INSERT || change->kind == ROW_UPDATE)
			fold_row(fold, delta, branch, source->new_slot, 1);
	}
}

/*
 * Adds one change of a rollup, as its owner if necessary.  Switching roles and
 * settings for each change takes up to a third of the time of a catch_up() on
 * 15.  So the role is not switched if only code of the server is called.
 */
static void
fold_change_as_owner(Fold *fold, Delta *delta, const RowChange *change)
{
	SavedRole	saved;

	if (!delta->rollup->shape->definition->calls_users_code)
	{
		fold_change_of_rollup(fold, delta, change);
		return;
	}
	saved = xact_become(delta->rollup->shape->owner);
	fold_change_of_rollup(fold, delta, change);
	xact_restore_role(saved);
}

/* Adds one change to the deltas of all rollups that read its source. */
void
fold_change(Fold *fold, const RowChange *change)
{
	ListCell   *lc;

	trouble_set_lsn(change->commit_lsn);
	foreach(lc, fold->deltas)
	{
		Delta	   *delta = (Delta *) lfirst(lc);

		if (delta->stale_reason != NULL ||
			!reads_source(delta, change->source->relid))
			continue;
		trouble_begin(delta->rollup->relid);
		fold_change_as_owner(fold, delta, change);
		trouble_end();
		ResetExprContext(fold->econtext);
	}

	fold->nchanges++;
}

/*
 * Results
 */

/* Returns whether the deltas use so much memory that they must be applied. */
bool
fold_is_large(Fold *fold)
{
	return MemoryContextMemAllocated(fold->table_context,
									 true) > FOLD_MEMORY_LIMIT;
}

/* Removes all deltas, after they were applied. */
void
fold_reset(Fold *fold)
{
	ListCell   *lc;

	MemoryContextReset(fold->table_context);
	foreach(lc, fold->deltas)
	{
		Delta	   *delta = (Delta *) lfirst(lc);

		delta->truncated = false;
		make_hash_table(fold, delta);
	}
}

void
fold_end(Fold *fold)
{
	ListCell   *lc;

	foreach(lc, fold->deltas)
		ExecDropSingleTupleTableSlot(((Delta *) lfirst(lc))->group_slot);
	foreach(lc, fold->sources)
	{
		ExecDropSingleTupleTableSlot(((FoldSource *) lfirst(lc))->old_slot);
		ExecDropSingleTupleTableSlot(((FoldSource *) lfirst(lc))->new_slot);
	}
	FreeExprContext(fold->econtext, true);
	MemoryContextDelete(fold->context);
}

/*
 * Sets the measures of a row.  Returns false if all of them are zero.  "zero"
 * is a parameter to avoid an allocation for each row.
 */
static bool
measures_to_row(const Definition *definition, const MeasureDelta *measures,
				Numeric zero,
				TupleTableSlot *row)
{
	bool		changes = false;

	for (int i = 0; i < definition->nmeasures; i++)
	{
		const Measure *measure = &definition->measures[i];
		int			column = measure->attnum - 1;

		row->tts_isnull[column] = false;
		if (measure->kind != MEASURE_SUM_NUMERIC)
		{
			row->tts_values[column] = Int64GetDatum(measures[i].count);
			changes |= measures[i].count != 0;
		}
		else
		{
			Numeric		sum = measures[i].sum ? measures[i].sum : zero;

			row->tts_values[column] = NumericGetDatum(sum);
			changes |= !DatumGetBool(DirectFunctionCall2(numeric_eq,
														 NumericGetDatum(sum),
														 NumericGetDatum(zero)));
		}
	}
	return changes;
}

/*
 * Returns the changed groups in a tuplestore, in the current memory context.
 * The rows have the columns of the definition, with signed measures.  Sets
 * *ngroups to their number.  Returns NULL if there are none.
 */
Tuplestorestate *
delta_rows(Delta *delta, uint64 *ngroups)
{
	const Definition *definition = delta->rollup->shape->definition;
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	TupleTableSlot *row = MakeSingleTupleTableSlot(delta->rollup->shape->desc,
												   &TTSOpsVirtual);
	TupleTableSlot *group = MakeSingleTupleTableSlot(definition->group_hash.desc, &TTSOpsMinimalTuple);
	Numeric		zero = int64_to_numeric(0);
	TupleHashIterator iterator;
	TupleHashEntry entry;

	*ngroups = 0;
	InitTupleHashIterator(delta->groups, &iterator);
	while ((entry = ScanTupleHashTable(delta->groups, &iterator)) != NULL)
	{
		MeasureDelta *measures = entry_measures(delta, entry);

		ExecClearTuple(row);
		if (!measures_to_row(definition, measures, zero, row))
			continue;
		ExecStoreMinimalTuple(tuple_hash_entry_tuple(entry), group, false);
		slot_getallattrs(group);
		for (int i = 0; i < definition->ngroups; i++)
		{
			int			column = definition->groups[i].attnum - 1;

			row->tts_values[column] = group->tts_values[i];
			row->tts_isnull[column] = group->tts_isnull[i];
		}
		ExecStoreVirtualTuple(row);
		tuplestore_puttupleslot(rows, row);
		(*ngroups)++;
	}
	TermTupleHashIterator(&iterator);
	ExecDropSingleTupleTableSlot(group);
	ExecDropSingleTupleTableSlot(row);

	if (*ngroups > 0)
		return rows;
	tuplestore_end(rows);
	return NULL;
}
