/*-------------------------------------------------------------------------
 *
 * own_columns.c
 *	  Which columns of a rollup's own table hold those of its definition.
 *
 * In a table that has no other columns they are the first ones, of which
 * nothing is stored.  As soon as a cycle sees other columns, they are stored, as
 * a measure that is added later comes after them.  In a table that was adopted
 * they may be anywhere, in any order.  Columns may be renamed
 * at any time.  A dump and a restore change their numbers, if some were
 * dropped.  So both are stored: the names where a dump contains them (rollup),
 * and the numbers where it does not (rollup_activity).  The numbers count.  If
 * there are none, as after a restore, the names do.  A cycle that sees other
 * names stores these, and the numbers if they are missing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/value.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "names.h"
#include "own_columns.h"
#include "own_table.h"
#include "settings.h"

/* Returns the number of a column, or InvalidAttrNumber. */
AttrNumber
own_columns_find_name(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (!column->attisdropped && strcmp(NameStr(column->attname), name) == 0)
			return column->attnum;
	}
	return InvalidAttrNumber;
}

/* Sets the columns to those with these names.  Returns false if one is missing. */
static bool
match_by_name(TupleDesc table, TupleDesc definition, AttrNumber *columns)
{
	for (int i = 0; i < definition->natts; i++)
	{
		columns[i] = own_columns_find_name(table,
										   NameStr(TupleDescAttr(definition,
																 i)->attname));
		if (columns[i] == InvalidAttrNumber)
			return false;
	}
	return true;
}

/*
 * Throws if a table does not have all names of the definition, and has one of
 * them in another place.  Then neither names nor places say which column was
 * renamed.
 */
static void
check_places(Relation table, TupleDesc definition)
{
	const char *missing = NULL;
	const char *moved = NULL;

	for (int i = 0; i < definition->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(definition, i)->attname);
		AttrNumber	column = own_columns_find_name(RelationGetDescr(table), name);

		if (column == InvalidAttrNumber)
			missing = name;
		else if (column != i + 1)
			moved = name;
	}
	if (missing != NULL && moved != NULL)
	{
		const char *table_name = qualified_name(RelationGetRelid(table));

		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table %s has no column \"%s\"", table_name, missing),
				 errdetail("A column that was renamed cannot be found by its position, because column \"%s\" has another position than in the definition.",
						   moved),
				 errhint("Run: ALTER TABLE %s RENAME COLUMN old_name TO %s;",
						 table_name, quote_identifier(missing))));
	}
}

/*
 * Returns the columns of a table of which nothing is stored: those with the
 * names of the definition's if all exist, otherwise the first ones, which may
 * have been renamed; palloc'd.  NULL: it does not have so many.  Throws if they
 * cannot be the first ones, because one of the names is elsewhere.
 */
AttrNumber *
own_columns_match(Relation table, TupleDesc definition)
{
	TupleDesc	desc = RelationGetDescr(table);
	AttrNumber *columns = palloc(sizeof(AttrNumber) * (definition->natts + 1));

	if (match_by_name(desc, definition, columns))
		return columns;
	check_places(table, definition);
	for (int i = 0; i < definition->natts; i++)
	{
		if (i >= desc->natts || TupleDescAttr(desc, i)->attisdropped)
			return NULL;
		columns[i] = i + 1;
	}
	return columns;
}

/*
 * Returns the numbers that are stored for a rollup, in the latest state of the
 * catalog, and sets *n to how many there are; palloc'd.
 */
static AttrNumber *
load_numbers(Oid rollup, int *n)
{
	static const char query[] =
	"SELECT n FROM " EXTENSION_SCHEMA ".rollup_activity v"
	" CROSS JOIN pg_catalog.unnest(v.column_numbers) WITH ORDINALITY u (n, i)"
	" WHERE v.rollup = $1 ORDER BY i";
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(rollup)};
	MemoryContext context = CurrentMemoryContext;
	SavedRole	saved = catalog_enter();
	AttrNumber *numbers;

	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(query, 1, argtypes, args, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the columns of a rollup");
	*n = SPI_processed;
	numbers = MemoryContextAlloc(context, sizeof(AttrNumber) * (*n + 1));
	for (int i = 0; i < *n; i++)
	{
		bool		isnull;

		numbers[i] = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[i],
												 SPI_tuptable->tupdesc, 1,
												 &isnull));
	}
	PopActiveSnapshot();
	catalog_leave(saved);
	MemoryContextSwitchTo(context);
	return numbers;
}

/* Throws because a column that was stored by its name does not exist. */
static void
complain_of_name(Oid rollup, const char *name)
{
	const char *rollup_name = qualified_name(rollup);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("rollup %s has no column \"%s\"", rollup_name, name),
			 errdetail("The rollup was restored from a dump, in which the column has this name."),
			 errhint("Run: ALTER TABLE %s RENAME COLUMN old_name TO %s; SELECT notify_stats.rebuild(%s);",
					 rollup_name, quote_identifier(name),
					 quote_literal_cstr(rollup_name))));
}

/* Throws because the table has no column for one added to the definition. */
static void
complain_of_added(Oid rollup, Form_pg_attribute wanted)
{
	const char *rollup_name = qualified_name(rollup);
	const char *name = NameStr(wanted->attname);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("rollup %s has no column \"%s\"", rollup_name, name),
			 errdetail("A column that was added to the definition is found in the table by its name."),
			 errhint("Run: ALTER TABLE %s ADD COLUMN %s %s; SELECT notify_stats.rebuild(%s);",
					 rollup_name, quote_identifier(name),
					 own_table_column_type(wanted, true),
					 quote_literal_cstr(rollup_name))));
}

/* Returns the number of a column that has no stored one. */
static AttrNumber
find_by_name(Oid rollup, TupleDesc table, Form_pg_attribute wanted,
			 const char *stored_name)
{
	AttrNumber	column = own_columns_find_name(table, stored_name ? stored_name :
											   NameStr(wanted->attname));

	if (column == InvalidAttrNumber && stored_name != NULL)
		complain_of_name(rollup, stored_name);
	if (column == InvalidAttrNumber)
		complain_of_added(rollup, wanted);
	return column;
}

/*
 * Returns whether a table has these columns, in this order, and no others.  Then
 * nothing needs to be stored.
 */
bool
own_columns_are_all(TupleDesc table, const AttrNumber *columns, int ncolumns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		if (columns[i] != i + 1)
			return false;
	}
	return table->natts == ncolumns;
}

/*
 * Returns the columns of a rollup's table for those of its definition; palloc'd.
 * "names" (of String) are stored for it; NIL: it has its first columns.  Columns
 * that were added to the definition later are found by their names.  Sets
 * *stored to whether the numbers are stored, or need not be.
 */
AttrNumber *
own_columns_find(Oid rollup, TupleDesc table, TupleDesc definition,
				 const List *names, bool *stored)
{
	AttrNumber *columns = palloc(sizeof(AttrNumber) * (definition->natts + 1));
	AttrNumber *numbers = NULL;
	int			nnumbers = 0;

	if (names != NIL)
		numbers = load_numbers(rollup, &nnumbers);
	for (int i = 0; i < definition->natts; i++)
	{
		if (names == NIL)
			columns[i] = i + 1;
		else if (i < nnumbers)
			columns[i] = numbers[i];
		else
			columns[i] = find_by_name(rollup, table,
									  TupleDescAttr(definition, i),
									  i < list_length(names) ?
									  strVal(list_nth(names, i)) : NULL);
	}
	*stored = names == NIL ?
		own_columns_are_all(table, columns, definition->natts) :
		nnumbers >= definition->natts;
	return columns;
}

/* Returns the names (of String) of these columns of a table. */
List	   *
own_columns_names(TupleDesc table, const AttrNumber *columns, int ncolumns)
{
	List	   *names = NIL;

	for (int i = 0; i < ncolumns; i++)
		names = lappend(names,
						makeString(pstrdup(NameStr(TupleDescAttr(table,
																 columns[i] - 1)->attname))));
	return names;
}

static Datum
name_array(const List *names)
{
	Datum	   *values = palloc(sizeof(Datum) * list_length(names));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, names)
		values[n++] = DirectFunctionCall1(namein,
										  CStringGetDatum(strVal(lfirst(lc))));
	return PointerGetDatum(construct_array(values, n, NAMEOID, NAMEDATALEN,
										   false, TYPALIGN_CHAR));
}

static Datum
number_array(const AttrNumber *columns, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
		values[i] = Int16GetDatum(columns[i]);
	return PointerGetDatum(construct_array(values, n, INT2OID, sizeof(int16),
										   true, TYPALIGN_SHORT));
}

/* Stores the columns of a rollup, and their names. */
void
own_columns_store(Oid rollup, const List *names, const AttrNumber *columns)
{
	Oid			argtypes[2] = {OIDOID, NAMEARRAYOID};
	Datum		args[2] = {ObjectIdGetDatum(rollup), name_array(names)};

	catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup SET column_names = $2"
					" WHERE rollup = $1 AND column_names IS DISTINCT FROM $2",
					2, argtypes, args, NULL);
	argtypes[1] = INT2ARRAYOID;
	args[1] = number_array(columns, list_length(names));
	catalog_execute("INSERT INTO " EXTENSION_SCHEMA ".rollup_activity (rollup, column_numbers) VALUES ($1, $2)"
					" ON CONFLICT (rollup) DO UPDATE SET column_numbers = excluded.column_numbers",
					2, argtypes, args, NULL);
}
