/*-------------------------------------------------------------------------
 *
 * upgrade.c
 *	  Preparing the main stream for pg_upgrade, and resuming it afterwards.
 *
 * pg_upgrade migrates a slot only if nothing is left to be decoded in it.  Any
 * commit of this database counts, including our own.  So the slot must advance
 * beyond the position that we write, past our own commit.  The WAL in between
 * is read first, to check that it has no other changes.
 *
 * The target is written beforehand, so that this server can also resume from
 * there.  It is the end of the current segment, the rest of which remains
 * unused.  The new server has a different system identifier and a new slot.
 * All WAL that it writes is after the position of that slot.  If anything had
 * been committed in between, such as a change of a definition, pg_upgrade
 * would have refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/lsyscache.h"

#include "busy_lock.h"
#include "core.h"
#include "facts.h"
#include "main_slot.h"
#include "main_stream.h"
#include "pass.h"
#include "rollup.h"
#include "slot.h"
#include "upgrade.h"
#include "wal_window.h"
#include "xact.h"

/*
 * The number of attempts to advance past the end of the WAL.  An attempt fails
 * if others commit changes.
 */
#define UPGRADE_TRIES 10

/*
 * Resumes the stream after an upgrade, or after an upgrade was canceled.
 * Returns whether there was anything to do.
 */
bool
upgrade_end(const StreamRow *row)
{
	bool		upgraded = row->upgrade_from != 0 && row->upgrade_from !=
	GetSystemIdentifier();
	SlotInfo	slot;

	if (upgraded)
	{
		if (main_slot_is_sound(row, &slot))
		{
			stream_set_applied(slot.confirmed_flush_lsn);
			facts_store(facts_load(InvalidOid), NIL);
			wal_window_drop();
			rollup_take_over(rollup_list(NULL));
			ereport(LOG, (errmsg("notify_stats resumed after an upgrade of the server")));
		}
	}
	else if (row->upgrade_from == 0 && !XLogRecPtrIsInvalid(row->upgrade_lsn))
	{
		if (main_slot_is_sound(row, &slot) &&
			slot.confirmed_flush_lsn == row->upgrade_lsn)
			stream_set_applied(slot.confirmed_flush_lsn);
	}
	else
		return false;
	stream_set_upgrade(0, InvalidXLogRecPtr);
	return true;
}

/*
 * Locks the stream and the live rollups, and reads their changes up to a
 * position.
 */
static PassOutput
read_before_upgrade(StreamRow *row, XLogRecPtr upto)
{
	List	   *live;
	BusyLock	busy;

	(void) main_stream_lock(row);
	if (!main_stream_open_live(row, rollup_list(NULL), &live, &busy))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not lock table \"%s\"",
						get_rel_name(busy.relid)),
				 errhint("Try again when no other session uses the table.")));
	return main_stream_read(row, live, Max(upto, row->applied_lsn), true);
}

/*
 * Writes a last position, and then advances the slot to the end of the
 * segment, if there are no other changes up to there.  Returns whether that
 * was done.
 */
static bool
try_pass_end(void)
{
	StreamRow	row;
	XLogRecPtr	upto = slot_flush_written();
	XLogRecPtr	end;
	PassOutput	output;
	bool		within;
	bool		passed;

	xact_begin();
	output = read_before_upgrade(&row, upto);
	end = slot_next_segment();
	stream_set_applied(output.reached_lsn);
	stream_set_upgrade(GetSystemIdentifier(), end);
	xact_commit();
	pass_count(&output);
	within = XactLastCommitEnd <= end;
	slot_fill_segment(end);

	xact_begin();
	output = read_before_upgrade(&row, end);
	passed = within && output.changed == NIL && output.stale == NIL &&
		!output.new_facts;
	if (!passed)
		stream_set_applied(output.reached_lsn);
	xact_commit();
	pass_count(&output);
	if (passed)
		main_stream_advance(&row, end);
	return passed;
}

/* Cancels the preparation for an upgrade, if there was one. */
void
upgrade_cancel(void)
{
	StreamRow	row;

	xact_begin();
	if (main_stream_lock(&row) && row.upgrade_from == GetSystemIdentifier())
		stream_set_upgrade(0, row.upgrade_lsn);
	xact_commit();
}

/*
 * Throws if a rollup could only be resumed from the window of applied WAL,
 * which does not survive the upgrade, since it counts deleted rows.
 */
static void
check_resumed(const StreamRow *row)
{
	ListCell   *lc;

	foreach(lc, rollup_list(NULL))
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);

		if (rollup->ignores == NIL ||
			!wal_window_can_resume(row, rollup->relid))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rollup %s could not be resumed after the upgrade",
						core_display_name(rollup->relid)),
				 errdetail("It was left behind, and counts rows that were deleted from %s.",
						   rollup_ignored_names(rollup)),
				 errhint("Fix what the view notify_stats.rollups gives as the reason, and resume it with notify_stats.rebuild(). Or give these rows up: %s",
						 rollup_rebuild_statement(rollup_qualified_name(core_users_rollup(rollup->relid)),
												  true))));
	}
}

/*
 * Drops the slot of the window of applied WAL, which pg_upgrade would not
 * migrate: it has changes that can still be decoded.
 */
static void
drop_window(void)
{
	StreamRow	row;
	NameData	name;
	SlotInfo	slot;

	xact_begin();
	(void) main_stream_lock(&row);
	wal_window_drop_slot();
	slot_window_name(&name);
	if (slot_lookup(NameStr(name), &slot) && slot.active_pid != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication slot \"%s\" is in use by process %d",
						NameStr(name), slot.active_pid),
				 errhint("End that process, then run: CALL notify_stats.prepare_upgrade();")));
	xact_commit();
}

/*
 * Prepares the main stream for an upgrade of the server.  The slot is advanced
 * past everything that this database has committed, including our own commit,
 * so that pg_upgrade migrates it.  After that nothing is applied until the new
 * server starts, or resume() is called.  Must be called when the rollups are
 * caught up.  Throws if others continue to write.
 */
void
upgrade_prepare(void)
{
	StreamRow	row;
	SlotInfo	slot;

	xact_begin();
	if (!main_stream_lock(&row) || !main_slot_is_sound(&row, &slot))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("there is no replication slot to migrate"),
				 errhint("Run pg_upgrade without it. If there are rollups, the new server creates a slot and rebuilds them.")));
	check_resumed(&row);
	xact_commit();
	for (int i = 0; i < UPGRADE_TRIES; i++)
		if (try_pass_end())
		{
			drop_window();
			return;
		}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("source tables are still being modified"),
			 errhint("Stop all writers, then run: CALL notify_stats.prepare_upgrade(); To cancel the upgrade, run: SELECT notify_stats.resume();")));
}
