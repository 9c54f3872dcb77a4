/*-------------------------------------------------------------------------
 *
 * upgrade.h
 *	  Leaving the main stream for an upgrade of the server.
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
