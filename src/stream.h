/*-------------------------------------------------------------------------
 *
 * stream.h
 *	  The main stream's row in the catalog.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_STREAM_H
#define NOTIFY_STATS_STREAM_H

#include "access/xlogdefs.h"

#include "format.h"

typedef struct StreamRow
{
	bool		has_slot;		/* the next three are set */
	NameData	slot_name;
	const Format *format;
	XLogRecPtr	applied_lsn;
	bool		paused;			/* by pause(), or because of the next */
	uint64		upgrade_from;	/* system identifier of a server that was left to be upgraded; or 0 */
	XLogRecPtr	upgrade_lsn;	/* the slot was left there, with nothing between applied_lsn and it; or invalid */
} StreamRow;

/*
 * Makes this transaction the only one that may move the main stream; waits.
 * The lock is not one on the table: it blocks no reader, and no vacuum.
 */
extern void stream_lock(void);

/* The same, but only if nobody else has it. */
extern bool stream_try_lock(void);

/* Reads the row as it is now.  False if the extension is not installed. */
extern bool stream_load(StreamRow *row);

/* Enters the slot that the stream reads from now on, at a position. */
extern void stream_set_slot(const char *slot_name, const Format *format, XLogRecPtr lsn);

/* The stream has no slot any more. */
extern void stream_clear_slot(void);

extern void stream_set_applied(XLogRecPtr lsn);

/*
 * Enters that this server is to be upgraded, or with 0, that this is over; and
 * the position where the slot is left, until that is taken for the stream's own.
 */
extern void stream_set_upgrade(uint64 system_identifier, XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_STREAM_H */
