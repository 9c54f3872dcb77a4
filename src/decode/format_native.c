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
 * Values of types that are passed by reference are used where they lie in the
 * message.  Only a message that is not aligned is copied as a whole.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"	/* for varatt.h, new in 16 */
#include "catalog/partition.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
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
	List	   *partitions;		/* OIDs of those that are known to be attached */
} NativeRelation;

struct FormatReader
{
	MemoryContext context;		/* of the reader */
	List	   *sources;		/* of Source, as the caller gave them */
	int			nrelations;
	NativeRelation *relations;	/* one per source, ascending by OID */
	const char *next;			/* how far the message was read */
	const char *end;
	char	   *copy;			/* of a message that is not aligned, or NULL */
	TransactionId xid;			/* of the message */
	XLogRecPtr	commit_lsn;		/* likewise */
	bool		wanted;			/* likewise */
	const ChangeConsumer *consumer;
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

/* Returns the next part of the message, of "len" bytes and its padding. */
static const char *
take_part(FormatReader *reader, Size len)
{
	const char *part = reader->next;

	if (len > (Size) (reader->end - part) ||
		MAXALIGN(len) > (Size) (reader->end - part))
		violation("A message ends within a record.");
	reader->next += MAXALIGN(len);
	return part;
}

/* Returns the entry of a source. */
static NativeRelation *
find_relation(FormatReader *reader, Oid relid)
{
	Source		source = {.relid = relid};
	NativeRelation key = {.source = &source};
	NativeRelation *relation;

	relation = bsearch(&key, reader->relations, reader->nrelations,
					   sizeof(NativeRelation), compare_relations);
	if (relation == NULL)
		violation("Table %u was not requested.", relid);

	return relation;
}

/*
 * Reads an announcement: exactly the columns that the source lists, with
 * their types.
 */
static void
read_announcement(FormatReader *reader, NativeRelation *relation, int ncolumns)
{
	Source	   *source = relation->source;
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
		const NativeColumn *column =
		(const NativeColumn *) take_part(reader, sizeof(NativeColumn));
		Form_pg_attribute att;

		expected = bms_next_member(source->columns, expected);
		if (column->attnum != expected ||
			column->attnum > source->desc->natts)
			violation("Column %d of table %u was announced out of order.",
					  column->attnum, source->relid);

		att = TupleDescAttr(source->desc, column->attnum - 1);
		relation->attnums[i] = column->attnum;
		if (column->type != att->atttypid && relation->mistyped == NULL)
		{
			MemoryContext old_context = MemoryContextSwitchTo(reader->context);

			relation->mistyped = psprintf("column \"%s\" had a different type",
										  NameStr(att->attname));
			MemoryContextSwitchTo(old_context);
		}
	}
	relation->announced = true;
}

/* Reads a value, which stays in the message if it is passed by reference. */
static Datum
read_value(FormatReader *reader, Form_pg_attribute att)
{
	const char *bytes;

	if (att->attbyval)
		return *(const Datum *) take_part(reader, sizeof(Datum));
	if (att->attlen > 0)
		return PointerGetDatum(take_part(reader, att->attlen));

	/* the header first: it has the length */
	bytes = reader->next;
	if (reader->end - bytes < VARHDRSZ || !VARATT_IS_4B_U(bytes) ||
		VARSIZE(bytes) < VARHDRSZ)
		violation("A value of column \"%s\" has an invalid header.",
				  NameStr(att->attname));
	return PointerGetDatum(take_part(reader, VARSIZE(bytes)));
}

/* Reads an image of a row. */
static void
read_image(FormatReader *reader, NativeRelation *relation, RowImage *row)
{
	const char *nulls = take_part(reader, relation->ncolumns);

	for (int i = 0; i < relation->ncolumns; i++)
	{
		int			index = relation->attnums[i] - 1;

		row->isnull[index] = nulls[i] != 0;
		row->values[index] = nulls[i] != 0 ? (Datum) 0 :
			read_value(reader, TupleDescAttr(relation->source->desc, index));
	}
}

/*
 * Reads the images of a changed row, or skips them if their values have types
 * that the table no longer has.
 */
static void
read_row_change(FormatReader *reader, NativeRelation *relation,
				const NativeRecord *record, RowChange *change)
{
	Source	   *source = relation->source;
	int			kind = record->kind;

	if (!relation->announced)
		violation("Table %u was not announced.", source->relid);
	if (relation->mistyped != NULL)
	{
		(void) take_part(reader, record->length);
		change->kind = ROW_UNKNOWN;
		change->reason = relation->mistyped;
		return;
	}

	if (kind != NATIVE_INSERT)
		read_image(reader, relation, &source->old_row);
	if (kind == NATIVE_INSERT || kind == NATIVE_UPDATE)
		read_image(reader, relation, &source->new_row);
	change->kind = kind == NATIVE_INSERT ? ROW_INSERT :
		kind == NATIVE_UPDATE ? ROW_UPDATE : ROW_DELETE;
	change->moves = kind == NATIVE_MOVE;
}

static bool
is_attached(Oid partition, Oid source)
{
	return get_rel_relispartition(partition) &&
		list_member_oid(get_partition_ancestors(partition), source);
}

/*
 * Whether a partition of which there are changes still belongs to the source.
 * If it does not, its rows have left the source without being deleted.  The
 * facts of the source do not show that if the partition was made after they
 * were collected.
 *
 * The transaction may have made the partition itself, and not have ended, for
 * example because it waits for a standby.  Only after its end can be seen
 * what it has made.
 */
static bool
is_still_attached(const FormatReader *reader, Oid partition, Oid source)
{
	if (is_attached(partition, source))
		return true;
	XactLockTableWait(reader->xid, NULL, NULL, XLTW_None);
	AcceptInvalidationMessages();
	return is_attached(partition, source);
}

/*
 * Reads the OID of a partition.  Returns whether the consumer must be told: it
 * is the first time in this peek, or the partition does not belong to the
 * source any more.
 */
static bool
read_partition(FormatReader *reader, NativeRelation *relation,
			   RowChange *change)
{
	Oid			partition = *(const Oid *) take_part(reader, sizeof(Oid));
	MemoryContext old_context;

	if (!reader->wanted || list_member_oid(relation->partitions, partition))
		return false;
	if (!is_still_attached(reader, partition, relation->source->relid))
	{
		change->kind = ROW_PARTITION_TRUNCATE;
		change->reason = "a partition with unread changes was detached or dropped";
		return true;
	}
	old_context = MemoryContextSwitchTo(reader->context);
	relation->partitions = lappend_oid(relation->partitions, partition);
	MemoryContextSwitchTo(old_context);
	change->kind = ROW_PARTITION;
	change->partition = partition;
	return true;
}

/* Returns the reason why a change is unknown. */
static const char *
describe_reason(int reason)
{
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
	const NativeMessage *header = (const NativeMessage *) reader->next;

	/* another version may have another header */
	if (reader->end > reader->next && header->version != NATIVE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("output plugin \"%s\" wrote version %d of its protocol instead of version %d",
						NATIVE_PLUGIN_NAME, header->version, NATIVE_VERSION),
				 errdetail("The library loaded by this process and the output plugin have different versions."),
				 errhint("Restart the server.")));
	(void) take_part(reader, sizeof(NativeMessage));
	reader->xid = header->xid;
	reader->commit_lsn = header->commit_lsn;
	reader->wanted = reader->consumer->wants(reader->consumer->arg,
											 header->xid, header->commit_lsn);
}

/* Reads a record.  Returns whether it is a change. */
static bool
read_record(FormatReader *reader, RowChange *change)
{
	const NativeRecord *record =
	(const NativeRecord *) take_part(reader, sizeof(NativeRecord));
	NativeRelation *relation = find_relation(reader, record->relid);

	change->source = relation->source;
	change->commit_lsn = reader->commit_lsn;
	change->reason = NULL;
	change->moves = false;

	switch (record->kind)
	{
		case NATIVE_RELATION:
			read_announcement(reader, relation, record->ncolumns);
			return false;
		case NATIVE_INSERT:
		case NATIVE_UPDATE:
		case NATIVE_DELETE:
		case NATIVE_MOVE:
			read_row_change(reader, relation, record, change);
			return true;
		case NATIVE_TRUNCATE:
			change->kind = ROW_TRUNCATE;
			return true;
		case NATIVE_PARTITION_TRUNCATE:
			change->kind = ROW_PARTITION_TRUNCATE;
			return true;
		case NATIVE_PARTITION:
			return read_partition(reader, relation, change);
		case NATIVE_UNKNOWN:
			change->kind = ROW_UNKNOWN;
			change->reason = describe_reason(record->reason);
			return true;
		default:
			violation("Unexpected record of kind %d.", record->kind);
			return false;		/* keep compiler quiet */
	}
}

/* Makes the message begin at an aligned address. */
static const char *
align_message(FormatReader *reader, const char *data, int len)
{
	if (reader->copy != NULL)
		pfree(reader->copy);
	reader->copy = NULL;
	if (data == (const char *) MAXALIGN(data))
		return data;
	reader->copy = MemoryContextAllocHuge(reader->context, Max(len, 1));
	memcpy(reader->copy, data, len);
	return reader->copy;
}

/* Reads a message; see format.h. */
static void
native_reader_feed(FormatReader *reader, const char *data, int len)
{
	RowChange	change;

	reader->next = align_message(reader, data, len);
	reader->end = reader->next + len;
	read_header(reader);
	while (reader->next < reader->end)
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
