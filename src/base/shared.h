/*-------------------------------------------------------------------------
 *
 * shared.h
 *	  Shared state of the processes of notify_stats.
 *
 * Shared memory holds only data that a crash may lose: how far a stream has
 * read, which processes are at work, and what went wrong.  Everything that
 * must survive a crash is in the catalog.
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

#include "settings.h"

#define SHARED_MESSAGE_LENGTH 512

/* What the worker of a stream is doing. */
typedef enum StreamState
{
	STREAM_OFF,					/* no worker runs */
	STREAM_STARTING,			/* it connects, or waits after a failure */
	STREAM_NO_ROLLUPS,			/* nothing to do, and no slot */
	STREAM_CREATING_SLOT,		/* waits for running transactions */
	STREAM_RUNNING
} StreamState;

/* A rollup with a lock that all rollups have waited for in vain. */
typedef struct SharedOffender
{
	Oid			rollup;			/* InvalidOid: free */
	int			times;			/* each time within an hour of the one before */
	TimestampTz last;
} SharedOffender;

#define SHARED_OFFENDERS 16

/* A prime, as OIDs of rollups often have a regular distance. */
#define SHARED_CHANGES 509

/*
 * When a position was last written, how many transactions of others had ended
 * by then, and whether another position after that commit must still be
 * written.  Used by cycle.c, under stream_lock.
 */
typedef struct SharedProgress
{
	uint64		foreign;
	TimestampTz at;
	bool		unclosed;
} SharedProgress;

/*
 * When a record of the running transactions was last written, and the
 * restart_lsn at that time.  Used by cycle.c, under stream_lock.
 */
typedef struct SharedStandbySnapshot
{
	TimestampTz at;
	XLogRecPtr	restart_lsn;
	int			interval;		/* ms until the next one */
} SharedStandbySnapshot;

/*
 * How many times in a row a change was too large for the output plugin, and
 * the position from which it was read.  Used by oversize.c.
 */
typedef struct SharedOversize
{
	int			failures;
	XLogRecPtr	lsn;
} SharedOversize;

/*
 * The last place in the window of applied WAL that was noted, and when.  Used
 * by wal_window.c, under stream_lock.
 */
typedef struct SharedWalWindow
{
	XLogRecPtr	lsn;
	XLogRecPtr	restart_lsn;
	TimestampTz at;
} SharedWalWindow;

/* Changes since the window began, and the rate in the window before. */
typedef struct SharedRate
{
	uint64		window_changes;
	TimestampTz window_start;
	double		changes_per_second;
} SharedRate;

/*
 * What was done for a database, for the view status.  These only grow.  The
 * first three count the main stream, whichever process reads it, and the last
 * two all that our processes do.
 */
typedef struct SharedTotals
{
	TimestampTz since;			/* when counting began */
	uint64		changes;
	uint64		transactions;
	uint64		cycles;
	uint64		errors;			/* as in SharedError */
	uint64		wal_bytes;		/* written */
	uint64		cpu_time;		/* in microseconds */
} SharedTotals;

/*
 * How much of a backlog was applied, since when, and the speed, as of the last
 * time.  What is long ago counts less: see shared_stream_backlog.
 */
typedef struct SharedBacklog
{
	double		bytes;
	TimestampTz since;
	double		bytes_per_second;
	TimestampTz at;
} SharedBacklog;

/* The last error, for the view status. */
typedef struct SharedError
{
	TimestampTz at;				/* 0: none */
	Oid			rollup;			/* the rollup being worked on; InvalidOid:
								 * none */
	char		message[SHARED_MESSAGE_LENGTH];
} SharedError;

/*
 * An error of one rollup.  The process that gets the error records it here,
 * and the next cycle enters it in the catalog.  Used by trouble.c, as are the
 * next three.
 */
typedef struct SharedTrouble
{
	Oid			rollup;			/* InvalidOid: none */
	XLogRecPtr	lsn;
	int64		request;		/* the requests for a rebuild up to this one
								 * have failed */
	bool		heals;			/* it becomes stale rather than failed */
	bool		loses_position; /* it cannot be resumed */
	bool		of_catalog;		/* a change of the catalogs may resolve it ... */
	int64		catalog;		/* ...  which were in this state before; 0:
								 * unknown */
	TransactionId xmin;			/* changes by this and later transactions were
								 * not seen */
	uint64		others;			/* transactions of others that had ended then;
								 * 0: irrelevant */
	char		reason[SHARED_MESSAGE_LENGTH];
} SharedTrouble;

/*
 * Consecutive temporary errors at the same position, while any rollup or
 * source was at work.
 */
typedef struct SharedPassingErrors
{
	int			errors;
	XLogRecPtr	lsn;
	TimestampTz since;
} SharedPassingErrors;

/* A value in a source's changes that cannot be read. */
typedef struct SharedUnreadable
{
	Oid			source;			/* InvalidOid: none */
	char		reason[SHARED_MESSAGE_LENGTH];
} SharedUnreadable;

/*
 * The last build that failed with a temporary error while all rollups waited
 * for it.
 */
typedef struct SharedJoinFailure
{
	Oid			rollup;
	int64		request;
} SharedJoinFailure;

/*
 * A place in the WAL where decoding can begin (start_point.c), as a slot has
 * it.
 */
typedef struct StartPoint
{
	XLogRecPtr	lsn;			/* transactions that end after this are
								 * decoded (confirmed_flush_lsn) */
	XLogRecPtr	restart_lsn;	/* the WAL is read from here */
	TransactionId catalog_xmin; /* catalog rows since then are needed */
} StartPoint;

/* What a process does with its part of a backlog. */
typedef enum WindowPhase
{
	WINDOW_READING,
	WINDOW_WAITING,				/* until the parts before it are applied */
	WINDOW_APPLYING
} WindowPhase;

/* A part of a backlog that one process reads. */
typedef struct SharedWindow
{
	int			pid;			/* 0: free */
	WindowPhase phase;
	uint64		division;		/* the number of that division */
	XLogRecPtr	start;
	XLogRecPtr	end;
	XLogRecPtr	read_lsn;		/* how far it was decoded */
} SharedWindow;

/*
 * A backlog that several processes read.  Used by division.c; protected by
 * "lock" of SharedState.
 */
typedef struct SharedCatchUp
{
	int			leader;			/* its process; 0: none */
	uint64		division;		/* number of this division of a backlog */
	XLogRecPtr	begun_at;		/* start of the first window */
	XLogRecPtr	end;			/* all windows end before this */
	uint64		window_size;	/* that is wanted, in bytes */
	int			nprocesses;		/* that were to read it, the leader included */
	int			scout;			/* process that looks for the next start
								 * point, or 0 */
	bool		busy;			/* some transaction is always running */
	bool		paused;			/* the stream is; the leader reads it anyway */
	StartPoint	next;			/* start of the next window */
	StartPoint	applied;		/* start of the window whose turn it is */
	bool		stopped;		/* windows that wait for their turn are
								 * discarded, and none begin */
	XLogRecPtr	not_before;		/* after a stop: one process reads up to here */
	SharedWindow windows[MAX_CATCH_UP_WORKERS];
} SharedCatchUp;

/* The main stream of one database; protected by "lock" of SharedState. */
typedef struct SharedStream
{
	Oid			database;		/* InvalidOid: free */
	bool		dropped;		/* the database is gone; the entry can be
								 * reused */
	int			pid;			/* of the worker, or 0 */
	StreamState state;

	/*
	 * The worker sleeps, and its latch must be set when there is WAL to read.
	 * See wake.c, which also maintains the next two positions.
	 */
	pg_atomic_uint32 sleeping;
	pg_atomic_uint32 slot_wanted;	/* another process waits for the open slot
									 * ... */
	int			slot_holder;	/* ...  of this process; protected by
								 * stream_lock */
	int			worker_procno;	/* index of its PGPROC, valid while pid is set */
	pg_atomic_uint64 async_lsn; /* end of the last asynchronous commit */
	pg_atomic_uint64 wanted_lsn;	/* the highest LSN that wait_for_lsn()
									 * waits for */

	/*
	 * all before it is in the rollups; written by the process that runs a
	 * cycle
	 */
	pg_atomic_uint64 reached_lsn;
	TimestampTz reached_at;		/* when that was the end of the WAL */

	/*
	 * The last position to which a transaction has brought a rollup that it
	 * changed, or is about to; at the rollup's OID modulo the length.  Changes
	 * before changes_known_since may be missing.
	 */
	pg_atomic_uint64 changed_lsn[SHARED_CHANGES];
	pg_atomic_uint64 changes_known_since;	/* 0: not set yet */

	Oid			waits_for;		/* a relation that another session has locked,
								 * or 0 */
	SharedOffender offenders[SHARED_OFFENDERS];
	int			slot_user;		/* a process of others that has the slot open,
								 * or 0 */
	bool		retains_much;	/* the slot retains more WAL than it should */
	TimestampTz failover_tried_at;	/* last failed attempt to make the slot
									 * follow notify_stats.failover; or 0 */

	SharedProgress progress;
	SharedStandbySnapshot standby_snapshot;
	SharedOversize oversize;
	SharedWalWindow wal_window;
	SharedRate	rate;
	SharedTotals totals;
	SharedBacklog backlog;
	SharedError last_error;
	SharedTrouble trouble;
	SharedPassingErrors passing;
	SharedUnreadable unreadable;
	SharedJoinFailure join_failure;

	/*
	 * pgoutput has failed to send some value in binary form; set by the
	 * process that gets the error, until the server restarts
	 */
	bool		text_only;

	SharedCatchUp catch_up;

	Oid			locked_out_build;	/* rollup whose last build did nothing but
									 * wait for a lock */
} SharedStream;

/* Progress of a build or verification. */
typedef enum BuildPhase
{
	BUILD_STARTING,
	BUILD_WAITING_FOR_TRANSACTIONS,
	BUILD_READING_SOURCES,
	BUILD_RESUMING,				/* instead of the two before */
	BUILD_CATCHING_UP,
	BUILD_JOINING
} BuildPhase;

/* A running build or verification; protected by "lock" of SharedState. */
typedef struct SharedBuild
{
	int			pid;			/* 0: free */
	Oid			database;
	Oid			rollup;
	bool		verifying;
	bool		is_builder;		/* false: a session that runs catch_up() */
	BuildPhase	phase;
	NameData	slot_name;
	XLogRecPtr	start_lsn;		/* the end of the WAL when it began */
	bool		retains_much;	/* its slot retains more WAL than allowed, and
								 * it was signaled to end */
	TransactionId waits_for;	/* transaction whose end it waits for, or
								 * invalid */
	XLogRecPtr	reached_lsn;
	TimestampTz started_at;
} SharedBuild;

/* How far the worker of a database has come. */
typedef enum WorkerPhase
{
	WORKER_CONNECTING,
	WORKER_LOOKING,				/* for rollups in the database */
	WORKER_STARTING,			/* there are some */
	WORKER_WORKING,				/* it has run a cycle without an error, or
								 * removed the cause of one */
	WORKER_UNNEEDED				/* it ends, as its database has no rollups */
} WorkerPhase;

/*
 * A worker that the launcher has started and whose end it has not seen yet.
 * Protected by "lock" of SharedState.
 */
typedef struct SharedWorker
{
	Oid			database;		/* InvalidOid: free */
	uint64		launch;			/* number of the start; a process with another
								 * one comes too late */
	int			pid;			/* 0: not started yet, or ended */
	WorkerPhase phase;
} SharedWorker;

/* What other processes report to the launcher, and what it reports to them. */
#define SHARED_REQUESTS 32
typedef struct SharedLauncher
{
	int			pid;			/* 0: it does not run */
	int			procno;			/* index of its PGPROC, valid while pid is set */
	uint64		launches;		/* last number of a start */
	bool		databases_changed;	/* pg_database may have changed */
	int			nrequests;		/* databases that may need a worker now */
	Oid			requests[SHARED_REQUESTS];
	bool		all_requested;	/* there were more, so look at all databases */
	bool		lacks_process;	/* a worker could not be started, as all
								 * background processes are in use */
} SharedLauncher;

#define SHARED_BUILDS 32

/*
 * Maximum number of simultaneous verifications in a database.  Each takes a
 * slot and a process.
 */
#define MAX_VERIFICATIONS 4

typedef struct SharedState
{
	LWLock	   *lock;
	ConditionVariable reached_cv;	/* a stream has advanced, or a build ended */
	ConditionVariable window_cv;	/* some SharedCatchUp has changed */

	/*
	 * number of transactions with an xid that our own processes have
	 * committed
	 */
	pg_atomic_uint64 own_commits;

	SharedBuild builds[SHARED_BUILDS];
	SharedLauncher launcher;

	/* arrays with an element for each of the databases that can be served */
	int			ndatabases;
	SharedStream *streams;
	SharedWorker *workers;
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
extern void shared_stream_note_change(Oid rollup, XLogRecPtr lsn);
extern bool shared_stream_may_have_changed(Oid rollup, XLogRecPtr since);
extern void shared_stream_waits_for(Oid relid);
extern int	shared_stream_offences(Oid rollup, bool again);
extern bool shared_stream_slot_user(int pid);
extern bool shared_stream_try_failover(void);
extern void shared_stream_failover_done(void);
extern bool shared_stream_retains_much(bool much);
extern void shared_stream_broadcast(void);
extern void shared_stream_count(uint64 nchanges, uint64 ntransactions);
extern void shared_stream_count_usage(uint64 cpu_time, uint64 wal_bytes);
extern void shared_copy_message(char *target, const char *source);
extern void shared_stream_note_error(SharedStream *stream, Oid rollup,
									 const char *message);
extern void shared_stream_backlog(uint64 bytes, TimestampTz started);
extern void shared_window_progress(WindowPhase phase, XLogRecPtr read_lsn);
extern uint64 shared_foreign_transactions(void);
extern SharedBuild *shared_build_begin(Oid rollup, bool verifying);
extern void shared_build_end(SharedBuild *build);
extern bool shared_build_running(Oid rollup);
extern void shared_build_set_slot(SharedBuild *build, const char *slot_name);
extern void shared_build_phase(SharedBuild *build, BuildPhase phase);
extern void shared_build_waits_for(SharedBuild *build, TransactionId xid);
extern void shared_build_reached(SharedBuild *build, XLogRecPtr lsn);

/*
 * Ends those builds of this database whose slot retains more WAL than allowed,
 * as determined by "retains_much".  Records the reason as the last error.
 */
typedef bool (*SharedBuildTest) (const SharedBuild *build);

extern void shared_builds_end_if(SharedBuildTest retains_much,
								 const char *reason);
extern bool shared_has_worker(void);
extern bool shared_lacks_process(void);
extern int	shared_worker_claim(Oid database, uint64 *launch);
extern WorkerPhase shared_worker_release(int worker);
extern bool shared_worker_enter(int worker, uint64 launch);
extern void shared_worker_set_phase(int worker, WorkerPhase phase);
extern void shared_worker_has_worked(void);
extern void shared_worker_terminate(int worker);
extern void shared_launcher_enter(void);
extern void shared_launcher_databases_changed(void);
extern void shared_launcher_request(Oid database);

/* What was reported to the launcher since it last asked. */
typedef struct LauncherNews
{
	bool		databases_changed;
	bool		all_requested;
	int			nrequests;
	Oid			requests[SHARED_REQUESTS];
} LauncherNews;

extern void shared_launcher_take_news(LauncherNews *news);
extern bool shared_launcher_set_lack(bool lacks_process);

#endif							/* NOTIFY_STATS_SHARED_H */
