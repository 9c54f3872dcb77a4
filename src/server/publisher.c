/*-------------------------------------------------------------------------
 *
 * publisher.c
 *	  The SQL function that waits for the changes of a publisher, whose tables
 *	  this server receives by a subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_subscription.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "core.h"
#include "functions.h"
#include "slot.h"
#include "subscription.h"

sql_function(notify_stats_wait_for_publisher);

/*
 * The position of a subscription has to be polled.  A wait looks at it again
 * after this part of the time that it has taken so far, but at least once in
 * MAX_REST_MS.
 */
#define REST_DIVISOR 10
#define MAX_REST_MS 100

/* What wait_for_publisher() waits for. */
typedef struct PublisherWait
{
	Oid			subid;
	const char *name;			/* of the subscription */
	XLogRecPtr	token;			/* position of the publisher */
	List	   *rollups;		/* NIL: all */
	TimestampTz start;
	int64		timeout;		/* in ms */

	/* as of the last look */
	const char *table_behind;	/* a source that is not copied yet, or NULL */
	SubscriptionState state;
} PublisherWait;

/*
 * Looks at the subscription; returns whether everything before the token has
 * been applied.  The tables come first: what was copied before has all changes
 * up to the position that the subscription has after that.
 */
static bool
is_received(PublisherWait *wait, bool first)
{
	AcceptInvalidationMessages();
	if (first || wait->table_behind != NULL)
		wait->table_behind = subscription_table_behind(wait->subid,
													   wait->rollups);
	subscription_read(wait->subid, &wait->state);
	return wait->table_behind == NULL &&
		wait->state.applied_lsn >= wait->token;
}

/* Throws for a subscription that will not go on by itself. */
static void
check_enabled(const PublisherWait *wait)
{
	if (!wait->state.enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("subscription \"%s\" is disabled", wait->name),
				 errdetail("It has not reached position %X/%X of the publisher.",
						   LSN_FORMAT_ARGS(wait->token)),
				 errhint("Run ALTER SUBSCRIPTION %s ENABLE. If an error has disabled it, the server log has the error.",
						 quote_identifier(wait->name))));
}

/* Throws in the same way as wait_for_lsn(). */
static void
complain_of_timeout(const PublisherWait *wait)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("timed out while waiting for position %X/%X of the publisher",
					LSN_FORMAT_ARGS(wait->token)),
			 !wait->state.has_worker ?
			 errdetail("Subscription \"%s\" has no apply worker.", wait->name) :
			 wait->table_behind != NULL ?
			 errdetail("Subscription \"%s\" has not copied table %s yet.",
					   wait->name, wait->table_behind) :
			 errdetail("Subscription \"%s\" has reached position %X/%X.",
					   wait->name, LSN_FORMAT_ARGS(wait->state.applied_lsn)),
			 errhint("If a worker of the subscription has ended with an error, the server log has the error. notify_stats.check() shows what else is wrong.")));
}

/* Waits until the subscription has applied everything before the token. */
static bool
wait_until_received(PublisherWait *wait)
{
	bool		first = true;

	while (!is_received(wait, first))
	{
		int64		elapsed = (GetCurrentTimestamp() - wait->start) / 1000;
		int64		rest = Max(1, elapsed / REST_DIVISOR);

		first = false;
		check_enabled(wait);
		if (elapsed >= wait->timeout)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(Min(rest, MAX_REST_MS), wait->timeout - elapsed),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/*
 * Waits until every transaction before a position of the publisher is in the
 * rollups: first until it is applied here, then until it is counted.
 */
Datum
notify_stats_wait_for_publisher(PG_FUNCTION_ARGS)
{
	PublisherWait wait = {0};
	bool		no_throw = !PG_ARGISNULL(4) && PG_GETARG_BOOL(4);

	check_primary();
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null",
						PG_ARGISNULL(0) ? "token" : "subscription")));
	wait.start = GetCurrentTimestamp();
	wait.name = NameStr(*PG_GETARG_NAME(1));
	wait.subid = get_subscription_oid(wait.name, false);
	wait.token = slot_normalize_lsn(PG_GETARG_LSN(0));
	wait.timeout = timeout_argument(fcinfo, 2);
	if (!PG_ARGISNULL(3))
		wait.rollups = core_parts(PG_GETARG_OID(3));

	/* a rollup that has failed, or is none, is an error at once */
	(void) wait_until_applied(InvalidXLogRecPtr, wait.rollups, wait.start, 0,
							  true);
	if (!wait_until_received(&wait))
	{
		if (!no_throw)
			complain_of_timeout(&wait);
		PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(wait_until_applied(slot_written_lsn(), wait.rollups,
									  wait.start, wait.timeout, no_throw));
}
