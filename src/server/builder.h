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

extern void builder_start_due(List *relids);
extern bool builder_is_due(void);
extern void builder_verify(Oid relid, VerifyCallback callback, void *arg);

#endif							/* NOTIFY_STATS_BUILDER_H */
