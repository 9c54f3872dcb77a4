/*-------------------------------------------------------------------------
 *
 * decoder.c
 *	  A logical slot that a process keeps open.
 *
 * The server's SQL functions start from scratch in each call.  They read the
 * WAL from the slot's restart_lsn, which lies well before the new changes,
 * once to peek and once to advance.  A worker that runs some fifty cycles per
 * second would spend most of its time on that, and catch_up() a third.  So
 * they do what a walsender does, with the same functions of the server: they
 * keep the decoding context, and continue reading where they stopped.
 *
 * The context belongs to the process, not to a transaction.  After any error
 * it is not used again, since changes that were already read would not be read
 * again.
 *
 * The server supports one slot per process, MyReplicationSlot.  Between our
 * calls, code of users runs in expressions and triggers, and may use other
 * slots.  So our slot is set aside then.  But a role with the privilege may
 * drop it from within this process, which holds it.  Its place in the array
 * may then be used by another slot.  So it is checked before each use.
 *
 * Decoding uses the catalogs as they were when a transaction committed.  So
 * the server's functions empty all caches before and after, and each cycle
 * would have to fill them twice.  Here they are emptied only if the catalogs
 * may differ between then and now: if any process has sent an invalidation
 * message for a change after the position where decoding starts.  Changes in
 * between are invalidated by the WAL itself, as for a walsender.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/resowner.h"

#include "catalog_version.h"
#include "compat.h"
#include "decoder.h"
#include "ignored_table.h"
#include "plugin.h"
#include "wal_reader.h"

/*
 * So many bytes of messages are read at once, if the caches are kept; and if
 * they must be emptied before and after, which takes a few milliseconds.
 * (With 2 MB a backlog takes a fifth less time than with 64 MB, and less than
 * with 512 kB.)
 */
#define ENOUGH_BYTES (128 * 1024)
#define ENOUGH_WITHOUT_CACHES (2 * 1024 * 1024)

/* The open slot of this process. */
static struct
{
	MemoryContext context;		/* of all this; NULL: none is open */
	NameData	slot_name;
	bool		temporary;		/* the slot goes away when it is closed */
	List	   *options;
	LogicalDecodingContext *decoding;
	ReplicationSlot *slot;		/* set aside while nothing is decoded; NULL:
								 * not ours */
	LogicalDecodeChangeCB plugin_change;
	LogicalDecodeCommitCB plugin_commit;
	IgnoredTables *ignored;

	/* statistics that were not reported yet */
	int64		transactions;
	int64		bytes;

	/*
	 * the last known version of the catalogs, and the end of the WAL when it
	 * was first seen
	 */
	CatalogStamp catalogs;
	XLogRecPtr	catalogs_lsn;
}			own;

static void
prepare_write(LogicalDecodingContext *decoding, XLogRecPtr lsn,
			  TransactionId xid, bool last_write)
{
	resetStringInfo(decoding->out);
}

static void
write_message(LogicalDecodingContext *decoding, XLogRecPtr lsn,
			  TransactionId xid, bool last_write)
{
	Message		message = {lsn, xid, decoding->out->data, decoding->out->len};

	message_buffer_add((MessageBuffer *) decoding->output_writer_private,
					   &message);
}

/*
 * The server reports the statistics of the slot after each transaction, which
 * takes 2 to 3 % of the time for small ones.  So they are collected here, and
 * reported after each call of decoder_read.
 */
static void
commit_callback(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
				XLogRecPtr commit_lsn)
{
	ReorderBuffer *reorder = decoding->reorder;

	own.plugin_commit(decoding, txn, commit_lsn);
	if (reorder->spillBytes > 0 || reorder->streamBytes > 0)
		return;
	own.transactions += reorder->totalTxns;
	own.bytes += reorder->totalBytes;
	reorder->totalTxns = 0;
	reorder->totalBytes = 0;
}

/* Notes which tables the plugin ignores. */
static void
change_callback(LogicalDecodingContext *decoding, ReorderBufferTXN *txn,
				Relation relation, ReorderBufferChange *change)
{
	own.plugin_change(decoding, txn, relation, change);
	if (plugin_ignores_last_change(decoding))
		ignored_tables_add(own.ignored, relation);
}

/* Calls the plugin by way of the callbacks above. */
static void
wrap_callbacks(OutputPluginCallbacks *callbacks)
{
	own.plugin_commit = callbacks->commit_cb;
	own.transactions = 0;
	own.bytes = 0;
	own.plugin_change = callbacks->change_cb;
	own.ignored = NULL;
	if (plugin_is_ours(callbacks))
	{
		own.ignored = ignored_tables_create();
		callbacks->change_cb = change_callback;
	}
	callbacks->commit_cb = commit_callback;
}

static void
report_statistics(void)
{
	ReorderBuffer *reorder = own.decoding->reorder;

	reorder->totalTxns += own.transactions;
	reorder->totalBytes += own.bytes;
	own.transactions = 0;
	own.bytes = 0;
	UpdateDecodingStats(own.decoding);
}

static bool
same_options(List *a, List *b)
{
	ListCell   *lc;
	ListCell   *lc2;

	if (list_length(a) != list_length(b))
		return false;
	forboth(lc, a, lc2, b)
	{
		if (strcmp((char *) lfirst(lc), (char *) lfirst(lc2)) != 0)
			return false;
	}
	return true;
}

static List *
make_options(List *options)
{
	List	   *result = NIL;

	for (int i = 0; i + 1 < list_length(options); i += 2)
		result = lappend(result, makeDefElem((char *) list_nth(options, i),
											 (Node *) makeString((char *) list_nth(options, i + 1)),
											 -1));
	return result;
}

static List *
copy_strings(List *strings)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, strings)
		result = lappend(result, pstrdup((char *) lfirst(lc)));
	return result;
}

/* Whether this process has that slot open; with NULL: any. */
bool
decoder_is_open(const char *slot_name)
{
	return own.context != NULL &&
		(slot_name == NULL || strcmp(NameStr(own.slot_name), slot_name) == 0);
}

static void
set_slot_aside(void)
{
	MyReplicationSlot = NULL;
}

/*
 * Returns whether the slot that was set aside is still the one that this
 * process has opened and holds.  If so, this remains true, since no other
 * process can drop it, or take its WAL away while it is in use
 * (slot_release_wal).
 */
static bool
is_held(void)
{
	ReplicationSlot *slot = own.slot;
	bool		held;

	if (slot == NULL)
		return false;
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	SpinLockAcquire(&slot->mutex);
	held = slot->in_use && slot_is_ours(slot) &&
		slot->data.persistency ==
		(own.temporary ? RS_TEMPORARY : RS_PERSISTENT) &&
		slot->data.database == MyDatabaseId &&
		!XLogRecPtrIsInvalid(slot->data.restart_lsn) &&
		strcmp(NameStr(slot->data.name), NameStr(own.slot_name)) == 0;
	SpinLockRelease(&slot->mutex);
	LWLockRelease(ReplicationSlotControlLock);
	return held;
}

/* Whether this process has that slot open, and nothing has dropped it since. */
bool
decoder_is_held(const char *slot_name)
{
	return decoder_is_open(slot_name) && is_held();
}

/*
 * Makes the slot MyReplicationSlot.  If it is no longer ours, forgets it and
 * throws.
 */
static void
take_slot(void)
{
	if (MyReplicationSlot != NULL)
		elog(ERROR, "another replication slot is in use");
	if (!is_held())
	{
		own.slot = NULL;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("replication slot \"%s\" was dropped or released by code run in this process",
						NameStr(own.slot_name)),
				 errhint("Only notify_stats may use this slot.")));
	}
	MyReplicationSlot = own.slot;
}

/*
 * Releases the slot if it is still ours, whichever other slot may be in use.
 */
static void
release_slot(void)
{
	ReplicationSlot *other = MyReplicationSlot == own.slot ? NULL :
	MyReplicationSlot;

	if (!is_held())
	{
		own.slot = NULL;
		return;
	}
	MyReplicationSlot = own.slot;
	own.slot = NULL;
	ReplicationSlotRelease();
	MyReplicationSlot = other;
}

/*
 * The server would release only MyReplicationSlot.  Its own callback runs
 * after the one that releases locks left by an error; this one runs before it.
 */
static void
release_slot_at_exit(int code, Datum arg)
{
	if (own.slot != NULL)
		LWLockReleaseAll();
	release_slot();
}

/* Remembers the slot that this process has just acquired. */
static void
take_over_slot(const char *slot_name, bool temporary)
{
	static bool exit_callback_registered = false;

	if (!exit_callback_registered)
		before_shmem_exit(release_slot_at_exit, (Datum) 0);
	exit_callback_registered = true;
	namestrcpy(&own.slot_name, slot_name);
	own.temporary = temporary;
	own.slot = MyReplicationSlot;
}

/*
 * Whether it is open with these options, so that decoder_open has nothing
 * to do.
 */
bool
decoder_is_ready(const char *slot_name, List *options)
{
	return decoder_is_open(slot_name) && same_options(own.options, options);
}

/*
 * Starts to decode with the slot that was acquired, and sets it aside.  What is
 * opened lives in the given memory context.
 */
static void
start_decoding(List *options, MemoryContext context)
{
	MemoryContext caller_context;

	own.context = AllocSetContextCreate(context, "notify_stats decoder",
										ALLOCSET_DEFAULT_SIZES);
	caller_context = MemoryContextSwitchTo(own.context);
	own.options = copy_strings(options);
	own.decoding = NULL;
	own.decoding = CreateDecodingContext(InvalidXLogRecPtr,
										 make_options(own.options), false,
										 WAL_READER_ROUTINE, prepare_write,
										 write_message, NULL);
	wrap_callbacks(&own.decoding->callbacks);
	XLogBeginRead(own.decoding->reader, MyReplicationSlot->data.restart_lsn);
	own.catalogs.valid = false;
	MemoryContextSwitchTo(caller_context);
	set_slot_aside();
}

/*
 * Gives up what was decoded with a temporary slot that is open, to begin again
 * with other options.  Leaves the slot acquired.
 */
static void
stop_decoding(void)
{
	take_slot();
	FreeDecodingContext(own.decoding);
	MemoryContextDelete(own.context);
	own.context = NULL;
}

/*
 * Opens a slot, at its confirmed position, unless it is open already and was
 * opened with the same options, a list of char *, names and values in turn.
 * What is opened lives in the given memory context, which has to outlast it.
 * Throws if another process has the slot.
 */
void
decoder_open(const char *slot_name, List *options, MemoryContext context)
{
	if (decoder_is_ready(slot_name, options))
		return;
	if (decoder_is_held(slot_name) && own.temporary)
		stop_decoding();
	else
	{
		decoder_close();
		check_logical_decoding();
		acquire_slot(slot_name);
	}
	take_over_slot(slot_name,
				   MyReplicationSlot->data.persistency == RS_TEMPORARY);
	start_decoding(options, context);
}

/*
 * The same for a new temporary slot, which begins at a start point.  It goes
 * away when it is closed, or with this process.
 */
void
decoder_open_at(const StartPoint *point, const char *slot_name,
				const char *plugin, List *options, MemoryContext context)
{
	decoder_close();
	start_point_create_slot(point, slot_name, plugin);
	take_over_slot(slot_name, true);
	start_decoding(options, context);
}

/*
 * Returns whether no catalog has changed after a position.  All changes
 * counted by the version were logged before the end of the WAL at the time
 * when the version was first seen.
 */
static bool
catalogs_stand_still(XLogRecPtr since)
{
	if (!catalog_stamp_holds(&own.catalogs))
	{
		catalog_stamp(&own.catalogs, catalog_version());
		own.catalogs_lsn = GetXLogInsertRecPtr();
	}
	return own.catalogs_lsn <= since;
}

/* Decodes up to a position, or until the buffer has so many bytes. */
static void
decode(XLogRecPtr upto, const MessageBuffer *messages, Size enough)
{
	XLogReaderState *reader = own.decoding->reader;

	while (reader->EndRecPtr < upto && message_buffer_size(messages) < enough)
	{
		char	   *error = NULL;

		/* the reader's buffers are allocated wherever it is called first */
		MemoryContextSwitchTo(own.context);
		if (XLogReadRecord(reader, &error) == NULL)
			elog(ERROR, "could not read WAL at " LSN_FORMAT ": %s",
				 LSN_FORMAT_ARGS(reader->EndRecPtr), error ?
				 error : "no record");
		if (own.ignored == NULL ||
			!ignored_tables_leave_out(own.ignored, own.decoding))
			LogicalDecodingProcessRecord(own.decoding, reader);
		CHECK_FOR_INTERRUPTS();
	}
	report_statistics();
}

/*
 * Decodes from where the last call stopped up to a position that is on disk,
 * and adds what the output plugin writes to a buffer.  Stops earlier when that
 * has enough messages for the caller to fold: they are best read while they
 * are in the cache of the CPU.  Returns whether the position is reached.
 *
 * Must be called within a transaction.  If it throws, or if what was read is
 * not applied, the process must end, or must call decoder_forget before its
 * command ends.
 */
bool
decoder_read(XLogRecPtr upto, MessageBuffer *messages)
{
	LogicalDecodingContext *decoding = own.decoding;
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = CurrentMemoryContext;
	XLogRecPtr	start = decoding->reader->EndRecPtr;
	bool		keep_caches = catalogs_stand_still(start);

	if (start >= upto)
		return true;
	take_slot();
	decoding->output_writer_private = messages;

	if (!keep_caches)
		InvalidateSystemCaches();
	PG_TRY();
	{
		decode(upto, messages, keep_caches ? ENOUGH_BYTES :
			   ENOUGH_WITHOUT_CACHES);
	}
	PG_CATCH();
	{
		/* the caches may contain entries of that time */
		InvalidateSystemCaches();
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!keep_caches || !catalogs_stand_still(start))
		InvalidateSystemCaches();

	/* decoding runs subtransactions of its own */
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(context);
	decoding->output_writer_private = NULL;
	set_slot_aside();
	return decoding->reader->EndRecPtr >= upto;
}

/*
 * Allows the slot to discard everything before a position, which must have
 * been read.
 */
void
decoder_confirm(XLogRecPtr lsn)
{
	take_slot();
	LogicalConfirmReceivedLocation(lsn);
	/* a clean shutdown should save it, although it need not survive a crash */
	ReplicationSlotMarkDirty();
	set_slot_aside();
}

/* Closes what the memory context would leave open. */
static void
close_wal(void)
{
	if (own.decoding != NULL && own.decoding->reader->seg.ws_file >= 0)
		wal_segment_close(own.decoding->reader);
}

/*
 * Closes the slot, if one is open, so that others can use it.  Drops a
 * temporary one.
 */
void
decoder_close(void)
{
	if (own.context == NULL)
		return;
	if (is_held())
	{
		take_slot();
		FreeDecodingContext(own.decoding);
		if (own.temporary)
		{
			own.slot = NULL;
			ReplicationSlotRelease();
			ReplicationSlotDrop(NameStr(own.slot_name), true);
		}
	}
	else
		close_wal();			/* the files of changes went with the slot */
	release_slot();
	MemoryContextDelete(own.context);
	own.context = NULL;
}

/*
 * Forgets an open temporary slot after an error in a session, and frees the
 * memory.  The slot remains, and is no longer in use.
 */
void
decoder_discard(void)
{
	if (MyReplicationSlot == own.slot)
		MyReplicationSlot = NULL;
	close_wal();
	release_slot();
	MemoryContextDelete(own.context);
	own.context = NULL;
}

/*
 * Forgets the open slot after an error in a session.  The slot is released
 * when the command is aborted, and the memory is freed with its context.
 */
void
decoder_forget(void)
{
	/* the server releases this one when it has aborted the command */
	if (MyReplicationSlot == NULL && is_held())
		MyReplicationSlot = own.slot;
	else if (MyReplicationSlot != own.slot)
		release_slot();
	own.slot = NULL;
	if (own.context == NULL)
		return;
	close_wal();
	own.context = NULL;
}
