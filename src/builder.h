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
 * For the worker, outside of a transaction: starts a process that builds one of these
 * rollups (OIDs), in turn, unless one that it has started still runs, or the last try
 * was too short ago.  If a build takes long, others are started beside it.
 */
extern void builder_start_due(List *relids);

/* Whether a builder has ended, or it is time to call builder_start_due again. */
extern bool builder_is_due(void);

/*
 * For a session: has a process verify a rollup, and waits for it.  Throws what
 * the process throws.  A process is needed because a function can neither
 * commit nor take a snapshot of its own; so the calling transaction must not
 * have an xid, for which the process would wait.
 */
extern void builder_verify(Oid relid, VerifyCallback callback, void *arg);

#endif							/* NOTIFY_STATS_BUILDER_H */
