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
#include "catalog/pg_index.h"
#include "nodes/parsenodes.h"
#include "parser/parsetree.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

#include "unique.h"

/*
 * Returns whether an index makes these columns unique, now and at each moment
 * of a transaction.
 */
static bool
is_key(Oid index, const Bitmapset *columns)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	result = form->indisunique && form->indimmediate && form->indisvalid &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
	for (int i = 0; result && i < form->indnkeyatts; i++)
	{
		AttrNumber	attnum = form->indkey.values[i];

		result = attnum > 0 && bms_is_member(attnum, columns);
	}
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Returns whether a unique index of a table covers no other columns than
 * these.  Rows with nulls may still be equal; no join condition is true for
 * them.
 */
bool
unique_in_table(Oid relid, const Bitmapset *columns)
{
	Relation	table;
	bool		result = false;
	ListCell   *lc;

	if (columns == NULL)
		return false;
	table = table_open(relid, AccessShareLock);
	foreach(lc, RelationGetIndexList(table))
	{
		if (is_key(lfirst_oid(lc), columns))
			result = true;
	}
	table_close(table, NoLock);
	return result;
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
