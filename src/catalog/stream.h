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
	bool		paused;			/* by pause(), or because upgrade_from is set */
	uint64		upgrade_from;	/* system identifier of a server that was
								 * prepared for an upgrade; or 0 */
	XLogRecPtr	upgrade_lsn;	/* position where the slot was left, with no
								 * changes between applied_lsn and it; or
								 * invalid */
	int64		slot_request;	/* a call of recreate_slot() that is not
								 * carried out yet; or 0 */
} StreamRow;

extern void stream_lock(void);
extern bool stream_try_lock(void);
extern bool stream_load(StreamRow *row);
extern void stream_set_slot(const char *slot_name, const Format *format,
							XLogRecPtr lsn);
extern void stream_clear_slot(void);

extern void stream_set_applied(XLogRecPtr lsn);
extern void stream_request_slot(void);
extern void stream_set_slot_request_done(int64 request);
extern void stream_set_upgrade(uint64 system_identifier, XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_STREAM_H */
