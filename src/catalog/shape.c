/*-------------------------------------------------------------------------
 *
 * shape.c
 *	  The catalogs' information about a rollup and its definition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_rewrite.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteSupport.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "busy_lock.h"
#include "catalog_version.h"
#include "compat.h"
#include "core.h"
#include "names.h"
#include "own_columns.h"
#include "own_table.h"
#include "range_table.h"
#include "settings.h"
#include "shape.h"
#include "subscription.h"
#include "type_parts.h"
#include "xact.h"

/* Shapes are kept for the next transactions as long as no catalog changes. */

static struct
{
	MemoryContext context;		/* of all shapes; NULL: none */
	CatalogStamp stamp;			/* of the first shape */
	List	   *shapes;			/* of RollupShape */
}			known;

/*
 * Discards the kept shapes if they may be outdated.  Must be called while none
 * is in use.
 */
void
shape_forget_outdated(void)
{
	if (known.context == NULL || catalog_stamp_holds(&known.stamp))
		return;
	MemoryContextDelete(known.context);
	known.context = NULL;
	known.shapes = NIL;
}

/*
 * Returns whether a kept shape is valid in this transaction.  If the
 * transaction has written, it may itself have changed catalogs.  Other
 * processes are not notified of that before it commits, or ever if it aborts.
 */
static bool
shapes_hold(void)
{
	return known.context != NULL &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		catalog_stamp_holds(&known.stamp);
}

/* Returns the kept shape of a rollup, or NULL. */
static RollupShape *
find_shape(Oid relid, Oid view)
{
	ListCell   *lc;

	foreach(lc, known.shapes)
	{
		RollupShape *shape = (RollupShape *) lfirst(lc);

		if (shape->relid == relid && shape->view == view)
			return shape;
	}
	return NULL;
}

/*
 * Keeps a shape, in place of an older one of the same rollup.  If it may be
 * valid in this transaction only, it stays in the current memory context.
 */
static void
keep_shape(RollupShape *shape, uint64 version)
{
	MemoryContext context;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	if (known.context == NULL)
	{
		known.context = AllocSetContextCreate(CacheMemoryContext,
											  "notify_stats rollups",
											  ALLOCSET_SMALL_SIZES);
		catalog_stamp(&known.stamp, version);
	}
	MemoryContextSetParent(shape->context, known.context);
	context = MemoryContextSwitchTo(known.context);
	known.shapes = lcons(shape, known.shapes);
	MemoryContextSwitchTo(context);
}

/*
 * Locks tables and their partitions against changes of their shape, if the
 * locks are free.
 */
bool
shape_lock_sources(List *relids, BusyLock *busy)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, relids)
	{
		if (!busy_lock_relation(lfirst_oid(lc), AccessShareLock, busy))
			return false;
		foreach(lc2, find_all_inheritors(lfirst_oid(lc), NoLock, NULL))
		{
			if (!busy_lock_relation(lfirst_oid(lc2), AccessShareLock, busy))
				return false;
		}
	}
	return true;
}

/*
 * Locks a source, if it is partitioned, so that no partitions can be added or
 * removed.
 */
static bool
lock_partitioning(Oid source, BusyLock *busy)
{
	ListCell   *lc;

	if (get_rel_relkind(source) != RELKIND_PARTITIONED_TABLE)
		return true;
	foreach(lc, find_all_inheritors(source, NoLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_PARTITIONED_TABLE &&
			!busy_lock_relation(lfirst_oid(lc), ShareUpdateExclusiveLock,
								busy))
			return false;
	}
	/* partitions that were added before the lock was taken */
	return shape_lock_sources(list_make1_oid(source), busy);
}

/* Locks the enums that occur in the values of a rollup's source. */
static bool
lock_labels(const RollupShape *shape, Oid source, BusyLock *busy)
{
	List	   *parts = type_parts(definition_source_types(shape->definition,
														   source));
	ListCell   *lc;

	foreach(lc, type_enums(parts))
	{
		BusyLock	lock = {.relid = source, .mode = ShareLock,
		.type = lfirst_oid(lc)};

		if (!busy_lock_take(lock, busy))
			return false;
	}
	return true;
}

/*
 * Locks the sources of an opened rollup so that no partitions can be added or
 * removed.  With "labels", also locks its enums against changes of their
 * labels.  Takes only locks that are free.  Writers do not wait for these
 * locks.
 */
bool
shape_lock_facts(const RollupShape *shape, bool labels, BusyLock *busy)
{
	ListCell   *lc;

	foreach(lc, shape->definition->sources)
	{
		if (!lock_partitioning(lfirst_oid(lc), busy) ||
			(labels && !lock_labels(shape, lfirst_oid(lc), busy)))
			return false;
	}
	return true;
}

/*
 * Returns whether ALTER TYPE may change the order of the group columns.  Then
 * indexes on them may no longer find groups or keep them unique.
 */
bool
shape_order_may_change(const RollupShape *shape)
{
	List	   *types = NIL;

	for (int i = 0; i < shape->definition->ngroups; i++)
		types = list_append_unique_oid(types,
									   shape->definition->groups[i].type);
	return type_relations(type_parts(types)) != NIL;
}

/* Lists the indexes of a rollup's table, including those created by users. */
static List *
list_indexes(const RollupShape *shape)
{
	Relation	table = relation_open(shape->relid, NoLock);
	List	   *indexes = RelationGetIndexList(table);

	relation_close(table, NoLock);
	return indexes;
}

/*
 * Locks the table and its indexes so that the indexes can be rebuilt, if the
 * locks are free.
 */
bool
shape_lock_indexes(const RollupShape *shape, BusyLock *busy)
{
	ListCell   *lc;

	if (!busy_lock_relation(shape->relid, ShareLock, busy))
		return false;
	foreach(lc, list_indexes(shape))
	{
		if (!busy_lock_relation(lfirst_oid(lc), AccessExclusiveLock, busy))
			return false;
	}
	return true;
}

/* Rebuilds the indexes, as the current user, who owns the table. */
void
shape_make_indexes_again(const RollupShape *shape)
{
	ListCell   *lc;

	foreach(lc, list_indexes(shape))
	{
		Oid			index = lfirst_oid(lc);

		xact_execute(psprintf("REINDEX INDEX %s",
							  qualified_name(index)));
	}
}

static int
compare_oids(const void *a, const void *b)
{
	return list_oid_cmp((const ListCell *) a, (const ListCell *) b);
}

/* Returns whether a sorted list of OIDs contains this one. */
static bool
is_listed(const List *relids, Oid relid)
{
	ListCell	key = {.oid_value = relid};

	return relids != NIL &&
		bsearch(&key, relids->elements, list_length(relids), sizeof(ListCell),
				compare_oids) != NULL;
}

/* Returns the statement that detaches a table which is read as a partition. */
static char *
detach_statement(Oid relid)
{
	Oid			parent = get_partition_parent(relid, true);

	return psprintf("ALTER TABLE %s DETACH PARTITION %s;",
					qualified_name(parent),
					qualified_name(relid));
}

/*
 * Throws if a table that a definition reads is written by notify_stats itself.
 */
static void
check_not_ours(Oid relid, Oid source, const List *relids)
{
	bool		partition = relid != source;

	if (is_listed(relids, relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("definition reads \"%s\", which is a rollup",
						get_rel_name(relid)),
				 partition ?
				 errdetail("The rollup is a partition of \"%s\". Rollups of rollups are not supported.",
						   get_rel_name(source)) :
				 errdetail("Rollups of rollups are not supported."),
				 partition ?
				 errhint("Run: %s Then rebuild the rollups that have failed.",
						 detach_statement(relid)) :
				 errhint("Use the source tables of \"%s\".",
						 get_rel_name(relid))));
	if (get_rel_namespace(relid) == get_namespace_oid(EXTENSION_SCHEMA, false))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("definition reads \"%s\", which belongs to notify_stats",
						get_rel_name(relid)),
				 errdetail("Maintaining such a rollup would change the rows that it counts."),
				 partition ? errhint("Run: %s", detach_statement(relid)) :
				 errhint("Use a user table.")));
}

/*
 * Throws if a definition reads tables that notify_stats itself writes, as
 * sources or as their partitions: it would count its own writes.  "relids" are
 * the OIDs of all rollups, in order.
 */
void
shape_check_sources(const Definition *definition, const List *relids)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, definition->sources)
	{
		Oid			source = lfirst_oid(lc);

		check_not_ours(source, source, relids);
		if (get_rel_relkind(source) == RELKIND_PARTITIONED_TABLE)
			foreach(lc2, find_all_inheritors(source, NoLock, NULL))
				check_not_ours(lfirst_oid(lc2), source, relids);
	}
}

/*
 * Returns a hash of the stored definition.  Renames do not change it; CREATE
 * OR REPLACE VIEW does.
 */
int64
shape_fingerprint(Oid view)
{
	HeapTuple	rule = SearchSysCache2(RULERELNAME, ObjectIdGetDatum(view),
									   PointerGetDatum(ViewSelectRuleName));
	bool		isnull;
	char	   *action;
	int64		hash;

	if (!HeapTupleIsValid(rule))
		elog(ERROR, "cache lookup failed for the rule of view %u", view);
	action = TextDatumGetCString(SysCacheGetAttr(RULERELNAME, rule,
												 Anum_pg_rewrite_ev_action,
												 &isnull));
	hash = (int64) hash_bytes_extended((unsigned char *) action,
									   strlen(action), 0);
	ReleaseSysCache(rule);
	return hash;
}

/*
 * Returns the owner of the table.  Throws unless it also owns the definition.
 */
static Oid
common_owner(Relation table, Relation view)
{
	if (table->rd_rel->relowner != view->rd_rel->relowner)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("rollup \"%s\" and its definition have different owners",
						RelationGetRelationName(table)),
				 errhint("Run: ALTER VIEW %s OWNER TO %s;",
						 qualified_name(RelationGetRelid(view)),
						 quote_identifier(GetUserNameFromId(table->rd_rel->relowner, false)))));
	return table->rd_rel->relowner;
}

/*
 * Throws unless the current user, the owner, may read everything that the
 * definition reads.  Checks this as the executor does.
 */
static bool
check_privileges(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, check_privileges, context);
	check_query_permissions((Query *) node);
	return query_tree_walker((Query *) node, check_privileges, context, 0);
}

/*
 * Uses the column names of the table, since columns of the table or of the
 * view may have been renamed.  Throws if the columns themselves differ.
 */
static void
use_table_names(RollupShape *rollup, TupleDesc table)
{
	own_table_check_columns(rollup->name, table, rollup->desc,
							rollup->columns);
	for (int i = 0; i < rollup->desc->natts; i++)
		TupleDescAttr(rollup->desc, i)->attname =
			TupleDescAttr(table, rollup->columns[i] - 1)->attname;
	for (int i = 0; i < rollup->definition->ngroups; i++)
	{
		GroupColumn *group = &rollup->definition->groups[i];

		group->name = NameStr(TupleDescAttr(rollup->desc,
											group->attnum - 1)->attname);
	}
	for (int i = 0; i < rollup->definition->nmeasures; i++)
	{
		Measure    *measure = &rollup->definition->measures[i];

		measure->name = NameStr(TupleDescAttr(rollup->desc,
											  measure->attnum - 1)->attname);
	}
}

static AttrNumber *
first_columns(int n)
{
	AttrNumber *columns = palloc(sizeof(AttrNumber) * (n + 1));

	for (int i = 0; i < n; i++)
		columns[i] = i + 1;
	return columns;
}

/* Throws unless the table is as durable as the position that belongs to it. */
static void
check_table(const RollupShape *rollup, Relation table)
{
	if (table->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table of rollup %s is unlogged", rollup->name),
				 errdetail("A crash would empty the table, and its rows would not be counted again."),
				 errhint("Run: ALTER TABLE %s SET LOGGED;", rollup->name)));
}

static List *
source_descs(const Definition *definition)
{
	List	   *descs = NIL;
	ListCell   *lc;

	foreach(lc, definition->sources)
	{
		Relation	source = relation_open(lfirst_oid(lc), NoLock);

		descs = lappend(descs, CreateTupleDescCopy(RelationGetDescr(source)));
		relation_close(source, NoLock);
	}
	return descs;
}

/*
 * Compiles the definition.  The relations must be locked.  "column_names" are
 * stored for the rollup.  "all" are the OIDs of all rollups.
 */
static void
compile(RollupShape *shape, Relation table, Relation view, Query *query,
		const List *column_names, const List *all)
{
	SavedRole	saved;

	shape->name = qualified_name(RelationGetRelid(table));
	shape->view_name = qualified_name(RelationGetRelid(view));
	shape->owner = common_owner(table, view);
	shape->fingerprint = shape_fingerprint(shape->view);
	shape->desc = CreateTupleDescCopy(RelationGetDescr(view));

	saved = xact_become(shape->owner);
	shape->definition = definition_compile(query);
	(void) check_privileges((Node *) query, NULL);
	xact_restore_role(saved);
	shape_check_sources(shape->definition, all);
	shape->source_descs = source_descs(shape->definition);
	shape->columns = own_columns_find(shape->relid, RelationGetDescr(table),
									  shape->desc, column_names,
									  &shape->columns_stored);
	shape->first_columns = first_columns(shape->desc->natts);
	use_table_names(shape, RelationGetDescr(table));
	check_table(shape, table);
	shape->group_index = own_table_find_index(table, shape->definition,
											  shape->columns);
	shape->obstacle = subscription_reason(shape->relid);
}

/* Throws if alter_rollup() has detached the definition; see replacement.c. */
static void
check_not_detached(const RollupShape *shape, List *relids)
{
	if (!list_member_oid(relids, shape->relid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rollup %s has no definition",
					core_display_name(shape->relid)),
			 errhint("Run: SELECT notify_stats.alter_rollup(%s, definition);",
					 quote_literal_cstr(qualified_name(core_users_rollup(shape->relid))))));
}

/*
 * Locks what a definition reads, and stores the list in the shape for the next
 * time.
 */
static bool
lock_and_note_sources(RollupShape *shape, Query *query, BusyLock *busy)
{
	List	   *relids = range_table_relations(query);
	ListCell   *lc;

	check_not_detached(shape, relids);
	if (!shape_lock_sources(relids, busy))
		return false;
	foreach(lc, relids)
		shape->reads = list_concat_unique_oid(shape->reads,
											  find_all_inheritors(lfirst_oid(lc), NoLock, NULL));
	return true;
}

/*
 * The same for the composite types of the values, after the definition was
 * compiled.
 */
static bool
lock_and_note_types(RollupShape *shape, BusyLock *busy)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, shape->definition->sources)
	{
		foreach(lc2, type_relations(type_parts(definition_source_types(shape->definition,
																	   lfirst_oid(lc)))))
		{
			if (!busy_lock_relation(lfirst_oid(lc2), AccessShareLock, busy))
				return false;
			shape->reads = list_append_unique_oid(shape->reads,
												  lfirst_oid(lc2));
		}
	}
	return true;
}

/*
 * Locks everything that a definition depends on, and compiles the locked
 * state.
 */
static bool
compile_locked(RollupShape *shape, Relation table, Relation view, Query *query,
			   const List *column_names, const List *all, BusyLock *busy)
{
	int			nlocked;

	if (!lock_and_note_sources(shape, query, busy))
		return false;
	do
	{
		compile(shape, table, view, query, column_names, all);
		nlocked = list_length(shape->reads);
		if (!lock_and_note_types(shape, busy))
			return false;
	} while (list_length(shape->reads) > nlocked);
	return true;
}

/*
 * Creates the shape of a locked rollup.  Returns NULL if the lock of a source
 * is not free.
 */
static RollupShape *
make_shape(Oid relid, Oid view_relid, const List *column_names,
		   const List *all, BusyLock *busy)
{
	uint64		version = catalog_version();
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "notify_stats rollup",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext caller_context = MemoryContextSwitchTo(context);
	RollupShape *shape = palloc0(sizeof(RollupShape));
	Relation	table = relation_open(relid, NoLock);
	Relation	view = relation_open(view_relid, NoLock);
	Query	   *query = copyObject(get_view_query(view));	/* the relcache's own
															 * query may be freed */
	bool		locked;

	shape->context = context;
	shape->relid = relid;
	shape->view = view_relid;
	locked = compile_locked(shape, table, view, query, column_names, all,
							busy);
	relation_close(view, NoLock);
	relation_close(table, NoLock);
	MemoryContextSwitchTo(caller_context);
	if (!locked)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	keep_shape(shape, version);
	return shape;
}

/*
 * Returns a kept shape with all its locks, if it is still valid; otherwise
 * NULL.  If a lock is not free, sets *busy.
 */
static RollupShape *
reuse_shape(Oid relid, Oid view, BusyLock *busy)
{
	RollupShape *shape = find_shape(relid, view);
	ListCell   *lc;

	if (shape == NULL || !shapes_hold())
		return NULL;
	foreach(lc, shape->reads)
	{
		if (!busy_lock_relation(lfirst_oid(lc), AccessShareLock, busy))
			return NULL;
	}

	/*
	 * after the locks are taken it cannot change, but it may have changed
	 * before
	 */
	return shapes_hold() ? shape : NULL;
}

/*
 * Locks a rollup and what it reads against changes of their shape until the
 * transaction ends, and compiles the definition as the rollup's owner.  Takes
 * only locks that are free.  If one is not free, stores it in *busy.  The
 * caller should then end the transaction, since other sessions may wait for
 * the locks that it holds, and call busy_lock_wait.  "column_names" are stored
 * for the rollup (own_columns.c).  "all" are the OIDs of all rollups, in order.
 */
ShapeAccess
shape_open(RollupShape **shape, Oid relid, Oid view, const List *column_names,
		   const List *all, BusyLock *busy)
{
	busy->relid = InvalidOid;
	if (!busy_lock_relation(relid, RowExclusiveLock, busy) ||
		!busy_lock_relation(view, AccessShareLock, busy))
		return SHAPE_BUSY;
	*shape = reuse_shape(relid, view, busy);
	if (OidIsValid(busy->relid))
		return SHAPE_BUSY;
	if (*shape != NULL)
		return SHAPE_READY;
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)) ||
		!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(view)))
		return SHAPE_GONE;
	*shape = make_shape(relid, view, column_names, all, busy);
	return *shape == NULL ? SHAPE_BUSY : SHAPE_READY;
}

/* Returns whether the shape is kept and nothing was altered since. */
bool
shape_is_kept(Oid relid, Oid view)
{
	return shapes_hold() && find_shape(relid, view) != NULL;
}

/*
 * Returns the columns of an opened rollup, quoted, in the definition's order.
 */
char	   *
shape_columns(const RollupShape *shape)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < shape->desc->natts; i++)
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(shape->desc,
																i)->attname)));
	return buf.data;
}

/* Returns its group columns, each after a prefix such as "d.". */
char	   *
shape_group_columns(const Definition *definition, const char *prefix)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < definition->ngroups; i++)
		appendStringInfo(&buf, "%s%s%s", i > 0 ? ", " : "", prefix,
						 quote_identifier(definition->groups[i].name));
	return buf.data;
}
