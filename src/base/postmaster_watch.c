/*-------------------------------------------------------------------------
 *
 * postmaster_watch.c
 *	  Detects the death of the postmaster while there is work to do.
 *
 * The server cannot be started again until the last child of a dead postmaster
 * has detached from the shared memory.  A process that waits on a latch
 * notices the death.  A process that reads the WAL, runs a query or evaluates
 * an expression only checks for interrupts, in loops of the server or of
 * users' code.  So a timer checks whether the postmaster is alive.  If it is
 * not, the timer does the same as a request to terminate.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "postmaster_watch.h"

#define INTERVAL_MS 1000

static volatile bool died = false;

/* Handler of the timer. */
static void
look(void)
{
	if (!IsUnderPostmaster || PostmasterIsAlive())
		return;
	died = true;
	ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* Logs the reason, since the server's own message blames an administrator. */
static void
explain_exit(int code, Datum arg)
{
	if (died)
		ereport(LOG,
				(errmsg("process was terminated due to unexpected postmaster exit")));
}

static TimeoutId
timer(void)
{
	static TimeoutId id = MAX_TIMEOUTS;

	if (id == MAX_TIMEOUTS)
	{
		id = RegisterTimeout(USER_TIMEOUT, look);
		before_shmem_exit(explain_exit, (Datum) 0);
	}
	return id;
}

/* Ends the process if the postmaster has died or dies from now on. */
void
postmaster_watch_start(void)
{
	/*
	 * a series of short transactions would end each time before the timer
	 * fires
	 */
	look();
	CHECK_FOR_INTERRUPTS();
	enable_timeout_every(timer(),
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 INTERVAL_MS),
						 INTERVAL_MS);
}

/* Stops watching. */
void
postmaster_watch_stop(void)
{
	disable_timeout(timer(), false);
}
