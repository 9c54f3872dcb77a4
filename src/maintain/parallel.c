/*-------------------------------------------------------------------------
 *
 * parallel.c
 *	  Reading a backlog by several processes.
 *
 * The backlog is divided into windows at places where decoding can begin
 * (start_point.c).  Each process takes the next window, decodes it with a
 * temporary slot of its own, and folds its changes.  Then it waits until all
 * windows before it are applied, applies its own, and commits the position.
 * So the rollups change in the same order, and have the same states, as if one
 * process read the backlog.
 *
 * The process that runs cycles is the leader.  It reads the first window with
 * the main slot, which then stands still, and so protects the WAL and the
 * catalogs for all.  As the applied position is always a start point, the main
 * slot is moved there without decoding anything again.
 *
 * Whatever is unusual is left to a single process: if a window cannot be read,
 * or if the rollups are not those any more for which it was folded, it and all
 * later ones are discarded.  The leader then goes on alone from the applied
 * position, and what was wrong happens again, in order.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "busy_lock.h"
#include "facts.h"
#include "main_slot.h"
#include "main_stream.h"
#include "parallel.h"
#include "pass.h"
#include "rollup.h"
#include "settings.h"
#include "shape.h"
#include "shared.h"
#include "slot.h"
#include "start_point.h"
#include "time_limit.h"
#include "trouble.h"
#include "xact.h"

/* The smallest window: a slot has to be created for it. */
#define MIN_WINDOW ((uint64) 64 * 1024)

/* So many windows each process has, if the backlog is large. */
#define WINDOWS_PER_PROCESS 4

/*
 * A window may become so many times as large, if there is no start point.
 * Then one process reads so much, before a start point is looked for again.
 */
#define LARGEST_WINDOW 64

/* How long to wait for the lock of the stream in our turn. */
#define LOCK_PATIENCE_MS 5000

/* A window that this process reads. */
typedef struct Window
{
	SharedWindow *shared;
	uint64		division;		/* of which it is a part */
	bool		paused;			/* whether the leader reads a paused stream */
	StartPoint	start;
	StartPoint	end;
	TimestampTz began;
	List	   *live;			/* of Rollup: for which it is folded */
	StreamRow	row;			/* as of then */
} Window;

static ParallelLauncher launcher = NULL;

/* as leader: where the window ends that it reads with the main slot */
static StartPoint own_end;

/* as leader: no window is left */
static bool over;

/*
 * As leader: where the main slot is to be moved next, and the end of the WAL
 * when that position was known to be committed.
 */
static struct
{
	StartPoint	point;
	XLogRecPtr	written;
}			move;

/* Sets how to start other processes. */
void
parallel_set_launcher(ParallelLauncher function)
{
	launcher = function;
}

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
 * Giving up
 */

/*
 * Stops the division of the backlog, unless there is another one by now:
 * windows that wait for their turn are discarded.  One process reads at least
 * up to the last of them.
 */
static void
stop(uint64 division)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (shared->division == division)
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
static void
take_no_more(int leader)
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
parallel_abandon(void)
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
	if (parallel_abandon())
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

/*
 * Taking windows
 */

/*
 * Waits until no other process looks for the end of a window, and becomes the
 * one that does.  Sets the start of the next window, or returns false if there is
 * none.
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

/* A name for the temporary slot of this process. */
static char *
slot_name_of_process(void)
{
	return psprintf("%s_%u_%d", EXTENSION_NAME, MyDatabaseId, MyProcPid);
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

/* Returns how far the end of a window is looked for. */
static XLogRecPtr
search_end(XLogRecPtr start, XLogRecPtr end)
{
	return Min(end, start + LARGEST_WINDOW * shared_catch_up()->window_size);
}

/*
 * Finds the end of the window that begins at "start".  Quiet points cost the
 * least.  They are no longer looked for once there was none within half a
 * window.  Called in a transaction by the scout.
 */
static bool
find_end(const StartPoint *start, XLogRecPtr before, StartPoint *end)
{
	SharedCatchUp *shared = shared_catch_up();
	XLogRecPtr	wanted = start->lsn + wanted_size(shared, start->lsn);
	uint64		most = shared->window_size / 2;

	before = search_end(start->lsn, before);
	if (!shared->busy &&
		start_point_find_quiet(wanted, Min(before, wanted + most), end))
		return true;
	/* a transaction that is open for a long time would be read each time */
	if (wanted >= before ||
		search_end(start->restart_lsn, start->lsn) < start->lsn)
		return false;
	shared->busy = true;
	return start_point_find_after(start, wanted, before, most,
								  slot_name_of_process(), end);
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
 * Takes the next window.  Returns false if none is left, which is so if there
 * is no further start point.
 */
static bool
take_window(int leader, Window *window)
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
		/* meanwhile another leader divides what is left */
		LWLockRelease(shared_state->lock);
		return false;
	}
	shared->scout = 0;
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

static void
leave_window(Window *window)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	window->shared->pid = 0;
	LWLockRelease(shared_state->lock);
	announce();
}

/*
 * Our turn
 */

/* Waits until all windows before this one are applied.  False: stopped. */
static bool
wait_for_turn(const Window *window)
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
 * Locks the stream.  Gives up soon: the holder may wait for a lock of ours.
 */
static bool
lock_stream(void)
{
	TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  LOCK_PATIENCE_MS);

	while (!stream_try_lock())
	{
		if (GetCurrentTimestamp() >= end)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* Returns whether the live rollups are still those that were folded. */
static bool
rollups_are_same(const Window *window)
{
	int			nlive = 0;
	ListCell   *lc;

	foreach(lc, rollup_list(NULL))
	{
		const Rollup *now = (const Rollup *) lfirst(lc);
		const Rollup *folded;

		if (now->state != ROLLUP_LIVE)
			continue;
		nlive++;
		folded = rollup_find(window->live, now->relid);
		if (folded == NULL || folded->built_from != now->built_from)
			return false;
	}
	return nlive == list_length(window->live);
}

/*
 * Called before the changes of a window are applied.  Returns whether they may
 * be: everything is as the window expects it, and the stream is locked.
 */
static bool
take_turn(void *arg)
{
	Window	   *window = (Window *) arg;
	StreamRow	row;

	debug_stop("window-folded");
	return wait_for_turn(window) && lock_stream() && stream_load(&row) &&
		row.has_slot && row.applied_lsn == window->start.lsn &&
		row.upgrade_from == 0 && row.paused == window->paused &&
		strcmp(NameStr(row.slot_name), NameStr(window->row.slot_name)) == 0 &&
		rollups_are_same(window) &&
		facts_equal(facts_load(),
					facts_collect(row.format,
								  rollup_definitions(window->live)));
}

/*
 * All processes may now see that the window is applied.  By now, another leader
 * may divide what is left.
 */
static void
publish(Window *window)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (shared->division == window->division)
		shared->applied = window->end;
	LWLockRelease(shared_state->lock);
	shared_stream_backlog(window->end.lsn - window->start.lsn, window->began);
	shared_stream_reached(window->end.lsn, window->began);
}

/*
 * Reading
 */

/*
 * Opens the live rollups.  Returns false if one cannot be: a cycle decides what
 * to do about that.
 */
static bool
open_rollups(Window *window)
{
	ListCell   *lc;

	shape_forget_outdated();
	if (!stream_load(&window->row))
		return false;
	foreach(lc, rollup_list(NULL))
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);
		BusyLock	busy;

		if (rollup->state != ROLLUP_LIVE)
			continue;
		if (rollup_open(rollup, &busy) != SHAPE_READY ||
			rollup->shape->obstacle != NULL ||
			rollup->shape->fingerprint != rollup->built_from)
			return false;
		window->live = lappend(window->live, rollup);
	}
	return window->live != NIL;
}

/*
 * Reads a window and applies it in its turn, in the current transaction.
 * Returns false if it is discarded.
 */
static bool
read_window(Window *window)
{
	PassInput	input = {0};
	PassOutput	output;
	ListCell   *lc;
	ListCell   *lc2;

	input.slot_name = slot_name_of_process();
	input.format = window->row.format;
	input.rollups = window->live;
	input.start = &window->start;
	input.applied_lsn = window->start.lsn;
	input.upto = window->end.lsn;
	input.before_apply = take_turn;
	input.arg = window;
	output = pass_read(&input);
	if (output.discarded)
		return false;
	forboth(lc, output.stale, lc2, output.reasons)
		rollup_give_up((Rollup *) lfirst(lc), (const char *) lfirst(lc2),
					   window->end.lsn);
	if (output.changed != NIL)
		rollup_set_changed(output.changed);
	stream_set_applied(window->end.lsn);
	shared_stream_count(output.nchanges);
	return true;
}

/*
 * Takes a window and reads it.  Returns whether there was one, and it is
 * applied.  The locks come before the window: a statement that waits for the
 * locks of others may be in the way, and they wait for the window.  If a rollup
 * cannot be opened, the division ends soon: a cycle handles that, and all
 * processes take part in the next division.
 */
static bool
read_next_window(int leader)
{
	Window		window = {0};
	bool		opened;
	bool		applied;

	xact_begin();
	opened = open_rollups(&window);
	if (!opened || !take_window(leader, &window))
	{
		xact_commit();
		if (!opened)
			take_no_more(leader);
		return false;
	}
	window.began = GetCurrentTimestamp();
	applied = read_window(&window);
	if (applied)
	{
		debug_stop("window-applied");
		(void) xact_commit_lazily();
		debug_stop("window-committed");
		publish(&window);
	}
	else
	{
		xact_commit();			/* it has not written */
		stop(window.division);
	}
	slot_close();
	leave_window(&window);
	return applied;
}

/*
 * The leader
 */

/* The leader goes on alone. */
void
parallel_end(void)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->leader = 0;
	LWLockRelease(shared_state->lock);
	announce();
}

/* Returns how many processes may help to read a backlog of this size. */
static int
count_helpers(const StreamRow *row, uint64 backlog)
{
	if (notify_stats_parallel_backlog == 0 || launcher == NULL ||
		!row->format->resumable || !slot_keeps_open() ||
		backlog <= (uint64) notify_stats_parallel_backlog * 1024)
		return 0;
	/* each process needs a slot, this one too */
	return Min(notify_stats_max_catch_up_workers, slot_count_free()) - 1;
}

/* Becomes the leader, if there is none. */
static bool
become_leader(const StreamRow *row, XLogRecPtr start, XLogRecPtr safe,
			  int nhelpers)
{
	SharedCatchUp *shared = shared_catch_up();
	bool		may_lead;

	register_exit_callback();
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	may_lead = shared->leader == 0 && start >= shared->not_before;
	if (may_lead)
	{
		shared->leader = MyProcPid;
		shared->division++;
		shared->stopped = false;
		shared->busy = false;
		shared->paused = row->paused;
		shared->scout = MyProcPid;
		shared->end = safe;
		shared->nprocesses = nhelpers + 1;
		shared->window_size = choose_window_size(safe - start, nhelpers + 1);
		shared->next = shared->applied = (StartPoint) {0};
		over = false;
		memset(&move, 0, sizeof(move));
	}
	LWLockRelease(shared_state->lock);
	return may_lead;
}

/* The leader's own window begins at the position of the stream. */
static bool
take_first_window(const StreamRow *row, XLogRecPtr start)
{
	SharedCatchUp *shared = shared_catch_up();
	Window		window = {0};
	SlotInfo	slot;

	if (!slot_lookup(NameStr(row->slot_name), &slot) || slot.lost)
		return false;
	window.division = shared->division;
	window.start.lsn = start;
	window.start.restart_lsn = slot.restart_lsn;
	window.start.catalog_xmin = slot.catalog_xmin;
	if (!find_end(&window.start, shared->end, &window.end))
		return false;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->scout = 0;
	(void) enter_window(shared, &window);
	shared->next = own_end = window.end;
	LWLockRelease(shared_state->lock);
	announce();
	return true;
}

/* One process is to read a backlog, up to there. */
static void
leave_to_one_process(XLogRecPtr end)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->leader = 0;
	shared->scout = 0;
	shared->not_before = end;
	(void) free_windows(shared);
	LWLockRelease(shared_state->lock);
	/* a helper of an earlier division may wait, with locks on the rollups */
	announce();
}

/*
 * Divides a backlog, if it is large enough, and starts other processes.
 * "start" is the position of the stream, which is locked, and "safe" the end of
 * the WAL that may be read.  Returns true if this process is now the leader, and
 * sets *end to the end of its own window, which it reads with the main slot.
 * Otherwise it reads the backlog alone, as far as *end if that was lower.
 */
bool
parallel_begin(const StreamRow *row, XLogRecPtr start, XLogRecPtr safe,
			   XLogRecPtr *end)
{
	SharedCatchUp *shared = shared_catch_up();
	int			nhelpers = count_helpers(row, safe - start);

	if (nhelpers < 1)
		return false;
	if (!become_leader(row, start, safe, nhelpers))
	{
		/* the next window may begin a division */
		if (start < shared->not_before)
			*end = Min(*end, shared->not_before);
		return false;
	}
	/* they get ready while the end of the first window is looked for */
	nhelpers = launcher(nhelpers);
	if (nhelpers == 0)
	{
		leave_to_one_process(safe);
		return false;
	}
	if (!take_first_window(row, start))
	{
		leave_to_one_process(search_end(start, safe));
		return false;
	}
	ereport(LOG,
			(errmsg("notify_stats reads a backlog of " UINT64_FORMAT " MB with up to %d processes",
					(safe - start) / (1024 * 1024), nhelpers + 1)));
	*end = own_end.lsn;
	return true;
}

/* Returns whether this process leads. */
bool
parallel_is_mine(void)
{
	SharedStream *stream = shared_stream_if_any();

	return stream != NULL && stream->catch_up.leader == MyProcPid;
}

/* Returns whether another process leads, and more windows are to be applied. */
bool
parallel_is_of_other(void)
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
parallel_wait_for_other(void)
{
	ConditionVariablePrepareToSleep(&shared_state->window_cv);
	while (parallel_is_of_other())
		ConditionVariableSleep(&shared_state->window_cv, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* The leader has committed its own window: others may go on from there. */
void
parallel_first_is_applied(void)
{
	SharedCatchUp *shared = shared_catch_up();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared->applied = own_end;
	(void) free_windows(shared);
	LWLockRelease(shared_state->lock);
	announce();
}

/*
 * Moves the main slot to the position that is applied, so that it does not
 * retain the WAL before, if it may.  Standbys do not have a commit at once:
 * then it is moved there the next time, when later ones are applied, too.  The
 * stream is locked.
 */
void
parallel_move_slot(const StreamRow *row)
{
	SharedCatchUp *shared = shared_catch_up();
	StartPoint	applied;
	SlotInfo	slot;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	applied = shared->applied;
	LWLockRelease(shared_state->lock);
	if (!slot_lookup(NameStr(row->slot_name), &slot))
		return;
	if (slot.confirmed_flush_lsn >= move.point.lsn)
	{
		move.point = applied;
		move.written = slot_written_lsn();
	}
	if (slot.confirmed_flush_lsn >= move.point.lsn ||
		!main_stream_may_advance(&slot, move.written))
		return;
	slot_close();
	start_point_move_slot(&move.point, NameStr(row->slot_name));
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

static void
wait_for_others(void)
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

/*
 * Reads a window, as leader.  If none is left, waits for the other processes,
 * and parallel_is_over becomes true.
 */
void
parallel_read(void)
{
	over = !read_next_window(MyProcPid);
	if (over)
		wait_for_others();
}

/* Returns whether the leader has to go on alone. */
bool
parallel_is_over(void)
{
	return over;
}

/* Reads windows for a leader, given by its process, until none is left. */
void
parallel_help(int leader)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats window",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	bool		more = true;

	while (more)
	{
		time_limit_start();
		more = read_next_window(leader);
		time_limit_stop();
		/* advisory locks that users' code has taken at session level */
		LockReleaseSession(USER_LOCKMETHOD);
		/* the leader, which has it closed, may be busy for long */
		main_slot_touch();
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
}
