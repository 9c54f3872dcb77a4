/*-------------------------------------------------------------------------
 *
 * builder.h
 *	  Background processes that build or verify one rollup.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_BUILDER_H
#define NOTIFY_STATS_BUILDER_H

#include "nodes/pg_list.h"

#include "build.h"

/*
 * For the worker: starts a process that builds the first of these rollups
 * (OIDs), unless one it has started still runs, or failed too short ago.
 */
extern void builder_start_due(List *relids);

/* Whether a builder has ended, or a build should be tried again now. */
extern bool builder_is_due(void);

/*
 * For a session: has a process verify a rollup, and waits for it.  Throws what
 * the process throws.  A process is needed because a function can neither
 * commit nor take a snapshot of its own; so the calling transaction must not
 * have an xid, for which the process would wait.
 */
extern void builder_verify(Oid relid, VerifyCallback callback, void *arg);

#endif							/* NOTIFY_STATS_BUILDER_H */
