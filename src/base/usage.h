/*-------------------------------------------------------------------------
 *
 * usage.h
 *	  The CPU time and the WAL that our work has cost.
 *
 * A process adds what it has used to the totals of its database from time to
 * time: after each cycle, in each phase of a build, and when it ends.  A
 * session counts only while it does the worker's work.  Processes that the
 * server starts for a parallel query count as far as they have written WAL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_USAGE_H
#define NOTIFY_STATS_USAGE_H

extern int64 usage_cpu_time(void);
extern void usage_start(void);
extern void usage_count(void);
extern void usage_count_at_exit(void);

#endif							/* NOTIFY_STATS_USAGE_H */
