/*-------------------------------------------------------------------------
 *
 * moved_row.c
 *	  Which deleted rows are on their way to another partition.
 *
 * An UPDATE that moves a row to another partition is a DELETE and an INSERT.
 * Logical decoding does not tell it from these two, but the record of the
 * DELETE does (XLH_DELETE_IS_PARTITION_MOVE), and an output plugin knows where
 * that starts.  So it is read once more.
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
	MemoryContext context;		/* of what the reader of the WAL allocates */
	XLogReaderState *xlog;
	MemoryContextCallback at_end;	/* of the context */
};

/*
 * Closes the file that the reader has open, which an error would leave
 * behind.
 */
static void
close_file(void *arg)
{
	MovedRowReader *reader = (MovedRowReader *) arg;

	if (reader->xlog->seg.ws_file >= 0)
		wal_segment_close(reader->xlog);
}

/*
 * Makes a reader in the current memory context.  It ends with that, also if
 * that is because of an error.
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
 * Whether the DELETE whose record starts there is the first half of an UPDATE
 * that moves a row to another partition.  The record has to be on disk, as all
 * that is decoded is.
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
