/*-------------------------------------------------------------------------
 *
 * busy_lock.c
 *	  Locks that are taken only if they are free.
 *
 * A process that waits in the queue of a lock blocks all requests queued after
 * it, and the locks that it already holds block other processes.  So we take
 * only locks that are free.  If one is not free, the transaction is ended.  A
 * new one is begun when a poll shows that the lock is free.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "busy_lock.h"
#include "names.h"
#include "xact.h"

/*
 * Longest interval at which a process polls whether a lock that it waits for
 * is free.
 */
#define LOCK_POLL_MS 50

/*
 * Takes a lock on a type if it is free.  This is a conditional
 * LockDatabaseObject, which the server does not have.
 */
static bool
try_lock_type(Oid type, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, TypeRelationId, type, 0);
	if (LockAcquire(&tag, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

/* Takes the lock if it is free; returns false if it is not. */
bool
busy_lock_try(BusyLock lock)
{
	return OidIsValid(lock.type) ? try_lock_type(lock.type, lock.mode) :
		ConditionalLockRelationOid(lock.relid, lock.mode);
}

/* The same, but also reports in *busy a lock that is not free. */
bool
busy_lock_take(BusyLock lock, BusyLock *busy)
{
	if (busy_lock_try(lock))
		return true;
	*busy = lock;
	return false;
}

/*
 * Locks a relation if the lock is free.  Otherwise returns false, with the
 * lock in *busy.
 */
bool
busy_lock_relation(Oid relid, LOCKMODE mode, BusyLock *busy)
{
	BusyLock	lock = {.relid = relid, .mode = mode};

	return busy_lock_take(lock, busy);
}

/* Returns whether a lock is currently free. */
static bool
is_lock_free(BusyLock busy)
{
	bool		result;

	xact_begin();
	result = busy_lock_try(busy);
	xact_commit();
	return result;
}

/*
 * Waits, outside of a transaction, until a lock is free or until the time
 * busy.until.  Returns whether the lock is free.  It polls, and so does not
 * lengthen the queue of the lock.
 */
bool
busy_lock_wait(BusyLock busy)
{
	long		milliseconds = 1;

	while (!is_lock_free(busy))
	{
		if (busy.until != 0 && GetCurrentTimestamp() >= busy.until)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, milliseconds,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		milliseconds = Min(2 * milliseconds, LOCK_POLL_MS);
	}
	return true;
}

/*
 * Waits for a lock in its queue and takes it, for the session of a user, in
 * which a statement waits in that way.
 */
void
busy_lock_queue(BusyLock busy)
{
	if (OidIsValid(busy.type))
		LockDatabaseObject(TypeRelationId, busy.type, 0, busy.mode);
	else
		LockRelationOid(busy.relid, busy.mode);
}

/*
 * Returns a name of the locked object for messages; palloc'd.  Must be called
 * within a transaction.
 */
char	   *
busy_lock_name(BusyLock busy)
{
	char	   *name;

	if (OidIsValid(busy.type))
		return psprintf("type %s", format_type_be(busy.type));
	name = qualified_name_or_null(busy.relid);
	return name ? name : pstrdup("a table that no longer exists");
}
