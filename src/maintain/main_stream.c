/*-------------------------------------------------------------------------
 *
 * main_stream.c
 *	  The main stream: locking it, opening its rollups, reading it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "busy_lock.h"
#include "facts.h"
#include "group_key.h"
#include "main_slot.h"
#include "main_stream.h"
#include "pass.h"
#include "position.h"
#include "settings.h"
#include "shape.h"
#include "shared.h"
#include "slot.h"
#include "source.h"
#include "trouble.h"
#include "wake.h"
#include "wal_window.h"
#include "xact.h"

/*
 * The minimum time between two advances of the slot.  Each of them may read as
 * much WAL as a peek.
 */
#define ADVANCE_INTERVAL_MS 100

/*
 * How long a standby may be missing before that is logged; enough for a
 * restart.
 */
#define STANDBY_PATIENCE_MS 10000

/*
 * Returns why a live rollup cannot be maintained, or NULL if it can.  Either
 * something else writes its table, so changes would be counted twice; or its
 * definition is not the one from which it was built.
 */
static const char *
reason_not_to_keep(const Rollup *rollup)
{
	if (rollup->shape->obstacle != NULL)
		return rollup->shape->obstacle;
	if (rollup->shape->fingerprint != rollup->built_from)
		return "the definition was replaced";
	return NULL;
}

/*
 * The time since which each attempt of this process has found a lock that was
 * not free; 0: the last attempt found none.
 */
static TimestampTz locked_out_since = 0;

/*
 * Resets the time since which a lock is awaited.  Must be called when no lock
 * is awaited any more.
 */
void
main_stream_forget_locks(void)
{
	locked_out_since = 0;
}

/*
 * Returns the time until which the other rollups wait for a lock that this
 * rollup needs; 0: no limit.
 */
static TimestampTz
end_of_patience(const Rollup *rollup, const BusyLock *busy)
{
	int			patience = rollup_lock_patience(rollup);

	/* our own builders also hold this lock, while they read some of the WAL */
	if (busy->mode == ShareUpdateExclusiveLock &&
		shared_build_running(InvalidOid))
		patience = rollup_long_patience();
	return patience == 0 ? 0 : TimestampTzPlusMilliseconds(locked_out_since,
														   patience);
}

/*
 * Gives up a rollup for which the others do not wait, at the position of the
 * stream.  It becomes stale, and is resumed from there when it can be; if not,
 * it is built again, or has failed if that would forget deleted rows.
 */
void
main_stream_leave_behind(const StreamRow *row, Rollup *rollup,
						 const char *reason, XLogRecPtr lsn)
{
	if (rollup->state == ROLLUP_LIVE)
		position_keep(rollup->relid, row->applied_lsn);
	if (wal_window_can_resume(row, rollup->relid))
		rollup_leave_behind(rollup, reason, lsn);
	else
		rollup_give_up(rollup, reason, lsn);
}

/*
 * Handles a rollup that needs a lock held by another session.  Returns true if
 * the rollup was marked as stale, so that the others can continue.  Otherwise
 * the caller must wait for the lock.
 */
static bool
give_up_locked(const StreamRow *row, Rollup *rollup, BusyLock *busy)
{
	if (locked_out_since == 0)
		locked_out_since = GetCurrentTimestamp();
	busy->until = end_of_patience(rollup, busy);
	if (busy->until == 0 || GetCurrentTimestamp() < busy->until)
		return false;
	main_stream_leave_behind(row, rollup,
							 OidIsValid(busy->type) ?
							 psprintf("type %s was locked for more than %d ms",
									  format_type_be_qualified(busy->type),
									  rollup_lock_patience(rollup)) :
							 psprintf("table \"%s\" was locked for more than %d ms",
									  get_rel_name(busy->relid),
									  rollup_lock_patience(rollup)),
							 row->applied_lsn);
	(void) shared_stream_offences(rollup->relid, true);
	busy->relid = InvalidOid;
	return true;
}

/*
 * Opens the live rollups of a list, and returns them in *live.  Takes only
 * locks that are free.  If one is not free, stores it in *busy and returns
 * false; the caller should end the transaction, wait for the lock, and try
 * again.
 */
bool
main_stream_open_live(const StreamRow *row, List *rollups, List **live,
					  BusyLock *busy)
{
	ListCell   *lc;

	busy->relid = InvalidOid;
	*live = NIL;
	foreach(lc, rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);
		ShapeAccess access;
		const char *reason;

		if (rollup->state != ROLLUP_LIVE)
			continue;
		/* only for these it makes a difference */
		rollup->resumable = rollup->ignores != NIL &&
			wal_window_retains(row, row->applied_lsn);
		trouble_begin(rollup->relid);
		access = rollup_open(rollup, busy);
		trouble_end();

		/* without these locks the facts might change before the commit */
		if (access == SHAPE_READY && row->format->by_name &&
			!shape_lock_facts(rollup->shape, true, busy))
			access = SHAPE_BUSY;
		if (access == SHAPE_BUSY && !give_up_locked(row, rollup, busy))
			break;
		if (access != SHAPE_READY)
			continue;
		reason = reason_not_to_keep(rollup);
		if (reason != NULL)
			rollup_give_up(rollup, reason, InvalidXLogRecPtr);
		else
			*live = lappend(*live, rollup);
	}
	if (!OidIsValid(busy->relid))
		locked_out_since = 0;
	shared_stream_waits_for(busy->relid);
	return !OidIsValid(busy->relid);
}

/*
 * Returns why the format cannot decode changes of a rollup's source between two
 * sets of facts, or NULL if it can.
 */
const char *
main_stream_reason_untold(const Format *format, const Rollup *rollup,
						  List *before, List *now, Oid source)
{
	const char *reason = facts_break(format, before, now,
									 rollup->shape->definition, source,
									 rollup_ignores_deletes(rollup, source));
	List	   *gaps;

	if (reason != NULL || !format->needs_identity)
		return reason;
	gaps = source_identity_gaps(source,
								definition_source_columns(rollup->shape->definition, source), false);
	return gaps == NIL ? NULL :
		psprintf("the replica identity of \"%s\" does not cover the columns in use",
				 get_rel_name(((IdentityGap *) linitial(gaps))->relid));
}

static bool
knows_source(List *facts, Oid source)
{
	ListCell   *lc;

	foreach(lc, facts)
	{
		if (((const Fact *) lfirst(lc))->source == source)
			return true;
	}
	return false;
}

/*
 * Returns why the format cannot decode the changes of a rollup's sources since
 * these facts were stored, or NULL if it can.
 */
const char *
main_stream_reason_facts_differ(const Format *format, const Rollup *rollup,
								List *stored)
{
	List	   *now = facts_collect(format,
									list_make1(rollup->shape->definition));
	const char *reason = NULL;
	ListCell   *lc;

	foreach(lc, rollup->shape->definition->sources)
	{
		if (reason == NULL)
			reason = knows_source(stored, lfirst_oid(lc)) ?
				main_stream_reason_untold(format, rollup, stored, now,
										  lfirst_oid(lc)) :
				"its sources have changed";
	}
	return reason;
}

/*
 * Notes that older changes of a rollup cannot be read again, if a fact about a
 * source is gone that does not matter for later ones: a partition that was
 * detached, if deleted rows still count.
 */
static void
note_lost_facts(const StreamRow *row, const Rollup *rollup, List *before,
				List *now, XLogRecPtr lsn)
{
	ListCell   *lc;

	foreach(lc, rollup->shape->definition->sources)
	{
		if (facts_break(row->format, before, now, rollup->shape->definition,
						lfirst_oid(lc), false) == NULL)
			continue;
		position_set_exact_since(rollup->relid, lsn);
		return;
	}
}

/*
 * Marks rollups as stale if their sources were altered such that the format
 * cannot decode unread changes.  Returns the other rollups.  *facts is set to
 * the current facts.  If they are new, stores them and sets *new_facts.
 */
static List *
compare_facts(const StreamRow *row, List *live, XLogRecPtr lsn, List **facts,
			  bool *new_facts)
{
	List	   *before = facts_load(InvalidOid);
	List	   *now = facts_collect(row->format, rollup_definitions(live));
	List	   *sound = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, live)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);
		const char *reason = NULL;

		foreach(lc2, rollup->shape->definition->sources)
		{
			if (reason == NULL)
				reason = main_stream_reason_untold(row->format, rollup, before, now,
									   lfirst_oid(lc2));
		}
		if (reason != NULL)
			rollup_give_up(rollup, reason, lsn);
		else
		{
			note_lost_facts(row, rollup, before, now, lsn);
			sound = lappend(sound, rollup);
		}
	}
	if (list_length(sound) < list_length(live))
		now = facts_collect(row->format, rollup_definitions(sound));
	*new_facts = !facts_equal(before, now);
	if (*new_facts)
		facts_store(before, now);
	*facts = now;
	return sound;
}

/*
 * Adds partitions whose changes were read to the stored facts, and returns
 * those that were not there.  Such a partition was attached after the facts
 * were collected.  If it is detached before the next comparison, that would
 * not show otherwise, and its rows would be counted for ever.
 */
List *
main_stream_add_partitions(List *partitions, List *stored)
{
	List	   *others = facts_without(partitions, stored);

	if (others != NIL)
		facts_store_others(stored, others);
	return others;
}

/*
 * The same for a cycle, which knows the stored facts only if it has compared
 * them.  Returns whether any were added.
 */
static bool
add_partitions(PassOutput *output, bool compared)
{
	/* partitions that were found in the stored facts since a comparison */
	static MemoryContext context = NULL;
	static List *found = NIL;
	List	   *partitions = output->partitions;
	MemoryContext old_context;
	List	   *others;
	ListCell   *lc;

	if (compared)
	{
		if (context != NULL)
			MemoryContextReset(context);
		found = NIL;
		others = main_stream_add_partitions(partitions, output->facts);
		output->facts = list_concat(output->facts, others);
		return others != NIL;
	}
	partitions = facts_without(partitions, found);
	if (partitions == NIL)
		return false;
	others = main_stream_add_partitions(partitions, facts_load(InvalidOid));
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext,
										"notify_stats partitions",
										ALLOCSET_SMALL_SIZES);
	old_context = MemoryContextSwitchTo(context);
	foreach(lc, facts_without(partitions, others))
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		found = facts_add(found, fact->source, pstrdup(fact->name), "");
	}
	MemoryContextSwitchTo(old_context);
	return others != NIL;
}

/*
 * Notes the names of rollups that readers see from the next position on.
 * Returns whether there are new ones.  Readers of the present position may have
 * seen the old ones, so if the stream stays there, this is done later.
 */
static bool
note_names(const StreamRow *row, List *live, XLogRecPtr upto, bool compare)
{
	static bool is_due = true;
	List	   *rollups = NIL;
	List	   *names = NIL;
	ListCell   *lc;

	is_due |= compare;
	if (!is_due || upto <= row->applied_lsn)
		return false;
	is_due = false;
	foreach(lc, live)
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);

		rollups = lappend_oid(rollups, rollup->relid);
		names = lappend(names, group_key_names(rollup->shape));
	}
	return live != NIL && position_note_names(rollups, names, upto);
}

/*
 * Brings the main stream up to a safe position, within the current
 * transaction, which has locked the stream and loaded "row".  "compare" means
 * that some catalog may have changed since the last call.  Marks rollups as
 * stale whose changes cannot be decoded.  The caller must then write the
 * position, commit, and call main_stream_finish.
 */
PassOutput
main_stream_read(const StreamRow *row, List *live, XLogRecPtr upto,
				 bool compare)
{
	PassInput	input = {0};
	PassOutput	output = {0};
	List	   *facts = NIL;
	bool		compared = compare || row->format->by_name;
	bool		new_facts = false;
	const char *reason;
	ListCell   *lc;
	ListCell   *lc2;

	if (compared)
		live = compare_facts(row, live, upto, &facts, &new_facts);
	if (compare)
		foreach(lc, live)
			new_facts |= rollup_note_columns((const Rollup *) lfirst(lc));
	new_facts |= note_names(row, live, upto, compare);
	if (live == NIL ||
		upto <= Max(row->applied_lsn,
					pg_atomic_read_u64(&shared_stream()->reached_lsn)))
	{
		/* the slot has no relevant changes */
		output.reached_lsn = upto;
		output.facts = facts;
		output.new_facts = add_partitions(&output, compared) || new_facts;
		return output;
	}

	input.slot_name = NameStr(row->slot_name);
	input.format = row->format;
	input.rollups = live;
	input.applied_lsn = row->applied_lsn;
	input.upto = upto;
	input.is_main = true;
	trouble_note_values(true);
	output = pass_read(&input);
	trouble_note_values(false);
	output.facts = facts;
	output.new_facts = add_partitions(&output, compared) || new_facts;

	/* the slot was not acquired before the peek, so it may have been moved */
	reason = main_slot_loss_reason(row);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("replication slot \"%s\" was changed while it was read",
						NameStr(row->slot_name)),
				 errdetail_internal("%s", reason)));

	forboth(lc, output.stale, lc2, output.reasons)
		rollup_give_up((Rollup *) lfirst(lc), (const char *) lfirst(lc2),
					   upto);
	if (output.changed != NIL)
		rollup_set_changed(output.changed);
	return output;
}

/*
 * Locks the main stream, so that only this transaction may move it, reads its
 * row, and ensures that this process can acquire its slot.  Waits if
 * necessary.  Returns false if the extension is not installed.  Rollups that
 * were opened before must not be used any more.
 *
 * The holder of the lock may ask the process that has the slot open to close
 * it.  So a process must close the slot before it waits, even for this lock.
 * A process that has the lock, but not the slot, wakes the process that has
 * the slot open.
 */
bool
main_stream_lock(StreamRow *row)
{
	SharedStream *shared = shared_stream();
	SlotInfo	slot;

	if (!slot_is_open(NULL) || !stream_try_lock())
	{
		slot_close();
		stream_lock();
	}
	shape_forget_outdated();
	if (!stream_load(row))
		return false;
	if (!row->has_slot || slot_is_open(NameStr(row->slot_name)))
		return true;
	slot_close();				/* it is a different slot */
	if (slot_lookup(NameStr(row->slot_name), &slot) && slot.active_pid != 0 &&
		slot.active_pid != MyProcPid && slot.active_pid == shared->slot_holder)
	{
		wake_for_slot(shared);
		slot_wait_until_free(NameStr(row->slot_name), slot.active_pid);
	}
	if (slot_keeps_open())
		shared->slot_holder = MyProcPid;
	return true;
}

/*
 * Advances the slot to a position.  Does nothing if the stream has a different
 * slot by now.
 */
void
main_stream_advance(const StreamRow *row, XLogRecPtr lsn)
{
	StreamRow	now;

	if (slot_is_open(NameStr(row->slot_name)))
		slot_advance(NameStr(row->slot_name), lsn);
	else
	{
		xact_begin();
		if (main_stream_lock(&now) && now.has_slot &&
			strcmp(NameStr(now.slot_name), NameStr(row->slot_name)) == 0)
			slot_advance(NameStr(row->slot_name), lsn);
		xact_commit();
	}
	debug_stop("after-advance");
}

/*
 * The position that this process committed last, and the end of that commit in
 * the WAL.
 */
static struct
{
	XLogRecPtr	applied_lsn;
	XLogRecPtr	commit_end;
}			committed;

/*
 * Notes that this process has committed a position, and the end of the commit
 * in the WAL.
 */
void
main_stream_note_commit(XLogRecPtr applied_lsn, XLogRecPtr commit_end)
{
	committed.applied_lsn = applied_lsn;
	committed.commit_end = commit_end;
}

/*
 * Returns whether the standbys that the slot waits for have received the WAL
 * up to a position.  If they have not for STANDBY_PATIENCE_MS, the server logs
 * once which one is missing.
 */
static bool
standbys_let_advance(XLogRecPtr end)
{
	static TimestampTz since = 0;
	static bool said = false;
	bool		say = since != 0 && !said &&
	TimestampDifferenceExceeds(since, GetCurrentTimestamp(),
							   STANDBY_PATIENCE_MS);

	if (slot_standbys_have(end, say ? WARNING : DEBUG1))
	{
		since = 0;
		said = false;
		return true;
	}
	if (since == 0)
		since = GetCurrentTimestamp();
	said |= say;
	return false;
}

/*
 * Returns whether the slot may advance to a position of which the commit ends
 * there.  Flushes the commit; for a failover slot the standbys must have
 * received it too.
 */
bool
main_stream_may_advance(const SlotInfo *slot, XLogRecPtr commit_end)
{
	XLogFlush(commit_end);
	return !slot->failover || standbys_let_advance(commit_end);
}

/*
 * Advances the slot to a position that was committed, if it may.  Each
 * advance may read the WAL from restart_lsn, so this is not done after every
 * cycle, unless "at_once".  Returns after how many milliseconds the caller
 * must try again; 0: nothing is left to do.
 */
int
main_stream_keep_slot_close(const StreamRow *row, XLogRecPtr applied_lsn,
							bool at_once)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	SlotInfo	slot;
	XLogRecPtr	end;

	if (!slot_lookup(NameStr(row->slot_name), &slot) ||
		slot.confirmed_flush_lsn >= applied_lsn)
		return 0;
	if (!at_once &&
		!TimestampDifferenceExceeds(last, now, ADVANCE_INTERVAL_MS))
		return ADVANCE_INTERVAL_MS + 1;
	last = now;
	/* another process may have committed the position */
	end = applied_lsn == committed.applied_lsn ?
		committed.commit_end : slot_written_lsn();
	if (!main_stream_may_advance(&slot, end))
		return ADVANCE_INTERVAL_MS + 1;
	main_stream_advance(row, applied_lsn);
	return 0;
}

/*
 * Publishes a position, as of the time "at", and advances the slot to it, in a
 * transaction of its own.  Must be called after the position was committed and
 * is on disk.
 */
void
main_stream_finish(const StreamRow *row, XLogRecPtr reached_lsn,
				   TimestampTz at)
{
	debug_stop("after-commit");
	shared_stream_reached(reached_lsn, at);
	(void) main_stream_keep_slot_close(row, reached_lsn, true);
}
