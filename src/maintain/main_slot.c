/*-------------------------------------------------------------------------
 *
 * main_slot.c
 *	  The main stream's slot: how it is made, lost, and dropped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "main_slot.h"
#include "publication.h"
#include "rollup.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "unread_wal.h"
#include "xact.h"

static bool
is_own_slot(const SlotInfo *slot)
{
	return slot->database == MyDatabaseId &&
		format_of_plugin(NameStr(slot->plugin)) != NULL;
}

/*
 * Whether the worker has to leave the slot of our name alone, because a
 * process that is not ours has it open.  That is said once.  Without "look"
 * it has not, and what was said before is forgotten.
 */
bool
main_slot_note_use(bool look)
{
	NameData	name;
	SlotInfo	slot;
	int			pid = 0;

	slot_main_name(&name);
	if (look && slot_lookup(NameStr(name), &slot) &&
		slot.active_pid != MyProcPid)
		pid = slot.active_pid;
	if (shared_stream_slot_user(pid) && pid != 0)
		ereport(LOG,
				(errmsg("replication slot \"%s\" is in use by process %d",
						NameStr(name), pid),
				 errdetail("The worker waits until the slot is released."),
				 errhint("Only notify_stats may read this slot. Changes consumed by other processes are missing from the rollups.")));
	return pid != 0;
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
				(errmsg("notify_stats dropped replication slot \"%s\"",
						NameStr(name))));
	}
}

/*
 * Drops what the stream had, after it has lost its last rollup, or its row.
 */
void
main_slot_drop_orphans(void)
{
	drop_orphaned_slot();
	(void) publication_drop();
}

/* Whether standbys shall take the slot over. */
static bool
wants_failover(void)
{
	return FAILOVER_SLOTS && notify_stats_failover;
}

/*
 * Makes the slot, in a transaction that has written nothing.  Instead it
 * makes the publication if there is to be one and is none, or drops one
 * that is left.
 */
void
main_slot_create(void)
{
	const Format *format = format_chosen();
	NameData	name;
	XLogRecPtr	lsn;

	shared_stream_set_state(STREAM_CREATING_SLOT);
	slot_main_name(&name);
	drop_orphaned_slot();
	if (format == &format_pgoutput ? publication_ensure() : publication_drop())
		return;
	lsn = slot_create(NameStr(name), format->plugin, wants_failover());
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
	if (slot->database != MyDatabaseId ||
		strcmp(NameStr(slot->plugin), row->format->plugin) != 0)
		return "the replication slot belongs to somebody else";
	if (slot->lost)
		return slot->lost_by == NULL ? "the replication slot was invalidated" :
			psprintf("the replication slot was invalidated because of %s",
					 slot->lost_by);
	/* pg_resetwal leaves the slots; what this process has open it has read */
	if (!slot_is_open(NameStr(row->slot_name)) &&
		!slot_has_wal(slot->restart_lsn))
		return "the write-ahead log that the replication slot needs is missing";
	return NULL;
}

/* Why the main slot cannot have kept all changes, or NULL. */
const char *
main_slot_loss_reason(const StreamRow *row)
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

/* Whether the slot is one that this stream may go on with. */
bool
main_slot_is_sound(const StreamRow *row, SlotInfo *slot)
{
	return row->has_slot && unusable_reason(row, slot) == NULL;
}

/*
 * Notes that changes were lost.  The slot, if it is ours, is dropped as an
 * orphan when the new one is made.
 */
void
main_slot_give_up(const StreamRow *row, const char *reason)
{
	bool		rebuild = notify_stats_on_lost_slot == LOST_SLOT_REBUILD;

	ereport(LOG,
			(errmsg("changes were lost: %s", reason),
			 errdetail("The slot is \"%s\". No rollup is live any more.",
					   NameStr(row->slot_name)),
			 rebuild ?
			 errhint("The worker makes a new slot and rebuilds the rollups, but for those with ignore_deletes.") :
			 errhint("The worker makes a new slot. Call notify_stats.rebuild() for each rollup.")));
	rollup_give_up_all(psprintf("changes were lost: %s", reason),
					   row->applied_lsn, rebuild);
	stream_clear_slot();
}

/*
 * The same, by recreate_slot(): nothing was lost, so there is nothing that
 * notify_stats.on_lost_slot would have to say.
 */
void
main_slot_give_up_as_requested(const StreamRow *row)
{
	const char *reason = "the replication slot is recreated as requested";

	ereport(LOG,
			(errmsg("%s", reason),
			 errdetail("The slot is \"%s\". All live rollups are rebuilt.",
					   NameStr(row->slot_name))));
	rollup_give_up_all(reason, row->applied_lsn, true);
	stream_clear_slot();
}

/* The numbers of the files that hold the rows of all sources. */
static List *
source_files(void)
{
	static const char query[] =
	"WITH RECURSIVE source AS (SELECT source::pg_catalog.oid AS relid FROM " EXTENSION_SCHEMA ".rollup_source"
	" UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN source s ON i.inhparent = s.relid)"
	" SELECT f.number FROM source, pg_catalog.pg_relation_filenode(relid) f (number) WHERE f.number IS NOT NULL";

	return xact_query_oids(query);
}

/*
 * Whether a slot is invalidated, and all that was left to read in it is
 * still in the WAL.
 */
static bool
is_lost_with_wal(const StreamRow *row, const SlotInfo *slot)
{
	return slot->lost && slot->database == MyDatabaseId &&
		strcmp(NameStr(slot->plugin), row->format->plugin) == 0 &&
		!XLogRecPtrIsInvalid(slot->restart_lsn) &&
		slot_has_wal(slot->restart_lsn) &&
		slot->confirmed_flush_lsn <= row->applied_lsn &&
		row->applied_lsn <= slot_written_lsn();
}

/*
 * Makes another slot in place of one that the server has invalidated, if no
 * change of a source is left in it.  What is written until the new one
 * begins is looked at as well.  False: changes may have been lost.
 */
bool
main_slot_replace(const StreamRow *row)
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
	if (!unread_wal_is_irrelevant(slot.restart_lsn, row->applied_lsn,
								  slot_flush_written(), files))
		return false;
	slot_drop(name);
	lsn = slot_create(name, row->format->plugin, wants_failover());
	if (!unread_wal_is_irrelevant(slot.restart_lsn, row->applied_lsn, lsn,
								  files))
		return false;
	stream_set_applied(lsn);
	ereport(LOG,
			(errmsg("replication slot \"%s\" was invalidated because of %s, and made again",
					name, slot.lost_by ? slot.lost_by : "the server"),
			 errdetail("It had no change left that matters, so nothing was lost.")));
	return true;
}

/*
 * How often it is tried to use an idle slot, as a part of the time that it
 * may be idle.
 */
#define TOUCHES_PER_TIMEOUT 8

int
main_slot_touch_interval(void)
{
	int64		milliseconds =
	(int64) slot_idle_timeout() * 1000 / TOUCHES_PER_TIMEOUT;

	return milliseconds == 0 || milliseconds > INT_MAX ?
		INT_MAX : milliseconds;
}

/*
 * Uses the main slot for a moment if nobody has for long, as the server
 * invalidates slots that are idle (idle_replication_slot_timeout), other
 * than that of a paused stream.  To be called in each such interval, in
 * milliseconds, outside of a transaction.
 */
void
main_slot_touch(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	NameData	name;
	StreamRow	row;

	slot_main_name(&name);
	if (!slot_is_idle(NameStr(name)) ||
		!TimestampDifferenceExceeds(last, now, main_slot_touch_interval()))
		return;
	last = now;
	xact_begin();
	/* the holder of the lock may be about to use it */
	if (OidIsValid(catalog_table(CATALOG_STREAM)) && stream_try_lock() &&
		stream_load(&row) &&
		row.has_slot && (!row.paused || row.upgrade_from != 0) &&
		slot_is_idle(NameStr(name)))
		slot_touch(NameStr(name));
	xact_commit();
}

/*
 * How many times this process had read the configuration when it last saw
 * that the slot is as the settings say; -1: never.
 */
static int64 followed = -1;

/* Whether this process knows of nothing that the slot does not follow. */
bool
main_slot_follows_settings(void)
{
	return !FAILOVER_SLOTS || followed == (int64) settings_reloads;
}

/*
 * Has the slot follow notify_stats.failover, which the server allows for any
 * slot that nobody has open.  False if it is to be tried again.
 */
static bool
follow_failover(const StreamRow *row)
{
	bool		wanted = wants_failover();
	SlotInfo	slot;

	/* one that is to be made, or made again, will follow */
	if (!main_slot_is_sound(row, &slot) || slot.failover == wanted)
		return true;
	if ((slot.active_pid != 0 && slot.active_pid != MyProcPid) ||
		!shared_stream_try_failover())
		return false;
	slot_set_failover(NameStr(row->slot_name), wanted);
	shared_stream_failover_done();
	ereport(LOG,
			(errmsg(wanted ?
					"notify_stats enabled failover for replication slot \"%s\"" :
					"notify_stats disabled failover for replication slot \"%s\"",
					NameStr(row->slot_name))));
	return true;
}

/*
 * Has the slot follow the settings if this process has not looked since it
 * read them, or at once.  If the slot, or the stream's lock, is not free, it
 * is tried again, once per second.  To be called outside of a transaction.
 */
void
main_slot_follow_settings(bool at_once)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	int64		reloads = (int64) settings_reloads;
	StreamRow	row;

	if (at_once ? !FAILOVER_SLOTS : main_slot_follows_settings() ||
		!TimestampDifferenceExceeds(last, now, MAIN_SLOT_RETRY_MS))
		return;
	last = now;
	xact_begin();
	if (!OidIsValid(catalog_table(CATALOG_STREAM)) ||
		(stream_try_lock() && stream_load(&row) && follow_failover(&row)))
		followed = reloads;
	xact_commit();
}
