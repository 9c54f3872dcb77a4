/*-------------------------------------------------------------------------
 *
 * release.h
 *	  Ending a rollup whose table is kept.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_RELEASE_H
#define NOTIFY_STATS_RELEASE_H

extern void release_table(Oid relid);

#endif							/* NOTIFY_STATS_RELEASE_H */
