/*-------------------------------------------------------------------------
 *
 * wal_window.h
 *	  The window of applied WAL that remains readable.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WAL_WINDOW_H
#define NOTIFY_STATS_WAL_WINDOW_H

#include "start_point.h"
#include "stream.h"

extern void wal_window_note(const StreamRow *row, XLogRecPtr applied_lsn);
extern bool wal_window_retains(const StreamRow *row, XLogRecPtr lsn);
extern bool wal_window_can_resume(const StreamRow *row, Oid rollup);
extern bool wal_window_covers(const StreamRow *row, XLogRecPtr lsn,
							  StartPoint *point);
extern bool wal_window_find(const StreamRow *row, XLogRecPtr lsn,
							StartPoint *point);
extern bool wal_window_holds(const StreamRow *row, const StartPoint *point);
extern void wal_window_maintain(bool at_once);
extern bool wal_window_lock_follower(int pid, bool wait);
extern void wal_window_take_turn(void);
extern bool wal_window_restore_slot(const StreamRow *row,
									const StartPoint *point,
									const char *reason);
extern void wal_window_drop(void);
extern void wal_window_drop_slot(void);

#endif							/* NOTIFY_STATS_WAL_WINDOW_H */
