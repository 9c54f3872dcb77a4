/*-------------------------------------------------------------------------
 *
 * group_key.c
 *	  The form of a group's key in JSON.
 *
 * Values that are equal may look different: 1.0 and 1.00.  A group then looks
 * like the row that was its first one, and may look different after it was
 * deleted and inserted again.  But readers know a group by its key in JSON.  So
 * values of some types are written there in one form of all those that are
 * equal.  Other types have no such form.  Nor have those like regclass, which are
 * written as the names of other objects: these may be renamed.
 *
 * The keys contain names as well, of columns and of labels of enums.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "group_key.h"
#include "names.h"
#include "safe.h"
#include "type_parts.h"

/*
 * Returns the expression, as a format, for the one form of values of a type that
 * are equal but may look different; NULL if it has none.
 */
static const char *
format_of_type(Oid type)
{
	switch (getBaseType(type))
	{
		case NUMERICOID:
			return "pg_catalog.trim_scale(%s)";
		case INTERVALOID:
			return "pg_catalog.justify_interval(%s)";
		case FLOAT4OID:
		case FLOAT8OID:
			return "(%s OPERATOR(pg_catalog.+) '0')";
		default:
			return NULL;
	}
}

static bool
looks_vary(const GroupColumn *column)
{
	return !safe_image_of_type(column->type, column->typmod,
							   column->collation);
}

/* Without typmod, character values may have blanks at their end. */
static const char *
form_of(const GroupColumn *column)
{
	if (getBaseType(column->type) == BPCHAROID &&
		safe_image_of_type(TEXTOID, -1, column->collation))
		return "(%s)::pg_catalog.text";
	return format_of_type(column->type);
}

/*
 * Returns whether a row of a rollup may look different without a change of any
 * value: a group column, or a sum of numeric, which has the largest scale that
 * any of its values had.
 */
bool
group_key_looks_vary(const Definition *definition)
{
	for (int i = 0; i < definition->ngroups; i++)
	{
		if (looks_vary(&definition->groups[i]))
			return true;
	}
	for (int i = 0; i < definition->nmeasures; i++)
	{
		if (definition->measures[i].kind == MEASURE_SUM_NUMERIC &&
			definition->measures[i].argtype == NUMERICOID)
			return true;
	}
	return false;
}

/* Returns an expression for the form of a value of a group column. */
char *
group_key_expression(const Definition *definition, int group,
					 const char *value)
{
	const GroupColumn *column = &definition->groups[group];

	return looks_vary(column) ? psprintf(form_of(column), value) :
		pstrdup(value);
}

/*
 * Returns a string that differs after a rename of anything of which the name is
 * in JSON: a column of a rollup, or a label of an enum in a group column.
 */
char *
group_key_names(const RollupShape *shape)
{
	const Definition *definition = shape->definition;
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	for (int i = 0; i < definition->ncolumns; i++)
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(shape->desc,
																i)->attname)));
	for (int i = 0; i < definition->ngroups; i++)
		foreach(lc, type_parts(list_make1_oid(definition->groups[i].type)))
			appendStringInfoString(&buf, type_label_versions(lfirst_oid(lc)));
	return buf.data;
}

static char *
type_and_collation(const GroupColumn *column)
{
	const char *type = format_type_be(column->type);
	char	   *collation = OidIsValid(column->collation) &&
		!get_collation_isdeterministic(column->collation) ?
		get_collation_name(column->collation) : NULL;

	return collation == NULL ? pstrdup(type) :
		psprintf("%s with collation \"%s\"", type, collation);
}

/*
 * Returns why values of a group column do not have one form in JSON, or NULL if
 * they do.
 */
static char *
reason_of_many_forms(const GroupColumn *column)
{
	Oid			naming = type_naming(column->type);

	if (OidIsValid(naming))
		return psprintf("Values of type %s are written as names, which may be changed, so a group does not have one key in JSON.",
						format_type_be(naming));
	if (looks_vary(column) && form_of(column) == NULL)
		return psprintf("Values of type %s may be equal and look different, so a group does not have one key in JSON.",
						type_and_collation(column));
	return NULL;
}

/* Throws unless each group of a rollup has one key in JSON. */
void
group_key_check(const Rollup *rollup)
{
	const Definition *definition = rollup->shape->definition;

	for (int i = 0; i < definition->ngroups; i++)
	{
		const GroupColumn *column = &definition->groups[i];
		char	   *reason = reason_of_many_forms(column);

		if (reason != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("changes() does not support group column \"%s\" of rollup %s",
							column->name, rollup->shape->name),
					 errdetail_internal("%s", reason),
					 errhint("Use notify_stats.changed_rows(), and compare the group columns by the operator = of their types.")));
	}
}
