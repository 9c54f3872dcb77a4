/*-------------------------------------------------------------------------
 *
 * published.c
 *	  Requirements of publications on the replica identity of a table.
 *
 * The server refuses updates and deletes of a published table if subscribers
 * could not identify the row: if its replica identity has columns that are not
 * published.  REPLICA IDENTITY FULL has all columns.  That includes columns
 * that a column list omits, and generated columns that cannot be published.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "published.h"

/*
 * Returns what the server would determine if the table had this replica
 * identity.
 */
static PublicationDesc
describe(Relation rel, char identity)
{
	RelationData copy = *rel;
	FormData_pg_class form;
	PublicationDesc desc;

	memcpy(&form, rel->rd_rel, CLASS_TUPLE_SIZE);
	form.relreplident = identity;
	copy.rd_rel = &form;
	copy.rd_pubdesc = NULL;
	RelationBuildPublicationDesc(&copy, &desc);
	if (copy.rd_pubdesc != NULL)
		pfree(copy.rd_pubdesc);
	return desc;
}

/*
 * Returns why the server refuses updates and deletes of a table because of its
 * publications, or would refuse them if it had this replica identity.
 * "identity" is FULL or the current one.  Returns NULL if the server does not
 * refuse them.
 */
const char *
published_refusal(Relation rel, char identity)
{
	PublicationDesc desc = describe(rel, identity);

	if (!desc.cols_valid_for_update || !desc.cols_valid_for_delete)
		return "a publication of the table has a column list without columns of the replica identity";
	if (!publishes_generated_identity(&desc))
		return "a publication of the table does not publish generated columns of the replica identity";
	if (!desc.rf_valid_for_update || !desc.rf_valid_for_delete)
		return "a publication of the table has a row filter with columns that are not in the replica identity";
	return NULL;
}

/*
 * The same for our own publication for pgoutput, which has all columns and
 * does not contain the table yet, with the given replica identity.
 */
const char *
published_refusal_by_us(Relation rel, char identity)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (identity != REPLICA_IDENTITY_FULL)
		return NULL;
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc,
						  i)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
			return "virtual generated columns, which would be part of the replica identity, cannot be published";
	return NULL;
}

/*
 * Returns whether the publications of a table contain the generated ones among
 * these columns, as far as can be determined.  Returns false if there are any
 * and the publications omit some generated column.
 */
bool
published_generated(Relation rel, const Bitmapset *columns)
{
	PublicationDesc desc = describe(rel, REPLICA_IDENTITY_FULL);
	int			attnum = -1;

	if (publishes_generated_identity(&desc))
		return true;
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (TupleDescAttr(RelationGetDescr(rel),
						  attnum - 1)->attgenerated != '\0')
			return false;
	return true;
}

/*
 * Returns whether an entry of a table in a publication has no column list, or
 * a list with all of these columns.
 */
static bool
entry_has(Relation rel, HeapTuple entry, const Bitmapset *columns)
{
	Oid			relid = ((Form_pg_publication_rel) GETSTRUCT(entry))->prrelid;
	bool		isnull;
	Datum		list = SysCacheGetAttr(PUBLICATIONRELMAP, entry,
									   Anum_pg_publication_rel_prattrs,
									   &isnull);
	Bitmapset  *listed = NULL;
	ArrayType  *array;
	int			attnum = -1;

	if (isnull)
		return true;
	array = DatumGetArrayTypeP(list);
	for (int i = 0; i < ARR_DIMS(array)[0]; i++)
		listed = bms_add_member(listed, ((int16 *) ARR_DATA_PTR(array))[i]);
	/* the list may belong to a table that this one is a partition of */
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (!bms_is_member(get_attnum(relid,
									  get_attname(RelationGetRelid(rel),
												  attnum, false)),
						   listed))
			return false;
	return true;
}

/*
 * Returns whether all column lists of the table's publications have all of the
 * columns.
 */
bool
published_lists_have(Relation rel, const Bitmapset *columns)
{
	Oid			relid = RelationGetRelid(rel);
	List	   *relids = rel->rd_rel->relispartition ?
	get_partition_ancestors(relid) : NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, lcons_oid(relid, relids))
	{
		foreach(lc2, publications_of_table(lfirst_oid(lc)))
		{
			HeapTuple	entry = SearchSysCache2(PUBLICATIONRELMAP,
												ObjectIdGetDatum(lfirst_oid(lc)),
												ObjectIdGetDatum(lfirst_oid(lc2)));
			bool		has;

			if (!HeapTupleIsValid(entry))
				continue;
			has = entry_has(rel, entry, columns);
			ReleaseSysCache(entry);
			if (!has)
				return false;
		}
	}
	return true;
}
