/*-------------------------------------------------------------------------
 *
 * plugin.c
 *	  The output plugin notify_stats: writes the listed columns of the listed
 *	  tables, and nothing else.
 *
 * The plugin is configured by its options alone (see native_protocol.h for
 * these and for the output).  A table that they list is a *target*.  The
 * changes of a relation are changes of a target if it is the target itself, or
 * a partition below it; a *projection* maps the target's listed columns to
 * columns of the relation.  A relation may have several projections, for
 * instance if both a partition and its root are listed, and most relations
 * have none.
 *
 * Projections are found in the catalogs as they were when the change was
 * made, and cached for each relation.  The cached entries must be discarded
 * when the catalogs change, which a relcache callback reports.  Such a
 * callback cannot be unregistered, and no callback is called when decoding
 * ends with an error.  So a callback that accessed the memory of a decoding
 * session would eventually access freed memory.  (pgoutput has this problem:
 * a registration and a static pointer for each session.)  Therefore ours only
 * increments a generation.  Each entry stores the generation at which it was
 * resolved, and an entry of another generation is resolved again before use.
 * Decoding executes invalidations exactly at the points of the WAL at which
 * the catalogs change, also when it continues a transaction that has an older
 * snapshot.  So an entry of the current generation is valid.
 *
 * The records of a transaction are collected in one buffer, which is written
 * as a message at the commit, and earlier if it grows large.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/tupmacs.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "replication/logical.h"
#include "replication/output_plugin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "moved_row.h"
#include "native_protocol.h"
#include "plugin.h"

/* a message that exceeds this is written before the transaction ends */
#define MESSAGE_SIZE (64 * 1024)

/* a buffer of more than this is not kept for the next message */
#define LARGE_BUFFER (4 * 1024 * 1024)

/* maximum length in bytes of an option in an error message */
#define EXCERPT_SIZE 100

/* a table of the option "tables" */
typedef struct Target
{
	Oid			relid;			/* hash key */
	int			ncolumns;
	AttrNumber *attnums;		/* ascending */
	Oid		   *types;			/* of these columns, as last resolved */
	uint64		announced;		/* round in which these types were announced */
} Target;

/* how the tuples of a relation become rows of a target */
typedef struct Projection
{
	Target	   *target;
	AttrNumber *attnums;		/* in the relation, in the target's order */
	bool		complete;		/* does the relation have all the columns? */
	bool		covered;		/* does the WAL have their old values? */
	TransactionId told_xid;		/* the transaction in which a record has last
								 * named the relation as a partition */
} Projection;

/* a cached relation */
typedef struct RelationEntry
{
	Oid			relid;			/* hash key */
	uint64		generation;		/* at which this was resolved */
	MemoryContext context;		/* of what follows; NULL if never needed */
	int			nprojections;	/* 0: its changes are ignored */
	Projection *projections;
	int			natts;			/* highest attribute number in use */
	bool		full;			/* is the replica identity the whole row? */
	TupleTableSlot *old_slot;
	TupleTableSlot *new_slot;
} RelationEntry;

/* the state of a decoding session */
typedef struct PluginData
{
	MemoryContext context;		/* of all of this */
	MemoryContext change_context;	/* reset after each change */
	HTAB	   *targets;		/* of Target */
	HTAB	   *relations;		/* of RelationEntry */
	StringInfoData message;		/* records of the current transaction */
	bool		resumable;		/* each transaction is a round, else all are
								 * one */
	uint64		round;			/* of announcements; starts at 1 */
	bool		tells_moves;	/* writes 'M' records? */
	bool		ignored;		/* was the last change of no target? */
	WalReader  *wal;			/* NULL until needed */
} PluginData;

/*
 * The only state that outlives a session; see the top of the file.  The
 * generation starts at 1 as entries that were never resolved have 0.
 */
static bool callback_registered = false;
static uint64 catalog_generation = 1;

/* the server declares it itself from 16 on */
extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);

static void startup_cb(LogicalDecodingContext *ctx,
					   OutputPluginOptions *options, bool is_init);
static void shutdown_cb(LogicalDecodingContext *ctx);
static void begin_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
static void change_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
					  Relation relation, ReorderBufferChange *change);
static void truncate_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						int nrelations, Relation relations[],
						ReorderBufferChange *change);
static void commit_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
					  XLogRecPtr commit_lsn);
static void stream_abort_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							XLogRecPtr abort_lsn);

/*
 * Sets our callbacks.  There are none for streaming and for two-phase commit,
 * so every transaction is decoded as a whole when it commits, a prepared one
 * at COMMIT PREPARED.
 *
 * The exception is stream_abort_cb, without which 18 fails permanently.  When
 * it reaches the memory limit and discards a transaction that was rolled
 * back, it treats the subtransactions as streamed.
 */
void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = startup_cb;
	cb->begin_cb = begin_cb;
	cb->change_cb = change_cb;
	cb->truncate_cb = truncate_cb;
	cb->commit_cb = commit_cb;
	cb->stream_abort_cb = stream_abort_cb;
	cb->shutdown_cb = shutdown_cb;
}

/*
 * Returns whether these are the callbacks of this library.  They are not if it
 * was replaced after this process has loaded it.
 */
bool
plugin_is_ours(const OutputPluginCallbacks *callbacks)
{
	return callbacks->change_cb == change_cb;
}

/*
 * Returns whether the relation of the last change is neither a target nor a
 * partition of one.  The session must have our callbacks.
 */
bool
plugin_ignores_last_change(const LogicalDecodingContext *decoding)
{
	return ((const PluginData *) decoding->output_plugin_private)->ignored;
}

/* Returns a number that changes with any change of the catalogs. */
uint64
plugin_catalog_generation(void)
{
	return catalog_generation;
}

/*
 * Returns an option for an error message, truncated if it is long.  An option
 * may have a gigabyte, which is too much for the server log.
 */
static const char *
excerpt(const char *option)
{
	size_t		len = strlen(option);

	if (len <= EXCERPT_SIZE)
		return option;
	return psprintf("%.*s...", pg_mbcliplen(option, (int) len, EXCERPT_SIZE),
					option);
}

/* Throws for a value of the option "tables" that cannot be read. */
static void
throw_bad_tables(const char *value, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"tables\" of output plugin \"%s\": \"%s\"",
					NATIVE_PLUGIN_NAME, excerpt(value)),
			 errdetail_internal("%s", detail)));
}

/*
 * Reads a number from 1 to "max" off *cursor, written in canonical form.
 * "value" is the whole option, for the message.
 */
static uint32
parse_number(const char **cursor, uint32 max, const char *what,
			 const char *value)
{
	const char *start = *cursor;
	uint64		number = 0;

	while (**cursor >= '0' && **cursor <= '9' && number <= max)
		number = number * 10 + (*(*cursor)++ - '0');

	if (*start == '0' || number == 0 || number > max)
		throw_bad_tables(value,
						 psprintf("Expected %s from 1 to %u at position %d.",
								  what, max, (int) (start - value) + 1));

	return (uint32) number;
}

/* Reads one particular character off *cursor. */
static void
parse_character(const char **cursor, char expected, const char *value)
{
	if (**cursor != expected)
		throw_bad_tables(value,
						 psprintf("Expected \"%c\" at position %d.",
								  expected, (int) (*cursor - value) + 1));
	(*cursor)++;
}

/*
 * Reads the columns of a table off *cursor.  If there are none, its rows are
 * only counted.
 */
static Bitmapset *
parse_columns(const char **cursor, const char *value)
{
	Bitmapset  *columns = NULL;

	if (**cursor == ';' || **cursor == '\0')
		return NULL;

	for (;;)
	{
		int			attnum = parse_number(cursor, MaxHeapAttributeNumber,
										  "a column number", value);

		if (bms_is_member(attnum, columns))
			throw_bad_tables(value,
							 psprintf("Column %d is repeated.", attnum));
		columns = bms_add_member(columns, attnum);

		if (**cursor != ',')
			return columns;
		(*cursor)++;
	}
}

/* Reads one table with its columns off *cursor. */
static void
parse_table(PluginData *data, const char **cursor, const char *value)
{
	Oid			relid = parse_number(cursor, OID_MAX, "an OID", value);
	Target	   *target;
	bool		found;
	Bitmapset  *columns;
	int			attnum = -1;
	int			i = 0;

	parse_character(cursor, ':', value);
	columns = parse_columns(cursor, value);

	target = hash_search(data->targets, &relid, HASH_ENTER, &found);
	if (found)
		throw_bad_tables(value, psprintf("Table %u is repeated.", relid));

	target->ncolumns = bms_num_members(columns);
	target->attnums = palloc0(target->ncolumns * sizeof(AttrNumber));
	target->types = palloc0(target->ncolumns * sizeof(Oid));
	target->announced = 0;
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		target->attnums[i++] = attnum;
	bms_free(columns);
}

/* Fills the hash of targets from the option "tables". */
static void
parse_tables(PluginData *data, const char *value)
{
	const char *cursor = value;

	if (*value == '\0')
		return;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		parse_table(data, &cursor, value);
		if (*cursor == '\0')
			return;
		parse_character(&cursor, ';', value);
	}
}

/* Throws unless the caller uses our version of the protocol. */
static void
check_version(const char *value)
{
	char		ours[12];

	snprintf(ours, sizeof(ours), "%d", NATIVE_VERSION);
	if (strcmp(value, ours) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("output plugin \"%s\" does not support version \"%s\" of its protocol",
						NATIVE_PLUGIN_NAME, excerpt(value)),
				 errdetail("The installed library supports version %s only.",
						   ours),
				 errhint("If the library was replaced while the server was running, restart the server.")));
}

/* Reads an option that is on or off, if it is given. */
static void
parse_switch(const char *name, const char *value, bool *result)
{
	if (value != NULL && !parse_bool(value, result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\" of output plugin \"%s\": \"%s\"",
						name, NATIVE_PLUGIN_NAME, excerpt(value))));
}

/* Reads the options, each of them once. */
static void
parse_options(PluginData *data, List *options)
{
	const char *version = NULL;
	const char *tables = NULL;
	const char *resumable = NULL;
	const char *moves = NULL;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);
		const char **value = NULL;

		if (strcmp(option->defname, "version") == 0)
			value = &version;
		else if (strcmp(option->defname, "tables") == 0)
			value = &tables;
		else if (strcmp(option->defname, "resumable") == 0)
			value = &resumable;
		else if (strcmp(option->defname, "moves") == 0)
			value = &moves;
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized option of output plugin \"%s\": \"%s\"",
							NATIVE_PLUGIN_NAME, excerpt(option->defname))));

		if (*value != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" of output plugin \"%s\" is repeated",
							option->defname, NATIVE_PLUGIN_NAME)));
		if (option->arg == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" of output plugin \"%s\" needs a value",
							option->defname, NATIVE_PLUGIN_NAME)));
		*value = strVal(option->arg);
	}

	if (version == NULL || tables == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" of output plugin \"%s\" is missing",
						version == NULL ? "version" : "tables",
						NATIVE_PLUGIN_NAME)));

	/* the version first: the meaning of the rest depends on it */
	check_version(version);
	parse_tables(data, tables);
	parse_switch("resumable", resumable, &data->resumable);
	parse_switch("moves", moves, &data->tells_moves);
}

/* Starts a new generation, after any change of the catalogs. */
static void
relcache_callback(Datum arg, Oid relid)
{
	catalog_generation++;
}

/* Creates the state of a decoding session. */
static PluginData *
create_data(MemoryContext parent)
{
	MemoryContext context;
	PluginData *data;
	HASHCTL		ctl = {0};

	context = AllocSetContextCreate(parent, "notify_stats output plugin",
									ALLOCSET_DEFAULT_SIZES);
	data = MemoryContextAllocZero(context, sizeof(PluginData));
	data->context = context;
	data->change_context = AllocSetContextCreate(context,
												 "notify_stats change",
												 ALLOCSET_DEFAULT_SIZES);

	ctl.keysize = sizeof(Oid);
	ctl.hcxt = context;
	ctl.entrysize = sizeof(Target);
	data->targets = hash_create("notify_stats targets", 16, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.entrysize = sizeof(RelationEntry);
	data->relations = hash_create("notify_stats relations", 128, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	return data;
}

/* Starts a decoding session, or the creation of a slot, without options. */
static void
startup_cb(LogicalDecodingContext *ctx, OutputPluginOptions *options,
		   bool is_init)
{
	PluginData *data = create_data(ctx->context);
	MemoryContext old_context = MemoryContextSwitchTo(data->context);

	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	options->receive_rewrites = false;
	ctx->streaming = false;		/* in spite of stream_abort_cb */

	initStringInfo(&data->message);
	data->round = 1;
	if (!is_init)
		parse_options(data, ctx->output_plugin_options);
	ctx->output_plugin_private = data;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		callback_registered = true;
	}

	MemoryContextSwitchTo(old_context);
}

/* Ends a decoding session.  Not called if it ended with an error. */
static void
shutdown_cb(LogicalDecodingContext *ctx)
{
	PluginData *data = ctx->output_plugin_private;

	MemoryContextDelete(data->context);
	ctx->output_plugin_private = NULL;
}

/*
 * Returns a column if its values are in the relation's tuples, or else NULL.
 * Virtual generated columns exist since PostgreSQL 18.
 */
static Form_pg_attribute
get_stored_column(TupleDesc desc, int attnum)
{
	Form_pg_attribute att;

	if (attnum > desc->natts)
		return NULL;

	att = TupleDescAttr(desc, attnum - 1);
	if (att->attisdropped ||
		(att->attgenerated != '\0' &&
		 att->attgenerated != ATTRIBUTE_GENERATED_STORED))
		return NULL;

	return att;
}

/* As above, but finds the column by name. */
static Form_pg_attribute
get_stored_column_by_name(TupleDesc desc, const char *name)
{
	for (int attnum = 1; attnum <= desc->natts; attnum++)
	{
		Form_pg_attribute att = get_stored_column(desc, attnum);

		if (att != NULL && strcmp(NameStr(att->attname), name) == 0)
			return att;
	}

	return NULL;
}

/*
 * Finds the target's columns in the relation: by number if it is the target
 * itself, by name if it is a partition.  Returns false if it lacks one.
 */
static bool
map_columns(Projection *projection, TupleDesc target_desc, TupleDesc desc)
{
	Target	   *target = projection->target;

	for (int i = 0; i < target->ncolumns; i++)
	{
		Form_pg_attribute wanted = get_stored_column(target_desc,
													 target->attnums[i]);
		Form_pg_attribute att = wanted;

		if (wanted != NULL && desc != target_desc)
			att = get_stored_column_by_name(desc, NameStr(wanted->attname));
		if (att == NULL || att->atttypid != wanted->atttypid)
			return false;

		projection->attnums[i] = att->attnum;
		if (target->types[i] != att->atttypid)
		{
			target->types[i] = att->atttypid;
			target->announced = 0;
		}
	}

	return true;
}

/*
 * Returns whether the WAL has the old values of these columns.  If there are
 * none, only the existence of an old row matters.
 */
static bool
is_covered_by_identity(Relation relation, const AttrNumber *attnums,
					   int nattnums)
{
	Bitmapset  *identity;

	if (nattnums == 0 ||
		relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return true;
	if (relation->rd_rel->relreplident == REPLICA_IDENTITY_NOTHING)
		return false;

	identity = RelationGetIdentityKeyBitmap(relation);
	for (int i = 0; i < nattnums; i++)
	{
		if (!bms_is_member(attnums[i] - FirstLowInvalidHeapAttributeNumber,
						   identity))
			return false;
	}

	return true;
}

/* Adds the projection of a relation to a target: to itself or an ancestor. */
static void
add_projection(RelationEntry *entry, Relation relation, Target *target)
{
	Projection *projection = &entry->projections[entry->nprojections++];
	Relation	target_rel = relation;

	projection->target = target;
	projection->attnums =
		MemoryContextAlloc(entry->context,
						   target->ncolumns * sizeof(AttrNumber));

	if (target->relid != RelationGetRelid(relation))
		target_rel = RelationIdGetRelation(target->relid);
	projection->complete = RelationIsValid(target_rel) &&
		map_columns(projection, RelationGetDescr(target_rel),
					RelationGetDescr(relation));
	if (RelationIsValid(target_rel) && target_rel != relation)
		RelationClose(target_rel);

	if (!projection->complete)
		return;

	projection->covered = is_covered_by_identity(relation,
												 projection->attnums,
												 target->ncolumns);
	for (int i = 0; i < target->ncolumns; i++)
		entry->natts = Max(entry->natts, projection->attnums[i]);
}

/*
 * Returns the targets that a change of this relation changes: itself and its
 * ancestors, if they are listed.
 */
static List *
find_targets(PluginData *data, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	List	   *relids = list_make1_oid(relid);
	List	   *targets = NIL;
	ListCell   *lc;

	if (relation->rd_rel->relispartition)
		relids = list_concat(relids, get_partition_ancestors(relid));

	foreach(lc, relids)
	{
		Target	   *target = hash_search(data->targets, &lfirst_oid(lc),
										 HASH_FIND, NULL);

		if (target != NULL)
			targets = lappend(targets, target);
	}

	return targets;
}

/*
 * Finds a relation's projections in the catalogs as they are at this point of
 * the WAL.  Called in the change context, which holds the data needed only
 * here.
 */
static void
resolve_relation(PluginData *data, RelationEntry *entry, Relation relation)
{
	List	   *targets;
	ListCell   *lc;
	MemoryContext old_context;
	TupleDesc	desc;

	entry->nprojections = 0;
	entry->natts = 0;
	if (entry->context != NULL)
		MemoryContextReset(entry->context);

	targets = find_targets(data, relation);
	if (targets == NIL)
		return;

	if (entry->context == NULL)
		entry->context = AllocSetContextCreate(data->context,
											   "notify_stats relation",
											   ALLOCSET_SMALL_SIZES);
	entry->projections =
		MemoryContextAllocZero(entry->context,
							   list_length(targets) * sizeof(Projection));
	foreach(lc, targets)
		add_projection(entry, relation, lfirst(lc));
	entry->full = relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL;

	/*
	 * The slots get a copy of the descriptor: the relation's own may be freed
	 * by the next invalidation.  Its constraints are copied too, as they hold
	 * the values of columns that were added with a default, which older
	 * tuples lack.
	 */
	old_context = MemoryContextSwitchTo(entry->context);
	desc = CreateTupleDescCopyConstr(RelationGetDescr(relation));
	entry->old_slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	entry->new_slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	MemoryContextSwitchTo(old_context);
}

/* Returns the entry of a relation, valid at this point of the WAL. */
static RelationEntry *
get_relation_entry(PluginData *data, Relation relation)
{
	Oid			relid = RelationGetRelid(relation);
	RelationEntry *entry;
	bool		found;

	entry = hash_search(data->relations, &relid, HASH_ENTER, &found);
	if (!found)
	{
		entry->generation = 0;
		entry->context = NULL;
	}

	if (entry->generation != catalog_generation)
	{
		/* read it first, as invalidations may arrive while we resolve */
		uint64		generation = catalog_generation;

		resolve_relation(data, entry, relation);
		entry->generation = generation;
	}

	return entry;
}

/*
 * Adds room for a part of a message, with zeros as padding, and returns its
 * address, which is valid until the next call.
 */
static char *
add_part(StringInfo message, Size len)
{
	Size		padded = MAXALIGN(len);
	char	   *part;

	enlargeStringInfo(message, padded);
	part = message->data + message->len;
	memset(part + len, 0, padded - len);
	message->len += padded;
	return part;
}

/*
 * Begins a record, and the message that contains it if necessary.  Returns the
 * position of the record in the message.
 */
static int
begin_record(PluginData *data, ReorderBufferTXN *txn, char kind, Oid relid)
{
	StringInfo	message = &data->message;
	NativeRecord record = {0};
	int			start;

	if (message->len == 0)
	{
		NativeMessage header = {0};

		header.version = NATIVE_VERSION;
		header.xid = txn->xid;
		header.commit_lsn = txn->final_lsn;
		memcpy(add_part(message, sizeof(header)), &header, sizeof(header));
	}

	start = message->len;
	record.kind = kind;
	record.relid = relid;
	memcpy(add_part(message, sizeof(record)), &record, sizeof(record));
	return start;
}

static NativeRecord *
record_at(PluginData *data, int start)
{
	return (NativeRecord *) (data->message.data + start);
}

/* Ends a record, which has grown since it began. */
static void
end_record(PluginData *data, int start)
{
	record_at(data, start)->length =
		data->message.len - start - MAXALIGN(sizeof(NativeRecord));
}

/* Adds the record of an unknown change. */
static void
send_unknown(PluginData *data, ReorderBufferTXN *txn, Target *target,
			 char reason)
{
	int			start = begin_record(data, txn, NATIVE_UNKNOWN, target->relid);

	record_at(data, start)->reason = reason;
}

/* Announces the target's columns if they are new or have changed. */
static void
send_announcement(PluginData *data, ReorderBufferTXN *txn, Target *target)
{
	int			start;

	if (target->announced == data->round)
		return;

	start = begin_record(data, txn, NATIVE_RELATION, target->relid);
	record_at(data, start)->ncolumns = target->ncolumns;
	for (int i = 0; i < target->ncolumns; i++)
	{
		NativeColumn column = {0};

		column.attnum = target->attnums[i];
		column.type = target->types[i];
		memcpy(add_part(&data->message, sizeof(column)), &column,
			   sizeof(column));
	}
	end_record(data, start);
	target->announced = data->round;
}

/*
 * Names the relation, if it is a partition of the target: only the reader can
 * see whether it still is one.
 */
static void
send_partition(PluginData *data, ReorderBufferTXN *txn, Oid relid,
			   Projection *projection)
{
	Target	   *target = projection->target;
	int			start;

	if (relid == target->relid || projection->told_xid == txn->xid)
		return;
	start = begin_record(data, txn, NATIVE_PARTITION, target->relid);
	memcpy(add_part(&data->message, sizeof(relid)), &relid, sizeof(relid));
	end_record(data, start);
	projection->told_xid = txn->xid;
}

/*
 * Adds a value to an image.  A varlena has a short or a 4-byte header, and is
 * written with a 4-byte header.
 */
static void
send_value(StringInfo message, Form_pg_attribute att, Datum value)
{
	if (att->attbyval)
		memcpy(add_part(message, sizeof(Datum)), &value, sizeof(Datum));
	else if (att->attlen == -1)
	{
		const char *bytes = DatumGetPointer(value);
		int			len = VARSIZE_ANY_EXHDR(bytes);
		char	   *copy = add_part(message, len + VARHDRSZ);

		SET_VARSIZE(copy, len + VARHDRSZ);
		memcpy(VARDATA(copy), VARDATA_ANY(bytes), len);
	}
	else
	{
		/* cstring is a pseudo-type: no column has it */
		Assert(att->attlen > 0);
		memcpy(add_part(message, att->attlen), DatumGetPointer(value),
			   att->attlen);
	}
}

/* Adds an image: the target's columns of a row. */
static void
send_image(PluginData *data, Projection *projection, TupleTableSlot *slot)
{
	int			ncolumns = projection->target->ncolumns;
	char	   *nulls = add_part(&data->message, ncolumns);

	for (int i = 0; i < ncolumns; i++)
		nulls[i] = slot->tts_isnull[projection->attnums[i] - 1];
	for (int i = 0; i < ncolumns; i++)
	{
		int			index = projection->attnums[i] - 1;

		if (!slot->tts_isnull[index])
			send_value(&data->message,
					   TupleDescAttr(slot->tts_tupleDescriptor, index),
					   slot->tts_values[index]);
	}
}

/*
 * Stores a tuple in a slot, and deforms it as far as needed.  Returns
 * NULL if there is none.
 */
static TupleTableSlot *
store_tuple(RelationEntry *entry, TupleTableSlot *slot, HeapTuple tuple)
{
	if (tuple == NULL)
		return NULL;

	ExecStoreHeapTuple(tuple, slot, false);
	slot_getsomeattrs(slot, entry->natts);

	return slot;
}

/*
 * Returns the size of a value of varying length as send_value writes it,
 * without fetching or decompressing the value.
 */
static inline Size
value_size(Datum value)
{
	if (VARATT_IS_EXTERNAL(DatumGetPointer(value)) ||
		VARATT_IS_COMPRESSED(DatumGetPointer(value)))
		return toast_raw_datum_size(value);
	return VARSIZE_ANY(DatumGetPointer(value));
}

/*
 * Converts the target's columns of a row to the form that send_value expects.
 * This is done in place: the slot has no other use, and a second projection
 * uses the converted values.  Adds the size of the values of varying length
 * to *size.
 * Returns 0, or the reason why the change is unknown: the WAL lacks the
 * row, or a value of it, or the row alone is too large, in which case its
 * largest value was not even decompressed.
 *
 * A value that was moved out of line by an earlier change, and is not
 * changed by an update, is not in its new tuple.  If the column is in the
 * replica identity, the value is in the old tuple, for which the server
 * fetches such values.  No other tuple should lack a value.  If one does,
 * the change is written as unknown, since an error would stop the stream
 * permanently.
 */
static char
flatten_columns(Projection *projection, TupleTableSlot *slot,
				TupleTableSlot *old_slot, Size *size)
{
	Size		row_size = 0;

	if (slot == NULL)
		return NATIVE_NO_IDENTITY;

	for (int i = 0; i < projection->target->ncolumns; i++)
	{
		int			index = projection->attnums[i] - 1;
		Datum	   *value = &slot->tts_values[index];

		if (slot->tts_isnull[index] ||
			TupleDescAttr(slot->tts_tupleDescriptor, index)->attlen != -1)
			continue;

		row_size += value_size(*value);
		if (row_size > NATIVE_MAX_CHANGE)
			return NATIVE_TOO_LARGE;
		if (!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(*value)))
			*value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(*value));
		else if (old_slot != NULL && !old_slot->tts_isnull[index])
			*value = old_slot->tts_values[index];
		else
			return NATIVE_NO_IDENTITY;
	}

	*size += row_size;
	return 0;
}

/* Returns whether the target's columns are binary equal in both rows. */
static bool
is_same_image(Projection *projection, TupleTableSlot *old_slot,
			  TupleTableSlot *new_slot)
{
	for (int i = 0; i < projection->target->ncolumns; i++)
	{
		int			index = projection->attnums[i] - 1;
		Form_pg_attribute att = TupleDescAttr(new_slot->tts_tupleDescriptor,
											  index);

		if (old_slot->tts_isnull[index] != new_slot->tts_isnull[index])
			return false;
		if (!old_slot->tts_isnull[index] &&
			!datum_image_eq(old_slot->tts_values[index],
							new_slot->tts_values[index],
							att->attbyval, att->attlen))
			return false;
	}

	return true;
}

/*
 * Prepares the rows of a change of a target for sending, and adds their size
 * to *size.  Returns 0, or the reason why the change is unknown.
 */
static char
prepare_rows(Projection *projection, char kind,
			 TupleTableSlot *old_slot, TupleTableSlot *new_slot, Size *size)
{
	char		reason;

	if (kind == NATIVE_INSERT)
		return flatten_columns(projection, new_slot, NULL, size);

	/*
	 * a deleted row without listed columns has no values that could be
	 * missing
	 */
	if (kind != NATIVE_UPDATE && projection->target->ncolumns == 0)
		return 0;
	if (!projection->covered)
		return NATIVE_NO_IDENTITY;

	reason = flatten_columns(projection, old_slot, NULL, size);
	if (reason == 0 && kind == NATIVE_UPDATE)
		reason = flatten_columns(projection, new_slot, old_slot, size);
	return reason;
}

/*
 * Adds the record of a change of a relation for one target, if the change
 * affects it.  A slot is NULL if the WAL has no such tuple.  *sent
 * is the size of the data added for other targets, as one message must hold
 * all of it.
 */
static void
send_change(PluginData *data, ReorderBufferTXN *txn, RelationEntry *entry,
			Projection *projection, char kind,
			TupleTableSlot *old_slot, TupleTableSlot *new_slot, Size *sent)
{
	Target	   *target = projection->target;
	Size		size = *sent;
	char		reason;
	int			start;

	if (!projection->complete)
	{
		send_unknown(data, txn, target, NATIVE_NO_COLUMN);
		return;
	}

	/*
	 * An update comes without an old tuple if it changed no column of the
	 * replica identity.  If the identity is the whole row, there is always an
	 * old tuple.
	 */
	if (kind == NATIVE_UPDATE && projection->covered &&
		(target->ncolumns == 0 || (old_slot == NULL && !entry->full)))
		return;

	reason = prepare_rows(projection, kind, old_slot, new_slot, &size);
	if (reason == 0 && kind == NATIVE_UPDATE &&
		is_same_image(projection, old_slot, new_slot))
		return;
	if (reason == 0 && size > NATIVE_MAX_CHANGE)
		reason = NATIVE_TOO_LARGE;
	if (reason != 0)
	{
		send_unknown(data, txn, target, reason);
		return;
	}
	*sent = size;

	send_partition(data, txn, entry->relid, projection);
	send_announcement(data, txn, target);
	start = begin_record(data, txn, kind, target->relid);
	if (kind != NATIVE_INSERT)
		send_image(data, projection, old_slot);
	if (kind == NATIVE_INSERT || kind == NATIVE_UPDATE)
		send_image(data, projection, new_slot);
	end_record(data, start);
}

/* Empties a buffer, and frees its memory if it has grown very large. */
static void
empty_buffer(StringInfo buffer)
{
	resetStringInfo(buffer);
	if (buffer->maxlen > LARGE_BUFFER)
	{
		buffer->data = repalloc(buffer->data, MESSAGE_SIZE);
		buffer->maxlen = MESSAGE_SIZE;
	}
}

/* Writes the collected records as a message. */
static void
write_message(LogicalDecodingContext *ctx, PluginData *data)
{
	/* a callback writes only once, so this is always its last write */
	OutputPluginPrepareWrite(ctx, true);
	appendBinaryStringInfo(ctx->out, data->message.data, data->message.len);
	OutputPluginWrite(ctx, true);

	empty_buffer(&data->message);
	empty_buffer(ctx->out);
}

/* Begins a transaction.  Called when its commit is decoded. */
static void
begin_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	PluginData *data = ctx->output_plugin_private;

	resetStringInfo(&data->message);
	if (data->resumable)
		data->round++;
}

/* Returns whether to write a DELETE as a move to another partition. */
static bool
is_move(PluginData *data, Relation relation, ReorderBufferChange *change)
{
	if (!data->tells_moves || !relation->rd_rel->relispartition)
		return false;
	if (data->wal == NULL)
	{
		MemoryContext old_context = MemoryContextSwitchTo(data->context);

		data->wal = wal_reader_create();
		MemoryContextSwitchTo(old_context);
	}
	return moved_row_at(data->wal, change->lsn);
}

/* Adds the records of one changed row. */
static void
change_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
		  Relation relation, ReorderBufferChange *change)
{
	PluginData *data = ctx->output_plugin_private;
	MemoryContext old_context = MemoryContextSwitchTo(data->change_context);
	RelationEntry *entry = get_relation_entry(data, relation);

	data->ignored = entry->nprojections == 0;
	if (entry->nprojections > 0)
	{
		TupleTableSlot *old_slot;
		TupleTableSlot *new_slot;
		Size		sent = 0;
		char		kind;

		switch (change->action)
		{
			case REORDER_BUFFER_CHANGE_INSERT:
				kind = NATIVE_INSERT;
				break;
			case REORDER_BUFFER_CHANGE_UPDATE:
				kind = NATIVE_UPDATE;
				break;
			case REORDER_BUFFER_CHANGE_DELETE:
				kind = is_move(data, relation, change) ?
					NATIVE_MOVE : NATIVE_DELETE;
				break;
			default:
				elog(ERROR, "unexpected kind of change: %d",
					 (int) change->action);
		}

		old_slot = store_tuple(entry, entry->old_slot,
							   change_tuple(change->data.tp.oldtuple));
		new_slot = store_tuple(entry, entry->new_slot,
							   change_tuple(change->data.tp.newtuple));
		for (int i = 0; i < entry->nprojections; i++)
			send_change(data, txn, entry, &entry->projections[i], kind,
						old_slot, new_slot, &sent);
		ExecClearTuple(entry->old_slot);
		ExecClearTuple(entry->new_slot);

		/* limits the size of a message in a large transaction */
		if (data->message.len > MESSAGE_SIZE)
			write_message(ctx, data);
	}

	MemoryContextSwitchTo(old_context);
	MemoryContextReset(data->change_context);
}

/*
 * Adds the records of a TRUNCATE.  If it names a partitioned table, then its
 * partitions are among the relations as well.  If it names only a partition,
 * the rows that the tables above have lost are unknown.
 */
static void
truncate_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
			int nrelations, Relation relations[], ReorderBufferChange *change)
{
	PluginData *data = ctx->output_plugin_private;
	MemoryContext old_context = MemoryContextSwitchTo(data->change_context);
	List	   *done = NIL;

	/* the tables themselves: they are then skipped as ancestors */
	for (int i = 0; i < nrelations; i++)
	{
		Oid			relid = RelationGetRelid(relations[i]);

		if (hash_search(data->targets, &relid, HASH_FIND, NULL) != NULL)
			(void) begin_record(data, txn, NATIVE_TRUNCATE, relid);
		done = lappend_oid(done, relid);
	}

	for (int i = 0; i < nrelations; i++)
	{
		RelationEntry *entry = get_relation_entry(data, relations[i]);

		for (int j = 0; j < entry->nprojections; j++)
		{
			Target	   *target = entry->projections[j].target;

			if (list_member_oid(done, target->relid))
				continue;
			(void) begin_record(data, txn, NATIVE_PARTITION_TRUNCATE,
								target->relid);
			done = lappend_oid(done, target->relid);
		}
	}

	MemoryContextSwitchTo(old_context);
	MemoryContextReset(data->change_context);
}

/* Ends a transaction: writes the records since the last message. */
static void
commit_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
		  XLogRecPtr commit_lsn)
{
	PluginData *data = ctx->output_plugin_private;

	if (data->message.len > 0)
		write_message(ctx, data);
}

/* Does nothing: no changes of a rolled-back transaction were written. */
static void
stream_abort_cb(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				XLogRecPtr abort_lsn)
{
}
