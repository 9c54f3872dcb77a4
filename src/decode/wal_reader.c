/*-------------------------------------------------------------------------
 *
 * wal_reader.c
 *	  Reading records of this server's WAL, as they are, without decoding.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogutils.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "wal_reader.h"

/* Interval at which it is checked whether the rest of a record is on disk. */
#define FLUSH_WAIT_MS 1

struct WalReader
{
	MemoryContext context;		/* of the memory of the server's reader */
	XLogReaderState *xlog;
};

/*
 * Reads a page of the WAL.  The last record may be only partly on disk.  The
 * server's function would then wait for the rest without checking for the
 * death of the postmaster, possibly forever.  So we wait here first.
 */
int
wal_read_page(XLogReaderState *xlog, XLogRecPtr page, int length,
			  XLogRecPtr record, char *buffer)
{
	while (GetFlushRecPtr(NULL) < page + length)
	{
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, FLUSH_WAIT_MS,
						 PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
	return read_local_xlog_page(xlog, page, length, record, buffer);
}

/* Reads the next record of a reader of the server, which must be on disk. */
void
wal_read_next(XLogReaderState *xlog)
{
	char	   *error = NULL;

	if (XLogReadRecord(xlog, &error) == NULL)
		elog(ERROR, "could not read WAL at " LSN_FORMAT ": %s",
			 LSN_FORMAT_ARGS(xlog->EndRecPtr), error ? error : "no record");
	CHECK_FOR_INTERRUPTS();
}

static void
close_file(void *arg)
{
	XLogReaderState *xlog = (XLogReaderState *) arg;

	if (xlog->seg.ws_file >= 0)
		wal_segment_close(xlog);
}

/*
 * Closes the file that a reader of the server has open when the memory context
 * in which the reader lives is deleted.  It would remain open after an error.
 */
void
wal_close_with(MemoryContext context, XLogReaderState *xlog)
{
	MemoryContextCallback *callback =
	MemoryContextAlloc(context, sizeof(MemoryContextCallback));

	callback->func = close_file;
	callback->arg = xlog;
	MemoryContextRegisterResetCallback(context, callback);
}

/*
 * Creates a reader in the current memory context.  It is closed when the
 * context is deleted, also after an error.
 */
WalReader *
wal_reader_create(void)
{
	WalReader  *reader = palloc0(sizeof(WalReader));

	reader->context = CurrentMemoryContext;
	reader->xlog = XLogReaderAllocate(wal_segment_size, NULL,
									  WAL_READER_ROUTINE, NULL);
	if (reader->xlog == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed while allocating a WAL reading processor.")));
	wal_close_with(reader->context, reader->xlog);
	return reader;
}

/* Returns the record that was read last, for the macros XLogRecGet.... */
XLogReaderState *
wal_reader_record(WalReader *reader)
{
	return reader->xlog;
}

/* Makes the record that starts at a position the next one. */
void
wal_reader_start(WalReader *reader, XLogRecPtr lsn)
{
	XLogBeginRead(reader->xlog, lsn);
}

/*
 * Makes the first record that starts at a position, or after it, the next one.
 * Returns false if the WAL there cannot be read.
 */
bool
wal_reader_start_after(WalReader *reader, XLogRecPtr lsn)
{
	MemoryContext caller_context = MemoryContextSwitchTo(reader->context);
	XLogRecPtr	first = find_next_record(reader->xlog, lsn);

	MemoryContextSwitchTo(caller_context);
	return !XLogRecPtrIsInvalid(first);
}

/* Reads the next record, which must be on disk. */
void
wal_reader_next(WalReader *reader)
{
	MemoryContext caller_context = MemoryContextSwitchTo(reader->context);

	wal_read_next(reader->xlog);
	MemoryContextSwitchTo(caller_context);
}
