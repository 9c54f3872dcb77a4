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

#include "compat.h"
#include "moved_row.h"

/*
 * Returns whether the DELETE whose record starts there is the first half of an
 * UPDATE that moves a row to another partition.  The record must be on disk,
 * which is true of all decoded records.
 */
bool
moved_row_at(WalReader *reader, XLogRecPtr lsn)
{
	XLogReaderState *record = wal_reader_record(reader);

	wal_reader_start(reader, lsn);
	wal_reader_next(reader);
	if (XLogRecGetRmid(record) != RM_HEAP_ID ||
		(XLogRecGetInfo(record) & XLOG_HEAP_OPMASK) != XLOG_HEAP_DELETE)
		elog(ERROR, "unexpected WAL record at " LSN_FORMAT,
			 LSN_FORMAT_ARGS(lsn));
	return (((const xl_heap_delete *) XLogRecGetData(record))->flags &
			XLH_DELETE_IS_PARTITION_MOVE) != 0;
}
