/*-------------------------------------------------------------------------
 *
 * subscription.h
 *	  What a subscription of this database writes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SUBSCRIPTION_H
#define NOTIFY_STATS_SUBSCRIPTION_H

/*
 * Why a rollup cannot be kept in this table: a subscription writes to it, or to
 * a table that it is a partition of.  Palloc'd; NULL if none does.
 */
extern char *subscription_reason(Oid relid);

#endif							/* NOTIFY_STATS_SUBSCRIPTION_H */
