/*-------------------------------------------------------------------------
 *
 * launcher.h
 *	  The background process that starts and stops the workers of databases.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_LAUNCHER_H
#define NOTIFY_STATS_LAUNCHER_H

extern void launcher_register(void);
extern bool launcher_serves_database(void);
extern bool launcher_report_missing(int elevel);

#endif							/* NOTIFY_STATS_LAUNCHER_H */
