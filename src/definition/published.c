/*-------------------------------------------------------------------------
 *
 * published.c
 *	  What publications demand of the replica identity of a table.
 *
 * The server refuses updates and deletes of a published table if a
 * subscriber could not tell which row they are of: if its replica identity
 * has columns that are not published.  REPLICA IDENTITY FULL has all of
 * them, those that a column list leaves out, and generated ones that cannot
 * be published.
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

/* What the server itself finds, if the table had this replica identity. */
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
 * Why the server refuses updates and deletes of a table because of the
 * publications that it is in, or would refuse them if it had this replica
 * identity: FULL, or the one that it has.  NULL if it does not.
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
 * The same for a publication of all its columns that it is not in yet, with
 * the replica identity that it has: ours for pgoutput.
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
 * Whether these publications have all of the columns that are generated, as
 * far as can be told: not if there are such ones, and some generated column
 * is left out.
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
 * Whether an entry of a table in a publication has no column list, or one
 * with all of these columns.
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
	/* the list may be of a table that this one is a partition of */
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (!bms_is_member(get_attnum(relid,
									  get_attname(RelationGetRelid(rel),
												  attnum, false)),
						   listed))
			return false;
	return true;
}

/* Whether all column lists of these publications have all of the columns. */
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
		foreach(lc2, GetRelationPublications(lfirst_oid(lc)))
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
