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

/*
 * Makes a reader in the current memory context.  It ends with that, also if that is
 * because of an error.
 */
extern MovedRowReader *moved_row_reader_create(void);

/*
 * Whether the DELETE whose record starts there is the first half of an UPDATE
 * that moves a row to another partition.  The record has to be on disk, as all
 * that is decoded is.
 */
extern bool moved_row_at(MovedRowReader *reader, XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_MOVED_ROW_H */
