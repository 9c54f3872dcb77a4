/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  How a worker sleeps, and how it is woken; how the launcher is told that
 *	  one is needed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WAKE_H
#define NOTIFY_STATS_WAKE_H

#include "shared.h"

extern void wake_init(void);
extern void wake_ignore_next_end(void);
extern void wake_sleep(SharedStream *stream, long milliseconds, bool wakeable,
					   bool (*is_due) (void *arg), void *arg);
extern void wake_launcher_at_commit(void);
extern void wake_for_lsn(SharedStream *stream, XLogRecPtr lsn);
extern void wake_for_slot(SharedStream *stream);
extern bool wake_slot_is_wanted(SharedStream *stream);
extern XLogRecPtr wake_async_lsn(const SharedStream *stream);

#endif							/* NOTIFY_STATS_WAKE_H */
