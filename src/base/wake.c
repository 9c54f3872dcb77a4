/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  How a worker sleeps, and how it is woken; how the launcher is told that
 *	  one is needed.
 *
 * Each backend has a callback that runs at the end of its transactions.  If
 * the transaction had an xid, and the flag of the database's worker shows that
 * it sleeps, the first backend that clears the flag sets the worker's latch.
 * While the worker works or rests, this costs one read of a flag in shared
 * memory.
 *
 * No wakeup is lost.  The worker sets the flag and then reads the end of the
 * WAL.  A backend flushes its commit record and leaves the list of running
 * transactions before it reads the flag.  In both, a memory barrier lies
 * between the two steps.
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

/* the current transaction is one of notify_stats itself */
static bool own_end = false;

/* the current transaction may have created a rollup */
static bool may_need_worker = false;

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

/* A prepared transaction may be committed by a session that knows nothing. */
static void
request_worker(XactEvent event)
{
	if (may_need_worker &&
		(event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE))
		shared_launcher_request(MyDatabaseId);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_ABORT)
		may_need_worker = false;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	SharedStream *stream;
	bool		own = own_end;

	request_worker(event);

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

/* Makes every backend wake the worker of its database when it commits. */
void
wake_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}

/*
 * Marks the current transaction of this process as one of notify_stats itself,
 * so that its commit does not wake the worker.  Applies until that transaction
 * ends, by commit or abort.
 */
void
wake_ignore_next_end(void)
{
	own_end = true;
}

/*
 * Tells the launcher, when the current transaction commits, that this database
 * may need a worker.
 */
void
wake_launcher_at_commit(void)
{
	may_need_worker |= shared_state != NULL;
}

/* Wakes the worker if it sleeps, because a process waits for this position. */
void
wake_for_lsn(SharedStream *stream, XLogRecPtr lsn)
{
	raise_lsn(&stream->wanted_lsn, lsn);
	wake_worker(stream);
}

/*
 * wake_for_slot asks the worker to close the slot that it holds open while it
 * sleeps.  wake_slot_is_wanted is the worker's side: it returns whether that
 * was requested, and the worker then closes the slot.
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
 * Returns the position after the last asynchronous commit in this database.
 * Such a commit does not wake the worker, as it cannot be read before it is on
 * disk.
 */
XLogRecPtr
wake_async_lsn(const SharedStream *stream)
{
	return pg_atomic_read_u64(unconstify(pg_atomic_uint64 *,
										 &stream->async_lsn));
}

/*
 * Sleeps until the given number of milliseconds has passed or a signal
 * arrives; if "wakeable", also until a commit or wake_worker.  "is_due" is
 * called once after wakeups have been enabled.  If it returns true, there is
 * no sleep.  Handles interrupts, and reloads settings.
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
