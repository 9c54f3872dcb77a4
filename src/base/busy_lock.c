/*-------------------------------------------------------------------------
 *
 * busy_lock.c
 *	  Locks that are taken only if they are free.
 *
 * A process that waits in the queue of a lock holds up all that come after
 * it, and the locks that it holds already hold up others.  So we take only
 * locks that are free.  If one is not, the transaction is ended, and begun
 * again when a look shows that the lock is free.
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
 * How often at least a process looks whether a lock is free that it waits
 * for.
 */
#define LOCK_POLL_MS 50

/* The server has no such function: LockDatabaseObject, if the lock is free. */
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

/* Takes a lock that was not free; false if it still is not. */
bool
busy_lock_try(BusyLock lock)
{
	return OidIsValid(lock.type) ? try_lock_type(lock.type, lock.mode) :
		ConditionalLockRelationOid(lock.relid, lock.mode);
}

/* Takes a lock; false if somebody else has it. */
bool
busy_lock_take(BusyLock lock, BusyLock *busy)
{
	if (busy_lock_try(lock))
		return true;
	*busy = lock;
	return false;
}

/* Locks a relation; false if somebody else has it. */
bool
busy_lock_relation(Oid relid, LOCKMODE mode, BusyLock *busy)
{
	BusyLock	lock = {.relid = relid, .mode = mode};

	return busy_lock_take(lock, busy);
}

/* Whether a lock is free just now. */
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
 * Waits, outside of a transaction, until a lock is free, or until the time
 * has come that busy.until tells; returns whether it is free.  It does not
 * queue for the lock, and so lengthens no queue.
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
 * What the lock is on, for messages; palloc'd.  Within a transaction.
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
