/*-------------------------------------------------------------------------
 *
 * follower_slot.h
 *	  The slot with which a session follows rollups.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FOLLOWER_SLOT_H
#define NOTIFY_STATS_FOLLOWER_SLOT_H

#include "stream.h"

extern const char *follower_slot_prepare(Oid rollup, const StreamRow *row,
										 XLogRecPtr since);
extern void follower_slot_release(Oid rollup, const StreamRow *row,
								  XLogRecPtr lsn);
extern void follower_slot_discard(void);

#endif							/* NOTIFY_STATS_FOLLOWER_SLOT_H */
