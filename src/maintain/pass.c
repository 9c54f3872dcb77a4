/*-------------------------------------------------------------------------
 *
 * pass.c
 *	  A pass over a slot: peek, fold, apply.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"

#include "apply.h"
#include "compat.h"
#include "facts.h"
#include "fold.h"
#include "oversize.h"
#include "pass.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "trouble.h"
#include "xact.h"

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

/* The state of a running pass. */
typedef struct Pass
{
	const PassInput *input;
	PassOutput *output;
	Fold	   *fold;
	Message		message;		/* the current one of the peek */
	TransactionId xid;			/* the transaction that is being read ... */
	TransactionId counted;		/* ... and the last one with changes */
	bool		may_apply;		/* before_apply was called, or is not set */
	MemoryContext context;		/* lives as long as the pass; those of readers
								 * are reset earlier */
} Pass;

static void
apply_deltas(Pass *pass)
{
	const PassInput *input = pass->input;
	PassOutput *output = pass->output;
	ListCell   *lc;

	if (!pass->may_apply)
	{
		shared_window_progress(WINDOW_WAITING, InvalidXLogRecPtr);
		output->discarded = !input->before_apply(input->arg);
	}
	pass->may_apply = true;
	if (output->discarded)
		return;
	if (input->take_delta != NULL)
	{
		foreach(lc, pass->fold->deltas)
			input->take_delta((Delta *) lfirst(lc), input->arg);
		return;
	}
	shared_window_progress(WINDOW_APPLYING, InvalidXLogRecPtr);
	foreach(lc, pass->fold->deltas)
	{
		Delta	   *delta = (Delta *) lfirst(lc);

		if (delta->stale_reason == NULL && apply_delta(delta, input->target))
			output->changed = list_append_unique_ptr(output->changed,
													 delta->rollup);
	}
}

static void
note_stale(Fold *fold, PassOutput *output)
{
	ListCell   *lc;

	foreach(lc, fold->deltas)
	{
		Delta	   *delta = (Delta *) lfirst(lc);

		if (delta->stale_reason == NULL)
			continue;
		output->stale = lappend(output->stale, delta->rollup);
		output->reasons = lappend(output->reasons,
								  pstrdup(delta->stale_reason));
	}
}

/*
 * Returns whether a transaction is not in the input's rollups yet.  If its
 * commit record spans the end of the pass, the record was read completely.
 * Then the end of the pass is moved after the start of that record.
 */
static bool
wants_transaction(void *arg, TransactionId xid, XLogRecPtr commit_lsn)
{
	Pass	   *pass = (Pass *) arg;

	pass->xid = xid;
	if (commit_lsn >= pass->output->reached_lsn)
		pass->output->reached_lsn = commit_lsn + 1;
	return commit_lsn >= pass->input->applied_lsn &&
		(pass->input->visible == NULL ||
		 !is_visible(pass->input->visible, xid));
}

/* Notes a partition whose changes are read. */
static void
note_partition(Pass *pass, Oid source, Oid partition)
{
	MemoryContext context = MemoryContextSwitchTo(pass->context);

	pass->output->partitions = facts_add_partition(pass->output->partitions,
												   source, partition);
	MemoryContextSwitchTo(context);
}

static void
take_change(void *arg, const RowChange *change)
{
	Pass	   *pass = (Pass *) arg;

	if (pass->output->discarded)
		return;
	if (change->kind == ROW_PARTITION)
	{
		note_partition(pass, change->source->relid, change->partition);
		return;
	}
	if (!TransactionIdEquals(pass->xid, pass->counted))
		pass->output->ntransactions++;
	pass->counted = pass->xid;
	fold_change(pass->fold, change);
	if (fold_is_large(pass->fold))
	{
		MemoryContext context = MemoryContextSwitchTo(pass->context);

		apply_deltas(pass);
		fold_reset(pass->fold);
		MemoryContextSwitchTo(context);
	}
}

static void
record_error_callback(void *arg)
{
	const Pass *pass = (const Pass *) arg;

	errcontext("reading the output of slot \"%s\" at " LSN_FORMAT ", transaction %u",
			   pass->input->slot_name, LSN_FORMAT_ARGS(pass->message.lsn),
			   pass->message.xid);
}

/* Reads all messages of the part of the peek that was decoded. */
static void
read_messages(Pass *pass, SlotPeek *peek, FormatReader *reader)
{
	ErrorContextCallback error_context;

	error_context.callback = record_error_callback;
	error_context.arg = pass;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	while (slot_peek_next(peek, &pass->message))
	{
		CHECK_FOR_INTERRUPTS();
		trouble_set_record(pass->input->slot_name, pass->message.lsn,
						   pass->message.xid);
		pass->input->format->reader_feed(reader, pass->message.data,
										 pass->message.len);
	}
	trouble_set_record(NULL, InvalidXLogRecPtr, InvalidTransactionId);
	error_context_stack = error_context.previous;
}

static void
read_error_callback(void *arg)
{
	const PassInput *input = (const PassInput *) arg;
	const Rollup *rollup = rollup_find(input->rollups, trouble_at_work());

	if (rollup != NULL && trouble_part() != NULL)
		errcontext("rollup %s, %s", rollup->shape->name, trouble_part());
	else if (rollup != NULL)
		errcontext("rollup %s", rollup->shape->name);
	errcontext("applying the changes of slot \"%s\" from " LSN_FORMAT " up to " LSN_FORMAT,
			   input->slot_name, LSN_FORMAT_ARGS(input->applied_lsn),
			   LSN_FORMAT_ARGS(input->upto));
}

/*
 * Begins the peek if it is NULL, and decodes its next part.  Returns whether
 * there was one.  Records the error if the main stream cannot be read because
 * a change is too large.
 */
static bool
decode_part(const PassInput *input, bool resumable, List *options,
			SlotPeek **peek)
{
	volatile bool more = false;

	PG_TRY();
	{
		if (*peek == NULL)
			*peek = slot_peek(input->slot_name, input->format->plugin,
							  input->format->binary, resumable, options,
							  input->start, input->upto);
		more = slot_peek_more(*peek);
	}
	PG_CATCH();
	{
		if (input->is_main)
			oversize_record(input->applied_lsn);
		PG_RE_THROW();
	}
	PG_END_TRY();
	/* not after each part, or errors of later ones would never add up */
	if (input->is_main && !more)
		oversize_forget();
	return more;
}

/*
 * Peeks, folds and applies.  Does not commit, and does not write the stream's
 * row.  Errors are noted (trouble.h) and thrown.
 */
PassOutput
pass_read(const PassInput *input)
{
	PassOutput	output = {0};
	Pass		pass = {0};
	ChangeConsumer consumer = {wants_transaction, take_change, &pass};
	ErrorContextCallback error_context;
	FormatReader *reader;
	bool		resumable;
	List	   *options;
	SlotPeek   *peek = NULL;
	bool		more;

	error_context.callback = read_error_callback;
	error_context.arg = unconstify(PassInput *, input);
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;

	output.reached_lsn = input->upto;
	pass.input = input;
	pass.output = &output;
	pass.context = CurrentMemoryContext;
	pass.may_apply = input->before_apply == NULL;
	pass.fold = fold_begin(input->rollups);
	if (input->format->by_name)
		xact_use_server_encoding();
	reader = input->format->reader_create(pass.fold->sources, &consumer);
	resumable = input->format->resumable && slot_keeps_open();
	options = input->format->reader_options(reader, shared_stream()->text_only,
											resumable);
	more = decode_part(input, resumable, options, &peek);
	debug_stop("after-peek");
	for (; more && !output.discarded;
		 more = decode_part(input, resumable, options, &peek))
	{
		read_messages(&pass, peek, reader);
		shared_window_progress(WINDOW_READING, pass.message.lsn);
	}
	shared_window_progress(WINDOW_READING, input->upto);
	apply_deltas(&pass);
	note_stale(pass.fold, &output);
	output.nchanges = pass.fold->nchanges;
	slot_peek_end(peek);
	fold_end(pass.fold);

	error_context_stack = error_context.previous;
	return output;
}

/* Counts a pass over the main stream, whose changes are committed. */
void
pass_count(const PassOutput *output)
{
	shared_stream_count(output->nchanges, output->ntransactions);
}

/*
 * Returns where a read that continues at "start" must end: at the safe end of
 * the WAL, or at the end of a full window.  A slot reads again the WAL from
 * "restart" to "start".  The window is at least as long as that, so that a
 * backlog with a long-running transaction is not read too many times.
 */
XLogRecPtr
pass_window_end(XLogRecPtr start, XLogRecPtr safe, XLogRecPtr restart)
{
	uint64		window = Max((uint64) notify_stats_max_batch_wal * 1024,
							 start > restart ? start - restart : 0);

	return safe - start > window ? start + window : safe;
}
