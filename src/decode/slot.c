/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  Logical slots and positions of the WAL.
 *
 * The server's own SQL functions do the work.  They are called directly rather
 * than by a query.  A query would copy the result once more and be planned
 * again each time, as every peek empties the plan cache.  The worker has a
 * cheaper way: decoder.c.
 *
 * A position X stands for all transactions whose commit record starts before
 * it.  That is the server's own rule (SnapBuildXactNeedsSkip: a transaction is
 * skipped if its commit record starts before confirmed_flush_lsn).  It makes
 * any X usable, whether or not a record begins there: a peek up to X reads the
 * record that spans X to its end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/timeline.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "storage/condition_variable.h"
#include "storage/proc.h"
#include "storage/standby.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "decoder.h"
#include "native_protocol.h"
#include "routine_message.h"
#include "settings.h"
#include "slot.h"
#include "xact.h"

/*
 * Room for the records of one small transaction, with images of the pages
 * it changes.
 */
#define OWN_RECORDS (128 * 1024)

struct SlotPeek
{
	bool		finished;		/* all was decoded */
	XLogRecPtr	upto;
	MessageBuffer *messages;
	ExprContext *econtext;		/* of a function's call, which decodes all at
								 * once; NULL: the slot is open */
};

/* where this process keeps the slot that it reads open; NULL: it does not */
static MemoryContext keep_open = NULL;

static void
main_name(Oid database, NameData *name)
{
	snprintf(NameStr(*name), NAMEDATALEN, EXTENSION_NAME "_%u", database);
}

/* Writes the name of the main slot of this database. */
void
slot_main_name(NameData *name)
{
	main_name(MyDatabaseId, name);
}

static void
window_name(Oid database, NameData *name)
{
	snprintf(NameStr(*name), NAMEDATALEN, EXTENSION_NAME "_%u_window",
			 database);
}

/* Writes the name of the slot that retains the window of applied WAL. */
void
slot_window_name(NameData *name)
{
	window_name(MyDatabaseId, name);
}

/* The value of output_plugin_libraries, or NULL in servers without it. */
static const char *
allowed_plugins(void)
{
	return GetConfigOption("output_plugin_libraries", true, false);
}

/* Whether servers that have such a list let this plugin be used. */
static bool
is_allowed_plugin(const char *plugin)
{
	const char *allowed = allowed_plugins();
	List	   *names = NIL;
	ListCell   *lc;

	if (allowed == NULL || !SplitGUCList(pstrdup(allowed), ',', &names))
		return true;			/* no list; or the server itself will complain */
	foreach(lc, names)
	{
		if (strcmp((char *) lfirst(lc), plugin) == 0)
			return true;
	}
	return false;
}

static char *
extended_list(const char *plugin)
{
	const char *allowed = allowed_plugins();

	return allowed[0] == '\0' ? pstrdup(plugin) : psprintf("%s, %s", allowed,
														   plugin);
}

/* The same for ALTER SYSTEM, where each name is an identifier. */
static char *
extended_identifiers(const char *plugin)
{
	StringInfoData buf;
	List	   *names = NIL;
	ListCell   *lc;

	initStringInfo(&buf);
	(void) SplitGUCList(pstrdup(allowed_plugins()), ',', &names);
	foreach(lc, names)
		appendStringInfo(&buf, "%s, ", quote_identifier((char *) lfirst(lc)));
	appendStringInfoString(&buf, quote_identifier(plugin));
	return buf.data;
}

/*
 * Throws if this server does not allow that output plugin.  The hint shows the
 * line to add.
 */
void
slot_check_plugin(const char *plugin)
{
	if (strcmp(plugin, NATIVE_PLUGIN_NAME) == 0 || is_allowed_plugin(plugin))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("output plugin \"%s\" is not allowed on this server",
					plugin),
			 errdetail("It is not listed in output_plugin_libraries."),
			 errhint("Set output_plugin_libraries = '%s' in postgresql.conf, or run ALTER SYSTEM SET output_plugin_libraries = %s; (a list, without quotes). Then reload the configuration.",
					 extended_list(plugin), extended_identifiers(plugin))));
}

/*
 * Since 2026 servers refuse output plugins that output_plugin_libraries does
 * not list.  Our own code is already in this server, preloaded or called by a
 * superuser.  So listing our own plugin, for the rest of this transaction or
 * of a nest level of settings, grants nothing new.  The administrator must
 * list other plugins.
 */
static void
allow_plugin(const char *plugin, GucAction action)
{
	slot_check_plugin(plugin);
	if (!is_allowed_plugin(plugin))
		(void) set_config_option("output_plugin_libraries",
								 extended_list(plugin), PGC_SUSET,
								 PGC_S_SESSION, action, true, 0, false);
}

static void
prepare_plugin(const char *plugin)
{
	allow_plugin(plugin, GUC_ACTION_LOCAL);
}

/*
 * Returns the process that has acquired a slot, or 0.  The holder is read once,
 * as it may change in the meantime.
 */
static int
active_pid(ReplicationSlot *slot)
{
	SlotHolder	holder = *(volatile SlotHolder *) &slot_holder(slot);

	return slot_holder_pid(holder);
}

/* Looks up a slot; false if there is none of that name. */
bool
slot_lookup(const char *name, SlotInfo *info)
{
	bool		found = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots && !found; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use || strcmp(NameStr(slot->data.name), name) != 0)
			continue;

		SpinLockAcquire(&slot->mutex);
		info->plugin = slot->data.plugin;
		info->database = slot->data.database;
		info->lost = slot_is_invalidated(slot);
		info->lost_by = slot_invalidated_by(slot);
		info->inactive_since = slot_inactive_since(slot);
		info->confirmed_flush_lsn = slot->data.confirmed_flush;
		info->restart_lsn = slot->data.restart_lsn;
		info->catalog_xmin = slot->data.catalog_xmin;
		info->active_pid = active_pid(slot);
		info->temporary = slot->data.persistency == RS_TEMPORARY;
		info->failover = slot_is_failover(slot);
		SpinLockRelease(&slot->mutex);
		found = true;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return found;
}

/*
 * Returns after how many seconds without use the server invalidates a slot
 * (idle_replication_slot_timeout); 0: never.
 */
int
slot_idle_timeout(void)
{
	return idle_slot_timeout();
}

/* Returns whether a slot has not been used for half that time. */
bool
slot_is_idle(const char *name)
{
	SlotInfo	info;

	return idle_slot_timeout() > 0 && slot_lookup(name, &info) && !info.lost &&
		info.active_pid == 0 && info.inactive_since != 0 &&
		GetCurrentTimestamp() >=
		TimestampTzPlusMilliseconds(info.inactive_since,
									(int64) idle_slot_timeout() * 500);
}

/*
 * Acquires and releases a slot that no process uses, only to reset its idle
 * time.
 */
void
slot_touch(const char *name)
{
	acquire_slot(name);
	ReplicationSlotRelease();
}

/*
 * The server considers a temporary slot idle once it was released, and ends
 * its process after idle_replication_slot_timeout, for example during a build.
 * So the slot is acquired again and set aside, as in decoder.c.
 */
static void
hold_if_temporary(const char *name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, true);

	if (slot == NULL || slot->data.persistency != RS_TEMPORARY)
		return;
	acquire_slot(name);
	MyReplicationSlot = NULL;
}

/* Returns how many more slots can be created. */
int
slot_count_free(void)
{
	int			count = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
		if (!ReplicationSlotCtl->replication_slots[i].in_use)
			count++;
	LWLockRelease(ReplicationSlotControlLock);
	return count;
}

/* SPI_execute_with_args, quietly. */
static int
execute_quietly(const char *query, int nargs, Oid *argtypes, Datum *args)
{
	volatile int result = 0;

	routine_message_drop(true);
	PG_TRY();
	{
		result = SPI_execute_with_args(query, nargs, argtypes, args, NULL,
									   false, 0);
	}
	PG_FINALLY();
	{
		routine_message_drop(false);
	}
	PG_END_TRY();
	return result;
}

/*
 * Creates a permanent slot, and returns its position.  With "failover"
 * (from 17 on) it is one that standbys take over.  Waits for all
 * transactions that have an xid.  Throws in a transaction that has written.
 */
XLogRecPtr
slot_create(const char *name, const char *plugin, bool failover)
{
	/* by a query, as the number of arguments differs between versions */
	const char *query = failover ?
	"SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot($1, $2, failover => true)" :
	"SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot($1, $2)";
	Oid			argtypes[2] = {TEXTOID, TEXTOID};
	Datum		args[2];
	bool		isnull;
	XLogRecPtr	lsn;

	slot_close();
	prepare_plugin(plugin);
	args[0] = CStringGetTextDatum(name);
	args[1] = CStringGetTextDatum(plugin);

	SPI_connect();
	if (execute_quietly(query, 2, argtypes, args) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not create slot \"%s\"", name);
	lsn = DatumGetLSN(SPI_getbinval(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return lsn;
}

/*
 * Calls a server function quietly.  Decoding runs subtransactions of its own,
 * which leave another memory context behind.
 */
static void
invoke_quietly(FunctionCallInfo fcinfo)
{
	MemoryContext context = CurrentMemoryContext;

	routine_message_drop(true);
	PG_TRY();
	{
		(void) FunctionCallInvoke(fcinfo);
	}
	PG_FINALLY();
	{
		routine_message_drop(false);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

/* Calls a server function that takes a slot's name first. */
static void
call_slot_function(Oid function, const char *name, Datum second, Datum third)
{
	LOCAL_FCINFO(fcinfo, 3);
	FmgrInfo	flinfo;
	NameData	slot_name;

	namestrcpy(&slot_name, name);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 3, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = NameGetDatum(&slot_name);
	fcinfo->args[1].value = second;
	fcinfo->args[2].value = third;
	for (int i = 0; i < 3; i++)
		fcinfo->args[i].isnull = false;
	invoke_quietly(fcinfo);
}

/*
 * Makes a slot at the position of another, and returns that position.  A
 * temporary one is for this process alone, goes away with it, and is never
 * idle.
 */
XLogRecPtr
slot_copy(const char *source, const char *name, const char *plugin,
		  bool temporary)
{
	NameData	copy_name;
	SlotInfo	info;

	prepare_plugin(plugin);
	namestrcpy(&copy_name, name);
	call_slot_function(F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME_BOOL,
					   source,
					   NameGetDatum(&copy_name), BoolGetDatum(temporary));
	hold_if_temporary(name);
	if (!slot_lookup(name, &info))
		elog(ERROR, "replication slot \"%s\" is missing", name);
	return info.confirmed_flush_lsn;
}

/*
 * Makes a temporary slot at a start point.  As for a copy, another slot must
 * protect the WAL and the catalogs as of that point until it exists.
 */
void
slot_create_at(const StartPoint *point, const char *name, const char *plugin)
{
	slot_close();
	prepare_plugin(plugin);
	start_point_create_slot(point, name, plugin);
	MyReplicationSlot = NULL;	/* held, as by hold_if_temporary */
}

/* Also a slot that this process has open. */
void
slot_drop(const char *name)
{
	slot_close();
	call_slot_function(F_PG_DROP_REPLICATION_SLOT, name, (Datum) 0, (Datum) 0);
}

/*
 * Makes a slot one that is synchronized to standbys, or not (from 17 on), even
 * if this process has it open.  Waits until no other process uses it.
 */
void
slot_set_failover(const char *name, bool failover)
{
	slot_close();
	alter_slot_failover(name, failover);
}

/*
 * Drops a slot of any database, whichever database the caller is connected to.
 * Returns false if there is none.  Waits until no process uses it.
 */
static bool
drop_slot_of(Oid database, const char *name)
{
	SlotInfo	info;

	if (!slot_lookup(name, &info) || info.database != database)
		return false;
	ReplicationSlotDrop(name, false);
	return true;
}

/* Returns whether a database has its main slot. */
bool
slot_main_exists_in(Oid database)
{
	NameData	name;
	SlotInfo	info;

	main_name(database, &name);
	return slot_lookup(NameStr(name), &info) && info.database == database;
}

/*
 * Drops the main slot, or the slot of the window, of any database in this way,
 * and returns its name.
 */
bool
slot_drop_main_of(Oid database, NameData *name)
{
	main_name(database, name);
	return drop_slot_of(database, NameStr(*name));
}

bool
slot_drop_window_of(Oid database, NameData *name)
{
	window_name(database, name);
	return drop_slot_of(database, NameStr(*name));
}

/*
 * Allows the slot to discard everything before "lsn"; does nothing if it
 * already has.  Survives a rollback, and may be undone by a crash.
 */
void
slot_advance(const char *name, XLogRecPtr lsn)
{
	SlotInfo	info;

	if (!slot_lookup(name, &info) || info.confirmed_flush_lsn >= lsn)
		return;
	if (slot_is_open(name))
		decoder_confirm(lsn);
	else
	{
		call_slot_function(F_PG_REPLICATION_SLOT_ADVANCE, name,
						   LSNGetDatum(lsn), (Datum) 0);
		hold_if_temporary(name);
	}
}

/*
 * Whether the standbys in synchronized_standby_slots have the WAL up to a
 * position.  A slot that fails over must not get ahead of what they have.
 * If one of their slots is missing, or not in use, that is logged at this
 * level.
 */
bool
slot_standbys_have(XLogRecPtr lsn, int elevel)
{
	return standbys_have(lsn, elevel);
}

/*
 * Writes a record of the running transactions to the WAL, and returns its end.
 * When a slot is advanced past such a record, its restart_lsn may move.  The
 * server writes one every 15 seconds.
 */
XLogRecPtr
slot_log_running_transactions(void)
{
	return LogStandbySnapshot();
}

/*
 * The position up to which the WAL is on disk.  A peek up to it gives every
 * transaction whose commit record starts before it.
 */
XLogRecPtr
slot_safe_lsn(void)
{
	return GetFlushRecPtr(NULL);
}

/*
 * Whether this server has the WAL at a position, on any timeline of its
 * history.  Where it was found the last times it is not looked for again: there
 * are two slots.
 */
bool
slot_has_wal(XLogRecPtr lsn)
{
	static XLogSegNo found[2];
	XLogSegNo	segment;
	ListCell   *lc;

	XLByteToSeg(lsn, segment, wal_segment_size);
	if (segment == found[0] || segment == found[1])
		return true;
	foreach(lc, readTimeLineHistory(GetWALInsertionTimeLine()))
	{
		char		path[MAXPGPATH];
		struct stat status;

		XLogFilePath(path, ((TimeLineHistoryEntry *) lfirst(lc))->tli, segment,
					 wal_segment_size);
		if (stat(path, &status) != 0 && errno == ENOENT)
			continue;
		found[1] = found[0];
		found[0] = segment;
		return true;
	}
	return false;
}

/*
 * The same position for a caller's token: pg_current_wal_insert_lsn() may
 * point behind the header of a page that does not exist yet.
 */
XLogRecPtr
slot_normalize_lsn(XLogRecPtr lsn)
{
	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	return lsn;
}

/* The position after everything that was written so far, on disk or not. */
XLogRecPtr
slot_written_lsn(void)
{
	return slot_normalize_lsn(GetXLogInsertRecPtr());
}

/* The same, made safe: on disk on return. */
XLogRecPtr
slot_flush_written(void)
{
	XLogRecPtr	lsn = slot_written_lsn();

	XLogFlush(lsn);
	return lsn;
}

/*
 * Returns the start of a segment that leaves enough room before it for this
 * transaction's own records.
 */
XLogRecPtr
slot_next_segment(void)
{
	XLogRecPtr	lsn = GetXLogInsertRecPtr() + OWN_RECORDS + wal_segment_size;

	return lsn - XLogSegmentOffset(lsn, wal_segment_size);
}

/*
 * Leaves the rest of the segment before a position unused, if it is not
 * full; flushes.
 */
void
slot_fill_segment(XLogRecPtr end)
{
	if (slot_written_lsn() < end)
		(void) RequestXLogSwitch(true);
	(void) slot_flush_written();
}

/*
 * Makes this process keep a slot open between peeks, in that memory context,
 * if the format allows it (see decoder.h); NULL ends this.  After any error
 * the process must end, or must call slot_forget before its command ends.
 */
void
slot_keep_open(MemoryContext context)
{
	if (context == NULL)
		slot_close();
	keep_open = context;
}

void
slot_forget(void)
{
	decoder_forget();
	keep_open = NULL;
}

/* Whether it does. */
bool
slot_keeps_open(void)
{
	return keep_open != NULL;
}

/* Whether this process has a slot open: this one, or with NULL any. */
bool
slot_is_open(const char *name)
{
	return decoder_is_open(name);
}

/* Whether it has, and nothing has dropped the slot since. */
bool
slot_is_held(const char *name)
{
	return decoder_is_held(name);
}

/* Closes the slot that is open, if any. */
void
slot_close(void)
{
	decoder_close();
}

/*
 * Lets go of the WAL and the catalog rows that a temporary slot retains, if it
 * retains WAL before a position, which another process has and does not use
 * now.  That process then no longer finds that it holds the slot.  While the
 * lock is held, its place in the array cannot become that of another slot.
 */
void
slot_release_wal(const char *name, XLogRecPtr before)
{
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use || slot->data.persistency != RS_TEMPORARY ||
			strcmp(NameStr(slot->data.name), name) != 0)
			continue;
		SpinLockAcquire(&slot->mutex);
		if (slot->data.restart_lsn < before)
		{
			slot->data.restart_lsn = InvalidXLogRecPtr;
			slot->data.catalog_xmin = InvalidTransactionId;
			slot->effective_catalog_xmin = InvalidTransactionId;
		}
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(ReplicationSlotControlLock);
	ReplicationSlotsComputeRequiredXmin(false);
	ReplicationSlotsComputeRequiredLSN();
}

/*
 * The slots of sessions that follow a rollup
 */

static void
followers_prefix(Oid database, NameData *prefix)
{
	snprintf(NameStr(*prefix), NAMEDATALEN, EXTENSION_NAME "_%u_follow_",
			 database);
}

/* Writes the name of the slot with which this session follows a rollup. */
void
slot_follower_name(NameData *name)
{
	NameData	prefix;

	followers_prefix(MyDatabaseId, &prefix);
	snprintf(NameStr(*name), NAMEDATALEN, "%s%d", NameStr(prefix), MyProcPid);
}

/* Reads a slot, if it is in use and its name has that prefix. */
static bool
read_follower(ReplicationSlot *slot, const char *prefix, Follower *follower)
{
	if (!slot->in_use || slot->data.persistency != RS_TEMPORARY ||
		strncmp(NameStr(slot->data.name), prefix, strlen(prefix)) != 0)
		return false;
	follower->name = slot->data.name;
	SpinLockAcquire(&slot->mutex);
	follower->pid = active_pid(slot);
	follower->restart_lsn = slot->data.restart_lsn;
	SpinLockRelease(&slot->mutex);
	return true;
}

/* Returns the slots of this kind of a database, as a list of Follower. */
List *
slot_followers(Oid database)
{
	List	   *followers = NIL;
	NameData	prefix;

	followers_prefix(database, &prefix);
	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		Follower	follower;

		if (read_follower(&ReplicationSlotCtl->replication_slots[i],
						  NameStr(prefix), &follower))
			followers = lappend(followers,
								memcpy(palloc(sizeof(follower)), &follower,
									   sizeof(follower)));
	}
	LWLockRelease(ReplicationSlotControlLock);
	return followers;
}

/* Returns how many slots of this kind all databases have. */
static int
count_followers(void)
{
	int			count = 0;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		NameData	prefix;
		Follower	follower;

		followers_prefix(slot->data.database, &prefix);
		if (read_follower(slot, NameStr(prefix), &follower))
			count++;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return count;
}

/*
 * Returns whether this session may keep its slot.  Those that are kept, and the
 * one that the other sessions use in turn, are at most half of all slots.
 */
bool
slot_may_keep_follower(void)
{
	return count_followers() < max_replication_slots / 2;
}

/*
 * Drops a temporary slot of this process, open or not, after an error in a
 * session, which may go on after a savepoint.
 */
void
slot_discard(const char *name)
{
	SlotInfo	info;

	LWLockReleaseAll();
	if (decoder_is_open(name))
		decoder_discard();
	if (MyReplicationSlot != NULL &&
		strcmp(NameStr(MyReplicationSlot->data.name), name) == 0)
		ReplicationSlotRelease();
	if (slot_lookup(name, &info) && info.temporary &&
		info.active_pid == MyProcPid)
		ReplicationSlotDrop(name, true);
}

/*
 * Waits, interruptibly, until that process no longer has the slot.  The caller
 * must have requested the slot before.
 */
void
slot_wait_until_free(const char *name, int pid)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, true);

	if (slot == NULL)
		return;
	ConditionVariablePrepareToSleep(&slot->active_cv);

	/*
	 * if another slot takes its place in the array, it has not this one's
	 * holder
	 */
	while (active_pid(slot) == pid)
		ConditionVariableSleep(&slot->active_cv, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/*
 * The memory of messages: as much as the server itself takes for changes,
 * before it uses files.
 */
static Size
message_memory(void)
{
	return (Size) Max(work_mem, logical_decoding_work_mem) * 1024;
}

/*
 * Opens the slot, if it is not open.  The setting does not remain, as each
 * transaction that is decoded would have to look at it when it ends.
 */
static void
open_slot(const char *name, const char *plugin, List *options,
		  const StartPoint *start)
{
	int			guc_nestlevel;

	if (decoder_is_ready(name, options))
		return;
	guc_nestlevel = NewGUCNestLevel();
	allow_plugin(plugin, GUC_ACTION_SAVE);
	if (start != NULL)
		decoder_open_at(start, name, plugin, options, keep_open);
	else
		decoder_open(name, options, keep_open);
	AtEOXact_GUC(true, guc_nestlevel);
}

/* Decodes the next part by means of the slot that this process keeps open. */
static void
decode_open_slot(SlotPeek *peek)
{
	xact_suspend_settings();
	peek->finished = decoder_read(peek->upto, peek->messages);
	xact_resume_settings();
}

/*
 * Makes the server's functions wait for no standby, until the nest level of
 * settings ends.  Reading does not advance the slot, and the reader holds the
 * stream's lock.
 */
static void
wait_for_no_standby(void)
{
	if (STANDBY_SLOTS_SETTING != NULL)
		(void) set_config_option(STANDBY_SLOTS_SETTING, "", PGC_SIGHUP,
								 PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* Peeks by the server's SQL function. */
static void
peek_by_function(SlotPeek *peek, const char *name, const char *plugin,
				 bool binary,
				 List *options, XLogRecPtr upto)
{
	LOCAL_FCINFO(fcinfo, 4);
	FmgrInfo	flinfo;
	ReturnSetInfo rsinfo;
	NameData	slot_name;
	Datum	   *texts = palloc(sizeof(Datum) * (list_length(options) + 1));
	int			ntexts = 0;
	int			guc_nestlevel;
	ListCell   *lc;

	prepare_plugin(plugin);
	foreach(lc, options)
		texts[ntexts++] = CStringGetTextDatum((char *) lfirst(lc));
	namestrcpy(&slot_name, name);

	peek->econtext = CreateStandaloneExprContext();
	memset(&rsinfo, 0, sizeof(rsinfo));
	rsinfo.type = T_ReturnSetInfo;
	rsinfo.econtext = peek->econtext;
	rsinfo.allowedModes = SFRM_Materialize;
	rsinfo.returnMode = SFRM_Materialize;

	fmgr_info(binary ?
			  F_PG_LOGICAL_SLOT_PEEK_BINARY_CHANGES :
			  F_PG_LOGICAL_SLOT_PEEK_CHANGES,
			  &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 4, InvalidOid, NULL,
							 (Node *) &rsinfo);
	fcinfo->args[0].value = NameGetDatum(&slot_name);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = LSNGetDatum(upto);
	fcinfo->args[1].isnull = false;
	fcinfo->args[2].value = (Datum) 0;
	fcinfo->args[2].isnull = true;	/* a count would not bound it */
	fcinfo->args[3].value = PointerGetDatum(construct_array(texts, ntexts,
															TEXTOID, -1, false,
															TYPALIGN_INT));
	fcinfo->args[3].isnull = false;
	guc_nestlevel = NewGUCNestLevel();
	wait_for_no_standby();
	invoke_quietly(fcinfo);
	hold_if_temporary(name);
	AtEOXact_GUC(true, guc_nestlevel);

	peek->messages = message_buffer_of_rows(rsinfo.setResult, rsinfo.setDesc);
}

/*
 * Begins to decode from the slot's confirmed position, or with "resumable", in
 * a process that keeps it open, from where the last peek stopped; up to a safe
 * position, which lies after it.  Leaves the slot as it was.  The options are
 * as a format gives them.  If "start" is not NULL, the slot is a new temporary
 * one that begins there (only "resumable").  The peek lives in the current
 * memory context and resource owner.
 */
SlotPeek   *
slot_peek(const char *name, const char *plugin, bool binary, bool resumable,
		  List *options, const StartPoint *start, XLogRecPtr upto)
{
	SlotPeek   *peek = palloc0(sizeof(SlotPeek));

	if (!resumable)
	{
		peek_by_function(peek, name, plugin, binary, options, upto);
		return peek;
	}
	peek->upto = upto;
	peek->messages = message_buffer_create(message_memory());
	routine_message_drop(true);
	PG_TRY();
	{
		open_slot(name, plugin, options, start);
	}
	PG_FINALLY();
	{
		routine_message_drop(false);
	}
	PG_END_TRY();
	return peek;
}

/*
 * Decodes the next part, whose messages slot_peek_next returns.  All of those
 * of the part before must have been read.  Returns false at the end.
 */
bool
slot_peek_more(SlotPeek *peek)
{
	if (peek->finished)
		return false;
	if (peek->econtext != NULL)
	{
		peek->finished = true;
		return true;
	}
	message_buffer_reset(peek->messages);
	routine_message_drop(true);
	PG_TRY();
	{
		decode_open_slot(peek);
	}
	PG_FINALLY();
	{
		routine_message_drop(false);
	}
	PG_END_TRY();
	return true;
}

/*
 * The next message of the part that was decoded, valid until the next call;
 * false at its end.
 */
bool
slot_peek_next(SlotPeek *peek, Message *message)
{
	return message_buffer_next(peek->messages, message);
}

void
slot_peek_end(SlotPeek *peek)
{
	message_buffer_free(peek->messages);
	if (peek->econtext != NULL)
		FreeExprContext(peek->econtext, true);
	pfree(peek);
}
