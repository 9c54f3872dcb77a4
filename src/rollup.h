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

#include "definition.h"

typedef enum RollupState
{
	ROLLUP_BUILDING,
	ROLLUP_LIVE,
	ROLLUP_STALE,
	ROLLUP_FAILED
} RollupState;

typedef struct Rollup
{
	Oid			relid;
	Oid			view;			/* the definition */
	Oid			owner;
	char	   *name;			/* schema-qualified and quoted, for SQL */
	char	   *view_name;		/* likewise */
	RollupState state;
	bool		rebuild;		/* a rebuild was asked for */

	/* set by rollup_compile */
	Definition *definition;
	TupleDesc	desc;			/* of the definition's result */
} Rollup;

/*
 * Creates the table and the definition view as the current user, and registers
 * the rollup as building.  Returns the table.  Throws for a definition that
 * cannot be kept, a source whose changes do not tell enough, a name in use.
 */
extern Oid	rollup_create(const char *name, const char *definition);

/* Drops table, view and entry.  The current user must own the table. */
extern void rollup_drop(Oid relid);

/* Notes that a rebuild is wanted.  The current user must own the table. */
extern void rollup_request_rebuild(Oid relid);

/* Throws unless "relid" is a rollup that the current user owns. */
extern void rollup_check_owner(Oid relid);

/*
 * Lists (of Rollup, not compiled) the rollups of this database, in order of
 * their creation, and forgets those whose table has been dropped.
 */
extern List *rollup_list(void);

/* The rollup of that OID out of a list, or NULL. */
extern Rollup *rollup_find(List *rollups, Oid relid);

/*
 * Compiles the definition, as the rollup's owner, and locks the rollup and what it reads
 * against changes of their shape until the transaction ends.  False if the
 * rollup has just been dropped.
 */
extern bool rollup_compile(Rollup *rollup);

/*
 * Whether this rollup, or with InvalidOid every one that has not failed, holds
 * all transactions before "target", given how far the stream has come by
 * shared memory.  Throws if the rollup does not exist, or has failed.  Sees the
 * catalog as it is now, whatever the isolation level.
 */
extern bool rollup_reached(Oid relid, XLogRecPtr target, XLogRecPtr reached);

/* Whether the rollup has to be built or built anew by the worker. */
extern bool rollup_wants_build(const Rollup *rollup);

/* Enters a new state; the reason may be NULL, the position invalid. */
extern void rollup_set_state(Oid relid, RollupState state, const char *reason, XLogRecPtr lsn);

/* Enters the end of a build. */
extern void rollup_set_built(Oid relid);

/* Marks all live rollups as stale. */
extern void rollup_set_all_stale(const char *reason, XLogRecPtr lsn);

/* Notes that changes were applied just now. */
extern void rollup_set_changed(List *relids);

#endif							/* NOTIFY_STATS_ROLLUP_H */
