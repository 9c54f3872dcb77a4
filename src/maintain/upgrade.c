/*-------------------------------------------------------------------------
 *
 * upgrade.c
 *	  Leaving the main stream for an upgrade of the server.
 *
 * pg_upgrade takes a slot along if nothing is left to be decoded in it, and
 * any commit of this database counts, also our own.  So the position that
 * we write cannot be the last: the slot is advanced beyond it, past our
 * commit, after that was looked through.  How far is written beforehand, so
 * that this server, too, can go on from there: to the end of the segment,
 * and what is not needed of that is left unused.  The new server has
 * another system identifier and a new slot, from the position of which on
 * there is all that it writes.  Had anybody committed anything in between,
 * a change of a definition for instance, pg_upgrade would have refused.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/lsyscache.h"

#include "busy_lock.h"
#include "facts.h"
#include "main_slot.h"
#include "main_stream.h"
#include "pass.h"
#include "rollup.h"
#include "slot.h"
#include "upgrade.h"
#include "xact.h"

/*
 * How often others may commit changes while the end of the WAL is to be
 * passed.
 */
#define UPGRADE_TRIES 10

/*
 * What is left to do after an upgrade, or if there was none; true if it was
 * done.
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
			facts_store(facts_load(), NIL);
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
 * Locks the stream and the live rollups, whose changes up to there are then
 * read.
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
 * Writes the last position, and then advances the slot to the end of the
 * segment, if nothing but that was written until there.
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
	within = XactLastCommitEnd <= end;
	slot_fill_segment(end);

	xact_begin();
	output = read_before_upgrade(&row, end);
	passed = within && output.changed == NIL && output.stale == NIL &&
		!output.new_facts;
	if (!passed)
		stream_set_applied(output.reached_lsn);
	xact_commit();
	if (passed)
		main_stream_advance(&row, end);
	return passed;
}

/* If the stream was left for an upgrade, it is not any more. */
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
 * Leaves the main stream for an upgrade of the server: the slot ends up
 * behind all that this database has committed, ourselves included, so that
 * pg_upgrade takes it along.  Nothing is applied afterwards until the new
 * server takes over, or resume().  To be called when all is caught up.
 * Throws if others go on writing.
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
	xact_commit();
	for (int i = 0; i < UPGRADE_TRIES; i++)
		if (try_pass_end())
			return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("source tables are still being modified"),
			 errhint("Stop all writers, then run: CALL notify_stats.prepare_upgrade(); To cancel the upgrade, run: SELECT notify_stats.resume();")));
}
