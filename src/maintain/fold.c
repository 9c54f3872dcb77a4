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
 * If several rollups read a source, its changes are collected in a batch, and
 * added to one rollup after the other.  So only one hash table at a time has
 * to be in the processor's cache.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/datum.h"
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

/*
 * The size of a batch in bytes.  The first changes of a fold are not batched,
 * as there may be only a few of them.
 */
#define BATCH_SIZE ((Size) 2 * 1024 * 1024)
#define UNBATCHED_CHANGES 100

/* The value to add to one measure of one group. */
typedef struct MeasureDelta
{
	int64		count;			/* MEASURE_COUNT and MEASURE_SUM_INT */
	Numeric		sum;			/* MEASURE_SUM_NUMERIC; NULL stands for 0 */
} MeasureDelta;

/* A branch of a definition, ready to be evaluated. */
typedef struct FoldBranch
{
	Oid			source;
	ExprState  *qual;
	ProjectionInfo *groups;		/* into the delta's group_slot */
	ExprState **args;			/* NULL for count(*) */
	ExprState **filters;		/* NULL without FILTER */
} FoldBranch;

/* A rollup that reads a source, and its branches that do. */
typedef struct FoldReader
{
	Delta	   *delta;
	struct FoldSource *source;
	bool		has_batch;		/* the changes in the batch were added, or are
								 * irrelevant */
	bool		ignores_deletes;
	FoldBranch **branches;
	int			nbranches;
} FoldReader;

/*
 * A change of rows in the batch.  It is followed by two arrays of values, those
 * of the old and the new row, and two arrays of flags for NULLs.  All have
 * FoldSource.ncolumns entries.
 */
typedef struct BatchedChange
{
	struct BatchedChange *next; /* of the same source */
	XLogRecPtr	commit_lsn;
	RowChangeKind kind;
	bool		moves;
} BatchedChange;

/* A source of changes of this fold. */
typedef struct FoldSource
{
	Source		source;			/* must be first, for casts */
	TupleTableSlot *old_slot;	/* share their arrays with the source's rows */
	TupleTableSlot *new_slot;
	List	   *readers;		/* of FoldReader */
	int			ncolumns;		/* those after it are not in use */
	BatchedChange *first;		/* its changes in the batch */
	BatchedChange *last;
} FoldSource;

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
										   delta->context,
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
add_reader(FoldSource *source, Delta *delta, bool ignores_deletes)
{
	FoldReader *reader = palloc0(sizeof(FoldReader));

	reader->delta = delta;
	reader->source = source;
	reader->ignores_deletes = ignores_deletes;
	reader->branches = palloc(sizeof(FoldBranch *) * delta->nbranches);
	for (int i = 0; i < delta->nbranches; i++)
		if (delta->branches[i].source == source->source.relid)
			reader->branches[reader->nbranches++] = &delta->branches[i];
	source->readers = lappend(source->readers, reader);
	delta->readers = lappend(delta->readers, reader);
}

static void
add_source(Fold *fold, Delta *delta, Oid relid, TupleDesc desc)
{
	FoldSource *source = find_source(fold, relid);
	bool		ignores_deletes = rollup_ignores_deletes(delta->rollup, relid);

	if (source == NULL)
	{
		source = palloc0(sizeof(FoldSource));
		source->source.relid = relid;
		source->source.desc = desc;
		source->old_slot = make_image(desc, &source->source.old_row);
		source->new_slot = make_image(desc, &source->source.new_row);
		fold->sources = lappend(fold->sources, source);
	}
	source->source.columns =
		bms_add_members(source->source.columns,
						definition_source_columns(delta->rollup->shape->definition,
												  relid));
	source->source.tells_moves |= ignores_deletes;
	/* the highest of them; negative if there are none */
	source->ncolumns = Max(bms_prev_member(source->source.columns, -1), 0);
	add_reader(source, delta, ignores_deletes);
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
	fold->econtext = CreateStandaloneExprContext();
	foreach(lc, rollups)
	{
		Delta	   *delta = make_delta((Rollup *) lfirst(lc), fold->econtext);
		const Definition *definition = delta->rollup->shape->definition;

		delta->fold = fold;
		delta->context = AllocSetContextCreate(context, "notify_stats delta",
											   ALLOCSET_DEFAULT_SIZES);
		make_hash_table(fold, delta);
		fold->deltas = lappend(fold->deltas, delta);
		forboth(lc2, definition->sources, lc3,
				delta->rollup->shape->source_descs)
			add_source(fold, delta, lfirst_oid(lc2), (TupleDesc) lfirst(lc3));
	}
	MemoryContextSwitchTo(caller_context);
	return fold;
}

/*
 * Adding changes
 */

/* Adds to a sum of numeric, which is stored in the given memory context. */
static void
add_numeric(Fold *fold, MemoryContext context, MeasureDelta *delta,
			Numeric value, int sign)
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

	MemoryContextSwitchTo(context);
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
add_sum(Fold *fold, MemoryContext context, const Measure *measure,
		MeasureDelta *delta, Datum value, int sign)
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
			add_numeric(fold, context, delta,
						int8_to_numeric(fold, DatumGetInt64(value)), sign);
			break;
		case NUMERICOID:
			add_numeric(fold, context, delta, DatumGetNumeric(value), sign);
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
add_measure(Fold *fold, MemoryContext context, const Measure *measure,
			MeasureDelta *delta, ExprState *arg, ExprState *filter, int sign)
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
		add_sum(fold, context, measure, delta, value, sign);
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
		add_measure(fold, delta->context, &definition->measures[i],
					&measures[i], branch->args[i], branch->filters[i], sign);
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

/* Returns whether rows are deleted, rather than moved between partitions. */
static bool
is_deletion(RowChangeKind kind, bool moves)
{
	return (kind == ROW_DELETE && !moves) ||
		kind == ROW_TRUNCATE || kind == ROW_PARTITION_TRUNCATE;
}

static bool
is_of_rows(RowChangeKind kind)
{
	return kind == ROW_INSERT || kind == ROW_UPDATE || kind == ROW_DELETE;
}

/* Adds one change of rows, which are in the source's slots, to a rollup. */
static void
fold_rows(Fold *fold, const FoldSource *source, const FoldReader *reader,
		  RowChangeKind kind, bool moves)
{
	if (reader->ignores_deletes && is_deletion(kind, moves))
		return;
	for (int i = 0; i < reader->nbranches; i++)
	{
		const FoldBranch *branch = reader->branches[i];

		if (kind != ROW_INSERT)
			fold_row(fold, reader->delta, branch, source->old_slot, -1);
		if (kind != ROW_DELETE)
			fold_row(fold, reader->delta, branch, source->new_slot, 1);
	}
	ResetExprContext(fold->econtext);
}

/* Handles a change for a rollup that does not consist of rows. */
static void
fold_event(Fold *fold, FoldReader *reader, const RowChange *change)
{
	Oid			relid = change->source->relid;

	if (reader->ignores_deletes && is_deletion(change->kind, change->moves))
		return;
	if (change->kind == ROW_TRUNCATE)
	{
		fold_truncate(fold, reader->delta, relid);
		/* those rows are gone; the flag is reset with the batch */
		reader->has_batch = reader->source->first != NULL;
	}
	else if (change->kind == ROW_PARTITION_TRUNCATE && change->reason == NULL)
		mark_stale(fold, reader->delta, "a partition was truncated", relid);
	else
		mark_stale(fold, reader->delta, change->reason, relid);
}

/*
 * Starts to add changes to a rollup, as its owner if necessary.  Switching
 * roles and settings for each change takes up to a third of the time of a
 * catch_up() on 15.  So the role is not switched if only code of the server is
 * called.
 */
static SavedRole
begin_delta(const Delta *delta)
{
	SavedRole	saved = {0};

	trouble_begin(delta->rollup->relid);
	if (delta->rollup->shape->definition->calls_users_code)
		saved = xact_become(delta->rollup->shape->owner);
	return saved;
}

static void
end_delta(Fold *fold, Delta *delta, SavedRole saved)
{
	Size		allocated = MemoryContextMemAllocated(delta->context, true);

	fold->allocated += allocated - delta->allocated;
	delta->allocated = allocated;
	if (delta->rollup->shape->definition->calls_users_code)
		xact_restore_role(saved);
	trouble_end();
}

/*
 * The batch
 */

/* Returns the rows of a change in the batch. */
static void
batched_rows(const FoldSource *source, const BatchedChange *change,
			 RowImage *old_row, RowImage *new_row)
{
	int			ncolumns = source->ncolumns;

	old_row->values = (Datum *) (change + 1);
	new_row->values = old_row->values + ncolumns;
	old_row->isnull = (bool *) (new_row->values + ncolumns);
	new_row->isnull = old_row->isnull + ncolumns;
}

static Size
rows_size(const FoldSource *source)
{
	return (sizeof(Datum) + sizeof(bool)) * 2 * source->ncolumns;
}

/* Returns whether a column of a row has a value outside of the row's array. */
static bool
has_pointer(const FoldSource *source, const RowImage *row, int column)
{
	return !row->isnull[column] &&
		!TupleDescAttr(source->source.desc, column)->attbyval;
}

static Size
value_size(const FoldSource *source, const RowImage *row, int column)
{
	return datumGetSize(row->values[column], false,
						TupleDescAttr(source->source.desc, column)->attlen);
}

/* Returns the size of the values of a row outside of its array. */
static Size
values_size(const FoldSource *source, const RowImage *row)
{
	Size		size = 0;

	for (int i = 0; i < source->ncolumns; i++)
		if (has_pointer(source, row, i))
			size += MAXALIGN(value_size(source, row, i));
	return size;
}

static void *
take_from_batch(Fold *fold, Size size)
{
	char	   *result = fold->batch + fold->batch_used;

	fold->batch_used += MAXALIGN(size);
	return result;
}

static void
copy_row(Fold *fold, const FoldSource *source, RowImage *copy,
		 const RowImage *row)
{
	memcpy(copy->values, row->values, sizeof(Datum) * source->ncolumns);
	memcpy(copy->isnull, row->isnull, sizeof(bool) * source->ncolumns);
	for (int i = 0; i < source->ncolumns; i++)
		if (has_pointer(source, row, i))
		{
			Size		size = value_size(source, row, i);
			void	   *value = take_from_batch(fold, size);

			memcpy(value, DatumGetPointer(row->values[i]), size);
			copy->values[i] = PointerGetDatum(value);
		}
}

/* Makes the slots of a source contain these rows. */
static void
show_rows(const FoldSource *source, const RowImage *old_row,
		  const RowImage *new_row)
{
	source->old_slot->tts_values = old_row->values;
	source->old_slot->tts_isnull = old_row->isnull;
	source->new_slot->tts_values = new_row->values;
	source->new_slot->tts_isnull = new_row->isnull;
}

/* The log otherwise names only the last record that was read. */
static void
batch_error_callback(void *arg)
{
	const BatchedChange *change = *(const BatchedChange *const *) arg;

	errcontext("counting a change of the transaction that was committed at " LSN_FORMAT,
			   LSN_FORMAT_ARGS(change->commit_lsn));
}

/* Adds the changes of the batch to a rollup, unless that was done. */
static void
fold_batch_of_reader(Fold *fold, FoldReader *reader)
{
	const FoldSource *source = reader->source;
	const BatchedChange *change = source->first;
	SavedRole	saved;
	ErrorContextCallback error_context;

	if (change == NULL || reader->has_batch ||
		reader->delta->stale_reason != NULL)
		return;
	error_context.callback = batch_error_callback;
	error_context.arg = &change;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	saved = begin_delta(reader->delta);
	for (; change != NULL; change = change->next)
	{
		RowImage	old_row;
		RowImage	new_row;

		CHECK_FOR_INTERRUPTS();
		trouble_set_lsn(change->commit_lsn);
		batched_rows(source, change, &old_row, &new_row);
		show_rows(source, &old_row, &new_row);
		fold_rows(fold, source, reader, change->kind, change->moves);
	}
	show_rows(source, &source->source.old_row, &source->source.new_row);
	end_delta(fold, reader->delta, saved);
	error_context_stack = error_context.previous;
	reader->has_batch = true;
}

static void
empty_batch(Fold *fold)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, fold->sources)
	{
		FoldSource *source = (FoldSource *) lfirst(lc);

		if (source->first == NULL)
			continue;
		source->first = source->last = NULL;
		foreach(lc2, source->readers)
			((FoldReader *) lfirst(lc2))->has_batch = false;
	}
	fold->batch_used = 0;
	fold->batch_closed = false;
}

/*
 * Adds the changes of the batch to all deltas, and empties it.  If "may_stop",
 * stops when the deltas have become large.  The caller of fold_change will then
 * apply them, and the rest is added to each just before (delta_rows).
 */
static void
fold_batch(Fold *fold, bool may_stop)
{
	ListCell   *lc;
	ListCell   *lc2;

	if (fold->batch_used == 0)
		return;
	fold->batch_closed = true;
	foreach(lc, fold->sources)
	{
		foreach(lc2, ((FoldSource *) lfirst(lc))->readers)
		{
			fold_batch_of_reader(fold, (FoldReader *) lfirst(lc2));
			if (may_stop && fold_is_large(fold))
				return;
		}
	}
	empty_batch(fold);
}

/* Adds a change to the batch.  Returns false if it should not be batched. */
static bool
add_to_batch(Fold *fold, FoldSource *source, const RowChange *change)
{
	const RowImage *old_row = &source->source.old_row;
	const RowImage *new_row = &source->source.new_row;
	bool		has_old = change->kind != ROW_INSERT;
	bool		has_new = change->kind != ROW_DELETE;
	Size		head_size = sizeof(BatchedChange) + rows_size(source);
	Size		size;
	BatchedChange *copy;
	RowImage	old_copy;
	RowImage	new_copy;

	if (list_length(source->readers) < 2 || fold->nchanges < UNBATCHED_CHANGES)
		return false;
	size = MAXALIGN(head_size) +
		(has_old ? values_size(source, old_row) : 0) +
		(has_new ? values_size(source, new_row) : 0);
	if (size > BATCH_SIZE)
		return false;
	if (fold->batch == NULL)
		fold->batch = MemoryContextAlloc(fold->context, BATCH_SIZE);
	if (size > BATCH_SIZE - fold->batch_used)
		fold_batch(fold, true);
	if (fold->batch_closed)
		return false;

	copy = take_from_batch(fold, head_size);
	copy->next = NULL;
	copy->commit_lsn = change->commit_lsn;
	copy->kind = change->kind;
	copy->moves = change->moves;
	batched_rows(source, copy, &old_copy, &new_copy);
	if (has_old)
		copy_row(fold, source, &old_copy, old_row);
	if (has_new)
		copy_row(fold, source, &new_copy, new_row);
	if (source->first == NULL)
		source->first = copy;
	else
		source->last->next = copy;
	source->last = copy;
	return true;
}

/* Adds one change to the deltas of all rollups that read its source. */
static void
fold_at_once(Fold *fold, const FoldSource *source, const RowChange *change)
{
	ListCell   *lc;

	trouble_set_lsn(change->commit_lsn);
	foreach(lc, source->readers)
	{
		FoldReader *reader = (FoldReader *) lfirst(lc);
		SavedRole	saved;

		if (reader->delta->stale_reason != NULL)
			continue;
		saved = begin_delta(reader->delta);
		if (is_of_rows(change->kind))
			fold_rows(fold, source, reader, change->kind, change->moves);
		else
			fold_event(fold, reader, change);
		end_delta(fold, reader->delta, saved);
	}
}

/*
 * Adds one change to the deltas, now or with others.  TRUNCATE takes effect
 * before the rest of the batch is added to other rollups, so that the deltas
 * cannot become much larger than their limit.
 */
void
fold_change(Fold *fold, const RowChange *change)
{
	FoldSource *source = (FoldSource *) change->source;

	if (fold->batch_closed)
		fold_batch(fold, false);
	if (!is_of_rows(change->kind))
	{
		fold_at_once(fold, source, change);
		fold_batch(fold, true);
	}
	else if (!add_to_batch(fold, source, change))
		fold_at_once(fold, source, change);
	fold->nchanges++;
}

/*
 * Results
 */

/* Returns whether the deltas use so much memory that they must be applied. */
bool
fold_is_large(Fold *fold)
{
	return fold->allocated > FOLD_MEMORY_LIMIT;
}

/* Removes all deltas, after they were applied. */
void
fold_reset(Fold *fold)
{
	ListCell   *lc;

	fold_batch(fold, false);	/* only stale rollups have not added it */
	fold->allocated = 0;
	foreach(lc, fold->deltas)
	{
		Delta	   *delta = (Delta *) lfirst(lc);

		MemoryContextReset(delta->context);
		delta->allocated = 0;
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
 * Completes the deltas of a rollup, and returns the changed groups in a
 * tuplestore, in the current memory context.  Frees the hash table, so
 * fold_reset must be called before another change is added.  The rows have the
 * columns of the definition, with signed measures.  Groups in which all of them
 * are zero are left out, unless "unchanged".  Sets *ngroups to the number of
 * groups.  Returns NULL if there are none.
 */
Tuplestorestate *
delta_rows(Delta *delta, bool unchanged, uint64 *ngroups)
{
	const Definition *definition = delta->rollup->shape->definition;
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	TupleTableSlot *row = MakeSingleTupleTableSlot(delta->rollup->shape->desc,
												   &TTSOpsVirtual);
	TupleTableSlot *group = MakeSingleTupleTableSlot(definition->group_hash.desc, &TTSOpsMinimalTuple);
	Numeric		zero = int64_to_numeric(0);
	TupleHashIterator iterator;
	TupleHashEntry entry;
	ListCell   *lc;

	foreach(lc, delta->readers)
		fold_batch_of_reader(delta->fold, (FoldReader *) lfirst(lc));
	*ngroups = 0;
	InitTupleHashIterator(delta->groups, &iterator);
	while ((entry = ScanTupleHashTable(delta->groups, &iterator)) != NULL)
	{
		MeasureDelta *measures = entry_measures(delta, entry);

		ExecClearTuple(row);
		if (!measures_to_row(definition, measures, zero, row) && !unchanged)
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
	MemoryContextReset(delta->context);
	delta->groups = NULL;
	ExecDropSingleTupleTableSlot(group);
	ExecDropSingleTupleTableSlot(row);

	if (*ngroups > 0)
		return rows;
	tuplestore_end(rows);
	return NULL;
}

/*
 * Makes a row of the rollup's table that has only the group columns of one of
 * these rows.
 */
void
delta_store_group(const RollupShape *shape, TupleTableSlot *delta,
				  TupleTableSlot *row)
{
	ExecStoreAllNullTuple(row);
	for (int i = 0; i < shape->definition->ngroups; i++)
	{
		AttrNumber	attnum = shape->definition->groups[i].attnum;
		int			column = shape->columns[attnum - 1] - 1;

		row->tts_values[column] = slot_getattr(delta, attnum,
											   &row->tts_isnull[column]);
	}
}
