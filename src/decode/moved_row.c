/*-------------------------------------------------------------------------
 *
 * moved_row.c
 *	  Detects deleted rows that are being moved to another partition.
 *
 * An UPDATE that moves a row to another partition is a DELETE and an INSERT.
 * Logical decoding does not distinguish it from these two.  The record of the
 * DELETE does (XLH_DELETE_IS_PARTITION_MOVE), and an output plugin knows where
 * that record starts.  So the record is read again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"

#include "moved_row.h"

struct MovedRowReader
{
	MemoryContext context;		/* of the memory of the WAL reader */
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
	MovedRowReader *reader = (MovedRowReader *) arg;

	if (reader->xlog->seg.ws_file >= 0)
		wal_segment_close(reader->xlog);
}

/*
 * Creates a reader in the current memory context.  The reader is closed when
 * the context is deleted, also after an error.
 */
MovedRowReader *
moved_row_reader_create(void)
{
	MovedRowReader *reader = palloc0(sizeof(MovedRowReader));

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

/* Reads the record that starts there. */
static void
read_record(MovedRowReader *reader, XLogRecPtr lsn)
{
	MemoryContext caller_context = MemoryContextSwitchTo(reader->context);
	char	   *error = NULL;

	XLogBeginRead(reader->xlog, lsn);
	if (XLogReadRecord(reader->xlog, &error) == NULL)
		elog(ERROR, "could not read WAL at %X/%X: %s",
			 LSN_FORMAT_ARGS(lsn), error ? error : "no record");
	MemoryContextSwitchTo(caller_context);
}

/*
 * Returns whether the DELETE whose record starts there is the first half of an
 * UPDATE that moves a row to another partition.  The record must be on disk,
 * which is true of all decoded records.
 */
bool
moved_row_at(MovedRowReader *reader, XLogRecPtr lsn)
{
	const xl_heap_delete *record;

	read_record(reader, lsn);
	if (XLogRecGetRmid(reader->xlog) != RM_HEAP_ID ||
		(XLogRecGetInfo(reader->xlog) & XLOG_HEAP_OPMASK) != XLOG_HEAP_DELETE)
		elog(ERROR, "unexpected WAL record at %X/%X",
			 LSN_FORMAT_ARGS(lsn));
	record = (const xl_heap_delete *) XLogRecGetData(reader->xlog);
	return (record->flags & XLH_DELETE_IS_PARTITION_MOVE) != 0;
}
