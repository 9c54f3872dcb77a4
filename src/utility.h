/*-------------------------------------------------------------------------
 *
 * utility.h
 *	  Statements on whole databases, which want nobody connected.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_UTILITY_H
#define NOTIFY_STATS_UTILITY_H

/*
 * Has our processes leave a database for a statement that needs it to itself,
 * and come back afterwards.
 */
extern void utility_init(void);

#endif							/* NOTIFY_STATS_UTILITY_H */
