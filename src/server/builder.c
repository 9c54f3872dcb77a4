/*-------------------------------------------------------------------------
 *
 * builder.c
 *	  Background processes that build or verify one rollup.
 *
 * Each build has its own process, so that the main stream continues during a
 * build.  This also preserves the rule that a process uses one slot at a time.
 *
 * The results of a verification are returned through a shared-memory queue, as
 * messages of the frontend/backend protocol, like those of a parallel worker.
 * So its errors arrive complete, with SQLSTATE, detail and hint.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "libpq/pqformat.h"
#include "libpq/pqmq.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shm_mq.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "background.h"
#include "builder.h"
#include "compat.h"
#include "settings.h"
#include "shared.h"
#include "source.h"
#include "trouble.h"
#include "xact.h"

#define QUEUE_SIZE 65536

/* Interval after which to check again for a build that cannot start now. */
#define LOOK_AGAIN_MS 1000

/* message types in the queue, in addition to errors and notices */
#define MESSAGE_ROW 'D'
#define MESSAGE_END 'C'

/* The arguments that the process gets from its starter, in bgw_extra. */
typedef struct BuilderArgs
{
	Oid			database;
	Oid			relid;
	dsm_handle	queue;			/* DSM_HANDLE_INVALID: build, else verify ... */
	int			session;		/* ... for the session with this pid ... */
	bool		shares_locks;	/* ... which holds locks of its own */
} BuilderArgs;

PGDLLEXPORT void notify_stats_builder_main(Datum main_arg);

/*
 * One builder runs at a time, as each reads whole tables.  But a build that
 * does not end must not block the builds of other rollups.  So others are
 * started in parallel when the last one was started more than PATIENCE_MS ago.
 * Limits per owner leave room for other owners.
 */
#define PATIENCE_MS 60000
#define MAX_RUNNING 4
#define MAX_RUNNING_OF_OWNER 2
#define MAX_OWNERS 8			/* limit for the first builder of an owner */

/*
 * A build that fails this many times in its join, for which all other rollups
 * wait, is not tried again.
 */
#define MAX_JOIN_FAILURES 5

/* The worker's attempts to build a rollup. */
typedef struct Attempt
{
	Oid			relid;
	Oid			owner;
	BackgroundWorkerHandle *handle; /* NULL: none runs */
	TimestampTz started_at;		/* the last one; 0: none yet */
	int			failures;		/* in a row */
	int			join_failures;	/* in a row, while all other rollups waited */
	TimestampTz retry_at;		/* no attempt before */
} Attempt;

static List *attempts = NIL;	/* of Attempt, in TopMemoryContext */
static TimestampTz next_look = 0;	/* when to check for a build to start; 0:
									 * not scheduled */

/*
 * Starting
 */

static BackgroundWorkerHandle *
start_builder(Oid relid, dsm_handle queue, bool shares_locks)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	BuilderArgs args;

	StaticAssertStmt(sizeof(BuilderArgs) <= BGW_EXTRALEN,
					 "the arguments must fit into bgw_extra");
	args.database = MyDatabaseId;
	args.relid = relid;
	args.queue = queue;
	args.session = MyProcPid;
	args.shares_locks = shares_locks;

	background_describe(&worker, "notify_stats builder",
						"notify_stats_builder_main", BGW_NEVER_RESTART);
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "notify_stats builder for rollup %u", relid);
	memcpy(worker.bgw_extra, &args, sizeof(args));

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return NULL;
	return handle;
}

/*
 * Delays the next attempt: 1, 2, 4 ... seconds after failures in a row.  An
 * attempt that only waited for a lock does not count as a failure.
 */
static void
delay_retry(Attempt *attempt)
{
	SharedStream *stream = shared_stream();
	int			seconds;

	if (stream->locked_out_build == attempt->relid)
	{
		attempt->failures = 0;
		stream->locked_out_build = InvalidOid;
	}
	seconds = background_backoff(attempt->failures);
	attempt->failures++;
	attempt->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													seconds * 1000);
}

static Attempt *
find_attempt(Oid relid)
{
	ListCell   *lc;

	foreach(lc, attempts)
	{
		if (((Attempt *) lfirst(lc))->relid == relid)
			return (Attempt *) lfirst(lc);
	}
	return NULL;
}

/* Returns whether its builder has ended. */
static bool
has_ended(const Attempt *attempt)
{
	pid_t		pid;

	return attempt->handle != NULL &&
		GetBackgroundWorkerPid(attempt->handle, &pid) == BGWH_STOPPED;
}

static void
count_join_failure(Attempt *attempt)
{
	if (!trouble_failed_at_join(attempt->relid))
		attempt->join_failures = 0;
	else if (++attempt->join_failures >= MAX_JOIN_FAILURES)
		trouble_give_up_build(attempt->relid, attempt->join_failures);
}

/*
 * Handles builders that have ended: if the rollup still needs to be built (is
 * in relids), its build has failed.  Deletes the attempts of other rollups.
 */
static void
update_attempts(List *relids)
{
	ListCell   *lc;

	foreach(lc, attempts)
	{
		Attempt    *attempt = (Attempt *) lfirst(lc);

		if (has_ended(attempt))
		{
			pfree(attempt->handle);
			attempt->handle = NULL;
			delay_retry(attempt);
			count_join_failure(attempt);
		}
		if (attempt->handle == NULL &&
			!list_member_oid(relids, attempt->relid))
		{
			attempts = foreach_delete_current(attempts, lc);
			pfree(attempt);
		}
	}
}

static void
add_attempt(Oid relid)
{
	Attempt    *attempt = MemoryContextAllocZero(TopMemoryContext,
												 sizeof(Attempt));
	MemoryContext context;

	attempt->relid = relid;
	xact_begin();
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		attempt->owner = source_owner(relid);
	xact_commit();
	context = MemoryContextSwitchTo(TopMemoryContext);
	attempts = lappend(attempts, attempt);
	MemoryContextSwitchTo(context);
}

/*
 * Counts the running builders, and those of one owner.  Also returns when the
 * youngest was started.
 */
static int
count_running(Oid owner, int *of_owner, TimestampTz *youngest)
{
	int			count = 0;
	ListCell   *lc;

	*of_owner = 0;
	*youngest = 0;
	foreach(lc, attempts)
	{
		const Attempt *attempt = (const Attempt *) lfirst(lc);

		if (attempt->handle == NULL)
			continue;
		count++;
		*of_owner += attempt->owner == owner;
		*youngest = Max(*youngest, attempt->started_at);
	}
	return count;
}

static bool
may_run_beside_others(const Attempt *attempt)
{
	int			of_owner;
	TimestampTz youngest;
	int			count = count_running(attempt->owner, &of_owner, &youngest);

	if (count == 0)
		return true;
	return (of_owner == 0 ? count < MAX_OWNERS :
			count < MAX_RUNNING && of_owner < MAX_RUNNING_OF_OWNER) &&
		TimestampDifferenceExceeds(youngest, GetCurrentTimestamp(),
								   PATIENCE_MS);
}

/* Schedules a check for that time, unless an earlier one is scheduled. */
static void
look_at(TimestampTz time)
{
	if (next_look == 0 || time < next_look)
		next_look = time;
}

/*
 * Returns the rollup to build next, or NULL.  It is the one with the oldest
 * last attempt, so that a rollup that fails repeatedly does not delay the
 * others.
 */
static Attempt *
next_attempt(void)
{
	Attempt    *result = NULL;
	TimestampTz now = GetCurrentTimestamp();
	ListCell   *lc;

	foreach(lc, attempts)
	{
		Attempt    *attempt = (Attempt *) lfirst(lc);

		if (attempt->handle != NULL)
			continue;
		if (attempt->retry_at > now)
			look_at(attempt->retry_at);
		else if (shared_build_running(attempt->relid) ||
				 !may_run_beside_others(attempt))
			/* a session builds it, or other builds come first */
			look_at(TimestampTzPlusMilliseconds(now, LOOK_AGAIN_MS));
		else
		{
			if (result != NULL)
				look_at(TimestampTzPlusMilliseconds(now, LOOK_AGAIN_MS));
			if (result == NULL || attempt->started_at < result->started_at)
				result = attempt;
		}
	}
	return result;
}

static void
start_attempt(Attempt *attempt)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);

	attempt->started_at = GetCurrentTimestamp();
	attempt->handle = start_builder(attempt->relid, DSM_HANDLE_INVALID, false);
	MemoryContextSwitchTo(context);
	if (attempt->handle != NULL)
		return;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("could not start a background process to build a rollup"),
			 errhint("You may need to increase \"max_worker_processes\".")));
	delay_retry(attempt);
	look_at(attempt->retry_at);
}

/*
 * Starts a process that builds one of these rollups (OIDs), in turn, unless a
 * process started earlier still runs, or the last attempt was too recent.  If
 * a build takes long, others are started in parallel.  For the worker, outside
 * of a transaction.
 */
void
builder_start_due(List *relids)
{
	Attempt    *attempt;
	ListCell   *lc;

	if (relids == NIL && attempts == NIL)
		return;
	next_look = 0;
	update_attempts(relids);
	foreach(lc, relids)
	{
		if (find_attempt(lfirst_oid(lc)) == NULL)
			add_attempt(lfirst_oid(lc));
	}
	attempt = next_attempt();
	if (attempt != NULL)
		start_attempt(attempt);
}

/*
 * Returns whether a builder has ended, or it is time to call builder_start_due
 * again.
 */
bool
builder_is_due(void)
{
	ListCell   *lc;

	foreach(lc, attempts)
	{
		if (has_ended((const Attempt *) lfirst(lc)))
			return true;
	}
	return next_look != 0 && GetCurrentTimestamp() >= next_look;
}

/*
 * Working
 */

static void
send_row(const char *group_key, const char *in_rollup,
		 const char *in_definition, void *arg)
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
 * Shares the locks of the session that requested the verification.  Returns
 * false if that session has ended.  A member of a lock group cannot have
 * parallel workers: it would have to lead another lock group, and the server
 * does not check for this.
 */
static bool
join_session(const BuilderArgs *args, PGPROC *session)
{
	if (!args->shares_locks)
		return true;
	SetConfigOption("max_parallel_workers_per_gather", "0", PGC_SUSET,
					PGC_S_OVERRIDE);
	SetConfigOption("max_parallel_maintenance_workers", "0", PGC_SUSET,
					PGC_S_OVERRIDE);
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

/*
 * Shows the activity of this process in pg_stat_activity and in the process
 * list.
 */
static void
show_activity(const BuilderArgs *args)
{
	const char *what = args->queue == DSM_HANDLE_INVALID ? "building" :
	"verifying";
	const char *name;
	char		title[128];

	xact_begin();
	name = get_rel_name(args->relid);
	snprintf(title, sizeof(title), "notify_stats: %s %s", what, name ?
			 name : "?");
	xact_commit();
	pgstat_report_activity(STATE_RUNNING, title);
	set_ps_display(what);
}

void
notify_stats_builder_main(Datum main_arg)
{
	BuilderArgs args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	background_connect(args.database, "notify_stats builder");
	show_activity(&args);
	if (args.queue == DSM_HANDLE_INVALID)
		build_rollup(args.relid, false);
	else
		verify_into_queue(&args);
}

/*
 * Receiving
 */

/* Reads the next counted string of a row.  Returns NULL for a null value. */
static char *
get_counted_string(StringInfo msg)
{
	int			len = pq_getmsgint(msg, 4);

	return len < 0 ? NULL : pnstrdup(pq_getmsgbytes(msg, len), len);
}

/* Handles one message.  Returns false if it was the last one. */
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
			return true;		/* notices and other messages */
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
					 errmsg("the process that verifies the rollup has exited"),
					 errhint("See the server log for the reason.")));
	} while (handle_message(data, len, callback, arg));
}

static void
terminate_builder(int code, Datum arg)
{
	TerminateBackgroundWorker((BackgroundWorkerHandle *) DatumGetPointer(arg));
}

/*
 * Returns whether this session holds a lock for which the process would wait.
 */
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

/*
 * For a session: starts a process that verifies a rollup, and waits for it.
 * Throws the errors of that process.  A process is needed because a function
 * can neither commit nor take a snapshot of its own.  The calling transaction
 * must not have an xid, as the process would wait for its end.
 */
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
				 errmsg("verify() cannot run in a transaction that has performed writes"),
				 errdetail("It would wait for this transaction to end."),
				 errhint("Commit the transaction first.")));

	/* no lock of this session may block the process */
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
				 errmsg("could not start a background process to verify the rollup"),
				 errhint("You may need to increase \"max_worker_processes\".")));
	/* end the process also if this session is terminated */
	PG_ENSURE_ERROR_CLEANUP(terminate_builder, PointerGetDatum(handle));
	{
		receive(shm_mq_attach(queue, segment, handle), callback, arg);
	}
	PG_END_ENSURE_ERROR_CLEANUP(terminate_builder, PointerGetDatum(handle));
	(void) WaitForBackgroundWorkerShutdown(handle);
	dsm_detach(segment);
}
