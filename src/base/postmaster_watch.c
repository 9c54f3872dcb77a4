/*-------------------------------------------------------------------------
 *
 * postmaster_watch.c
 *	  Noticing that the postmaster has died, while there is work to do.
 *
 * Until the last child of a dead postmaster has let go of the shared
 * memory, the server cannot be started again.  A process that waits notices
 * by itself.  One that reads the WAL, runs a query, or evaluates an
 * expression only looks for interrupts, in loops that are the server's or a
 * user's.  So a timer looks for the postmaster, and if it has gone does
 * what a request to terminate does.
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

/* The handler of the timer. */
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

/* Says why, since the server's own message blames an administrator. */
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

/* Ends the process if the postmaster has died, or does so from here on. */
void
postmaster_watch_start(void)
{
	/* a row of short transactions would end before the timer is due */
	look();
	CHECK_FOR_INTERRUPTS();
	enable_timeout_every(timer(),
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 INTERVAL_MS),
						 INTERVAL_MS);
}

/* From here on it does not any more. */
void
postmaster_watch_stop(void)
{
	disable_timeout(timer(), false);
}
