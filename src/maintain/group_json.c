/*-------------------------------------------------------------------------
 *
 * group_json.c
 *	  Groups of a rollup as JSON.
 *
 * The rows are collected, and written as JSON by a query, which must run as the
 * rollup's owner.  The keys have one form for each group (group_key.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "apply.h"
#include "compat.h"
#include "difference.h"
#include "group_json.h"
#include "group_key.h"

/* So many rows at a time are written. */
#define JSON_ROWS 1000

/* The rows have the columns g1, ..., m1, ... and "gone". */
struct GroupJson
{
	const Definition *definition;
	const AttrNumber *columns;	/* of the table, by column of the definition */
	GroupJsonTaker take;
	void	   *arg;
	TupleDesc	desc;
	char	   *query;
	Tuplestorestate *rows;
	uint64		nrows;
	TupleTableSlot *slot;
};

static void
copy_column(GroupJson *json, int column, TupleDesc source,
			AttrNumber attnum, const char *name)
{
	TupleDescCopyEntry(json->desc, column, source, attnum);
	namestrcpy(&TupleDescAttr(json->desc, column - 1)->attname, name);
}

static void
make_desc(GroupJson *json, TupleDesc source)
{
	const Definition *definition = json->definition;

	json->desc = CreateTemplateTupleDesc(definition->ncolumns + 1);
	for (int i = 0; i < definition->ngroups; i++)
		copy_column(json, i + 1, source, definition->groups[i].attnum,
					psprintf("g%d", i + 1));
	for (int i = 0; i < definition->nmeasures; i++)
		copy_column(json, definition->ngroups + i + 1, source,
					definition->measures[i].attnum, psprintf("m%d", i + 1));
	TupleDescInitEntry(json->desc, json->desc->natts, "gone", BOOLOID, -1, 0);
	TupleDescFinalize(json->desc);
}

static char *
make_query(const Definition *definition)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT ");
	difference_append_key(&buf, definition, group_key_expression);
	appendStringInfoString(&buf, ", ");
	difference_append_measures(&buf, definition, "NOT d.gone", "m");
	appendStringInfoString(&buf, " FROM " APPLY_ROWS " d");
	return buf.data;
}

/* Starts to write groups, in the current memory context. */
GroupJson *
group_json_begin(const Rollup *rollup, GroupJsonTaker take, void *arg)
{
	GroupJson  *json = palloc0(sizeof(GroupJson));

	json->definition = rollup->shape->definition;
	json->columns = rollup->shape->columns;
	json->take = take;
	json->arg = arg;
	make_desc(json, rollup->shape->desc);
	json->query = make_query(json->definition);
	json->slot = MakeSingleTupleTableSlot(json->desc, &TTSOpsVirtual);
	json->rows = tuplestore_begin_heap(false, false, work_mem);
	return json;
}

static char *
text_or_null(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						column);
}

/* Passes on the rows that were collected. */
static void
flush(GroupJson *json)
{
	if (json->nrows == 0)
		return;
	SPI_connect();
	apply_query_with_rows(json->query, json->rows, json->desc, json->nrows);
	for (uint64 i = 0; i < SPI_processed; i++)
		json->take(text_or_null(i, 1), text_or_null(i, 2), json->arg);
	SPI_finish();
	tuplestore_clear(json->rows);
	json->nrows = 0;
}

/* Takes a column of the definition from a row of the table. */
static void
copy_value(GroupJson *json, int n, TupleTableSlot *row, AttrNumber attnum)
{
	json->slot->tts_values[n] = slot_getattr(row, json->columns[attnum - 1],
											 &json->slot->tts_isnull[n]);
}

/*
 * Adds a group by its row, which has the columns of the rollup's table; if it is
 * gone, by its group columns.
 */
void
group_json_add(GroupJson *json, TupleTableSlot *row, bool gone)
{
	const Definition *definition = json->definition;
	TupleTableSlot *slot = json->slot;
	int			n = 0;

	ExecClearTuple(slot);
	for (int i = 0; i < definition->ngroups; i++)
		copy_value(json, n++, row, definition->groups[i].attnum);
	for (int i = 0; i < definition->nmeasures; i++)
		copy_value(json, n++, row, definition->measures[i].attnum);
	slot->tts_values[n] = BoolGetDatum(gone);
	slot->tts_isnull[n] = false;
	ExecStoreVirtualTuple(slot);
	tuplestore_puttupleslot(json->rows, slot);
	if (++json->nrows >= JSON_ROWS)
		flush(json);
}

void
group_json_end(GroupJson *json)
{
	flush(json);
	tuplestore_end(json->rows);
	ExecDropSingleTupleTableSlot(json->slot);
	pfree(json);
}
