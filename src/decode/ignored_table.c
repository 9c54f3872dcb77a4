/*-------------------------------------------------------------------------
 *
 * ignored_table.c
 *	  Leaving out the changes of tables that the output plugin ignores.
 *
 * The server decodes and queues the changes of all tables, and calls the
 * output plugin for each when the transaction commits.  Where most changes are
 * of tables that no rollup reads, that is most of the cost.  So the files of
 * tables whose change the plugin has ignored are remembered, and later changes
 * of these files are not queued.
 *
 * For such a record the server's state changes as in fast-forward mode:
 * transactions get their entry and base snapshot, on which restart_lsn and
 * catalog_xmin of the slot depend.  So the slot can be read again, from its
 * restart_lsn, when a rollup is created that reads the table.
 *
 * What the plugin has ignored is remembered for one generation of the
 * catalogs, which any invalidation ends (see plugin.c).  A committed change of
 * the catalogs is decoded, and its invalidations are executed, before any
 * record that depends on it is read.  Four cases need more care:
 *
 * - A transaction attaches a table as a partition, and then writes it.  The
 *	 invalidations are executed at its commit, after its changes were read.
 *	 They are also logged after each command.  So nothing is left out while a
 *	 transaction is open that has logged any.
 *
 * - The chunks of a TOASTed value come before the row, in the same transaction.
 *	 Chunks without their row would be taken for those of the next row.  That is
 *	 an error if its table has no TOAST table.  Chunks without the first one are
 *	 an error, too.  So a table is remembered together with its TOAST table, and
 *	 its changes are left out for transactions only of which no record was read
 *	 before.  When a transaction that has logged invalidations ends, all tables
 *	 are forgotten.  Once a chunk is left out, so are those after it, even if
 *	 such a transaction begins between two of them.  A transaction writes no
 *	 other rows between the chunks and their row.  A row without its chunks can be decoded if
 *	 the plugin ignores it.
 *
 * - A speculative insertion (ON CONFLICT) is confirmed, or undone, by a second
 *	 record, which must have the same fate as the first.
 *
 * - The file of a dropped table may be used for another one.  Both changes of
 *	 the catalogs end the generation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlogreader.h"
#include "nodes/pg_list.h"
#include "replication/reorderbuffer.h"
#include "replication/snapbuild.h"
#include "storage/standbydefs.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "ignored_table.h"
#include "plugin.h"

typedef struct IgnoredFile
{
	WalRelation file;			/* hash key */
	TransactionId first_xid;	/* earlier ones may have changes in the queue */
} IgnoredFile;

struct IgnoredTables
{
	MemoryContext context;
	HTAB	   *files;			/* of IgnoredFile; NULL: none */
	uint64		generation;		/* of the catalogs, for which they hold */
	TransactionId last_xid;		/* the last one of which a record was read */

	/* xids (as OIDs, since lists of xids exist since 16 only) */
	List	   *altering;		/* in progress, have logged invalidations */
	List	   *speculative;	/* whose speculative insertion was left out */
	List	   *chunks;			/* whose last change was a left-out chunk */
};

/* Creates an empty set, in the current memory context. */
IgnoredTables *
ignored_tables_create(void)
{
	IgnoredTables *tables = palloc0(sizeof(IgnoredTables));

	tables->context = CurrentMemoryContext;
	return tables;
}

static void
forget_files(IgnoredTables *tables)
{
	HASHCTL		ctl = {0};

	if (tables->files != NULL)
		hash_destroy(tables->files);
	ctl.keysize = sizeof(WalRelation);
	ctl.entrysize = sizeof(IgnoredFile);
	ctl.hcxt = tables->context;
	tables->files = hash_create("notify_stats ignored tables", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Forgets them until the plugin ignores changes again. */
static void
forget_tables(IgnoredTables *tables)
{
	tables->generation = 0;		/* they start at 1 */
}

static void
add_file(IgnoredTables *tables, Relation relation)
{
	WalRelation file = relation_file(relation);
	bool		found;
	IgnoredFile *entry = hash_search(tables->files, &file, HASH_ENTER, &found);

	if (found)
		return;
	entry->first_xid = tables->last_xid;
	TransactionIdAdvance(entry->first_xid);
}

/*
 * Remembers a table whose change the plugin has just ignored.  Must be called
 * while the snapshot is set with which the change is decoded.
 */
void
ignored_tables_add(IgnoredTables *tables, Relation relation)
{
	uint64		generation = plugin_catalog_generation();
	Oid			toast_relid = relation->rd_rel->reltoastrelid;

	if (tables->files == NULL || tables->generation != generation)
		forget_files(tables);
	tables->generation = generation;
	if (OidIsValid(toast_relid))
	{
		Relation	toast = RelationIdGetRelation(toast_relid);

		if (!RelationIsValid(toast))
			return;
		add_file(tables, toast);
		RelationClose(toast);
	}
	add_file(tables, relation);
}

/*
 * Transactions
 */

static void
forget_xid(IgnoredTables *tables, TransactionId xid)
{
	if (list_member_oid(tables->altering, xid))
		forget_tables(tables);
	tables->altering = list_delete_oid(tables->altering, xid);
	tables->speculative = list_delete_oid(tables->speculative, xid);
	tables->chunks = list_delete_oid(tables->chunks, xid);
}

/* Returns whether any transaction is listed. */
static bool
lists_any(const IgnoredTables *tables)
{
	return tables->altering != NIL || tables->speculative != NIL ||
		tables->chunks != NIL;
}

static void
forget_ended(IgnoredTables *tables, TransactionId xid, TransactionId prepared,
			 int nsubxacts, const TransactionId *subxacts)
{
	forget_xid(tables, TransactionIdIsValid(prepared) ? prepared : xid);
	for (int i = 0; i < nsubxacts; i++)
		forget_xid(tables, subxacts[i]);
}

static List *
without_old(List *xids, TransactionId oldest)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, xids)
	{
		if (!TransactionIdPrecedes(lfirst_oid(lc), oldest))
			result = lappend_oid(result, lfirst_oid(lc));
	}
	list_free(xids);
	return result;
}

/*
 * Discards a transaction of which no change is in the queue.  Otherwise the
 * server would start a subtransaction, set a snapshot, and call the plugin, to
 * replay nothing.
 */
static void
discard_if_empty(LogicalDecodingContext *decoding)
{
	ReorderBuffer *reorder = decoding->reorder;
	TransactionId xid = XLogRecGetXid(decoding->reader);
	const ReorderBufferTXN *txn;

	if (SnapBuildCurrentState(decoding->snapshot_builder) !=
		SNAPBUILD_CONSISTENT ||
		!ReorderBufferXidHasBaseSnapshot(reorder, xid))
		return;
	/* the last one that was looked up */
	txn = reorder->by_txn_last_txn;
	if (reorder->by_txn_last_xid != xid || txn == NULL ||
		txn->nentries > 0 || txn->nsubtxns > 0 || txn->ninvalidations > 0 ||
		rbtxn_has_catalog_changes(txn) || rbtxn_is_known_subxact(txn))
		return;
	ReorderBufferForget(reorder, xid, decoding->reader->ReadRecPtr);
}

static void
note_transaction_record(IgnoredTables *tables,
						LogicalDecodingContext *decoding)
{
	XLogReaderState *record = decoding->reader;
	uint8		info = XLogRecGetInfo(record);
	TransactionId xid = XLogRecGetXid(record);

	switch (info & XLOG_XACT_OPMASK)
	{
		case XLOG_XACT_INVALIDATIONS:
			if (TransactionIdIsValid(xid))
				tables->altering =
					list_append_unique_oid(tables->altering, xid);
			break;
		case XLOG_XACT_COMMIT:
			discard_if_empty(decoding);
			pg_fallthrough;
		case XLOG_XACT_COMMIT_PREPARED:
			if (lists_any(tables))
			{
				xl_xact_parsed_commit parsed;

				ParseCommitRecord(info, (xl_xact_commit *) XLogRecGetData(record),
								  &parsed);
				forget_ended(tables, xid, parsed.twophase_xid,
							 parsed.nsubxacts, parsed.subxacts);
			}
			break;
		case XLOG_XACT_ABORT:
		case XLOG_XACT_ABORT_PREPARED:
			if (lists_any(tables))
			{
				xl_xact_parsed_abort parsed;

				ParseAbortRecord(info, (xl_xact_abort *) XLogRecGetData(record),
								 &parsed);
				forget_ended(tables, xid, parsed.twophase_xid,
							 parsed.nsubxacts, parsed.subxacts);
			}
			break;
		default:
			break;
	}
}

/* Forgets transactions that a crash has ended, without a record of that. */
static void
note_running_transactions(IgnoredTables *tables, XLogReaderState *record)
{
	const xl_running_xacts *running =
	(const xl_running_xacts *) XLogRecGetData(record);

	if ((XLogRecGetInfo(record) & ~XLR_INFO_MASK) != XLOG_RUNNING_XACTS)
		return;
	if (!lists_any(tables))
		return;
	if (tables->altering != NIL)
		forget_tables(tables);
	tables->altering = without_old(tables->altering,
								   running->oldestRunningXid);
	tables->speculative = without_old(tables->speculative,
									  running->oldestRunningXid);
	tables->chunks = without_old(tables->chunks, running->oldestRunningXid);
}

/*
 * Changes
 */

static bool
is_ignored(const IgnoredTables *tables, XLogReaderState *record)
{
	WalRelation file;
	const IgnoredFile *entry;

	if (tables->files == NULL || tables->altering != NIL ||
		tables->generation != plugin_catalog_generation())
		return false;
	XLogRecGetBlockTag(record, 0, &file, NULL, NULL);
	entry = hash_search(tables->files, &file, HASH_FIND, NULL);
	return entry != NULL &&
		TransactionIdFollowsOrEquals(XLogRecGetXid(record), entry->first_xid);
}

/* The same for a record of rows, not of chunks: so their chunks are complete. */
static bool
is_ignored_row(IgnoredTables *tables, XLogReaderState *record)
{
	if (tables->chunks != NIL)
		tables->chunks = list_delete_oid(tables->chunks,
										 XLogRecGetXid(record));
	return is_ignored(tables, record);
}

/* Returns whether to leave out a chunk of a value, as those before it. */
static bool
is_left_out_chunk(IgnoredTables *tables, XLogReaderState *record)
{
	TransactionId xid = XLogRecGetXid(record);

	if (list_member_oid(tables->chunks, xid))
		return true;
	if (!is_ignored(tables, record))
		return false;
	tables->chunks = lappend_oid(tables->chunks, xid);
	return true;
}

/* Returns whether to leave out an insertion; notes it if it is speculative. */
static bool
is_left_out_insertion(IgnoredTables *tables, XLogReaderState *record)
{
	const xl_heap_insert *insertion =
	(const xl_heap_insert *) XLogRecGetData(record);

	if (insertion->flags & XLH_INSERT_ON_TOAST_RELATION)
		return is_left_out_chunk(tables, record);
	if (!is_ignored_row(tables, record))
		return false;
	if (insertion->flags & XLH_INSERT_IS_SPECULATIVE)
		tables->speculative = list_append_unique_oid(tables->speculative,
													 XLogRecGetXid(record));
	return true;
}

/* Returns whether the insertion to which a record belongs was left out. */
static bool
was_left_out(IgnoredTables *tables, TransactionId xid)
{
	bool		result = list_member_oid(tables->speculative, xid);

	if (result)
		tables->speculative = list_delete_oid(tables->speculative, xid);
	return result;
}

/* Returns whether to leave out a record of a table's rows. */
static bool
is_left_out(IgnoredTables *tables, XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & XLOG_HEAP_OPMASK;

	if (XLogRecGetRmid(record) == RM_HEAP2_ID)
		return info == XLOG_HEAP2_MULTI_INSERT &&
			is_ignored_row(tables, record);
	switch (info)
	{
		case XLOG_HEAP_INSERT:
			return is_left_out_insertion(tables, record);
		case XLOG_HEAP_UPDATE:
		case XLOG_HEAP_HOT_UPDATE:
			return is_ignored_row(tables, record);
		case XLOG_HEAP_DELETE:
			if (((const xl_heap_delete *) XLogRecGetData(record))->flags &
				XLH_DELETE_IS_SUPER)
				return was_left_out(tables, XLogRecGetXid(record));
			return is_ignored_row(tables, record);
		case XLOG_HEAP_CONFIRM:
			return was_left_out(tables, XLogRecGetXid(record));
		default:
			return false;
	}
}

/*
 * Called for each record that was read, before it is decoded.  Returns true if
 * it is a change of an ignored table: then it must not be decoded.
 */
bool
ignored_tables_leave_out(IgnoredTables *tables,
						 LogicalDecodingContext *decoding)
{
	XLogReaderState *record = decoding->reader;
	TransactionId xid = XLogRecGetXid(record);
	RmgrId		rmid = XLogRecGetRmid(record);
	MemoryContext context;
	bool		left_out = false;

	context = MemoryContextSwitchTo(tables->context);
	if (rmid == RM_HEAP_ID || rmid == RM_HEAP2_ID)
		left_out = is_left_out(tables, record);
	else if (rmid == RM_XACT_ID)
		note_transaction_record(tables, decoding);
	else if (rmid == RM_STANDBY_ID)
		note_running_transactions(tables, record);
	MemoryContextSwitchTo(context);

	if (TransactionIdIsValid(xid) &&
		(!TransactionIdIsValid(tables->last_xid) ||
		 TransactionIdFollows(xid, tables->last_xid)))
		tables->last_xid = xid;
	if (left_out)
	{
		TransactionId top_xid = XLogRecGetTopXid(record);

		/* as LogicalDecodingProcessRecord() does in fast-forward mode */
		if (TransactionIdIsValid(top_xid))
			ReorderBufferAssignChild(decoding->reorder, top_xid, xid,
									 record->ReadRecPtr);
		ReorderBufferProcessXid(decoding->reorder, xid, record->ReadRecPtr);
		(void) SnapBuildProcessChange(decoding->snapshot_builder, xid,
									  record->ReadRecPtr);
	}
	return left_out;
}
