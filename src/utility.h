/*-------------------------------------------------------------------------
 *
 * utility.h
 *	  Statements on whole databases, which want nobody connected, and those
 *	  that users' code must not run.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_UTILITY_H
#define NOTIFY_STATS_UTILITY_H

/*
 * Has our processes leave a database for a statement that needs it to itself,
 * and come back afterwards; and refuses what code under xact_become must not
 * leave in a session.
 */
extern void utility_init(void);

#endif							/* NOTIFY_STATS_UTILITY_H */
