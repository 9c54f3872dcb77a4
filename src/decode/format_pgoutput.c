/*-------------------------------------------------------------------------
 *
 * format_pgoutput.c
 *	  Reads the output of the server's own output plugin pgoutput.
 *
 * The messages are those of "Logical Replication Message Formats" in the
 * PostgreSQL manual, version 1 of the protocol, which has no streaming and no
 * two-phase commit.  pgoutput announces a table ('R') before its first change,
 * and again when it was altered: its columns as of that change, whether each
 * is in the replica identity, and of which type it was.
 *
 * The publication publishes partitions under their own names
 * (publish_via_partition_root is off), because otherwise the TRUNCATE of a
 * single partition would not be published.  It has no column lists: the server
 * refuses to update a table whose replica identity the list does not cover, so
 * a list would turn an ALTER TABLE ... REPLICA IDENTITY FULL into errors of
 * the writers of the table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "replication/logicalproto.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "decoded_table.h"
#include "facts.h"
#include "format.h"
#include "publication.h"
#include "type_parts.h"

#define PLUGIN_NAME "pgoutput"
#define PROTOCOL_VERSION "1"

/* of a column in a relation message */
#define COLUMN_IN_IDENTITY 1

/* A table as it was announced. */
typedef struct Announcement
{
	Oid			relid;
	DecodedTable *table;		/* NULL: no source reads it */
	int			ncolumns;
	int		   *columns;		/* index in the decoded table, or -1 */
	char	   *mistyped;		/* why rows cannot be read, or NULL */
} Announcement;

struct FormatReader
{
	MemoryContext context;		/* of the reader */
	MemoryContext message_context;	/* reset at each message */
	List	   *sources;
	TableDecoder *decoder;
	List	   *announcements;	/* of Announcement */
	StringInfoData message;
	bool		in_transaction;
	bool		wanted;			/* the current transaction */
};

static FormatReader *
pgoutput_reader_create(List *sources, const ChangeConsumer *consumer)
{
	FormatReader *reader = palloc0(sizeof(FormatReader));

	reader->context = CurrentMemoryContext;
	reader->message_context = AllocSetContextCreate(CurrentMemoryContext,
													"notify_stats message",
													ALLOCSET_DEFAULT_SIZES);
	reader->sources = sources;
	reader->decoder = table_decoder_create(PLUGIN_NAME, sources, consumer);
	return reader;
}

/*
 * Returns whether pgoutput can write any value of a type in binary form, and
 * we can read it.  pgoutput calls the send function of every type that has
 * one, also that of an array, which then fails if the type of its elements has
 * none.
 */
static bool
has_binary_form(Oid type)
{
	HeapTuple	tuple;
	Form_pg_type form;
	Oid			element;
	bool		sends;
	bool		receives;
	char		typtype;

	type = getBaseType(type);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_type) GETSTRUCT(tuple);
	typtype = form->typtype;
	sends = OidIsValid(form->typsend);
	receives = OidIsValid(form->typreceive);
	ReleaseSysCache(tuple);

	element = get_element_type(type);
	if (OidIsValid(element))
		return typtype == TYPTYPE_BASE && sends && receives &&
			has_binary_form(element);
	return (typtype == TYPTYPE_BASE || typtype == TYPTYPE_ENUM) && sends &&
		receives;
}

/*
 * Returns whether all columns of all sources have a binary form: pgoutput
 * sends them all.  It also sends columns that have been dropped since, and
 * other tables that are still published; text_only is for these.
 */
static bool
all_have_binary_form(List *sources)
{
	ListCell   *lc;

	foreach(lc, sources)
	{
		TupleDesc	desc = ((Source *) lfirst(lc))->desc;

		for (int i = 0; i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			if (!att->attisdropped && !has_binary_form(att->atttypid))
				return false;
		}
	}
	return true;
}

static List *
pgoutput_reader_options(FormatReader *reader, bool text_only, bool resumable)
{
	List	   *options = list_make4("proto_version", PROTOCOL_VERSION,
									 "publication_names", PUBLICATION_NAME);

	options = lappend(options, "binary");
	return lappend(options, !text_only &&
				   all_have_binary_form(reader->sources) ?
				   "true" : "false");
}

/*
 * Relation messages
 */

/* Returns the announcement of a table; creates it the first time. */
static Announcement *
find_announcement(FormatReader *reader, Oid relid, bool make)
{
	Announcement *announcement;
	ListCell   *lc;

	foreach(lc, reader->announcements)
	{
		announcement = (Announcement *) lfirst(lc);
		if (announcement->relid == relid)
			return announcement;
	}
	if (!make)
		throw_violation(PLUGIN_NAME, "Table %u was not announced.", relid);

	announcement = palloc0(sizeof(Announcement));
	announcement->relid = relid;
	announcement->table = table_decoder_table(reader->decoder, relid);
	reader->announcements = lappend(reader->announcements, announcement);
	return announcement;
}

/* Reads a column of a relation message. */
static void
read_column(FormatReader *reader, Announcement *announcement, int number,
			bool full)
{
	StringInfo	message = &reader->message;
	DecodedTable *table = announcement->table;
	int			flags = pq_getmsgbyte(message);
	const char *name = pq_getmsgstring(message);
	Oid			type = pq_getmsgint(message, 4);
	int			column;

	(void) pq_getmsgint(message, 4);	/* typmod */
	column = decoded_column(table, name, -1);
	announcement->columns[number] = column;
	if (column < 0)
		return;
	if (!full && (flags & COLUMN_IN_IDENTITY) == 0)
		table->covered = false;
	if (type != table->types[column] && announcement->mistyped == NULL)
		announcement->mistyped = psprintf("column \"%s\" had a different type",
										  name);
}

static void
read_relation(FormatReader *reader)
{
	StringInfo	message = &reader->message;
	Oid			relid = pq_getmsgint(message, 4);
	MemoryContext context = MemoryContextSwitchTo(reader->context);
	Announcement *announcement = find_announcement(reader, relid, true);
	DecodedTable *table = announcement->table;
	int			identity;

	(void) pq_getmsgstring(message);	/* schema */
	(void) pq_getmsgstring(message);	/* name */
	identity = pq_getmsgbyte(message);
	announcement->ncolumns = pq_getmsgint(message, 2);
	if (table == NULL)
		message->cursor = message->len; /* not used */
	else
	{
		bool		full = identity == REPLICA_IDENTITY_FULL;

		table->full = full;
		table->covered = identity != REPLICA_IDENTITY_NOTHING;
		announcement->mistyped = NULL;
		announcement->columns = palloc(sizeof(int) * (announcement->ncolumns +
													  1));
		for (int i = 0; i < announcement->ncolumns; i++)
			read_column(reader, announcement, i, full);
	}
	MemoryContextSwitchTo(context);
}

/*
 * Rows
 */

/* Reads one value of a row; NUL-terminated, as the type's functions expect. */
static void
read_cell(FormatReader *reader, int kind, Cell *cell)
{
	StringInfo	message = &reader->message;
	const char *value;
	char	   *bytes;
	int			len;

	switch (kind)
	{
		case LOGICALREP_COLUMN_NULL:
			cell->kind = CELL_NULL;
			return;
		case LOGICALREP_COLUMN_UNCHANGED:
			cell->kind = CELL_UNCHANGED;
			return;
		case LOGICALREP_COLUMN_TEXT:
			cell->kind = CELL_TEXT;
			break;
		case LOGICALREP_COLUMN_BINARY:
			cell->kind = CELL_BINARY;
			break;
		default:
			throw_violation(PLUGIN_NAME, "Unexpected value of kind %d.", kind);
	}
	len = pq_getmsgint(message, 4);
	value = pq_getmsgbytes(message, len);
	bytes = palloc(len + 1);
	memcpy(bytes, value, len);
	bytes[len] = '\0';
	cell->bytes = bytes;
	cell->len = len;
}

/* Skips a value that is not in use. */
static void
skip_cell(FormatReader *reader, int kind)
{
	switch (kind)
	{
		case LOGICALREP_COLUMN_NULL:
		case LOGICALREP_COLUMN_UNCHANGED:
			break;
		case LOGICALREP_COLUMN_TEXT:
		case LOGICALREP_COLUMN_BINARY:
			(void) pq_getmsgbytes(&reader->message,
								  pq_getmsgint(&reader->message, 4));
			break;
		default:
			throw_violation(PLUGIN_NAME, "Unexpected value of kind %d.", kind);
	}
}

static void
read_row(FormatReader *reader, Announcement *announcement, Cell *row)
{
	int			ncolumns = pq_getmsgint(&reader->message, 2);

	if (ncolumns != announcement->ncolumns)
		throw_violation(PLUGIN_NAME,
						"A row of table %u has %d columns instead of %d.",
						announcement->relid, ncolumns, announcement->ncolumns);
	decoded_row_fill(announcement->table, row, CELL_ABSENT);
	for (int i = 0; i < ncolumns; i++)
	{
		int			kind = pq_getmsgbyte(&reader->message);

		if (announcement->columns[i] >= 0)
			read_cell(reader, kind, &row[announcement->columns[i]]);
		else
			skip_cell(reader, kind);
	}
}

/* Reads the rows of a change.  Returns NULL if no source has the table. */
static void
read_change(FormatReader *reader, RowChangeKind kind)
{
	StringInfo	message = &reader->message;
	Announcement *announcement = find_announcement(reader,
												   pq_getmsgint(message, 4),
												   false);
	DecodedTable *table = announcement->table;
	bool		has_old = false;
	int			tag;

	if (table == NULL || !reader->wanted)
	{
		message->cursor = message->len;
		return;
	}
	tag = pq_getmsgbyte(message);
	if (kind != ROW_INSERT && (tag == 'O' || tag == 'K'))
	{
		has_old = true;
		read_row(reader, announcement, table->old_row);
		if (kind == ROW_UPDATE)
			tag = pq_getmsgbyte(message);
	}
	if (kind == ROW_DELETE ? !has_old : tag != 'N')
		throw_violation(PLUGIN_NAME, "Unexpected row of kind %d.", tag);
	if (kind != ROW_DELETE)
		read_row(reader, announcement, table->new_row);

	if (announcement->mistyped != NULL)
		table_decoder_unknown(reader->decoder, table, announcement->mistyped);
	else
		table_decoder_change(reader->decoder, table, kind, has_old);
}

static void
read_truncate(FormatReader *reader)
{
	StringInfo	message = &reader->message;
	uint32		nrelids = pq_getmsgint(message, 4);
	List	   *relids = NIL;

	(void) pq_getmsgbyte(message);	/* CASCADE, RESTART IDENTITY */
	for (uint32 i = 0; i < nrelids; i++)
		relids = lappend_oid(relids, pq_getmsgint(message, 4));
	table_decoder_truncate(reader->decoder, relids);
}

/*
 * Messages
 */

static void
read_begin(FormatReader *reader)
{
	StringInfo	message = &reader->message;
	XLogRecPtr	commit_lsn = pq_getmsgint64(message);
	TransactionId xid;

	(void) pq_getmsgint64(message); /* time of the commit */
	xid = pq_getmsgint(message, 4);
	reader->in_transaction = true;
	reader->wanted = table_decoder_begin(reader->decoder, xid, commit_lsn);
}

/* Throws for a message outside of a transaction. */
static void
check_in_transaction(FormatReader *reader, int kind)
{
	if (!reader->in_transaction)
		throw_violation(PLUGIN_NAME,
						"Message of kind %d outside of a transaction.", kind);
}

static void
read_message(FormatReader *reader, int kind)
{
	StringInfo	message = &reader->message;

	if (kind == LOGICAL_REP_MSG_BEGIN)
	{
		read_begin(reader);
		return;
	}
	/* of 18, though nothing is streamed; see plugin.c */
	if (kind == LOGICAL_REP_MSG_STREAM_ABORT)
	{
		message->cursor = message->len;
		return;
	}
	check_in_transaction(reader, kind);
	switch (kind)
	{
		case LOGICAL_REP_MSG_COMMIT:
			reader->in_transaction = false;
			message->cursor = message->len;
			break;
		case LOGICAL_REP_MSG_ORIGIN:
		case LOGICAL_REP_MSG_TYPE:
			message->cursor = message->len;
			break;
		case LOGICAL_REP_MSG_RELATION:
			read_relation(reader);
			break;
		case LOGICAL_REP_MSG_INSERT:
			read_change(reader, ROW_INSERT);
			break;
		case LOGICAL_REP_MSG_UPDATE:
			read_change(reader, ROW_UPDATE);
			break;
		case LOGICAL_REP_MSG_DELETE:
			read_change(reader, ROW_DELETE);
			break;
		case LOGICAL_REP_MSG_TRUNCATE:
			read_truncate(reader);
			break;
		default:
			throw_violation(PLUGIN_NAME, "Unexpected message of kind %d.",
							kind);
	}
}

static void
pgoutput_reader_feed(FormatReader *reader, const char *data, int len)
{
	StringInfo	message = &reader->message;
	MemoryContext context;

	MemoryContextReset(reader->message_context);
	context = MemoryContextSwitchTo(reader->message_context);
	/* pq_getmsgstring searches for a NUL, possibly the one that follows */
	message->data = palloc(len + 1);
	memcpy(message->data, data, len);
	message->data[len] = '\0';
	message->len = len;
	message->maxlen = 0;
	message->cursor = 0;
	read_message(reader, pq_getmsgbyte(message));
	if (message->cursor != message->len)
		throw_violation(PLUGIN_NAME, "A message has %d bytes too many.",
						message->len - message->cursor);
	MemoryContextSwitchTo(context);
}

/*
 * Sources
 */

/*
 * pgoutput leaves generated columns out, on 18 unless an option requests them.
 * It may write any value as text (text_only).
 */
static void
pgoutput_check_source(Oid relid, const Bitmapset *columns)
{
	int			attnum = -1;

	type_check_text(relid, columns);
	if (PUBLISHES_GENERATED_COLUMNS)
		return;
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (get_attgenerated(relid, attnum) != '\0')
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("definition reads generated column \"%s\"",
							get_attname(relid, attnum, false)),
					 errdetail("On this server version, output plugin \"pgoutput\" does not write generated columns."),
					 errhint("Use the generation expression instead of the column, or set notify_stats.format = 'notify_stats'.")));
}

static List *
pgoutput_facts_of(List *facts, Oid relid, const Bitmapset *columns)
{
	facts = facts_add(facts, relid, "publication", publication_fact(relid));
	facts = facts_add_columns(facts, relid, columns);
	return facts_add_partitions(facts, relid, NULL);
}

const Format format_pgoutput = {
	.name = "pgoutput",
	.plugin = PLUGIN_NAME,
	.binary = true,
	.by_name = true,
	.facts_of = pgoutput_facts_of,
	.check_source = pgoutput_check_source,
	.reader_create = pgoutput_reader_create,
	.reader_options = pgoutput_reader_options,
	.reader_feed = pgoutput_reader_feed
};
