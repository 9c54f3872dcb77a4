/*-------------------------------------------------------------------------
 *
 * adopt.c
 *	  Whether a table that exists can become the table of a rollup.
 *
 * An adopted table stays as it is, with everything that belongs to it.  The
 * build then changes only the rows that differ (difference.c).  So everything
 * that would make it fail, or the rollup incorrect, is looked for beforehand,
 * and all of it is reported at once.  What depends on the rows that will be
 * written is left to the server: constraints and foreign keys.  If they are
 * violated, the build fails and the table stays as it was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

#include "adopt.h"
#include "compat.h"
#include "names.h"
#include "obstacle.h"
#include "own_columns.h"
#include "own_table.h"
#include "rollup.h"
#include "settings.h"
#include "shape.h"
#include "source.h"
#include "subscription.h"

/* What is examined, and what was found. */
typedef struct Candidate
{
	Relation	table;
	TupleDesc	wanted;			/* columns of the definition */
	const Definition *definition;
	const char *updated_at;		/* or NULL */
	const char *name;			/* of the table, for SQL */
	List	   *obstacles;
} Candidate;

static void
add(Candidate *candidate, const char *message, const char *detail,
	const char *hint)
{
	candidate->obstacles =
		lappend(candidate->obstacles,
				obstacle_make(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							  message, detail, hint));
}

/* Returns "ALTER TABLE name action;". */
static char *
alter_table(const Candidate *candidate, const char *action)
{
	return psprintf("Run: ALTER TABLE %s %s;", candidate->name, action);
}

/*
 * Columns
 */

/* Returns a column of the table, or NULL. */
static Form_pg_attribute
find_column(TupleDesc desc, const char *name)
{
	AttrNumber	attnum = own_columns_find_name(desc, name);

	return attnum == InvalidAttrNumber ? NULL : TupleDescAttr(desc, attnum - 1);
}

static bool
is_group(const Definition *definition, AttrNumber attnum)
{
	for (int i = 0; i < definition->ngroups; i++)
	{
		if (definition->groups[i].attnum == attnum)
			return true;
	}
	return false;
}

static void
check_type(Candidate *candidate, Form_pg_attribute column,
		   Form_pg_attribute wanted)
{
	const char *name = NameStr(column->attname);
	bool		collation = column->atttypid == wanted->atttypid &&
	column->attcollation != wanted->attcollation;
	char	   *statement;

	if (column->atttypid == wanted->atttypid &&
		column->atttypmod == wanted->atttypmod &&
		column->attcollation == wanted->attcollation)
		return;
	statement = psprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s;",
						 candidate->name, quote_identifier(name),
						 own_table_column_type(wanted, true));
	add(candidate,
		psprintf("Column \"%s\" has type %s instead of %s", name,
				 own_table_column_type(column, collation),
				 own_table_column_type(wanted, collation)),
		NULL,
		/* a measure with a cast is not kept in a table */
		is_group(candidate->definition, wanted->attnum) ?
		psprintf("Cast the output column of the query to %s, or run: %s",
				 own_table_column_type(column, true), statement) :
		psprintf("Run: %s", statement));
}

/* A column into which values cannot be inserted. */
static void
check_insertable(Candidate *candidate, Form_pg_attribute column)
{
	const char *name = NameStr(column->attname);
	const char *quoted = quote_identifier(name);

	if (column->attgenerated)
		add(candidate, psprintf("Column \"%s\" is a generated column", name),
			NULL, alter_table(candidate,
							  psprintf("ALTER COLUMN %s DROP EXPRESSION",
									   quoted)));
	if (column->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
		add(candidate, psprintf("Column \"%s\" is an identity column that is always generated", name),
			NULL, alter_table(candidate,
							  psprintf("ALTER COLUMN %s DROP IDENTITY",
									   quoted)));
}

/* Checks the columns of the definition, which may be anywhere in the table. */
static void
check_columns(Candidate *candidate)
{
	TupleDesc	desc = RelationGetDescr(candidate->table);

	for (int i = 0; i < candidate->wanted->natts; i++)
	{
		Form_pg_attribute wanted = TupleDescAttr(candidate->wanted, i);
		const char *name = NameStr(wanted->attname);
		Form_pg_attribute column = find_column(desc, name);

		if (column == NULL)
		{
			add(candidate, psprintf("Column \"%s\" is missing", name), NULL,
				psprintf("Name the output column of the query as in the table, or run: ALTER TABLE %s ADD COLUMN %s %s;",
						 candidate->name, quote_identifier(name),
						 own_table_column_type(wanted, true)));
			continue;
		}
		check_type(candidate, column, wanted);
		check_insertable(candidate, column);
	}
}

/* Checks that a row can be inserted without naming the other columns. */
static void
check_more_columns(Candidate *candidate)
{
	TupleDesc	desc = RelationGetDescr(candidate->table);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		const char *name = NameStr(column->attname);

		if (column->attisdropped || !column->attnotnull ||
			column->atthasdef || column->attidentity ||
			find_column(candidate->wanted, name) != NULL ||
			(candidate->updated_at != NULL &&
			 strcmp(name, candidate->updated_at) == 0))
			continue;
		add(candidate,
			psprintf("Column \"%s\", which the query does not have, is NOT NULL and has no default",
					 name),
			NULL, alter_table(candidate,
							  psprintf("ALTER COLUMN %s DROP NOT NULL",
									   quote_identifier(name))));
	}
}

static bool
is_listed(AttrNumber column, const AttrNumber *columns, int ncolumns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		if (columns[i] == column)
			return true;
	}
	return false;
}

/*
 * Throws unless the column in which apply.c notes the time exists, is none of
 * those that hold the columns of the definition, and has the right type.
 */
void
adopt_check_updated_at(Oid relid, const char *updated_at,
					   const AttrNumber *columns, int ncolumns)
{
	Relation	table = relation_open(relid, AccessShareLock);
	Form_pg_attribute column = find_column(RelationGetDescr(table), updated_at);

	if (column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" in updated_at does not exist in %s",
						updated_at, qualified_name(relid)),
				 errhint("Run: ALTER TABLE %s ADD COLUMN %s timestamptz;",
						 qualified_name(relid),
						 quote_identifier(updated_at))));
	if (is_listed(column->attnum, columns, ncolumns))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" in updated_at is a column of the query",
						updated_at),
				 errhint("Name a column that only the table has.")));
	if (column->atttypid != TIMESTAMPTZOID || column->attgenerated ||
		column->attidentity)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" in updated_at must have type timestamp with time zone, and not be generated",
						updated_at),
				 errhint("Run: ALTER TABLE %s ALTER COLUMN %s TYPE timestamptz;",
						 qualified_name(relid),
						 quote_identifier(updated_at))));
	relation_close(table, NoLock);
}

/*
 * Keys
 */

/* Returns how many groups the table has more than once. */
static int64
count_duplicates(const Candidate *candidate)
{
	bool		isnull;
	int64		result;

	SPI_connect();
	if (SPI_execute(psprintf("SELECT count(*) FROM (SELECT FROM ONLY %s GROUP BY %s HAVING count(*) > 1) g",
							 candidate->name,
							 shape_group_columns(candidate->definition, "")),
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count the groups of a table");
	result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
										 SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return result;
}

/*
 * Checks that an index finds a group.  The columns are known to be those of the
 * definition.
 */
static void
check_index(Candidate *candidate)
{
	const AttrNumber *columns =
	own_columns_match(candidate->table, candidate->wanted);
	char	   *names = shape_group_columns(candidate->definition, "");
	int64		duplicates;

	if (OidIsValid(own_table_find_index(candidate->table,
										candidate->definition,
										columns)))
		return;
	duplicates = count_duplicates(candidate);
	if (duplicates > 0)
		add(candidate,
			psprintf("The table has more than one row for " INT64_FORMAT " of its groups (%s)",
					 duplicates, names),
			NULL,
			"Delete all but one row of each of these groups. The build then corrects the remaining ones.");
	add(candidate,
		psprintf("The table has no unique index on the group columns (%s)", names),
		"An index that is partial, deferrable, invalid, on expressions, or on other columns or collations does not suffice, and on columns that can be null only one with NULLS NOT DISTINCT.",
		psprintf("Run: CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT;",
				 candidate->name, names));
}

/*
 * Everything else
 */

static void
check_kind(Candidate *candidate)
{
	Form_pg_class form = candidate->table->rd_rel;
	Oid			relid = RelationGetRelid(candidate->table);
	char	   *reason = subscription_reason(relid);

	if (form->relpersistence == RELPERSISTENCE_UNLOGGED)
		add(candidate, "The table is unlogged",
			"A crash would empty the table, and its rows would not be counted again.",
			alter_table(candidate, "SET LOGGED"));
	if (form->relowner != GetUserId())
		add(candidate,
			psprintf("The table belongs to role \"%s\"",
					 GetUserNameFromId(form->relowner, false)),
			"The query is run as the owner of the table.",
			psprintf("Run: SET ROLE %s;",
					 quote_identifier(GetUserNameFromId(form->relowner,
														false))));
	if (form->relispartition || has_superclass(relid))
		add(candidate, form->relispartition ? "The table is a partition" :
			"The table inherits from another one", NULL,
			psprintf("Run: ALTER TABLE parent %s %s;",
					 form->relispartition ? "DETACH PARTITION" : "NO INHERIT",
					 candidate->name));
	if (find_inheritance_children(relid, NoLock) != NIL)
		add(candidate, "Other tables inherit from the table",
			"Their rows would be read with those of the rollup.",
			psprintf("Run for each of them: ALTER TABLE child NO INHERIT %s;",
					 candidate->name));
	if (form->relforcerowsecurity && form->relrowsecurity)
		add(candidate, "Row-level security applies to the owner of the table",
			"The rows of the rollup are written as the owner.",
			alter_table(candidate, "NO FORCE ROW LEVEL SECURITY"));
	if (candidate->table->rd_rules != NULL)
		add(candidate, "The table has rules", NULL,
			psprintf("Run for each of them: DROP RULE rule ON %s;",
					 candidate->name));
	if (reason != NULL)
		add(candidate, psprintf("A %s", reason), NULL,
			"Remove the table from the publication, and refresh the subscription.");
}

/* Checks for triggers that may change or suppress rows. */
static void
check_triggers(Candidate *candidate)
{
	TriggerDesc *triggers = candidate->table->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (!trigger->tgisinternal &&
			trigger->tgenabled != TRIGGER_DISABLED &&
			TRIGGER_FOR_ROW(trigger->tgtype) &&
			TRIGGER_FOR_BEFORE(trigger->tgtype))
			add(candidate,
				psprintf("Trigger \"%s\" can change or suppress rows",
						 trigger->tgname),
				NULL,
				psprintf("Run: DROP TRIGGER %s ON %s;",
						 quote_identifier(trigger->tgname), candidate->name));
	}
}

/* Returns whether a table is one of "sources", or one of their children. */
static bool
is_read(Oid relid, List *sources)
{
	ListCell   *lc;

	foreach(lc, sources)
	{
		if (list_member_oid(find_all_inheritors(lfirst_oid(lc), NoLock, NULL),
							relid))
			return true;
	}
	return false;
}

/* Checks that no rollup reads the table, which would be one then. */
static void
check_not_read(Candidate *candidate)
{
	Oid			relid = RelationGetRelid(candidate->table);
	ListCell   *lc;

	if (is_read(relid, candidate->definition->sources))
		add(candidate, "The query reads the table", NULL,
			"Use another table as the source, or another name for the rollup.");
	foreach(lc, rollup_known_sources())
	{
		const RollupSource *source = (const RollupSource *) lfirst(lc);

		if (source->rollup != relid && get_rel_name(source->rollup) != NULL &&
			is_read(relid, list_make1_oid(source->source)))
			add(candidate,
				psprintf("Rollup %s reads the table", qualified_name(source->rollup)),
				"Rollups of rollups are not supported.", NULL);
	}
}

/*
 * Returns the OID of the table of that name.  Locks it against changes of its
 * form; readers and writers do not wait.  Throws if it does not exist, is no
 * table, or the current user does not own it.
 */
Oid
adopt_find_table(const RangeVar *name)
{
	Oid			relid = RangeVarGetRelid(name, ShareUpdateExclusiveLock, true);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", name->relname),
				 errhint("To create the table of a rollup, do not use adopt => true.")));
	if (!owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name->relname);
	if (rollup_exists(relid))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("\"%s\" is already a rollup", name->relname),
				 errhint("To change its definition, use notify_stats.alter_rollup(), or notify_stats.drop_rollup() with keep_table => true before this.")));
	if (get_rel_relkind(relid) != RELKIND_RELATION ||
		get_rel_namespace(relid) == get_namespace_oid(EXTENSION_SCHEMA, false))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot adopt \"%s\"", name->relname),
				 errdetail("Only an ordinary table can become the table of a rollup.")));
	return relid;
}

/*
 * Throws an error that lists everything that keeps a table from becoming the
 * table of a rollup.  "view" has the columns of its definition.
 */
void
adopt_check(Oid relid, Oid view, const Definition *definition,
			const char *updated_at)
{
	Relation	definition_view = relation_open(view, AccessShareLock);
	Candidate	candidate = {0};

	candidate.table = table_open(relid, NoLock);
	candidate.wanted = RelationGetDescr(definition_view);
	candidate.definition = definition;
	candidate.updated_at = updated_at;
	candidate.name = qualified_name(relid);

	check_columns(&candidate);
	if (candidate.obstacles == NIL)
		check_index(&candidate);
	check_more_columns(&candidate);
	check_kind(&candidate);
	check_triggers(&candidate);
	check_not_read(&candidate);
	obstacle_throw_all(candidate.obstacles,
					   ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					   psprintf("cannot adopt table %s", candidate.name));
	table_close(candidate.table, NoLock);
	relation_close(definition_view, NoLock);
}
