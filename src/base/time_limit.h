/*-------------------------------------------------------------------------
 *
 * time_limit.h
 *	  How long one rollup may delay the others.
 *
 * In a cycle, and while a build joins the main stream, all rollups of a
 * database wait for the code of each owner.  That code may never end.  So
 * while the limit is on, a timer determines at regular intervals which rollup
 * is being worked on (trouble.h).  It interrupts the process when the sum for
 * one rollup exceeds notify_stats.max_rollup_time.  The work itself has no
 * additional cost.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TIME_LIMIT_H
#define NOTIFY_STATS_TIME_LIMIT_H

extern void time_limit_start(void);
extern void time_limit_charge(Oid otherwise, bool blames);
extern void time_limit_stop(void);
extern void time_limit_forget(void);

#endif							/* NOTIFY_STATS_TIME_LIMIT_H */
