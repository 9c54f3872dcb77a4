/*-------------------------------------------------------------------------
 *
 * wal_reader.h
 *	  Reading records of this server's WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WAL_READER_H
#define NOTIFY_STATS_WAL_READER_H

#include "access/xlogreader.h"
#include "access/xlogutils.h"

typedef struct WalReader WalReader;

/* The functions with which the server reads the WAL for us. */
#define WAL_READER_ROUTINE \
	XL_ROUTINE(.page_read = wal_read_page, \
			   .segment_open = wal_segment_open, \
			   .segment_close = wal_segment_close)

extern int	wal_read_page(XLogReaderState *xlog, XLogRecPtr page, int length,
						  XLogRecPtr record, char *buffer);
extern void wal_read_next(XLogReaderState *xlog);
extern void wal_close_with(MemoryContext context, XLogReaderState *xlog);

extern WalReader *wal_reader_create(void);
extern XLogReaderState *wal_reader_record(WalReader *reader);
extern void wal_reader_start(WalReader *reader, XLogRecPtr lsn);
extern bool wal_reader_start_after(WalReader *reader, XLogRecPtr lsn);
extern void wal_reader_next(WalReader *reader);

#endif							/* NOTIFY_STATS_WAL_READER_H */
