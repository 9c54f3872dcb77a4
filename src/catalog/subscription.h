/*-------------------------------------------------------------------------
 *
 * subscription.h
 *	  Tables that a subscription of this database writes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SUBSCRIPTION_H
#define NOTIFY_STATS_SUBSCRIPTION_H

extern char *subscription_reason(Oid relid);

#endif							/* NOTIFY_STATS_SUBSCRIPTION_H */
