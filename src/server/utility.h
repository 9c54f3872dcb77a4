/*-------------------------------------------------------------------------
 *
 * utility.h
 *	  Statements on whole databases that require that nothing is connected.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_UTILITY_H
#define NOTIFY_STATS_UTILITY_H

extern void utility_init(void);

#endif							/* NOTIFY_STATS_UTILITY_H */
