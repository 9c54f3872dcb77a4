/*-------------------------------------------------------------------------
 *
 * shared.c
 *	  Shared state of the processes of notify_stats.
 *
 * There are three kinds of entries: a stream for each database that
 * notify_stats has worked on since the server started, a build for each one
 * that is running, and a worker for each process that the launcher has
 * started.  The number of databases with a stream is limited.  The limit
 * follows max_worker_processes, which limits the number of workers.
 *
 * Locks:
 *
 * - most fields are written under the LWLock of SharedState, which is held
 *   for a few instructions, and never during a wait;
 * - the fields that shared.h says are under stream_lock (stream.c) are
 *   written by the process that runs a cycle: a worker, a builder at its
 *   join, or catch_up().  stream_lock is taken first, and the LWLock within
 *   it;
 * - the atomic variables are written without a lock, as each is independent
 *   of the others.  reached_lsn is written after the commit that it reports,
 *   so no process sees a position before the rows are visible.
 *
 * A process that exits leaves its entry, but clears its pid in it
 * (before_shmem_exit).  After a crash the postmaster initializes all of this
 * memory again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "settings.h"
#include "shared.h"

/* How long a lock timeout of a rollup is remembered. */
#define OFFENCE_MEMORY_MS (3600 * 1000)

/*
 * The speed of a backlog: what is older counts half, and after which time
 * without reading there is another backlog.
 */
#define BACKLOG_MEMORY_MS (60 * 1000)
#define BACKLOG_GAP_MS (10 * 1000)

/* When to try again to alter the slot, after an error. */
#define FAILOVER_RETRY_MS (60 * 1000)

/* The number of databases that can be served with any max_worker_processes. */
#define LEAST_DATABASES 64

SharedState *shared_state = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static int
max_databases(void)
{
	return Max(LEAST_DATABASES, max_worker_processes);
}

static Size
streams_size(void)
{
	return MAXALIGN(mul_size(max_databases(), sizeof(SharedStream)));
}

/* The state, with the arrays behind it. */
static Size
shared_size(void)
{
	return add_size(add_size(MAXALIGN(sizeof(SharedState)), streams_size()),
					mul_size(max_databases(), sizeof(SharedWorker)));
}

static void
request_shared_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche(EXTENSION_NAME, 1);
}

static void
init_stream(SharedStream *stream)
{
	memset(stream, 0, sizeof(SharedStream));
	pg_atomic_init_u32(&stream->sleeping, 0);
	pg_atomic_init_u32(&stream->slot_wanted, 0);
	pg_atomic_init_u64(&stream->async_lsn, 0);
	pg_atomic_init_u64(&stream->wanted_lsn, 0);
	pg_atomic_init_u64(&stream->reached_lsn, 0);
	for (int i = 0; i < SHARED_CHANGES; i++)
		pg_atomic_init_u64(&stream->changed_lsn[i], 0);
	pg_atomic_init_u64(&stream->changes_known_since, 0);
}

static void
startup_shared_memory(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared_state = ShmemInitStruct(EXTENSION_NAME, shared_size(), &found);
	if (!found)
	{
		memset(shared_state, 0, shared_size());
		shared_state->ndatabases = max_databases();
		shared_state->streams = (SharedStream *)
			((char *) shared_state + MAXALIGN(sizeof(SharedState)));
		shared_state->workers = (SharedWorker *)
			((char *) shared_state->streams + streams_size());
		shared_state->lock = &(GetNamedLWLockTranche(EXTENSION_NAME))->lock;
		ConditionVariableInit(&shared_state->reached_cv);
		ConditionVariableInit(&shared_state->window_cv);
		pg_atomic_init_u64(&shared_state->own_commits, 0);
		for (int i = 0; i < shared_state->ndatabases; i++)
			init_stream(&shared_state->streams[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Reserves the memory.  Must be called while libraries are preloaded. */
void
shared_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
}

/* Throws unless the library was preloaded; the hint shows the line to add. */
void
shared_require(void)
{
	if (shared_state == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("notify_stats must be loaded via shared_preload_libraries"),
				 errhint("Add notify_stats to shared_preload_libraries in postgresql.conf and restart the server.")));
}

/*
 * Returns the entry of this database, and creates it if there is none.  Throws
 * if the library was not preloaded, or if there are too many databases.
 */
SharedStream *
shared_stream(void)
{
	SharedStream *free_entry = NULL;
	SharedStream *stream = NULL;

	shared_require();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared_state->ndatabases && stream == NULL; i++)
	{
		SharedStream *entry = &shared_state->streams[i];

		if (entry->database == MyDatabaseId && !entry->dropped)
			stream = entry;
		else if (free_entry == NULL &&
				 (entry->dropped || !OidIsValid(entry->database)))
			free_entry = entry;
	}
	if (stream == NULL && free_entry != NULL)
	{
		stream = free_entry;
		init_stream(stream);
		stream->database = MyDatabaseId;
		stream->totals.since = GetCurrentTimestamp();
	}
	LWLockRelease(shared_state->lock);

	if (stream == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("notify_stats cannot serve more than %d databases",
						shared_state->ndatabases),
				 errhint("Raise max_worker_processes to the number of databases, and restart the server.")));
	return stream;
}

/*
 * Returns the entry of this database, or NULL if there is none.  This is
 * cheap.
 *
 * It needs no lock: entries are taken in order, and an entry belongs to its
 * database as long as any process can be connected to that.  A process that
 * searches while another entry is reused may miss its own entry, but finds it
 * the next time.
 */
SharedStream *
shared_stream_if_any(void)
{
	static SharedStream *known = NULL;

	if (known != NULL || shared_state == NULL)
		return known;
	for (int i = 0; i < shared_state->ndatabases; i++)
	{
		SharedStream *entry = &shared_state->streams[i];

		if (!OidIsValid(entry->database))
			break;
		if (entry->database == MyDatabaseId && !entry->dropped)
		{
			known = entry;
			break;
		}
	}
	return known;
}

/*
 * Marks the entry of a dropped database as free.  No process uses it any more.
 */
void
shared_stream_drop(Oid database)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared_state->ndatabases; i++)
		if (shared_state->streams[i].database == database)
			shared_state->streams[i].dropped = true;
	LWLockRelease(shared_state->lock);
}

/* Sets the state of the worker, if this process is the worker. */
void
shared_stream_set_state(StreamState state)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (stream->pid == MyProcPid)
		stream->state = state;
	LWLockRelease(shared_state->lock);
}

/*
 * Publishes how far the stream has come, as of "at", and wakes the processes
 * that wait for it.  The position never goes back, even if another process has
 * published a later one.
 */
void
shared_stream_reached(XLogRecPtr lsn, TimestampTz at)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (lsn >= pg_atomic_read_u64(&stream->reached_lsn))
	{
		pg_atomic_write_u64(&stream->reached_lsn, lsn);
		stream->reached_at = Max(stream->reached_at, at);
	}
	stream->passing.errors = 0;
	LWLockRelease(shared_state->lock);
	shared_stream_broadcast();
}

/* Wakes the waiting processes, so that they read the catalog again. */
void
shared_stream_broadcast(void)
{
	ConditionVariableBroadcast(&shared_state->reached_cv);
}

/*
 * Notes that this transaction brings a rollup, which it changes, to a position.
 * Must be called before the commit: who sees the rollup there finds the note.
 */
void
shared_stream_note_change(Oid rollup, XLogRecPtr lsn)
{
	pg_atomic_uint64 *last = &shared_stream()->changed_lsn[rollup % SHARED_CHANGES];
	uint64		noted = pg_atomic_read_u64(last);

	while (noted < lsn &&
		   !pg_atomic_compare_exchange_u64(last, &noted, lsn))
		;
}

/*
 * Returns false if a rollup is the same at that position and as a snapshot shows
 * it that was taken before this call.  True does not mean that it has changed.
 *
 * What was changed before the server was started is not noted, but has a
 * position before the end of the WAL at any time since.
 */
bool
shared_stream_may_have_changed(Oid rollup, XLogRecPtr since)
{
	SharedStream *stream = shared_stream();
	uint64		known_since = 0;

	if (pg_atomic_compare_exchange_u64(&stream->changes_known_since,
									   &known_since, GetXLogInsertRecPtr()))
		return true;
	return since < known_since ||
		since < pg_atomic_read_u64(&stream->changed_lsn[rollup % SHARED_CHANGES]);
}

/* Sets the relation whose lock the stream waits for; InvalidOid: none. */
void
shared_stream_waits_for(Oid relid)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->waits_for = relid;
	LWLockRelease(shared_state->lock);
}

/* Returns the entry of a rollup, or else a free one, or else the oldest. */
static SharedOffender *
find_offender(SharedStream *stream, Oid rollup)
{
	SharedOffender *result = &stream->offenders[0];

	for (int i = 0; i < SHARED_OFFENDERS; i++)
	{
		SharedOffender *entry = &stream->offenders[i];

		if (entry->rollup == rollup)
			return entry;
		if (entry->last < result->last)
			result = entry;
	}
	return result;
}

/*
 * Returns how many times in succession all rollups have waited in vain for a
 * lock of this one, each time within an hour of the one before.  "again" adds
 * one.
 */
int
shared_stream_offences(Oid rollup, bool again)
{
	SharedStream *stream = shared_stream_if_any();
	SharedOffender *entry;
	TimestampTz now = GetCurrentTimestamp();
	int			times;

	/*
	 * this is called for each rollup that is written; entries are taken in
	 * order, so mostly there is none
	 */
	if (stream == NULL || (!again && !OidIsValid(stream->offenders[0].rollup)))
		return 0;
	LWLockAcquire(shared_state->lock, again ? LW_EXCLUSIVE : LW_SHARED);
	entry = find_offender(stream, rollup);
	times = entry->rollup == rollup &&
		!TimestampDifferenceExceeds(entry->last, now, OFFENCE_MEMORY_MS) ?
		entry->times : 0;
	if (again)
	{
		entry->rollup = rollup;
		entry->times = ++times;
		entry->last = now;
	}
	LWLockRelease(shared_state->lock);
	return times;
}

/*
 * Sets the process that has the slot open and is not one of ours; 0: none.
 * Returns true if that is a change.
 */
bool
shared_stream_slot_user(int pid)
{
	SharedStream *stream = shared_stream();
	bool		news;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	news = stream->slot_user != pid;
	stream->slot_user = pid;
	LWLockRelease(shared_state->lock);
	return news;
}

/*
 * Records that the slot is about to be altered.  Returns false if that was
 * tried recently and has not been reported as done since: an error ends the
 * worker, and the next one must work rather than try again.
 */
bool
shared_stream_try_failover(void)
{
	SharedStream *stream = shared_stream();
	TimestampTz now = GetCurrentTimestamp();
	bool		may;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	may = TimestampDifferenceExceeds(stream->failover_tried_at, now,
									 FAILOVER_RETRY_MS);
	if (may)
		stream->failover_tried_at = now;
	LWLockRelease(shared_state->lock);
	return may;
}

void
shared_stream_failover_done(void)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->failover_tried_at = 0;
	LWLockRelease(shared_state->lock);
}

/*
 * Sets whether the slot retains more WAL than it should.  Returns true if that
 * is a change.
 */
bool
shared_stream_retains_much(bool much)
{
	SharedStream *stream = shared_stream();
	bool		news;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	news = stream->retains_much != much;
	stream->retains_much = much;
	LWLockRelease(shared_state->lock);
	return news;
}

/* Counts a cycle, and the changes that it has applied, for the view status. */
void
shared_stream_count(uint64 nchanges, uint64 ntransactions)
{
	SharedStream *stream = shared_stream();
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->totals.changes += nchanges;
	stream->totals.transactions += ntransactions;
	stream->totals.cycles++;
	stream->rate.window_changes += nchanges;
	if (stream->rate.window_start == 0)
		stream->rate.window_start = now;
	else if (TimestampDifferenceExceeds(stream->rate.window_start, now, 1000))
	{
		stream->rate.changes_per_second =
			stream->rate.window_changes * 1000000.0 /
			(now - stream->rate.window_start);
		stream->rate.window_changes = 0;
		stream->rate.window_start = now;
	}
	LWLockRelease(shared_state->lock);
}

/* Counts what this process has used, if the database has an entry. */
void
shared_stream_count_usage(uint64 cpu_time, uint64 wal_bytes)
{
	SharedStream *stream = shared_stream_if_any();

	if (stream == NULL)
		return;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->totals.cpu_time += cpu_time;
	stream->totals.wal_bytes += wal_bytes;
	LWLockRelease(shared_state->lock);
}

/* Copies a message, or as much of it as there is room for. */
void
shared_copy_message(char *target, const char *source)
{
	int			len = pg_mbcliplen(source, strlen(source),
								   SHARED_MESSAGE_LENGTH - 1);

	memcpy(target, source, len);
	target[len] = '\0';
}

/*
 * Counts an error, and shows it as the last one.  The lock of shared memory
 * must be held.
 */
void
shared_stream_note_error(SharedStream *stream, Oid rollup, const char *message)
{
	stream->totals.errors++;
	stream->last_error.at = GetCurrentTimestamp();
	stream->last_error.rollup = rollup;
	shared_copy_message(stream->last_error.message, message);
}

/*
 * Records that a part of a backlog was applied, which a process began to read
 * at "started".  Several processes may read at the same time, so the speed is
 * that of all of them: the amount since the backlog began, by the clock.  Each
 * time that a minute has passed, what is before counts half.
 */
void
shared_stream_backlog(uint64 bytes, TimestampTz started)
{
	SharedBacklog *backlog = &shared_stream()->backlog;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	/* nothing was read in between: this is another backlog */
	if (TimestampDifferenceExceeds(backlog->at, started, BACKLOG_GAP_MS))
	{
		backlog->bytes = 0;
		backlog->since = started;
	}
	backlog->bytes += bytes;
	backlog->bytes_per_second = backlog->bytes * 1000000.0 /
		Max(now - backlog->since, 1);
	if (TimestampDifferenceExceeds(backlog->since, now, BACKLOG_MEMORY_MS))
	{
		backlog->bytes /= 2;
		backlog->since = now - (now - backlog->since) / 2;
	}
	backlog->at = now;
	LWLockRelease(shared_state->lock);
}

/*
 * Records what this process does with its part of a backlog, and how far it
 * was decoded, unless that is invalid.  Does nothing if it has no part, which
 * is cheap.
 */
void
shared_window_progress(WindowPhase phase, XLogRecPtr read_lsn)
{
	SharedStream *stream = shared_stream_if_any();

	if (stream == NULL || stream->catch_up.leader == 0)
		return;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_CATCH_UP_WORKERS; i++)
	{
		SharedWindow *window = &stream->catch_up.windows[i];

		if (window->pid != MyProcPid)
			continue;
		window->phase = phase;
		/* within a large transaction, positions are not in order */
		window->read_lsn = Max(window->read_lsn, Min(read_lsn, window->end));
	}
	LWLockRelease(shared_state->lock);
}

/*
 * Returns the number of ended transactions of other processes in the whole
 * cluster, counted from an arbitrary time.  If it has not changed, all WAL
 * since then is our own or the server's.
 */
uint64
shared_foreign_transactions(void)
{
	return completed_transactions() - pg_atomic_read_u64(&shared_state->own_commits);
}

static void
end_builds_of_process(int code, Datum arg)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SHARED_BUILDS; i++)
		if (shared_state->builds[i].pid == MyProcPid)
			shared_state->builds[i].pid = 0;
	LWLockRelease(shared_state->lock);
}

/*
 * Returns whether this is one of our background processes, which build or
 * verify.
 */
static bool
am_builder(void)
{
	return MyBgworkerEntry != NULL && strcmp(MyBgworkerEntry->bgw_library_name,
											 EXTENSION_NAME) == 0;
}

/*
 * Throws because the same rollup is being verified already ("same"), or
 * because too many are in this database.
 */
static void
throw_verifications(bool same)
{
	ereport(ERROR,
			(errcode(same ?
					 ERRCODE_OBJECT_IN_USE :
					 ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 same ? errmsg("this rollup is already being verified") :
			 errmsg("%d rollups of this database are already being verified",
					MAX_VERIFICATIONS),
			 errhint("Try again when that verification has ended. The view notify_stats.status shows running verifications.")));
}

/*
 * Claims an entry for a build in this process.  Returns NULL if that rollup is
 * already being built.  Throws if all entries are taken.  A verification also
 * throws if that rollup is already being verified, or if too many are.  The
 * entry is released by shared_build_end, or when the process exits.
 */
SharedBuild *
shared_build_begin(Oid rollup, bool verifying)
{
	static bool exit_callback_registered = false;
	SharedBuild *build = NULL;
	bool		running = false;
	bool		verified = false;
	int			verifications = 0;

	shared_require();
	if (!exit_callback_registered)
	{
		before_shmem_exit(end_builds_of_process, (Datum) 0);
		exit_callback_registered = true;
	}

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SHARED_BUILDS; i++)
	{
		SharedBuild *entry = &shared_state->builds[i];

		if (entry->pid == 0)
			build = build ? build : entry;
		else if (!verifying && !entry->verifying &&
				 entry->database == MyDatabaseId && entry->rollup == rollup)
			running = true;
		else if (verifying && entry->verifying &&
				 entry->database == MyDatabaseId)
		{
			verifications++;
			verified |= entry->rollup == rollup;
		}
	}
	if (build != NULL && !running && !verified &&
		verifications < MAX_VERIFICATIONS)
	{
		memset(build, 0, sizeof(SharedBuild));
		build->pid = MyProcPid;
		build->database = MyDatabaseId;
		build->rollup = rollup;
		build->verifying = verifying;
		build->phase = BUILD_STARTING;
		build->started_at = GetCurrentTimestamp();
		build->is_builder = am_builder();
		build->start_lsn = GetFlushRecPtr(NULL);
	}
	LWLockRelease(shared_state->lock);

	if (running)
		return NULL;
	if (verified || verifications >= MAX_VERIFICATIONS)
		throw_verifications(verified);
	if (build == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("notify_stats can build or verify at most %d rollups at a time", SHARED_BUILDS),
				 errhint("Try again when a build or verification has ended.")));
	return build;
}

void
shared_build_end(SharedBuild *build)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	build->pid = 0;
	LWLockRelease(shared_state->lock);
	ConditionVariableBroadcast(&shared_state->reached_cv);
}

/*
 * Returns whether that rollup is being built; with InvalidOid, whether any is
 * being built or verified.
 */
bool
shared_build_running(Oid rollup)
{
	bool		running = false;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	for (int i = 0; i < SHARED_BUILDS; i++)
	{
		SharedBuild *entry = &shared_state->builds[i];

		if (entry->pid != 0 && entry->database == MyDatabaseId &&
			(!OidIsValid(rollup) ||
			 (!entry->verifying && entry->rollup == rollup)))
			running = true;
	}
	LWLockRelease(shared_state->lock);
	return running;
}

void
shared_build_set_slot(SharedBuild *build, const char *slot_name)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	namestrcpy(&build->slot_name, slot_name);
	LWLockRelease(shared_state->lock);
}

void
shared_build_phase(SharedBuild *build, BuildPhase phase)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	build->phase = phase;
	LWLockRelease(shared_state->lock);
}

void
shared_build_waits_for(SharedBuild *build, TransactionId xid)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	build->waits_for = xid;
	LWLockRelease(shared_state->lock);
}

void
shared_build_reached(SharedBuild *build, XLogRecPtr lsn)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	build->reached_lsn = lsn;
	LWLockRelease(shared_state->lock);
}

/*
 * Cancels a build.  If it continues nevertheless, the process is terminated
 * the next time, unless it is a user's session.  The entry is released before
 * the process exits, so the pid is correct while the lock is held.
 */
static void
end_build(SharedBuild *build)
{
	bool		told = build->retains_much;

	/*
	 * set before the signal, since the process reads it when the signal
	 * arrives
	 */
	build->retains_much = true;
	pg_memory_barrier();
	(void) kill(build->pid, told && build->is_builder ? SIGTERM : SIGINT);
}

void
shared_builds_end_if(SharedBuildTest retains_much, const char *reason)
{
	SharedStream *stream = shared_stream();

	for (int i = 0; i < SHARED_BUILDS; i++)
	{
		SharedBuild *build = &shared_state->builds[i];
		SharedBuild copy;

		LWLockAcquire(shared_state->lock, LW_SHARED);
		copy = *build;
		LWLockRelease(shared_state->lock);
		if (copy.pid == 0 || copy.database != MyDatabaseId ||
			!retains_much(&copy))
			continue;
		LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
		if (build->pid == copy.pid && build->start_lsn == copy.start_lsn)
		{
			end_build(build);
			shared_stream_note_error(stream, copy.rollup, reason);
		}
		LWLockRelease(shared_state->lock);
	}
}

/*
 * Workers and the launcher
 */

/* Returns whether this database has a running worker. */
bool
shared_has_worker(void)
{
	SharedStream *stream = shared_stream_if_any();

	return stream != NULL && stream->pid != 0;
}

/* Returns whether a worker could not be started for lack of a process. */
bool
shared_lacks_process(void)
{
	return shared_state->launcher.lacks_process;
}

/*
 * Reserves an entry for a worker, and returns its number, and that of the
 * start; or -1 if there is none.
 */
int
shared_worker_claim(Oid database, uint64 *launch)
{
	int			worker = -1;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared_state->ndatabases && worker < 0; i++)
	{
		SharedWorker *entry = &shared_state->workers[i];

		if (OidIsValid(entry->database))
			continue;
		worker = i;
		entry->database = database;
		entry->launch = *launch = ++shared_state->launcher.launches;
		entry->pid = 0;
		entry->phase = WORKER_CONNECTING;
	}
	LWLockRelease(shared_state->lock);
	return worker;
}

/*
 * Releases the entry of a worker that has ended, or will not enter it.
 * Returns how far the worker had come.
 */
WorkerPhase
shared_worker_release(int worker)
{
	SharedWorker *entry = &shared_state->workers[worker];
	WorkerPhase phase;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	phase = entry->phase;
	memset(entry, 0, sizeof(SharedWorker));
	LWLockRelease(shared_state->lock);
	return phase;
}

/* Wakes the launcher.  "lock" of SharedState must be held. */
static void
set_launcher_latch(void)
{
	if (shared_state->launcher.pid != 0)
		SetLatch(&ProcGlobal->allProcs[shared_state->launcher.procno].procLatch);
}

static void
leave_worker(int code, Datum arg)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared_state->workers[DatumGetInt32(arg)].pid = 0;
	set_launcher_latch();
	LWLockRelease(shared_state->lock);
}

/*
 * Enters this process as a worker.  Returns false if its launcher has ended
 * before, so that the entry may already belong to another process.
 */
bool
shared_worker_enter(int worker, uint64 launch)
{
	SharedWorker *entry = &shared_state->workers[worker];
	bool		result;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	result = entry->launch == launch;
	if (result)
		entry->pid = MyProcPid;
	LWLockRelease(shared_state->lock);
	if (result)
		before_shmem_exit(leave_worker, Int32GetDatum(worker));
	return result;
}

void
shared_worker_set_phase(int worker, WorkerPhase phase)
{
	SharedWorker *entry = &shared_state->workers[worker];

	if (entry->phase == phase)
		return;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	entry->phase = phase;
	set_launcher_latch();
	LWLockRelease(shared_state->lock);
}

/*
 * Notes that the cause of earlier errors is removed, so that a worker that
 * ends with another error is started again without a long delay.  Does nothing
 * if this process is not a worker.
 */
void
shared_worker_has_worked(void)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared_state->ndatabases; i++)
	{
		if (shared_state->workers[i].pid == MyProcPid)
			shared_state->workers[i].phase = WORKER_WORKING;
	}
	LWLockRelease(shared_state->lock);
}

/*
 * Signals a worker to end.  A process clears its entry before it exits, so the
 * pid is correct while the lock is held.
 */
void
shared_worker_terminate(int worker)
{
	LWLockAcquire(shared_state->lock, LW_SHARED);
	if (shared_state->workers[worker].pid != 0)
		(void) kill(shared_state->workers[worker].pid, SIGTERM);
	LWLockRelease(shared_state->lock);
}

static void
leave_launcher(int code, Datum arg)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared_state->launcher.pid = 0;
	LWLockRelease(shared_state->lock);
}

/*
 * Enters this process as the launcher.  Frees the entries of workers that an
 * earlier launcher has started and that have not entered them.
 */
void
shared_launcher_enter(void)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared_state->launcher.pid = MyProcPid;
	shared_state->launcher.procno = MyProc - ProcGlobal->allProcs;
	for (int i = 0; i < shared_state->ndatabases; i++)
		if (shared_state->workers[i].pid == 0)
			memset(&shared_state->workers[i], 0, sizeof(SharedWorker));
	LWLockRelease(shared_state->lock);
	before_shmem_exit(leave_launcher, (Datum) 0);
}

/* Tells the launcher that pg_database may have changed. */
void
shared_launcher_databases_changed(void)
{
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	shared_state->launcher.databases_changed = true;
	set_launcher_latch();
	LWLockRelease(shared_state->lock);
}

/* Tells the launcher that a database may have rollups. */
void
shared_launcher_request(Oid database)
{
	SharedLauncher *launcher = &shared_state->launcher;
	bool		known = false;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < launcher->nrequests; i++)
		known |= launcher->requests[i] == database;
	if (!known && launcher->nrequests < SHARED_REQUESTS)
		launcher->requests[launcher->nrequests++] = database;
	else if (!known)
		launcher->all_requested = true;
	set_launcher_latch();
	LWLockRelease(shared_state->lock);
}

/* Returns what was reported to the launcher, and forgets it. */
void
shared_launcher_take_news(LauncherNews *news)
{
	SharedLauncher *launcher = &shared_state->launcher;

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	news->databases_changed = launcher->databases_changed;
	news->all_requested = launcher->all_requested;
	news->nrequests = launcher->nrequests;
	memcpy(news->requests, launcher->requests, sizeof(news->requests));
	launcher->databases_changed = launcher->all_requested = false;
	launcher->nrequests = 0;
	LWLockRelease(shared_state->lock);
}

/*
 * Sets whether a worker could not be started for lack of a process.  Returns
 * true if that is a change.
 */
bool
shared_launcher_set_lack(bool lacks_process)
{
	SharedLauncher *launcher = &shared_state->launcher;
	bool		news = launcher->lacks_process != lacks_process;

	if (!news)
		return false;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	launcher->lacks_process = lacks_process;
	LWLockRelease(shared_state->lock);
	/* sessions that wait for a position warn that there is no worker */
	shared_stream_broadcast();
	return true;
}
