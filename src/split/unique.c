/*-------------------------------------------------------------------------
 *
 * unique.c
 *	  Whether columns of a FROM item identify its rows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "nodes/parsenodes.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "unique.h"

/*
 * Returns whether an index, a row of pg_index, makes its columns unique in all
 * rows, now and at each moment of a transaction.
 */
bool
unique_index_holds(HeapTuple index)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);

	return form->indisunique && form->indimmediate && form->indisvalid &&
		heap_attisnull(index, Anum_pg_index_indpred, NULL);
}

/* Returns whether a unique index covers no other columns than these. */
static bool
is_key(Oid index, const Bitmapset *columns)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	result = unique_index_holds(tuple);
	for (int i = 0; result && i < form->indnkeyatts; i++)
	{
		AttrNumber	attnum = form->indkey.values[i];

		result = attnum > 0 && bms_is_member(attnum, columns);
	}
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Returns a unique index of a table that covers no other columns than these, or
 * InvalidOid.  Rows with nulls may still be equal; no join condition is true
 * for them.
 */
static Oid
find_key(Oid relid, const Bitmapset *columns, bool constraint)
{
	Relation	table;
	Oid			key = InvalidOid;
	ListCell   *lc;

	/* a key does not cover tables that inherit from this one */
	if (columns == NULL ||
		(get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE &&
		 has_subclass(relid)))
		return InvalidOid;
	table = table_open(relid, AccessShareLock);
	foreach(lc, RelationGetIndexList(table))
	{
		Oid			index = lfirst_oid(lc);

		if (!OidIsValid(key) && is_key(index, columns) &&
			(!constraint || OidIsValid(get_index_constraint(index))))
			key = index;
	}
	table_close(table, NoLock);
	return key;
}

/* Returns whether a unique index covers no other columns than these. */
bool
unique_in_table(Oid relid, const Bitmapset *columns)
{
	return OidIsValid(find_key(relid, columns, false));
}

/* Returns the constraint of such an index, or InvalidOid if none has one. */
Oid
unique_constraint(Oid relid, const Bitmapset *columns)
{
	Oid			key = find_key(relid, columns, true);

	return OidIsValid(key) ? get_index_constraint(key) : InvalidOid;
}

/* Returns whether all expressions of a clause are among output columns. */
static bool
covers(const List *clause, const Query *query, const Bitmapset *columns)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, clause)
	{
		const SortGroupClause *item = lfirst_node(SortGroupClause, lc);
		bool		found = false;

		foreach(lc2, query->targetList)
		{
			const TargetEntry *entry = lfirst_node(TargetEntry, lc2);

			found |= entry->ressortgroupref == item->tleSortGroupRef &&
				bms_is_member(entry->resno, columns);
		}
		if (!found)
			return false;
	}
	return true;
}

/*
 * The same for any FROM item.  A subquery's rows are identified by its group
 * columns.
 */
bool
unique_in_item(const RangeTblEntry *rte, const Bitmapset *columns)
{
	const Query *query = rte->subquery;

	if (rte->rtekind == RTE_RELATION)
		return unique_in_table(rte->relid, columns);
	if (rte->rtekind != RTE_SUBQUERY || query->setOperations != NULL ||
		query->groupingSets != NIL || query->hasTargetSRFs)
		return false;
	if (query->distinctClause != NIL)
		return covers(query->distinctClause, query, columns);
	if (query->groupClause != NIL)
		return covers(query->groupClause, query, columns);
	return query->hasAggs;
}
