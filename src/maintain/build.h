/*-------------------------------------------------------------------------
 *
 * build.h
 *	  Building, rebuilding and verifying a rollup online.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_BUILD_H

#define NOTIFY_STATS_BUILD_H

#include "difference.h"

extern void build_rollup(Oid relid, bool manual);
extern void build_verify(Oid relid, VerifyCallback callback, void *arg);
extern void build_watch_retained(void);

#endif							/* NOTIFY_STATS_BUILD_H */
