/*-------------------------------------------------------------------------
 *
 * start_point.c
 *	  Places in the WAL where decoding can begin.
 *
 * To decode, the server needs a snapshot of the catalogs.  If decoding begins
 * anywhere in the WAL, it builds that snapshot from the records that follow,
 * and misses changes of the catalogs that are committed while it does (known
 * upstream since November 2025, not fixed in 18.4).  The snapshot is certain in
 * two cases only:
 *
 * Quiet points: where a record of the running transactions lists none, the
 * snapshot is complete at once.  Such a record is found by reading the WAL
 * around the wanted place.
 *
 * Places that a slot has passed: decoding writes its snapshot to a file at each
 * record of the running transactions, and a slot's restart_lsn is such a place.
 * To find one, a temporary slot is moved on from an earlier start point without
 * decoding rows ("fast forward").  This costs a third to a half of decoding,
 * and is done where transactions run all the time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "storage/standbydefs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "compat.h"
#include "routine_message.h"
#include "start_point.h"
#include "wal_reader.h"

/* Returns the running transactions, if a record lists them, or NULL. */
static const xl_running_xacts *
running_transactions(XLogReaderState *record)
{
	if (XLogRecGetRmid(record) != RM_STANDBY_ID ||
		(XLogRecGetInfo(record) & ~XLR_INFO_MASK) != XLOG_RUNNING_XACTS)
		return NULL;
	return (const xl_running_xacts *) XLogRecGetData(record);
}

/* Returns whether a record is a quiet point. */
static bool
is_quiet(XLogReaderState *record, StartPoint *point)
{
	const xl_running_xacts *running = running_transactions(record);

	if (running == NULL || running->oldestRunningXid != running->nextXid)
		return false;
	point->restart_lsn = record->ReadRecPtr;
	point->lsn = record->EndRecPtr;
	point->catalog_xmin = running->nextXid;
	return true;
}

/*
 * Finds the first quiet point at "from" or after it, and before "before", which
 * must be on disk.  Reads the WAL from there on.  Returns false if there is
 * none.
 */
bool
start_point_find_quiet(XLogRecPtr from, XLogRecPtr before, StartPoint *point)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats start point",
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
			found = is_quiet(record, point) && point->lsn < before;
		}
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
	return found;
}

/*
 * Creates a temporary slot at a start point, and leaves it acquired.  As for a
 * copy of a slot, another slot must protect the WAL and the catalogs as of that
 * point until this one exists.
 */
void
start_point_create_slot(const StartPoint *point, const char *slot_name,
						const char *plugin)
{
	ReplicationSlot *slot;

	check_logical_decoding();
	create_temporary_slot(slot_name);
	slot = MyReplicationSlot;
	SpinLockAcquire(&slot->mutex);
	namestrcpy(&slot->data.plugin, plugin);
	slot->data.restart_lsn = point->restart_lsn;
	slot->data.confirmed_flush = point->lsn;
	slot->data.catalog_xmin = point->catalog_xmin;
	slot->effective_catalog_xmin = point->catalog_xmin;
	SpinLockRelease(&slot->mutex);
	ReplicationSlotMarkDirty();
	ReplicationSlotsComputeRequiredXmin(false);
	ReplicationSlotsComputeRequiredLSN();
}

/*
 * Moves a slot that no process uses to a start point, without reading the WAL
 * before it.
 */
void
start_point_move_slot(const StartPoint *point, const char *slot_name)
{
	acquire_slot(slot_name);
	LogicalConfirmReceivedLocation(point->lsn);
	/* as that position is confirmed, the rest takes effect at once */
	LogicalIncreaseXminForSlot(point->lsn, point->catalog_xmin);
	LogicalIncreaseRestartDecodingForSlot(point->lsn, point->restart_lsn);
	ReplicationSlotMarkDirty();
	ReplicationSlotRelease();
}

/* Sets a start point to the position of the slot that is acquired. */
static void
get_slot_position(StartPoint *point)
{
	ReplicationSlot *slot = MyReplicationSlot;

	SpinLockAcquire(&slot->mutex);
	point->lsn = slot->data.confirmed_flush;
	point->restart_lsn = slot->data.restart_lsn;
	point->catalog_xmin = slot->data.catalog_xmin;
	SpinLockRelease(&slot->mutex);
}

/*
 * Moves the acquired slot on, to the first record of the running transactions
 * that is wanted.  It is confirmed at each of them, as its restart_lsn could
 * otherwise only move to the first.
 */
static bool
fast_forward(XLogRecPtr from, XLogRecPtr before, uint64 max_overlap,
			 StartPoint *point)
{
	LogicalDecodingContext *decoding =
	CreateDecodingContext(InvalidXLogRecPtr, NIL, true, WAL_READER_ROUTINE,
						  NULL, NULL, NULL);
	XLogReaderState *record = decoding->reader;
	ResourceOwner owner = CurrentResourceOwner;
	bool		found = false;

	wal_close_with(decoding->context, record);
	XLogBeginRead(record, MyReplicationSlot->data.restart_lsn);
	while (!found && record->EndRecPtr < before)
	{
		wal_read_next(record);
		LogicalDecodingProcessRecord(decoding, record);
		CurrentResourceOwner = owner;
		if (running_transactions(record) == NULL ||
			record->EndRecPtr >= before ||
			record->EndRecPtr <= MyReplicationSlot->data.confirmed_flush)
			continue;
		LogicalConfirmReceivedLocation(record->EndRecPtr);
		get_slot_position(point);
		found = record->ReadRecPtr >= from &&
			point->lsn - point->restart_lsn <= max_overlap;
	}
	MemoryContextDelete(decoding->context);
	return found;
}

/*
 * Finds the first start point at "from" or after it, and before "before", by
 * moving a temporary slot of this name from a start point that is known.  To
 * decode from the result, no more than max_overlap bytes before it have to be
 * read; so none is found while a transaction is open for a long time.  Returns
 * false if there is none.  After an error, the server drops the slot.
 */
bool
start_point_find_after(const StartPoint *known, XLogRecPtr from,
					   XLogRecPtr before, uint64 max_overlap,
					   const char *slot_name, StartPoint *point)
{
	volatile bool found = false;

	start_point_create_slot(known, slot_name, EXTENSION_NAME);
	routine_message_drop(true);
	PG_TRY();
	{
		found = fast_forward(from, before, max_overlap, point);
	}
	PG_FINALLY();
	{
		routine_message_drop(false);
	}
	PG_END_TRY();
	ReplicationSlotRelease();
	ReplicationSlotDrop(slot_name, true);
	return found;
}
