/*-------------------------------------------------------------------------
 *
 * shared.h
 *	  What the processes of notify_stats tell each other.
 *
 * Shared memory holds nothing that a crash may not lose: how far a stream has
 * read, who works, and what went wrong.  What must last is in the catalog.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SHARED_H
#define NOTIFY_STATS_SHARED_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#define SHARED_MESSAGE_LENGTH 512

/* What the worker of a stream is doing. */
typedef enum StreamState
{
	STREAM_OFF,					/* no worker runs */
	STREAM_STARTING,			/* it connects, or waits out a failure */
	STREAM_NO_ROLLUPS,			/* nothing to do, and no slot */
	STREAM_CREATING_SLOT,		/* waits for running transactions */
	STREAM_RUNNING
} StreamState;

/* A rollup for the lock of which all have waited in vain. */
typedef struct SharedOffender
{
	Oid			rollup;			/* InvalidOid: free */
	int			times;			/* each within an hour of the one before */
	TimestampTz last;
} SharedOffender;

#define SHARED_OFFENDERS 16

/*
 * When a position was written last, how many transactions of others had
 * ended by then, and whether one more is to be written that lies after that
 * commit.  Of cycle.c, under stream_lock.
 */
typedef struct SharedProgress
{
	uint64		foreign;
	TimestampTz at;
	bool		unclosed;
} SharedProgress;

/*
 * When a record of the running transactions was logged last, and what for.  Of
 * cycle.c, under stream_lock.
 */
typedef struct SharedStandbySnapshot
{
	TimestampTz at;
	XLogRecPtr	restart_lsn;
	int			interval;		/* ms to the next */
} SharedStandbySnapshot;

/*
 * How often in a row a change was too large for the output plugin, and from
 * where on it was read.  Of oversize.c.
 */
typedef struct SharedOversize
{
	int			failures;
	XLogRecPtr	lsn;
} SharedOversize;

/* Changes since the window began, and the rate of the window before. */
typedef struct SharedRate
{
	uint64		window_changes;
	TimestampTz window_start;
	double		changes_per_second;
} SharedRate;

/* How fast the last large stretch of a backlog was read, and when. */
typedef struct SharedBacklog
{
	double		bytes_per_second;
	TimestampTz at;
} SharedBacklog;

/* The last error, for the status. */
typedef struct SharedError
{
	TimestampTz at;				/* 0: none */
	Oid			rollup;			/* that work was done for; InvalidOid: none */
	char		message[SHARED_MESSAGE_LENGTH];
} SharedError;

/*
 * An error that is one rollup's own, noted by the process that met it, to
 * be entered in the catalog by the next cycle.  Of trouble.c, as are the
 * next three.
 */
typedef struct SharedTrouble
{
	Oid			rollup;			/* InvalidOid: none */
	XLogRecPtr	lsn;
	int64		request;		/* rebuilds asked for up to this one failed */
	bool		heals;			/* it is to become stale rather than failed */
	bool		of_catalog;		/* a change of the catalogs may put it right
								 * ... */
	int64		catalog;		/* ... which were in this state before; 0: not
								 * known */
	TransactionId xmin;			/* it did not see what this one and later ones
								 * have written */
	uint64		others;			/* transactions of others that had ended then;
								 * 0: no matter */
	char		reason[SHARED_MESSAGE_LENGTH];
} SharedTrouble;

/*
 * Passing errors in a row with some rollup or source at work at the same
 * position.
 */
typedef struct SharedPassingErrors
{
	int			errors;
	XLogRecPtr	lsn;
	TimestampTz since;
} SharedPassingErrors;

/* A value of a source's changes that cannot be read. */
typedef struct SharedUnreadable
{
	Oid			source;			/* InvalidOid: none */
	char		reason[SHARED_MESSAGE_LENGTH];
} SharedUnreadable;

/*
 * The last build that failed when all waited for it, by an error that may
 * pass.
 */
typedef struct SharedJoinFailure
{
	Oid			rollup;
	int64		request;
} SharedJoinFailure;

/* The main stream of one database; "lock" of SharedState guards it. */
typedef struct SharedStream
{
	Oid			database;		/* InvalidOid: free */
	bool		dropped;		/* the database is gone; another one may take
								 * its place */
	int			pid;			/* of the worker, or 0 */
	StreamState state;

	/*
	 * The worker sleeps, and its latch is to be set when there is something
	 * to read; see wake.c, which also keeps the next two positions
	 */
	pg_atomic_uint32 sleeping;
	pg_atomic_uint32 slot_wanted;	/* another process waits for the open slot
									 * ... */
	int			slot_holder;	/* ... which this one may have; stream_lock
								 * guards it */
	int			worker_procno;	/* index of its PGPROC, as long as pid is set */
	pg_atomic_uint64 async_lsn; /* end of the last asynchronous commit */
	pg_atomic_uint64 wanted_lsn;	/* what wait_for_lsn() waits for, at most */

	/* everything before it is in the rollups; written by whoever runs a cycle */
	pg_atomic_uint64 reached_lsn;
	TimestampTz reached_at;		/* when that was the end of the WAL */

	Oid			waits_for;		/* a relation that somebody has locked, or 0 */
	SharedOffender offenders[SHARED_OFFENDERS];
	int			slot_user;		/* a process not ours that has the slot open,
								 * or 0 */
	bool		retains_much;	/* the slot keeps more WAL than it should */
	TimestampTz failover_tried_at;	/* when it was last tried in vain to have
									 * the slot follow
									 * notify_stats.failover; or 0 */

	SharedProgress progress;
	SharedStandbySnapshot standby_snapshot;
	SharedOversize oversize;
	SharedRate	rate;
	SharedBacklog backlog;
	SharedError last_error;
	SharedTrouble trouble;
	SharedPassingErrors passing;
	SharedUnreadable unreadable;
	SharedJoinFailure join_failure;

	/*
	 * pgoutput has failed to send some value in binary form; set by whoever
	 * met that, until the server restarts
	 */
	bool		text_only;

	Oid			locked_out_build;	/* rollup whose last build has only waited
									 * for a lock */
} SharedStream;

/* How far a build or verification is. */
typedef enum BuildPhase
{
	BUILD_STARTING,
	BUILD_WAITING_FOR_TRANSACTIONS,
	BUILD_READING_SOURCES,
	BUILD_CATCHING_UP,
	BUILD_JOINING
} BuildPhase;

/* A running build or verification; "lock" of SharedState guards it. */
typedef struct SharedBuild
{
	int			pid;			/* 0: free */
	Oid			database;
	Oid			rollup;
	bool		verifying;
	bool		is_builder;		/* not a session that runs catch_up() */
	BuildPhase	phase;
	NameData	slot_name;
	XLogRecPtr	start_lsn;		/* the end of the WAL when it began */
	bool		retains_much;	/* its slot retains more WAL than it may: it
								 * was told to end */
	TransactionId waits_for;	/* whose end it waits for, or invalid */
	XLogRecPtr	reached_lsn;
	TimestampTz started_at;
} SharedBuild;

/*
 * A worker that notify_stats.database asks for, by its place in that list;
 * known also while there is no such database.  "lock" of SharedState guards
 * it.
 */
typedef struct SharedWorker
{
	int			failures;		/* in a row, for the delay of a restart */
	bool		connecting;		/* it has not yet come further than that */
	int			waiting_procno; /* PGPROC of the process that waits to
								 * connect, or -1 */
} SharedWorker;

#define SHARED_STREAMS 64
#define SHARED_BUILDS 32

/*
 * Verifications in a database at a time, each of which takes a slot and a
 * process.
 */
#define MAX_VERIFICATIONS 4

typedef struct SharedState
{
	LWLock	   *lock;
	ConditionVariable reached_cv;	/* some stream moved, or a build ended */

	/* transactions with an xid that our own processes have committed */
	pg_atomic_uint64 own_commits;

	SharedStream streams[SHARED_STREAMS];
	SharedBuild builds[SHARED_BUILDS];
	SharedWorker workers[SHARED_STREAMS];
} SharedState;

/* NULL unless the library was preloaded. */
extern SharedState *shared_state;
extern void shared_init(void);
extern void shared_require(void);
extern SharedStream *shared_stream(void);
extern SharedStream *shared_stream_if_any(void);
extern void shared_stream_drop(Oid database);
extern void shared_stream_set_state(StreamState state);
extern void shared_stream_reached(XLogRecPtr lsn, TimestampTz at);
extern void shared_stream_waits_for(Oid relid);
extern int	shared_stream_offences(Oid rollup, bool again);
extern bool shared_stream_slot_user(int pid);
extern bool shared_stream_try_failover(void);
extern void shared_stream_failover_done(void);
extern bool shared_stream_retains_much(bool much);
extern void shared_stream_broadcast(void);
extern void shared_stream_count(uint64 nchanges);
extern void shared_stream_backlog(uint64 bytes, TimestampTz started);
extern uint64 shared_foreign_transactions(void);
extern SharedBuild *shared_build_begin(Oid rollup, bool verifying);
extern void shared_build_end(SharedBuild *build);
extern bool shared_build_running(Oid rollup);
extern void shared_build_set_slot(SharedBuild *build, const char *slot_name);
extern void shared_build_phase(SharedBuild *build, BuildPhase phase);
extern void shared_build_waits_for(SharedBuild *build, TransactionId xid);
extern void shared_build_reached(SharedBuild *build, XLogRecPtr lsn);

/*
 * Tells those of this database's builds to end whose slot retains more WAL
 * than it may, as "retains_much" says; notes why as the last error.
 */
typedef bool (*SharedBuildTest) (const SharedBuild *build);

extern void shared_builds_end_if(SharedBuildTest retains_much,
								 const char *reason);
extern int	shared_worker_begin(int worker, bool *could_not_connect);
extern void shared_worker_connected(int worker);
extern void shared_worker_succeeded(int worker);
extern void shared_worker_wait(int worker, long milliseconds);
extern void shared_worker_retry(int worker);

#endif							/* NOTIFY_STATS_SHARED_H */
