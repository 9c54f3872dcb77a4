/*-------------------------------------------------------------------------
 *
 * upgrade.h
 *	  Preparing the main stream for pg_upgrade, and resuming it afterwards.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_UPGRADE_H
#define NOTIFY_STATS_UPGRADE_H

#include "stream.h"

extern bool upgrade_end(const StreamRow *row);
extern void upgrade_prepare(void);
extern void upgrade_cancel(void);

#endif							/* NOTIFY_STATS_UPGRADE_H */
