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
 * again, so a server left alone falls silent.  But for one time: who takes the
 * end of the WAL as a token of his own commit may get one after ours, and on a
 * standby has nothing but the written position to hold it against.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "apply.h"
#include "catalog.h"
#include "compat.h"
#include "cycle.h"
#include "facts.h"
#include "fold.h"
#include "notify_stats.h"
#include "oversize.h"
#include "publication.h"
#include "request.h"
#include "shared.h"
#include "slot.h"
#include "source.h"
#include "time_limit.h"
#include "trouble.h"
#include "unread_wal.h"
#include "wake.h"
#include "xact.h"

#define PROGRESS_INTERVAL_MS 1000

/* How often others may commit changes while the end of the WAL is to be passed. */
#define UPGRADE_TRIES 10

/* How long after the last changes one more position is written. */
#define CLOSING_DELAY_MS 100

/* Between two advances of the slot, each of which reads the WAL as a peek does. */
#define ADVANCE_INTERVAL_MS 100

/* How long a standby may be away before that is logged: some restart. */
#define STANDBY_PATIENCE_MS 10000

/*
 * When restart_lsn is so far behind, the running transactions are logged, so
 * that it can follow: every so often, and less often if that does not help.
 */
#define RESTART_DISTANCE (1024 * 1024)
#define SNAPSHOT_INTERVAL_MS 500
#define MAX_SNAPSHOT_INTERVAL_MS 15000

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
	MemoryContext context;		/* that of the whole pass; readers have shorter ones */
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
		if (apply_delta(delta, input->target ? input->target : rollup->name))
			output->changed = list_append_unique_ptr(output->changed, rollup);
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
		MemoryContext context = MemoryContextSwitchTo(pass->context);

		apply_deltas(pass->input, pass->fold, pass->output);
		fold_reset(pass->fold);
		MemoryContextSwitchTo(context);
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
	const Rollup *rollup = rollup_find(input->rollups, trouble_at_work());

	if (rollup != NULL && trouble_part() != NULL)
		errcontext("rollup %s, %s", rollup->name, trouble_part());
	else if (rollup != NULL)
		errcontext("rollup %s", rollup->name);
	errcontext("applying the changes of slot \"%s\" from %X/%X up to %X/%X",
			   input->slot_name, LSN_FORMAT_ARGS(input->applied_lsn),
			   LSN_FORMAT_ARGS(input->upto));
}

/* Peeks; if the main stream cannot be read because a change is too large, that is noted. */
static SlotPeek *
peek_slot(const CycleInput *input, bool resumable, List *options)
{
	bool		is_main = input->target == NULL;
	SlotPeek   *volatile peek = NULL;

	PG_TRY();
	{
		peek = slot_peek(input->slot_name, input->format->plugin, input->format->binary,
						 resumable, options, input->upto);
	}
	PG_CATCH();
	{
		if (is_main)
			oversize_record(input->applied_lsn);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (is_main)
		oversize_forget();
	return peek;
}

CycleOutput
cycle_read(const CycleInput *input)
{
	CycleOutput output = {0};
	Pass		pass = {0};
	ChangeConsumer consumer = {wants_transaction, take_change, &pass};
	ErrorContextCallback error_context;
	FormatReader *reader;
	bool		resumable;
	List	   *options;
	SlotPeek   *peek;

	error_context.callback = read_error_callback;
	error_context.arg = unconstify(CycleInput *, input);
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;

	output.reached_lsn = input->upto;
	pass.input = input;
	pass.output = &output;
	pass.context = CurrentMemoryContext;
	pass.fold = fold_begin(input->rollups);
	if (input->format->by_name)
		xact_use_server_encoding();
	reader = input->format->reader_create(fold_sources(pass.fold), &consumer);
	resumable = input->format->resumable && slot_keeps_open();
	options = input->format->reader_options(reader, shared_stream()->text_only, resumable);
	peek = peek_slot(input, resumable, options);
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

/* A live rollup whose definition is not the one that it was made from. */
static bool
is_redefined(Rollup *rollup)
{
	if (rollup->fingerprint == rollup->built_from)
		return false;
	rollup_give_up(rollup, "the definition was replaced", InvalidXLogRecPtr);
	return true;
}

/* A live rollup whose table something else writes: what it counts would be counted twice. */
static bool
is_obstructed(Rollup *rollup)
{
	if (rollup->shape->obstacle == NULL)
		return false;
	rollup_give_up(rollup, rollup->shape->obstacle, InvalidXLogRecPtr);
	return true;
}

/*
 * Since when this process has come upon locks that were not free, in each try; 0: it
 * has not.
 */
static TimestampTz locked_out_since = 0;

/* When the others have waited long enough for a lock that a rollup needs; 0: never. */
static TimestampTz
end_of_patience(const Rollup *rollup, const BusyLock *busy)
{
	int			patience = rollup_lock_patience(rollup);

	/* our own builders hold this lock as well, while they read a part of the WAL */
	if (busy->mode == ShareUpdateExclusiveLock && shared_build_running(InvalidOid))
		patience = rollup_long_patience();
	return patience == 0 ? 0 : TimestampTzPlusMilliseconds(locked_out_since, patience);
}

/*
 * A rollup needs a lock that somebody else has.  True if it was given up, so that the
 * others can go on; else it is to be waited for.
 */
static bool
give_up_locked(const StreamRow *row, Rollup *rollup, BusyLock *busy)
{
	if (locked_out_since == 0)
		locked_out_since = GetCurrentTimestamp();
	busy->until = end_of_patience(rollup, busy);
	if (busy->until == 0 || GetCurrentTimestamp() < busy->until)
		return false;
	rollup_give_up(rollup,
				   OidIsValid(busy->type) ?
				   psprintf("type %s was locked for more than %d ms",
							format_type_be_qualified(busy->type), rollup_lock_patience(rollup)) :
				   psprintf("table \"%s\" was locked for more than %d ms",
							get_rel_name(busy->relid), rollup_lock_patience(rollup)),
				   row->applied_lsn);
	(void) shared_stream_offences(rollup->relid, true);
	busy->relid = InvalidOid;
	return true;
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
		/* without this the facts would not hold until the end of the transaction */
		if (access == ROLLUP_READY && row->format->by_name &&
			!rollup_lock_facts(rollup, true, busy))
			access = ROLLUP_BUSY;
		if (access == ROLLUP_BUSY && !give_up_locked(row, rollup, busy))
			break;
		if (access == ROLLUP_READY && !is_obstructed(rollup) && !is_redefined(rollup))
			*live = lappend(*live, rollup);
	}
	if (!OidIsValid(busy->relid))
		locked_out_since = 0;
	shared_stream_waits_for(busy->relid);
	return !OidIsValid(busy->relid);
}

/* Why the format cannot tell unread changes of a rollup's source, or NULL. */
static const char *
reason_untold(const Format *format, const Rollup *rollup, List *before, List *now, Oid source)
{
	const char *reason = facts_break(format, before, now, rollup, source);
	List	   *gaps;

	if (reason != NULL || !format->needs_identity)
		return reason;
	gaps = source_identity_gaps(source, definition_source_columns(rollup->definition, source), false);
	return gaps == NIL ? NULL :
		psprintf(_("the replica identity of \"%s\" does not cover the columns in use"),
				 get_rel_name(((IdentityGap *) linitial(gaps))->relid));
}

/*
 * Marks those rollups as stale whose sources changed such that the format cannot
 * tell unread changes, and returns the others.  *facts are those that hold from
 * here on; they are written, if *new_facts.
 */
static List *
settle_facts(const StreamRow *row, List *live, XLogRecPtr lsn, List **facts, bool *new_facts)
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
			rollup_give_up(rollup, reason, lsn);
		else
			sound = lappend(sound, rollup);
	}
	if (list_length(sound) < list_length(live))
		now = facts_collect(row->format, sound);
	*new_facts = !facts_equal(before, now);
	if (*new_facts)
		facts_store(before, now);
	*facts = now;
	return sound;
}

CycleOutput
cycle_read_main(const StreamRow *row, List *live, XLogRecPtr upto, bool settle)
{
	CycleInput	input = {0};
	CycleOutput output = {0};
	List	   *facts = NIL;
	bool		new_facts = false;
	const char *reason;
	ListCell   *lc;
	ListCell   *lc2;

	if (settle || row->format->by_name)
		live = settle_facts(row, live, upto, &facts, &new_facts);
	if (live == NIL || upto <= Max(row->applied_lsn, pg_atomic_read_u64(&shared_stream()->reached_lsn)))
	{
		/* nothing in the slot matters */
		output.reached_lsn = upto;
		output.facts = facts;
		output.new_facts = new_facts;
		return output;
	}

	input.slot_name = NameStr(row->slot_name);
	input.format = row->format;
	input.rollups = live;
	input.applied_lsn = row->applied_lsn;
	input.upto = upto;
	trouble_note_values(true);
	output = cycle_read(&input);
	trouble_note_values(false);
	output.facts = facts;
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
		rollup_give_up((Rollup *) lfirst(lc), (const char *) lfirst(lc2), upto);
	if (output.changed != NIL)
		rollup_set_changed(output.changed);
	return output;
}

/*
 * Who has the slot open may be asked for it by who holds the lock.  So it waits
 * for nothing, not for the lock either, before it has closed the slot; and who
 * has the lock, but not the slot, asks for it, should the holder be asleep.
 */
bool
cycle_lock_stream(StreamRow *row)
{
	SharedStream *shared = shared_stream();
	SlotInfo	slot;

	if (!slot_is_open(NULL) || !stream_try_lock())
	{
		slot_close();
		stream_lock();
	}
	rollup_forget_outdated();
	if (!stream_load(row))
		return false;
	if (!row->has_slot || slot_is_open(NameStr(row->slot_name)))
		return true;
	slot_close();				/* another one */
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
 * Lets the slot forget what lies before a position.  Not if another one has
 * taken its place meanwhile.
 */
static void
advance(const StreamRow *row, XLogRecPtr lsn)
{
	StreamRow	now;

	if (slot_is_open(NameStr(row->slot_name)))
		slot_advance(NameStr(row->slot_name), lsn);
	else
	{
		xact_begin();
		if (cycle_lock_stream(&now) && now.has_slot && strcmp(NameStr(now.slot_name), NameStr(row->slot_name)) == 0)
			slot_advance(NameStr(row->slot_name), lsn);
		xact_commit();
	}
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

/*
 * Whether the worker has to leave the slot of our name alone, because a process
 * that is not ours has it open.  That is said once.  Who catches up by hand gets
 * the server's error instead.
 */
static bool
is_in_use(bool manual, CycleResult *result)
{
	NameData	name;
	SlotInfo	slot;
	int			pid = 0;

	slot_main_name(&name);
	if (!manual && slot_lookup(NameStr(name), &slot) && slot.active_pid != MyProcPid)
		pid = slot.active_pid;
	if (shared_stream_slot_user(pid) && pid != 0)
		ereport(LOG,
				(errmsg("replication slot \"%s\" is in use by process %d", NameStr(name), pid),
				 errdetail("The worker waits until it is free."),
				 errhint("Only notify_stats may read this slot: what others consume is lost to the rollups.")));
	result->slot_in_use = pid != 0;
	return result->slot_in_use;
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

/* Drops what the stream had, after it has lost its last rollup, or its row. */
static void
drop_orphans(void)
{
	drop_orphaned_slot();
	(void) publication_drop();
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
	lsn = slot_create(NameStr(name), format->plugin, FAILOVER_SLOTS && notify_stats_failover);
	stream_set_slot(NameStr(name), format, lsn);
	ereport(LOG,
			(errmsg("notify_stats created replication slot \"%s\" of output plugin \"%s\"",
					NameStr(name), format->plugin)));
}

/* Looks up the stream's slot; why it is not one to read from, or NULL. */
static const char *
unusable_reason(const StreamRow *row, SlotInfo *slot)
{
	if (!slot_lookup(NameStr(row->slot_name), slot))
		return "the replication slot is missing";
	if (slot->database != MyDatabaseId || strcmp(NameStr(slot->plugin), row->format->plugin) != 0)
		return "the replication slot belongs to somebody else";
	if (slot->lost)
		return slot->lost_by == NULL ? "the replication slot was invalidated" :
			psprintf("the replication slot was invalidated because of %s", slot->lost_by);
	/* pg_resetwal leaves the slots; what this process has open it has read */
	if (!slot_is_open(NameStr(row->slot_name)) && !slot_has_wal(slot->restart_lsn))
		return "the write-ahead log that the replication slot needs is missing";
	return NULL;
}

const char *
cycle_loss_reason(const StreamRow *row)
{
	SlotInfo	slot;
	const char *reason = unusable_reason(row, &slot);

	if (reason != NULL)
		return reason;
	if (slot.confirmed_flush_lsn > row->applied_lsn)
		return "the replication slot is ahead of what was applied";
	if (row->applied_lsn > GetXLogInsertRecPtr())
		return "what was applied is not in this server's write-ahead log";
	return NULL;
}

/* The numbers of the files that hold the rows of all sources. */
static List *
source_files(void)
{
	static const char query[] =
		"WITH RECURSIVE source AS (SELECT source::pg_catalog.oid AS relid FROM " EXTENSION_SCHEMA ".rollup_source"
		" UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN source s ON i.inhparent = s.relid)"
		" SELECT f.number FROM source, pg_catalog.pg_relation_filenode(relid) f (number) WHERE f.number IS NOT NULL";
	MemoryContext context = CurrentMemoryContext;
	List	   *files = NIL;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the files of sources");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			number = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
															SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext spi_context = MemoryContextSwitchTo(context);

		files = lappend_oid(files, number);
		MemoryContextSwitchTo(spi_context);
	}
	SPI_finish();
	return files;
}

/* Whether a slot is invalidated, and all that was left to read in it is still in the WAL. */
static bool
is_lost_with_wal(const StreamRow *row, const SlotInfo *slot)
{
	return slot->lost && slot->database == MyDatabaseId &&
		strcmp(NameStr(slot->plugin), row->format->plugin) == 0 &&
		!XLogRecPtrIsInvalid(slot->restart_lsn) && slot_has_wal(slot->restart_lsn) &&
		slot->confirmed_flush_lsn <= row->applied_lsn &&
		row->applied_lsn <= slot_written_lsn();
}

/*
 * Makes another slot in place of one that the server has invalidated, if no change of
 * a source is left in it.  What is written until the new one begins is looked at as
 * well.  False: changes may have been lost.
 */
static bool
replace_slot(const StreamRow *row)
{
	const char *name = NameStr(row->slot_name);
	List	   *files;
	SlotInfo	slot;
	XLogRecPtr	lsn;

	/* the new slot is made in this transaction, and cannot be after a write */
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		!slot_lookup(name, &slot) || !is_lost_with_wal(row, &slot))
		return false;
	files = source_files();
	if (!unread_wal_is_irrelevant(slot.restart_lsn, row->applied_lsn, slot_flush_written(), files))
		return false;
	slot_drop(name);
	lsn = slot_create(name, row->format->plugin, slot.failover);
	if (!unread_wal_is_irrelevant(slot.restart_lsn, row->applied_lsn, lsn, files))
		return false;
	stream_set_applied(lsn);
	ereport(LOG,
			(errmsg("replication slot \"%s\" was invalidated because of %s, and made again",
					name, slot.lost_by ? slot.lost_by : "the server"),
			 errdetail("It had no change left that matters, so nothing was lost.")));
	return true;
}

/*
 * Notes that changes were lost.  The slot, if it is ours, is dropped as an
 * orphan when the new one is made.
 */
static void
give_up_slot(const StreamRow *row, const char *reason)
{
	bool		rebuild = notify_stats_on_lost_slot == LOST_SLOT_REBUILD;

	ereport(LOG,
			(errmsg("changes were lost: %s", reason),
			 errdetail("The slot is \"%s\". No rollup is live any more.", NameStr(row->slot_name)),
			 rebuild ?
			 errhint("The worker makes a new slot and rebuilds the rollups, but for those with ignore_deletes.") :
			 errhint("The worker makes a new slot. Call notify_stats.rebuild() for each rollup.")));
	rollup_give_up_all(psprintf("changes were lost: %s", reason), row->applied_lsn, rebuild);
	stream_clear_slot();
}

/* When this process has last looked whether failed rollups are to be tried again. */
static struct
{
	bool		looked;
	uint64		version;		/* of the catalogs */
	TimestampTz at;
}			retries;

/*
 * Whether what the catalogs say may have changed since a rollup has met its trouble.
 * *state is what they say, if not.
 */
static bool
may_be_mended(const Trouble *trouble, int64 *state)
{
	TransactionId youngest;

	*state = trouble->catalog;
	if (trouble->catalog != 0)
		return false;			/* known from before */
	*state = rollup_catalog_state(trouble->rollup, &youngest);
	return TransactionIdFollowsOrEquals(youngest, trouble->xmin) ||
		(trouble->others != 0 && trouble->others != shared_foreign_transactions());
}

/*
 * Marks a rollup as failed if its trouble was noted; InvalidOid if there is none.
 * One that was restored from a dump may be waiting for the rest of that: an index
 * or a privilege.  So the worker goes on trying to build it.
 */
static Oid
enter_trouble(bool manual)
{
	Trouble		trouble;
	Rollup	   *rollup;
	char	   *name;
	bool		may_retry;
	int64		state = 0;

	if (!trouble_read(&trouble))
		return InvalidOid;
	rollup = rollup_find(rollup_list(NULL), trouble.rollup);
	name = rollup_qualified_name(trouble.rollup);
	may_retry = trouble.of_catalog && rollup != NULL && rollup->ignores == NIL;
	if (!manual && rollup != NULL && rollup_is_restored(rollup))
	{
		ereport(LOG,
				(errmsg("rollup %s, restored from a dump, cannot be built yet: %s", name, trouble.reason),
				 errdetail("It will be tried again.")));
		rollup_set_state(trouble.rollup, ROLLUP_STALE, trouble.reason, trouble.lsn);
	}
	else if (trouble.heals && rollup != NULL)
	{
		(void) shared_stream_offences(trouble.rollup, true);
		rollup_give_up(rollup, trouble.reason, trouble.lsn);
	}
	else if (may_retry && may_be_mended(&trouble, &state))
		/* its build tells */
		rollup_give_up(rollup, trouble.reason, trouble.lsn);
	else
	{
		ereport(LOG,
				(errmsg("rollup %s has failed: %s", name, trouble.reason),
				 errhint("Fix the cause, then run: %s",
						 rollup_rebuild_statement(name, rollup != NULL && rollup->ignores != NIL))));
		rollup_set_state(trouble.rollup, ROLLUP_FAILED, trouble.reason, trouble.lsn);
		if (may_retry)
			rollup_set_retry(trouble.rollup, state);
		retries.looked = false;
	}
	request_forget(trouble.rollup, trouble.request);
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
 * Upgrades of the server
 *
 * pg_upgrade takes a slot along if nothing is left to be decoded in it, and any
 * commit of this database counts, also our own.  So the position that we write
 * cannot be the last: the slot is advanced beyond it, past our commit, after
 * that was looked through.  How far is written beforehand, so that this server,
 * too, can go on from there: to the end of the segment, and what is not needed of
 * that is left unused.  The new server has another system identifier and a new
 * slot, from the position of which on there is all that it writes.  Had anybody
 * committed anything in between, a change of a definition for instance, pg_upgrade
 * would have refused.
 */

/* Whether the slot is one that this stream may go on with. */
static bool
is_sound_slot(const StreamRow *row, SlotInfo *slot)
{
	return row->has_slot && unusable_reason(row, slot) == NULL;
}

/* What is left to do after an upgrade, or if there was none; true if it was done. */
static bool
end_upgrade(const StreamRow *row)
{
	bool		upgraded = row->upgrade_from != 0 && row->upgrade_from != GetSystemIdentifier();
	SlotInfo	slot;

	if (upgraded)
	{
		if (is_sound_slot(row, &slot))
		{
			stream_set_applied(slot.confirmed_flush_lsn);
			facts_store(facts_load(), NIL);
			rollup_take_over(rollup_list(NULL));
			ereport(LOG, (errmsg("notify_stats goes on after an upgrade of the server")));
		}
	}
	else if (row->upgrade_from == 0 && !XLogRecPtrIsInvalid(row->upgrade_lsn))
	{
		if (is_sound_slot(row, &slot) && slot.confirmed_flush_lsn == row->upgrade_lsn)
			stream_set_applied(slot.confirmed_flush_lsn);
	}
	else
		return false;
	stream_set_upgrade(0, InvalidXLogRecPtr);
	return true;
}

/* Locks the stream and the live rollups, whose changes up to there are then read. */
static CycleOutput
read_before_upgrade(StreamRow *row, XLogRecPtr upto)
{
	List	   *live;
	BusyLock	busy;

	(void) cycle_lock_stream(row);
	if (!cycle_open_live(row, rollup_list(NULL), &live, &busy))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock table \"%s\"", get_rel_name(busy.relid)),
				 errhint("Try again when nobody else uses it.")));
	return cycle_read_main(row, live, Max(upto, row->applied_lsn), true);
}

/*
 * Writes the last position, and then advances the slot to the end of the segment,
 * if nothing but that was written until there.
 */
static bool
try_pass_end(void)
{
	StreamRow	row;
	XLogRecPtr	upto = slot_flush_written();
	XLogRecPtr	end;
	CycleOutput output;
	bool		within;
	bool		passed;

	xact_begin();
	output = read_before_upgrade(&row, upto);
	end = slot_next_segment();
	stream_set_applied(output.reached_lsn);
	stream_set_upgrade(GetSystemIdentifier(), end);
	xact_commit();
	within = XactLastCommitEnd <= end;
	slot_fill_segment(end);

	xact_begin();
	output = read_before_upgrade(&row, end);
	passed = within && output.changed == NIL && output.stale == NIL && !output.new_facts;
	if (!passed)
		stream_set_applied(output.reached_lsn);
	xact_commit();
	if (passed)
		advance(&row, end);
	return passed;
}

void
cycle_cancel_upgrade(void)
{
	StreamRow	row;

	xact_begin();
	if (cycle_lock_stream(&row) && row.upgrade_from == GetSystemIdentifier())
		stream_set_upgrade(0, row.upgrade_lsn);
	xact_commit();
}

void
cycle_prepare_upgrade(void)
{
	StreamRow	row;
	SlotInfo	slot;

	xact_begin();
	if (!cycle_lock_stream(&row) || !is_sound_slot(&row, &slot))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no replication slot to be taken along"),
				 errhint("Upgrade without it: the new server makes one if there are rollups, and rebuilds them.")));
	xact_commit();
	for (int i = 0; i < UPGRADE_TRIES; i++)
		if (try_pass_end())
			return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("others go on changing the tables that rollups read"),
			 errhint("Stop them, and call prepare_upgrade() again, or resume().")));
}

/* How often it is tried to use an idle slot, as a part of the time that it may be idle. */
#define TOUCHES_PER_TIMEOUT 8

int
cycle_touch_interval(void)
{
	int64		milliseconds = (int64) slot_idle_timeout() * 1000 / TOUCHES_PER_TIMEOUT;

	return milliseconds == 0 || milliseconds > INT_MAX ? INT_MAX : milliseconds;
}

void
cycle_touch_slot(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	NameData	name;
	StreamRow	row;

	slot_main_name(&name);
	if (!slot_is_idle(NameStr(name)) ||
		!TimestampDifferenceExceeds(last, now, cycle_touch_interval()))
		return;
	last = now;
	xact_begin();
	/* the holder of the lock may be about to use it */
	if (OidIsValid(catalog_table(CATALOG_STREAM)) && stream_try_lock() && stream_load(&row) &&
		row.has_slot && (!row.paused || row.upgrade_from != 0) && slot_is_idle(NameStr(name)))
		slot_touch(NameStr(name));
	xact_commit();
}

static bool
has_failed(List *rollups)
{
	ListCell   *lc;

	foreach(lc, rollups)
		if (((Rollup *) lfirst(lc))->state == ROLLUP_FAILED)
			return true;
	return false;
}

/*
 * Looks, if some catalog has changed since this process has looked last, whether failed
 * rollups are to be tried again.  True if anything was written.  The look costs more than
 * a cycle, so that it is not taken more than once a second.
 */
static bool
retry_failed(List *rollups, bool manual, CycleResult *result)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		written = false;
	ListCell   *lc;

	if (!has_failed(rollups) || (retries.looked && retries.version == catalog_version()))
		return false;
	result->unlooked = retries.looked && !manual &&
		!TimestampDifferenceExceeds(retries.at, now, PROGRESS_INTERVAL_MS);
	if (result->unlooked)
		return false;
	retries.version = catalog_version();
	retries.at = now;
	foreach(lc, rollups)
		written |= rollup_retry((Rollup *) lfirst(lc));
	/* an error may still undo what was written */
	retries.looked = !written;
	return written;
}

/* What is to be settled of a stream that has a slot; true if it can be read. */
static bool
settle_slot(const StreamRow *row, List *rollups, bool manual, CycleResult *result, bool *again)
{
	const char *reason = rollups ? cycle_loss_reason(row) : NULL;

	*again = true;
	if (reason == NULL && rollups != NIL && oversize_is_final(row->applied_lsn))
	{
		reason = psprintf("a change is too large for output plugin \"%s\"", row->format->plugin);
		oversize_forget();
	}
	if (reason != NULL && replace_slot(row))
		;
	else if (reason != NULL)
		give_up_slot(row, reason);
	else if (rollups == NIL)
		stream_clear_slot();
	else if (!rollup_adopt_restored(rollups, true))
	{
		*again = false;
		if (is_in_use(manual, result))
			return false;
		tidy_publication(row, manual);
		return true;
	}
	return false;
}

/* What is to be settled of one that has none; it cannot be read. */
static void
settle_without_slot(List *rollups, bool manual, CycleResult *result, bool *again)
{
	if (rollup_adopt_restored(rollups, false))
		*again = true;
	else if (is_in_use(manual, result))
		;						/* it can be neither dropped nor made */
	else if (rollups == NIL)
		drop_orphans();
	else
	{
		/* a slot cannot be made after a write */
		if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
			create_main_slot();
		*again = true;
	}
}

/*
 * Opens a transaction on the main stream, and settles what has to be settled
 * before it can be read.  True: the transaction is open, the stream is locked
 * and has a sound slot.  False: the transaction is over; there is nothing to
 * read, or something was settled and *again is set.
 */
static bool
try_open_stream(bool manual, StreamRow *row, List **rollups, CycleResult *result, bool *again)
{
	Oid			trouble;
	bool		some_dropped;

	xact_begin();
	*again = false;
	if (!OidIsValid(catalog_table(CATALOG_STREAM)) || !cycle_lock_stream(row))
	{
		/* dropped, or not created yet: a slot that is left would keep all WAL */
		drop_orphans();
		xact_commit();
		return false;
	}
	if (end_upgrade(row))
	{
		xact_commit();
		*again = true;
		return false;
	}
	if (row->upgrade_from != 0 && manual)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the stream is left for an upgrade of the server"),
				 errhint("To go on without one, run: SELECT notify_stats.resume();")));
	result->paused = row->paused && !manual;
	if (result->paused)
	{
		xact_commit();
		return false;
	}

	trouble = enter_trouble(manual);
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
	if (retry_failed(*rollups, manual, result))
		*again = true;
	else if (!row->has_slot)
		settle_without_slot(*rollups, manual, result, again);
	else if (settle_slot(row, *rollups, manual, result, again))
		return true;
	xact_commit();
	return false;
}

/* The same; leaves no slot open that is not read. */
static bool
open_stream(bool manual, StreamRow *row, List **rollups, CycleResult *result, bool *again)
{
	bool		opened = try_open_stream(manual, row, rollups, result, again);

	if (!opened)
	{
		locked_out_since = 0;
		slot_close();
		/* whose lock it was may be gone, with its rollup */
		shared_stream_waits_for(InvalidOid);
	}
	return opened;
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

XLogRecPtr
cycle_window_end(XLogRecPtr start, XLogRecPtr safe, XLogRecPtr restart)
{
	uint64		window = Max((uint64) notify_stats_max_batch_wal * 1024,
							 start > restart ? start - restart : 0);

	return safe - start > window ? start + window : safe;
}

/* The position that this process has committed last, and where that is in the WAL. */
static struct
{
	XLogRecPtr	applied_lsn;
	XLogRecPtr	commit_end;
}			committed;

/*
 * Whether the standbys that the slot waits for have the WAL up to a position.  If
 * they do not for a while, the server says once which one is missing.
 */
static bool
standbys_let_advance(XLogRecPtr end)
{
	static TimestampTz since = 0;
	static bool said = false;
	bool		say = since != 0 && !said &&
		TimestampDifferenceExceeds(since, GetCurrentTimestamp(), STANDBY_PATIENCE_MS);

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
 * Lets the slot advance to a position that a commit has written, once that is
 * on disk, and, if the slot is to go on there, at the standbys.  Each advance
 * reads the WAL from restart_lsn, so this is not done after every cycle.
 * Returns false if it is to be done later.
 */
static bool
keep_slot_close(const StreamRow *row, XLogRecPtr applied_lsn, bool at_once)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	SlotInfo	slot;
	XLogRecPtr	end;

	if (!slot_lookup(NameStr(row->slot_name), &slot) || slot.confirmed_flush_lsn >= applied_lsn)
		return true;
	if (!at_once && !TimestampDifferenceExceeds(last, now, ADVANCE_INTERVAL_MS))
		return false;
	last = now;
	/* another process may have committed it */
	end = applied_lsn == committed.applied_lsn ? committed.commit_end : slot_written_lsn();
	XLogFlush(end);
	if (slot.failover && !standbys_let_advance(end))
		return false;
	advance(row, applied_lsn);
	return true;
}

void
cycle_finish(const StreamRow *row, XLogRecPtr reached_lsn, TimestampTz at)
{
	debug_stop("after-commit");
	shared_stream_reached(reached_lsn, at);
	(void) keep_slot_close(row, reached_lsn, true);
}

/*
 * Has restart_lsn follow, from which the slot is read when it is opened.  It can
 * move only to where the running transactions are logged, and not past the
 * oldest of these; if that holds it back, there are longer and longer pauses.
 * Returns the end of the record, or an invalid LSN.
 */
static XLogRecPtr
keep_restart_close(SharedStream *shared, XLogRecPtr restart_lsn, XLogRecPtr reached_lsn)
{
	TimestampTz now = GetCurrentTimestamp();

	if (reached_lsn < restart_lsn + RESTART_DISTANCE)
		return InvalidXLogRecPtr;
	if (!TimestampDifferenceExceeds(shared->standby_snapshot_at, now,
									shared->standby_snapshot_interval))
		return InvalidXLogRecPtr;

	shared->standby_snapshot_interval =
		shared->standby_snapshot_restart_lsn != restart_lsn ? SNAPSHOT_INTERVAL_MS :
		Min(Max(shared->standby_snapshot_interval, SNAPSHOT_INTERVAL_MS) * 2,
			MAX_SNAPSHOT_INTERVAL_MS);
	shared->standby_snapshot_restart_lsn = restart_lsn;
	shared->standby_snapshot_at = now;
	return slot_log_running_transactions();
}

/* What follows the commit of a cycle that has come to "upto". */
static void
finish_cycle(const StreamRow *row, XLogRecPtr upto, bool wrote, bool manual, CycleResult *result)
{
	SharedStream *shared = shared_stream();
	SlotInfo	slot;

	result->unadvanced = !keep_slot_close(row, wrote ? upto : row->applied_lsn, manual);
	if (!slot_lookup(NameStr(row->slot_name), &slot))
		return;
	result->restart_lsn = slot_is_open(NameStr(row->slot_name)) ? upto : slot.restart_lsn;
	if (wrote)
	{
		XLogRecPtr	end = keep_restart_close(shared, slot.restart_lsn, upto);

		result->own_end = Max(result->own_end, end);
	}
}

/* Whether it is time for the last position after a while of work. */
static bool
is_closing_time(SharedStream *shared, bool manual)
{
	return shared->unclosed &&
		(manual || TimestampDifferenceExceeds(shared->progress_at, GetCurrentTimestamp(),
											  CLOSING_DELAY_MS));
}

/*
 * The version of the catalogs at which this process has last compared the facts
 * of sources, and committed what came of it.  As long as it is the same, there
 * is nothing new, unless the format goes by name.
 */
static struct
{
	bool		valid;
	uint64		version;
}			settled;

static bool
is_settled(uint64 version)
{
	return settled.valid && settled.version == version;
}

/*
 * Collects the rollups that are to be built.  One without its index is not, if
 * nobody asks for it: a dump that is being restored makes the index when it has
 * filled the table.  Nor is one whose table something else writes, as long as it
 * does.
 */
static void
collect_builds(List *rollups, CycleResult *result)
{
	ListCell   *lc;

	foreach(lc, rollups)
	{
		Rollup	   *rollup = (Rollup *) lfirst(lc);

		if (rollup_wants_build(rollup) && !rollup_is_obstructed(rollup) &&
			(rollup->request > 0 || rollup_has_index(rollup)))
			result->wants_build = lappend_oid(result->wants_build, rollup->relid);
	}
}

static bool
reads_source(const Rollup *rollup, Oid source)
{
	return list_member_oid(rollup->definition->sources, source);
}

/*
 * Gives up the live rollups that read a source with a value that cannot be read.
 * True if that was noted, and is settled: the transaction is over.
 */
static bool
settle_unreadable(const StreamRow *row, List *live)
{
	char	   *reason;
	Oid			source = trouble_unreadable_source(&reason);
	ListCell   *lc;

	if (!OidIsValid(source))
		return false;
	reason = psprintf(_("a value of table \"%s\" cannot be read: %s"),
					  get_rel_name(source) ? get_rel_name(source) : "?", reason);
	foreach(lc, live)
		if (reads_source((Rollup *) lfirst(lc), source))
			rollup_give_up((Rollup *) lfirst(lc), reason, row->applied_lsn);
	/* for good, before the next value has a chance to fail */
	xact_commit();
	trouble_forget_source(source);
	return true;
}

/*
 * Reads the open stream up to the end of the WAL or of the window.  True if
 * something had to be settled first, and it is to be opened again.
 */
static bool
read_stream(const StreamRow *row, List *rollups, bool manual, CycleResult *result)
{
	SharedStream *shared = shared_stream();
	TimestampTz now = GetCurrentTimestamp();
	uint64		version = catalog_version();
	uint64		foreign = shared_foreign_transactions();
	XLogRecPtr	written = slot_written_lsn();
	bool		closing = is_closing_time(shared, manual);
	XLogRecPtr	safe = closing ? slot_flush_written() : slot_safe_lsn();
	XLogRecPtr	start = Max(row->applied_lsn, pg_atomic_read_u64(&shared->reached_lsn));
	XLogRecPtr	upto;
	SlotInfo	slot;
	List	   *live;
	CycleOutput output = {0};
	bool		settle;
	bool		write;
	bool		progress;

	if (!cycle_open_live(row, rollups, &live, &result->busy))
	{
		collect_builds(rollups, result);
		xact_commit();
		return false;
	}
	if (settle_unreadable(row, live))
		return true;
	/* what is told of before the locks were taken may be read now */
	settle = !is_settled(version) || catalog_version() != version;
	if (safe < start)
		safe = start;			/* a position may lie in a record's middle */
	upto = cycle_window_end(start, safe, !slot_is_open(NameStr(row->slot_name)) &&
							slot_lookup(NameStr(row->slot_name), &slot) ? slot.restart_lsn : start);
	result->more = upto < safe;
	if (upto > start || settle)
	{
		output = cycle_read_main(row, live, upto, settle);
		upto = output.reached_lsn;
	}

	progress = is_progress(shared, foreign, row->applied_lsn, upto);
	write = output.changed != NIL || output.stale != NIL || output.new_facts ||
		(progress && is_progress_time(shared)) || (closing && upto > row->applied_lsn);
	if (write)
		stream_set_applied(upto);
	collect_builds(rollups, result);
	debug_stop("after-apply");
	result->own_end = xact_commit_lazily();
	settled.version = version;
	settled.valid = true;

	if (write)
	{
		shared->unclosed = output.changed != NIL || foreign != shared->progress_foreign;
		note_progress(shared, foreign, upto == safe && safe >= written);
		committed.applied_lsn = upto;
		committed.commit_end = result->own_end;
	}
	shared_stream_count(output.nchanges);
	if (result->more)
		shared_stream_backlog(upto - start, now);
	debug_stop("after-commit");
	shared_stream_reached(upto, now);
	result->start_lsn = start;
	result->reached_lsn = upto;
	result->unwritten = progress && !write;
	result->unclosed = shared->unclosed;
	finish_cycle(row, upto, write, manual, result);
	return false;
}

/* One step: something is settled, and true is returned, or the stream is read. */
static pg_noinline bool
run_step(bool manual, CycleResult *result)
{
	StreamRow	row;
	List	   *rollups;
	bool		again;

	trouble_start();
	if (open_stream(manual, &row, &rollups, result, &again))
	{
		time_limit_start();
		again = read_stream(&row, rollups, manual, result);
		time_limit_stop();
	}
	return again;
}

/* Warns, once, if the slot of our name keeps more WAL than it should. */
static void
watch_retained_wal(void)
{
	uint64		limit = (uint64) notify_stats_warn_retained_wal * 1024 * 1024;
	uint64		retained = 0;
	NameData	name;
	SlotInfo	slot;
	XLogRecPtr	safe = slot_safe_lsn();

	slot_main_name(&name);
	if (slot_lookup(NameStr(name), &slot) && !slot.lost && safe > slot.restart_lsn)
		retained = safe - slot.restart_lsn;
	if (limit > 0 && retained > limit)
	{
		if (shared_stream_retains_much(true))
			ereport(WARNING,
					(errmsg("replication slot \"%s\" keeps more than %d MB of write-ahead log",
							NameStr(name), notify_stats_warn_retained_wal),
					 errhint("The view notify_stats.status shows how far behind it is, and what holds it back.")));
	}
	/* not in turn at each rise and fall */
	else if (retained <= limit / 2 && shared_stream_retains_much(false))
		ereport(LOG,
				(errmsg("replication slot \"%s\" keeps less than %d MB of write-ahead log again",
						NameStr(name), notify_stats_warn_retained_wal)));
}

void
cycle_forget(void)
{
	locked_out_since = 0;
	trouble_reset();
	time_limit_forget();
}

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
		locked_out_since = 0;
		trouble_record(true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	watch_retained_wal();
	shared_stream_broadcast();	/* rollups may have come or gone */
	return result;
}
