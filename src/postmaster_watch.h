/*-------------------------------------------------------------------------
 *
 * postmaster_watch.h
 *	  Noticing that the postmaster has died, while there is work to do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_POSTMASTER_WATCH_H
#define NOTIFY_STATS_POSTMASTER_WATCH_H

/* Ends the process if the postmaster has died, or does so from here on. */
extern void postmaster_watch_start(void);

/* From here on it does not any more. */
extern void postmaster_watch_stop(void);

#endif							/* NOTIFY_STATS_POSTMASTER_WATCH_H */
