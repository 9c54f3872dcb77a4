/*-------------------------------------------------------------------------
 *
 * time_limit.c
 *	  How long one rollup may delay the others.
 *
 * The timer's function runs in a signal handler.  It reads and writes only
 * words of this process, and sets the flags that the server's own handlers of
 * cancellation and termination set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "settings.h"
#include "time_limit.h"
#include "trouble.h"

/*
 * The handler determines the rollup at work this many times within the limit,
 * but at least once per MAX_INTERVAL_MS.
 */
#define LOOKS 20
#define MAX_INTERVAL_MS 1000

/*
 * Number of looks after which a process that has caught the cancellation is
 * terminated.
 */
#define MAX_LOOKS_OVERDUE 5

/*
 * Number of rollups whose time is counted.  One more replaces the rollup with
 * the lowest count, and inherits that count.  So no rollup can hide behind
 * others.
 */
#define MAX_PARTS 32

typedef struct Part
{
	Oid			rollup;			/* InvalidOid: free */
	int			looks;			/* number of looks that found it at work */
} Part;

static volatile Part parts[MAX_PARTS];
static volatile int max_looks;
static volatile Oid whose_otherwise;
static volatile bool blames_otherwise;
static volatile Oid over = InvalidOid;	/* the rollup that has exceeded the
										 * limit */
static volatile int looks_overdue;
static bool running = false;
static char reason[128];		/* the error of a rollup that has exceeded it */
static ErrorContextCallback error_context;

/* Returns the entry of a rollup. */
static volatile Part *
find_part(Oid rollup)
{
	volatile Part *least = &parts[0];

	for (int i = 0; i < MAX_PARTS; i++)
	{
		if (!OidIsValid(parts[i].rollup))
			parts[i].rollup = rollup;
		if (parts[i].rollup == rollup)
			return &parts[i];
		if (parts[i].looks < least->looks)
			least = &parts[i];
	}
	least->rollup = rollup;
	return least;
}

static void
interrupt(void)
{
	if (looks_overdue++ < MAX_LOOKS_OVERDUE)
		QueryCancelPending = true;
	else
		ProcDiePending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* Handler of the timer. */
static void
look(void)
{
	Oid			rollup = trouble_at_work();
	volatile Part *part;

	if (!OidIsValid(rollup))
		rollup = whose_otherwise;
	if (!OidIsValid(rollup))
		return;
	part = find_part(rollup);
	if (++part->looks <= max_looks)
		return;
	over = rollup;
	if (rollup != whose_otherwise || blames_otherwise)
		trouble_blame(rollup, reason);
	interrupt();
}

static void
explain_error(void *arg)
{
	if (!OidIsValid(over) || geterrcode() != ERRCODE_QUERY_CANCELED)
		return;
	errdetail("Work for the rollup with OID %u took longer than notify_stats.max_rollup_time (%d ms), while the other rollups waited.",
			  over, notify_stats_max_rollup_time);
	errhint("Simplify the definition of the rollup or the triggers on its table, or raise notify_stats.max_rollup_time.");
}

/* Needed because a terminated process does not call trouble_record(). */
static void
note_at_exit(int code, Datum arg)
{
	trouble_record_blame();
}

static TimeoutId
timer(void)
{
	static TimeoutId id = MAX_TIMEOUTS;

	if (id == MAX_TIMEOUTS)
	{
		id = RegisterTimeout(USER_TIMEOUT, look);
		before_shmem_exit(note_at_exit, (Datum) 0);
	}
	return id;
}

/*
 * From now on, time that is not spent for a particular rollup is charged to
 * "otherwise", unless that is InvalidOid.  "blames" decides whether that
 * rollup fails if it exceeds the limit, or whether only the process ends with
 * an error.
 */
void
time_limit_charge(Oid otherwise, bool blames)
{
	blames_otherwise = blames;
	whose_otherwise = otherwise;
}

/*
 * Starts counting.  Does nothing if there is no limit.  A process that exceeds
 * the limit is first canceled (SQLSTATE 57014), with a detail that names the
 * rollup.  If it catches that, it is terminated.
 */
void
time_limit_start(void)
{
	int			interval = Max(1,
							   Min(MAX_INTERVAL_MS,
								   notify_stats_max_rollup_time / LOOKS));

	over = InvalidOid;
	trouble_blame(InvalidOid, NULL);
	running = notify_stats_max_rollup_time > 0;
	if (!running)
		return;
	for (int i = 0; i < MAX_PARTS; i++)
	{
		parts[i].rollup = InvalidOid;
		parts[i].looks = 0;
	}
	looks_overdue = 0;
	max_looks = notify_stats_max_rollup_time / interval;
	time_limit_charge(InvalidOid, false);
	snprintf(reason, sizeof(reason),
			 "its part of a cycle took longer than notify_stats.max_rollup_time (%d ms)",
			 notify_stats_max_rollup_time);
	error_context.callback = explain_error;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	enable_timeout_every(timer(),
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													 interval),
						 interval);
}

/* Stops counting.  time_limit_forget is used instead after an error. */
void
time_limit_stop(void)
{
	if (!running)
		return;
	error_context_stack = error_context.previous;
	time_limit_forget();
}

void
time_limit_forget(void)
{
	if (running)
		disable_timeout(timer(), false);
	running = false;
}
