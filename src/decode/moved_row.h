/*-------------------------------------------------------------------------
 *
 * moved_row.h
 *	  Detects deleted rows that are being moved to another partition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_MOVED_ROW_H
#define NOTIFY_STATS_MOVED_ROW_H

#include "access/xlogdefs.h"

/* Reads single records of the WAL. */
typedef struct MovedRowReader MovedRowReader;

extern MovedRowReader *moved_row_reader_create(void);
extern bool moved_row_at(MovedRowReader *reader, XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_MOVED_ROW_H */
