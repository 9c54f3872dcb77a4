/*-------------------------------------------------------------------------
 *
 * moved_row.h
 *	  Detects deleted rows that are being moved to another partition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_MOVED_ROW_H
#define NOTIFY_STATS_MOVED_ROW_H

#include "wal_reader.h"

extern bool moved_row_at(WalReader *reader, XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_MOVED_ROW_H */
