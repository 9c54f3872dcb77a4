/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  How a worker sleeps, and who wakes it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WAKE_H
#define NOTIFY_STATS_WAKE_H

#include "shared.h"

/* Has every backend wake the worker of its database when it commits. */
extern void wake_init(void);

/*
 * The next commit of this process is notify_stats' own, and wakes nobody.  Holds
 * until that transaction ends, whichever way.
 */
extern void wake_ignore_next_end(void);

/*
 * Sleeps for at most so many milliseconds, or until a signal comes; if "wakeable",
 * until a commit or wake_worker as well.  "is_due" is asked once when wakes
 * arrive already; if it says so, there is no sleep.  Handles interrupts, and
 * reloads settings.
 */
extern void wake_sleep(SharedStream *stream, long milliseconds, bool wakeable,
					   bool (*is_due) (void *arg), void *arg);

/* Wakes the worker if it sleeps: somebody waits for this position. */
extern void wake_for_lsn(SharedStream *stream, XLogRecPtr lsn);

/*
 * Asks the worker for the slot that it keeps open, should it be asleep, and the
 * worker's side of it: whether somebody asks, which is answered by closing it.
 */
extern void wake_for_slot(SharedStream *stream);
extern bool wake_slot_is_wanted(SharedStream *stream);

/*
 * The position after the last asynchronous commit in this database, which wakes
 * nobody, as it cannot be read before it is on disk.
 */
extern XLogRecPtr wake_async_lsn(const SharedStream *stream);

#endif							/* NOTIFY_STATS_WAKE_H */
