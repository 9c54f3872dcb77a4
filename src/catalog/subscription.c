/*-------------------------------------------------------------------------
 *
 * subscription.c
 *	  Tables that a subscription of this database writes.
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
#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
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
