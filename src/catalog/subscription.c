/*-------------------------------------------------------------------------
 *
 * subscription.c
 *	  Tables that a subscription of this database writes.
 *
 * If these are sources, rollups are exact with respect to this server, and
 * as far behind the publisher as the subscription is.
 *
 * A publication of all tables, or of a schema, also contains the rollups of
 * the publisher and the tables of its extension.  If the subscriber maintained
 * the same rollups, changes would be counted twice.  It would also mistake the
 * publisher's position for its own.  So a rollup is not maintained while a
 * subscription writes to it.  Our own tables do not accept rows from other
 * servers.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_subscription.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "replication/origin.h"
#include "replication/worker_internal.h"
#include "storage/lwlock.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "compat.h"
#include "settings.h"
#include "subscription.h"

sql_function(notify_stats_keep_own_rows);

/* Returns the name of a subscription that writes to a table, or NULL. */
static char *
subscription_of(Oid relid)
{
	CatCList   *list = SearchSysCacheList1(SUBSCRIPTIONRELMAP,
										   ObjectIdGetDatum(relid));
	char	   *name = NULL;

	for (int i = 0; i < list->n_members && name == NULL; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;

		name = get_subscription_name(((Form_pg_subscription_rel) GETSTRUCT(tuple))->srsubid, true);
	}
	ReleaseSysCacheList(list);
	return name;
}

/*
 * Returns why a rollup in this table cannot be maintained: a subscription
 * writes to it, or to a table that it is a partition of.  Palloc'd; NULL if
 * there is none.
 */
char	   *
subscription_reason(Oid relid)
{
	char	   *name = subscription_of(relid);

	if (name == NULL && get_rel_relispartition(relid))
	{
		ListCell   *lc;

		foreach(lc, get_partition_ancestors(relid))
		{
			if (name == NULL)
				name = subscription_of(lfirst_oid(lc));
		}
	}
	return name == NULL ?
		NULL : psprintf("subscription \"%s\" writes to its table", name);
}

/*
 * Returns the position up to which the apply worker of a subscription has
 * received everything from the publisher and applied it, or 0.  This is
 * latest_end_lsn of pg_stat_subscription: a keepalive message carries the
 * position of the publisher's decoding, so what comes before it has been sent.
 */
static XLogRecPtr
worker_lsn(Oid subid, bool *has_worker)
{
	LogicalRepWorker *worker;
	XLogRecPtr	lsn = InvalidXLogRecPtr;

	LWLockAcquire(LogicalRepWorkerLock, LW_SHARED);
	worker = apply_worker_find(subid);
	*has_worker = worker != NULL;
	if (worker != NULL)
		lsn = worker->reply_lsn;
	LWLockRelease(LogicalRepWorkerLock);
	return lsn;
}

/*
 * Returns the end of the last transaction of the publisher that was applied,
 * or 0.  It is known without a worker, and while the publisher sends one
 * transaction after the other and no keepalive message.
 */
static XLogRecPtr
origin_lsn(Oid subid)
{
	char		name[NAMEDATALEN];
	ReplOriginId origin;

	/* as ReplicationOriginNameForLogicalRep, which 15 does not have */
	snprintf(name, sizeof(name), "pg_%u", subid);
	origin = replorigin_by_name(name, true);
	return origin == InvalidReplOriginId ?
		InvalidXLogRecPtr : replorigin_get_progress(origin, false);
}

/* Reads the state of a subscription; throws if there is none any more. */
void
subscription_read(Oid subid, SubscriptionState *state)
{
	HeapTuple	tuple = SearchSysCache1(SUBSCRIPTIONOID, ObjectIdGetDatum(subid));
	XLogRecPtr	lsn;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the subscription has been dropped")));
	state->enabled = ((Form_pg_subscription) GETSTRUCT(tuple))->subenabled;
	ReleaseSysCache(tuple);
	lsn = worker_lsn(subid, &state->has_worker);
	state->applied_lsn = Max(lsn, origin_lsn(subid));
}

/*
 * Returns the name of a source of these rollups (NIL: of any) that a
 * subscription has not copied yet; NULL if there is none.  Until then, the
 * position of the subscription does not apply to that table.
 */
char	   *
subscription_table_behind(Oid subid, List *rollups)
{
	static const char query[] =
	"SELECT f.relid::pg_catalog.text FROM " EXTENSION_SCHEMA ".fed_tables() f"
	" WHERE f.subscription OPERATOR(pg_catalog.=) $1 AND f.state OPERATOR(pg_catalog.<>) ALL ('{r,s}')"
	" AND ($2 OPERATOR(pg_catalog.=) '{}' OR f.rollup OPERATOR(pg_catalog.=) ANY ($2))"
	" ORDER BY 1 LIMIT 1";
	MemoryContext context = CurrentMemoryContext;
	Oid			argtypes[2] = {OIDOID, OIDARRAYOID};
	Datum		args[2] = {ObjectIdGetDatum(subid), catalog_oid_array(rollups)};
	SavedRole	saved = catalog_enter();
	char	   *name = NULL;

	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(query, 2, argtypes, args, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the tables of the subscription");
	if (SPI_processed > 0)
		name = MemoryContextStrdup(context,
								   SPI_getvalue(SPI_tuptable->vals[0],
												SPI_tuptable->tupdesc, 1));
	PopActiveSnapshot();
	catalog_leave(saved);
	return name;
}

/*
 * A trigger before each row of our own tables, and before TRUNCATE.  It
 * discards changes that arrive by a subscription, since they belong to another
 * server.
 */
Datum
notify_stats_keep_own_rows(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"keep_own_rows")));
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
	{
		if (IsLogicalWorker())
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cannot truncate \"%s\" by a subscription because it belongs to notify_stats",
							RelationGetRelationName(trigger->tg_relation)),
					 errhint("Do not publish the tables of the extension. The function notify_stats.check() shows the subscription.")));
		return PointerGetDatum(NULL);
	}
	if (IsLogicalWorker())
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}
