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
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "busy_lock.h"
#include "division.h"
#include "facts.h"
#include "main_slot.h"
#include "main_stream.h"
#include "notification.h"
#include "parallel.h"
#include "pass.h"
#include "rollup.h"
#include "settings.h"
#include "shape.h"
#include "shared.h"
#include "slot.h"
#include "start_point.h"
#include "time_limit.h"
#include "usage.h"
#include "xact.h"

/* How long to wait for the lock of the stream in our turn. */
#define LOCK_PATIENCE_MS 5000

/* The reading of a window by this process. */
typedef struct WindowReading
{
	Window		window;
	List	   *live;			/* of Rollup: for which it is folded */
	StreamRow	row;			/* as of then */
	PassOutput	output;
} WindowReading;

static ParallelLauncher launcher = NULL;

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

/*
 * Our turn
 */

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
rollups_are_same(const WindowReading *reading)
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
		folded = rollup_find(reading->live, now->relid);
		if (folded == NULL || folded->built_from != now->built_from)
			return false;
	}
	return nlive == list_length(reading->live);
}

/*
 * Called before the changes of a window are applied.  Returns whether they may
 * be: everything is as the window expects it, and the stream is locked.
 */
static bool
take_turn(void *arg)
{
	const WindowReading *reading = (const WindowReading *) arg;
	const Window *window = &reading->window;
	StreamRow	row;

	debug_stop("window-folded");
	return division_wait_for_turn(window) && lock_stream() &&
		stream_load(&row) &&
		row.has_slot && row.applied_lsn == window->start.lsn &&
		row.upgrade_from == 0 && row.paused == window->paused &&
		strcmp(NameStr(row.slot_name), NameStr(reading->row.slot_name)) == 0 &&
		rollups_are_same(reading) &&
		facts_equal(facts_load(InvalidOid),
					facts_collect(row.format,
								  rollup_definitions(reading->live)));
}

/*
 * Reading
 */

/*
 * Opens the live rollups.  Returns false if one cannot be: a cycle decides what
 * to do about that.
 */
static bool
open_rollups(WindowReading *reading)
{
	ListCell   *lc;

	shape_forget_outdated();
	if (!stream_load(&reading->row))
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
		reading->live = lappend(reading->live, rollup);
	}
	return reading->live != NIL;
}

/*
 * Reads a window and applies it in its turn, in the current transaction.
 * Returns false if it is discarded.
 */
static bool
read_window(WindowReading *reading)
{
	const Window *window = &reading->window;
	PassInput	input = {0};
	PassOutput *output = &reading->output;
	ListCell   *lc;
	ListCell   *lc2;

	input.slot_name = division_slot_name();
	input.format = reading->row.format;
	input.rollups = reading->live;
	input.start = &window->start;
	input.applied_lsn = window->start.lsn;
	input.upto = window->end.lsn;
	input.before_apply = take_turn;
	input.arg = reading;
	*output = pass_read(&input);
	if (output->discarded)
		return false;
	forboth(lc, output->stale, lc2, output->reasons)
		rollup_give_up((Rollup *) lfirst(lc), (const char *) lfirst(lc2),
					   window->end.lsn);
	if (output->changed != NIL)
		rollup_set_changed(output->changed);
	if (output->partitions != NIL)
		(void) main_stream_add_partitions(output->partitions,
										  facts_load(InvalidOid));
	notification_send(output->changed, window->end.lsn);
	stream_set_applied(window->end.lsn);
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
	WindowReading reading = {0};
	Window	   *window = &reading.window;
	bool		opened;
	bool		applied;

	xact_begin();
	opened = open_rollups(&reading);
	if (!opened || !division_take(leader, window))
	{
		xact_commit();
		if (!opened)
			division_take_no_more(leader);
		return false;
	}
	applied = read_window(&reading);
	if (applied)
	{
		debug_stop("window-applied");
		(void) xact_commit_lazily();
		pass_count(&reading.output);
		debug_stop("window-committed");
		division_is_applied(window);
	}
	else
	{
		xact_commit();			/* it has not written */
		division_stop(window);
	}
	slot_close();
	division_leave(window);
	return applied;
}

/*
 * The leader
 */

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

/* The leader's first window begins at the position of the stream. */
static bool
take_first_window(const StreamRow *row, XLogRecPtr start, XLogRecPtr *end)
{
	StartPoint	point = {.lsn = start};
	SlotInfo	slot;

	if (!slot_lookup(NameStr(row->slot_name), &slot) || slot.lost)
		return false;
	point.restart_lsn = slot.restart_lsn;
	point.catalog_xmin = slot.catalog_xmin;
	return division_take_first(&point, end);
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
	int			nhelpers = count_helpers(row, safe - start);
	XLogRecPtr	not_before = start;

	if (nhelpers < 1)
		return false;
	if (!division_begin(&not_before, safe, nhelpers + 1, row->paused))
	{
		/* the next window may begin a division */
		if (not_before > start)
			*end = Min(*end, not_before);
		return false;
	}
	over = false;
	memset(&move, 0, sizeof(move));
	/* they get ready while the end of the first window is looked for */
	nhelpers = launcher(nhelpers);
	if (nhelpers == 0 || !take_first_window(row, start, end))
	{
		division_refuse(nhelpers == 0);
		return false;
	}
	ereport(LOG,
			(errmsg("notify_stats reads a backlog of " UINT64_FORMAT " MB with up to %d processes",
					(safe - start) / (1024 * 1024), nhelpers + 1)));
	return true;
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
	SlotInfo	slot;

	if (!slot_lookup(NameStr(row->slot_name), &slot))
		return;
	if (slot.confirmed_flush_lsn >= move.point.lsn)
	{
		move.point = division_applied();
		move.written = slot_written_lsn();
	}
	if (slot.confirmed_flush_lsn >= move.point.lsn ||
		!main_stream_may_advance(&slot, move.written))
		return;
	slot_close();
	start_point_move_slot(&move.point, NameStr(row->slot_name));
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
		division_wait_for_readers();
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
		usage_count();
		/* advisory locks that users' code has taken at session level */
		LockReleaseSession(USER_LOCKMETHOD);
		/* the leader, which has it closed, may be busy for long */
		main_slot_touch();
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(caller_context);
	MemoryContextDelete(context);
}
