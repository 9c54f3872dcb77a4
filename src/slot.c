/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  Logical slots and positions of the write-ahead log.
 *
 * The server's own SQL-callable functions do the work, called directly rather
 * than by a query, which would copy the result once more and be planned anew
 * each time, as every peek empties the plan cache.  The worker has a cheaper
 * way: decoder.c.
 *
 * A position X stands for all transactions whose commit record starts before
 * it.  That is the server's own rule (SnapBuildXactNeedsSkip: a transaction is
 * skipped if its commit record starts before confirmed_flush_lsn), and it
 * makes any X usable, whether or not a record begins there: a peek up to X
 * reads the record that spans X to its end.
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
#include "storage/standby.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/pg_lsn.h"
#include "utils/tuplestore.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "decoder.h"
#include "native_protocol.h"
#include "notify_stats.h"
#include "slot.h"

/* Room for the records of one small transaction, with images of the pages it changes. */
#define OWN_RECORDS (128 * 1024)

struct SlotPeek
{
	Tuplestorestate *rows;
	TupleTableSlot *row;
	ExprContext *econtext;		/* of the function's call, if there was one */
};

/* we are within a call of the server's that decodes, whose routine messages nobody wants */
static bool quiet = false;

/* where this process keeps the slot that it reads open; NULL: it does not */
static MemoryContext keep_open = NULL;

static emit_log_hook_type prev_emit_log_hook = NULL;

/*
 * Each peek and each advance logs several lines, on each cycle, and so does the creation
 * of a slot.  The server has no setting for that, so they are kept out here, and nothing
 * else is.
 */
static void
drop_routine_messages(ErrorData *edata)
{
	static const char *const routine[] = {
		"starting logical decoding for slot ",
		"logical decoding found "
	};

	if (quiet && edata->elevel == LOG && edata->message_id != NULL)
		for (int i = 0; i < lengthof(routine); i++)
			if (strncmp(edata->message_id, routine[i], strlen(routine[i])) == 0)
			{
				edata->output_to_server = false;
				edata->output_to_client = false;
			}

	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

void
slot_init(void)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = drop_routine_messages;
}

static void
main_name(Oid database, NameData *name)
{
	snprintf(NameStr(*name), NAMEDATALEN, EXTENSION_NAME "_%u", database);
}

void
slot_main_name(NameData *name)
{
	main_name(MyDatabaseId, name);
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
		if (strcmp((char *) lfirst(lc), plugin) == 0)
			return true;
	return false;
}

static char *
extended_list(const char *plugin)
{
	const char *allowed = allowed_plugins();

	return allowed[0] == '\0' ? pstrdup(plugin) : psprintf("%s, %s", allowed, plugin);
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

void
slot_check_plugin(const char *plugin)
{
	if (strcmp(plugin, NATIVE_PLUGIN_NAME) == 0 || is_allowed_plugin(plugin))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("this server does not allow output plugin \"%s\"", plugin),
			 errdetail("The setting output_plugin_libraries does not list it."),
			 errhint("Write output_plugin_libraries = '%s' in postgresql.conf, or run ALTER SYSTEM SET output_plugin_libraries = %s; (a list, without quotes). Then reload.",
					 extended_list(plugin), extended_identifiers(plugin))));
}

/*
 * Since 2026 servers refuse output plugins that output_plugin_libraries does
 * not list.  Our own code is in this server already, preloaded or called by a
 * superuser, so listing our own plugin for the rest of this transaction grants
 * nothing new.  Other plugins are the administrator's to list.
 */
static void
prepare_plugin(const char *plugin)
{
	slot_check_plugin(plugin);
	if (!is_allowed_plugin(plugin))
		(void) set_config_option("output_plugin_libraries", extended_list(plugin), PGC_SUSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

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
		info->confirmed_flush_lsn = slot->data.confirmed_flush;
		info->restart_lsn = slot->data.restart_lsn;
		info->active_pid = slot->active_pid;
		info->failover = slot_is_failover(slot);
		SpinLockRelease(&slot->mutex);
		found = true;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return found;
}

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

	quiet = true;
	PG_TRY();
	{
		result = SPI_execute_with_args(query, nargs, argtypes, args, NULL, false, 0);
	}
	PG_FINALLY();
	{
		quiet = false;
	}
	PG_END_TRY();
	return result;
}

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
	if (execute_quietly(query, 2, argtypes, args) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not create slot \"%s\"", name);
	lsn = DatumGetLSN(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
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

	quiet = true;
	PG_TRY();
	{
		(void) FunctionCallInvoke(fcinfo);
	}
	PG_FINALLY();
	{
		quiet = false;
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

XLogRecPtr
slot_copy(const char *source, const char *name, const char *plugin)
{
	NameData	copy_name;
	SlotInfo	info;

	prepare_plugin(plugin);
	namestrcpy(&copy_name, name);
	call_slot_function(F_PG_COPY_LOGICAL_REPLICATION_SLOT_NAME_NAME_BOOL, source,
					   NameGetDatum(&copy_name), BoolGetDatum(true));
	if (!slot_lookup(name, &info))
		elog(ERROR, "replication slot \"%s\" is missing", name);
	return info.confirmed_flush_lsn;
}

void
slot_drop(const char *name)
{
	slot_close();
	call_slot_function(F_PG_DROP_REPLICATION_SLOT, name, (Datum) 0, (Datum) 0);
}

bool
slot_drop_main_of(Oid database, NameData *name)
{
	SlotInfo	info;

	main_name(database, name);
	if (!slot_lookup(NameStr(*name), &info) || info.database != database)
		return false;
	ReplicationSlotDrop(NameStr(*name), false);
	return true;
}

void
slot_advance(const char *name, XLogRecPtr lsn)
{
	SlotInfo	info;

	if (!slot_lookup(name, &info) || info.confirmed_flush_lsn >= lsn)
		return;
	if (slot_is_open(name))
		decoder_confirm(lsn);
	else
		call_slot_function(F_PG_REPLICATION_SLOT_ADVANCE, name,
						   LSNGetDatum(lsn), (Datum) 0);
}

bool
slot_standbys_have(XLogRecPtr lsn)
{
	return standbys_have(lsn);
}

XLogRecPtr
slot_log_running_transactions(void)
{
	return LogStandbySnapshot();
}

XLogRecPtr
slot_safe_lsn(void)
{
	return GetFlushRecPtr(NULL);
}

bool
slot_has_wal(XLogRecPtr lsn)
{
	static XLogSegNo found = 0;
	XLogSegNo	segment;
	ListCell   *lc;

	XLByteToSeg(lsn, segment, wal_segment_size);
	if (segment == found)
		return true;
	foreach(lc, readTimeLineHistory(GetWALInsertionTimeLine()))
	{
		char		path[MAXPGPATH];
		struct stat status;

		XLogFilePath(path, ((TimeLineHistoryEntry *) lfirst(lc))->tli, segment, wal_segment_size);
		if (stat(path, &status) != 0 && errno == ENOENT)
			continue;
		found = segment;
		return true;
	}
	return false;
}

XLogRecPtr
slot_normalize_lsn(XLogRecPtr lsn)
{
	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	return lsn;
}

XLogRecPtr
slot_written_lsn(void)
{
	return slot_normalize_lsn(GetXLogInsertRecPtr());
}

XLogRecPtr
slot_flush_written(void)
{
	XLogRecPtr	lsn = slot_written_lsn();

	XLogFlush(lsn);
	return lsn;
}

XLogRecPtr
slot_next_segment(void)
{
	XLogRecPtr	lsn = GetXLogInsertRecPtr() + OWN_RECORDS + wal_segment_size;

	return lsn - XLogSegmentOffset(lsn, wal_segment_size);
}

void
slot_fill_segment(XLogRecPtr end)
{
	if (slot_written_lsn() < end)
		(void) RequestXLogSwitch(true);
	(void) slot_flush_written();
}

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

bool
slot_keeps_open(void)
{
	return keep_open != NULL;
}

bool
slot_is_open(const char *name)
{
	return decoder_is_open(name);
}

void
slot_close(void)
{
	decoder_close();
}

void
slot_wait_until_free(const char *name, int pid)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(name, true);

	if (slot == NULL)
		return;
	ConditionVariablePrepareToSleep(&slot->active_cv);
	/* if another slot takes its place in the array, it has not this one's holder */
	while (slot->active_pid == pid)
		ConditionVariableSleep(&slot->active_cv, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* Peeks by means of the slot that this process keeps open. */
static void
peek_open_slot(SlotPeek *peek, const char *name, const char *plugin, List *options,
			   XLogRecPtr upto)
{
	TupleDesc	desc = CreateTemplateTupleDesc(3);

	/* pg_lsn, xid and bytea, as types that are known without a catalog */
	TupleDescInitBuiltinEntry(desc, 1, "lsn", INT8OID, -1, 0);
	TupleDescInitBuiltinEntry(desc, 2, "xid", INT4OID, -1, 0);
	TupleDescInitBuiltinEntry(desc, 3, "data", TEXTOID, -1, 0);
	/* as much as the server itself takes for the changes, before it uses files */
	peek->rows = tuplestore_begin_heap(false, false, Max(work_mem, logical_decoding_work_mem));
	peek->row = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	/* a local setting would make every transaction that is decoded cost more */
	if (!decoder_is_ready(name, options))
		prepare_plugin(plugin);
	quiet = true;
	PG_TRY();
	{
		decoder_open(name, options, keep_open);
		decoder_read(upto, peek->rows, desc);
	}
	PG_FINALLY();
	{
		quiet = false;
	}
	PG_END_TRY();
}

/*
 * Has the server's functions wait for no standby, until the nest level of settings
 * ends: to read is not yet to advance, and who reads holds the stream's lock.
 */
static void
wait_for_no_standby(void)
{
	if (STANDBY_SLOTS_SETTING != NULL)
		(void) set_config_option(STANDBY_SLOTS_SETTING, "", PGC_SIGHUP, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* Peeks by the server's SQL function. */
static void
peek_by_function(SlotPeek *peek, const char *name, const char *plugin, bool binary,
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

	fmgr_info(binary ? F_PG_LOGICAL_SLOT_PEEK_BINARY_CHANGES : F_PG_LOGICAL_SLOT_PEEK_CHANGES,
			  &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 4, InvalidOid, NULL, (Node *) &rsinfo);
	fcinfo->args[0].value = NameGetDatum(&slot_name);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = LSNGetDatum(upto);
	fcinfo->args[1].isnull = false;
	fcinfo->args[2].value = (Datum) 0;
	fcinfo->args[2].isnull = true;	/* a count would not bound it */
	fcinfo->args[3].value = PointerGetDatum(construct_array(texts, ntexts, TEXTOID, -1, false,
															TYPALIGN_INT));
	fcinfo->args[3].isnull = false;
	guc_nestlevel = NewGUCNestLevel();
	wait_for_no_standby();
	invoke_quietly(fcinfo);
	AtEOXact_GUC(true, guc_nestlevel);

	peek->rows = rsinfo.setResult;
	peek->row = MakeSingleTupleTableSlot(rsinfo.setDesc, &TTSOpsMinimalTuple);
}

SlotPeek *
slot_peek(const char *name, const char *plugin, bool binary, bool resumable, List *options,
		  XLogRecPtr upto)
{
	SlotPeek   *peek = palloc0(sizeof(SlotPeek));

	if (resumable)
		peek_open_slot(peek, name, plugin, options, upto);
	else
		peek_by_function(peek, name, plugin, binary, options, upto);
	return peek;
}

bool
slot_peek_next(SlotPeek *peek, SlotRow *row)
{
	struct varlena *value;
	bool		isnull;

	if (!tuplestore_gettupleslot(peek->rows, true, false, peek->row))
		return false;
	slot_getallattrs(peek->row);
	row->lsn = DatumGetLSN(slot_getattr(peek->row, 1, &isnull));
	row->xid = DatumGetTransactionId(slot_getattr(peek->row, 2, &isnull));
	/* text or bytea; a function's result is never compressed or external */
	value = PG_DETOAST_DATUM_PACKED(slot_getattr(peek->row, 3, &isnull));
	row->data = VARDATA_ANY(value);
	row->len = VARSIZE_ANY_EXHDR(value);
	return true;
}

void
slot_peek_end(SlotPeek *peek)
{
	ExecDropSingleTupleTableSlot(peek->row);
	tuplestore_end(peek->rows);
	if (peek->econtext != NULL)
		FreeExprContext(peek->econtext, true);
	pfree(peek);
}
