/*-------------------------------------------------------------------------
 *
 * postmaster_watch.h
 *	  Detects the death of the postmaster while there is work to do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_POSTMASTER_WATCH_H
#define NOTIFY_STATS_POSTMASTER_WATCH_H

extern void postmaster_watch_start(void);
extern void postmaster_watch_stop(void);

#endif							/* NOTIFY_STATS_POSTMASTER_WATCH_H */
