/*-------------------------------------------------------------------------
 *
 * subscription.h
 *	  Tables that a subscription of this database writes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SUBSCRIPTION_H
#define NOTIFY_STATS_SUBSCRIPTION_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

/* The state of a subscription of this database. */
typedef struct SubscriptionState
{
	bool		enabled;
	bool		has_worker;		/* a running apply worker */
	XLogRecPtr	applied_lsn;	/* everything before this position of the
								 * publisher has been applied */
} SubscriptionState;

extern void subscription_read(Oid subid, SubscriptionState *state);
extern char *subscription_table_behind(Oid subid, List *rollups);
extern char *subscription_reason(Oid relid);

#endif							/* NOTIFY_STATS_SUBSCRIPTION_H */
