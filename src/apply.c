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
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/queryenvironment.h"

#include "apply.h"
#include "trouble.h"
#include "xact.h"

void
apply_query_with_rows(const char *query, Tuplestorestate *rows, TupleDesc desc, uint64 nrows)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = APPLY_ROWS;
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = (double) nrows;
	enr->reldata = rows;

	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows");
	xact_execute(query);
	SPI_unregister_relation(APPLY_ROWS);
}

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
 * The statement that adds the deltas.  Its first row tells how many rows it has
 * written; the others are the addresses of those whose count is now zero, and
 * whether something is wrong with them.
 */
static char *
upsert_query(const Rollup *rollup, const char *target)
{
	const Definition *definition = rollup->definition;
	const char *count = quote_identifier(definition->measures[definition->row_count].name);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "WITH applied AS (INSERT INTO %s AS r (%s) ", target,
					 rollup_columns(rollup));
	append_select(&buf, definition);
	/* in key order, for the index's sake */
	appendStringInfo(&buf, " FROM " APPLY_ROWS " d ORDER BY %s ON CONFLICT (%s) DO UPDATE SET ",
					 rollup_group_columns(definition, "d."),
					 rollup_group_columns(definition, ""));
	append_update(&buf, definition);
	appendStringInfo(&buf, " RETURNING r.ctid AS address, r.%s AS count, ", count);
	append_remainder(&buf, definition);
	appendStringInfoString(&buf,
						   " AS remainder)"
						   " SELECT NULL::tid, count(*), NULL::bool FROM applied"
						   " UNION ALL"
						   " SELECT address, count, count IS DISTINCT FROM 0 OR remainder"
						   " FROM applied WHERE count > 0 IS NOT TRUE");
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
				 errhint("Drop it, and run: SELECT notify_stats.rebuild(%s);",
						 quote_literal_cstr(rollup->name))));
}

/* The count that the query at hand has in a column of its first row. */
static uint64
first_count(int column)
{
	bool		isnull;

	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column,
									   &isnull));
}

/*
 * Deletes the rows that the upsert returned.  A count below zero, or one of
 * zero beside something else, means that the table was not what the definition
 * had: changed by hand, or worse.  That is said, never mended in silence.
 */
static void
delete_empty_groups(const Rollup *rollup, const char *target)
{
	uint64		nrows = SPI_processed - 1;	/* but for the first */
	Datum	   *addresses = palloc(sizeof(Datum) * nrows);
	Oid			argtypes[1] = {TIDARRAYOID};
	Datum		args[1];

	for (uint64 i = 0; i < nrows; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i + 1];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		if (DatumGetBool(SPI_getbinval(tuple, desc, 3, &isnull)))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("rollup %s does not match its definition: a group would have a count of %s",
							rollup->name, SPI_getvalue(tuple, desc, 2) ? SPI_getvalue(tuple, desc, 2) : "NULL"),
					 errdetail("The table may have been changed by hand."),
					 errhint("Run: SELECT notify_stats.rebuild(%s);",
							 quote_literal_cstr(rollup->name))));
		addresses[i] = SPI_getbinval(tuple, desc, 1, &isnull);
	}

	args[0] = PointerGetDatum(construct_array(addresses, nrows, TIDOID, sizeof(ItemPointerData),
											  false, TYPALIGN_SHORT));
	if (SPI_execute_with_args(psprintf("DELETE FROM %s WHERE ctid = ANY ($1)", target),
							  1, argtypes, args, NULL, false, 0) != SPI_OK_DELETE ||
		SPI_processed != nrows)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not delete the empty groups of rollup %s", rollup->name),
				 errdetail("A trigger or rule on the table may have interfered.")));
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
	SPI_connect();
	if (delta_truncated(delta) &&
		SPI_execute(psprintf("DELETE FROM %s", target), false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not empty rollup %s", rollup->name);
	if (rows != NULL)
	{
		apply_query_with_rows(upsert_query(rollup, target), rows, rollup->desc, nrows);
		apply_check_written(rollup, first_count(2), nrows);
		if (SPI_processed > 1)
			delete_empty_groups(rollup, target);
		tuplestore_end(rows);
	}
	SPI_finish();
	xact_restore_role(saved);
	trouble_end();
	return true;
}
