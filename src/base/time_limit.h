/*-------------------------------------------------------------------------
 *
 * time_limit.h
 *	  How long one rollup may hold up the others.
 *
 * In a cycle, and while a build joins the main stream, all rollups of a
 * database wait for the code of each owner.  That code may never end.  So
 * while the limit is on, a timer looks at regular intervals for which
 * rollup work is done (trouble.h), and interrupts the process when the sum
 * of one rollup exceeds notify_stats.max_rollup_time.  Work itself costs
 * nothing more.
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
