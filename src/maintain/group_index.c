/*-------------------------------------------------------------------------
 *
 * group_index.c
 *	  Finds groups in a table by its unique index on the group columns.
 *
 * SQL has no condition that treats NULLs as equal and can use an index.  So
 * the index is searched directly, as the apply worker of a subscription
 * searches a replica identity, but NULLs are found too.  Comparisons may call
 * functions of users, so the caller must have switched to the rollup's owner.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "group_index.h"

struct GroupIndex
{
	Relation	index;
	int			nkeys;
	AttrNumber	columns[INDEX_MAX_KEYS];	/* of the definition, by key */
	ScanKeyData equal[INDEX_MAX_KEYS];	/* "column = value", without the value */
	SnapshotData dirty;			/* unless the caller has given a snapshot */
	bool		is_dirty;
	IndexScanDesc scan;
	TupleTableSlot *found;
};

/* Returns the operator by which a key column is searched or sorted. */
static Oid
key_operator(const GroupIndex *index, int key, StrategyNumber strategy)
{
	Oid			family = index->index->rd_opfamily[key];
	Oid			type = index->index->rd_opcintype[key];
	Oid			operator = get_opfamily_member(family, type, type, strategy);

	if (!OidIsValid(operator))
		elog(ERROR, "missing operator %d(%u,%u) in opfamily %u", strategy,
			 type, type, family);
	return operator;
}

/*
 * Returns the group column of the definition that a key column holds.
 * own_table_find_index has checked that there is one.
 */
static AttrNumber
key_column(const GroupIndex *index, int key, const Definition *definition,
		   const AttrNumber *columns)
{
	AttrNumber	column = index->index->rd_index->indkey.values[key];

	for (int i = 0; i < definition->ngroups; i++)
	{
		AttrNumber	attnum = definition->groups[i].attnum;

		if (columns[attnum - 1] == column)
			return attnum;
	}
	elog(ERROR, "key column %d of index \"%s\" is no group column", key + 1,
		 RelationGetRelationName(index->index));
}

/*
 * Opens the index of an opened rollup, in its own table or in one created for
 * the same definition, for searches: of the rows that a snapshot shows, or
 * (NULL) of current ones.  The result is allocated in the current memory
 * context.  The table must be locked.
 */
GroupIndex *
group_index_open(const Rollup *rollup, Relation table, Snapshot snapshot)
{
	GroupIndex *result = palloc0(sizeof(GroupIndex));

	result->index = index_open(rollup_group_index(rollup, table),
							   RowExclusiveLock);
	result->nkeys = IndexRelationGetNumberOfKeyAttributes(result->index);
	for (int i = 0; i < result->nkeys; i++)
	{
		result->columns[i] = key_column(result, i, rollup->shape->definition,
										rollup_columns(rollup, table));
		ScanKeyEntryInitialize(&result->equal[i], 0, i + 1,
							   BTEqualStrategyNumber, InvalidOid,
							   result->index->rd_indcollation[i],
							   get_opcode(key_operator(result, i,
													   BTEqualStrategyNumber)),
							   (Datum) 0);
	}
	result->is_dirty = snapshot == NULL;
	InitDirtySnapshot(result->dirty);
	result->scan = begin_index_scan(table, result->index, result->is_dirty ?
									&result->dirty : snapshot,
									result->nkeys);
	result->found = table_slot_create(table, NULL);
	return result;
}

static void
start_search(GroupIndex *index, TupleTableSlot *delta)
{
	ScanKeyData keys[INDEX_MAX_KEYS];

	for (int i = 0; i < index->nkeys; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(delta, index->columns[i], &isnull);

		if (isnull)
			ScanKeyEntryInitialize(&keys[i], SK_ISNULL | SK_SEARCHNULL, i + 1,
								   InvalidStrategy,
								   InvalidOid, InvalidOid, InvalidOid,
								   (Datum) 0);
		else
		{
			keys[i] = index->equal[i];
			keys[i].sk_argument = value;
		}
	}
	index_rescan(index->scan, keys, index->nkeys, NULL, 0);
}

/*
 * Returns the transaction that is inserting or deleting the row just found, or
 * an invalid xid if there is none.
 */
static TransactionId
writer_of_found(const GroupIndex *index)
{
	if (!index->is_dirty)
		return InvalidTransactionId;
	return TransactionIdIsValid(index->dirty.xmin) ? index->dirty.xmin :
		index->dirty.xmax;
}

/*
 * Returns the row of the table that has the same group columns as a delta, or
 * NULL.  The columns of a delta are numbered like those of the definition.
 * Unless there is a snapshot, returns the current version of the row: waits for
 * a transaction that is changing it.
 * While any session holds a snapshot, dead versions of the row cannot be
 * removed, and the index has an entry for each block that has some.  So the
 * entries are searched backwards, that is, from the end of the table, where
 * the current version usually is.
 * The result is valid until the next search.
 */
TupleTableSlot *
group_index_find(GroupIndex *index, TupleTableSlot *delta)
{
	for (;;)
	{
		TransactionId writer;

		CHECK_FOR_INTERRUPTS();
		start_search(index, delta);
		if (!index_getnext_slot(index->scan, BackwardScanDirection,
								index->found))
			return NULL;
		writer = writer_of_found(index);
		if (!TransactionIdIsValid(writer))
			return index->found;
		ExecClearTuple(index->found);
		XactLockTableWait(writer, NULL, NULL, XLTW_None);
	}
}

/* Starts a sort of deltas, which have type "desc", in the order of the index. */
Tuplesortstate *
group_index_begin_sort(const GroupIndex *index, TupleDesc desc)
{
	AttrNumber	columns[INDEX_MAX_KEYS];	/* the server's array is not const */
	Oid			operators[INDEX_MAX_KEYS];
	bool		nulls_first[INDEX_MAX_KEYS] = {false};

	for (int i = 0; i < index->nkeys; i++)
	{
		columns[i] = index->columns[i];
		operators[i] = key_operator(index, i, BTLessStrategyNumber);
	}
	return tuplesort_begin_heap(desc, index->nkeys, columns, operators,
								index->index->rd_indcollation, nulls_first,
								work_mem, NULL,
								TUPLESORT_NONE);
}

void
group_index_close(GroupIndex *index)
{
	ExecDropSingleTupleTableSlot(index->found);
	index_endscan(index->scan);
	index_close(index->index, NoLock);
	pfree(index);
}
