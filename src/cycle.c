/*-------------------------------------------------------------------------
 *
 * cycle.c
 *	  One pass over a stream: peek, fold, apply, commit, advance.
 *
 * The first four are one transaction, which also writes the position that it
 * brings the stream to.  So the rollups and the position are always those of
 * one another, whatever crashes when; and only after the commit is on disk may
 * the slot forget.  If it forgets less than it could (its own position is not
 * crash-safe), the next peek gives transactions again, and they are skipped by
 * the position.
 *
 * Where nothing relevant passed, the position is kept in shared memory alone,
 * and written at most once a second, and only if others have written WAL.  Our
 * own commits, and what the server writes by itself, are no reason to write
 * again, so a server left alone falls silent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply.h"
#include "cycle.h"
#include "facts.h"
#include "fold.h"
#include "notify_stats.h"
#include "publication.h"
#include "shared.h"
#include "slot.h"
#include "source.h"
#include "trouble.h"
#include "xact.h"

#define PROGRESS_INTERVAL_MS 1000

/*
 * A pass over a slot
 */

static bool
is_visible(const VisibleXids *visible, TransactionId xid)
{
	if (TransactionIdPrecedes(xid, visible->xmin))
		return true;
	if (!TransactionIdPrecedes(xid, visible->xmax))
		return false;
	for (int i = 0; i < visible->nrunning; i++)
		if (TransactionIdEquals(xid, visible->running[i]))
			return false;
	return true;
}

/* A pass at work. */
typedef struct Pass
{
	const CycleInput *input;
	CycleOutput *output;
	Fold	   *fold;
	SlotRow		row;			/* the row of the peek at hand */
} Pass;

static void
apply_deltas(const CycleInput *input, Fold *fold, CycleOutput *output)
{
	ListCell   *lc;

	foreach(lc, fold_deltas(fold))
	{
		Delta	   *delta = (Delta *) lfirst(lc);
		Rollup	   *rollup = delta_rollup(delta);

		if (delta_stale_reason(delta) != NULL)
			continue;
		if (input->target == NULL)
			rollup_check_name(rollup);
		if (apply_delta(delta, input->target ? input->target : rollup->name))
			output->changed = list_append_unique_oid(output->changed, rollup->relid);
	}
}

static void
note_stale(Fold *fold, CycleOutput *output)
{
	ListCell   *lc;

	foreach(lc, fold_deltas(fold))
	{
		Delta	   *delta = (Delta *) lfirst(lc);

		if (delta_stale_reason(delta) == NULL)
			continue;
		output->stale = lappend(output->stale, delta_rollup(delta));
		output->reasons = lappend(output->reasons, pstrdup(delta_stale_reason(delta)));
	}
}

/*
 * Whether a transaction is not in the input's rollups yet.  One that commits
 * across the end was read to its end, and so moves the end.
 */
static bool
wants_transaction(void *arg, TransactionId xid, XLogRecPtr commit_lsn)
{
	Pass	   *pass = (Pass *) arg;

	if (commit_lsn >= pass->output->reached_lsn)
		pass->output->reached_lsn = commit_lsn + 1;
	return commit_lsn >= pass->input->applied_lsn &&
		(pass->input->visible == NULL || !is_visible(pass->input->visible, xid));
}

static void
take_change(void *arg, const RowChange *change)
{
	Pass	   *pass = (Pass *) arg;

	fold_change(pass->fold, change);
	if (fold_is_large(pass->fold))
	{
		apply_deltas(pass->input, pass->fold, pass->output);
		fold_reset(pass->fold);
	}
}

static void
record_error_callback(void *arg)
{
	const Pass *pass = (const Pass *) arg;

	errcontext("reading the output of slot \"%s\" at %X/%X, transaction %u",
			   pass->input->slot_name, LSN_FORMAT_ARGS(pass->row.lsn), pass->row.xid);
}

/* Reads all that the peek has given. */
static void
read_peek(Pass *pass, SlotPeek *peek, FormatReader *reader)
{
	ErrorContextCallback error_context;

	error_context.callback = record_error_callback;
	error_context.arg = pass;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	while (slot_peek_next(peek, &pass->row))
	{
		CHECK_FOR_INTERRUPTS();
		trouble_set_record(pass->input->slot_name, pass->row.lsn, pass->row.xid);
		pass->input->format->reader_feed(reader, pass->row.data, pass->row.len);
	}
	trouble_set_record(NULL, InvalidXLogRecPtr, InvalidTransactionId);
	error_context_stack = error_context.previous;
}

static void
read_error_callback(void *arg)
{
	const CycleInput *input = (const CycleInput *) arg;

	errcontext("applying the changes of slot \"%s\" from %X/%X up to %X/%X",
			   input->slot_name, LSN_FORMAT_ARGS(input->applied_lsn),
			   LSN_FORMAT_ARGS(input->upto));
}

CycleOutput
cycle_read(const CycleInput *input)
{
	CycleOutput output = {0};
	Pass		pass = {0};
	ChangeConsumer consumer = {wants_transaction, take_change, &pass};
	ErrorContextCallback error_context;
	FormatReader *reader;
	SlotPeek   *peek;

	error_context.callback = read_error_callback;
	error_context.arg = unconstify(CycleInput *, input);
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;

	output.reached_lsn = input->upto;
	pass.input = input;
	pass.output = &output;
	pass.fold = fold_begin(input->rollups);
	if (input->format->by_name)
		xact_use_server_encoding();
	reader = input->format->reader_create(fold_sources(pass.fold), &consumer);
	peek = slot_peek(input->slot_name, input->format->plugin, input->format->binary,
					 input->format->reader_options(reader, shared_stream()->text_only),
					 input->upto);
	debug_stop("after-peek");
	read_peek(&pass, peek, reader);
	apply_deltas(input, pass.fold, &output);
	note_stale(pass.fold, &output);
	output.nchanges = fold_count(pass.fold);
	slot_peek_end(peek);
	fold_end(pass.fold);

	error_context_stack = error_context.previous;
	return output;
}

/*
 * The main stream
 */

static void
mark_stale(Rollup *rollup, const char *reason, XLogRecPtr lsn)
{
	ereport(LOG,
			(errmsg("rollup %s is stale and will be rebuilt", rollup->name),
			 errdetail_internal("%s", reason)));
	rollup_set_state(rollup->relid, ROLLUP_STALE, reason, lsn);
	rollup->state = ROLLUP_STALE;
}

/* A live rollup whose definition is not the one that it was made from. */
static bool
is_redefined(Rollup *rollup)
{
	if (rollup->fingerprint == rollup->built_from)
		return false;
	mark_stale(rollup, "the definition was replaced", InvalidXLogRecPtr);
	return true;
}

bool
cycle_lock_facts(const Format *format, List *rollups, BusyLock *busy)
{
	return !format->by_name || rollup_lock_partitioning(rollups, busy);
}

bool
cycle_open_live(const StreamRow *row, List *rollups, List **live, BusyLock *busy)
{
	ListCell   *lc;

	busy->relid = InvalidOid;
	*live = NIL;
	foreach(lc, rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);
		RollupAccess access;

		if (rollup->state != ROLLUP_LIVE)
			continue;
		trouble_begin(rollup->relid);
		access = rollup_open(rollup, busy);
		trouble_end();
		if (access == ROLLUP_BUSY)
			break;
		if (access == ROLLUP_READY && !is_redefined(rollup))
			*live = lappend(*live, rollup);
	}
	if (!OidIsValid(busy->relid))
		(void) cycle_lock_facts(row->format, *live, busy);
	shared_stream_waits_for(busy->relid);
	return !OidIsValid(busy->relid);
}

/* Why the format cannot tell unread changes of a rollup's source, or NULL. */
static const char *
reason_untold(const Format *format, const Rollup *rollup, List *before, List *now, Oid source)
{
	const char *reason = facts_break(format, before, now, source);
	List	   *gaps;

	if (reason != NULL || !format->needs_identity)
		return reason;
	gaps = source_identity_gaps(source, definition_source_columns(rollup->definition, source));
	return gaps == NIL ? NULL :
		psprintf(_("the replica identity of \"%s\" does not cover the columns in use"),
				 get_rel_name(((IdentityGap *) linitial(gaps))->relid));
}

/*
 * Marks those rollups as stale whose sources changed such that the format cannot
 * tell unread changes, and returns the others.  Writes new facts.
 */
static List *
settle_facts(const StreamRow *row, List *live, XLogRecPtr lsn, CycleOutput *output)
{
	List	   *before = facts_load();
	List	   *now = facts_collect(row->format, live);
	List	   *sound = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, live)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);
		const char *reason = NULL;

		foreach(lc2, rollup->definition->sources)
			if (reason == NULL)
				reason = reason_untold(row->format, rollup, before, now, lfirst_oid(lc2));
		if (reason != NULL)
			mark_stale(rollup, reason, lsn);
		else
			sound = lappend(sound, rollup);
	}
	now = facts_collect(row->format, sound);
	output->new_facts = !facts_equal(before, now);
	if (output->new_facts)
		facts_store(before, now);
	return sound;
}

CycleOutput
cycle_read_main(const StreamRow *row, List *live, XLogRecPtr upto)
{
	CycleInput	input = {0};
	CycleOutput output = {0};
	bool		new_facts;
	const char *reason;
	ListCell   *lc;
	ListCell   *lc2;

	output.reached_lsn = upto;
	if (row->format->by_name)
		live = settle_facts(row, live, upto, &output);
	if (live == NIL)
		return output;			/* nothing in the slot matters */

	new_facts = output.new_facts;
	input.slot_name = NameStr(row->slot_name);
	input.format = row->format;
	input.rollups = live;
	input.applied_lsn = row->applied_lsn;
	input.upto = upto;
	output = cycle_read(&input);
	output.new_facts = new_facts;

	/* the slot was not held before the peek, so it may have been moved */
	reason = cycle_loss_reason(row);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("replication slot \"%s\" was changed while it was read",
						NameStr(row->slot_name)),
				 errdetail_internal("%s", reason)));

	forboth(lc, output.stale, lc2, output.reasons)
		mark_stale((Rollup *) lfirst(lc), (const char *) lfirst(lc2), upto);
	if (output.changed != NIL)
		rollup_set_changed(output.changed);
	return output;
}

void
cycle_finish(const StreamRow *row, XLogRecPtr reached_lsn, TimestampTz at, bool advance)
{
	debug_stop("after-commit");
	shared_stream_reached(reached_lsn, at);
	if (!advance)
		return;
	xact_begin();
	stream_lock();
	slot_advance(NameStr(row->slot_name), reached_lsn);
	xact_commit();
	debug_stop("after-advance");
}

/*
 * The life of the slot
 */

static bool
is_own_slot(const SlotInfo *slot)
{
	return slot->database == MyDatabaseId && format_of_plugin(NameStr(slot->plugin)) != NULL;
}

/* Drops the slot of our name, if it is ours and no stream reads it. */
static void
drop_orphaned_slot(void)
{
	NameData	name;
	SlotInfo	slot;

	slot_main_name(&name);
	if (slot_lookup(NameStr(name), &slot) && is_own_slot(&slot))
	{
		slot_drop(NameStr(name));
		ereport(LOG,
				(errmsg("notify_stats dropped replication slot \"%s\"", NameStr(name))));
	}
}

/*
 * Makes the slot, in a transaction that has written nothing.  Instead it makes
 * the publication if there is to be one and is none, or drops one that is left.
 */
static void
create_main_slot(void)
{
	const Format *format = format_chosen();
	NameData	name;
	XLogRecPtr	lsn;

	shared_stream_set_state(STREAM_CREATING_SLOT);
	slot_main_name(&name);
	drop_orphaned_slot();
	if (format == &format_pgoutput ? publication_ensure() : publication_drop())
		return;
	lsn = slot_create(NameStr(name), format->plugin);
	stream_set_slot(NameStr(name), format, lsn);
	ereport(LOG,
			(errmsg("notify_stats created replication slot \"%s\" of output plugin \"%s\"",
					NameStr(name), format->plugin)));
}

const char *
cycle_loss_reason(const StreamRow *row)
{
	SlotInfo	slot;

	if (!slot_lookup(NameStr(row->slot_name), &slot))
		return "the replication slot is missing";
	if (slot.database != MyDatabaseId || strcmp(NameStr(slot.plugin), row->format->plugin) != 0)
		return "the replication slot belongs to somebody else";
	if (slot.lost)
		return "the replication slot was invalidated";
	if (slot.confirmed_flush_lsn > row->applied_lsn)
		return "the replication slot is ahead of what was applied";
	if (row->applied_lsn > GetXLogInsertRecPtr())
		return "what was applied is not in this server's write-ahead log";
	return NULL;
}

/*
 * Notes that changes were lost.  The slot, if it is ours, is dropped as an
 * orphan when the new one is made.
 */
static void
give_up_slot(const StreamRow *row, const char *reason)
{
	ereport(LOG,
			(errmsg("changes were lost: %s", reason),
			 errdetail("The slot is \"%s\". All rollups are stale.", NameStr(row->slot_name)),
			 errhint("The worker makes a new slot and rebuilds the rollups.")));
	rollup_set_all_stale(psprintf("changes were lost: %s", reason), row->applied_lsn);
	stream_clear_slot();
}

/* Marks a rollup as failed if its trouble was noted; InvalidOid if there is none. */
static Oid
enter_trouble(void)
{
	Trouble		trouble;

	if (!trouble_read(&trouble))
		return InvalidOid;
	ereport(LOG,
			(errmsg("rollup \"%s\" has failed: %s",
					get_rel_name(trouble.rollup) ? get_rel_name(trouble.rollup) : "?", trouble.reason),
			 errhint("Mend the cause, then call notify_stats.rebuild().")));
	rollup_set_state(trouble.rollup, ROLLUP_FAILED, trouble.reason, trouble.lsn);
	rollup_forget_requests(trouble.rollup, trouble.request);
	return trouble.rollup;
}

/* Once in a second, or by hand, takes tables out of the publication that nobody reads. */
static void
tidy_publication(const StreamRow *row, bool manual)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (row->format != &format_pgoutput ||
		!(manual || TimestampDifferenceExceeds(last, now, PROGRESS_INTERVAL_MS)))
		return;
	last = now;
	publication_remove_unused();
}

/*
 * Opens a transaction on the main stream, and settles what has to be settled
 * before it can be read.  True: the transaction is open, the stream is locked
 * and has a sound slot.  False: the transaction is over; there is nothing to
 * read, or something was settled and *again is set.
 */
static bool
open_stream(bool manual, StreamRow *row, List **rollups, CycleResult *result, bool *again)
{
	const char *reason;
	Oid			trouble;
	bool		some_dropped;

	xact_begin();
	*again = false;
	if (!OidIsValid(get_extension_oid(EXTENSION_NAME, true)))
	{
		/* dropped, or not created yet: a slot that is left would keep all WAL */
		drop_orphaned_slot();
		(void) publication_drop();
		xact_commit();
		return false;
	}
	stream_lock();
	(void) stream_load(row);
	result->paused = row->paused && !manual;
	if (result->paused)
	{
		xact_commit();
		return false;
	}

	trouble = enter_trouble();
	if (OidIsValid(trouble))
	{
		/* for good, before the next rollup has a chance to fail */
		xact_commit();
		trouble_forget(trouble);
		*again = true;
		return false;
	}
	*rollups = rollup_list(&some_dropped);
	if (some_dropped)
		rollup_forget_dropped();
	result->has_rollups = *rollups != NIL;
	if (row->has_slot)
	{
		reason = *rollups ? cycle_loss_reason(row) : NULL;
		if (*rollups != NIL && reason == NULL)
		{
			tidy_publication(row, manual);
			return true;
		}
		if (reason != NULL)
			give_up_slot(row, reason);
		else
			stream_clear_slot();
		*again = true;
	}
	else if (*rollups == NIL)
	{
		drop_orphaned_slot();
		(void) publication_drop();
	}
	else if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		*again = true;			/* a slot cannot be made after a write */
	else
	{
		create_main_slot();
		*again = true;
	}
	xact_commit();
	return false;
}

/*
 * Cycles
 */

/*
 * Whether the position should be written although nothing was applied: others
 * have ended transactions, or much WAL has passed that the slot would keep.
 * "foreign" is their count from before "upto" was read.
 */
static bool
is_progress(SharedStream *shared, uint64 foreign, XLogRecPtr applied, XLogRecPtr upto)
{
	return upto > applied &&
		(foreign != shared->progress_foreign || upto - applied > (uint64) wal_segment_size);
}

/* But at most once in a second. */
static bool
is_progress_time(SharedStream *shared)
{
	return TimestampDifferenceExceeds(shared->progress_at, GetCurrentTimestamp(),
									  PROGRESS_INTERVAL_MS);
}

/*
 * Remembers what was written.  If the WAL was not all on disk, a transaction
 * that "foreign" counts may lie behind the position, so it stays unsettled.
 */
static void
note_progress(SharedStream *shared, uint64 foreign, bool settled)
{
	shared->progress_at = GetCurrentTimestamp();
	if (settled)
		shared->progress_foreign = foreign;
}

/* Where this cycle ends: at the end of the WAL, or of a full window. */
static XLogRecPtr
window_end(XLogRecPtr start, XLogRecPtr safe)
{
	uint64		window = (uint64) notify_stats_max_batch_wal * 1024;

	return safe - start > window ? start + window : safe;
}

/* Reads the open stream up to the end of the WAL or of the window. */
static void
read_stream(const StreamRow *row, List *rollups, CycleResult *result)
{
	SharedStream *shared = shared_stream();
	TimestampTz now = GetCurrentTimestamp();
	uint64		foreign = shared_foreign_transactions();
	XLogRecPtr	written = slot_normalize_lsn(GetXLogInsertRecPtr());
	XLogRecPtr	safe = slot_safe_lsn();
	XLogRecPtr	start = Max(row->applied_lsn, pg_atomic_read_u64(&shared->reached_lsn));
	XLogRecPtr	upto;
	List	   *live;
	CycleOutput output = {0};
	bool		write;
	bool		progress;

	if (!cycle_open_live(row, rollups, &live, &result->busy))
	{
		xact_commit();
		return;
	}
	if (safe < start)
		safe = start;			/* a position may lie in a record's middle */
	upto = window_end(start, safe);
	if (upto > start)
	{
		output = cycle_read_main(row, live, upto);
		upto = output.reached_lsn;
	}

	progress = is_progress(shared, foreign, row->applied_lsn, upto);
	write = output.changed != NIL || output.stale != NIL || output.new_facts ||
		(progress && is_progress_time(shared));
	if (write)
		stream_set_applied(upto);
	debug_stop("after-apply");
	xact_commit();

	if (write)
		note_progress(shared, foreign, upto == safe && safe >= written);
	shared_stream_count(output.nchanges);
	cycle_finish(row, upto, now, write);
	result->reached_lsn = upto;
	result->more = upto < safe;
	result->unwritten = progress && !write;
}

static void
run_cycle(bool manual, CycleResult *result)
{
	StreamRow	row;
	List	   *rollups;
	bool		again;
	ListCell   *lc;

	do
	{
		if (open_stream(manual, &row, &rollups, result, &again))
		{
			read_stream(&row, rollups, result);
			foreach(lc, rollups)
			{
				Rollup	   *rollup = (Rollup *) lfirst(lc);

				if (rollup_wants_build(rollup))
					result->wants_build = lappend_oid(result->wants_build, rollup->relid);
			}
		}
	} while (again);
}

CycleResult
cycle_run(bool manual)
{
	CycleResult result = {0};

	PG_TRY();
	{
		run_cycle(manual, &result);
	}
	PG_CATCH();
	{
		trouble_record(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return result;
}
