/*-------------------------------------------------------------------------
 *
 * moved_row.h
 *	  Which deleted rows are on their way to another partition.
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
