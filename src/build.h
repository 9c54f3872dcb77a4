/*-------------------------------------------------------------------------
 *
 * build.h
 *	  Building, rebuilding and verifying a rollup, while everybody works.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_BUILD_H
#define NOTIFY_STATS_BUILD_H

/*
 * Receives one group that differs, as JSON: its key, and the measures in the
 * rollup and in the definition, NULL where the group does not exist.
 */
typedef void (*VerifyCallback) (const char *group_key, const char *in_rollup,
								const char *in_definition, void *arg);

/*
 * Fills a rollup that is building, or brings a live, stale or failed one to
 * what its definition says, and makes it live.  Runs transactions of its own.
 * Does nothing if the rollup needs no build (any more), or is being built by
 * another process.  "manual" works on a paused stream as well.
 */
extern void build_rollup(Oid relid, bool manual);

/*
 * Reports the groups in which a live rollup differs from its definition, both
 * as of one position of the WAL.  Runs transactions of its own.  Throws if the
 * rollup is not live, or the stream is paused.
 */
extern void build_verify(Oid relid, VerifyCallback callback, void *arg);

/*
 * For the worker: once a second at most, ends builds and verifications the slot of
 * which retains more WAL than notify_stats.max_build_wal.  They may be stuck in code
 * of a user.
 */
extern void build_watch_retained(void);

#endif							/* NOTIFY_STATS_BUILD_H */
