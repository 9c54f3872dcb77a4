/*-------------------------------------------------------------------------
 *
 * quiet_point.c
 *	  Places in the WAL where decoding can begin.
 *
 * To decode, the server needs a snapshot of the catalogs.  If decoding begins
 * anywhere in the WAL, it builds that snapshot from the records that follow,
 * and misses changes of the catalogs that are committed while it does (known
 * upstream since November 2025, not fixed in 18.4).  But where the WAL has a
 * record of the running transactions that lists none, the snapshot is complete
 * at once.
 *
 * No transaction spans such a place.  So it also divides the WAL into parts
 * that can be decoded independently.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "storage/standbydefs.h"
#include "utils/memutils.h"

#include "quiet_point.h"
#include "wal_reader.h"

/* Returns whether a record lists the running transactions and there are none. */
static bool
is_quiet(XLogReaderState *record, QuietPoint *point)
{
	const xl_running_xacts *running;

	if (XLogRecGetRmid(record) != RM_STANDBY_ID ||
		(XLogRecGetInfo(record) & ~XLR_INFO_MASK) != XLOG_RUNNING_XACTS)
		return false;
	running = (const xl_running_xacts *) XLogRecGetData(record);
	if (running->oldestRunningXid != running->nextXid)
		return false;
	point->record = record->ReadRecPtr;
	point->end = record->EndRecPtr;
	point->next_xid = running->nextXid;
	return true;
}

/*
 * Finds the first quiet point that starts at "from" or after it, and ends
 * before "before", which must be on disk.  Reads the WAL from there on.
 * Returns false if there is none.
 */
bool
quiet_point_find(XLogRecPtr from, XLogRecPtr before, QuietPoint *point)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats quiet point",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	WalReader  *reader = wal_reader_create();
	XLogReaderState *record = wal_reader_record(reader);
	bool		found = false;

	/* the server waits for WAL that does not exist yet */
	if (from < before && wal_reader_start_after(reader, from))
	{
		while (!found && record->EndRecPtr < before)
		{
			wal_reader_next(reader);
			found = is_quiet(record, point) && point->end < before;
		}
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
	return found;
}
