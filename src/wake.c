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
#include "notify_stats.h"
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
	if (event == XACT_EVENT_ABORT || own || !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	stream = shared_stream_if_any();
	if (stream == NULL)
		return;
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		raise_lsn(&stream->async_lsn, XactLastCommitEnd);
	else
		wake_worker(stream);
}

void
wake_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}

void
wake_ignore_next_end(void)
{
	own_end = true;
}

void
wake_for_lsn(SharedStream *stream, XLogRecPtr lsn)
{
	raise_lsn(&stream->wanted_lsn, lsn);
	wake_worker(stream);
}

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

XLogRecPtr
wake_async_lsn(const SharedStream *stream)
{
	return pg_atomic_read_u64(unconstify(pg_atomic_uint64 *, &stream->async_lsn));
}

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
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 milliseconds, wait_event);
	pg_atomic_write_u32(&stream->sleeping, 0);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	reload_settings();
}
