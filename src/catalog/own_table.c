/*-------------------------------------------------------------------------
 *
 * own_table.c
 *	  Whether a rollup's own table can hold the result of its definition.
 *
 * The table belongs to the rollup's owner, who may alter it.  If it rounds or
 * merges values, the rollup would be wrong without an error.  So everything
 * that determines how values are stored and compared must match the
 * definition: types, type modifiers, collations, and the equality of the index
 * that finds a group.  Restrictions that make the server raise an error by
 * itself (a NOT NULL, an identity) are not checked here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "catalog/pg_index.h"
#include "lib/stringinfo.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "own_table.h"
#include "unique.h"

/*
 * Returns the type of a column as SQL under our search_path, optionally with
 * its collation.
 */
char	   *
own_table_column_type(Form_pg_attribute attribute, bool with_collation)
{
	char	   *type = format_type_with_typemod(attribute->atttypid,
												attribute->atttypmod);

	if (!with_collation || !OidIsValid(attribute->attcollation))
		return type;
	return psprintf("%s COLLATE %s", type,
					generate_collation_name(attribute->attcollation));
}

/* Returns the columns in the syntax of CREATE TABLE. */
char	   *
own_table_columns_of(TupleDesc desc)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < desc->natts; i++)
		appendStringInfo(&buf, "%s%s %s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(desc,
																i)->attname)),
						 own_table_column_type(TupleDescAttr(desc, i), true));
	return buf.data;
}

/*
 * Returns the USING clause with which ALTER TABLE converts values to the new
 * type, or "" if none is needed.
 */
static char *
conversion(Form_pg_attribute column, const char *name,
		   Form_pg_attribute wanted)
{
	Oid			function;

	if (column->atttypid == wanted->atttypid ||
		find_coercion_pathway(wanted->atttypid, getBaseType(column->atttypid),
							  COERCION_ASSIGNMENT,
							  &function) != COERCION_PATH_NONE)
		return "";
	return psprintf(" USING %s::%s", name, own_table_column_type(wanted, false));
}

/* Throws because a column differs from the definition. */
static void
complain_of_type(const char *rollup, Form_pg_attribute column,
				 Form_pg_attribute wanted)
{
	const char *name = quote_identifier(NameStr(column->attname));
	bool		collation = column->atttypid == wanted->atttypid &&
	column->attcollation != wanted->attcollation;

	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of rollup %s has type %s instead of %s",
					NameStr(column->attname),
					rollup, own_table_column_type(column, collation),
					own_table_column_type(wanted, collation)),
			 errdetail("Values would not be stored or compared as in the definition."),
			 errhint("Run: ALTER TABLE %s ALTER COLUMN %s TYPE %s%s; SELECT notify_stats.rebuild(%s);",
					 rollup, name, own_table_column_type(wanted, true),
					 conversion(column, name, wanted),
					 quote_literal_cstr(rollup))));
}

/*
 * Throws because a column of the definition has none in the table.  Dropping a
 * table that has other columns, too, would lose these.
 */
static void
complain_of_missing(const char *rollup, TupleDesc table, TupleDesc definition,
					Form_pg_attribute wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("rollup %s no longer has the columns of its definition", rollup),
			 errdetail("The table has no column for \"%s\".",
					   NameStr(wanted->attname)),
			 table->natts > definition->natts ?
			 errhint("Run: SELECT notify_stats.drop_rollup(%s, keep_table => true); ALTER TABLE %s ADD COLUMN %s %s; then create the rollup again, with adopt => true.",
					 quote_literal_cstr(rollup), rollup,
					 quote_identifier(NameStr(wanted->attname)),
					 own_table_column_type(wanted, true)) :
			 errhint("Drop the rollup and create it again.")));
}

/*
 * Throws unless these columns of the table (own_columns.c) exist, and have the
 * types, type modifiers and collations of those of the definition.  "rollup" is
 * its name as SQL.
 */
void
own_table_check_columns(const char *rollup, TupleDesc table,
						TupleDesc definition, const AttrNumber *columns)
{
	for (int i = 0; i < definition->natts; i++)
	{
		Form_pg_attribute column = columns[i] <= table->natts ?
		TupleDescAttr(table, columns[i] - 1) : NULL;
		Form_pg_attribute wanted = TupleDescAttr(definition, i);

		if (column == NULL || column->attisdropped)
			complain_of_missing(rollup, table, definition, wanted);
		if (column->atttypid != wanted->atttypid ||
			column->atttypmod != wanted->atttypmod ||
			column->attcollation != wanted->attcollation)
			complain_of_type(rollup, column, wanted);
	}
}

/* Returns the group column that a column of the table holds, or NULL. */
static const GroupColumn *
find_group(const Definition *definition, const AttrNumber *columns,
		   AttrNumber column)
{
	for (int i = 0; i < definition->ngroups; i++)
		if (columns[definition->groups[i].attnum - 1] == column)
			return &definition->groups[i];
	return NULL;
}

/*
 * Returns whether the key columns of an index are the group columns, compared
 * as GROUP BY does.
 */
static bool
compares_groups(HeapTuple tuple, const Definition *definition,
				const AttrNumber *columns)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(tuple);
	Bitmapset  *found = NULL;
	bool		isnull;
	oidvector  *collations;
	oidvector  *classes;

	collations = (oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID,
															   tuple,
															   Anum_pg_index_indcollation, &isnull));
	classes = (oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, tuple,
															Anum_pg_index_indclass, &isnull));
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		/* an expression has number 0, and is no group column */
		const GroupColumn *group = find_group(definition, columns,
											  form->indkey.values[i]);
		Oid			family;
		Oid			type;

		if (group == NULL || collations->values[i] != group->collation ||
			!get_opclass_opfamily_and_input_type(classes->values[i], &family,
												 &type) ||
			get_opfamily_member(family, type, type,
								BTEqualStrategyNumber) != group->eqop)
			return false;
		found = bms_add_member(found, group->attnum);
	}
	return bms_num_members(found) == definition->ngroups;
}

/*
 * Returns whether an index treats nulls as equal, as GROUP BY does, or none of
 * its columns can be null.
 */
static bool
equates_nulls(Relation table, Form_pg_index form)
{
	if (form->indnullsnotdistinct)
		return true;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	attnum = form->indkey.values[i];

		if (attnum <= 0 ||
			!TupleDescAttr(RelationGetDescr(table), attnum - 1)->attnotnull)
			return false;
	}
	return true;
}

static bool
is_group_index(Relation table, Oid index, const Definition *definition,
			   const AttrNumber *columns)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	result = unique_index_holds(tuple) &&
		equates_nulls(table, form) &&
		(definition == NULL || compares_groups(tuple, definition, columns));
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Returns a unique index of the table that finds a group, NULLs included; or
 * InvalidOid.  For a definition, the index must compare its group columns as
 * GROUP BY does.  An index with a collation in which more values are equal
 * would merge groups.  "columns" are those of the table, by column of the
 * definition.  Without a definition (NULL), any columns are accepted.
 */
Oid
own_table_find_index(Relation table, const Definition *definition,
					 const AttrNumber *columns)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(table))
	{
		if (is_group_index(table, lfirst_oid(lc), definition, columns))
			return lfirst_oid(lc);
	}
	return InvalidOid;
}
