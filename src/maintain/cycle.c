/*-------------------------------------------------------------------------
 *
 * cycle.c
 *	  A cycle of the main stream: settle, read, commit, advance.
 *
 * Reading and applying are one transaction, which also writes the position
 * that the stream has reached.  So the rollups and the position are consistent
 * after any crash.  The slot may advance only after the commit is on disk.
 * The slot's own position is not crash-safe and may be too early.  Then the
 * next peek returns transactions again, and they are skipped by comparing them
 * with our position.
 *
 * If there were no relevant changes, the position is kept only in shared
 * memory.  It is written at most once per second, and only if others have
 * written WAL.  Our own commits, and WAL that the server writes on its own, do
 * not count, so an idle server writes nothing.  There is one exception.  A
 * client may use the end of the WAL as a token for its own commit, and that
 * may be after our commit.  On a standby the token can only be compared with
 * the written position.  So one more position is written after the last
 * changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "catalog_version.h"
#include "cycle.h"
#include "division.h"
#include "main_slot.h"
#include "main_stream.h"
#include "pass.h"
#include "position.h"
#include "settings.h"
#include "notification.h"
#include "oversize.h"
#include "parallel.h"
#include "publication.h"
#include "replacement.h"
#include "request.h"
#include "shared.h"
#include "slot.h"
#include "time_limit.h"
#include "trouble.h"
#include "upgrade.h"
#include "usage.h"
#include "wal_window.h"
#include "xact.h"

#define PROGRESS_INTERVAL_MS 1000

/* One more position is written this long after the last changes. */
#define CLOSING_DELAY_MS 100

/* How often a replacement of a rollup that is pending is tried. */
#define REPLACEMENT_DELAY_MS 50

/*
 * If restart_lsn is this many bytes behind, the running transactions are
 * logged, so that it can advance.  The interval is doubled, up to the maximum,
 * while that does not help.
 */
#define RESTART_DISTANCE (1024 * 1024)
#define SNAPSHOT_INTERVAL_MS 500
#define MAX_SNAPSHOT_INTERVAL_MS 15000

/* The state of a running cycle. */
typedef struct Cycle
{
	bool		manual;			/* works on a paused stream as well */
	StreamRow	row;			/* of the stream, which is locked */
	List	   *rollups;		/* all of this database */
	Oid			entered;		/* rollup whose trouble this transaction
								 * records in its state */
	bool		replaced;		/* it has replaced a rollup */
	CycleResult *result;
} Cycle;

/* Requests the next cycle within this number of milliseconds. */
static void
come_again(Cycle *cycle, int milliseconds)
{
	CycleResult *result = cycle->result;

	if (result->again_after_ms == 0 || milliseconds < result->again_after_ms)
		result->again_after_ms = milliseconds;
}

/*
 * Steps before the stream is read
 */

/*
 * The version of the catalogs and the time at which this process last checked
 * whether failed rollups must be tried again.
 */
static CatalogStamp retries_looked;
static TimestampTz retries_looked_at;

/*
 * Returns whether the catalogs may have changed since the error of a rollup.
 * If not, sets *state to the state of the catalogs that belongs to the error.
 */
static bool
cause_may_be_gone(const Trouble *trouble, int64 *state)
{
	TransactionId youngest;

	*state = trouble->catalog;
	if (trouble->catalog != 0)
		return false;			/* noted before the attempt */
	*state = rollup_catalog_state(trouble->rollup, &youngest);
	return TransactionIdFollowsOrEquals(youngest, trouble->xmin) ||
		(trouble->others != 0 &&
		 trouble->others != shared_foreign_transactions());
}

/*
 * Notes at which position a rollup with an error is exact.  Returns whether it
 * can be resumed from there.
 */
static bool
keep_position(const StreamRow *row, const Trouble *trouble,
			  const Rollup *rollup)
{
	if (rollup == NULL)
		return false;
	if (trouble->loses_position)
		position_forget(rollup->relid);
	else if (rollup->state == ROLLUP_LIVE && row->has_slot)
		position_keep(rollup->relid, row->applied_lsn);
	return wal_window_can_resume(row, rollup->relid);
}

/* Makes a rollup one to be resumed, or built again, since that may succeed. */
static void
enter_as_stale(const StreamRow *row, Rollup *rollup, const Trouble *trouble)
{
	if (trouble->loses_position)
		rollup_give_up(rollup, trouble->reason, trouble->lsn);
	else
		main_stream_leave_behind(row, rollup, trouble->reason, trouble->lsn);
}

/* Records an error that only a user can resolve. */
static void
enter_failure(const Trouble *trouble, const Rollup *rollup, bool resumable)
{
	char	   *name = rollup_qualified_name(trouble->rollup);

	ereport(LOG,
			(errmsg("rollup %s has failed: %s", name, trouble->reason),
			 errhint("%s",
					 rollup_repair_hint(name,
										rollup != NULL && rollup->ignores != NIL,
										resumable))));
	rollup_set_state(trouble->rollup, ROLLUP_FAILED, trouble->reason,
					 trouble->lsn);
}

/*
 * Marks a rollup as failed if an error of it was noted, and returns its OID.
 * Returns InvalidOid if none was noted.  A rollup that was restored from a
 * dump may depend on a later part of the dump, such as an index or a
 * privilege.  So the worker continues to try to build it.
 */
static Oid
enter_trouble(const StreamRow *row, bool manual)
{
	Trouble		trouble;
	Rollup	   *rollup;
	bool		resumable;
	bool		may_retry;
	int64		state = 0;

	if (!trouble_read(&trouble))
		return InvalidOid;
	rollup = rollup_find(rollup_list(NULL), trouble.rollup);
	resumable = keep_position(row, &trouble, rollup);
	may_retry = trouble.of_catalog && rollup != NULL &&
		(rollup->ignores == NIL || resumable);
	if (!manual && rollup != NULL && rollup_is_restored(rollup))
	{
		ereport(LOG,
				(errmsg("rollup %s, restored from a dump, cannot be built yet: %s",
						rollup_qualified_name(trouble.rollup), trouble.reason),
				 errdetail("The build will be retried.")));
		rollup_set_state(trouble.rollup, ROLLUP_STALE, trouble.reason,
						 trouble.lsn);
	}
	else if (trouble.heals && rollup != NULL)
	{
		(void) shared_stream_offences(trouble.rollup, true);
		enter_as_stale(row, rollup, &trouble);
	}
	else if (may_retry && cause_may_be_gone(&trouble, &state))
		/* its build will show whether the cause is gone */
		enter_as_stale(row, rollup, &trouble);
	else
	{
		enter_failure(&trouble, rollup, resumable);
		if (may_retry)
			rollup_set_retry(trouble.rollup, state);
		retries_looked.valid = false;
	}
	request_forget(trouble.rollup, trouble.request);
	return trouble.rollup;
}

/*
 * The result of a step.  Each step checks one condition, in the transaction
 * that has locked the stream.
 */
typedef enum Settled
{
	SETTLED_NOTHING,			/* nothing to do: run the next step */
	SETTLED_SOMETHING,			/* commit, and start with the first step */
	SETTLED_ALL					/* commit: there is nothing to read in this
								 * cycle */
} Settled;

typedef Settled (*SettleStep) (Cycle *cycle);

/*
 * Locks the stream, if the extension is installed.  Otherwise drops a slot
 * that a dropped extension has left, as it would retain all WAL.
 */
static Settled
settle_extension(Cycle *cycle)
{
	if (OidIsValid(catalog_table(CATALOG_STREAM)) &&
		main_stream_lock(&cycle->row))
		return SETTLED_NOTHING;
	main_slot_drop_orphans();
	wal_window_drop_slot();
	return SETTLED_ALL;
}

static Settled
settle_upgrade(Cycle *cycle)
{
	if (upgrade_end(&cycle->row))
		return SETTLED_SOMETHING;
	if (cycle->row.upgrade_from != 0 && cycle->manual)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("notify_stats has been prepared for pg_upgrade"),
				 errhint("To resume without an upgrade, run: SELECT notify_stats.resume();")));
	return SETTLED_NOTHING;
}

static Settled
settle_pause(Cycle *cycle)
{
	cycle->result->paused = cycle->row.paused && !cycle->manual;
	return cycle->result->paused ? SETTLED_ALL : SETTLED_NOTHING;
}

/* The failure is committed immediately, before another rollup can fail. */
static Settled
settle_trouble(Cycle *cycle)
{
	cycle->entered = enter_trouble(&cycle->row, cycle->manual);
	return OidIsValid(cycle->entered) ? SETTLED_SOMETHING : SETTLED_NOTHING;
}

static Settled
settle_dropped_rollups(Cycle *cycle)
{
	bool		some_dropped;

	cycle->rollups = rollup_list(&some_dropped);
	if (some_dropped)
		rollup_forget_dropped();
	cycle->result->has_rollups = cycle->rollups != NIL;
	return SETTLED_NOTHING;
}

static bool
has_failed(List *rollups)
{
	ListCell   *lc;

	foreach(lc, rollups)
	{
		if (((Rollup *) lfirst(lc))->state == ROLLUP_FAILED)
			return true;
	}
	return false;
}

/*
 * Checks whether failed rollups must be tried again, if some catalog has
 * changed since the last check by this process.  The check costs more than a
 * cycle, so it is done at most once per second.
 */
static Settled
settle_failed_rollups(Cycle *cycle)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		version;
	bool		written = false;
	ListCell   *lc;

	if (!has_failed(cycle->rollups) || catalog_stamp_holds(&retries_looked))
		return SETTLED_NOTHING;
	if (retries_looked.valid && !cycle->manual &&
		!TimestampDifferenceExceeds(retries_looked_at, now,
									PROGRESS_INTERVAL_MS))
	{
		come_again(cycle, PROGRESS_INTERVAL_MS);
		return SETTLED_NOTHING;
	}
	version = catalog_version();
	retries_looked.valid = false;
	retries_looked_at = now;
	foreach(lc, cycle->rollups)
		written |= rollup_retry((Rollup *) lfirst(lc));
	/* an error may still roll back the writes */
	if (!written)
		catalog_stamp(&retries_looked, version);
	return written ? SETTLED_SOMETHING : SETTLED_NOTHING;
}

/* Returns why the slot cannot be read any further, or NULL if it can. */
static const char *
loss_reason(const StreamRow *row)
{
	const char *reason = main_slot_loss_reason(row);

	if (reason != NULL || !oversize_is_final(row->applied_lsn))
		return reason;
	oversize_forget();
	return psprintf("a change is too large for output plugin \"%s\"",
					row->format->plugin);
}

/*
 * Handles a request for a new slot.  If the stream has no slot, the next one
 * is new in any case.
 */
static Settled
settle_slot_request(Cycle *cycle)
{
	if (cycle->row.slot_request == 0)
		return SETTLED_NOTHING;
	/* that of a session, in catch_up(), does not change within a statement */
	if (!cycle->manual)
		settings_reload_now();
	if (cycle->row.has_slot && cycle->rollups != NIL)
		main_slot_give_up_as_requested(&cycle->row);
	stream_set_slot_request_done(cycle->row.slot_request);
	return SETTLED_SOMETHING;
}

/*
 * Replaces a main slot that was lost by one that begins in the window of
 * applied WAL.  Returns false if that is not possible.  While another process
 * has the slot open, only notes that.
 */
static bool
restore_slot(Cycle *cycle)
{
	const char *reason = main_slot_loss_reason(&cycle->row);
	StartPoint	point;

	if (reason == NULL ||
		!wal_window_covers(&cycle->row, cycle->row.applied_lsn, &point))
		return false;
	cycle->result->slot_in_use = main_slot_note_use(!cycle->manual);
	return cycle->result->slot_in_use ||
		wal_window_restore_slot(&cycle->row, &point, reason);
}

static Settled
settle_lost_slot(Cycle *cycle)
{
	const char *reason;

	if (!cycle->row.has_slot || cycle->rollups == NIL)
		return SETTLED_NOTHING;
	reason = loss_reason(&cycle->row);
	if (reason == NULL)
		return SETTLED_NOTHING;
	/* a slot cannot be created in a transaction that has written */
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return SETTLED_SOMETHING;
	if (restore_slot(cycle))
		return cycle->result->slot_in_use ? SETTLED_ALL : SETTLED_SOMETHING;
	if (!main_slot_replace(&cycle->row))
		main_slot_give_up(&cycle->row, reason);
	return SETTLED_SOMETHING;
}

static Settled
settle_restored_rollups(Cycle *cycle)
{
	return rollup_settle_restored(cycle->rollups, cycle->row.has_slot) ?
		SETTLED_SOMETHING : SETTLED_NOTHING;
}

/*
 * Puts the new form of altered rollups in the place of the old one.  This
 * looks for them only if the catalogs have changed, or if there was one the
 * last time.
 */
static Settled
settle_replacements(Cycle *cycle)
{
	static CatalogStamp looked;
	static TimestampTz waits_since = 0; /* the last look; 0: it found none */
	TimestampTz now = GetCurrentTimestamp();
	uint64		version = catalog_version();
	ReplacementStep step;
	bool		ready;

	if (catalog_stamp_holds(&looked))
		return SETTLED_NOTHING;
	if (!cycle->manual && waits_since != 0 &&
		!TimestampDifferenceExceeds(waits_since, now, REPLACEMENT_DELAY_MS))
	{
		come_again(cycle, REPLACEMENT_DELAY_MS);
		return SETTLED_NOTHING;
	}
	looked.valid = false;
	waits_since = 0;
	step = replacement_continue(cycle->rollups, &ready);
	if (step == REPLACEMENT_LATER)
		waits_since = now;
	if (step == REPLACEMENT_NONE)
		catalog_stamp(&looked, version);
	else if (ready)
		come_again(cycle, REPLACEMENT_DELAY_MS);
	cycle->replaced = step == REPLACEMENT_SOMETHING;
	return cycle->replaced ? SETTLED_SOMETHING : SETTLED_NOTHING;
}

/*
 * Removes the slot from the stream's row if there are no rollups.  A slot that
 * the row does not have (yet, or any more) is dropped later, as an orphan.
 */
static Settled
settle_unneeded_slot(Cycle *cycle)
{
	if (cycle->rollups != NIL || !cycle->row.has_slot)
		return SETTLED_NOTHING;
	stream_clear_slot();
	return SETTLED_SOMETHING;
}

/*
 * The worker must not touch the slot while another process uses it, since the
 * slot can be neither read nor dropped nor created.  A session that runs
 * catch_up() gets the server's error instead.
 */
static Settled
settle_use_by_others(Cycle *cycle)
{
	cycle->result->slot_in_use = main_slot_note_use(!cycle->manual);
	return cycle->result->slot_in_use ? SETTLED_ALL : SETTLED_NOTHING;
}

static Settled
settle_missing_slot(Cycle *cycle)
{
	if (cycle->row.has_slot)
		return SETTLED_NOTHING;
	if (cycle->rollups == NIL)
	{
		main_slot_drop_orphans();
		wal_window_drop_slot();
		return SETTLED_ALL;
	}
	/* a slot cannot be created in a transaction that has written */
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
	{
		main_slot_create();
		wal_window_drop();
	}
	return SETTLED_SOMETHING;
}

/*
 * Removes tables that no rollup reads from the publication, once per second or
 * in a manual cycle.
 */
static Settled
settle_publication(Cycle *cycle)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (cycle->row.format == &format_pgoutput &&
		(cycle->manual ||
		 TimestampDifferenceExceeds(last, now, PROGRESS_INTERVAL_MS)))
	{
		last = now;
		publication_remove_unused();
	}
	return SETTLED_NOTHING;
}

/* The steps in order.  Each depends on those before it. */
static const SettleStep settle_steps[] = {
	settle_extension,
	settle_upgrade,
	settle_pause,
	settle_trouble,
	settle_dropped_rollups,
	settle_failed_rollups,
	settle_slot_request,
	settle_lost_slot,
	settle_restored_rollups,
	settle_replacements,
	settle_unneeded_slot,
	settle_use_by_others,
	settle_missing_slot,
	settle_publication
};

/*
 * Starts a transaction on the main stream, and runs the steps that must come
 * before it is read.  If SETTLED_NOTHING is returned, the transaction is open,
 * and the stream is locked and has a usable slot.  Otherwise the transaction
 * has ended, and no slot is open.
 */
static Settled
open_stream(Cycle *cycle)
{
	Settled		settled = SETTLED_NOTHING;

	xact_begin();
	cycle->entered = InvalidOid;
	for (int i = 0; settled == SETTLED_NOTHING &&
		 i < lengthof(settle_steps); i++)
		settled = settle_steps[i] (cycle);
	if (settled == SETTLED_NOTHING)
		return settled;
	xact_commit();
	if (settled == SETTLED_ALL)
		(void) division_abandon();
	if (cycle->replaced)
		debug_stop("swap-committed");
	if (OidIsValid(cycle->entered))
	{
		trouble_forget(cycle->entered);
		shared_worker_has_worked();
	}
	main_stream_forget_locks();
	slot_close();
	/* the rollup that needed the lock may have been dropped */
	shared_stream_waits_for(InvalidOid);
	return settled;
}

/*
 * Reading
 */

/*
 * Returns whether the position should be written although nothing was applied.
 * This is so if others have ended transactions, or if the slot would retain
 * much WAL.  "foreign" is the count of transactions of others, taken before
 * "upto" was determined.
 */
static bool
is_progress(SharedStream *shared, uint64 foreign, XLogRecPtr applied,
			XLogRecPtr upto)
{
	return upto > applied &&
		(foreign != shared->progress.foreign ||
		 upto - applied > (uint64) wal_segment_size);
}

/* Returns whether the last write of a position is a second ago. */
static bool
is_progress_time(SharedStream *shared)
{
	return TimestampDifferenceExceeds(shared->progress.at,
									  GetCurrentTimestamp(),
									  PROGRESS_INTERVAL_MS);
}

/*
 * Remembers that a position was written.  If not all WAL was on disk, a
 * transaction that "foreign" counts may be after the position.  Then "settled"
 * is false, and the count is not remembered.
 */
static void
note_progress(SharedStream *shared, uint64 foreign, bool settled)
{
	shared->progress.at = GetCurrentTimestamp();
	if (settled)
		shared->progress.foreign = foreign;
}

/*
 * Logs the running transactions, so that restart_lsn can advance, from which
 * the slot is read when it is opened.  restart_lsn can only move to such a
 * record, and not past the oldest running transaction.  If that holds it back,
 * the interval is doubled.  Returns the end of the record, or an invalid LSN.
 */
static XLogRecPtr
keep_restart_close(SharedStream *shared, XLogRecPtr restart_lsn,
				   XLogRecPtr reached_lsn)
{
	TimestampTz now = GetCurrentTimestamp();

	if (reached_lsn < restart_lsn + RESTART_DISTANCE)
		return InvalidXLogRecPtr;
	if (!TimestampDifferenceExceeds(shared->standby_snapshot.at, now,
									shared->standby_snapshot.interval))
		return InvalidXLogRecPtr;

	shared->standby_snapshot.interval =
		shared->standby_snapshot.restart_lsn != restart_lsn ?
		SNAPSHOT_INTERVAL_MS :
		Min(Max(shared->standby_snapshot.interval, SNAPSHOT_INTERVAL_MS) * 2,
			MAX_SNAPSHOT_INTERVAL_MS);
	shared->standby_snapshot.restart_lsn = restart_lsn;
	shared->standby_snapshot.at = now;
	return slot_log_running_transactions();
}

/* Returns whether it is time to write one more position after changes. */
static bool
is_closing_time(SharedStream *shared, bool manual)
{
	return shared->progress.unclosed &&
		(manual || TimestampDifferenceExceeds(shared->progress.at,
											  GetCurrentTimestamp(),
											  CLOSING_DELAY_MS));
}

/*
 * Collects the rollups to build.  A rollup without its index is built only on
 * request, because the restore of a dump creates the index after it has filled
 * the table.  A rollup is not built while something else writes its table.
 */
static void
collect_builds(Cycle *cycle)
{
	CycleResult *result = cycle->result;
	ListCell   *lc;

	foreach(lc, cycle->rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);

		if (rollup_wants_build(rollup) && !rollup_is_obstructed(rollup) &&
			(rollup->request > 0 || rollup_has_index(rollup)))
			result->wants_build = lappend_oid(result->wants_build,
											  rollup->relid);
	}
}

static bool
reads_source(const Rollup *rollup, Oid source)
{
	return list_member_oid(rollup->shape->definition->sources, source);
}

/*
 * Marks as stale the live rollups that read a source with an unreadable value.
 * Returns whether such a value was noted.  If so, the transaction has been
 * committed.
 */
static bool
settle_unreadable(const StreamRow *row, List *live)
{
	char	   *reason;
	Oid			source = trouble_unreadable_source(&reason);
	ListCell   *lc;

	if (!OidIsValid(source))
		return false;
	reason = psprintf("a value of table \"%s\" cannot be read: %s",
					  get_rel_name(source) ? get_rel_name(source) : "?",
					  reason);
	foreach(lc, live)
	{
		if (reads_source((Rollup *) lfirst(lc), source))
			rollup_give_up((Rollup *) lfirst(lc), reason, row->applied_lsn);
	}
	/* commit this before another value can fail */
	xact_commit();
	trouble_forget_source(source);
	shared_worker_has_worked();
	return true;
}

/*
 * The version of the catalogs at which this process last compared the facts of
 * sources, and committed the result.  While the version is the same, the facts
 * are too, unless the format identifies columns by name.
 */
static CatalogStamp facts_compared;

/* The state of reading and applying one window of the stream. */
typedef struct Reading
{
	TimestampTz began;
	uint64		version;		/* of the catalogs, from before any lock */
	uint64		foreign;		/* transactions of others, at that time */
	XLogRecPtr	written;		/* the end of the WAL, on disk or not */
	bool		closing;		/* one more position must be written */
	XLogRecPtr	start;
	XLogRecPtr	safe;			/* the end of the WAL that may be read */
	XLogRecPtr	upto;			/* the end of the window */
	PassOutput	output;
	bool		progress;		/* a position must be written, now or later */
	bool		write;			/* it must be written now */
} Reading;

/* Collects the values that must be read before any lock is taken. */
static void
begin_reading(Reading *reading, const Cycle *cycle)
{
	SharedStream *shared = shared_stream();

	reading->began = GetCurrentTimestamp();
	reading->version = catalog_version();
	reading->foreign = shared_foreign_transactions();
	reading->written = slot_written_lsn();
	reading->closing = is_closing_time(shared, cycle->manual);
	reading->safe = reading->closing ? slot_flush_written() : slot_safe_lsn();
	reading->start = Max(cycle->row.applied_lsn,
						 pg_atomic_read_u64(&shared->reached_lsn));
	/* a position may be in the middle of a record */
	reading->safe = Max(reading->safe, reading->start);
}

/* Returns where the slot is read from, which may be before the window. */
static XLogRecPtr
restart_of(const StreamRow *row, XLogRecPtr start)
{
	SlotInfo	slot;

	if (!slot_is_open(NameStr(row->slot_name)) &&
		slot_lookup(NameStr(row->slot_name), &slot))
		return slot.restart_lsn;
	return start;
}

/*
 * Returns where the window ends.  If the backlog is read by several processes,
 * it is the first of their windows.
 */
static XLogRecPtr
choose_end(const Reading *reading, const StreamRow *row, const List *live)
{
	XLogRecPtr	end = pass_window_end(reading->start, reading->safe,
									  restart_of(row, reading->start));

	if (live != NIL)
		(void) parallel_begin(row, reading->start, reading->safe, &end);
	return end;
}

/* Reads and applies the window, and decides whether to write its end. */
static void
read_window(Reading *reading, const Cycle *cycle, List *live)
{
	const StreamRow *row = &cycle->row;
	SharedStream *shared = shared_stream();
	PassOutput *output = &reading->output;
	bool		compare;

	/* catalogs may also have changed before the locks were taken */
	compare = !catalog_stamp_holds(&facts_compared) ||
		catalog_version() != reading->version;
	reading->upto = choose_end(reading, row, live);
	cycle->result->more = reading->upto < reading->safe;
	if (reading->upto > reading->start || compare)
	{
		*output = main_stream_read(row, live, reading->upto, compare);
		reading->upto = output->reached_lsn;
	}
	reading->progress = is_progress(shared, reading->foreign, row->applied_lsn,
									reading->upto);
	reading->write = output->changed != NIL || output->stale != NIL ||
		output->new_facts ||
		(reading->progress && is_progress_time(shared)) ||
		(reading->closing && reading->upto > row->applied_lsn) ||
		division_is_mine();
}

/* Commits the applied changes and the position. */
static void
commit_reading(const Reading *reading, Cycle *cycle)
{
	SharedStream *shared = shared_stream();
	XLogRecPtr	end;

	if (reading->write)
	{
		wal_window_note(&cycle->row, reading->upto);
		notification_send(reading->output.changed, reading->upto);
		stream_set_applied(reading->upto);
	}
	collect_builds(cycle);
	debug_stop("after-apply");
	end = xact_commit_lazily();
	cycle->result->own_end = end;
	catalog_stamp(&facts_compared, reading->version);
	if (!reading->write)
		return;
	shared->progress.unclosed = reading->output.changed != NIL ||
		reading->foreign != shared->progress.foreign;
	note_progress(shared, reading->foreign,
				  reading->upto == reading->safe &&
				  reading->safe >= reading->written);
	main_stream_note_commit(reading->upto, end);
}

/* Publishes the position of the stream, and schedules what is left to do. */
static void
publish_reading(const Reading *reading, Cycle *cycle)
{
	CycleResult *result = cycle->result;

	pass_count(&reading->output);
	if (result->more)
		shared_stream_backlog(reading->upto - reading->start, reading->began);
	debug_stop("after-commit");
	shared_stream_reached(reading->upto, reading->began);
	if (division_is_mine())
		division_first_is_applied();
	result->start_lsn = reading->start;
	result->reached_lsn = reading->upto;
	if (reading->progress && !reading->write)
		come_again(cycle, PROGRESS_INTERVAL_MS);
	if (shared_stream()->progress.unclosed)
		come_again(cycle, CLOSING_DELAY_MS + 1);
}

/* Advances the slot and its restart_lsn, as far as it is time for that. */
static void
advance_after(const Reading *reading, Cycle *cycle)
{
	const StreamRow *row = &cycle->row;
	CycleResult *result = cycle->result;
	int			delay;
	SlotInfo	slot;

	delay = main_stream_keep_slot_close(row, reading->write ?
										reading->upto : row->applied_lsn,
										cycle->manual);
	if (delay > 0)
		come_again(cycle, delay);
	if (!slot_lookup(NameStr(row->slot_name), &slot))
		return;
	result->restart_lsn = slot_is_open(NameStr(row->slot_name)) ?
		reading->upto : slot.restart_lsn;
	if (reading->write)
	{
		XLogRecPtr	end = keep_restart_close(shared_stream(), slot.restart_lsn,
											 reading->upto);

		result->own_end = Max(result->own_end, end);
	}
}

/*
 * Reads a window of a backlog that several processes read.  Returns false if
 * none is left, so that the stream, which is open, is to be read as usual.
 */
static bool
read_in_parallel(Cycle *cycle)
{
	CycleResult *result = cycle->result;

	parallel_move_slot(&cycle->row);
	if (parallel_is_over())
	{
		division_end();
		return false;
	}
	result->start_lsn = cycle->row.applied_lsn;
	xact_commit();
	parallel_read();
	result->more = true;
	result->reached_lsn = result->restart_lsn =
		pg_atomic_read_u64(&shared_stream()->reached_lsn);
	return true;
}

/*
 * Reads the open stream up to the end of the WAL or of the window.  Returns
 * true if an unreadable value was handled instead; the caller must then open
 * the stream again.
 */
static bool
read_stream(Cycle *cycle)
{
	Reading		reading = {0};
	List	   *live;

	if (division_is_mine() && read_in_parallel(cycle))
		return false;
	if (division_is_of_other())
	{
		/* to read alone beside it would stop it */
		xact_commit();
		division_wait_for_other();
		cycle->result->more = true;
		return false;
	}
	begin_reading(&reading, cycle);
	if (!main_stream_open_live(&cycle->row, cycle->rollups, &live,
							   &cycle->result->busy))
	{
		collect_builds(cycle);
		xact_commit();
		return false;
	}
	if (settle_unreadable(&cycle->row, live))
		return true;
	read_window(&reading, cycle, live);
	commit_reading(&reading, cycle);
	publish_reading(&reading, cycle);
	advance_after(&reading, cycle);
	return false;
}

/*
 * Runs the steps, and reads the stream if they had nothing to do.  Returns
 * whether the caller must call this again.
 */
static pg_noinline bool
run_step(bool manual, CycleResult *result)
{
	Cycle		cycle = {.manual = manual, .result = result};
	Settled		settled;
	bool		again;

	trouble_start();
	settled = open_stream(&cycle);
	if (settled != SETTLED_NOTHING)
		return settled == SETTLED_SOMETHING;
	time_limit_start();
	again = read_stream(&cycle);
	time_limit_stop();
	return again;
}

/* Warns, once, if the slot of our name retains more WAL than the limit. */
static void
watch_retained_wal(void)
{
	uint64		limit = (uint64) notify_stats_warn_retained_wal * 1024 * 1024;
	uint64		retained = 0;
	NameData	name;
	SlotInfo	slot;
	XLogRecPtr	safe = slot_safe_lsn();

	slot_main_name(&name);
	if (slot_lookup(NameStr(name), &slot) && !slot.lost &&
		safe > slot.restart_lsn)
		retained = safe - slot.restart_lsn;
	if (limit > 0 && retained > limit)
	{
		if (shared_stream_retains_much(true))
			ereport(WARNING,
					(errmsg("replication slot \"%s\" retains more than %d MB of WAL",
							NameStr(name), notify_stats_warn_retained_wal),
					 errhint("Check lag_bytes, waits_for and held_back_by in the view notify_stats.status.")));
	}
	/* half of the limit, to avoid alternating messages */
	else if (retained <= limit / 2 && shared_stream_retains_much(false))
		ereport(LOG,
				(errmsg("replication slot \"%s\" retains less than %d MB of WAL again",
						NameStr(name), notify_stats_warn_retained_wal)));
}

/*
 * Resets the state that an earlier call in this session may have left when it
 * failed: the rollup that was being worked on, and since when a lock was
 * awaited.
 */
void
cycle_forget(void)
{
	main_stream_forget_locks();
	trouble_reset();
	time_limit_forget();
}

/*
 * Runs one cycle of the main stream, in transactions of its own.  With
 * "manual", also works on a paused stream.  Creates the slot when the first
 * rollup needs it, and drops it after the last rollup.
 */
CycleResult
cycle_run(bool manual)
{
	CycleResult result = {0};

	PG_TRY();
	{
		while (run_step(manual, &result))
			;
	}
	PG_CATCH();
	{
		main_stream_forget_locks();
		if (division_abandon())
			trouble_reset();
		else
			trouble_record(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	watch_retained_wal();
	wal_window_maintain(manual);
	usage_count();
	shared_stream_broadcast();	/* the list of rollups may have changed */
	return result;
}
