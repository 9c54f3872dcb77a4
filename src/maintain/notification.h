/*-------------------------------------------------------------------------
 *
 * notification.h
 *	  Notifications of changed rollups to clients.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_NOTIFICATION_H
#define NOTIFY_STATS_NOTIFICATION_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

extern void notification_send(List *rollups, XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_NOTIFICATION_H */
