/*-------------------------------------------------------------------------
 *
 * rollup.h
 *	  The catalog of rollups.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_ROLLUP_H
#define NOTIFY_STATS_ROLLUP_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "nodes/plannodes.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "definition.h"
#include "format.h"

typedef enum RollupState
{
	ROLLUP_BUILDING,
	ROLLUP_LIVE,
	ROLLUP_STALE,
	ROLLUP_FAILED
} RollupState;

/*
 * What the catalogs say of a rollup and its definition.  It is found out once,
 * and shared by all who open the rollup, until some catalog changes.
 */
typedef struct RollupShape
{
	MemoryContext context;		/* in which it is; apply.c keeps its plan there */
	Oid			relid;
	Oid			view;
	List	   *reads;			/* OIDs of the sources, their partitions, and composite types */
	Oid			owner;
	char	   *name;			/* schema-qualified and quoted, for SQL */
	char	   *view_name;		/* likewise */
	int64		fingerprint;	/* of the definition as it is now */
	Definition *definition;		/* with the table's column names */
	List	   *source_descs;	/* a TupleDesc for each of its sources */
	TupleDesc	desc;			/* of the definition's result, likewise */
	Oid			group_index;	/* of the table, that finds a group; invalid: there is none */
	char	   *obstacle;		/* subscription_reason() of its table; NULL: none */
	struct ApplyPlan *plans;	/* apply.c's; NULL: none yet */
} RollupShape;

typedef struct Rollup
{
	Oid			relid;
	Oid			view;			/* the definition */
	RollupState state;
	int64		request;		/* the last rebuild that was asked for, or 0 */
	int64		built_from;		/* fingerprint of the definition at that time */

	List	   *ignores;		/* OIDs of the sources whose deleted rows still count */

	const List *all;			/* rollup_list's, which it is one of */

	/* set by rollup_open, under its locks; the rest is part of the shape */
	RollupShape *shape;
	Oid			owner;
	char	   *name;
	char	   *view_name;
	int64		fingerprint;
	Definition *definition;
	List	   *source_descs;
	TupleDesc	desc;
} Rollup;

/* A lock that was not free. */
typedef struct BusyLock
{
	Oid			relid;			/* InvalidOid: none */
	LOCKMODE	mode;
	TimestampTz until;			/* when to stop waiting for it; 0: never */
	Oid			type;			/* if valid, it is on this type, of values in that table */
} BusyLock;

typedef enum RollupAccess
{
	ROLLUP_READY,				/* locked and compiled */
	ROLLUP_BUSY,				/* somebody has locked something it needs */
	ROLLUP_GONE					/* dropped just now */
} RollupAccess;

/*
 * Creates the table and the definition view as the current user, and registers
 * the rollup as building.  Returns the table.  "ignore_deletes" are names of
 * sources (char *) whose deleted rows shall go on to count.  Throws for a
 * definition that cannot be kept, a source whose changes do not tell enough in
 * that format, a name in use, a rollup too many.
 */
extern Oid	rollup_create(const char *name, const char *definition, const Format *format,
						  List *ignore_deletes);

/*
 * Makes a table and the view <table>_definition, which are left of a rollup that the
 * catalog does not have, one again: as after a full restore, it is stale, or with
 * "ignore_deletes" failed.  The current user must own them.  Throws if it could not be
 * built.
 */
extern void rollup_adopt_table(Oid relid, const Format *format, List *ignore_deletes);

/* Throws unless the changes of a definition's source tell enough in that format. */
extern void rollup_check_source(const Definition *definition, Oid source, const Format *format);

/* Drops table, view and entry.  The current user must own the table. */
extern void rollup_drop(Oid relid);

/*
 * Notes that a rebuild is wanted.  The current user must own the table.  Throws
 * if that would forget rows that are deleted and still count, unless told to.
 * Several requests are as good as one, and there is one row of them.
 */
extern void rollup_request_rebuild(Oid relid, bool forget_deleted);

/*
 * Whether the current user may know more of a rollup than its rows: why it
 * failed, which may tell a value, and how it is built.  Its owner may, and who
 * monitors the server.
 */
extern bool rollup_is_visible(Oid relid);

/* Throws unless "relid" is a rollup that the current user owns. */
extern void rollup_check_owner(Oid relid);

/*
 * Lists (of Rollup, not opened) the rollups of this database, by OID.
 * *some_dropped, unless NULL, tells whether the catalog has one whose table is
 * gone.
 */
extern List *rollup_list(bool *some_dropped);

/*
 * Forgets what is kept of opened rollups if it might not be right any more.  To
 * be called when none is in use.
 */
extern void rollup_forget_outdated(void);

/* Forgets the rollups whose table has been dropped. */
extern void rollup_forget_dropped(void);

/*
 * Rollups that are live though there is no slot, or though their view does not go
 * with their table, were restored from a dump: they are given up, and the view is
 * made to go with its table again.  True if anything was written.
 */
extern bool rollup_adopt_restored(List *rollups, bool has_slot);

/* Whether a rollup was restored from a dump, and has not been built since. */
extern bool rollup_is_restored(const Rollup *rollup);

/*
 * Enters again what an upgrade of the server does not carry, or changes, though
 * the rollups are what they were.
 */
extern void rollup_take_over(List *rollups);

/*
 * The index that finds a group of an opened rollup, in its own table or in one made for
 * the same definition.  Throws if there is none.
 */
extern Oid	rollup_group_index(const Rollup *rollup, Relation table);

/* Whether the table has a unique index that can be that of its groups. */
extern bool rollup_has_index(const Rollup *rollup);

/*
 * Whether something else writes a rollup's table, so that it cannot be built.
 * That becomes the reason for its state, if it is not yet.
 */
extern bool rollup_is_obstructed(const Rollup *rollup);

/* The name of a relation, schema-qualified and quoted, or its OID if it is gone; palloc'd. */
extern char *rollup_qualified_name(Oid relid);

/* The statement that rebuilds a rollup of that name; palloc'd. */
extern char *rollup_rebuild_statement(const char *name, bool forgets);

/* The rollup of that OID out of a list, or NULL. */
extern Rollup *rollup_find(List *rollups, Oid relid);

/*
 * Locks the rollup and what it reads against changes of their shape until the
 * transaction ends, and compiles the definition, as the rollup's owner.  It
 * takes only locks that are free; if one is not, it is in *busy, and the caller
 * should end the transaction, since others may wait for the locks that it has,
 * and then call rollup_wait_for_lock.
 */
extern RollupAccess rollup_open(Rollup *rollup, BusyLock *busy);

/* Locks tables and their partitions against changes of shape, if they are free. */
extern bool rollup_lock_sources(List *relids, BusyLock *busy);

/*
 * Locks what an opened rollup reads against partitions coming and going, and with
 * "labels" also its enums against changes of their labels, if these locks are free.
 * Writers do not wait for them.
 */
extern bool rollup_lock_facts(const Rollup *rollup, bool labels, BusyLock *busy);

/*
 * Waits, outside of a transaction, until a lock is free, or until the time has come
 * that busy.until tells; returns whether it is free.  It does not queue for the lock,
 * and so lengthens no queue.
 */
extern bool rollup_wait_for_lock(BusyLock busy);

/*
 * For how many milliseconds the others wait for a lock that an opened or listed rollup
 * needs; 0: without a limit.  That is notify_stats.lock_timeout.  But one that counts
 * deleted rows could not be rebuilt without forgetting them, so for such a one they wait
 * as long as for slow code, notify_stats.max_rollup_time.  Each time that this was in vain
 * they wait half as long the next time, unless that is an hour later.
 */
extern int	rollup_lock_patience(const Rollup *rollup);

/* The longer of these times. */
extern int	rollup_long_patience(void);

/*
 * Takes the lock that keeps everybody but readers from a rollup's table, if it is
 * free: nobody else has a row of it locked then.
 */
extern bool rollup_lock_rows(const Rollup *rollup, BusyLock *busy);

/*
 * Whether ALTER TYPE may change the order of the group columns, so that indexes on
 * them do not find groups any more, nor keep them unique.
 */
extern bool rollup_order_may_change(const Rollup *rollup);

/* Locks the table and its indexes such that these can be made again, if that is free. */
extern bool rollup_lock_indexes(const Rollup *rollup, BusyLock *busy);

/* Makes the indexes again, as the current user, who owns the table. */
extern void rollup_make_indexes_again(const Rollup *rollup);

/* Takes a lock that was not free; false if it still is not. */
extern bool rollup_try_lock(BusyLock lock);

/* The columns of an opened rollup, quoted, in the definition's order. */
extern char *rollup_columns(const Rollup *rollup);

/* Its group columns, each behind a prefix such as "d.". */
extern char *rollup_group_columns(const Definition *definition, const char *prefix);

/* Throws a transient error if another table has taken the rollup's name. */
extern void rollup_check_name(const Rollup *rollup);

/*
 * Whether this rollup, or with InvalidOid every one that has not failed, holds
 * all transactions before "target", given how far the stream has come by
 * shared memory.  Throws if the rollup does not exist, or has failed.  Sees the
 * catalog as it is now, whatever the isolation level.
 */
extern bool rollup_reached(Oid relid, XLogRecPtr target, XLogRecPtr reached);

/* Whether rows of that source go on to count when they are deleted. */
extern bool rollup_ignores_deletes(const Rollup *rollup, Oid source);

/* A source of a rollup, as of its creation or last build. */
typedef struct RollupSource
{
	Oid			rollup;
	Oid			source;
	Bitmapset  *columns;		/* those that the definition reads and that still exist */
} RollupSource;

/*
 * Lists (of RollupSource) what the rollups that have not failed read.  Compiles no
 * definition and locks no source, so that nobody's rollup can hold up or stop the
 * caller; a source may have been dropped when it is looked at.
 */
extern List *rollup_known_sources(void);

/* The names of these sources, for people; palloc'd. */
extern char *rollup_ignored_names(const Rollup *rollup);

/* Whether the rollup has to be built or built anew by the worker. */
extern bool rollup_wants_build(const Rollup *rollup);

/* Enters a new state; the reason may be NULL, the position invalid. */
extern void rollup_set_state(Oid relid, RollupState state, const char *reason, XLogRecPtr lsn);

/* Enters the end of a build. */
extern void rollup_set_built(const Rollup *rollup);

/*
 * A hash of what the catalogs say of a rollup, its sources, their privileges and their
 * children: what makes a rollup fail that could be opened before, and the other way round.
 * *youngest, unless NULL, is the last transaction that has written of that.
 */
extern int64 rollup_catalog_state(Oid relid, TransactionId *youngest);

/* Enters that a failed rollup is to be tried again when that state is another one. */
extern void rollup_set_retry(Oid relid, int64 state);

/* Does so if it is: the rollup is to be built then.  True if anything was written. */
extern bool rollup_retry(Rollup *rollup);

/*
 * Notes, in the log too, that a rollup is not exact any more: it is stale, to be
 * rebuilt, or if a rebuild would forget deleted rows it has failed.
 */
extern void rollup_give_up(Rollup *rollup, const char *reason, XLogRecPtr lsn);

/*
 * The same of all rollups that are live, and without "rebuild" of those, too,
 * that would be rebuilt by themselves: all of them fail then.
 */
extern void rollup_give_up_all(const char *reason, XLogRecPtr lsn, bool rebuild);

/* Notes that changes of rollups (a list of Rollup) were applied just now. */
extern void rollup_set_changed(List *rollups);

#endif							/* NOTIFY_STATS_ROLLUP_H */
