/*-------------------------------------------------------------------------
 *
 * unread_wal.h
 *	  Checks WAL that can no longer be decoded for relevant changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_UNREAD_WAL_H
#define NOTIFY_STATS_UNREAD_WAL_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

extern bool unread_wal_is_irrelevant(XLogRecPtr restart, XLogRecPtr start,
									 XLogRecPtr end,
									 List *filenumbers);

#endif							/* NOTIFY_STATS_UNREAD_WAL_H */
