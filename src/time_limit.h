/*-------------------------------------------------------------------------
 *
 * time_limit.h
 *	  How long one rollup may hold up the others.
 *
 * In a cycle, and while a build joins the main stream, all rollups of a database
 * wait for the code of each owner.  That code may never end.  So while the limit
 * is on, a timer looks at regular intervals for which rollup work is done
 * (trouble.h), and interrupts the process when the sum of one rollup exceeds
 * notify_stats.max_rollup_time.  Work itself costs nothing more.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TIME_LIMIT_H
#define NOTIFY_STATS_TIME_LIMIT_H

/*
 * Starts to count.  Does nothing if there is no limit.  A process that exceeds it is
 * first cancelled (SQLSTATE 57014), with a detail that names the rollup, and if that is
 * caught, terminated.
 */
extern void time_limit_start(void);

/*
 * From here on, time that is spent for no rollup in particular counts as that of
 * "otherwise", unless that is InvalidOid.  "blames" tells whether that rollup is to fail
 * if it exceeds the limit, or whether only the process is to end with an error.
 */
extern void time_limit_charge(Oid otherwise, bool blames);

/* Stops counting; and the same after an error. */
extern void time_limit_stop(void);
extern void time_limit_forget(void);

#endif							/* NOTIFY_STATS_TIME_LIMIT_H */
