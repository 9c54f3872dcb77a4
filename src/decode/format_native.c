/*-------------------------------------------------------------------------
 *
 * format_native.c
 *	  Reads the output of the output plugin notify_stats.
 *
 * The plugin runs in the same server as we do, so its messages hold datums
 * as they are in memory (see native_protocol.h).  Nevertheless every byte is
 * checked before it is used.  The plugin's library may differ from ours, if
 * it was replaced after this process loaded it.  A datum of a wrong size
 * would corrupt memory rather than a count.
 *
 * The columns of an image, and their types, were announced before.  The types
 * are those of the table when the change was made.  If they differ from the
 * current types, the current descriptor cannot read the values: the images are
 * skipped, and the changes are reported as unknown.
 *
 * Values of types that are passed by reference are copied, because those in
 * the message are not aligned.  The copies live until the next message.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"	/* for varatt.h, new in 16 */
#include "access/tupmacs.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/memutils.h"

#include "facts.h"
#include "format.h"
#include "native_protocol.h"

/* a source, and its announced columns */
typedef struct NativeRelation
{
	Source	   *source;
	bool		announced;
	int			ncolumns;		/* of an image */
	AttrNumber *attnums;		/* of these columns, ascending; natts long */
	char	   *mistyped;		/* why images cannot be read, or NULL */
} NativeRelation;

struct FormatReader
{
	MemoryContext context;		/* of the reader */
	MemoryContext message_context;	/* of values, reset at each message */
	List	   *sources;		/* of Source, as the caller gave them */
	int			nrelations;
	NativeRelation *relations;	/* one per source, ascending by OID */
	StringInfoData message;		/* the caller's bytes, and how far we are */
	XLogRecPtr	commit_lsn;		/* of the message */
	bool		wanted;			/* likewise */
	const ChangeConsumer *consumer;
	Datum		byval;			/* room for a value passed by value */
};

/* Throws for a message that the plugin cannot have written. */
#define violation(...) throw_violation(NATIVE_PLUGIN_NAME, __VA_ARGS__)

/* Orders relations by OID, for qsort and bsearch. */
static int
compare_relations(const void *a, const void *b)
{
	Oid			relid_a = ((const NativeRelation *) a)->source->relid;
	Oid			relid_b = ((const NativeRelation *) b)->source->relid;

	return (relid_a > relid_b) - (relid_a < relid_b);
}

/* Creates a reader; see format.h. */
static FormatReader *
native_reader_create(List *sources, const ChangeConsumer *consumer)
{
	FormatReader *reader = palloc0(sizeof(FormatReader));
	ListCell   *lc;

	reader->context = CurrentMemoryContext;
	reader->message_context = AllocSetContextCreate(CurrentMemoryContext,
													"notify_stats message",
													ALLOCSET_DEFAULT_SIZES);
	reader->sources = sources;
	reader->consumer = consumer;
	reader->relations = palloc0(list_length(sources) * sizeof(NativeRelation));
	foreach(lc, sources)
	{
		NativeRelation *relation = &reader->relations[reader->nrelations++];

		relation->source = lfirst(lc);
		relation->attnums =
			palloc0(relation->source->desc->natts * sizeof(AttrNumber));
	}
	qsort(reader->relations, reader->nrelations, sizeof(NativeRelation),
		  compare_relations);

	return reader;
}

/* Returns the plugin's options for the columns that the sources list. */
static List *
native_reader_options(FormatReader *reader, bool text_only, bool resumable)
{
	StringInfoData tables;
	bool		moves = false;
	List	   *options;
	ListCell   *lc;

	initStringInfo(&tables);
	foreach(lc, reader->sources)
	{
		Source	   *source = lfirst(lc);
		const char *separator = "";
		int			attnum = -1;

		appendStringInfo(&tables, "%s%u:", tables.len > 0 ? ";" : "",
						 source->relid);
		while ((attnum = bms_next_member(source->columns, attnum)) >= 0)
		{
			appendStringInfo(&tables, "%s%d", separator, attnum);
			separator = ",";
		}
		moves |= source->tells_moves;
	}

	options = list_make4("version", psprintf("%d", NATIVE_VERSION), "tables",
						 tables.data);
	if (resumable)
		options = lappend(lappend(options, "resumable"), "on");
	if (moves)
		options = lappend(lappend(options, "moves"), "on");
	return options;
}

/* Reads the OID of a source, and returns its entry. */
static NativeRelation *
read_relation(FormatReader *reader)
{
	Source		source = {.relid = pq_getmsgint(&reader->message, 4)};
	NativeRelation key = {.source = &source};
	NativeRelation *relation;

	relation = bsearch(&key, reader->relations, reader->nrelations,
					   sizeof(NativeRelation), compare_relations);
	if (relation == NULL)
		violation("Table %u was not requested.", source.relid);

	return relation;
}

/*
 * Reads an announcement: exactly the columns that the source lists, with
 * their types.
 */
static void
read_announcement(FormatReader *reader, NativeRelation *relation)
{
	StringInfo	message = &reader->message;
	Source	   *source = relation->source;
	int			ncolumns = pq_getmsgint(message, 2);
	int			expected = -1;

	if (ncolumns != bms_num_members(source->columns))
		violation("Table %u was announced with %d columns instead of %d.",
				  source->relid, ncolumns,
				  bms_num_members(source->columns));

	/* not valid again before all of it has been read */
	relation->announced = false;
	relation->ncolumns = ncolumns;
	if (relation->mistyped != NULL)
		pfree(relation->mistyped);
	relation->mistyped = NULL;

	for (int i = 0; i < ncolumns; i++)
	{
		int			attnum = pq_getmsgint(message, 2);
		Oid			type = pq_getmsgint(message, 4);
		Form_pg_attribute att;

		expected = bms_next_member(source->columns, expected);
		if (attnum != expected || attnum > source->desc->natts)
			violation("Column %d of table %u was announced out of order.",
					  attnum, source->relid);

		att = TupleDescAttr(source->desc, attnum - 1);
		relation->attnums[i] = attnum;
		if (type != att->atttypid && relation->mistyped == NULL)
		{
			MemoryContext old_context = MemoryContextSwitchTo(reader->context);

			relation->mistyped = psprintf("column \"%s\" had a different type",
										  NameStr(att->attname));
			MemoryContextSwitchTo(old_context);
		}
	}
	relation->announced = true;
}

/* Reads a value of "len" bytes. */
static Datum
read_value(FormatReader *reader, Form_pg_attribute att, int len)
{
	const char *bytes = pq_getmsgbytes(&reader->message, len);
	char	   *copy;

	if (att->attlen > 0 ? len != att->attlen :
		att->attlen != -1 || len < VARHDRSZ)
		violation("A value of column \"%s\" has %d bytes.",
				  NameStr(att->attname), len);

	/* fetch_att wants it aligned, and the bytes of the message are not */
	if (att->attbyval)
		copy = (char *) &reader->byval;
	else
		copy = MemoryContextAlloc(reader->message_context, len);
	memcpy(copy, bytes, len);

	if (att->attlen == -1 &&
		(!VARATT_IS_4B_U(copy) || (int) VARSIZE(copy) != len))
		violation("A value of column \"%s\" has a header that does not match its %d bytes.",
				  NameStr(att->attname), len);

	return fetch_att(copy, att->attbyval, att->attlen);
}

/*
 * Reads an image of a row, or skips it if its values have types that the
 * table no longer has.
 */
static void
read_image(FormatReader *reader, NativeRelation *relation, RowImage *row)
{
	for (int i = 0; i < relation->ncolumns; i++)
	{
		int			index = relation->attnums[i] - 1;
		int			len = pq_getmsgint(&reader->message, 4);

		if (relation->mistyped != NULL)
		{
			if (len != -1)
				pq_getmsgbytes(&reader->message, len);
			continue;
		}

		row->isnull[index] = len == -1;
		row->values[index] = (Datum) 0;
		if (len != -1)
			row->values[index] =
				read_value(reader,
						   TupleDescAttr(relation->source->desc, index), len);
	}
}

/* Reads the images of a changed row. */
static void
read_row_change(FormatReader *reader, NativeRelation *relation, int kind,
				RowChange *change)
{
	Source	   *source = relation->source;

	if (!relation->announced)
		violation("Table %u was not announced.", source->relid);

	if (kind != NATIVE_INSERT)
		read_image(reader, relation, &source->old_row);
	if (kind == NATIVE_INSERT || kind == NATIVE_UPDATE)
		read_image(reader, relation, &source->new_row);

	if (relation->mistyped != NULL)
	{
		change->kind = ROW_UNKNOWN;
		change->reason = relation->mistyped;
	}
	else if (kind == NATIVE_INSERT)
		change->kind = ROW_INSERT;
	else if (kind == NATIVE_UPDATE)
		change->kind = ROW_UPDATE;
	else
	{
		change->kind = ROW_DELETE;
		change->moves = kind == NATIVE_MOVE;
	}
}

/* Reads the reason why a change is unknown. */
static const char *
read_reason(FormatReader *reader)
{
	int			reason = pq_getmsgbyte(&reader->message);

	switch (reason)
	{
		case NATIVE_NO_IDENTITY:
			return REASON_NOT_COVERED;
		case NATIVE_NO_COLUMN:
			return "the table lacked a column in use";
		case NATIVE_TOO_LARGE:
			return psprintf("a change of a row is larger than %d MB",
							NATIVE_MAX_CHANGE / (1024 * 1024));
		default:
			violation("Unexpected reason %d of an unknown change.",
					  reason);
			return NULL;		/* keep compiler quiet */
	}
}

/* Reads the header of a message, which is of one transaction. */
static void
read_header(FormatReader *reader)
{
	StringInfo	message = &reader->message;
	int			version = pq_getmsgbyte(message);
	TransactionId xid;

	if (version != NATIVE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("output plugin \"%s\" wrote version %d of its protocol instead of version %d",
						NATIVE_PLUGIN_NAME, version, NATIVE_VERSION),
				 errdetail("The library loaded by this process and the output plugin have different versions."),
				 errhint("Restart the server.")));
	xid = pq_getmsgint(message, 4);
	reader->commit_lsn = pq_getmsgint64(message);
	reader->wanted = reader->consumer->wants(reader->consumer->arg, xid,
											 reader->commit_lsn);
}

/* Reads a record.  Returns whether it is a change. */
static bool
read_record(FormatReader *reader, RowChange *change)
{
	int			kind = pq_getmsgbyte(&reader->message);
	NativeRelation *relation = read_relation(reader);

	change->source = relation->source;
	change->commit_lsn = reader->commit_lsn;
	change->reason = NULL;
	change->moves = false;

	switch (kind)
	{
		case NATIVE_RELATION:
			read_announcement(reader, relation);
			return false;
		case NATIVE_INSERT:
		case NATIVE_UPDATE:
		case NATIVE_DELETE:
		case NATIVE_MOVE:
			read_row_change(reader, relation, kind, change);
			return true;
		case NATIVE_TRUNCATE:
			change->kind = ROW_TRUNCATE;
			return true;
		case NATIVE_PARTITION_TRUNCATE:
			change->kind = ROW_PARTITION_TRUNCATE;
			return true;
		case NATIVE_UNKNOWN:
			change->kind = ROW_UNKNOWN;
			change->reason = read_reason(reader);
			return true;
		default:
			violation("Unexpected record of kind %d.", kind);
			return false;		/* keep compiler quiet */
	}
}

/* Reads a message; see format.h. */
static void
native_reader_feed(FormatReader *reader, const char *data, int len)
{
	StringInfo	message = &reader->message;
	RowChange	change;

	MemoryContextReset(reader->message_context);

	/* initReadOnlyStringInfo came with PostgreSQL 17 */
	message->data = unconstify(char *, data);
	message->len = len;
	message->maxlen = 0;
	message->cursor = 0;

	read_header(reader);
	while (message->cursor < message->len)
		if (read_record(reader, &change) && reader->wanted)
			reader->consumer->change(reader->consumer->arg, &change);
}

/* Only its partitions: the plugin sees names and types as of the change. */
static List *
native_facts_of(List *facts, Oid relid, const Bitmapset *columns)
{
	return facts_add_partitions(facts, relid, NULL);
}

const Format format_native = {
	.name = "notify_stats",
	.plugin = NATIVE_PLUGIN_NAME,
	.binary = true,
	.resumable = true,
	.tells_moves = true,
	.facts_of = native_facts_of,
	.reader_create = native_reader_create,
	.reader_options = native_reader_options,
	.reader_feed = native_reader_feed
};
