/*-------------------------------------------------------------------------
 *
 * main_stream.h
 *	  The main stream: locking it, opening its rollups, reading it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_MAIN_STREAM_H
#define NOTIFY_STATS_MAIN_STREAM_H

#include "busy_lock.h"
#include "pass.h"
#include "stream.h"
#include "slot.h"

extern bool main_stream_lock(StreamRow *row);
extern bool main_stream_open_live(const StreamRow *row, List *rollups,
								  List **live, BusyLock *busy);
extern const char *main_stream_reason_untold(const Format *format,
											 const Rollup *rollup,
											 List *before, List *now,
											 Oid source);
extern const char *main_stream_reason_facts_differ(const Format *format,
												   const Rollup *rollup,
												   List *stored);
extern List *main_stream_add_partitions(List *partitions, List *stored);
extern void main_stream_leave_behind(const StreamRow *row, Rollup *rollup,
									 const char *reason, XLogRecPtr lsn);
extern PassOutput main_stream_read(const StreamRow *row, List *live,
								   XLogRecPtr upto, bool compare);
extern void main_stream_finish(const StreamRow *row, XLogRecPtr reached_lsn,
							   TimestampTz at);
extern void main_stream_advance(const StreamRow *row, XLogRecPtr lsn);
extern bool main_stream_may_advance(const SlotInfo *slot,
									XLogRecPtr commit_end);
extern int	main_stream_keep_slot_close(const StreamRow *row,
										XLogRecPtr applied_lsn, bool at_once);
extern void main_stream_note_commit(XLogRecPtr applied_lsn,
									XLogRecPtr commit_end);
extern void main_stream_forget_locks(void);

#endif							/* NOTIFY_STATS_MAIN_STREAM_H */
