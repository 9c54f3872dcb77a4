/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  How a worker sleeps, and who wakes it.
 *
 * Each backend has a callback that runs at the end of its transactions.  If
 * the transaction had an xid, and the worker of the database has said that it
 * sleeps, the first to find that sets the worker's latch.  While the worker
 * works or rests, that is one look at a flag in shared memory.
 *
 * Nobody misses the other: the worker sets the flag and then looks at the WAL;
 * a backend has flushed its commit record, and left the list of running
 * transactions, before it looks at the flag.  In both, a memory barrier
 * lies between the two.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "settings.h"
#include "wake.h"

/* the transaction at hand is notify_stats' own */
static bool own_end = false;

/* Raises a position in shared memory; it never goes back. */
static void
raise_lsn(pg_atomic_uint64 *position, XLogRecPtr lsn)
{
	uint64		old = pg_atomic_read_u64(position);

	while (old < lsn && !pg_atomic_compare_exchange_u64(position, &old, lsn))
		;
}

static void
set_latch(SharedStream *stream)
{
	SetLatch(&ProcGlobal->allProcs[stream->worker_procno].procLatch);
}

static void
wake_worker(SharedStream *stream)
{
	if (pg_atomic_read_u32(&stream->sleeping) != 0 &&
		pg_atomic_exchange_u32(&stream->sleeping, 0) != 0)
		set_latch(stream);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	SharedStream *stream;
	bool		own = own_end;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	own_end = false;
	if (event == XACT_EVENT_ABORT || own ||
		!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	stream = shared_stream_if_any();
	if (stream == NULL)
		return;
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		raise_lsn(&stream->async_lsn, XactLastCommitEnd);
	else
		wake_worker(stream);
}

/* Has every backend wake the worker of its database when it commits. */
void
wake_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}

/*
 * The next commit of this process is notify_stats' own, and wakes nobody.
 * Holds until that transaction ends, whichever way.
 */
void
wake_ignore_next_end(void)
{
	own_end = true;
}

/* Wakes the worker if it sleeps: somebody waits for this position. */
void
wake_for_lsn(SharedStream *stream, XLogRecPtr lsn)
{
	raise_lsn(&stream->wanted_lsn, lsn);
	wake_worker(stream);
}

/*
 * Asks the worker for the slot that it keeps open, should it be asleep, and
 * the worker's side of it: whether somebody asks, which is answered by
 * closing it.
 */
void
wake_for_slot(SharedStream *stream)
{
	pg_atomic_write_u32(&stream->slot_wanted, 1);
	pg_memory_barrier();
	if (stream->pid != 0)
		set_latch(stream);
}

bool
wake_slot_is_wanted(SharedStream *stream)
{
	return pg_atomic_exchange_u32(&stream->slot_wanted, 0) != 0;
}

/*
 * The position after the last asynchronous commit in this database, which
 * wakes nobody, as it cannot be read before it is on disk.
 */
XLogRecPtr
wake_async_lsn(const SharedStream *stream)
{
	return pg_atomic_read_u64(unconstify(pg_atomic_uint64 *,
										 &stream->async_lsn));
}

/*
 * Sleeps for at most so many milliseconds, or until a signal comes; if
 * "wakeable", until a commit or wake_worker as well.  "is_due" is asked
 * once when wakes arrive already; if it says so, there is no sleep.
 * Handles interrupts, and reloads settings.
 */
void
wake_sleep(SharedStream *stream, long milliseconds, bool wakeable,
		   bool (*is_due) (void *arg), void *arg)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = new_wait_event("NotifyStatsMain");
	if (wakeable)
	{
		pg_atomic_write_u32(&stream->sleeping, 1);
		pg_memory_barrier();
	}
	if (!wakeable || !is_due(arg))
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH,
						 milliseconds, wait_event);
	pg_atomic_write_u32(&stream->sleeping, 0);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	settings_reload();
}
