/*-------------------------------------------------------------------------
 *
 * division.c
 *	  The division of a backlog into windows, in shared memory.
 *
 * One process, the leader, divides a backlog.  Each process that reads it takes
 * the next window, and enters it here until it is applied.  The end of a window
 * is looked for when it is taken, by one process at a time, the scout.  Then
 * the process waits here until all windows before its own are applied.
 *
 * A division is stopped when a window cannot be applied.  A process may still
 * have a window of an earlier division, even after the next one has begun.  So
 * divisions have numbers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "division.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "start_point.h"
#include "trouble.h"

/* The smallest window: a slot has to be created for it. */
#define MIN_WINDOW ((uint64) 64 * 1024)

/* So many windows each process has, if the backlog is large. */
#define WINDOWS_PER_PROCESS 4

/*
 * A window may become so many times as large, if there is no start point.
 * Then one process reads so much, before a start point is looked for again.
 */
#define LARGEST_WINDOW 64

/* as leader: where the window ends that it reads with the main slot */
static StartPoint own_end;

static SharedCatchUp *
shared_catch_up(void)
{
	return &shared_stream()->catch_up;
}

static void
announce(void)
{
	ConditionVariableBroadcast(&shared_state->window_cv);
}

/*
 * The end of a division
 */

/*
 * Stops the division of the backlog, unless there is another one by now:
 * windows that wait for their turn are discarded.  One process reads at least
 * up to the last of them.
 */
void
division_stop(const Window *window)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (shared->division == window->division)
	{
		shared->stopped = true;
		shared->not_before = shared->next.lsn;
	}
	LWLockRelease(shared_state->lock);
	announce();
}

/*
 * Frees the windows of this process.  Returns whether one is of the current
 * division.  Called with the lock held.
 */
static bool
free_windows(SharedCatchUp *shared)
{
	bool		any = false;

	for (int i = 0; i < MAX_CATCH_UP_WORKERS; i++)
	{
		if (shared->windows[i].pid != MyProcPid)
			continue;
		shared->windows[i].pid = 0;
		any |= shared->windows[i].division == shared->division;
	}
	return any;
}

/*
 * Returns whether this process reads a window of which the turn has not come.
 * Called with the lock held.
 */
static bool
is_ahead(const SharedCatchUp *shared)
{
	for (int i = 0; i < MAX_CATCH_UP_WORKERS; i++)
	{
		const SharedWindow *window = &shared->windows[i];

		/* nothing is applied during the leader's first window */
		if (window->pid == MyProcPid)
			return shared->applied.lsn != 0 &&
				window->start != shared->applied.lsn;
	}
	return false;
}

/*
 * Lets no process begin another window for this leader.  Those that were taken
 * are applied in their turn.
 */
void
division_take_no_more(int leader)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (shared->leader == leader && shared->next.lsn != 0)
		shared->end = shared->next.lsn;
	LWLockRelease(shared_state->lock);
	announce();
}

/*
 * Gives up what this process does for a backlog, as it ends, or after an error.
 * Returns whether it was ahead of its turn.  Then the error will occur again
 * when one process has read the WAL up to there.
 */
bool
division_abandon(void)
{
	SharedStream *stream = shared_stream_if_any();
	SharedCatchUp *shared;
	bool		mine;
	bool		ahead;

	if (stream == NULL)
		return false;
	shared = &stream->catch_up;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	ahead = is_ahead(shared);
	mine = free_windows(shared);
	if (shared->scout == MyProcPid)
	{
		/* it would fail again */
		shared->scout = 0;
		shared->next.lsn = shared->end;
		mine = true;
	}
	if (shared->leader == MyProcPid)
	{
		shared->leader = 0;
		mine = true;
	}
	if (mine)
	{
		shared->stopped = true;
		shared->not_before = shared->next.lsn;
	}
	LWLockRelease(shared_state->lock);
	if (mine)
		announce();
	return ahead;
}

static void
abandon_at_exit(int code, Datum arg)
{
	LWLockReleaseAll();
	/* a rollup that has exceeded the time limit is not to blame for that yet */
	if (division_abandon())
		trouble_blame(InvalidOid, NULL);
}

static void
register_exit_callback(void)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(abandon_at_exit, (Datum) 0);
	registered = true;
}

/* The leader goes on alone. */
void
division_end(void)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->leader = 0;
	LWLockRelease(shared_state->lock);
	announce();
}

/*
 * Taking windows
 */

/*
 * The size of windows: small enough that each process has several of them, as
 * they end at different times, but no smaller than needed, since each one costs
 * something.
 */
static uint64
choose_window_size(uint64 backlog, int nprocesses)
{
	uint64		smallest = Max(MIN_WINDOW,
							   (uint64) notify_stats_parallel_backlog * 1024 / 4);
	uint64		largest = Max(MIN_WINDOW,
							  (uint64) notify_stats_max_batch_wal * 1024);

	return Min(largest, Max(smallest,
							backlog / (nprocesses * WINDOWS_PER_PROCESS)));
}

/*
 * Becomes the leader for the WAL from *start to "safe", if there is none.
 * Otherwise returns false; if no division may begin before some position, which
 * one process is to read, sets *start to that.
 */
bool
division_begin(XLogRecPtr *start, XLogRecPtr safe, int nprocesses, bool paused)
{
	SharedCatchUp *shared = shared_catch_up();
	bool		may_lead;

	register_exit_callback();
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	may_lead = shared->leader == 0 && *start >= shared->not_before;
	if (may_lead)
	{
		shared->leader = MyProcPid;
		shared->division++;
		shared->stopped = false;
		shared->busy = false;
		shared->paused = paused;
		shared->scout = MyProcPid;
		shared->begun_at = *start;
		shared->end = safe;
		shared->nprocesses = nprocesses;
		shared->window_size = choose_window_size(safe - *start, nprocesses);
		memset(&shared->next, 0, sizeof(shared->next));
		memset(&shared->applied, 0, sizeof(shared->applied));
	}
	else
		*start = Max(*start, shared->not_before);
	LWLockRelease(shared_state->lock);
	return may_lead;
}

/*
 * Waits until no other process looks for the end of a window, and becomes the
 * one that does.  Sets the start of the next window, or returns false if there
 * is none.
 */
static bool
become_scout(int leader, Window *window, XLogRecPtr *end)
{
	SharedCatchUp *shared = shared_catch_up();
	bool		wait = true;
	bool		is_scout = false;

	ConditionVariablePrepareToSleep(&shared_state->window_cv);
	for (;;)
	{
		LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
		if (shared->leader != leader || shared->stopped ||
			shared->next.lsn >= shared->end)
			wait = false;
		else if (shared->scout == 0)
		{
			shared->scout = MyProcPid;
			window->start = shared->next;
			window->division = shared->division;
			window->paused = shared->paused;
			*end = shared->end;
			is_scout = true;
			wait = false;
		}
		LWLockRelease(shared_state->lock);
		if (!wait)
			break;
		ConditionVariableSleep(&shared_state->window_cv, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return is_scout;
}

/*
 * Returns how large the window that begins there should be.  The last ones are
 * smaller, so that all processes have something to do nearly to the end.
 */
static uint64
wanted_size(const SharedCatchUp *shared, XLogRecPtr start)
{
	uint64		share = (shared->end - start) / (2 * shared->nprocesses);

	return Min(shared->window_size, Max(share, shared->window_size / 4));
}

/*
 * Returns how far the end of a window is looked for.  Must not be called with
 * the lock held.
 */
static XLogRecPtr
search_end(XLogRecPtr start, XLogRecPtr end)
{
	return Min(end, start + LARGEST_WINDOW * shared_catch_up()->window_size);
}

/*
 * The leader reads alone: all of the backlog, or as far as was searched for the
 * end of the first window.
 */
void
division_refuse(bool all)
{
	SharedCatchUp *shared = shared_catch_up();
	XLogRecPtr	not_before = all ? shared->end :
	search_end(shared->begun_at, shared->end);

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->leader = 0;
	shared->scout = 0;
	shared->not_before = not_before;
	(void) free_windows(shared);
	LWLockRelease(shared_state->lock);
	/* a helper of an earlier division may wait, with locks on the rollups */
	announce();
}

/* Returns a name for a temporary slot of this process. */
char *
division_slot_name(void)
{
	return psprintf("%s_%u_%d", EXTENSION_NAME, MyDatabaseId, MyProcPid);
}

/*
 * Finds the end of the window that begins at "start".  Quiet points cost the
 * least.  They are no longer looked for once there was none within half a
 * window, unless the other way would read even more: that of a transaction that
 * has been open for a long time.  Called in a transaction by the scout.
 */
static bool
find_end(const StartPoint *start, XLogRecPtr before, StartPoint *end)
{
	SharedCatchUp *shared = shared_catch_up();
	XLogRecPtr	wanted = start->lsn + wanted_size(shared, start->lsn);
	uint64		most = shared->window_size / 2;
	bool		begins_far_back =
	search_end(start->restart_lsn, start->lsn) < start->lsn;

	before = search_end(start->lsn, before);
	if (!shared->busy &&
		start_point_find_quiet(wanted, begins_far_back ?
							   before : Min(before, wanted + most), end))
		return true;
	if (begins_far_back || wanted >= before)
		return false;
	shared->busy = true;
	slot_close();				/* the server decodes with one at a time */
	return start_point_find_after(start, wanted, before, most,
								  division_slot_name(), end);
}

/*
 * Enters a window as that of this process.  Returns NULL if there is no room.
 * Called with the lock held.
 */
static SharedWindow *
enter_window(SharedCatchUp *shared, const Window *window)
{
	for (int i = 0; i < MAX_CATCH_UP_WORKERS; i++)
	{
		SharedWindow *entry = &shared->windows[i];

		if (entry->pid != 0)
			continue;
		entry->pid = MyProcPid;
		entry->division = window->division;
		entry->phase = WINDOW_READING;
		entry->start = entry->read_lsn = window->start.lsn;
		entry->end = window->end.lsn;
		return entry;
	}
	return NULL;				/* earlier divisions have left windows */
}

/*
 * Takes the first window, for the leader, and sets *end to where it ends.
 * Returns false if no end was found.
 */
bool
division_take_first(const StartPoint *start, XLogRecPtr *end)
{
	SharedCatchUp *shared = shared_catch_up();
	Window		window = {.start = *start,.division = shared->division};

	if (!find_end(&window.start, shared->end, &window.end))
		return false;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->scout = 0;
	(void) enter_window(shared, &window);
	shared->next = own_end = window.end;
	LWLockRelease(shared_state->lock);
	announce();
	*end = own_end.lsn;
	return true;
}

/*
 * Takes the next window.  Returns false if none is left, which is so if there
 * is no further start point.
 */
bool
division_take(int leader, Window *window)
{
	SharedCatchUp *shared = shared_catch_up();
	XLogRecPtr	end;
	bool		found;

	register_exit_callback();
	if (!become_scout(leader, window, &end))
		return false;
	found = find_end(&window->start, end, &window->end);
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (shared->division != window->division)
	{
		/* another leader divides what is left by now */
		LWLockRelease(shared_state->lock);
		return false;
	}
	shared->scout = 0;
	window->taken_at = GetCurrentTimestamp();
	if (found)
		window->shared = enter_window(shared, window);
	if (window->shared != NULL)
		shared->next = window->end;
	else
		shared->end = shared->next.lsn;
	LWLockRelease(shared_state->lock);
	announce();
	return window->shared != NULL;
}

/*
 * Applied windows
 */

/* Waits until all windows before this one are applied.  False: stopped. */
bool
division_wait_for_turn(const Window *window)
{
	SharedCatchUp *shared = shared_catch_up();
	bool		stopped = false;
	bool		is_ours = false;

	ConditionVariablePrepareToSleep(&shared_state->window_cv);
	for (;;)
	{
		LWLockAcquire(shared_state->lock, LW_SHARED);
		stopped = shared->stopped || shared->leader == 0 ||
			shared->division != window->division;
		is_ours = shared->applied.lsn == window->start.lsn;
		LWLockRelease(shared_state->lock);
		if (stopped || is_ours)
			break;
		ConditionVariableSleep(&shared_state->window_cv, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
	return is_ours && !stopped;
}

/*
 * All processes may now see that the window is applied.  By now, another leader
 * may divide what is left.
 */
void
division_is_applied(const Window *window)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (shared->division == window->division)
		shared->applied = window->end;
	LWLockRelease(shared_state->lock);
	shared_stream_backlog(window->end.lsn - window->start.lsn, window->taken_at);
	shared_stream_reached(window->end.lsn, window->taken_at);
}

/* The leader has committed its own window: others may go on from there. */
void
division_first_is_applied(void)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->applied = own_end;
	(void) free_windows(shared);
	LWLockRelease(shared_state->lock);
	announce();
}

/* The process does no longer read the window. */
void
division_leave(Window *window)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	window->shared->pid = 0;
	LWLockRelease(shared_state->lock);
	announce();
}

/* Returns the start of the window whose turn it is. */
StartPoint
division_applied(void)
{
	SharedCatchUp *shared = shared_catch_up();
	StartPoint	applied;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	applied = shared->applied;
	LWLockRelease(shared_state->lock);
	return applied;
}

/*
 * The other processes
 */

/* Returns whether this process leads. */
bool
division_is_mine(void)
{
	SharedStream *stream = shared_stream_if_any();

	return stream != NULL && stream->catch_up.leader == MyProcPid;
}

/* Returns whether another process leads, and more windows are to be applied. */
bool
division_is_of_other(void)
{
	SharedCatchUp *shared = shared_catch_up();
	bool		is_of_other;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	is_of_other = shared->leader != 0 && shared->leader != MyProcPid &&
		!shared->stopped;
	LWLockRelease(shared_state->lock);
	return is_of_other;
}

/* Waits until that is no longer so. */
void
division_wait_for_other(void)
{
	ConditionVariablePrepareToSleep(&shared_state->window_cv);
	while (division_is_of_other())
		ConditionVariableSleep(&shared_state->window_cv, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* Returns whether any process still reads a window. */
static bool
some_are_reading(const SharedCatchUp *shared)
{
	for (int i = 0; i < MAX_CATCH_UP_WORKERS; i++)
		if (shared->windows[i].pid != 0 &&
			shared->windows[i].division == shared->division)
			return true;
	return shared->scout != 0;
}

/* Waits until no process reads a window of this division. */
void
division_wait_for_readers(void)
{
	SharedCatchUp *shared = shared_catch_up();
	bool		wait;

	ConditionVariablePrepareToSleep(&shared_state->window_cv);
	for (;;)
	{
		LWLockAcquire(shared_state->lock, LW_SHARED);
		wait = some_are_reading(shared);
		LWLockRelease(shared_state->lock);
		if (!wait)
			break;
		ConditionVariableSleep(&shared_state->window_cv, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}
