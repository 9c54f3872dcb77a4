/*-------------------------------------------------------------------------
 *
 * main_slot.c
 *	  Creating, replacing and dropping the slot of the main stream.
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
 * Returns whether the worker must not touch the slot of our name because
 * another process has it open.  Logs that once per process.  Without "look",
 * returns false, and forgets what was logged before.
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
 * Drops the slot and the publication that the stream had, after it has lost
 * its last rollup, or its row.
 */
void
main_slot_drop_orphans(void)
{
	drop_orphaned_slot();
	(void) publication_drop();
}

/* Returns whether the slot should be a failover slot. */
bool
main_slot_wants_failover(void)
{
	return FAILOVER_SLOTS && notify_stats_failover;
}

/*
 * Creates the slot, in a transaction that has not written anything.  If the
 * publication is needed and missing, only creates that; if it is not needed
 * and exists, only drops that.
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
	lsn = slot_create(NameStr(name), format->plugin, main_slot_wants_failover());
	stream_set_slot(NameStr(name), format, lsn);
	ereport(LOG,
			(errmsg("notify_stats created replication slot \"%s\" of output plugin \"%s\"",
					NameStr(name), format->plugin)));
}

/* Looks up the stream's slot.  Returns why it is unusable, or NULL. */
static const char *
unusable_reason(const StreamRow *row, SlotInfo *slot)
{
	if (!slot_lookup(NameStr(row->slot_name), slot))
		return "the replication slot is missing";
	if (slot->database != MyDatabaseId ||
		strcmp(NameStr(slot->plugin), row->format->plugin) != 0)
		return "the replication slot belongs to another database or output plugin";
	if (slot->lost)
		return slot->lost_by == NULL ? "the replication slot was invalidated" :
			psprintf("the replication slot was invalidated because of %s",
					 slot->lost_by);

	/*
	 * pg_resetwal does not remove slots.  If this process has the slot open,
	 * it has already read the WAL from restart_lsn.
	 */
	if (!slot_is_open(NameStr(row->slot_name)) &&
		!slot_has_wal(slot->restart_lsn))
		return "the WAL that the replication slot needs is missing";
	return NULL;
}

/* Returns why the main slot may have lost changes, or NULL. */
const char *
main_slot_loss_reason(const StreamRow *row)
{
	SlotInfo	slot;
	const char *reason = unusable_reason(row, &slot);

	if (reason != NULL)
		return reason;
	if (slot.confirmed_flush_lsn > row->applied_lsn)
		return "the replication slot is ahead of the applied position";
	if (row->applied_lsn > GetXLogInsertRecPtr())
		return "the applied position is not in the WAL of this server";
	return NULL;
}

/* Returns whether the stream can continue with its slot. */
bool
main_slot_is_sound(const StreamRow *row, SlotInfo *slot)
{
	return row->has_slot && unusable_reason(row, slot) == NULL;
}

/*
 * Logs that changes were lost, marks the rollups accordingly, and removes the
 * slot from the stream's row.  The slot, if it is ours, is dropped as an
 * orphan when the new one is created.
 */
void
main_slot_give_up(const StreamRow *row, const char *reason)
{
	bool		rebuild = notify_stats_on_lost_slot == LOST_SLOT_REBUILD;

	ereport(LOG,
			(errmsg("changes were lost: %s", reason),
			 errdetail("No rollup is live any longer. The slot was \"%s\".",
					   NameStr(row->slot_name)),
			 rebuild ?
			 errhint("The worker will create a new slot and rebuild the rollups, except those with ignore_deletes.") :
			 errhint("The worker will create a new slot. Call notify_stats.rebuild() for each rollup.")));
	rollup_give_up_all(psprintf("changes were lost: %s", reason),
					   row->applied_lsn, rebuild);
	stream_clear_slot();
}

/*
 * The same for a request by recreate_slot().  No changes were lost, so
 * notify_stats.on_lost_slot does not apply.
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

/* Returns the filenodes of all sources, and of their partitions. */
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
 * Returns whether a slot is invalidated, but all WAL that was left to be
 * decoded still exists.
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
 * Replaces a slot that the server has invalidated with a new one, if no change
 * of a source is left in it.  Also checks the WAL that is written before the
 * start of the new slot.  Returns false if changes may have been lost.
 */
bool
main_slot_replace(const StreamRow *row)
{
	const char *name = NameStr(row->slot_name);
	List	   *files;
	SlotInfo	slot;
	XLogRecPtr	lsn;

	/* a slot cannot be created in a transaction that has written */
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		!slot_lookup(name, &slot) || !is_lost_with_wal(row, &slot))
		return false;
	files = source_files();
	if (!unread_wal_is_irrelevant(slot.restart_lsn, row->applied_lsn,
								  slot_flush_written(), files))
		return false;
	slot_drop(name);
	lsn = slot_create(name, row->format->plugin, main_slot_wants_failover());
	if (!unread_wal_is_irrelevant(slot.restart_lsn, row->applied_lsn, lsn,
								  files))
		return false;
	stream_set_applied(lsn);
	ereport(LOG,
			(errmsg("replication slot \"%s\" was invalidated because of %s, and has been recreated",
					name, slot.lost_by ? slot.lost_by : "the server"),
			 errdetail("No unread change concerned a rollup, so nothing was lost.")));
	return true;
}

/*
 * The number of attempts to use an idle slot within the time that a slot may
 * be idle.
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

static void
touch_if_idle(const char *name)
{
	if (slot_is_idle(name))
		slot_touch(name);
}

/*
 * Briefly acquires the main slot and the slot of the window if they have been
 * idle for long, because the server invalidates idle slots
 * (idle_replication_slot_timeout).  The slots of a paused stream are not
 * touched, unless it was paused for pg_upgrade.  Must be called once per
 * main_slot_touch_interval(), in milliseconds, outside a transaction.
 */
void
main_slot_touch(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	NameData	name;
	NameData	window;
	StreamRow	row;

	slot_main_name(&name);
	slot_window_name(&window);
	if (!(slot_is_idle(NameStr(name)) || slot_is_idle(NameStr(window))) ||
		!TimestampDifferenceExceeds(last, now, main_slot_touch_interval()))
		return;
	last = now;
	xact_begin();
	/* the holder of the lock may be about to use it */
	if (OidIsValid(catalog_table(CATALOG_STREAM)) && stream_try_lock() &&
		stream_load(&row) &&
		row.has_slot && (!row.paused || row.upgrade_from != 0))
	{
		touch_if_idle(NameStr(name));
		touch_if_idle(NameStr(window));
	}
	xact_commit();
}

/*
 * The value of settings_reloads when this process last found that the slot
 * matches the settings; -1: never.
 */
static int64 followed = -1;

/* Returns false if the slot may not match the settings. */
bool
main_slot_follows_settings(void)
{
	return !FAILOVER_SLOTS || followed == (int64) settings_reloads;
}

/*
 * Applies notify_stats.failover to the slot.  The server allows that for any
 * slot that is not open.  Returns false if the caller must try again.
 */
static bool
follow_failover(const StreamRow *row)
{
	bool		wanted = main_slot_wants_failover();
	SlotInfo	slot;

	/* a slot that is still to be created will match the setting */
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
 * Applies the settings to the slot, if this process has not done so since it
 * last read them, or if "at_once".  If the slot or the stream's lock is not
 * free, later calls try again, once per second.  Must be called outside a
 * transaction.
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
