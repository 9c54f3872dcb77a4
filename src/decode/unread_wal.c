/*-------------------------------------------------------------------------
 *
 * unread_wal.c
 *	  Checks WAL that can no longer be decoded for relevant changes.
 *
 * A slot that the server has invalidated cannot be decoded, as the old rows of
 * the catalogs may have been vacuumed.  But its WAL often still exists, and
 * can be read without old catalogs as long as these have not changed: the
 * records contain the current file numbers of relations.  So it is read as
 * pg_waldump does.
 *
 * All unrecognized records count as changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlogreader.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "unread_wal.h"
#include "wal_reader.h"

/* Returns whether the reader's current record changes rows. */
static bool
changes_rows(XLogReaderState *reader)
{
	uint8		info = XLogRecGetInfo(reader);

	if (XLogRecGetRmid(reader) == RM_HEAP2_ID)
		return (info & XLOG_HEAP_OPMASK) == XLOG_HEAP2_MULTI_INSERT;
	if (XLogRecGetRmid(reader) != RM_HEAP_ID)
		return false;
	switch (info & XLOG_HEAP_OPMASK)
	{
		case XLOG_HEAP_INSERT:
		case XLOG_HEAP_DELETE:
		case XLOG_HEAP_UPDATE:
		case XLOG_HEAP_HOT_UPDATE:
			return true;
		default:
			return false;		/* a TRUNCATE changes the catalog */
	}
}

/* Returns whether it concerns one of these relations of this database. */
static bool
is_about(XLogReaderState *reader, List *filenumbers)
{
	WalRelation relation;

	XLogRecGetBlockTag(reader, 0, &relation, NULL, NULL);
	return wal_relation_database(relation) == MyDatabaseId &&
		list_member_oid(filenumbers, wal_relation_number(relation));
}

/*
 * Notes the transaction of a record that changes rows of one of the
 * relations.
 */
static void
note_change(XLogReaderState *reader, List *filenumbers, HTAB *changers)
{
	TransactionId xid = XLogRecGetXid(reader);

	if (changes_rows(reader) && is_about(reader, filenumbers))
		(void) hash_search(changers, &xid, HASH_ENTER, NULL);
}

/*
 * Returns whether it commits a transaction of this database that is in the
 * set, or has changed a catalog.
 */
static bool
commits_change(XLogReaderState *reader, HTAB *changers)
{
	uint8		info = XLogRecGetInfo(reader);
	xl_xact_parsed_commit commit;
	TransactionId xid;
	bool		found;

	if (XLogRecGetRmid(reader) != RM_XACT_ID ||
		((info & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT &&
		 (info & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT_PREPARED))
		return false;
	ParseCommitRecord(info, (xl_xact_commit *) XLogRecGetData(reader),
					  &commit);
	if (OidIsValid(commit.dbId) && commit.dbId != MyDatabaseId)
		return false;
	xid = TransactionIdIsValid(commit.twophase_xid) ?
		commit.twophase_xid : XLogRecGetXid(reader);
	found = commit.nmsgs > 0 ||
		hash_search(changers, &xid, HASH_FIND, NULL) != NULL;
	for (int i = 0; i < commit.nsubxacts && !found; i++)
		found = hash_search(changers, &commit.subxacts[i], HASH_FIND,
							NULL) != NULL;
	return found;
}

/*
 * Returns true if no transaction of this database whose commit record starts
 * in a range of the WAL has changed a catalog, or one of the relations with
 * these file numbers (OIDs).  "restart" is the start of a record, no later
 * than the records of such a transaction; the WAL from there on must exist.
 * "end" must be on disk.
 */
bool
unread_wal_is_irrelevant(XLogRecPtr restart, XLogRecPtr start, XLogRecPtr end,
						 List *filenumbers)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats unread WAL",
												  ALLOCSET_DEFAULT_SIZES);
	HASHCTL		control = {.keysize = sizeof(TransactionId),
		.entrysize = sizeof(TransactionId),
	.hcxt = context};
	HTAB	   *changers =
	hash_create("notify_stats transactions with changes", 64, &control,
				HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	WalReader  *reader = wal_reader_create();
	XLogReaderState *record = wal_reader_record(reader);
	bool		found = false;

	wal_reader_start(reader, restart);
	while (!found && record->EndRecPtr < end)
	{
		wal_reader_next(reader);
		if (record->ReadRecPtr >= start)
			found = commits_change(record, changers);
		note_change(record, filenumbers, changers);
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
	return !found;
}
