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
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "miscadmin.h"
#include "utils/hsearch.h"

#include "compat.h"
#include "unread_wal.h"

static XLogReaderState *
open_wal(XLogRecPtr lsn)
{
	XLogReaderState *reader = XLogReaderAllocate(wal_segment_size, NULL,
												 XL_ROUTINE(.page_read = read_local_xlog_page,
															.segment_open = wal_segment_open,
															.segment_close = wal_segment_close),
												 NULL);

	if (reader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed while allocating a WAL reading processor.")));
	XLogBeginRead(reader, lsn);
	return reader;
}

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

/* Reads the next record. */
static void
read_record(XLogReaderState *reader)
{
	char	   *error = NULL;

	if (XLogReadRecord(reader, &error) == NULL)
		elog(ERROR, "could not read WAL at %X/%X: %s",
			 LSN_FORMAT_ARGS(reader->EndRecPtr), error ? error : "no record");
	CHECK_FOR_INTERRUPTS();
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
	HASHCTL		control = {.keysize = sizeof(TransactionId),
		.entrysize = sizeof(TransactionId),
	.hcxt = CurrentMemoryContext};
	HTAB	   *changers =
	hash_create("notify_stats transactions with changes", 64, &control,
				HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	XLogReaderState *reader = open_wal(restart);
	volatile bool found = false;

	PG_TRY();
	{
		while (!found && reader->EndRecPtr < end)
		{
			read_record(reader);
			if (reader->ReadRecPtr >= start)
				found = commits_change(reader, changers);
			note_change(reader, filenumbers, changers);
		}
	}
	PG_FINALLY();
	{
		XLogReaderFree(reader); /* with the file that it has open */
	}
	PG_END_TRY();
	hash_destroy(changers);
	return !found;
}
