/*-------------------------------------------------------------------------
 *
 * builder.c
 *	  Background processes that build or verify one rollup.
 *
 * A process of its own for each build keeps the main stream going meanwhile,
 * and keeps the rule that a process has to do with one slot at a time.
 *
 * What a verification finds goes back through a shared-memory queue, as the
 * messages of the frontend/backend protocol, like a parallel worker's: so its
 * errors arrive whole, with SQLSTATE, detail and hint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "libpq/pqformat.h"
#include "libpq/pqmq.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shm_mq.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "builder.h"
#include "compat.h"
#include "notify_stats.h"
#include "shared.h"
#include "xact.h"

#define QUEUE_SIZE 65536
#define MAX_DELAY_SECONDS 60

/* message types in the queue, besides errors and notices */
#define MESSAGE_ROW 'D'
#define MESSAGE_END 'C'

/* What the starter tells the process, in bgw_extra. */
typedef struct BuilderArgs
{
	Oid			database;
	Oid			relid;
	dsm_handle	queue;			/* DSM_HANDLE_INVALID: build, else verify ... */
	int			session;		/* ... for the session with this pid ... */
	bool		shares_locks;	/* ... which holds locks of its own */
} BuilderArgs;

PGDLLEXPORT void notify_stats_builder_main(Datum main_arg);

/* The worker's one builder at a time, and when to try the next. */
static BackgroundWorkerHandle *running = NULL;
static Oid	running_relid = InvalidOid;
static int	failures = 0;		/* in a row */
static TimestampTz retry_at = 0;

/*
 * Starting
 */

static BackgroundWorkerHandle *
start_builder(Oid relid, dsm_handle queue, bool shares_locks)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	BuilderArgs args;

	StaticAssertStmt(sizeof(BuilderArgs) <= BGW_EXTRALEN, "the arguments must fit into bgw_extra");
	args.database = MyDatabaseId;
	args.relid = relid;
	args.queue = queue;
	args.session = MyProcPid;
	args.shares_locks = shares_locks;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), EXTENSION_NAME);
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name),
			 "notify_stats_builder_main");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "notify_stats builder for rollup %u", relid);
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "notify_stats builder");
	memcpy(worker.bgw_extra, &args, sizeof(args));

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return NULL;
	return handle;
}

/* Puts the next try off: 1, 2, 4 … seconds after failures in a row. */
static void
delay_retry(void)
{
	int			seconds = Min(MAX_DELAY_SECONDS, 1 << Min(failures, 6));

	failures++;
	retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), seconds * 1000);
}

/*
 * Takes note of the builder's end.  If the rollup still wants to be built
 * (relids), it has failed.
 */
static void
settle_ended_builder(List *relids)
{
	pid_t		pid;

	if (running == NULL || GetBackgroundWorkerPid(running, &pid) != BGWH_STOPPED)
		return;
	pfree(running);
	running = NULL;
	if (list_member_oid(relids, running_relid))
		delay_retry();
	else
	{
		failures = 0;
		retry_at = 0;
	}
}

/*
 * The rollup to build next, in turn, so that one that fails again and again
 * does not keep the others waiting.  InvalidOid if all are being built.
 */
static Oid
next_to_build(List *relids)
{
	Oid			first = InvalidOid;
	ListCell   *lc;

	foreach(lc, relids)
	{
		if (shared_build_running(lfirst_oid(lc)))
			continue;
		if (lfirst_oid(lc) > running_relid)
			return lfirst_oid(lc);
		if (!OidIsValid(first))
			first = lfirst_oid(lc);
	}
	return first;
}

void
builder_start_due(List *relids)
{
	MemoryContext context;

	settle_ended_builder(relids);
	if (relids == NIL)
	{
		retry_at = 0;
		return;
	}
	if (running != NULL || GetCurrentTimestamp() < retry_at)
		return;

	running_relid = next_to_build(relids);
	if (!OidIsValid(running_relid))
	{
		/* sessions are at all of them */
		retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), 1000);
		return;
	}
	context = MemoryContextSwitchTo(TopMemoryContext);
	running = start_builder(running_relid, DSM_HANDLE_INVALID, false);
	MemoryContextSwitchTo(context);
	if (running == NULL)
	{
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("notify_stats could not start a process to build a rollup"),
				 errhint("You may need to increase \"max_worker_processes\".")));
		delay_retry();
	}
}

bool
builder_is_due(void)
{
	pid_t		pid;

	if (running != NULL)
		return GetBackgroundWorkerPid(running, &pid) == BGWH_STOPPED;
	return retry_at != 0 && GetCurrentTimestamp() >= retry_at;
}

/*
 * Working
 */

static void
send_row(const char *group_key, const char *in_rollup, const char *in_definition, void *arg)
{
	const char *values[3] = {group_key, in_rollup, in_definition};
	StringInfoData buf;

	pq_beginmessage(&buf, MESSAGE_ROW);
	for (int i = 0; i < 3; i++)
	{
		int			len = values[i] ? (int) strlen(values[i]) : -1;

		pq_sendint32(&buf, len);
		if (values[i])
			pq_sendbytes(&buf, values[i], len);
	}
	pq_endmessage(&buf);
}

/*
 * Shares the locks of the session that asked; false if it has gone.  A member of
 * a lock group cannot have parallel workers: it would have to lead another, and
 * the server does not check that it does not.
 */
static bool
join_session(const BuilderArgs *args, PGPROC *session)
{
	if (!args->shares_locks)
		return true;
	SetConfigOption("max_parallel_workers_per_gather", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("max_parallel_maintenance_workers", "0", PGC_SUSET, PGC_S_OVERRIDE);
	return BecomeLockGroupMember(session, args->session);
}

static void
verify_into_queue(const BuilderArgs *args)
{
	PGPROC	   *session = BackendPidGetProc(args->session);
	dsm_segment *segment = dsm_attach(args->queue);
	shm_mq	   *queue;
	StringInfoData buf;

	if (segment == NULL || session == NULL || !join_session(args, session))
		return;					/* the session has gone */
	queue = (shm_mq *) dsm_segment_address(segment);
	shm_mq_set_sender(queue, MyProc);
	pq_redirect_to_shm_mq(segment, shm_mq_attach(queue, segment, NULL));

	build_verify(args->relid, send_row, NULL);
	pq_beginmessage(&buf, MESSAGE_END);
	pq_endmessage(&buf);
}

/* Says what this process does, in pg_stat_activity and in the process list. */
static void
show_activity(const BuilderArgs *args)
{
	const char *what = args->queue == DSM_HANDLE_INVALID ? "building" : "verifying";
	const char *name;
	char		text[128];

	xact_begin();
	name = get_rel_name(args->relid);
	snprintf(text, sizeof(text), "notify_stats: %s %s", what, name ? name : "?");
	xact_commit();
	pgstat_report_activity(STATE_RUNNING, text);
	set_ps_display(what);
}

void
notify_stats_builder_main(Datum main_arg)
{
	BuilderArgs args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	follow_settings();
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnectionByOid(args.database, InvalidOid, 0);
	pgstat_report_appname("notify_stats builder");
	xact_set_worker_defaults();

	/* where the results are kept from one transaction to the next */
	CurrentResourceOwner = NULL;
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "notify_stats builder",
												ALLOCSET_DEFAULT_SIZES));
	show_activity(&args);
	if (args.queue == DSM_HANDLE_INVALID)
		build_rollup(args.relid, false);
	else
		verify_into_queue(&args);
}

/*
 * Receiving
 */

/* Takes the next counted string out of a row; NULL for NULL. */
static char *
get_counted_string(StringInfo msg)
{
	int			len = pq_getmsgint(msg, 4);

	return len < 0 ? NULL : pnstrdup(pq_getmsgbytes(msg, len), len);
}

/* Handles one message; false if it was the last. */
static bool
handle_message(char *data, Size len, VerifyCallback callback, void *arg)
{
	StringInfoData msg;
	ErrorData	edata;
	char	   *group_key;
	char	   *in_rollup;

	msg.data = data;
	msg.len = len;
	msg.maxlen = len;
	msg.cursor = 0;
	switch (pq_getmsgbyte(&msg))
	{
		case MESSAGE_ROW:
			group_key = get_counted_string(&msg);
			in_rollup = get_counted_string(&msg);
			callback(group_key, in_rollup, get_counted_string(&msg), arg);
			return true;
		case MESSAGE_END:
			return false;
		case 'E':
			pq_parse_errornotice(&msg, &edata);
			edata.elevel = Min(edata.elevel, ERROR);
			ThrowErrorData(&edata);
			return false;
		default:
			return true;		/* notices and the like */
	}
}

static void
receive(shm_mq_handle *queue, VerifyCallback callback, void *arg)
{
	Size		len;
	void	   *data;

	do
	{
		if (shm_mq_receive(queue, &len, &data, false) != SHM_MQ_SUCCESS)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the process that verifies the rollup has ended"),
					 errhint("The server log may tell why.")));
	} while (handle_message(data, len, callback, arg));
}

static void
terminate_builder(int code, Datum arg)
{
	TerminateBackgroundWorker((BackgroundWorkerHandle *) DatumGetPointer(arg));
}

/* Whether this session holds a lock that the process would wait for. */
static bool
has_locked(Oid relid)
{
	Relation	relation = try_relation_open(relid, AccessShareLock);
	bool		result;

	if (relation == NULL)
		return false;
	result = CheckRelationLockedByMe(relation, ShareLock, true);
	relation_close(relation, AccessShareLock);
	return result;
}

void
builder_verify(Oid relid, VerifyCallback callback, void *arg)
{
	dsm_segment *segment;
	shm_mq	   *queue;
	BackgroundWorkerHandle *handle;
	bool		shares_locks;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("verify() cannot run in a transaction that has written"),
				 errdetail("It would wait for that transaction to end."),
				 errhint("Commit first.")));

	/* no lock that this session has taken may be in the process's way */
	shares_locks = IsTransactionBlock() || has_locked(relid);
	if (shares_locks)
		BecomeLockGroupLeader();
	segment = dsm_create(QUEUE_SIZE, 0);
	queue = shm_mq_create(dsm_segment_address(segment), QUEUE_SIZE);
	shm_mq_set_receiver(queue, MyProc);
	handle = start_builder(relid, dsm_segment_handle(segment), shares_locks);
	if (handle == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start a process to verify the rollup"),
				 errhint("You may need to increase \"max_worker_processes\".")));
	/* also if this session is terminated */
	PG_ENSURE_ERROR_CLEANUP(terminate_builder, PointerGetDatum(handle));
	{
		receive(shm_mq_attach(queue, segment, handle), callback, arg);
	}
	PG_END_ENSURE_ERROR_CLEANUP(terminate_builder, PointerGetDatum(handle));
	(void) WaitForBackgroundWorkerShutdown(handle);
	dsm_detach(segment);
}
