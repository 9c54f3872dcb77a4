/*-------------------------------------------------------------------------
 *
 * wal_window.c
 *	  The window of applied WAL that remains readable.
 *
 * The main slot forgets WAL as soon as it is applied.  A second slot trails it
 * by notify_stats.resumable_wal_window, and retains the WAL in between.  So a
 * rollup that was left behind (position.c) can be resumed from its own
 * position, and a main slot that was lost can be replaced without loss.
 *
 * Decoding can begin where a slot has been, as its snapshot of the catalogs is
 * in a file (start_point.c).  So cycles note, in the table window_position,
 * where the main slot is: at intervals of a fraction of the window, or each
 * minute, and only if they write a position anyway.  The second slot moves from
 * one of these places to another, which reads no WAL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "compat.h"
#include "main_slot.h"
#include "position.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "wal_window.h"
#include "xact.h"

/* Places are noted at this fraction of the window, or after this time. */
#define NOTES_PER_WINDOW 64
#define NOTE_INTERVAL_MS 60000

/* The slot moves by this fraction of the window. */
#define STEPS_PER_WINDOW 16

/* How often a process looks whether the slot must be made, moved or dropped. */
#define MAINTAIN_INTERVAL_MS 1000

/* The size of the window in bytes; 0: none is wanted. */
static uint64
window_size(void)
{
	return (uint64) notify_stats_resumable_wal_window * 1024 * 1024;
}

/* Looks up the slot of the window; false if there is none, or it is not ours. */
static bool
find_slot(NameData *name, SlotInfo *slot)
{
	slot_window_name(name);
	return slot_lookup(NameStr(*name), slot) &&
		slot->database == MyDatabaseId &&
		format_of_plugin(NameStr(slot->plugin)) != NULL;
}

/*
 * Places to begin at
 */

/* Whether it is time to note where the main slot is. */
static bool
is_note_due(const SharedWalWindow *noted, const SlotInfo *slot)
{
	XLogRecPtr	lsn = slot->confirmed_flush_lsn;

	/* from the same restart_lsn the same WAL is read */
	return lsn > noted->lsn &&
		((lsn - noted->lsn >= window_size() / NOTES_PER_WINDOW &&
		  slot->restart_lsn != noted->restart_lsn) ||
		 TimestampDifferenceExceeds(noted->at, GetCurrentTimestamp(),
									NOTE_INTERVAL_MS));
}

/*
 * Notes where the main slot is, if that is due, within a transaction that
 * writes this position of the stream, under its lock.
 */
void
wal_window_note(const StreamRow *row, XLogRecPtr applied_lsn)
{
	static const char insert[] =
	"INSERT INTO " EXTENSION_SCHEMA ".window_position (reached_at, applied_lsn, lsn, restart_lsn, catalog_xmin)"
	" VALUES (pg_catalog.clock_timestamp(), $1, $2, $3, $4)";
	SharedWalWindow *noted = &shared_stream()->wal_window;
	Oid			argtypes[4] = {PG_LSNOID, PG_LSNOID, PG_LSNOID, XIDOID};
	Datum		args[4];
	SlotInfo	slot;

	if (window_size() == 0 || !slot_lookup(NameStr(row->slot_name), &slot) ||
		slot.lost || slot.confirmed_flush_lsn > row->applied_lsn ||
		!is_note_due(noted, &slot))
		return;
	args[0] = LSNGetDatum(applied_lsn);
	args[1] = LSNGetDatum(slot.confirmed_flush_lsn);
	args[2] = LSNGetDatum(slot.restart_lsn);
	args[3] = TransactionIdGetDatum(slot.catalog_xmin);
	catalog_execute(insert, 4, argtypes, args, NULL);
	noted->lsn = slot.confirmed_flush_lsn;
	noted->restart_lsn = slot.restart_lsn;
	noted->at = GetCurrentTimestamp();
}

/* Whether a snapshot of the catalogs as of that position is in a file. */
static bool
has_snapshot(XLogRecPtr restart_lsn)
{
	struct stat status;

	return stat(psprintf("pg_logical/snapshots/%X-%X.snap",
						 LSN_FORMAT_ARGS(restart_lsn)), &status) == 0;
}

static XLogRecPtr
lsn_of(uint64 row, int column)
{
	bool		isnull;

	return DatumGetLSN(SPI_getbinval(SPI_tuptable->vals[row],
									 SPI_tuptable->tupdesc, column, &isnull));
}

/*
 * Runs a query for places with these limits, and stores the first of which there
 * is a snapshot.  Returns false if there is none.
 */
static bool
find_noted(const char *query, XLogRecPtr restart_lsn, XLogRecPtr first,
		   XLogRecPtr last, StartPoint *point)
{
	Oid			argtypes[3] = {PG_LSNOID, PG_LSNOID, PG_LSNOID};
	Datum		args[3] = {LSNGetDatum(restart_lsn), LSNGetDatum(first),
	LSNGetDatum(last)};
	SavedRole	saved = catalog_enter();
	bool		found = false;
	bool		isnull;

	if (SPI_execute_with_args(query, 3, argtypes, args, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the places in the window of WAL");
	for (uint64 i = 0; i < SPI_processed && !found; i++)
	{
		found = has_snapshot(lsn_of(i, 2));
		if (!found)
			continue;
		point->lsn = lsn_of(i, 1);
		point->restart_lsn = lsn_of(i, 2);
		point->catalog_xmin =
			DatumGetTransactionId(SPI_getbinval(SPI_tuptable->vals[i],
												SPI_tuptable->tupdesc, 3,
												&isnull));
	}
	catalog_leave(saved);
	return found;
}

static void
set_point(StartPoint *point, const SlotInfo *slot)
{
	point->lsn = slot->confirmed_flush_lsn;
	point->restart_lsn = slot->restart_lsn;
	point->catalog_xmin = slot->catalog_xmin;
}

/* Looks up the slot of the window, if it has all WAL after a position. */
static bool
find_slot_before(const StreamRow *row, XLogRecPtr lsn, SlotInfo *slot)
{
	NameData	name;

	return row->has_slot && find_slot(&name, slot) && !slot->lost &&
		strcmp(NameStr(slot->plugin), row->format->plugin) == 0 &&
		slot->confirmed_flush_lsn <= lsn && slot_has_wal(slot->restart_lsn);
}

/* Returns whether the window has all WAL after a position. */
bool
wal_window_retains(const StreamRow *row, XLogRecPtr lsn)
{
	SlotInfo	slot;

	return find_slot_before(row, lsn, &slot);
}

/*
 * Returns whether a rollup was left behind, and can be resumed from its
 * position.  The main slot may retain the WAL as well, but not for long.
 */
bool
wal_window_can_resume(const StreamRow *row, Oid rollup)
{
	XLogRecPtr	position = position_of(rollup);

	return !XLogRecPtrIsInvalid(position) && wal_window_retains(row, position);
}

/*
 * Finds the last place in the window at a position or before it.  Returns false
 * if there is none.
 */
bool
wal_window_covers(const StreamRow *row, XLogRecPtr lsn, StartPoint *point)
{
	static const char query[] =
	"SELECT lsn, restart_lsn, catalog_xmin FROM " EXTENSION_SCHEMA ".window_position"
	" WHERE restart_lsn >= $1 AND lsn BETWEEN $2 AND $3 ORDER BY lsn DESC";
	SlotInfo	slot;

	if (!find_slot_before(row, lsn, &slot))
		return false;
	/* somebody may have advanced the slot past places that were noted */
	if (!find_noted(query, slot.restart_lsn, slot.confirmed_flush_lsn, lsn,
					point))
		set_point(point, &slot);
	return true;
}

/*
 * Finds the last place at a position or before it, from which a slot can be
 * made that decodes everything after that position.  Returns false if there is
 * none.  The slot that retains the WAL may move on: see wal_window_holds.
 */
bool
wal_window_find(const StreamRow *row, XLogRecPtr lsn, StartPoint *point)
{
	SlotInfo	slot;

	if (main_slot_is_sound(row, &slot) && slot.confirmed_flush_lsn <= lsn)
	{
		set_point(point, &slot);
		return true;
	}
	return wal_window_covers(row, lsn, point);
}

/*
 * Returns whether a slot still retains what a place needs.  If that is so after
 * a new slot was made at the place, the new one retains it as well.
 */
bool
wal_window_holds(const StreamRow *row, const StartPoint *point)
{
	NameData	name;
	SlotInfo	slot;

	return (main_slot_is_sound(row, &slot) &&
			slot.confirmed_flush_lsn <= point->lsn) ||
		(find_slot(&name, &slot) && !slot.lost &&
		 slot.confirmed_flush_lsn <= point->lsn);
}

/*
 * The slot
 */

/* What is to be done with the slot. */
typedef enum Upkeep
{
	UPKEEP_NONE,
	UPKEEP_CREATE,
	UPKEEP_DROP,
	UPKEEP_MOVE,
	UPKEEP_SET_FAILOVER
} Upkeep;

/*
 * Returns what is to be done.  A slot that another process has acquired is left
 * alone.
 */
static Upkeep
choose_upkeep(void)
{
	NameData	main_name;
	NameData	name;
	SlotInfo	main_slot;
	SlotInfo	slot;
	bool		exists = find_slot(&name, &slot);
	bool		has_main;

	if (exists && slot.active_pid != 0)
		return UPKEEP_NONE;
	if (exists && (window_size() == 0 || slot.lost))
		return UPKEEP_DROP;
	slot_main_name(&main_name);
	has_main = slot_lookup(NameStr(main_name), &main_slot) &&
		main_slot.database == MyDatabaseId && !main_slot.lost;
	if (window_size() == 0 || !has_main)
		return UPKEEP_NONE;
	if (!exists)
		return UPKEEP_CREATE;
	/* a main slot of another format began while it was in use */
	if (strcmp(NameStr(slot.plugin), NameStr(main_slot.plugin)) != 0)
		return UPKEEP_DROP;
	if (FAILOVER_SLOTS && slot.failover != main_slot_wants_failover())
		return UPKEEP_SET_FAILOVER;
	if (main_slot.confirmed_flush_lsn > slot.restart_lsn &&
		main_slot.confirmed_flush_lsn - slot.restart_lsn > window_size())
		return UPKEEP_MOVE;
	return UPKEEP_NONE;
}

/*
 * Returns whether the slot can be made.  If not, logs the reason, once per
 * process.
 */
static bool
can_create_slot(const char *name)
{
	static bool said = false;
	SlotInfo	slot;
	bool		taken = slot_lookup(name, &slot);
	bool		full = slot_count_free() <= SLOTS_OF_OTHERS;

	if (taken && !said)
		ereport(WARNING,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication slot \"%s\" belongs to another database or output plugin",
						name),
				 errdetail("There is no slot for notify_stats.resumable_wal_window."),
				 errhint("Drop the replication slot.")));
	else if (full && !said)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("not enough free replication slots to create slot \"%s\"",
						name),
				 errdetail("The slot for notify_stats.resumable_wal_window must leave one slot for a build."),
				 errhint("Drop unused slots, or raise max_replication_slots and restart the server.")));
	said = taken || full;
	return !said;
}

static void
forget_places(void)
{
	catalog_execute("DELETE FROM " EXTENSION_SCHEMA ".window_position", 0,
					NULL, NULL, NULL);
}

/* Makes the slot, at the position of the main slot. */
static void
create_slot(const StreamRow *row)
{
	NameData	name;

	slot_window_name(&name);
	if (!can_create_slot(NameStr(name)))
		return;
	slot_close();
	(void) slot_copy(NameStr(row->slot_name), NameStr(name),
					 row->format->plugin, false);
	forget_places();
	/* the next position that is written is noted */
	memset(&shared_stream()->wal_window, 0, sizeof(SharedWalWindow));
	ereport(LOG,
			(errmsg("notify_stats created replication slot \"%s\", which retains up to %d MB of applied WAL",
					NameStr(name), notify_stats_resumable_wal_window)));
}

/* Drops the slot, if there is one, unless another process uses it. */
void
wal_window_drop_slot(void)
{
	NameData	name;
	SlotInfo	slot;

	if (!find_slot(&name, &slot) || slot.active_pid != 0)
		return;
	slot_drop(NameStr(name));
	if (slot.lost)
		ereport(LOG,
				(errmsg("notify_stats dropped replication slot \"%s\", which was invalidated because of %s",
						NameStr(name), slot.lost_by ? slot.lost_by : "the server"),
				 errdetail("Nothing can be resumed from the WAL before. No rollup is affected otherwise.")));
	else
		ereport(LOG,
				(errmsg("notify_stats dropped replication slot \"%s\"",
						NameStr(name))));
}

/*
 * Moves the slot to the first place such that it retains a step less than the
 * whole window.  While a transaction is open for so long that there is none, the
 * main slot retains the WAL as well.  Then moves it to the place from which most
 * can still be resumed, among those that retain the least WAL, if that is at
 * least a step less than now.
 */
static void
move_slot(const StreamRow *row)
{
	static const char first[] =
	"SELECT lsn, restart_lsn, catalog_xmin FROM " EXTENSION_SCHEMA ".window_position"
	" WHERE restart_lsn >= $1 AND lsn BETWEEN $2 AND $3 ORDER BY lsn";
	static const char least[] =
	"SELECT lsn, restart_lsn, catalog_xmin FROM " EXTENSION_SCHEMA ".window_position"
	" WHERE restart_lsn >= $1 AND lsn BETWEEN $2 AND $3 ORDER BY restart_lsn DESC, lsn";
	uint64		step = window_size() / STEPS_PER_WINDOW;
	uint64		kept = window_size() - step;
	NameData	name;
	SlotInfo	slot;
	SlotInfo	main_slot;
	XLogRecPtr	last;
	StartPoint	point;
	Oid			argtypes[1] = {PG_LSNOID};
	Datum		args[1];

	if (!find_slot(&name, &slot) ||
		!slot_lookup(NameStr(row->slot_name), &main_slot))
		return;
	last = Min(main_slot.confirmed_flush_lsn, row->applied_lsn);
	if (!find_noted(first, main_slot.confirmed_flush_lsn - kept,
					slot.confirmed_flush_lsn, last, &point) &&
		!find_noted(least, slot.restart_lsn + step, slot.confirmed_flush_lsn,
					last, &point))
		return;
	start_point_move_slot(&point, NameStr(name));
	args[0] = LSNGetDatum(point.lsn);
	catalog_execute("DELETE FROM " EXTENSION_SCHEMA ".window_position WHERE lsn < $1",
					1, argtypes, args, NULL);
}

static void
do_upkeep(const StreamRow *row, Upkeep upkeep)
{
	NameData	name;

	slot_window_name(&name);
	switch (upkeep)
	{
		case UPKEEP_NONE:
			break;
		case UPKEEP_CREATE:
			create_slot(row);
			break;
		case UPKEEP_DROP:
			wal_window_drop_slot();
			break;
		case UPKEEP_MOVE:
			move_slot(row);
			break;
		case UPKEEP_SET_FAILOVER:
			slot_set_failover(NameStr(name), main_slot_wants_failover());
			break;
	}
}

/*
 * Followers
 */

/*
 * Locks the slot with which a process follows a rollup, until the current
 * resource owner releases its locks.  Returns false if the lock is not free,
 * and it should not wait.
 */
bool
wal_window_lock_follower(int pid, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, catalog_table(CATALOG_STREAM), pid,
					   1);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) !=
		LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Waits until no other process of this database uses the slot that followers
 * without one of their own use in turn, and locks it in this way.
 */
void
wal_window_take_turn(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, catalog_table(CATALOG_STREAM), 0, 2);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Returns the position before which only followers retain WAL. */
static XLogRecPtr
start_of_window(void)
{
	NameData	name;
	SlotInfo	slot;

	if (find_slot(&name, &slot) && !slot.lost)
		return slot.restart_lsn;
	slot_main_name(&name);
	if (!slot_lookup(NameStr(name), &slot) || slot.lost ||
		slot.confirmed_flush_lsn < window_size())
		return InvalidXLogRecPtr;
	return slot.confirmed_flush_lsn - window_size();
}

/* Returns those of these followers whose slots retain WAL before a position. */
static List *
followers_behind(List *followers, XLogRecPtr start)
{
	List	   *behind = NIL;
	ListCell   *lc;

	foreach(lc, followers)
	{
		Follower   *follower = (Follower *) lfirst(lc);

		if (!XLogRecPtrIsInvalid(follower->restart_lsn) &&
			follower->restart_lsn < start)
			behind = lappend(behind, follower);
	}
	return behind;
}

/*
 * Takes the WAL before the window away from sessions that follow a rollup
 * (changes.c) and have not asked for a long time.  Their slots would retain it
 * until they ask again or end.
 */
static void
limit_followers(void)
{
	XLogRecPtr	start = start_of_window();
	List	   *behind = followers_behind(slot_followers(MyDatabaseId), start);
	ListCell   *lc;

	if (behind == NIL)
		return;
	xact_begin();
	if (OidIsValid(catalog_table(CATALOG_STREAM)))
		foreach(lc, behind)
		{
			const Follower *follower = (const Follower *) lfirst(lc);

			if (wal_window_lock_follower(follower->pid, false))
				slot_release_wal(NameStr(follower->name), start);
		}
	xact_commit();
}

/*
 * Returns whether the slot may be touched.  If the main slot is not as it should
 * be, somebody else has made it or moved it, and this one will replace it.
 */
static bool
may_maintain(const StreamRow *row)
{
	return window_size() == 0 || main_slot_loss_reason(row) == NULL;
}

/*
 * Makes, moves or drops the slot, as the settings and the position of the main
 * slot require.  Looks at it at most once per second, unless "at_once".  Does
 * nothing while another process works on the stream.  Must be called outside a
 * transaction.
 */
void
wal_window_maintain(bool at_once)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();
	StreamRow	row;

	if (!at_once && !TimestampDifferenceExceeds(last, now,
												MAINTAIN_INTERVAL_MS))
		return;
	last = now;
	limit_followers();
	if (choose_upkeep() == UPKEEP_NONE)
		return;
	xact_begin();
	if (OidIsValid(catalog_table(CATALOG_STREAM)) && stream_try_lock() &&
		stream_load(&row) && row.has_slot && row.upgrade_from == 0 &&
		may_maintain(&row))
		do_upkeep(&row, choose_upkeep());
	xact_commit();
}

/*
 * Replaces a main slot that was lost, and that no other process uses, by one
 * that begins at a place in the window, so that the stream goes on from its
 * position.  Returns false if that is not possible.  Must be called in a
 * transaction that has not written, under the stream's lock.
 */
bool
wal_window_restore_slot(const StreamRow *row, const StartPoint *point,
						const char *reason)
{
	const char *main_name = NameStr(row->slot_name);
	NameData	name;
	SlotInfo	slot;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		row->applied_lsn > slot_written_lsn())
		return false;
	if (slot_lookup(main_name, &slot))
	{
		if (slot.database != MyDatabaseId ||
			format_of_plugin(NameStr(slot.plugin)) == NULL)
			return false;
		slot_drop(main_name);
	}
	debug_stop("main-slot-dropped");
	slot_window_name(&name);
	slot_close();
	(void) slot_copy(NameStr(name), main_name, row->format->plugin, false);
	start_point_move_slot(point, main_name);
	/* a copy is no failover slot */
	if (main_slot_wants_failover())
		slot_set_failover(main_name, true);
	ereport(LOG,
			(errmsg("replication slot \"%s\" has been recreated from slot \"%s\": %s",
					main_name, NameStr(name), reason),
			 errdetail("The window of applied WAL has all changes since the last position, so nothing was lost.")));
	return true;
}

/*
 * Drops the slot, and forgets all places and positions in the window.  For a
 * stream that has a new main slot.
 */
void
wal_window_drop(void)
{
	wal_window_drop_slot();
	forget_places();
	position_forget_all();
}
