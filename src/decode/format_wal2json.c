/*-------------------------------------------------------------------------
 *
 * format_wal2json.c
 *	  Reads the output of the output plugin wal2json.
 *
 * Version 2 of its format has a JSON object for each beginning and end of a
 * transaction, and for each change of a row:
 *
 *	{"action":"B","xid":7,"lsn":"0/15D3B8","nextlsn":"0/15D3E8"}
 *	{"action":"U","xid":7,"lsn":"0/15D2A0","schema":"public","table":"t",
 *	 "columns":[{"name":"a","value":1},...],"identity":[...]}
 *
 * Version 1 has one per transaction, with a "change" for each row:
 *
 *	{"xid":7,"nextlsn":"0/15D3E8","change":[{"kind":"update","schema":"public",
 *	 "table":"t","columnnames":["a",...],"columnvalues":[1,...],
 *	 "oldkeys":{"keynames":["a",...],"keyvalues":[0,...]}},...]}
 *
 * A change is read in one pass: a state machine, driven by the server's own
 * JSON parser, tracks the current *place* in the object.  An element in any
 * other place than its own is an error.
 *
 * Peculiarities of wal2json (as of 2.6), which also identifies tables by name:
 * - A column whose out-of-line value was not changed by an update is left out.
 * - NaN and infinity are written as null, so that a null in a column of these
 *   types is a NULL or one of them.  A definition may use such a column only
 *   if constraints exclude one of the two.  Since 2.6 an option writes strings
 *   instead.
 * - Version 1 leaves nulls out of the old row, and does not write TRUNCATE.
 *   Of a transaction it only has the end of the commit record.
 * - The values of a bytea are written without the leading \x.
 * - If the replica identity is missing, updates and deletes are left out.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlogdefs.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/plancat.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "decoded_table.h"
#include "facts.h"
#include "format.h"
#include "names.h"
#include "settings.h"
#include "source.h"
#include "type_parts.h"
#include "users_code.h"

#define PLUGIN_NAME "wal2json"

/* The current place in the JSON. */
typedef enum JsonPlace
{
	OUTSIDE,
	IN_RECORD,					/* the outermost object */
	IN_COLUMNS,					/* version 2: "columns" or "identity" */
	IN_COLUMN,					/* an element of these */
	IN_CHANGES,					/* version 1: "change" */
	IN_CHANGE,					/* an element of it */
	IN_OLD_KEYS,				/* "oldkeys" */
	IN_NAMES,					/* "columnnames" or "keynames" */
	IN_VALUES					/* "columnvalues" or "keyvalues" */
} JsonPlace;

#define MAX_DEPTH 5

/* The keys of objects that we know. */
typedef enum JsonKey
{
	KEY_ACTION, KEY_KIND, KEY_XID, KEY_LSN, KEY_NEXTLSN, KEY_TIMESTAMP,
	KEY_ORIGIN,
	KEY_SCHEMA, KEY_TABLE, KEY_COLUMNS, KEY_IDENTITY, KEY_NAME, KEY_VALUE,
	KEY_CHANGE,
	KEY_COLUMNNAMES, KEY_COLUMNVALUES, KEY_OLDKEYS, KEY_KEYNAMES, KEY_KEYVALUES
} JsonKey;

static const struct
{
	const char *name;
	JsonKey		key;
	JsonPlace	place;			/* of the object that has it */
	int			version;		/* 0: both */
}			json_keys[] =

{
	{"action", KEY_ACTION, IN_RECORD, 2},
	{"xid", KEY_XID, IN_RECORD, 0},
	{"lsn", KEY_LSN, IN_RECORD, 2},
	{"nextlsn", KEY_NEXTLSN, IN_RECORD, 0},
	{"timestamp", KEY_TIMESTAMP, IN_RECORD, 0},
	{"origin", KEY_ORIGIN, IN_RECORD, 0},
	{"schema", KEY_SCHEMA, IN_RECORD, 2},
	{"table", KEY_TABLE, IN_RECORD, 2},
	{"columns", KEY_COLUMNS, IN_RECORD, 2},
	{"identity", KEY_IDENTITY, IN_RECORD, 2},
	{"name", KEY_NAME, IN_COLUMN, 2},
	{"value", KEY_VALUE, IN_COLUMN, 2},
	{"change", KEY_CHANGE, IN_RECORD, 1},
	{"kind", KEY_KIND, IN_CHANGE, 1},
	{"schema", KEY_SCHEMA, IN_CHANGE, 1},
	{"table", KEY_TABLE, IN_CHANGE, 1},
	{"columnnames", KEY_COLUMNNAMES, IN_CHANGE, 1},
	{"columnvalues", KEY_COLUMNVALUES, IN_CHANGE, 1},
	{"oldkeys", KEY_OLDKEYS, IN_CHANGE, 1},
	{"keynames", KEY_KEYNAMES, IN_OLD_KEYS, 1},
	{"keyvalues", KEY_KEYVALUES, IN_OLD_KEYS, 1},
};

/* The kind of a record or change. */
typedef enum JsonAction
{
	ACTION_NONE,				/* not known yet */
	ACTION_BEGIN,
	ACTION_COMMIT,
	ACTION_INSERT,
	ACTION_UPDATE,
	ACTION_DELETE,
	ACTION_TRUNCATE
} JsonAction;

/* A table that is requested from wal2json. */
typedef struct NamedTable
{
	char	   *schema;
	char	   *name;
	DecodedTable *decoded;
	bool	   *null_is_special;	/* of each column: null is NaN or infinity */
} NamedTable;

struct FormatReader
{
	MemoryContext context;		/* of the reader */
	MemoryContext feed_context; /* reset at each row of the slot's output */
	MemoryContext change_context;	/* reset after each change */
	int			version;
	List	   *tables;			/* of NamedTable */
	NamedTable *last_table;		/* that was looked up */
	TableDecoder *decoder;
	bool		in_transaction;
	bool		wanted;			/* the current transaction */
	List	   *truncated;		/* OIDs, of the current TRUNCATE */
	XLogRecPtr	truncate_lsn;	/* where that is */

	/* the JSON */
	JsonPlace	places[MAX_DEPTH + 1];
	int			depth;			/* places[depth] is the current one */
	JsonKey		key;			/* of the value that follows */

	/* the record or change */
	JsonAction	action;
	bool		has_changes;	/* version 1 */
	bool		has_xid;
	TransactionId xid;
	XLogRecPtr	lsn;
	XLogRecPtr	nextlsn;
	char	   *schema;
	NamedTable *table;
	bool		has_new;
	bool		has_old;
	Cell	   *row;			/* that values belong to */
	char	   *column;			/* version 2: the one that a value belongs to */
	int			guess;			/* probable index of the next column */
	int		   *columns;		/* version 1: the index of each named, or -1 */
	int			ncolumns;
	int			maxcolumns;
	int			nvalues;
};

#define violation(...) throw_violation(PLUGIN_NAME, __VA_ARGS__)

/*
 * What null means
 */

/* Returns whether wal2json writes some values of the type as null. */
static bool
has_special_values(Oid type)
{
	return type == FLOAT4OID || type == FLOAT8OID || type == NUMERICOID;
}

/*
 * Returns the CHECK constraints of a table in the form that the optimizer
 * expects.  It folds constants, so constraints that may call code of the
 * table's owner are left out: we run as a superuser.
 */
static List *
check_constraints(Relation relation)
{
	TupleConstr *constr = RelationGetDescr(relation)->constr;
	List	   *result = NIL;

	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		Node	   *expr;

		if (!constr->check[i].ccvalid)
			continue;
		expr = stringToNode(constr->check[i].ccbin);
		if (users_code_in(expr))
			continue;
		expr = eval_const_expressions(NULL, expr);
		expr = (Node *) canonicalize_qual((Expr *) expr, true);
		result = list_concat(result, make_ands_implicit((Expr *) expr));
	}
	return result;
}

/* Returns whether CHECK constraints exclude NaN and infinity in a column. */
static bool
excludes_special_values(Relation relation, Form_pg_attribute att)
{
	static const char *const specials[] = {"NaN", "Infinity", "-Infinity"};
	List	   *constraints = check_constraints(relation);
	Oid			equal = lookup_type_cache(att->atttypid,
										  TYPECACHE_EQ_OPR)->eq_opr;
	Oid			input;
	Oid			param;

	if (constraints == NIL)
		return false;
	getTypeInputInfo(att->atttypid, &input, &param);
	for (int i = 0; i < lengthof(specials); i++)
	{
		Datum		value = OidInputFunctionCall(input,
												 unconstify(char *,
															specials[i]), param, -1);
		Expr	   *var = (Expr *) makeVar(1, att->attnum, att->atttypid,
										   att->atttypmod,
										   InvalidOid, 0);
		Expr	   *constant = (Expr *) makeConst(att->atttypid, -1,
												  InvalidOid, att->attlen,
												  value,
												  false, att->attbyval);
		Expr	   *clause = make_opclause(equal, BOOLOID, false, var,
										   constant,
										   InvalidOid, InvalidOid);

		/* as in the optimizer's constraint exclusion */
		if (!predicate_refuted_by(constraints, list_make1(clause), false))
			return false;
	}
	return true;
}

typedef enum NullMeaning
{
	NULL_IS_NULL,
	NULL_IS_SPECIAL,			/* NaN or infinity */
	NULL_IS_EITHER
} NullMeaning;

/* Returns the meaning of null in a column. */
static NullMeaning
null_meaning(Relation relation, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(relation),
										  attnum - 1);

	if (notify_stats_wal2json_numeric_as_string ||
		!has_special_values(att->atttypid) ||
		excludes_special_values(relation, att))
		return NULL_IS_NULL;
	return attribute_is_not_null(RelationGetDescr(relation), attnum) ?
		NULL_IS_SPECIAL : NULL_IS_EITHER;
}

static void
wal2json_check_source(Oid relid, const Bitmapset *columns)
{
	Relation	relation = relation_open(relid, NoLock);
	int			attnum = -1;

	type_check_text(relid, columns);
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (null_meaning(relation, attnum) == NULL_IS_EITHER)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("definition reads column \"%s\", not all values of which can be decoded with wal2json",
							get_attname(relid, attnum, false)),
					 errdetail("wal2json writes NaN and infinity as null, so they cannot be distinguished from null."),
					 errhint("Declare the column NOT NULL, or add a constraint that excludes NaN and infinity, such as CHECK (%s > '-Infinity' AND %s < 'Infinity'). Alternatively, set notify_stats.wal2json_numeric_as_string = on, which requires wal2json 2.6 or later, or notify_stats.format = 'notify_stats'.",
							 quote_identifier(get_attname(relid, attnum,
														  false)),
							 quote_identifier(get_attname(relid, attnum,
														  false)))));
	relation_close(relation, NoLock);
}

/*
 * Facts
 */

/*
 * Appends name, replica identity, persistence and, for version 1, storage of a
 * table, which need not be locked (ddl.c).
 */
static char *
table_facts(Oid relid)
{
	Relation	relation = try_relation_open(relid, NoLock);
	StringInfoData buf;

	if (relation == NULL)
		return "dropped";
	initStringInfo(&buf);
	/* the index stands for its columns, which never change */
	appendStringInfo(&buf, "%s, identity %c %u",
					 qualified_name(RelationGetRelid(relation)),
					 relation->rd_rel->relreplident,
					 RelationGetReplicaIndex(relation));
	if (relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		appendStringInfoString(&buf, ", unlogged");
	/* a TRUNCATE gives the table a new file */
	if (notify_stats_wal2json_format_version == 1)
		appendStringInfo(&buf, ", file %u", relation->rd_rel->relfilenode);
	relation_close(relation, NoLock);
	return buf.data;
}

/* Appends the meaning of null in the columns. */
static List *
add_null_facts(List *facts, Oid relid, const Bitmapset *columns)
{
	Relation	relation = try_relation_open(relid, NoLock);
	int			attnum = -1;

	if (relation == NULL)
		return facts;
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (has_special_values(TupleDescAttr(RelationGetDescr(relation),
											 attnum - 1)->atttypid))
			facts = facts_add_column(facts, relid, attnum, "meaning of null",
									 psprintf("%d",
											  null_meaning(relation, attnum)));
	relation_close(relation, NoLock);
	return facts;
}

/* Lists all partitions: a new one may have been truncated unnoticed. */
static char *
partition_list(Oid relid)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
		appendStringInfo(&buf, "%u ", lfirst_oid(lc));
	return buf.data;
}

static List *
wal2json_facts_of(List *facts, Oid relid, const Bitmapset *columns)
{
	bool		partitioned = get_rel_relkind(relid) ==
	RELKIND_PARTITIONED_TABLE;

	facts = facts_add(facts, relid, "format version",
					  psprintf("%d", notify_stats_wal2json_format_version));
	facts = facts_add(facts, relid, "name or replica identity",
					  table_facts(relid));
	facts = facts_add_columns(facts, relid, columns);
	facts = facts_add_partitions(facts, relid, table_facts);
	if (partitioned && notify_stats_wal2json_format_version == 1)
		facts = facts_add(facts, relid, "set of partitions",
						  partition_list(relid));
	return add_null_facts(facts, relid, columns);
}

/*
 * Tables
 */

static void
add_table(FormatReader *reader, Oid relid)
{
	NamedTable *table = palloc0(sizeof(NamedTable));
	DecodedTable *decoded = table_decoder_table(reader->decoder, relid);
	Relation	relation = relation_open(relid, NoLock);
	ListCell   *lc;

	foreach(lc, reader->tables)
	{
		if (((NamedTable *) lfirst(lc))->decoded == decoded)
			decoded = NULL;
	}							/* of two sources */
	if (decoded != NULL)
	{
		table->schema = get_namespace_name(RelationGetNamespace(relation));
		table->name = pstrdup(RelationGetRelationName(relation));
		table->decoded = decoded;
		table->null_is_special = palloc(sizeof(bool) * (decoded->ncolumns +
														1));
		for (int i = 0; i < decoded->ncolumns; i++)
			table->null_is_special[i] =
				null_meaning(relation, get_attnum(relid, decoded->names[i])) !=
				NULL_IS_NULL;
		decoded->full = relation->rd_rel->relreplident ==
			REPLICA_IDENTITY_FULL;
		decoded->covered = decoded->full ||
			source_identity_covers(relation, decoded->names,
								   decoded->ncolumns);
		reader->tables = lappend(reader->tables, table);
	}
	relation_close(relation, NoLock);
}

static FormatReader *
wal2json_reader_create(List *sources, const ChangeConsumer *consumer)
{
	FormatReader *reader = palloc0(sizeof(FormatReader));
	ListCell   *lc;
	ListCell   *lc2;

	reader->context = CurrentMemoryContext;
	reader->feed_context = AllocSetContextCreate(CurrentMemoryContext,
												 "notify_stats JSON",
												 ALLOCSET_DEFAULT_SIZES);
	reader->change_context = AllocSetContextCreate(CurrentMemoryContext,
												   "notify_stats message",
												   ALLOCSET_DEFAULT_SIZES);
	reader->version = notify_stats_wal2json_format_version;
	reader->decoder = table_decoder_create(PLUGIN_NAME, sources, consumer);
	reader->maxcolumns = 64;
	reader->columns = palloc(sizeof(int) * reader->maxcolumns);
	foreach(lc, sources)
	{
		foreach(lc2, find_all_inheritors(((Source *) lfirst(lc))->relid,
										 NoLock, NULL))
			add_table(reader, lfirst_oid(lc2));
	}
	return reader;
}

/*
 * Appends a name in the form of the option "add-tables": a backslash before
 * each character that may have a special meaning.
 */
static void
append_escaped(StringInfo buf, const char *name)
{
	for (; *name != '\0'; name++)
	{
		if (!((*name >= 'a' && *name <= 'z') ||
			  (*name >= 'A' && *name <= 'Z') ||
			  (*name >= '0' && *name <= '9') || *name == '_'))
			appendStringInfoChar(buf, '\\');
		appendStringInfoChar(buf, *name);
	}
}

/*
 * A prefix that no message has.  Any role may emit messages, and only a filter
 * by prefix excludes them.
 */
static char *
random_prefix(void)
{
	uint64		random[2];

	if (!pg_strong_random(random, sizeof(random)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	return psprintf("none" UINT64_FORMAT "x" UINT64_FORMAT, random[0],
					random[1]);
}

static List *
wal2json_reader_options(FormatReader *reader, bool text_only, bool resumable)
{
	List	   *options;
	StringInfoData tables;
	ListCell   *lc;

	initStringInfo(&tables);
	foreach(lc, reader->tables)
	{
		const NamedTable *table = (const NamedTable *) lfirst(lc);

		if (tables.len > 0)
			appendStringInfoChar(&tables, ',');
		append_escaped(&tables, table->schema);
		appendStringInfoChar(&tables, '.');
		append_escaped(&tables, table->name);
	}

	options = list_make4("format-version", psprintf("%d", reader->version),
						 "include-types", "false");
	options = list_concat(options,
						  list_make4("include-xids", "true", "include-lsn",
									 "true"));
	options = list_concat(options, list_make4("include-transaction", "true",
											  "actions",
											  reader->version == 1 ?
											  "insert,update,delete" :
											  "insert,update,delete,truncate"));
	options = list_concat(options,
						  list_make2("add-msg-prefixes", random_prefix()));
	if (notify_stats_wal2json_numeric_as_string)
		options = list_concat(options,
							  list_make2("numeric-data-types-as-string",
										 "true"));
	return list_concat(options, list_make2("add-tables", tables.data));
}

static NamedTable *
find_table(FormatReader *reader, const char *schema, const char *name)
{
	NamedTable *table = reader->last_table;
	ListCell   *lc;

	if (table != NULL && strcmp(table->name, name) == 0 &&
		strcmp(table->schema, schema) == 0)
		return table;
	foreach(lc, reader->tables)
	{
		table = (NamedTable *) lfirst(lc);
		if (strcmp(table->name, name) == 0 &&
			strcmp(table->schema, schema) == 0)
			return reader->last_table = table;
	}
	violation("Table \"%s.%s\" was not requested.", schema, name);
	return NULL;				/* keep compiler quiet */
}

/*
 * Transactions and changes
 */

/* Passes on a TRUNCATE, which has a record for each table. */
static void
finish_truncate(FormatReader *reader)
{
	if (reader->truncated != NIL)
		table_decoder_truncate(reader->decoder, reader->truncated);
	list_free(reader->truncated);
	reader->truncated = NIL;
}

/* The tables of one TRUNCATE have one position. */
static void
continue_truncate(FormatReader *reader)
{
	MemoryContext context = MemoryContextSwitchTo(reader->context);

	if (!reader->in_transaction || reader->table == NULL)
		violation("A TRUNCATE has no table, or is outside of a transaction.");
	if (reader->lsn != reader->truncate_lsn)
		finish_truncate(reader);
	reader->truncate_lsn = reader->lsn;
	reader->truncated = lappend_oid(reader->truncated,
									reader->table->decoded->relid);
	MemoryContextSwitchTo(context);
}

static void
begin_transaction(FormatReader *reader)
{
	XLogRecPtr	commit_lsn = reader->version == 1 ? reader->nextlsn - 1 :
	reader->lsn;

	if (!reader->has_xid || XLogRecPtrIsInvalid(reader->nextlsn) ||
		XLogRecPtrIsInvalid(commit_lsn))
		violation("A transaction has no xid or no position.");
	if (reader->in_transaction)
		violation("A transaction begins within another.");
	reader->in_transaction = true;
	reader->wanted = table_decoder_begin(reader->decoder, reader->xid,
										 commit_lsn);
}

static void
check_in_transaction(FormatReader *reader)
{
	if (!reader->in_transaction)
		violation("A change is outside of a transaction.");
}

static void
begin_change(FormatReader *reader)
{
	reader->action = ACTION_NONE;
	reader->schema = NULL;
	reader->table = NULL;
	reader->has_new = false;
	reader->has_old = false;
	/* names belong to the rows of the change that they are in */
	reader->row = NULL;
	reader->ncolumns = reader->nvalues = 0;
}

/* The rows that follow are of this table. */
static void
set_table(FormatReader *reader, const char *name)
{
	DecodedTable *decoded;

	if (reader->schema == NULL)
		violation("Table \"%s\" has no schema.", name);
	/* the rows' arrays are as long as their table has columns in use */
	if (reader->table != NULL)
		violation("A change has two tables.");
	reader->table = find_table(reader, reader->schema, name);
	decoded = reader->table->decoded;
	decoded_row_fill(decoded, decoded->new_row, CELL_ABSENT);
	/* version 1 leaves nulls, and only those, out of the old row */
	decoded_row_fill(decoded, decoded->old_row,
					 reader->version == 1 && decoded->full ?
					 CELL_NULL : CELL_ABSENT);
}

/* The columns that follow are of the new row, or else of the old one. */
static void
begin_row(FormatReader *reader, bool new_row)
{
	if (reader->table == NULL)
		violation("A row has no table.");
	reader->row = new_row ?
		reader->table->decoded->new_row : reader->table->decoded->old_row;
	reader->guess = 0;
	if (new_row)
		reader->has_new = true;
	else
		reader->has_old = true;
}

static void
finish_row_change(FormatReader *reader)
{
	RowChangeKind kind = reader->action == ACTION_INSERT ? ROW_INSERT :
	reader->action == ACTION_UPDATE ? ROW_UPDATE : ROW_DELETE;

	check_in_transaction(reader);
	if (reader->table == NULL || (kind == ROW_DELETE) == reader->has_new)
		violation("A change has no table or no row, or an extra row.");
	finish_truncate(reader);
	table_decoder_change(reader->decoder, reader->table->decoded, kind,
						 reader->has_old);
}

/* Processes the record, or change. */
static void
finish_change(FormatReader *reader)
{
	switch (reader->action)
	{
		case ACTION_NONE:

			/*
			 * in version 1 the record is a whole transaction, and has no
			 * action
			 */
			if (reader->version == 2 || reader->depth > 1 ||
				!reader->has_changes)
				violation("A record has no action.");
			break;
		case ACTION_BEGIN:
			begin_transaction(reader);
			break;
		case ACTION_COMMIT:
			check_in_transaction(reader);
			finish_truncate(reader);
			reader->in_transaction = false;
			break;
		case ACTION_INSERT:
		case ACTION_UPDATE:
		case ACTION_DELETE:
			finish_row_change(reader);
			break;
		case ACTION_TRUNCATE:
			continue_truncate(reader);
			break;
	}
}

/*
 * Values
 */

static JsonAction
action_from_name(const char *name)
{
	static const struct
	{
		const char *name;
		JsonAction	action;
	}			actions[] =
	{
		{"B", ACTION_BEGIN}, {"C", ACTION_COMMIT}, {"T", ACTION_TRUNCATE},
		{"I", ACTION_INSERT}, {"U", ACTION_UPDATE}, {"D", ACTION_DELETE},
		{"insert", ACTION_INSERT}, {"update", ACTION_UPDATE},
		{"delete", ACTION_DELETE},
	};

	for (int i = 0; i < lengthof(actions); i++)
		if (strcmp(actions[i].name, name) == 0)
			return actions[i].action;
	violation("Unexpected action \"%s\".", name);
	return ACTION_NONE;			/* keep compiler quiet */
}

static TransactionId
xid_from_token(const char *token)
{
	char	   *end;
	unsigned long value;

	errno = 0;
	value = strtoul(token, &end, 10);
	if (errno != 0 || *end != '\0' || value == 0 || value > PG_UINT32_MAX)
		violation("Unexpected xid %s.", token);
	return (TransactionId) value;
}

static XLogRecPtr
lsn_from_token(const char *token)
{
	XLogRecPtr	lsn = parse_lsn(token);

	if (XLogRecPtrIsInvalid(lsn))
		violation("Unexpected position \"%s\".", token);
	return lsn;
}

/* Stores a member of the record or change itself. */
static void
take_member(FormatReader *reader, const char *token, JsonTokenType type)
{
	bool		is_number = reader->key == KEY_XID || reader->key ==
	KEY_ORIGIN;

	if (type != (is_number ? JSON_TOKEN_NUMBER : JSON_TOKEN_STRING))
		violation("Unexpected value %s.", token);
	switch (reader->key)
	{
		case KEY_ACTION:
		case KEY_KIND:
			reader->action = action_from_name(token);
			break;
		case KEY_XID:
			reader->xid = xid_from_token(token);
			reader->has_xid = true;
			break;
		case KEY_LSN:
			reader->lsn = lsn_from_token(token);
			break;
		case KEY_NEXTLSN:
			reader->nextlsn = lsn_from_token(token);
			break;
		case KEY_SCHEMA:
			reader->schema = pstrdup(token);
			break;
		case KEY_TABLE:
			set_table(reader, token);
			break;
		case KEY_TIMESTAMP:
		case KEY_ORIGIN:
			break;
		default:
			violation("Unexpected value %s.", token);
	}
}

/* Stores the value of a column. */
static void
take_cell(FormatReader *reader, int column, char *token, JsonTokenType type)
{
	const DecodedTable *decoded = reader->table->decoded;
	Cell	   *cell = &reader->row[column];

	if (type == JSON_TOKEN_NULL)
	{
		cell->kind = reader->table->null_is_special[column] ?
			CELL_UNTOLD : CELL_NULL;
		return;
	}
	cell->kind = CELL_TEXT;
	cell->bytes = decoded->types[column] == BYTEAOID ?
		psprintf("\\x%s", token) : token;
	cell->len = strlen(cell->bytes);
}

/* Version 2: a name or a value of an element of "columns". */
static void
take_column_member(FormatReader *reader, char *token, JsonTokenType type)
{
	int			column;

	if (reader->key == KEY_NAME && type == JSON_TOKEN_STRING)
	{
		reader->column = token;
		return;
	}
	if (reader->key != KEY_VALUE || reader->column == NULL)
		violation("A column has an unexpected value, or no name.");
	column = decoded_column(reader->table->decoded, reader->column,
							reader->guess);
	reader->column = NULL;
	if (column < 0)
		return;
	reader->guess = column + 1;
	take_cell(reader, column, token, type);
}

/* Version 1: the name of a column whose value follows. */
static void
take_name(FormatReader *reader, const char *token, JsonTokenType type)
{
	int			column;

	if (type != JSON_TOKEN_STRING)
		violation("The name of a column is not a string.");
	if (reader->ncolumns == reader->maxcolumns)
	{
		reader->maxcolumns *= 2;
		reader->columns = repalloc(reader->columns,
								   sizeof(int) * reader->maxcolumns);
	}
	column = decoded_column(reader->table->decoded, token, reader->guess);
	if (column >= 0)
		reader->guess = column + 1;
	reader->columns[reader->ncolumns++] = column;
}

/* Version 1: the value that belongs to the next of these names. */
static void
take_value(FormatReader *reader, char *token, JsonTokenType type)
{
	int			column;

	if (reader->nvalues >= reader->ncolumns)
		violation("There are more values than columns.");
	column = reader->columns[reader->nvalues++];
	if (column >= 0)
		take_cell(reader, column, token, type);
}

/*
 * Callbacks of the parser
 */

static void
enter(FormatReader *reader, JsonPlace place)
{
	reader->places[++reader->depth] = place;
}

static JSON_ACTION_RESULT
object_start(void *state)
{
	FormatReader *reader = (FormatReader *) state;

	switch (reader->places[reader->depth])
	{
		case OUTSIDE:
			enter(reader, IN_RECORD);
			reader->has_xid = reader->has_changes = false;
			reader->lsn = reader->nextlsn = InvalidXLogRecPtr;
			begin_change(reader);
			break;
		case IN_COLUMNS:
			enter(reader, IN_COLUMN);
			reader->column = NULL;
			break;
		case IN_CHANGES:
			enter(reader, IN_CHANGE);
			begin_change(reader);
			break;
		case IN_CHANGE:
			if (reader->key == KEY_OLDKEYS)
			{
				enter(reader, IN_OLD_KEYS);
				begin_row(reader, false);
				break;
			}
			pg_fallthrough;
		default:
			violation("Unexpected object.");
	}
	JSON_ACTION_DONE;
}

static JSON_ACTION_RESULT
object_end(void *state)
{
	FormatReader *reader = (FormatReader *) state;
	JsonPlace	place = reader->places[reader->depth];

	if (place == IN_RECORD || place == IN_CHANGE)
	{
		finish_change(reader);
		begin_change(reader);
		/* the parser has no data in it that it will read again */
		MemoryContextReset(reader->change_context);
	}
	else if (place == IN_COLUMN && reader->column != NULL)
		violation("Column \"%s\" has no value.", reader->column);
	reader->depth--;
	JSON_ACTION_DONE;
}

static JSON_ACTION_RESULT
array_start(void *state)
{
	FormatReader *reader = (FormatReader *) state;
	JsonPlace	place = reader->places[reader->depth];

	if (place != IN_RECORD && place != IN_CHANGE && place != IN_OLD_KEYS)
		violation("Unexpected array.");
	switch (reader->key)
	{
		case KEY_COLUMNS:
		case KEY_IDENTITY:
			begin_row(reader, reader->key == KEY_COLUMNS);
			enter(reader, IN_COLUMNS);
			break;
		case KEY_CHANGE:
			begin_transaction(reader);
			reader->has_changes = true;
			enter(reader, IN_CHANGES);
			break;
		case KEY_COLUMNNAMES:
			begin_row(reader, true);
			pg_fallthrough;
		case KEY_KEYNAMES:
			reader->ncolumns = reader->nvalues = 0;
			enter(reader, IN_NAMES);
			break;
		case KEY_COLUMNVALUES:
		case KEY_KEYVALUES:
			if (reader->table == NULL)
				violation("A row has no table.");
			enter(reader, IN_VALUES);
			break;
		default:
			violation("Unexpected array.");
	}
	JSON_ACTION_DONE;
}

static JSON_ACTION_RESULT
array_end(void *state)
{
	FormatReader *reader = (FormatReader *) state;

	if (reader->places[reader->depth] == IN_VALUES &&
		reader->nvalues != reader->ncolumns)
		violation("There are fewer values than columns.");
	if (reader->places[reader->depth] == IN_CHANGES)
		reader->in_transaction = false;
	reader->depth--;
	JSON_ACTION_DONE;
}

static JSON_ACTION_RESULT
object_field_start(void *state, char *name, bool isnull)
{
	FormatReader *reader = (FormatReader *) state;
	JsonPlace	place = reader->places[reader->depth];

	for (int i = 0; i < lengthof(json_keys); i++)
	{
		if (json_keys[i].place != place ||
			strcmp(json_keys[i].name, name) != 0 ||
			(json_keys[i].version != 0 &&
			 json_keys[i].version != reader->version))
			continue;
		reader->key = json_keys[i].key;
		JSON_ACTION_DONE;
	}
	violation("Unexpected key \"%s\".", name);
	JSON_ACTION_DONE;
}

static JSON_ACTION_RESULT
scalar(void *state, char *token, JsonTokenType type)
{
	FormatReader *reader = (FormatReader *) state;

	switch (reader->places[reader->depth])
	{
		case IN_RECORD:
		case IN_CHANGE:
			take_member(reader, token, type);
			break;
		case IN_COLUMN:
			take_column_member(reader, token, type);
			break;
		case IN_NAMES:
			take_name(reader, token, type);
			break;
		case IN_VALUES:
			take_value(reader, token, type);
			break;
		default:
			violation("Unexpected value outside of an object.");
	}
	JSON_ACTION_DONE;
}

static void
wal2json_reader_feed(FormatReader *reader, const char *data, int len)
{
	JsonSemAction actions = {0};
	JsonLexContext *lex;
	JsonParseErrorType error;
	MemoryContext context = CurrentMemoryContext;

	actions.semstate = reader;
	actions.object_start = object_start;
	actions.object_end = object_end;
	actions.array_start = array_start;
	actions.array_end = array_end;
	actions.object_field_start = object_field_start;
	actions.scalar = scalar;

	MemoryContextReset(reader->feed_context);
	MemoryContextReset(reader->change_context);
	MemoryContextSwitchTo(reader->feed_context);
	lex = make_json_lexer(unconstify(char *, data), len,
						  GetDatabaseEncoding());
	reader->depth = 0;
	reader->places[0] = OUTSIDE;

	MemoryContextSwitchTo(reader->change_context);
	error = pg_parse_json(lex, &actions);
	if (error != JSON_SUCCESS)
		violation("%s", json_errdetail(error, lex));
	MemoryContextSwitchTo(context);
}

const Format format_wal2json = {
	.name = "wal2json",
	.plugin = PLUGIN_NAME,
	.binary = false,
	.by_name = true,
	.needs_identity = true,
	.facts_of = wal2json_facts_of,
	.check_source = wal2json_check_source,
	.reader_create = wal2json_reader_create,
	.reader_options = wal2json_reader_options,
	.reader_feed = wal2json_reader_feed
};
