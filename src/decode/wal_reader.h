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

typedef struct WalReader WalReader;

extern WalReader *wal_reader_create(void);
extern XLogReaderState *wal_reader_record(WalReader *reader);
extern void wal_reader_start(WalReader *reader, XLogRecPtr lsn);
extern bool wal_reader_start_after(WalReader *reader, XLogRecPtr lsn);
extern void wal_reader_next(WalReader *reader);

#endif							/* NOTIFY_STATS_WAL_READER_H */
