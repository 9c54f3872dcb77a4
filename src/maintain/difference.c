/*-------------------------------------------------------------------------
 *
 * difference.c
 *	  Finding the differences between a rollup and its definition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/tuplestore.h"

#include "apply.h"
#include "compat.h"
#include "definition.h"
#include "difference.h"
#include "rollup.h"
#include "shape.h"
#include "temporary_table.h"
#include "xact.h"

#define DIFFERENCE_COLUMNS 3

/*
 * The differences that verify() has found, as text, so that they can be used
 * after the transaction that found them.
 */
struct Differences
{
	TupleDesc	desc;
	Tuplestorestate *rows;
};

/* Appends "name1, name2, ...": a prefix with the numbers from 1 to n. */
static void
append_numbered(StringInfo buf, const char *prefix, int n)
{
	for (int i = 1; i <= n; i++)
		appendStringInfo(buf, "%s%s%d", i > 1 ? ", " : "", prefix, i);
}

/*
 * Appends "SELECT column AS g1, ..., column AS m1, ... FROM table" for one
 * side of the comparison.
 */
static void
append_side(StringInfo buf, const Definition *definition, const char *table,
			bool fresh)
{
	appendStringInfoString(buf, "SELECT ");
	for (int i = 0; i < definition->ngroups; i++)
		appendStringInfo(buf, "%s AS g%d, ",
						 quote_identifier(definition->groups[i].name), i + 1);
	for (int i = 0; i < definition->nmeasures; i++)
		appendStringInfo(buf, "%s AS m%d, ",
						 quote_identifier(definition->measures[i].name),
						 i + 1);
	appendStringInfo(buf, "ctid AS address, %s AS fresh FROM ONLY %s", fresh ?
					 "true" : "false", table);
}

/* Appends the condition that a measure differs between the sides. */
static void
append_distinct(StringInfo buf, int measure)
{
	appendStringInfo(buf,
					 "max(m%d) FILTER (WHERE NOT fresh) IS DISTINCT FROM max(m%d) FILTER (WHERE fresh)",
					 measure, measure);
}

/* Appends the condition that a group is not the same on both sides. */
static void
append_difference(StringInfo buf, const Definition *definition)
{
	appendStringInfoString(buf,
						   "count(*) FILTER (WHERE NOT fresh) <> 1 OR count(*) FILTER (WHERE fresh) <> 1");
	for (int i = 1; i <= definition->nmeasures; i++)
	{
		appendStringInfoString(buf, " OR ");
		append_distinct(buf, i);
	}
}

/*
 * Appends the condition that a group of the rollup is certainly wrong, for
 * rollups that may also count deleted rows.  The group exists twice, or is
 * missing, or some count is too low.  Or the row counts are equal, but some
 * measure differs.
 */
static void
append_shortage(StringInfo buf, const Definition *definition)
{
	appendStringInfoString(buf,
						   "count(*) FILTER (WHERE NOT fresh) > 1 OR (count(*) FILTER (WHERE fresh) > 0"
						   " AND (count(*) FILTER (WHERE NOT fresh) = 0");
	for (int i = 1; i <= definition->nmeasures; i++)
	{
		const Measure *measure = &definition->measures[i - 1];

		if (measure->kind == MEASURE_COUNT)
			appendStringInfo(buf,
							 " OR max(m%d) FILTER (WHERE NOT fresh) < max(m%d) FILTER (WHERE fresh)",
							 i, i);
		appendStringInfo(buf,
						 " OR (max(m%d) FILTER (WHERE NOT fresh) = max(m%d) FILTER (WHERE fresh) AND ",
						 definition->row_count + 1, definition->row_count + 1);
		append_distinct(buf, i);
		appendStringInfoChar(buf, ')');
	}
	appendStringInfoString(buf, "))");
}

/*
 * Returns the query for the groups that differ.  If the rollup may hold more
 * than the definition, only for those that are certainly wrong.  The columns
 * are g1 ..., the number of rows on each side, the addresses in the rollup,
 * and the measures o1 ... (rollup) and n1 ... (definition).  GROUP BY can use
 * hashing and treats NULLs as equal; no join does both.
 */
static char *
diff_query(const Rollup *rollup, bool may_hold_more)
{
	const Definition *definition = rollup->shape->definition;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT ");
	append_numbered(&buf, "g", definition->ngroups);
	appendStringInfoString(&buf,
						   ", count(*) FILTER (WHERE NOT fresh) AS in_rollup"
						   ", count(*) FILTER (WHERE fresh) AS in_definition"
						   ", array_agg(address) FILTER (WHERE NOT fresh) AS addresses");
	for (int i = 1; i <= definition->nmeasures; i++)
		appendStringInfo(&buf,
						 ", max(m%d) FILTER (WHERE NOT fresh) AS o%d"
						 ", max(m%d) FILTER (WHERE fresh) AS n%d", i, i, i, i);
	appendStringInfoString(&buf, " FROM (");
	append_side(&buf, definition, rollup->shape->name, false);
	appendStringInfoString(&buf, " UNION ALL ");
	append_side(&buf, definition, FRESH_TABLE, true);
	appendStringInfoString(&buf, ") s GROUP BY ");
	append_numbered(&buf, "g", definition->ngroups);
	appendStringInfoString(&buf, " HAVING ");
	if (may_hold_more)
		append_shortage(&buf, definition);
	else
		append_difference(&buf, definition);
	return buf.data;
}

/*
 * Creates and fills the table of differences.  Switches to the rollup's owner,
 * and returns the previous role, which the caller must restore.
 */
static SavedRole
find_differences(const Rollup *rollup, bool may_hold_more)
{
	char	   *query = diff_query(rollup, may_hold_more);
	SavedRole	saved;

	temporary_table_create(rollup, DIFF_NAME,
						   psprintf("AS %s WITH NO DATA", query));
	saved = xact_become(rollup->shape->owner);
	xact_execute(psprintf("INSERT INTO " DIFF_TABLE " %s", query));
	return saved;
}

/* Returns the columns of the rollup in the order g1 ..., m1 .... */
static char *
column_list(const Definition *definition)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, shape_group_columns(definition, ""));
	for (int i = 0; i < definition->nmeasures; i++)
		appendStringInfo(&buf, ", %s",
						 quote_identifier(definition->measures[i].name));
	return buf.data;
}

/*
 * Runs a statement that writes one row for each row of "from", a FROM clause,
 * and returns their number.  Throws if rows were suppressed.
 */
static uint64
write_all(const Rollup *rollup, const char *query, const char *from)
{
	uint64		written;
	bool		isnull;
	Datum		expected;

	xact_check_constraints_at_once();
	xact_execute(query);
	written = SPI_processed;
	xact_execute(psprintf("SELECT count(*) FROM %s", from));
	expected = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
							 &isnull);
	apply_check_written(rollup, written, DatumGetInt64(expected));
	return written;
}

/* In a group on which this is true, only measures differ. */
#define IN_BOTH "(in_rollup = 1 AND in_definition = 1)"

/* Returns "separator name", or "" if the rollup does not note the time. */
static char *
updated_at_column(const Rollup *rollup, const char *before, const char *after)
{
	return rollup->updated_at == NULL ? "" :
		psprintf("%s%s%s", before, quote_identifier(rollup->updated_at), after);
}

/*
 * Deletes the groups that are not in the definition, and those that are more
 * than once in the rollup.
 */
static uint64
delete_groups(const Rollup *rollup)
{
	return write_all(rollup,
					 psprintf("DELETE FROM ONLY %s WHERE ctid IN"
							  " (SELECT unnest(addresses) FROM " DIFF_TABLE " WHERE NOT " IN_BOTH ")",
							  rollup->shape->name),
					 "(SELECT unnest(addresses) FROM " DIFF_TABLE " WHERE NOT " IN_BOTH ") a");
}

/*
 * Corrects the measures of groups.  Their rows are updated, not replaced, so
 * that other columns keep their values, and rows that refer to them are
 * unaffected.
 */
static uint64
correct_groups(const Rollup *rollup)
{
	const Definition *definition = rollup->shape->definition;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "UPDATE ONLY %s AS r SET ", rollup->shape->name);
	for (int i = 0; i < definition->nmeasures; i++)
		appendStringInfo(&buf, "%s%s = d.n%d", i > 0 ? ", " : "",
						 quote_identifier(definition->measures[i].name), i + 1);
	appendStringInfo(&buf, "%s FROM " DIFF_TABLE " d WHERE r.ctid = d.addresses[1] AND " IN_BOTH,
					 updated_at_column(rollup, ", ", " = now()"));
	return write_all(rollup, buf.data, DIFF_TABLE " WHERE " IN_BOTH);
}

/* Inserts the groups that are missing now. */
static uint64
insert_groups(const Rollup *rollup)
{
	static const char from[] =
	DIFF_TABLE " WHERE in_definition > 0 AND NOT " IN_BOTH;
	const Definition *definition = rollup->shape->definition;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "INSERT INTO %s (%s%s) SELECT ", rollup->shape->name,
					 column_list(definition),
					 updated_at_column(rollup, ", ", ""));
	append_numbered(&buf, "g", definition->ngroups);
	appendStringInfoString(&buf, ", ");
	append_numbered(&buf, "n", definition->nmeasures);
	appendStringInfo(&buf, "%s FROM %s",
					 rollup->updated_at ? ", now()" : "", from);
	return write_all(rollup, buf.data, from);
}

/*
 * Makes the table match the definition, changing only rows that differ.
 * Returns whether there were any.
 */
bool
difference_replace(const Rollup *rollup)
{
	uint64		written;
	SavedRole	saved = find_differences(rollup, false);

	written = delete_groups(rollup);
	if (shape_order_may_change(rollup->shape))
		shape_make_indexes_again(rollup->shape);
	written += correct_groups(rollup);
	written += insert_groups(rollup);
	xact_restore_role(saved);
	return written > 0;
}

/*
 * Returns whether the table of a rollup has no rows, as that of a new one that
 * was not adopted.
 */
bool
difference_finds_empty(const Rollup *rollup)
{
	SavedRole	saved = xact_become(rollup->shape->owner);
	bool		empty;

	xact_execute(psprintf("SELECT FROM ONLY %s LIMIT 1", rollup->shape->name));
	empty = SPI_processed == 0;
	xact_restore_role(saved);
	return empty;
}

/* Fills the table of a new rollup, which is empty. */
void
difference_fill_new_table(const Rollup *rollup)
{
	char	   *columns = shape_columns(rollup->shape);
	SavedRole	saved = xact_become(rollup->shape->owner);

	(void) write_all(rollup,
					 psprintf("INSERT INTO %s (%s%s) SELECT %s%s FROM " FRESH_TABLE,
							  rollup->shape->name, columns,
							  updated_at_column(rollup, ", ", ""), columns,
							  rollup->updated_at ? ", now()" : ""),
					 FRESH_TABLE);
	xact_restore_role(saved);
}

/*
 * Appends an expression for the columns as one JSON object, with the rollup's
 * column names as keys; NULL unless the condition is true.
 */
static void
append_json(StringInfo buf, const char *condition, const char *prefix, int n,
			const char *(*name_of) (const Definition *, int),
			KeyExpression expression, const Definition *definition)
{
	appendStringInfo(buf,
					 "CASE WHEN %s THEN (SELECT to_json(x)::text FROM (SELECT ", condition);
	for (int i = 0; i < n; i++)
	{
		const char *value = psprintf("d.%s%d", prefix, i + 1);

		if (expression != NULL)
			value = expression(definition, i, value);
		appendStringInfo(buf, "%s%s AS %s", i > 0 ? ", " : "", value,
						 quote_identifier(name_of(definition, i)));
	}
	appendStringInfoString(buf, ") x) END");
}

static const char *
group_name(const Definition *definition, int i)
{
	return definition->groups[i].name;
}

static const char *
measure_name(const Definition *definition, int i)
{
	return definition->measures[i].name;
}

/*
 * Appends an expression for the group columns as one JSON object.  In the
 * query, they are d.g1, d.g2 and so on.  "expression" may be NULL.
 */
void
difference_append_key(StringInfo buf, const Definition *definition,
					  KeyExpression expression)
{
	append_json(buf, "true", "g", definition->ngroups, group_name, expression,
				definition);
}

/*
 * The same for the measures, which are numbered after the prefix; NULL unless
 * the condition is true.
 */
void
difference_append_measures(StringInfo buf, const Definition *definition,
						   const char *condition, const char *prefix)
{
	append_json(buf, condition, prefix, definition->nmeasures, measure_name,
				NULL, definition);
}

/*
 * Collects the differences, in the given memory context.  They are reported to
 * the caller of verify() only after the commit.  The caller may be slow, and
 * the main stream is blocked until the commit.
 */
Differences *
difference_collect(const Rollup *rollup, MemoryContext context)
{
	const Definition *definition = rollup->shape->definition;
	StringInfoData buf;
	SPIExecuteOptions options = {0};
	Differences *differences;
	MemoryContext caller_context;
	SavedRole	saved = find_differences(rollup, rollup->ignores != NIL);

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT ");
	difference_append_key(&buf, definition, NULL);
	appendStringInfoString(&buf, ", ");
	difference_append_measures(&buf, definition, "d.in_rollup > 0", "o");
	appendStringInfoString(&buf, ", ");
	difference_append_measures(&buf, definition, "d.in_definition > 0", "n");
	appendStringInfoString(&buf, " FROM " DIFF_TABLE " d ORDER BY ");
	append_numbered(&buf, "g", definition->ngroups);

	caller_context = MemoryContextSwitchTo(context);
	differences = palloc(sizeof(Differences));
	differences->desc = CreateTemplateTupleDesc(DIFFERENCE_COLUMNS);
	for (int i = 1; i <= DIFFERENCE_COLUMNS; i++)
		TupleDescInitEntry(differences->desc, i, NULL, TEXTOID, -1, 0);
	TupleDescFinalize(differences->desc);
	differences->rows = tuplestore_begin_heap(false, true, work_mem);
	options.must_return_tuples = true;
	options.dest = CreateTuplestoreDestReceiver();
	SetTuplestoreDestReceiverParams(options.dest, differences->rows,
									context, false, NULL, NULL);
	MemoryContextSwitchTo(caller_context);

	if (SPI_execute_extended(buf.data, &options) != SPI_OK_SELECT)
		elog(ERROR, "could not read the differences");
	xact_restore_role(saved);
	return differences;
}

/* Passes the differences to the caller of verify(), and frees the rows. */
void
difference_report(const Differences *differences, VerifyCallback callback,
				  void *arg)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(differences->desc,
													&TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(differences->rows, true, false, slot))
	{
		char	   *texts[DIFFERENCE_COLUMNS];

		slot_getallattrs(slot);
		for (int i = 0; i < DIFFERENCE_COLUMNS; i++)
			texts[i] = slot->tts_isnull[i] ?
				NULL : TextDatumGetCString(slot->tts_values[i]);
		callback(texts[0], texts[1], texts[2], arg);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(differences->rows);
}
