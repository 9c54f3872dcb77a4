/*-------------------------------------------------------------------------
 *
 * busy_lock.h
 *	  Locks that are taken only if they are free.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_BUSY_LOCK_H
#define NOTIFY_STATS_BUSY_LOCK_H

#include "datatype/timestamp.h"
#include "storage/lockdefs.h"

/* A lock that was not free. */
typedef struct BusyLock
{
	Oid			relid;			/* InvalidOid: none */
	LOCKMODE	mode;
	TimestampTz until;			/* when to stop waiting for it; 0: never */
	Oid			type;			/* if valid, the lock is on this type, which
								 * is the type of values in that table */
} BusyLock;

extern bool busy_lock_try(BusyLock lock);
extern bool busy_lock_take(BusyLock lock, BusyLock *busy);
extern bool busy_lock_relation(Oid relid, LOCKMODE mode, BusyLock *busy);
extern bool busy_lock_wait(BusyLock busy);
extern void busy_lock_queue(BusyLock busy);
extern char *busy_lock_name(BusyLock busy);

#endif							/* NOTIFY_STATS_BUSY_LOCK_H */
