/*-------------------------------------------------------------------------
 *
 * create.c
 *	  Creating a rollup.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/view.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include "adopt.h"
#include "busy_lock.h"
#include "catalog.h"
#include "compat.h"
#include "core.h"
#include "create.h"
#include "names.h"
#include "own_columns.h"
#include "rollup.h"
#include "settings.h"
#include "shape.h"
#include "source.h"
#include "xact.h"

#define DEFINITION_SUFFIX "_definition"

/*
 * Leaves room on each page for new versions of its rows, so that updates of
 * counters stay on the page and touch no index.
 */
#define ROLLUP_FILLFACTOR 70

/*
 * Converts the position of an error to a position within the definition's
 * text.
 */
static void
definition_error_callback(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
}

/* Parses the definition.  Throws unless it is exactly one statement. */
static RawStmt *
parse_definition(const char *definition)
{
	List	   *statements = raw_parser(definition, RAW_PARSE_DEFAULT);
	RawStmt    *statement;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("definition must be one SELECT statement"),
				 errdetail("The text has %d statements.",
						   list_length(statements))));
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt) ||
		((SelectStmt *) statement->stmt)->intoClause != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("definition must be one SELECT statement"),
				 errhint("Write a query of the form SELECT columns, count(*) FROM table GROUP BY columns.")));
	return statement;
}

/* Returns the name of the definition of a rollup; palloc'd. */
char	   *
create_definition_name(const char *name)
{
	return psprintf("%s%s", name, DEFINITION_SUFFIX);
}

/*
 * Resolves the name of a new rollup, and checks schema and privileges.  The
 * result has the name of the schema.
 */
RangeVar   *
create_resolve_name(const char *name)
{
	RangeVar   *rollup =
	makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	Oid			namespace = RangeVarGetAndCheckCreationNamespace(rollup,
																 NoLock, NULL);

	if (isAnyTempNamespace(namespace))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot create a temporary rollup"),
				 errdetail("The background worker cannot write to a temporary table."),
				 errhint("Use a schema that is not temporary.")));
	rollup->schemaname = get_namespace_name(namespace);
	return rollup;
}

/* Throws if the name of the definition of "part" would be too long. */
static void
check_length(const RangeVar *rollup, const char *part)
{
	const char *view_name = create_definition_name(part);

	if (strlen(view_name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("rollup name \"%s\" is too long", rollup->relname),
				 errdetail("The name of the view \"%s\" would have more than %d bytes.",
						   view_name, NAMEDATALEN - 1),
				 errhint("Choose a name of at most %d bytes.",
						 (int) (NAMEDATALEN - 1 - strlen(view_name) +
								strlen(rollup->relname)))));
}

/* Returns what to do about a relation that has the name of a new rollup. */
static const char *
name_hint(Oid relid)
{
	if (rollup_exists(relid))
		return "Choose another name. To change the definition of the rollup, use notify_stats.alter_rollup().";
	if (get_rel_relkind(relid) == RELKIND_RELATION)
		return "Choose another name, drop the table, or use adopt => true to make it the table of the rollup.";
	return "Choose another name, or drop the relation.";
}

/*
 * Throws unless a rollup, and each of its cores (names without a schema), can
 * have its name and that of its definition.  With "adopt", the table has the
 * name already.
 */
void
create_check_names(const RangeVar *rollup, List *cores, bool adopt)
{
	Oid			namespace = get_namespace_oid(rollup->schemaname, false);
	List	   *names = lcons(rollup->relname, list_copy(cores));
	ListCell   *lc;

	foreach(lc, names)
		check_length(rollup, (const char *) lfirst(lc));
	foreach(lc, names)
	{
		const char *name = (const char *) lfirst(lc);

		for (int i = adopt ? 1 : 0; i < 2; i++)
		{
			const char *relname = i == 0 ? name : create_definition_name(name);

			if (OidIsValid(get_relname_relid(relname, namespace)))
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_TABLE),
						 errmsg("relation \"%s\" already exists", relname),
						 cores == NIL ?
						 errdetail("A rollup consists of a table and a view, whose name is that of the table with \"%s\" appended.",
								   DEFINITION_SUFFIX) :
						 errdetail("This rollup consists of the views \"%s\" and \"%s\", and of tables and views whose names begin with \"%s\".",
								   rollup->relname,
								   create_definition_name(rollup->relname),
								   (char *) linitial(cores)),
						 errhint("%s", cores == NIL && i == 0 ?
								 name_hint(get_relname_relid(name, namespace)) :
								 "Choose another name, or drop the relation.")));
		}
	}
}

/* Throws unless the changes of every source can be counted. */
static void
check_sources(const Definition *definition, const Format *format)
{
	ListCell   *lc;

	shape_check_sources(definition, rollup_relids());
	foreach(lc, definition->sources)
		format_check_source(format, definition, lfirst_oid(lc));
}

/*
 * Creates the index that finds a group, NULLs included.  It is a primary key
 * if no group column can be NULL.  Then it is also the replica identity, by
 * which subscribers find a row and which determines how much of the old row an
 * update logs.
 */
static void
create_index(const char *table, const Definition *definition)
{
	const char *columns = shape_group_columns(definition, "");

	if (definition_groups_not_null(definition))
	{
		xact_execute(psprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", table,
							  columns));
		return;
	}
	xact_execute(psprintf("CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT",
						  table, columns));

	/*
	 * otherwise the server refuses updates if there is a publication of all
	 * tables
	 */
	xact_execute(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", table));
}

/*
 * Adds comments that describe a rollup, which is a "TABLE" or "VIEW", and its
 * definition.  They remain where our catalog does not, for example in a dump of
 * the schema alone.  A rollup that has a comment of its owner (NULL) keeps it.
 * "ignored" are OIDs of sources whose deleted rows continue to count.
 */
void
create_comments(const char *kind, const char *rollup, const char *definition,
				const char *description, const List *ignored)
{
	StringInfoData comment;
	ListCell   *lc;

	initStringInfo(&comment);
	appendStringInfo(&comment,
					 "rollup of %s, %s the extension notify_stats if the view notify_stats.rollups shows it as live",
					 definition, description);
	foreach(lc, ignored)
		appendStringInfo(&comment, "%s%s", lc == list_head(ignored) ?
						 "; ignore_deletes: " : ", ",
						 qualified_name(lfirst_oid(lc)));
	if (kind != NULL)
		xact_execute(psprintf("COMMENT ON %s %s IS %s", kind, rollup,
							  quote_literal_cstr(comment.data)));
	xact_execute(psprintf("COMMENT ON VIEW %s IS %s", definition,
						  quote_literal_cstr(psprintf("definition of rollup %s of the extension notify_stats",
													  rollup))));
}

/* Creates the table with the columns of its definition's view. */
static void
create_table(const char *table, const char *view, const NewTable *new,
			 const List *ignore_deletes)
{
	xact_execute(psprintf("CREATE TABLE %s WITH (fillfactor = %d) AS SELECT * FROM %s WITH NO DATA",
						  table, ROLLUP_FILLFACTOR, view));
	if (new->updated_at != NULL)
		xact_execute(psprintf("ALTER TABLE %s ADD COLUMN %s timestamptz", table,
							  quote_identifier(new->updated_at)));
	create_index(table, new->definition);
	create_comments("TABLE", table, view, "maintained by", ignore_deletes);
}

/*
 * Makes the table of a rollup: creates it, or checks that the one that exists
 * can be used.
 */
static void
provide_table(const NewTable *new, const char *table, Oid view,
			  const char *view_name, const List *ignore_deletes)
{
	bool		has_comment = OidIsValid(new->adopted) &&
	GetComment(new->adopted, RelationRelationId, 0) != NULL;

	SPI_connect();
	/* reads no rows, but fails if the user may not read the sources */
	xact_execute(psprintf("SELECT FROM %s LIMIT 0", view_name));
	if (!OidIsValid(new->adopted))
		create_table(table, view_name, new, ignore_deletes);
	else
	{
		adopt_check(new->adopted, view, new->definition, new->updated_at);
		create_comments(has_comment ? NULL : "TABLE", table, view_name,
						"maintained by", ignore_deletes);
	}
	SPI_finish();
}

/* Returns whether one of these definitions reads a table. */
static bool
is_source(List *definitions, Oid relid)
{
	ListCell   *lc;

	foreach(lc, definitions)
	{
		if (list_member_oid(((const Definition *) lfirst(lc))->sources, relid))
			return true;
	}
	return false;
}

/*
 * Resolves the names in "ignore_deletes": sources of a definition, or parts of
 * them, whose deleted rows continue to count.  "cores": the definitions are
 * those of cores.
 */
List	   *
create_resolve_ignored(List *names, List *definitions, const Format *format,
					   bool cores)
{
	List	   *sources = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		List	   *name =
		textToQualifiedNameList(cstring_to_text((char *) lfirst(lc)));
		Oid			relid = RangeVarGetRelid(makeRangeVarFromNameList(name),
											 NoLock, false);

		if (!is_source(definitions, relid))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 cores ?
					 errmsg("table \"%s\" in ignore_deletes is not read by a core",
							get_rel_name(relid)) :
					 errmsg("table \"%s\" in ignore_deletes is not read by the definition",
							get_rel_name(relid)),
					 cores ?
					 errhint("List only tables that a core counts, not those that are read with the rollup.") :
					 errhint("List only tables that the definition reads.")));
		if (!format->tells_moves &&
			(get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ||
			 get_rel_relispartition(relid)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot ignore deletes of partitioned table \"%s\"",
							get_rel_name(relid)),
					 errdetail("Output plugin \"%s\" does not distinguish a deleted row from a row that moves to another partition.",
							   format->plugin),
					 errhint("Use notify_stats.format = 'notify_stats'.")));
		sources = list_append_unique_oid(sources, relid);
	}
	return sources;
}

/* Returns those of the resolved sources that a definition reads. */
static List *
ignored_of(List *ignored, const Definition *definition)
{
	List	   *own = NIL;
	ListCell   *lc;

	foreach(lc, ignored)
	{
		if (list_member_oid(definition->sources, lfirst_oid(lc)))
			own = lappend_oid(own, lfirst_oid(lc));
	}
	return own;
}

/* Creates a view in the schema of a rollup.  Returns its OID. */
Oid
create_view(const RangeVar *rollup, const char *name,
			const RawStmt *statement, const char *text)
{
	ViewStmt   *view = makeNode(ViewStmt);
	ObjectAddress address;

	view->view = makeRangeVar(rollup->schemaname, pstrdup(name), -1);
	view->query = copyObject(statement->stmt);
	view->withCheckOption = NO_CHECK_OPTION;
	address = DefineView(view, text, statement->stmt_location,
						 statement->stmt_len);
	CommandCounterIncrement();
	return address.objectId;
}

/*
 * Returns the columns of a table that hold those of a view, or NULL, and sets
 * *names to what is to be stored about them.
 */
static AttrNumber *
match_columns(Oid relid, Oid view, List **names)
{
	Relation	table = relation_open(relid, AccessShareLock);
	Relation	definition_view = relation_open(view, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(table);
	TupleDesc	wanted = RelationGetDescr(definition_view);
	AttrNumber *columns = own_columns_match(table, wanted);

	*names = columns == NULL ||
		own_columns_are_all(desc, columns, wanted->natts) ?
		NIL : own_columns_names(desc, columns, wanted->natts);
	relation_close(definition_view, NoLock);
	relation_close(table, NoLock);
	return columns;
}

/* Registers a rollup, and makes its view dependent on its table. */
static void
register_rollup(Oid relid, Oid view, List *ignored,
				const Definition *definition, const char *updated_at)
{
	List	   *names;
	const AttrNumber *columns = match_columns(relid, view, &names);
	Oid			argtypes[4] = {OIDOID, OIDOID, OIDARRAYOID, TEXTOID};
	Datum		args[4] = {ObjectIdGetDatum(relid), ObjectIdGetDatum(view),
		catalog_oid_array(ignored),
	updated_at ? CStringGetTextDatum(updated_at) : (Datum) 0};
	char		nulls[4] = {' ', ' ', ' ', updated_at ? ' ' : 'n'};

	if (updated_at != NULL)
		adopt_check_updated_at(relid, updated_at, columns,
							   definition->ncolumns);
	rollup_forget_released(relid);
	catalog_execute("INSERT INTO " EXTENSION_SCHEMA ".rollup (rollup, definition, ignore_deletes, state, updated_at)"
					" VALUES ($1, $2, $3::pg_catalog.regclass[], 'building', $4::pg_catalog.name)",
					4, argtypes, args, nulls);
	if (names != NIL)
		own_columns_store(relid, names, columns);
	rollup_store_sources(relid, definition);
	CommandCounterIncrement();
}

/*
 * Throws if that many new rollups would exceed the maximum.  Each rollup adds
 * locks and time to a cycle, which all rollups of the database share.
 * Sessions that create rollups concurrently may exceed the limits by one each.
 */
void
create_check_number(int n)
{
	List	   *rollups = rollup_list(NULL);
	int			own = 0;
	ListCell   *lc;

	if (list_length(rollups) + n > notify_stats_max_rollups)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("this database cannot have more than %d rollups",
						notify_stats_max_rollups),
				 n > 1 ? errdetail("This rollup has %d cores, each of which counts as a rollup.",
								   n) : 0,
				 errhint("Drop rollups that are not needed, or raise notify_stats.max_rollups.")));
	if (superuser())
		return;
	foreach(lc, rollups)
		own += source_owner(((Rollup *) lfirst(lc))->relid) == GetUserId();
	if (own + n > notify_stats_max_rollups_per_role)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("role \"%s\" cannot have more than %d rollups in this database",
						GetUserNameFromId(GetUserId(), false),
						notify_stats_max_rollups_per_role),
				 n > 1 ? errdetail("This rollup has %d cores, each of which counts as a rollup.",
								   n) : 0,
				 errhint("Drop rollups that are not needed, or raise notify_stats.max_rollups_per_role.")));
}

/* Makes errors refer to the text of a definition. */
static void
push_definition_context(ErrorContextCallback *context, const char *text)
{
	context->callback = definition_error_callback;
	context->arg = unconstify(char *, text);
	context->previous = error_context_stack;
	error_context_stack = context;
}

/*
 * Parses a definition, without looking up names.  Throws unless it is exactly
 * one SELECT statement.
 */
RawStmt    *
create_parse(const char *text)
{
	ErrorContextCallback context;
	RawStmt    *statement;

	push_definition_context(&context, text);
	statement = parse_definition(text);
	error_context_stack = context.previous;
	return statement;
}

/* The same, and looks up the names: returns the analyzed query. */
Query	   *
create_analyze(const char *text)
{
	ErrorContextCallback context;
	Query	   *query;

	push_definition_context(&context, text);
	query = parse_analyze_fixedparams(parse_definition(text), text, NULL, 0,
									  NULL);
	error_context_stack = context.previous;
	return query;
}

/*
 * Compiles the definition of a rollup that is to be a table of this name in
 * the schema of "rollup".  Throws if it is not supported, or if the changes of
 * a source contain too little in that format.
 */
NewTable   *
create_prepare(const RangeVar *rollup, const char *name, const char *text,
			   const Format *format)
{
	NewTable   *new = palloc0(sizeof(NewTable));
	ErrorContextCallback context;
	Query	   *query;

	new->table = makeRangeVar(rollup->schemaname, pstrdup(name), -1);
	new->text = text;

	push_definition_context(&context, text);
	new->statement = parse_definition(text);
	query = parse_analyze_fixedparams(copyObject(new->statement), text, NULL,
									  0, NULL);
	new->definition = definition_compile(query);
	check_sources(new->definition, format);
	error_context_stack = context.previous;
	return new;
}

/*
 * Creates the table, unless it is adopted, and its definition as the current
 * user, and registers them as a rollup that is building.  "ignored" are resolved sources.  Returns the
 * OID of the table.
 */
Oid
create_prepared(const NewTable *new, List *ignored)
{
	const char *view_name = create_definition_name(new->table->relname);
	List	   *own = ignored_of(ignored, new->definition);
	ErrorContextCallback context;
	Oid			view;
	Oid			relid;

	push_definition_context(&context, new->text);
	view = create_view(new->table, view_name, new->statement, new->text);
	error_context_stack = context.previous;

	provide_table(new, quote_qualified_identifier(new->table->schemaname,
												  new->table->relname),
				  view, quote_qualified_identifier(new->table->schemaname,
												   view_name), own);
	relid = get_relname_relid(new->table->relname,
							  get_namespace_oid(new->table->schemaname,
												false));
	rollup_make_dependent(relid, view);
	register_rollup(relid, view, own, new->definition, new->updated_at);
	return relid;
}

/* Throws unless the table exists and can be adopted with these options. */
static void
check_adoption(const RangeVar *table, const CreateOptions *options)
{
	(void) adopt_find_table(table);
	if (options->ignore_deletes != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot adopt table \"%s\" with ignore_deletes",
						table->relname),
				 errdetail("The build would remove the totals of rows that are already deleted."),
				 errhint("Create the rollup under another name, and read it together with the table.")));
}

/*
 * Creates the table, or adopts it, and the definition view as the current user,
 * and registers the rollup as building.  Returns the OID of the table.  Throws
 * if the definition is not supported, if the changes of a source contain too
 * little in that format, if a name is in use, or if the table cannot be adopted.
 * The caller has checked the number of rollups.
 */
Oid
rollup_create(const char *name, const char *definition_text,
			  const Format *format, const CreateOptions *options)
{
	RangeVar   *table;
	NewTable   *new;
	List	   *ignored;
	ErrorContextCallback context;

	table = create_resolve_name(name);
	if (options->adopt)
		check_adoption(table, options);
	create_check_names(table, NIL, options->adopt);
	new = create_prepare(table, table->relname, definition_text, format);
	new->adopted = options->adopt ? adopt_find_table(table) : InvalidOid;
	new->updated_at = options->updated_at;
	push_definition_context(&context, definition_text);
	ignored = create_resolve_ignored(options->ignore_deletes,
									 list_make1(new->definition), format,
									 false);
	error_context_stack = context.previous;
	return create_prepared(new, ignored);
}

/*
 * Returns the view that create_rollup has created for a table; throws if there
 * is none.
 */
static Oid
find_left_view(Oid relid)
{
	const char *name = get_rel_name(relid);
	Oid			view = get_relname_relid(psprintf("%s%s", name,
												  DEFINITION_SUFFIX),
										 get_rel_namespace(relid));

	if (get_rel_relkind(relid) != RELKIND_RELATION || !OidIsValid(view) ||
		get_rel_relkind(view) != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not the table of a former rollup", name),
				 errdetail("A rollup consists of a table and a view, whose name is that of the table with \"%s\" appended.",
						   DEFINITION_SUFFIX),
				 errhint("If either was renamed, rename it back. To create a new rollup, use notify_stats.create_rollup().")));
	return view;
}

/*
 * Throws unless the relation exists, the current user owns it, and it is not a
 * rollup.
 */
void
create_check_adoptable(Oid relid)
{
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (!owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
	if (rollup_exists(relid) || core_find_computed(relid) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("\"%s\" is already a rollup", get_rel_name(relid)),
				 errhint("The view notify_stats.rollups lists the rollups.")));
}

/*
 * Opens the table as the rollup that it will be.  Throws if it cannot be
 * opened or could not be built.
 */
static void
open_left(Rollup *rollup, const Format *format)
{
	Relation	table;
	BusyLock	busy;
	ListCell   *lc;

	/*
	 * the shape found here is valid in this transaction only, see keep_shape
	 */
	(void) GetTopTransactionId();
	if (rollup_open(rollup, &busy) != SHAPE_READY)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock the relations of rollup \"%s\"",
						get_rel_name(rollup->relid)),
				 errhint("Try again when no other session is altering the rollup or its source tables.")));
	foreach(lc, rollup->shape->definition->sources)
		format_check_source(format, rollup->shape->definition, lfirst_oid(lc));
	table = relation_open(rollup->relid, NoLock);
	(void) rollup_group_index(rollup, table);
	relation_close(table, NoLock);
}

/*
 * Opens a table and the view <table>_definition that were a rollup.  The
 * current user must own both.  Throws if the rollup could not be built.
 */
Rollup	   *
create_open_left(Oid relid, const Format *format)
{
	Rollup	   *rollup = palloc0(sizeof(Rollup));

	create_check_adoptable(relid);
	rollup->relid = relid;
	rollup->view = find_left_view(relid);
	(void) match_columns(relid, rollup->view, &rollup->column_names);
	rollup->all = rollup_relids();
	open_left(rollup, format);
	create_check_adoptable(relid);	/* the owner may have changed before it
									 * was locked */
	return rollup;
}

/*
 * Turns what was opened into a rollup again.  As after a full restore it is
 * stale, or with ignored sources failed.
 */
void
create_adopt_left(const Rollup *rollup, List *ignored, const char *updated_at)
{
	(void) rollup_adopt_view(rollup);
	register_rollup(rollup->relid, rollup->view,
					ignored_of(ignored, rollup->shape->definition),
					rollup->shape->definition, updated_at);
	rollup_give_up_restored(list_make1_oid(rollup->relid),
							"it was not maintained until it was adopted");
}

/*
 * Turns a table and its definition into a rollup again, if they were one but
 * the catalog no longer has it.
 */
void
rollup_adopt_table(Oid relid, const Format *format,
				   const CreateOptions *options)
{
	Rollup	   *rollup;

	create_check_number(1);
	rollup = create_open_left(relid, format);
	create_adopt_left(rollup,
					  create_resolve_ignored(options->ignore_deletes,
											 list_make1(rollup->shape->definition),
											 format, false),
					  options->updated_at);
}
