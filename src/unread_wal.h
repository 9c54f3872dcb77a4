/*-------------------------------------------------------------------------
 *
 * unread_wal.h
 *	  Whether WAL that cannot be decoded any more has changes that matter.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_UNREAD_WAL_H
#define NOTIFY_STATS_UNREAD_WAL_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

/*
 * Whether no transaction of this database that starts to commit in a range of the
 * WAL has changed a catalog, or one of the relations with these file numbers (OIDs).
 * "restart" is the start of a record, no later than those of such a transaction, from
 * where on the WAL is there.  "end" must be on disk.
 */
extern bool unread_wal_is_irrelevant(XLogRecPtr restart, XLogRecPtr start, XLogRecPtr end,
									 List *filenumbers);

#endif							/* NOTIFY_STATS_UNREAD_WAL_H */
