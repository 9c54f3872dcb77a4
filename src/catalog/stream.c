/*-------------------------------------------------------------------------
 *
 * stream.c
 *	  The main stream's row in the catalog.
 *
 * The row holds the position and the slot.  It is written in the transaction
 * that writes the rollups.  To write the row or the rollups, a process holds
 * the lock of stream_lock until that transaction ends.  This applies to a
 * cycle of the worker or of catch_up(), the join of a build, the creation or
 * loss of the slot, and prepare_upgrade().  Readers take no lock.
 *
 * This lock is taken first.  The locks on rollups and sources come next, and
 * are taken only if they are free (busy_lock.c).  If one is not, the
 * transaction ends, which also releases this lock, before the process waits.
 * The slot comes last: a process that holds it open never waits for this lock
 * (main_stream.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "facts.h"
#include "settings.h"
#include "stream.h"

static bool
lock(bool wait)
{
	LOCKTAG		tag;

	/*
	 * Locks on relations have another kind of tag.  So no other code locks
	 * this object of pg_class.
	 */
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   catalog_table(CATALOG_STREAM), 0);
	return LockAcquire(&tag, ExclusiveLock, false,
					   !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Makes this transaction the only one that may advance the main stream; waits
 * for the lock.  It is not a lock on the table, so it does not block readers
 * or vacuum.
 */
void
stream_lock(void)
{
	(void) lock(true);
}

/* The same, but only if the lock is free. */
bool
stream_try_lock(void)
{
	return lock(false);
}

static void
set_slot(StreamRow *row, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, STREAM_SLOT_NAME, desc, &isnull);
	char	   *format;

	row->has_slot = !isnull;
	if (isnull)
		return;
	row->slot_name = *DatumGetName(value);
	format = TextDatumGetCString(heap_getattr(tuple, STREAM_FORMAT, desc,
											  &isnull));
	row->format = format_lookup(format);
	if (row->format == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("replication slot \"%s\" has unrecognized format \"%s\"",
						NameStr(row->slot_name), format),
				 errhint("Restart the server to load the library that matches the extension.")));
	row->applied_lsn = DatumGetLSN(heap_getattr(tuple, STREAM_APPLIED_LSN,
												desc, &isnull));
}

/* Reads the current row.  Returns false if the extension is not installed. */
bool
stream_load(StreamRow *row)
{
	HeapTuple	tuple;
	TupleDesc	desc;
	Datum		value;
	bool		isnull;
	int64		done;

	memset(row, 0, sizeof(*row));
	if (!OidIsValid(catalog_table(CATALOG_STREAM)))
		return false;
	tuple = catalog_read_only_row(CATALOG_STREAM, &desc);
	set_slot(row, tuple, desc);
	value = heap_getattr(tuple, STREAM_UPGRADE_FROM, desc, &isnull);
	row->upgrade_from = isnull ? 0 : DatumGetInt64(value);
	value = heap_getattr(tuple, STREAM_UPGRADE_LSN, desc, &isnull);
	row->upgrade_lsn = isnull ? InvalidXLogRecPtr : DatumGetLSN(value);
	done = DatumGetInt64(heap_getattr(tuple, STREAM_SLOT_REQUESTS, desc,
									  &isnull));
	tuple = catalog_read_only_row(CATALOG_CONTROL, &desc);
	row->paused = row->upgrade_from != 0 ||
		DatumGetBool(heap_getattr(tuple, CONTROL_PAUSED, desc, &isnull));
	row->slot_request =
		DatumGetInt64(heap_getattr(tuple, CONTROL_SLOT_REQUESTS, desc,
								   &isnull));
	if (row->slot_request == done)
		row->slot_request = 0;
	return true;
}

/* The columns of the row to be written. */
typedef struct StreamUpdate
{
	Datum		values[STREAM_COLUMNS];
	bool		isnull[STREAM_COLUMNS];
	bool		replace[STREAM_COLUMNS];
} StreamUpdate;

static void
set_column(StreamUpdate *update, enum StreamColumn column, Datum value,
		   bool isnull)
{
	update->values[column - 1] = value;
	update->isnull[column - 1] = isnull;
	update->replace[column - 1] = true;
}

static void
write_row(const StreamUpdate *update)
{
	catalog_update_row(CATALOG_STREAM, update->values, update->isnull,
					   update->replace);
}

/* Sets the slot that the stream reads from now on, and a position. */
void
stream_set_slot(const char *slot_name, const Format *format, XLogRecPtr lsn)
{
	StreamUpdate update = {0};
	NameData	name;

	namestrcpy(&name, slot_name);
	set_column(&update, STREAM_SLOT_NAME, NameGetDatum(&name), false);
	set_column(&update, STREAM_FORMAT, CStringGetTextDatum(format->name),
			   false);
	set_column(&update, STREAM_APPLIED_LSN, LSNGetDatum(lsn), false);
	set_column(&update, STREAM_APPLIED_AT,
			   TimestampTzGetDatum(GetCurrentTimestamp()), false);
	write_row(&update);
	facts_store(facts_load(InvalidOid), NIL);
}

/* Records that the stream has no slot. */
void
stream_clear_slot(void)
{
	StreamUpdate update = {0};

	for (int column = STREAM_SLOT_NAME; column <= STREAM_APPLIED_AT; column++)
		set_column(&update, column, (Datum) 0, true);
	write_row(&update);
}

void
stream_set_applied(XLogRecPtr lsn)
{
	StreamUpdate update = {0};

	set_column(&update, STREAM_APPLIED_LSN, LSNGetDatum(lsn), false);
	set_column(&update, STREAM_APPLIED_AT,
			   TimestampTzGetDatum(GetCurrentTimestamp()), false);
	write_row(&update);
}

/*
 * Requests a new slot.  Requests are numbered: a cycle records in the stream's
 * row which one it has carried out, and never writes a row that users write.
 */
void
stream_request_slot(void)
{
	catalog_execute("UPDATE " EXTENSION_SCHEMA ".control SET slot_requests = slot_requests + 1",
					0, NULL, NULL, NULL);
}

void
stream_set_slot_request_done(int64 request)
{
	StreamUpdate update = {0};

	set_column(&update, STREAM_SLOT_REQUESTS, Int64GetDatum(request), false);
	write_row(&update);
}

/*
 * Records that this server is prepared for an upgrade, or with 0, that this
 * has ended.  Also records the position where the slot is left, which later
 * becomes the stream's own.
 */
void
stream_set_upgrade(uint64 system_identifier, XLogRecPtr lsn)
{
	StreamUpdate update = {0};

	set_column(&update, STREAM_UPGRADE_FROM, Int64GetDatum(system_identifier),
			   system_identifier == 0);
	set_column(&update, STREAM_UPGRADE_LSN, LSNGetDatum(lsn),
			   XLogRecPtrIsInvalid(lsn));
	write_row(&update);
}
