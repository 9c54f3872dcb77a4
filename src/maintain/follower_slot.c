/*-------------------------------------------------------------------------
 *
 * follower_slot.c
 *	  The slot with which a session follows rollups.
 *
 * It is temporary, and begins at a place in the window of applied WAL.  It
 * remains open if its format allows it: a reader that goes on from where it was
 * reads only what is new.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "follower_slot.h"
#include "settings.h"
#include "slot.h"
#include "wal_window.h"

/*
 * A slot that is kept reads what the reader knows from elsewhere, if it is not
 * more than that.  Otherwise it is faster to make another.
 */
#define MAX_KNOWN_WAL (4 * 1024 * 1024)

/* The changes that the slot of this session has read. */
static struct
{
	Oid			rollup;			/* InvalidOid: none */
	const Format *format;
	XLogRecPtr	lsn;			/* up to here */
}			follower;

static void
complain_of_slots(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("not enough free replication slots to read the changes of a rollup"),
			 errdetail("To read changes takes one slot, and must leave one slot to others."),
			 errhint("Drop unused slots, or raise max_replication_slots and restart the server.")));
}

/* Drops the session's slot, and no other one that has its name. */
static void
close_slot(const NameData *name)
{
	SlotInfo	info;

	slot_keep_open(NULL);
	if (slot_lookup(NameStr(*name), &info) && info.temporary &&
		info.active_pid == MyProcPid)
		slot_drop(NameStr(*name));
	follower.rollup = InvalidOid;
}

/* Lets the slot remain open until this is reset, if its format allows it. */
static void
keep_open(void)
{
	static MemoryContext context = NULL;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext,
										"notify_stats follower",
										ALLOCSET_SMALL_SIZES);
	slot_keep_open(context);
}

/*
 * Makes a slot that decodes everything after the position.  Returns why that is
 * not possible, or NULL.  The window may be moved between looking for a place in
 * it and making the slot there; then there may be a later place.
 */
static const char *
create_slot(const NameData *name, const StreamRow *row, XLogRecPtr since)
{
	StartPoint	point;

	do
	{
		CHECK_FOR_INTERRUPTS();
		close_slot(name);
		if (!wal_window_find(row, since, &point))
			return notify_stats_resumable_wal_window == 0 ?
				"The WAL was removed, because notify_stats.resumable_wal_window is not set." :
				"The position is before the window of applied WAL.";
		if (slot_count_free() <= SLOTS_OF_OTHERS)
			complain_of_slots();
		debug_stop("place-found");
		slot_create_at(&point, NameStr(*name), row->format->plugin);
	} while (!wal_window_holds(row, &point));
	/* other processes may have taken slots at the same time */
	if (slot_count_free() < SLOTS_OF_OTHERS)
		complain_of_slots();
	keep_open();
	return NULL;
}

/* Returns whether the slot that this session has kept can be used. */
static bool
is_usable(const NameData *name, Oid rollup, const StreamRow *row,
		  XLogRecPtr since)
{
	return follower.rollup == rollup && follower.format == row->format &&
		follower.lsn <= since && since - follower.lsn <= MAX_KNOWN_WAL &&
		slot_is_held(NameStr(*name));
}

/*
 * Makes the slot be where the changes of a rollup begin, or before.  Returns
 * why that is not possible, or NULL.  The first lock keeps the worker from
 * taking the slot's WAL away until the current resource owner releases it.
 * Since slots are made in turn, all sessions together use no more than one
 * beside those that are kept.
 */
const char *
follower_slot_prepare(Oid rollup, const StreamRow *row, XLogRecPtr since)
{
	NameData	name;
	const char *reason = NULL;

	slot_follower_name(&name);
	(void) wal_window_lock_follower(MyProcPid, true);
	if (!is_usable(&name, rollup, row, since))
	{
		close_slot(&name);
		wal_window_take_turn();
		reason = create_slot(&name, row, since);
	}
	follower.rollup = InvalidOid;
	return reason;
}

/*
 * Lets the slot go on from the position reached, if not too many sessions keep
 * theirs.  Only one that is open is cheap enough to be worth that.  Without a
 * window, nothing would limit the WAL that it retains.
 */
void
follower_slot_release(Oid rollup, const StreamRow *row, XLogRecPtr lsn)
{
	NameData	name;

	slot_follower_name(&name);
	if (!slot_is_open(NameStr(name)) ||
		notify_stats_resumable_wal_window == 0 ||
		!slot_may_keep_follower())
	{
		close_slot(&name);
		return;
	}
	slot_advance(NameStr(name), lsn);
	follower.rollup = rollup;
	follower.format = row->format;
	follower.lsn = lsn;
}

/* Drops the slot after an error: what it has read would not be read again. */
void
follower_slot_discard(void)
{
	NameData	name;

	follower.rollup = InvalidOid;
	slot_follower_name(&name);
	slot_discard(NameStr(name));
}
