/*-------------------------------------------------------------------------
 *
 * earlier_rows.c
 *	  The rows of a rollup as they were before changes.
 *
 * The deltas of the changes are subtracted from the rows that have changed.
 * Then all other rows are read.  The addresses of the former are sorted, within
 * work_mem, in the order in which a scan of the table returns rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"

#include "compat.h"
#include "earlier_rows.h"
#include "fold.h"

struct EarlierRows
{
	const Rollup *rollup;
	Relation	table;
	Snapshot	snapshot;
	TupleTableSlot *earlier;	/* a row that was undone */
	Tuplesortstate *undone;		/* addresses of rows, as int8 */
	bool		has_next;		/* there is another one: */
	int64		next;
	TableScanDesc scan;			/* of the other rows; NULL: not yet */
	TupleTableSlot *row;
};

/*
 * Starts to read rows of a table that is locked, as a snapshot shows them.
 * Everything is allocated in the current memory context.
 */
EarlierRows *
earlier_rows_begin(const Rollup *rollup, Relation table, Snapshot snapshot)
{
	EarlierRows *rows = palloc0(sizeof(EarlierRows));

	rows->rollup = rollup;
	rows->table = table;
	rows->snapshot = snapshot;
	rows->earlier = MakeSingleTupleTableSlot(RelationGetDescr(table),
											 &TTSOpsVirtual);
	rows->row = table_slot_create(table, NULL);
	rows->undone = tuplesort_begin_datum(INT8OID, Int8LessOperator, InvalidOid,
										 false, work_mem, NULL,
										 TUPLESORT_NONE);
	return rows;
}

/*
 * Undoing changes
 */

/* Makes "earlier" what is known of a group: its row, or only its columns. */
static void
start_earlier(EarlierRows *rows, TupleTableSlot *found, TupleTableSlot *delta)
{
	TupleTableSlot *row = rows->earlier;

	if (found == NULL)
	{
		delta_store_group(rows->rollup->shape, delta, row);
		return;
	}
	ExecStoreAllNullTuple(row);
	slot_getallattrs(found);
	memcpy(row->tts_values, found->tts_values,
		   sizeof(Datum) * row->tts_tupleDescriptor->natts);
	memcpy(row->tts_isnull, found->tts_isnull,
		   sizeof(bool) * row->tts_tupleDescriptor->natts);
}

/*
 * Sets a measure of a row, which has that of now, to what it was before.  Both
 * are values of the type, so their difference may be known modulo 2^64 only.
 */
static void
subtract_measure(const RollupShape *shape, const Measure *measure,
				 TupleTableSlot *row, TupleTableSlot *delta)
{
	int			column = shape->columns[measure->attnum - 1] - 1;
	Datum	   *value = &row->tts_values[column];
	bool		isnull;
	Datum		added = slot_getattr(delta, measure->attnum, &isnull);

	if (measure->kind == MEASURE_SUM_NUMERIC)
		*value = DirectFunctionCall2(numeric_sub, row->tts_isnull[column] ?
									 NumericGetDatum(int64_to_numeric(0)) :
									 *value, added);
	else
		*value = Int64GetDatum((int64) ((row->tts_isnull[column] ? 0 :
										 (uint64) DatumGetInt64(*value)) -
										(uint64) DatumGetInt64(added)));
	row->tts_isnull[column] = false;
}

static int64
count_of(const RollupShape *shape, int measure, TupleTableSlot *row)
{
	AttrNumber	attnum = shape->definition->measures[measure].attnum;

	return DatumGetInt64(row->tts_values[shape->columns[attnum - 1] - 1]);
}

/* Makes sums of no value NULL. */
static void
clear_sums(const RollupShape *shape, TupleTableSlot *row)
{
	for (int i = 0; i < shape->definition->nmeasures; i++)
	{
		const Measure *measure = &shape->definition->measures[i];

		if (measure->kind != MEASURE_COUNT && measure->companion >= 0 &&
			count_of(shape, measure->companion, row) == 0)
			row->tts_isnull[shape->columns[measure->attnum - 1] - 1] = true;
	}
}

/*
 * Undoes a delta.  "found" is the row of its group, or NULL.  Returns that row as
 * it was before, or NULL if the group did not exist.  Not to be called after
 * earlier_rows_next.
 */
TupleTableSlot *
earlier_rows_undo(EarlierRows *rows, TupleTableSlot *found,
				  TupleTableSlot *delta)
{
	const RollupShape *shape = rows->rollup->shape;
	const Definition *definition = shape->definition;
	TupleTableSlot *row = rows->earlier;
	int64		count;

	if (found != NULL)
		tuplesort_putdatum(rows->undone,
						   Int64GetDatum(itemptr_encode(&found->tts_tid)),
						   false);
	start_earlier(rows, found, delta);
	for (int i = 0; i < definition->nmeasures; i++)
		subtract_measure(shape, &definition->measures[i], row, delta);
	count = count_of(shape, definition->row_count, row);
	if (count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("rollup %s does not match its definition",
						rows->rollup->shape->name),
				 errdetail("The table may have been modified manually.")));
	if (count == 0)
		return NULL;
	clear_sums(shape, row);
	return row;
}

/*
 * The other rows
 */

static void
fetch_undone(EarlierRows *rows)
{
	Datum		value;
	bool		isnull;

	rows->has_next = sort_next_datum(rows->undone, &value, &isnull);
	if (rows->has_next)
		rows->next = DatumGetInt64(value);
}

/* The scan must begin with the first block, not where another scan is. */
static void
start_scan(EarlierRows *rows)
{
	tuplesort_performsort(rows->undone);
	fetch_undone(rows);
	rows->scan = table_beginscan_strat(rows->table, rows->snapshot, 0, NULL,
									   true, false);
}

/* Returns whether the row just read was undone. */
static bool
is_undone(EarlierRows *rows)
{
	if (!rows->has_next || itemptr_encode(&rows->row->tts_tid) != rows->next)
		return false;
	fetch_undone(rows);
	return true;
}

/* Returns the next row that was not undone, until the next call, or NULL. */
TupleTableSlot *
earlier_rows_next(EarlierRows *rows)
{
	if (rows->scan == NULL)
		start_scan(rows);
	while (table_scan_getnextslot(rows->scan, ForwardScanDirection, rows->row))
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_undone(rows))
			return rows->row;
	}
	/* of other access methods, scans may not be in the order of addresses */
	if (rows->has_next)
		elog(ERROR, "rows of rollup %s were not found in the order of their addresses",
			 rows->rollup->shape->name);
	return NULL;
}

void
earlier_rows_end(EarlierRows *rows)
{
	if (rows->scan != NULL)
		table_endscan(rows->scan);
	tuplesort_end(rows->undone);
	ExecDropSingleTupleTableSlot(rows->row);
	ExecDropSingleTupleTableSlot(rows->earlier);
	pfree(rows);
}
