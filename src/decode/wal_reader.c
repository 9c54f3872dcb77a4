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
#include "utils/memutils.h"

#include "wal_reader.h"

struct WalReader
{
	MemoryContext context;		/* of the memory of the server's reader */
	XLogReaderState *xlog;
	MemoryContextCallback at_end;	/* of the context */
};

/*
 * Closes the file that the reader has open, which would remain open after an
 * error.
 */
static void
close_file(void *arg)
{
	WalReader  *reader = (WalReader *) arg;

	if (reader->xlog->seg.ws_file >= 0)
		wal_segment_close(reader->xlog);
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
									  XL_ROUTINE(.page_read = read_local_xlog_page,
												 .segment_open =
												 wal_segment_open,
												 .segment_close =
												 wal_segment_close),
									  NULL);
	if (reader->xlog == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed while allocating a WAL reading processor.")));
	reader->at_end.func = close_file;
	reader->at_end.arg = reader;
	MemoryContextRegisterResetCallback(reader->context, &reader->at_end);
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
	XLogRecPtr	first = XLogFindNextRecord(reader->xlog, lsn);

	MemoryContextSwitchTo(caller_context);
	return !XLogRecPtrIsInvalid(first);
}

/* Reads the next record, which must be on disk. */
void
wal_reader_next(WalReader *reader)
{
	MemoryContext caller_context = MemoryContextSwitchTo(reader->context);
	char	   *error = NULL;

	if (XLogReadRecord(reader->xlog, &error) == NULL)
		elog(ERROR, "could not read WAL at %X/%X: %s",
			 LSN_FORMAT_ARGS(reader->xlog->EndRecPtr), error ?
			 error : "no record");
	MemoryContextSwitchTo(caller_context);
	CHECK_FOR_INTERRUPTS();
}
