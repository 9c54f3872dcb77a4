/*-------------------------------------------------------------------------
 *
 * rollup.c
 *	  The catalog of rollups.
 *
 * A rollup is a table, and a view that holds its definition.  The view is an
 * internal dependent of the table: DROP TABLE takes it along, and it cannot
 * be dropped alone.  As a view it also makes the server refuse to drop or
 * retype a column in use, and follow renames.
 *
 * The catalog belongs to the extension's owner.  Functions that users call act
 * as the user, and switch to the owner for the catalog alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_type.h"
#include "commands/view.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteSupport.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "catalog.h"
#include "compat.h"
#include "facts.h"
#include "notify_stats.h"
#include "own_table.h"
#include "request.h"
#include "rollup.h"
#include "shared.h"
#include "source.h"
#include "subscription.h"
#include "type_parts.h"
#include "xact.h"

#define DEFINITION_SUFFIX "_definition"

/*
 * Room on each page for new versions of its rows, so that a counter's update
 * stays on the page and touches no index.
 */
#define ROLLUP_FILLFACTOR 70

/* How often at least a process looks whether a lock is free that it waits for. */
#define LOCK_POLL_MS 50

/* How often at most the time is halved for which all wait for a lock. */
#define MAX_HALVINGS 10

/* When this process has noted last that a rollup was changed. */
typedef struct ChangeNote
{
	Oid			rollup;			/* hash key */
	TimestampTz at;
} ChangeNote;

static const char *const state_names[] = {"building", "live", "stale", "failed"};

static bool adopt(const Rollup *rollup);
static void give_up_restored(List *relids, const char *reason);

/* The name of a relation that exists, schema-qualified and quoted; palloc'd. */
static char *
name_of(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

char *
rollup_qualified_name(Oid relid)
{
	return get_rel_name(relid) ? name_of(relid) : psprintf("with OID %u", relid);
}

char *
rollup_rebuild_statement(const char *name, bool forgets)
{
	return psprintf("SELECT notify_stats.rebuild(%s%s);", quote_literal_cstr(name),
					forgets ? ", forget_deleted => true" : "");
}

static SavedRole
catalog_enter(void)
{
	SavedRole	saved = xact_become(BOOTSTRAP_SUPERUSERID);

	SPI_connect();
	return saved;
}

static void
catalog_leave(SavedRole saved)
{
	SPI_finish();
	xact_restore_role(saved);
}

/* Runs a statement that changes the catalog; returns the number of rows. */
static uint64
catalog_execute(const char *query, int nargs, Oid *argtypes, Datum *args, const char *nulls)
{
	SavedRole	saved = catalog_enter();
	int			rc = SPI_execute_with_args(query, nargs, argtypes, args, nulls, false, 0);
	uint64		processed = SPI_processed;

	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", query, SPI_result_code_string(rc));
	catalog_leave(saved);
	return processed;
}

static uint64
catalog_execute_for(const char *query, Oid relid)
{
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};

	return catalog_execute(query, 1, argtypes, args, NULL);
}

/*
 * The statement that enters new states, with the reason for them and where it was
 * met.  A rollup has no row in rollup_activity before the first of these.
 */
#define SETTING_STATE(changes, reason, reason_lsn) \
	"WITH changed AS (UPDATE " EXTENSION_SCHEMA ".rollup SET" changes " RETURNING rollup)" \
	" INSERT INTO " EXTENSION_SCHEMA ".rollup_activity (rollup, reason, reason_lsn)" \
	" SELECT rollup, " reason ", " reason_lsn " FROM changed" \
	" ON CONFLICT (rollup) DO UPDATE SET reason = excluded.reason, reason_lsn = excluded.reason_lsn," \
	" failed_catalog = NULL"

/*
 * Creating
 */

/* Makes the position of an error one within the definition's text. */
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

/* Parses the definition; throws unless it is exactly one statement. */
static RawStmt *
parse_definition(const char *definition)
{
	List	   *statements = raw_parser(definition, RAW_PARSE_DEFAULT);
	RawStmt    *statement;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("definition must be one SELECT statement"),
				 errdetail("The text has %d statements.", list_length(statements))));
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt) ||
		((SelectStmt *) statement->stmt)->intoClause != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("definition must be one SELECT statement"),
				 errhint("Write a query of the form SELECT columns, count(*) FROM table GROUP BY columns.")));
	return statement;
}

/* Checks name, schema and privileges; returns the table's schema. */
static Oid
check_name(const char *name, RangeVar **table, char **view_name)
{
	Oid			namespace;

	*table = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	namespace = RangeVarGetAndCheckCreationNamespace(*table, NoLock, NULL);
	if (isAnyTempNamespace(namespace))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a rollup cannot be temporary"),
				 errdetail("The background worker has to write it."),
				 errhint("Name a permanent schema.")));
	(*table)->schemaname = get_namespace_name(namespace);

	*view_name = psprintf("%s%s", (*table)->relname, DEFINITION_SUFFIX);
	if (strlen(*view_name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("rollup name \"%s\" is too long", (*table)->relname),
				 errdetail("The view \"%s\" would need a name of more than %d bytes.",
						   *view_name, NAMEDATALEN - 1),
				 errhint("Choose a name of at most %d bytes.",
						 (int) (NAMEDATALEN - 1 - strlen(DEFINITION_SUFFIX)))));

	for (int i = 0; i < 2; i++)
	{
		const char *relname = i == 0 ? (*table)->relname : *view_name;

		if (OidIsValid(get_relname_relid(relname, namespace)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("relation \"%s\" already exists", relname),
					 errdetail("A rollup is a table, and a view of the same name with \"%s\" appended.",
							   DEFINITION_SUFFIX),
					 errhint("Choose another name, or drop the relation.")));
	}
	return namespace;
}

static bool
is_rollup(Oid relid)
{
	SavedRole	saved = catalog_enter();
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};
	bool		found;

	if (SPI_execute_with_args("SELECT 1 FROM " EXTENSION_SCHEMA ".rollup WHERE rollup = $1",
							  1, argtypes, args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a rollup");
	found = SPI_processed > 0;
	catalog_leave(saved);
	return found;
}

void
rollup_check_source(const Definition *definition, Oid source, const Format *format)
{
	Bitmapset  *columns = definition_source_columns(definition, source);

	source_check_identity(source, columns, format == &format_pgoutput);
	if (format->check_source != NULL)
		format->check_source(source, columns);
}

static int
compare_to_relid(const void *key, const void *cell)
{
	Oid			relid = *(const Oid *) key;
	const Rollup *rollup = (const Rollup *) lfirst((const ListCell *) cell);

	return relid < rollup->relid ? -1 : relid > rollup->relid;
}

/* Whether a list of rollups, sorted by OID, has this one. */
static bool
is_listed(const List *rollups, Oid relid)
{
	return rollups != NIL &&
		bsearch(&relid, rollups->elements, list_length(rollups), sizeof(ListCell),
				compare_to_relid) != NULL;
}

/* What ends that a table is read as a partition. */
static char *
detach_statement(Oid relid)
{
	Oid			parent = get_partition_parent(relid, true);

	return psprintf("ALTER TABLE %s DETACH PARTITION %s;",
					name_of(parent),
					name_of(relid));
}

/* Throws if a table that a definition reads is one that we write ourselves. */
static void
check_not_ours(Oid relid, Oid source, const List *rollups)
{
	bool		partition = relid != source;

	if (is_listed(rollups, relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("definition reads \"%s\", which is a rollup itself", get_rel_name(relid)),
				 partition ?
				 errdetail("It is a partition of \"%s\". Rollups of rollups are not supported.",
						   get_rel_name(source)) :
				 errdetail("Rollups of rollups are not supported."),
				 partition ?
				 errhint("Run: %s A rollup that has failed has to be rebuilt then.", detach_statement(relid)) :
				 errhint("Write a definition over the tables that \"%s\" is made from.",
						 get_rel_name(relid))));
	if (get_rel_namespace(relid) == get_namespace_oid(EXTENSION_SCHEMA, false))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("definition reads \"%s\", which belongs to notify_stats itself",
						get_rel_name(relid)),
				 errdetail("Keeping such a rollup would change what it counts."),
				 partition ? errhint("Run: %s", detach_statement(relid)) :
				 errhint("Read a table of your own.")));
}

/*
 * Throws if a definition reads tables that we write ourselves, as sources or as
 * their partitions: it would count what it does.  "rollups" are all there are,
 * sorted.
 */
static void
check_none_ours(const Definition *definition, const List *rollups)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, definition->sources)
	{
		Oid			source = lfirst_oid(lc);

		check_not_ours(source, source, rollups);
		if (get_rel_relkind(source) == RELKIND_PARTITIONED_TABLE)
			foreach(lc2, find_all_inheritors(source, NoLock, NULL))
				check_not_ours(lfirst_oid(lc2), source, rollups);
	}
}

/* Throws unless the changes of every source can be counted. */
static void
check_sources(const Definition *definition, const Format *format)
{
	ListCell   *lc;

	check_none_ours(definition, rollup_list(NULL));
	foreach(lc, definition->sources)
		rollup_check_source(definition, lfirst_oid(lc), format);
}

/*
 * Makes what finds a group, NULLs included: a primary key if none can be NULL.  Then it
 * is also what subscribers find a row by, and what an update has to log of the old one.
 */
static void
create_index(const char *table, const Definition *definition)
{
	const char *columns = rollup_group_columns(definition, "");

	if (definition_groups_not_null(definition))
	{
		xact_execute(psprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", table, columns));
		return;
	}
	xact_execute(psprintf("CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT", table, columns));
	/* the server refuses updates without one if somebody publishes all tables */
	xact_execute(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", table));
}

/*
 * Says what table and view are, also where they have come without our catalog, as by
 * a dump of the schema alone.
 */
static void
create_comments(const char *table, const char *view, const List *ignore_deletes)
{
	StringInfoData comment;
	ListCell   *lc;

	initStringInfo(&comment);
	appendStringInfo(&comment, "rollup: kept equal to %s by the extension notify_stats, if the view notify_stats.rollups has it as live",
					 view);
	foreach(lc, ignore_deletes)
		appendStringInfo(&comment, "%s%s", lc == list_head(ignore_deletes) ? "; ignore_deletes: " : ", ",
						 name_of(lfirst_oid(lc)));
	xact_execute(psprintf("COMMENT ON TABLE %s IS %s", table, quote_literal_cstr(comment.data)));
	xact_execute(psprintf("COMMENT ON VIEW %s IS %s", view,
						  quote_literal_cstr(psprintf("definition of the rollup %s of the extension notify_stats",
													  table))));
}

/* Creates the table as its definition's view has it. */
static void
create_table(const char *table, const char *view, const Definition *definition,
			 const List *ignore_deletes)
{
	SPI_connect();
	/* reads nothing, but fails if the user may not read the sources */
	xact_execute(psprintf("SELECT FROM %s LIMIT 0", view));
	xact_execute(psprintf("CREATE TABLE %s WITH (fillfactor = %d) AS SELECT * FROM %s WITH NO DATA",
						  table, ROLLUP_FILLFACTOR, view));
	create_index(table, definition);
	create_comments(table, view, ignore_deletes);
	SPI_finish();
}

/* The sources of these names, or a part of their rows, are to be kept though deleted. */
static List *
resolve_ignored(List *names, const Definition *definition, const Format *format)
{
	List	   *sources = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		List	   *name = textToQualifiedNameList(cstring_to_text((char *) lfirst(lc)));
		Oid			relid = RangeVarGetRelid(makeRangeVarFromNameList(name), NoLock, false);

		if (!list_member_oid(definition->sources, relid))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the definition does not read \"%s\", the deletes of which are to be ignored",
							get_rel_name(relid)),
					 errhint("Name tables that the definition reads in ignore_deletes.")));
		if (!format->tells_moves &&
			(get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE || get_rel_relispartition(relid)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot ignore the deletes of the partitioned table \"%s\"",
							get_rel_name(relid)),
					 errdetail("Output plugin \"%s\" does not tell a deleted row from one that moves to another partition.",
							   format->plugin),
					 errhint("Use notify_stats.format = 'notify_stats'.")));
		sources = list_append_unique_oid(sources, relid);
	}
	return sources;
}

static Oid
create_view(const RangeVar *table, const char *view_name, const RawStmt *statement,
			const char *definition)
{
	ViewStmt   *view = makeNode(ViewStmt);
	ObjectAddress address;

	view->view = makeRangeVar(table->schemaname, pstrdup(view_name), -1);
	view->query = copyObject(statement->stmt);
	view->withCheckOption = NO_CHECK_OPTION;
	address = DefineView(view, definition, statement->stmt_location, statement->stmt_len);
	CommandCounterIncrement();
	return address.objectId;
}

static Datum
make_oid_array(List *oids)
{
	Datum	   *values = palloc(sizeof(Datum) * (list_length(oids) + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, oids)
		values[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(values, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

/* Has the view go with its table, and not without it. */
static void
make_dependent(Oid relid, Oid view)
{
	ObjectAddress table_address;
	ObjectAddress view_address;

	ObjectAddressSet(table_address, RelationRelationId, relid);
	ObjectAddressSet(view_address, RelationRelationId, view);
	recordDependencyOn(&view_address, &table_address, DEPENDENCY_INTERNAL);
}

static Datum
make_column_array(const Bitmapset *columns)
{
	Datum	   *values = palloc(sizeof(Datum) * (bms_num_members(columns) + 1));
	int			n = 0;
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		values[n++] = Int16GetDatum(attnum);
	return PointerGetDatum(construct_array(values, n, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
}

/* Notes what a rollup reads, in place of what was noted before. */
static void
store_sources(Oid relid, const Definition *definition)
{
	Oid			argtypes[3] = {OIDOID, OIDOID, INT2ARRAYOID};
	Datum		args[3] = {ObjectIdGetDatum(relid)};
	ListCell   *lc;

	catalog_execute_for("DELETE FROM " EXTENSION_SCHEMA ".rollup_source WHERE rollup = $1", relid);
	foreach(lc, definition->sources)
	{
		args[1] = ObjectIdGetDatum(lfirst_oid(lc));
		args[2] = make_column_array(definition_source_columns(definition, lfirst_oid(lc)));
		catalog_execute("INSERT INTO " EXTENSION_SCHEMA ".rollup_source VALUES ($1, $2, $3)",
						3, argtypes, args, NULL);
	}
}

/* Enters a rollup whose view goes with its table. */
static void
register_rollup(Oid relid, Oid view, List *ignored, const Definition *definition)
{
	Oid			argtypes[3] = {OIDOID, OIDOID, OIDARRAYOID};
	Datum		args[3] = {ObjectIdGetDatum(relid), ObjectIdGetDatum(view), make_oid_array(ignored)};

	catalog_execute("INSERT INTO " EXTENSION_SCHEMA ".rollup (rollup, definition, ignore_deletes, state)"
					" VALUES ($1, $2, $3::pg_catalog.regclass[], 'building')",
					3, argtypes, args, NULL);
	store_sources(relid, definition);
	CommandCounterIncrement();
}

/*
 * Throws if there are as many rollups as there may be.  Each one costs a cycle some
 * locks and time, which all rollups of the database share.  Sessions that create one
 * at the same time may exceed the limits by one each.
 */
static void
check_number(void)
{
	List	   *rollups = rollup_list(NULL);
	int			own = 0;
	ListCell   *lc;

	if (list_length(rollups) >= notify_stats_max_rollups)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("this database cannot have more than %d rollups", notify_stats_max_rollups),
				 errhint("Drop rollups that are not needed, or raise notify_stats.max_rollups.")));
	if (superuser())
		return;
	foreach(lc, rollups)
		own += source_owner(((Rollup *) lfirst(lc))->relid) == GetUserId();
	if (own >= notify_stats_max_rollups_per_role)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("role \"%s\" cannot have more than %d rollups in this database",
						GetUserNameFromId(GetUserId(), false), notify_stats_max_rollups_per_role),
				 errhint("Drop rollups that are not needed, or raise notify_stats.max_rollups_per_role.")));
}

Oid
rollup_create(const char *name, const char *definition_text, const Format *format,
			  List *ignore_deletes)
{
	RangeVar   *table;
	char	   *view_name;
	Oid			namespace;
	RawStmt    *statement;
	Query	   *query;
	Definition *definition;
	List	   *ignored;
	Oid			view;
	Oid			relid;
	ErrorContextCallback error_context;

	check_number();
	namespace = check_name(name, &table, &view_name);

	error_context.callback = definition_error_callback;
	error_context.arg = unconstify(char *, definition_text);
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;

	statement = parse_definition(definition_text);
	query = parse_analyze_fixedparams(copyObject(statement), definition_text, NULL, 0, NULL);
	definition = definition_compile(query);
	check_sources(definition, format);
	ignored = resolve_ignored(ignore_deletes, definition, format);
	view = create_view(table, view_name, statement, definition_text);

	error_context_stack = error_context.previous;

	create_table(quote_qualified_identifier(table->schemaname, table->relname),
				 quote_qualified_identifier(table->schemaname, view_name), definition, ignored);
	relid = get_relname_relid(table->relname, namespace);
	make_dependent(relid, view);
	register_rollup(relid, view, ignored, definition);
	return relid;
}

/*
 * Adopting what is left of a rollup, by a dump of the schema alone or DROP EXTENSION
 */

/* The view that create_rollup has made with a table; throws if there is none. */
static Oid
find_left_view(Oid relid)
{
	const char *name = get_rel_name(relid);
	Oid			view = get_relname_relid(psprintf("%s%s", name, DEFINITION_SUFFIX),
										 get_rel_namespace(relid));

	if (get_rel_relkind(relid) != RELKIND_RELATION || !OidIsValid(view) ||
		get_rel_relkind(view) != RELKIND_VIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table that was a rollup", name),
				 errdetail("A rollup is a table, and a view of the same name with \"%s\" appended.",
						   DEFINITION_SUFFIX),
				 errhint("If either has been renamed, rename it back. To make a new rollup, call notify_stats.create_rollup().")));
	return view;
}

/* Throws unless the current user owns a table that exists and is no rollup. */
static void
check_adoptable(Oid relid)
{
	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (!owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
	if (is_rollup(relid))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("\"%s\" is a rollup already", get_rel_name(relid)),
				 errhint("The view notify_stats.rollups lists the rollups.")));
}

/* Opens it as what it is to be; throws if it cannot be opened, or could not be built. */
static void
open_left(Rollup *rollup, const Format *format)
{
	Relation	table;
	BusyLock	busy;
	ListCell   *lc;

	/* what is found out is of this transaction alone, see keep_shape */
	(void) GetTopTransactionId();
	if (rollup_open(rollup, &busy) != ROLLUP_READY)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock what rollup \"%s\" needs", get_rel_name(rollup->relid)),
				 errhint("Try again when nobody alters it, or the tables that it reads.")));
	foreach(lc, rollup->definition->sources)
		rollup_check_source(rollup->definition, lfirst_oid(lc), format);
	table = relation_open(rollup->relid, NoLock);
	(void) rollup_group_index(rollup, table);
	relation_close(table, NoLock);
}

void
rollup_adopt_table(Oid relid, const Format *format, List *ignore_deletes)
{
	Rollup		rollup = {.relid = relid};
	List	   *ignored;

	check_number();
	check_adoptable(relid);
	rollup.view = find_left_view(relid);
	rollup.all = rollup_list(NULL);
	open_left(&rollup, format);
	check_adoptable(relid);		/* it may have changed hands before it was locked */
	ignored = resolve_ignored(ignore_deletes, rollup.definition, format);
	(void) adopt(&rollup);
	register_rollup(relid, rollup.view, ignored, rollup.definition);
	give_up_restored(list_make1_oid(relid), "it was not kept for a while");
}

/*
 * Dropping, and asking for a rebuild
 */

bool
rollup_is_visible(Oid relid)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) ||
		(SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) && owns_relation(relid, GetUserId()));
}

void
rollup_check_owner(Oid relid)
{
	if (!is_rollup(relid) || get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 get_rel_name(relid) ?
				 errmsg("\"%s\" is not a rollup", get_rel_name(relid)) :
				 errmsg("rollup with OID %u does not exist", relid),
				 errhint("The view notify_stats.rollups lists the rollups.")));
	if (!owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
}

void
rollup_drop(Oid relid)
{
	ObjectAddress address;

	rollup_check_owner(relid);
	LockRelationOid(relid, AccessExclusiveLock);
	rollup_check_owner(relid);	/* it may have changed hands meanwhile */
	ObjectAddressSet(address, RelationRelationId, relid);
	/*
	 * As after DROP TABLE, the next cycle deletes what the catalog has of it.  Done here,
	 * it would lock the row that a cycle updates to give up a table that is locked for long.
	 */
	performDeletion(&address, DROP_RESTRICT, 0);
}

/* Throws if a rollup counts rows that are deleted, and that a rebuild would forget. */
static void
check_forgettable(Oid relid)
{
	Rollup	   *rollup = rollup_find(rollup_list(NULL), relid);

	/* one that was never built has nothing to forget */
	if (rollup == NULL || rollup->ignores == NIL || rollup->built_from == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rebuilding rollup %s would forget deleted rows", name_of(relid)),
			 errdetail("It goes on to count what was deleted from %s, and what is gone cannot be counted again.",
					   rollup_ignored_names(rollup)),
			 errhint("Compare it with the view \"%s\" to see what would be left. To rebuild it all the same, run: %s",
					 get_rel_name(rollup->view), rollup_rebuild_statement(name_of(relid), true))));
}

void
rollup_request_rebuild(Oid relid, bool forget_deleted)
{
	rollup_check_owner(relid);
	if (!forget_deleted)
		check_forgettable(relid);
	if (request_is_made(relid))
		return;
	catalog_execute_for("INSERT INTO " EXTENSION_SCHEMA ".rebuild_request (rollup) VALUES ($1)",
						relid);
	request_forget_others(relid);
}

/*
 * Shapes: what rollup_open finds out is kept for the next transactions, as
 * long as no catalog changes.
 */

static struct
{
	MemoryContext context;		/* of them all; NULL: none */
	uint64		version;		/* of the catalogs, of the first one */
	List	   *shapes;			/* of RollupShape */
} known;

void
rollup_forget_outdated(void)
{
	if (known.context == NULL || known.version == catalog_version())
		return;
	MemoryContextDelete(known.context);
	known.context = NULL;
	known.shapes = NIL;
}

/*
 * Whether a kept shape can be right in this transaction.  One that has written
 * may itself have changed catalogs, of which nobody is told before it commits,
 * and never if it does not.
 */
static bool
shapes_hold(void)
{
	return known.context != NULL && !TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		known.version == catalog_version();
}

/* The shape of a rollup as it was last opened, or NULL. */
static RollupShape *
find_shape(const Rollup *rollup)
{
	ListCell   *lc;

	foreach(lc, known.shapes)
	{
		RollupShape *shape = (RollupShape *) lfirst(lc);

		if (shape->relid == rollup->relid && shape->view == rollup->view)
			return shape;
	}
	return NULL;
}

/*
 * Keeps a shape, in place of an older one of the same rollup.  If it may be of
 * this transaction alone, it goes with the memory context at hand.
 */
static void
keep_shape(RollupShape *shape, uint64 version)
{
	MemoryContext context;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	if (known.context == NULL)
	{
		known.context = AllocSetContextCreate(CacheMemoryContext, "notify_stats rollups",
											  ALLOCSET_SMALL_SIZES);
		known.version = version;
	}
	MemoryContextSetParent(shape->context, known.context);
	context = MemoryContextSwitchTo(known.context);
	known.shapes = lcons(shape, known.shapes);
	MemoryContextSwitchTo(context);
}

/*
 * Reading
 */

static RollupState
state_from_name(const char *name)
{
	for (int i = 0; i < lengthof(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (RollupState) i;
	elog(ERROR, "unknown state \"%s\" of a rollup", name);
}

static List *
oids_of_array(Datum array)
{
	Datum	   *values;
	int			n;
	List	   *oids = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT,
					  &values, NULL, &n);
	for (int i = 0; i < n; i++)
		oids = lappend_oid(oids, DatumGetObjectId(values[i]));
	return oids;
}

static Rollup *
make_rollup(HeapTuple tuple, TupleDesc desc)
{
	Rollup	   *rollup = palloc0(sizeof(Rollup));
	bool		isnull;
	Datum		value;

	rollup->relid = DatumGetObjectId(heap_getattr(tuple, ROLLUP_ROLLUP, desc, &isnull));
	rollup->view = DatumGetObjectId(heap_getattr(tuple, ROLLUP_DEFINITION, desc, &isnull));
	rollup->state = state_from_name(TextDatumGetCString(heap_getattr(tuple, ROLLUP_STATE, desc,
																	 &isnull)));
	value = heap_getattr(tuple, ROLLUP_IGNORE_DELETES, desc, &isnull);
	rollup->ignores = isnull ? NIL : oids_of_array(value);
	value = heap_getattr(tuple, ROLLUP_FINGERPRINT, desc, &isnull);
	rollup->built_from = isnull ? 0 : DatumGetInt64(value);
	return rollup;
}

static int
compare_relids(const ListCell *a, const ListCell *b)
{
	const Rollup *rollup1 = (const Rollup *) lfirst(a);
	const Rollup *rollup2 = (const Rollup *) lfirst(b);

	return rollup1->relid < rollup2->relid ? -1 : rollup1->relid > rollup2->relid;
}

/* Enters the requests for a rebuild. */
static void
load_requests(List *rollups)
{
	TupleDesc	desc;
	ListCell   *lc;

	foreach(lc, catalog_read(CATALOG_REBUILD_REQUEST, &desc))
	{
		HeapTuple	tuple = (HeapTuple) lfirst(lc);
		bool		isnull;
		int64		id = DatumGetInt64(heap_getattr(tuple, REQUEST_ID, desc, &isnull));
		Rollup	   *rollup;

		rollup = rollup_find(rollups, DatumGetObjectId(heap_getattr(tuple, REQUEST_ROLLUP, desc,
																	&isnull)));
		if (rollup != NULL)
			rollup->request = Max(rollup->request, id);
	}
}

List *
rollup_list(bool *some_dropped)
{
	List	   *rollups = NIL;
	TupleDesc	desc;
	ListCell   *lc;

	if (some_dropped != NULL)
		*some_dropped = false;
	foreach(lc, catalog_read(CATALOG_ROLLUP, &desc))
	{
		Rollup	   *rollup = make_rollup((HeapTuple) lfirst(lc), desc);

		if ((shapes_hold() && find_shape(rollup) != NULL) ||
			SearchSysCacheExists1(RELOID, ObjectIdGetDatum(rollup->relid)))
			rollups = lappend(rollups, rollup);
		else if (some_dropped != NULL)
			*some_dropped = true;
	}
	load_requests(rollups);
	list_sort(rollups, compare_relids);
	foreach(lc, rollups)
		((Rollup *) lfirst(lc))->all = rollups;
	return rollups;
}

/* What a row of rollup_known_sources' query says. */
static RollupSource *
known_source(HeapTuple tuple, TupleDesc desc)
{
	RollupSource *source = palloc0(sizeof(RollupSource));
	bool		isnull;
	Datum	   *attnums;
	int			n;

	source->rollup = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
	source->source = DatumGetObjectId(SPI_getbinval(tuple, desc, 2, &isnull));
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(tuple, desc, 3, &isnull)), INT2OID,
					  sizeof(int16), true, TYPALIGN_SHORT, &attnums, NULL, &n);
	for (int i = 0; i < n; i++)
		source->columns = bms_add_member(source->columns, DatumGetInt16(attnums[i]));
	return source;
}

List *
rollup_known_sources(void)
{
	/* a definition that was replaced may have let a column go */
	static const char query[] =
		"SELECT s.rollup, s.source, ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a"
		" WHERE a.attrelid = s.source AND a.attnum = ANY (s.columns) AND NOT a.attisdropped)"
		" FROM " EXTENSION_SCHEMA ".rollup_source s JOIN " EXTENSION_SCHEMA ".rollup r ON r.rollup = s.rollup"
		" JOIN pg_catalog.pg_class c ON c.oid = s.rollup WHERE r.state <> 'failed' ORDER BY 1, 2";
	MemoryContext context = CurrentMemoryContext;
	SavedRole	saved = catalog_enter();
	List	   *sources = NIL;

	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the sources of rollups");
	MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		sources = lappend(sources, known_source(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
	catalog_leave(saved);
	return sources;
}

void
rollup_forget_dropped(void)
{
	static const char *const tables[] = {"rollup_activity", "rollup_source"};

	request_forget_dropped();
	catalog_execute("DELETE FROM " EXTENSION_SCHEMA ".rollup r WHERE NOT EXISTS"
					" (SELECT FROM pg_catalog.pg_class c WHERE c.oid = r.rollup)",
					0, NULL, NULL, NULL);
	/* another one may be dropped meanwhile: these go by the rows above */
	for (int i = 0; i < lengthof(tables); i++)
		catalog_execute(psprintf("DELETE FROM " EXTENSION_SCHEMA ".%s o WHERE NOT EXISTS"
								 " (SELECT FROM " EXTENSION_SCHEMA ".rollup r WHERE r.rollup = o.rollup)",
								 tables[i]),
						0, NULL, NULL, NULL);
}

/* Whether the view goes with its table. */
static bool
is_dependent(const Rollup *rollup)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(rollup->view));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);

		found |= row->refclassid == RelationRelationId && row->refobjid == rollup->relid &&
			row->deptype == DEPENDENCY_INTERNAL;
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

/*
 * A hash of the definition as it is stored.  Renames do not change it; CREATE
 * OR REPLACE VIEW does.
 */
static int64
definition_fingerprint(Oid view)
{
	HeapTuple	rule = SearchSysCache2(RULERELNAME, ObjectIdGetDatum(view),
									   PointerGetDatum(ViewSelectRuleName));
	bool		isnull;
	char	   *action;
	int64		hash;

	if (!HeapTupleIsValid(rule))
		elog(ERROR, "cache lookup failed for the rule of view %u", view);
	action = TextDatumGetCString(SysCacheGetAttr(RULERELNAME, rule, Anum_pg_rewrite_ev_action,
												 &isnull));
	hash = (int64) hash_bytes_extended((unsigned char *) action, strlen(action), 0);
	ReleaseSysCache(rule);
	return hash;
}

/*
 * Marks rollups as not exact, which were kept elsewhere or before.  They have no
 * fingerprint, unless a rebuild has to be asked for, by which they are known.
 */
static void
give_up_restored(List *relids, const char *reason)
{
	Oid			argtypes[2] = {OIDARRAYOID, TEXTOID};
	Datum		args[2] = {make_oid_array(relids), CStringGetTextDatum(reason)};

	catalog_execute(SETTING_STATE(" state = CASE WHEN ignore_deletes = '{}' THEN 'stale' ELSE 'failed' END,"
								  " fingerprint = CASE WHEN ignore_deletes = '{}' THEN NULL ELSE fingerprint END"
								  " WHERE rollup = ANY ($1)",
								  "$2", "NULL::pg_catalog.pg_lsn"),
					2, argtypes, args, NULL);
}

/* Has the view of a rollup go with its table again; false if there is nothing to do. */
static bool
adopt(const Rollup *rollup)
{
	if (is_dependent(rollup) || get_rel_relkind(rollup->view) != RELKIND_VIEW)
		return false;
	make_dependent(rollup->relid, rollup->view);
	return true;
}

bool
rollup_adopt_restored(List *rollups, bool has_slot)
{
	List	   *restored = NIL;
	bool		written = false;
	ListCell   *lc;

	foreach(lc, rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);
		bool		adopted;

		if (has_slot && shapes_hold() && find_shape(rollup) != NULL)
			continue;
		adopted = adopt(rollup);
		if (rollup->state == ROLLUP_LIVE && (adopted || !has_slot))
			restored = lappend_oid(restored, rollup->relid);
		written |= adopted;
	}
	if (restored != NIL)
	{
		ereport(LOG, (errmsg("rollups were restored from a dump")));
		give_up_restored(restored, "restored from a dump, without its place in the write-ahead log");
	}
	return written || restored != NIL;
}

bool
rollup_is_restored(const Rollup *rollup)
{
	return rollup->state == ROLLUP_STALE && rollup->built_from == 0;
}

void
rollup_take_over(List *rollups)
{
	ListCell   *lc;

	foreach(lc, rollups)
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);
		Oid			argtypes[2] = {OIDOID, INT8OID};
		Datum		args[2];

		(void) adopt(rollup);
		if (rollup->state != ROLLUP_LIVE || get_rel_relkind(rollup->view) != RELKIND_VIEW)
			continue;
		args[0] = ObjectIdGetDatum(rollup->relid);
		args[1] = Int64GetDatum(definition_fingerprint(rollup->view));
		catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup SET fingerprint = $2 WHERE rollup = $1",
						2, argtypes, args, NULL);
	}
}

Oid
rollup_group_index(const Rollup *rollup, Relation table)
{
	Oid			index = RelationGetRelid(table) == rollup->relid ? rollup->shape->group_index :
		own_table_find_index(table, rollup->definition);

	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rollup %s has no unique index on its group columns", rollup->name),
				 errhint("Run: CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT;", rollup->name,
						 rollup_group_columns(rollup->definition, ""))));
	return index;
}

bool
rollup_has_index(const Rollup *rollup)
{
	Relation	table;
	bool		result;

	/* who has locked it will see to it, and a build waits for him */
	if (!ConditionalLockRelationOid(rollup->relid, AccessShareLock))
		return true;
	table = try_relation_open(rollup->relid, NoLock);
	if (table == NULL)
		return true;
	result = OidIsValid(own_table_find_index(table, NULL));
	relation_close(table, NoLock);
	return result;
}

Rollup *
rollup_find(List *rollups, Oid relid)
{
	ListCell   *lc;

	foreach(lc, rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);

		if (rollup->relid == relid)
			return rollup;
	}
	return NULL;
}

/*
 * Opening
 */

/* The server has no such function: LockDatabaseObject, if the lock is free. */
static bool
try_lock_type(Oid type, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, TypeRelationId, type, 0);
	if (LockAcquire(&tag, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

bool
rollup_try_lock(BusyLock lock)
{
	return OidIsValid(lock.type) ? try_lock_type(lock.type, lock.mode) :
		ConditionalLockRelationOid(lock.relid, lock.mode);
}

/* Takes a lock; false if somebody else has it. */
static bool
take_lock(BusyLock lock, BusyLock *busy)
{
	if (rollup_try_lock(lock))
		return true;
	*busy = lock;
	return false;
}

/* Locks a relation; false if somebody else has it. */
static bool
lock_relation(Oid relid, LOCKMODE mode, BusyLock *busy)
{
	BusyLock	lock = {.relid = relid, .mode = mode};

	return take_lock(lock, busy);
}

/* Collects the relations that a query reads. */
static bool
collect_relations(Node *node, void *context)
{
	List	  **relids = (List **) context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		if (((RangeTblEntry *) node)->rtekind == RTE_RELATION)
			*relids = list_append_unique_oid(*relids, ((RangeTblEntry *) node)->relid);
		return false;			/* its subquery is walked as a Query */
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_relations, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, collect_relations, context);
}

bool
rollup_lock_sources(List *relids, BusyLock *busy)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, relids)
	{
		if (!lock_relation(lfirst_oid(lc), AccessShareLock, busy))
			return false;
		foreach(lc2, find_all_inheritors(lfirst_oid(lc), NoLock, NULL))
			if (!lock_relation(lfirst_oid(lc2), AccessShareLock, busy))
				return false;
	}
	return true;
}

/* Locks a source, if it is partitioned, against partitions coming and going. */
static bool
lock_partitioning(Oid source, BusyLock *busy)
{
	ListCell   *lc;

	if (get_rel_relkind(source) != RELKIND_PARTITIONED_TABLE)
		return true;
	foreach(lc, find_all_inheritors(source, NoLock, NULL))
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_PARTITIONED_TABLE &&
			!lock_relation(lfirst_oid(lc), ShareUpdateExclusiveLock, busy))
			return false;
	/* those that have come before the lock */
	return rollup_lock_sources(list_make1_oid(source), busy);
}

/* Locks the enums among what the values of a rollup's source are made of. */
static bool
lock_labels(const Rollup *rollup, Oid source, BusyLock *busy)
{
	List	   *parts = type_parts(definition_source_types(rollup->definition, source));
	ListCell   *lc;

	foreach(lc, type_enums(parts))
	{
		BusyLock	lock = {.relid = source, .mode = ShareLock, .type = lfirst_oid(lc)};

		if (!take_lock(lock, busy))
			return false;
	}
	return true;
}

bool
rollup_lock_facts(const Rollup *rollup, bool labels, BusyLock *busy)
{
	ListCell   *lc;

	foreach(lc, rollup->definition->sources)
		if (!lock_partitioning(lfirst_oid(lc), busy) ||
			(labels && !lock_labels(rollup, lfirst_oid(lc), busy)))
			return false;
	return true;
}

bool
rollup_order_may_change(const Rollup *rollup)
{
	List	   *types = NIL;

	for (int i = 0; i < rollup->definition->ngroups; i++)
		types = list_append_unique_oid(types, rollup->definition->groups[i].type);
	return type_relations(type_parts(types)) != NIL;
}

/* The indexes of a rollup's table, whoever has made them. */
static List *
list_indexes(const Rollup *rollup)
{
	Relation	table = relation_open(rollup->relid, NoLock);
	List	   *indexes = RelationGetIndexList(table);

	relation_close(table, NoLock);
	return indexes;
}

bool
rollup_lock_indexes(const Rollup *rollup, BusyLock *busy)
{
	ListCell   *lc;

	if (!lock_relation(rollup->relid, ShareLock, busy))
		return false;
	foreach(lc, list_indexes(rollup))
		if (!lock_relation(lfirst_oid(lc), AccessExclusiveLock, busy))
			return false;
	return true;
}

void
rollup_make_indexes_again(const Rollup *rollup)
{
	ListCell   *lc;

	foreach(lc, list_indexes(rollup))
	{
		Oid			index = lfirst_oid(lc);

		xact_execute(psprintf("REINDEX INDEX %s", name_of(index)));
	}
}

/* The owner of the table, who has to own the definition as well. */
static Oid
common_owner(Relation table, Relation view)
{
	if (table->rd_rel->relowner != view->rd_rel->relowner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("rollup \"%s\" and its definition have different owners",
						RelationGetRelationName(table)),
				 errhint("Run: ALTER VIEW %s OWNER TO %s;", name_of(RelationGetRelid(view)),
						 quote_identifier(GetUserNameFromId(table->rd_rel->relowner, false)))));
	return table->rd_rel->relowner;
}

/*
 * Throws unless the current user, the owner, may read what the definition reads,
 * as the executor does.
 */
static bool
check_privileges(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, check_privileges, context);
	check_query_permissions((Query *) node);
	return query_tree_walker((Query *) node, check_privileges, context, 0);
}

/*
 * The names of columns are the table's, whatever the definition calls them:
 * either may have been renamed.  Throws if the table has others.
 */
static void
use_table_names(RollupShape *rollup, TupleDesc table)
{
	own_table_check_columns(rollup->name, table, rollup->desc);
	for (int i = 0; i < rollup->desc->natts; i++)
		TupleDescAttr(rollup->desc, i)->attname = TupleDescAttr(table, i)->attname;
	for (int i = 0; i < rollup->definition->ngroups; i++)
	{
		GroupColumn *group = &rollup->definition->groups[i];

		group->name = NameStr(TupleDescAttr(rollup->desc, group->attnum - 1)->attname);
	}
	for (int i = 0; i < rollup->definition->nmeasures; i++)
	{
		Measure    *measure = &rollup->definition->measures[i];

		measure->name = NameStr(TupleDescAttr(rollup->desc, measure->attnum - 1)->attname);
	}
}

/* Throws unless the table is as lasting as the position in the WAL that stands for it. */
static void
check_table(const RollupShape *rollup, Relation table)
{
	if (table->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the table of rollup %s is unlogged", rollup->name),
				 errdetail("A crash would empty it, and what it held would not be counted again."),
				 errhint("Run: ALTER TABLE %s SET LOGGED;", rollup->name)));
}

static List *
source_descs(const Definition *definition)
{
	List	   *descs = NIL;
	ListCell   *lc;

	foreach(lc, definition->sources)
	{
		Relation	source = relation_open(lfirst_oid(lc), NoLock);

		descs = lappend(descs, CreateTupleDescCopy(RelationGetDescr(source)));
		relation_close(source, NoLock);
	}
	return descs;
}

/* Compiles what is locked.  "rollups" are all there are. */
static void
compile(RollupShape *shape, Relation table, Relation view, Query *query, const List *rollups)
{
	SavedRole	saved;

	shape->name = name_of(RelationGetRelid(table));
	shape->view_name = name_of(RelationGetRelid(view));
	shape->owner = common_owner(table, view);
	shape->fingerprint = definition_fingerprint(shape->view);
	shape->desc = CreateTupleDescCopy(RelationGetDescr(view));

	saved = xact_become(shape->owner);
	shape->definition = definition_compile(query);
	(void) check_privileges((Node *) query, NULL);
	xact_restore_role(saved);
	check_none_ours(shape->definition, rollups);
	shape->source_descs = source_descs(shape->definition);
	use_table_names(shape, RelationGetDescr(table));
	check_table(shape, table);
	shape->group_index = own_table_find_index(table, shape->definition);
	shape->obstacle = subscription_reason(shape->relid);
}

/*
 * Locks what a definition reads, and notes it in the shape, so that it need not
 * be found out again.
 */
static bool
lock_and_note_sources(RollupShape *shape, Query *query, BusyLock *busy)
{
	List	   *relids = NIL;
	ListCell   *lc;

	(void) collect_relations((Node *) query, &relids);
	if (!rollup_lock_sources(relids, busy))
		return false;
	foreach(lc, relids)
		shape->reads = list_concat_unique_oid(shape->reads,
											  find_all_inheritors(lfirst_oid(lc), NoLock, NULL));
	return true;
}

/* Likewise the composite types of the values, after it was compiled. */
static bool
lock_and_note_types(RollupShape *shape, BusyLock *busy)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, shape->definition->sources)
		foreach(lc2, type_relations(type_parts(definition_source_types(shape->definition,
																	   lfirst_oid(lc)))))
		{
			if (!lock_relation(lfirst_oid(lc2), AccessShareLock, busy))
				return false;
			shape->reads = list_append_unique_oid(shape->reads, lfirst_oid(lc2));
		}
	return true;
}

/* Locks all that a definition is about, and compiles it as it is then. */
static bool
compile_locked(RollupShape *shape, Relation table, Relation view, Query *query,
			   const List *rollups, BusyLock *busy)
{
	int			nlocked;

	if (!lock_and_note_sources(shape, query, busy))
		return false;
	do
	{
		compile(shape, table, view, query, rollups);
		nlocked = list_length(shape->reads);
		if (!lock_and_note_types(shape, busy))
			return false;
	} while (list_length(shape->reads) > nlocked);
	return true;
}

/* Finds out the shape of a locked rollup.  NULL: a source's lock is not free. */
static RollupShape *
make_shape(const Rollup *rollup, BusyLock *busy)
{
	uint64		version = catalog_version();
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "notify_stats rollup",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	RollupShape *shape = palloc0(sizeof(RollupShape));
	Relation	table = relation_open(rollup->relid, NoLock);
	Relation	view = relation_open(rollup->view, NoLock);
	Query	   *query = copyObject(get_view_query(view));	/* the relcache's own may go away */
	bool		locked;

	shape->context = context;
	shape->relid = rollup->relid;
	shape->view = rollup->view;
	locked = compile_locked(shape, table, view, query, rollup->all, busy);
	relation_close(view, NoLock);
	relation_close(table, NoLock);
	MemoryContextSwitchTo(caller_context);
	if (!locked)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	keep_shape(shape, version);
	return shape;
}

/* A known shape, with all its locks, if it still holds; *busy if one is not free. */
static RollupShape *
reuse_shape(const Rollup *rollup, BusyLock *busy)
{
	RollupShape *shape = find_shape(rollup);
	ListCell   *lc;

	if (shape == NULL || !shapes_hold())
		return NULL;
	foreach(lc, shape->reads)
		if (!lock_relation(lfirst_oid(lc), AccessShareLock, busy))
			return NULL;
	/* having the locks, nobody changes it any more; but was it before? */
	return shapes_hold() ? shape : NULL;
}

RollupAccess
rollup_open(Rollup *rollup, BusyLock *busy)
{
	RollupShape *shape;

	busy->relid = InvalidOid;
	if (!lock_relation(rollup->relid, RowExclusiveLock, busy) ||
		!lock_relation(rollup->view, AccessShareLock, busy))
		return ROLLUP_BUSY;
	shape = reuse_shape(rollup, busy);
	if (OidIsValid(busy->relid))
		return ROLLUP_BUSY;
	if (shape == NULL)
	{
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(rollup->relid)) ||
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(rollup->view)))
			return ROLLUP_GONE;
		shape = make_shape(rollup, busy);
		if (shape == NULL)
			return ROLLUP_BUSY;
	}
	rollup->shape = shape;
	rollup->owner = shape->owner;
	rollup->name = shape->name;
	rollup->view_name = shape->view_name;
	rollup->fingerprint = shape->fingerprint;
	rollup->definition = shape->definition;
	rollup->source_descs = shape->source_descs;
	rollup->desc = shape->desc;
	return ROLLUP_READY;
}

/* Whether a lock is free just now. */
static bool
is_lock_free(BusyLock busy)
{
	bool		result;

	xact_begin();
	result = rollup_try_lock(busy);
	xact_commit();
	return result;
}

bool
rollup_wait_for_lock(BusyLock busy)
{
	long		milliseconds = 1;

	while (!is_lock_free(busy))
	{
		if (busy.until != 0 && GetCurrentTimestamp() >= busy.until)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		milliseconds = Min(2 * milliseconds, LOCK_POLL_MS);
	}
	return true;
}

int
rollup_lock_patience(const Rollup *rollup)
{
	int			patience = rollup->ignores == NIL ? notify_stats_lock_timeout : rollup_long_patience();

	if (patience == 0)
		return 0;
	return Max(1, patience >> Min(shared_stream_offences(rollup->relid, false), MAX_HALVINGS));
}

int
rollup_long_patience(void)
{
	if (notify_stats_lock_timeout == 0 || notify_stats_max_rollup_time == 0)
		return 0;
	return Max(notify_stats_lock_timeout, notify_stats_max_rollup_time);
}

bool
rollup_lock_rows(const Rollup *rollup, BusyLock *busy)
{
	return lock_relation(rollup->relid, ExclusiveLock, busy);
}

void
rollup_check_name(const Rollup *rollup)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(rollup->name));

	/* a schema can be renamed without a lock on its tables */
	if (RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, true) != rollup->relid)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rollup %s has been renamed meanwhile", rollup->name)));
}

bool
rollup_ignores_deletes(const Rollup *rollup, Oid source)
{
	return list_member_oid(rollup->ignores, source);
}

char *
rollup_ignored_names(const Rollup *rollup)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, rollup->ignores)
		appendStringInfo(&buf, "%s\"%s\"", buf.len > 0 ? ", " : "", get_rel_name(lfirst_oid(lc)));
	return buf.data;
}

bool
rollup_wants_build(const Rollup *rollup)
{
	return rollup->request > 0 || rollup->state == ROLLUP_BUILDING ||
		rollup->state == ROLLUP_STALE;
}

char *
rollup_columns(const Rollup *rollup)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < rollup->desc->natts; i++)
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(rollup->desc, i)->attname)));
	return buf.data;
}

char *
rollup_group_columns(const Definition *definition, const char *prefix)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < definition->ngroups; i++)
		appendStringInfo(&buf, "%s%s%s", i > 0 ? ", " : "", prefix,
						 quote_identifier(definition->groups[i].name));
	return buf.data;
}

/*
 * Waiting
 */

/* Throws if a rollup that is waited for will not come; "visible": says why. */
static void
check_awaited(Oid relid, SPITupleTable *table, bool visible)
{
	char	   *state;

	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 get_rel_name(relid) ?
				 errmsg("\"%s\" is not a rollup", get_rel_name(relid)) :
				 errmsg("rollup with OID %u does not exist", relid),
				 errhint("The view notify_stats.rollups lists the rollups.")));
	state = SPI_getvalue(table->vals[0], table->tupdesc, 2);
	if (strcmp(state, state_names[ROLLUP_FAILED]) == 0 &&
		strcmp(SPI_getvalue(table->vals[0], table->tupdesc, 1), "f") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rollup %s has failed", rollup_qualified_name(relid)),
				 visible ? errdetail_internal("%s", SPI_getvalue(table->vals[0], table->tupdesc, 3)) : 0,
				 errhint("Fix the cause, then run: %s",
						 rollup_rebuild_statement(rollup_qualified_name(relid),
												  strcmp(SPI_getvalue(table->vals[0], table->tupdesc, 4), "t") == 0))));
}

bool
rollup_reached(Oid relid, XLogRecPtr target, XLogRecPtr reached)
{
	/*
	 * State 'failed' counts as waiting only when a rebuild was asked for, and
	 * 'live' if there is no slot: that is what a dump says, see
	 * rollup_adopt_restored.  What DDL has noted of a source may make any rollup
	 * stale as soon as a cycle sees it, whatever position was reached before.
	 */
	static const char query[] =
		"SELECT r.state IN ('building', 'stale') OR (r.state = 'live' AND (NOT EXISTS (SELECT FROM "
		EXTENSION_SCHEMA ".stream s WHERE s.slot_name IS NOT NULL) OR EXISTS (SELECT FROM "
		EXTENSION_SCHEMA ".source_fact f WHERE " FACT_IS_NOTE "))) OR EXISTS (SELECT FROM " EXTENSION_SCHEMA
		".rebuild_request q WHERE q.rollup = r.rollup), r.state,"
		" (SELECT v.reason FROM " EXTENSION_SCHEMA ".rollup_activity v WHERE v.rollup = r.rollup),"
		" r.ignore_deletes OPERATOR(pg_catalog.<>) '{}'"
		" FROM " EXTENSION_SCHEMA ".rollup r JOIN pg_catalog.pg_class c ON c.oid = r.rollup"
		" WHERE $1 = 0::pg_catalog.oid OR r.rollup = $1 ORDER BY 1 DESC LIMIT 1";
	static const char position_query[] =
		"SELECT applied_lsn FROM " EXTENSION_SCHEMA ".stream";
	bool		visible = OidIsValid(relid) && rollup_is_visible(relid);
	SavedRole	saved = catalog_enter();
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};
	bool		isnull;
	bool		result;

	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(query, 1, argtypes, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the rollups");
	if (OidIsValid(relid))
		check_awaited(relid, SPI_tuptable, visible);
	result = SPI_processed == 0 ||
		!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));

	if (result && reached < target)
	{
		if (SPI_execute(position_query, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
			elog(ERROR, "could not read the stream");
		reached = DatumGetLSN(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											&isnull));
		/* without a slot there is no rollup, and nothing to wait for */
		result = isnull || reached >= target;
	}
	PopActiveSnapshot();
	catalog_leave(saved);
	return result;
}

/*
 * Changes of state
 */

void
rollup_set_state(Oid relid, RollupState state, const char *reason, XLogRecPtr lsn)
{
	Oid			argtypes[4] = {OIDOID, TEXTOID, TEXTOID, PG_LSNOID};
	Datum		args[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};

	args[0] = ObjectIdGetDatum(relid);
	args[1] = CStringGetTextDatum(state_names[state]);
	args[2] = reason ? CStringGetTextDatum(reason) : (Datum) 0;
	nulls[2] = reason ? ' ' : 'n';
	args[3] = LSNGetDatum(lsn);
	nulls[3] = XLogRecPtrIsInvalid(lsn) ? 'n' : ' ';
	catalog_execute(SETTING_STATE(" state = $2 WHERE rollup = $1", "$3", "$4"),
					4, argtypes, args, nulls);
}

void
rollup_set_built(const Rollup *rollup)
{
	Oid			argtypes[2] = {OIDOID, INT8OID};
	Datum		args[2] = {ObjectIdGetDatum(rollup->relid), Int64GetDatum(rollup->fingerprint)};

	catalog_execute(SETTING_STATE(" state = 'live', fingerprint = $2 WHERE rollup = $1",
								  "NULL::pg_catalog.text", "NULL::pg_catalog.pg_lsn"),
					2, argtypes, args, NULL);
	catalog_execute_for("UPDATE " EXTENSION_SCHEMA ".rollup_activity"
						" SET built_at = pg_catalog.clock_timestamp() WHERE rollup = $1",
						rollup->relid);
	store_sources(rollup->relid, rollup->definition);
}

/* Whether that is what the catalog says of the state of a rollup. */
static bool
has_reason(Oid relid, const char *reason)
{
	Oid			argtypes[2] = {OIDOID, TEXTOID};
	Datum		args[2] = {ObjectIdGetDatum(relid), CStringGetTextDatum(reason)};

	return catalog_execute("SELECT FROM " EXTENSION_SCHEMA ".rollup_activity"
						   " WHERE rollup = $1 AND reason = $2", 2, argtypes, args, NULL) > 0;
}

bool
rollup_is_obstructed(const Rollup *rollup)
{
	char	   *reason = subscription_reason(rollup->relid);

	if (reason == NULL)
		return false;
	if (!has_reason(rollup->relid, reason))
		/* one that was never built stays that; "stale" would tell of a dump */
		rollup_set_state(rollup->relid,
						 rollup->built_from == 0 && rollup->state != ROLLUP_STALE ?
						 ROLLUP_BUILDING : ROLLUP_STALE,
						 reason, InvalidXLogRecPtr);
	return true;
}

/* The name for messages, of one that need not be opened. */
static const char *
display_name(const Rollup *rollup)
{
	if (rollup->name != NULL)
		return rollup->name;
	if (get_rel_name(rollup->relid) == NULL)
		return "?";
	return name_of(rollup->relid);
}

int64
rollup_catalog_state(Oid relid, TransactionId *youngest)
{
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};
	SavedRole	saved = catalog_enter();
	int64		state;
	bool		isnull;

	if (SPI_execute_with_args("SELECT * FROM " EXTENSION_SCHEMA ".catalog_state($1)", 1, argtypes, args,
							  NULL, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the state of the catalogs");
	state = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (youngest != NULL)
		*youngest = DatumGetTransactionId(SPI_getbinval(SPI_tuptable->vals[0],
														SPI_tuptable->tupdesc, 2, &isnull));
	catalog_leave(saved);
	return state;
}

void
rollup_set_retry(Oid relid, int64 state)
{
	Oid			argtypes[2] = {OIDOID, INT8OID};
	Datum		args[2] = {ObjectIdGetDatum(relid), Int64GetDatum(state)};

	catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup_activity SET failed_catalog = $2 WHERE rollup = $1",
					2, argtypes, args, NULL);
}

bool
rollup_retry(Rollup *rollup)
{
	static const char query[] =
		SETTING_STATE(" state = CASE WHEN fingerprint IS NULL THEN 'building' ELSE 'stale' END"
					  " WHERE rollup = $1 AND EXISTS (SELECT FROM " EXTENSION_SCHEMA ".rollup_activity v"
					  " WHERE v.rollup = $1 AND v.failed_catalog <>"
					  " (SELECT c.state FROM " EXTENSION_SCHEMA ".catalog_state($1) c))",
					  "(SELECT v.reason FROM " EXTENSION_SCHEMA ".rollup_activity v WHERE v.rollup = changed.rollup)",
					  "NULL::pg_catalog.pg_lsn");

	if (rollup->state != ROLLUP_FAILED || catalog_execute_for(query, rollup->relid) == 0)
		return false;
	ereport(LOG,
			(errmsg("rollup %s has failed and is tried again", display_name(rollup)),
			 errdetail("It, a table that it reads, or a privilege was altered.")));
	return true;
}

void
rollup_give_up(Rollup *rollup, const char *reason, XLogRecPtr lsn)
{
	const char *name = display_name(rollup);

	if (rollup->ignores == NIL)
		ereport(LOG,
				(errmsg("rollup %s is stale and will be rebuilt", name),
				 errdetail_internal("%s", reason)));
	else
		ereport(LOG,
				(errmsg("rollup %s has failed: %s", name, reason),
				 errdetail("To rebuild it would forget rows that it counts and that have been deleted from %s.",
						   rollup_ignored_names(rollup)),
				 errhint("To rebuild it all the same, run: %s",
						 rollup_rebuild_statement(name, true))));
	rollup->state = rollup->ignores == NIL ? ROLLUP_STALE : ROLLUP_FAILED;
	rollup_set_state(rollup->relid, rollup->state, reason, lsn);
}

void
rollup_give_up_all(const char *reason, XLogRecPtr lsn, bool rebuild)
{
	Oid			argtypes[3] = {TEXTOID, PG_LSNOID, BOOLOID};
	Datum		args[3];
	char		nulls[3] = {' ', XLogRecPtrIsInvalid(lsn) ? 'n' : ' ', ' '};

	args[0] = CStringGetTextDatum(reason);
	args[1] = LSNGetDatum(lsn);
	args[2] = BoolGetDatum(rebuild);
	catalog_execute(SETTING_STATE(" state = CASE WHEN $3 AND ignore_deletes = '{}' THEN 'stale' ELSE 'failed' END"
								  " WHERE state = 'live' OR (state = 'stale' AND NOT $3)", "$1", "$2"),
					3, argtypes, args, nulls);
}

/*
 * Whether it is a second since this process has noted last that a rollup was
 * changed, which is remembered for the next time.  Once a second is enough for
 * people, and saves dead rows; to read the row in each cycle would cost more.
 */
static bool
is_change_to_be_noted(Oid relid)
{
	static HTAB *notes = NULL;
	TimestampTz now = GetCurrentTimestamp();
	ChangeNote *note;
	bool		found;

	if (notes == NULL)
	{
		HASHCTL		info = {.keysize = sizeof(Oid), .entrysize = sizeof(ChangeNote)};

		notes = hash_create("notify_stats changed rollups", 16, &info, HASH_ELEM | HASH_BLOBS);
	}
	note = hash_search(notes, &relid, HASH_ENTER, &found);
	if (found && !TimestampDifferenceExceeds(note->at, now, 1000))
		return false;
	note->at = now;
	return true;
}

void
rollup_set_changed(List *rollups)
{
	List	   *relids = NIL;
	ListCell   *lc;
	Oid			argtypes[1] = {OIDARRAYOID};
	Datum		args[1];

	foreach(lc, rollups)
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);

		if (is_change_to_be_noted(rollup->relid))
			relids = lappend_oid(relids, rollup->relid);
	}
	if (relids == NIL)
		return;
	args[0] = make_oid_array(relids);
	catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup_activity"
					" SET changed_at = pg_catalog.clock_timestamp() WHERE rollup = ANY ($1)",
					1, argtypes, args, NULL);
}
