/*-------------------------------------------------------------------------
 *
 * core.c
 *	  Which rollups are the cores of which view.
 *
 * A computed rollup is a view over one or more rollups, its cores, and over
 * tables that the cores do not read.  The cores are kept like any rollup, by
 * code that does not know of the view.  A third view has the user's query.
 *
 * The view uses its cores, and each core is an automatic dependent of the
 * view, as a serial column's sequence is of the column: DROP VIEW also drops
 * the cores, and the server refuses to drop a core alone.  The definition is
 * an internal dependent of the view, as that of a rollup is of its table.
 * A view that does not group again depends on the keys that make that right.
 * pg_dump knows such circles.  It first creates a view without the query.  Of
 * these dependencies a restore has only that of the view on its cores; the
 * others are made again when the worker sees the restored rollups, and when the
 * view gets its query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_type.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteSupport.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog.h"
#include "core.h"
#include "direct.h"
#include "names.h"
#include "settings.h"

static ObjectAddress
address_of(Oid catalog, Oid object)
{
	ObjectAddress address;

	ObjectAddressSet(address, catalog, object);
	return address;
}

/* Makes a relation dependent on another one. */
void
relation_make_dependent(Oid dependent, Oid relid, char type)
{
	ObjectAddress dependent_address = address_of(RelationRelationId, dependent);
	ObjectAddress address = address_of(RelationRelationId, relid);

	recordDependencyOn(&dependent_address, &address, (DependencyType) type);
}

/* Returns whether an object has a dependency of this type on another. */
static bool
is_dependent(const ObjectAddress *dependent, const ObjectAddress *referenced,
			 char type)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(dependent->classId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(dependent->objectId));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2,
							  keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);

		found |= row->refclassid == referenced->classId &&
			row->refobjid == referenced->objectId && row->deptype == type;
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

/* Returns whether a relation itself has a dependency of this type on another. */
bool
relation_is_dependent(Oid dependent, Oid relid, char type)
{
	ObjectAddress dependent_address = address_of(RelationRelationId, dependent);
	ObjectAddress address = address_of(RelationRelationId, relid);

	return is_dependent(&dependent_address, &address, type);
}

static Computed *
make_computed(HeapTuple tuple, TupleDesc desc)
{
	Computed   *computed = palloc0(sizeof(Computed));
	bool		isnull;
	Datum	   *cores;
	int			n;

	computed->view = DatumGetObjectId(heap_getattr(tuple, COMPUTED_ROLLUP,
												   desc, &isnull));
	computed->definition =
		DatumGetObjectId(heap_getattr(tuple, COMPUTED_DEFINITION, desc,
									  &isnull));
	deconstruct_array(DatumGetArrayTypeP(heap_getattr(tuple, COMPUTED_CORES,
													  desc, &isnull)),
					  REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT, &cores,
					  NULL, &n);
	for (int i = 0; i < n; i++)
		computed->cores = lappend_oid(computed->cores,
									  DatumGetObjectId(cores[i]));
	return computed;
}

/*
 * Lists (of Computed) the computed rollups of this database, according to the
 * latest state of the catalog.
 */
List	   *
core_list_computed(void)
{
	List	   *list = NIL;
	TupleDesc	desc;
	ListCell   *lc;

	foreach(lc, catalog_read(CATALOG_COMPUTED_ROLLUP, &desc))
	{
		Computed   *computed = make_computed((HeapTuple) lfirst(lc), desc);

		if (get_rel_relkind(computed->view) == RELKIND_VIEW)
			list = lappend(list, computed);
	}
	return list;
}

/* Returns the computed rollup that is this view, or NULL. */
Computed   *
core_find_computed(Oid view)
{
	ListCell   *lc;

	foreach(lc, core_list_computed())
	{
		if (((Computed *) lfirst(lc))->view == view)
			return (Computed *) lfirst(lc);
	}
	return NULL;
}

/* Returns the computed rollup that has this core, or NULL. */
static Computed *
computed_over(Oid core)
{
	ListCell   *lc;

	foreach(lc, core_list_computed())
	{
		if (list_member_oid(((Computed *) lfirst(lc))->cores, core))
			return (Computed *) lfirst(lc);
	}
	return NULL;
}

/*
 * Returns the OIDs of the rollups of which a rollup consists: the cores of a
 * computed one, otherwise the relation itself, whatever it is.
 */
List	   *
core_parts(Oid relid)
{
	const Computed *computed = core_find_computed(relid);

	return computed ? computed->cores : list_make1_oid(relid);
}

/*
 * Returns the rollup that the user has created: the view if this is a core,
 * otherwise the relation itself.
 */
Oid
core_users_rollup(Oid relid)
{
	const Computed *computed = computed_over(relid);

	return computed ? computed->view : relid;
}

/*
 * Returns the name of a rollup for messages, schema-qualified and quoted:
 * "name", or "name (core name)"; palloc'd.
 */
char	   *
core_display_name(Oid relid)
{
	const Computed *computed = computed_over(relid);
	char	   *name = qualified_name_or_null(relid);

	if (name == NULL)
		return psprintf("with OID %u", relid);
	if (computed == NULL)
		return name;
	return psprintf("%s (core %s)", qualified_name(computed->view), name);
}

/* Enters a computed rollup into the catalog. */
void
core_register(const Computed *computed)
{
	Oid			argtypes[3] = {OIDOID, OIDOID, OIDARRAYOID};
	Datum		args[3] = {ObjectIdGetDatum(computed->view),
		ObjectIdGetDatum(computed->definition),
	catalog_oid_array(computed->cores)};

	catalog_execute("INSERT INTO " EXTENSION_SCHEMA ".computed_rollup (rollup, definition, cores)"
					" VALUES ($1, $2, $3::pg_catalog.regclass[])",
					3, argtypes, args, NULL);
}

static bool
depend_once(Oid dependent, Oid relid, char type)
{
	if (get_rel_name(dependent) == NULL ||
		relation_is_dependent(dependent, relid, type))
		return false;
	relation_make_dependent(dependent, relid, type);
	return true;
}

/*
 * Makes the view dependent on the keys without which it would repeat rows of
 * its cores, as the server does for views that rely on a primary key.  Returns
 * true if anything was written.  Does not wait for the view's lock: one rollup
 * must not stop the others.
 */
static bool
depend_on_keys(const Computed *computed)
{
	Relation	view;
	List	   *keys;
	ObjectAddress rule;
	bool		written = false;
	ListCell   *lc;

	if (!ConditionalLockRelationOid(computed->view, AccessShareLock))
	{
		ereport(LOG,
				(errmsg("could not make rollup %s dependent on the keys of its tables: its view is locked",
						qualified_name(computed->view)),
				 errhint("Call notify_stats.rebuild().")));
		return false;
	}
	view = try_relation_open(computed->view, NoLock);
	if (view == NULL)
		return false;
	keys = direct_keys(copyObject(get_view_query(view)), computed->cores);
	relation_close(view, NoLock);
	if (keys == NIL)
		return false;
	rule = address_of(RewriteRelationId,
					  get_rewrite_oid(computed->view, ViewSelectRuleName,
									  false));
	foreach(lc, keys)
	{
		ObjectAddress key = address_of(ConstraintRelationId, lfirst_oid(lc));

		if (is_dependent(&rule, &key, DEPENDENCY_NORMAL))
			continue;
		recordDependencyOn(&rule, &key, DEPENDENCY_NORMAL);
		written = true;
	}
	return written;
}

/*
 * Makes the cores and the definition dependent on the view, and the view on
 * the keys it relies on, where they are not.  Returns true if anything was
 * written.
 */
bool
core_make_dependent(const Computed *computed)
{
	bool		written = depend_once(computed->definition, computed->view,
									  DEPENDENCY_INTERNAL);
	ListCell   *lc;

	foreach(lc, computed->cores)
		written |= depend_once(lfirst_oid(lc), computed->view,
							   DEPENDENCY_AUTO);
	return depend_on_keys(computed) || written;
}

/*
 * If a rollup is a core, restores the dependencies of its computed rollup,
 * which a dump does not contain.  Returns true if anything was written.
 */
bool
core_adopt(Oid core)
{
	const Computed *computed = computed_over(core);

	return computed != NULL && core_make_dependent(computed);
}

/* Deletes the entries of computed rollups whose view has been dropped. */
void
core_forget_dropped(void)
{
	catalog_execute("DELETE FROM " EXTENSION_SCHEMA ".computed_rollup r WHERE NOT EXISTS"
					" (SELECT FROM pg_catalog.pg_class c WHERE c.oid = r.rollup)",
					0, NULL, NULL, NULL);
}
