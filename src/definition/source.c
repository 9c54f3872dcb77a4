/*-------------------------------------------------------------------------
 *
 * source.c
 *	  Whether the changes of a table can be counted.
 *
 * A table can be a source if two conditions are met.  First, its changes must
 * reach logical decoding under its own name.  That depends on the kind of
 * table, so other kinds are always refused (source_kind_obstacle).  Second, a
 * change of a row must contain the old values of every column in use.  That
 * depends on the replica identity, which its owner may alter at any time.  So
 * it is also reported without throwing (source_identity_gaps).
 *
 * Replica identity belongs to the tables that hold rows.  That of a
 * partitioned table has no effect, and a new partition does not inherit it.
 * So the leaf partitions are checked.  Columns are matched by name, because
 * attribute numbers differ between partitions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "compat.h"
#include "names.h"
#include "published.h"
#include "source.h"

/* Relations that a query can read, but whose changes cannot be counted. */
static const struct
{
	char		relkind;
	const char *noun;
	const char *hint;
}			refused_kinds[] = {

	{RELKIND_VIEW, "view",
	"Write the query of the view as a subquery in FROM."},
	{RELKIND_MATVIEW, "materialized view",
	"Use the table that the materialized view reads."},
	{RELKIND_FOREIGN_TABLE, "foreign table",
	"Create the rollup in the database that holds the table."},
	{RELKIND_SEQUENCE, "sequence",
	"Use a table."},
	{RELKIND_TOASTVALUE, "TOAST table",
	"Use the table that the TOAST table belongs to."},
	{RELKIND_COMPOSITE_TYPE, "composite type",
	"Use a table."},
};

static Obstacle *storage_obstacle(Relation rel);
static Obstacle *visibility_obstacle(Relation rel);
static Obstacle *inheritance_obstacle(Relation rel, bool inherit);
static Obstacle *partition_obstacle(Relation rel);
static List *leaf_partitions(Oid relid);
static bool key_has(Relation rel, const Bitmapset *key, const char *name);
static IdentityGap *identity_gap(Oid relid, Oid root, const Bitmapset *columns,
								 bool by_us);
static IdentityGap *refusal(Oid relid, Oid root, const Bitmapset *columns,
							bool by_us);
static char *statement_for_all(Oid relid);

/*
 * Returns why changes of the table are not in the WAL under its name, or
 * cannot be counted, or NULL.  "inherit" is false for FROM ONLY.  The caller
 * holds a lock on the table.
 */
Obstacle   *
source_kind_obstacle(Oid relid, bool inherit)
{
	Relation	rel = relation_open(relid, NoLock);
	Obstacle   *obstacle = storage_obstacle(rel);

	if (obstacle == NULL)
		obstacle = visibility_obstacle(rel);
	if (obstacle == NULL)
		obstacle = inheritance_obstacle(rel, inherit);

	relation_close(rel, NoLock);
	return obstacle;
}

/*
 * Throws unless "relid" is a permanent ordinary or partitioned table whose
 * changes are in the WAL.  The same as source_kind_obstacle.
 */
void
source_check_kind(Oid relid, bool inherit)
{
	Obstacle   *obstacle = source_kind_obstacle(relid, inherit);

	if (obstacle != NULL)
		obstacle_throw(obstacle);
}

/* Returns the tables that hold the rows of a source. */
static List *
tables_of(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ?
		leaf_partitions(relid) :
		list_make1_oid(relid);
}

/*
 * Lists the gaps that "find" returns for the tables that hold the rows of a
 * source.
 */
static List *
gaps_of_tables(Oid relid, const Bitmapset *columns, bool by_us,
			   IdentityGap *(*find) (Oid, Oid, const Bitmapset *, bool))
{
	List	   *gaps = NIL;
	ListCell   *lc;

	foreach(lc, tables_of(relid))
	{
		IdentityGap *gap = find(lfirst_oid(lc), relid, columns, by_us);

		if (gap != NULL)
			gaps = lappend(gaps, gap);
	}

	return gaps;
}

/*
 * Lists (of IdentityGap) the tables whose replica identity does not cover
 * "columns", attribute numbers of "relid": the table itself, or its leaf
 * partitions.  Returns NIL if there are none.  "by_us" is used for the hints,
 * see source_refusals.
 */
List	   *
source_identity_gaps(Oid relid, const Bitmapset *columns, bool by_us)
{
	return gaps_of_tables(relid, columns, by_us, identity_gap);
}

/*
 * Lists those of the same tables whose replica identity has all columns, but
 * makes the server refuse updates and deletes because of a publication.  With
 * "by_us", also those for which it would once we publish the table.
 */
List	   *
source_refusals(Oid relid, const Bitmapset *columns, bool by_us)
{
	return gaps_of_tables(relid, columns, by_us, refusal);
}

/*
 * Throws if the server would refuse updates and deletes because we publish the
 * table.  Does not throw if the server already refuses them for another
 * reason.
 */
static void
check_refusals(Oid relid, const Bitmapset *columns)
{
	ListCell   *lc;

	foreach(lc, source_refusals(relid, columns, true))
	{
		const IdentityGap *gap = (const IdentityGap *) lfirst(lc);
		Relation	rel = relation_open(gap->relid, NoLock);
		bool		already = published_refusal(rel,
												rel->rd_rel->relreplident) !=
		NULL;

		relation_close(rel, NoLock);
		if (!already)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table \"%s\" cannot be published with its replica identity",
							get_rel_name(gap->relid)),
					 errdetail("The server would refuse its updates and deletes: %s.", gap->refusal),
					 errhint("%s", gap->hint)));
	}
}

/*
 * Returns a statement that gives all partitions of a table the replica
 * identity FULL, regardless of their number.
 */
static char *
statement_for_all(Oid relid)
{
	Relation	rel = relation_open(relid, NoLock);
	char	   *statement =
	psprintf("DO $$ DECLARE p regclass; BEGIN FOR p IN SELECT relid FROM pg_partition_tree(%s) WHERE isleaf"
			 " LOOP EXECUTE format('ALTER TABLE %%s REPLICA IDENTITY FULL', p); END LOOP; END $$;",
			 quote_literal_cstr(qualified_name(RelationGetRelid(rel))));

	relation_close(rel, NoLock);
	return statement;
}

/*
 * Throws for the first gap.  With "by_us", also throws if publishing the table
 * would make the server refuse updates and deletes.
 */
void
source_check_identity(Oid relid, const Bitmapset *columns, bool by_us)
{
	List	   *gaps = source_identity_gaps(relid, columns, by_us);
	IdentityGap *gap;
	bool		partition;
	char	   *refusal;

	if (gaps == NIL)
	{
		if (by_us)
			check_refusals(relid, columns);
		return;
	}

	gap = linitial(gaps);
	partition = gap->relid != relid;
	refusal = gap->refusal == NULL ? "" :
		psprintf(" With REPLICA IDENTITY FULL the server would refuse updates and deletes: %s.",
				 gap->refusal);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("replica identity of %s \"%s\" does not cover the columns that the definition uses",
					partition ? "partition" : "table",
					get_rel_name(gap->relid)),
			 partition
			 ? errdetail("Missing: %s. Partitions of \"%s\" that lack columns: %d.%s",
						 gap->missing, get_rel_name(relid), list_length(gaps),
						 refusal)
			 : errdetail("Missing: %s.%s", gap->missing, refusal),
			 list_length(gaps) == 1 || gap->refusal ?
			 errhint("%s", gap->hint) :
			 errhint("Run: %s", statement_for_all(relid))));
}

/*
 * Returns why the relation neither holds rows nor consists of partitions that
 * do, or NULL.
 */
static Obstacle *
relkind_obstacle(Relation rel)
{
	const char *name = RelationGetRelationName(rel);
	const char *detail = "A rollup can be maintained only from row changes of tables.";

	for (int i = 0; i < (int) lengthof(refused_kinds); i++)
	{
		if (rel->rd_rel->relkind == refused_kinds[i].relkind)
			return obstacle_make(ERRCODE_WRONG_OBJECT_TYPE,
								 psprintf("definition reads %s \"%s\"",
										  refused_kinds[i].noun, name),
								 detail, refused_kinds[i].hint);
	}
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return obstacle_make(ERRCODE_WRONG_OBJECT_TYPE,
							 psprintf("\"%s\" is not a table", name),
							 detail, "Use a table.");
	return NULL;
}

/*
 * Returns why the relation holds no rows, or its changes are not decoded, or
 * NULL.
 */
static Obstacle *
storage_obstacle(Relation rel)
{
	const char *name = RelationGetRelationName(rel);
	Obstacle   *obstacle = relkind_obstacle(rel);

	if (obstacle != NULL)
		return obstacle;

	/*
	 * the same test as is_publishable_class(); the OID excludes
	 * information_schema
	 */
	if (IsCatalogRelation(rel) || RelationGetRelid(rel) < FirstNormalObjectId)
		return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							 psprintf("table \"%s\" is a system table", name),
							 "Changes of system tables are not decoded.",
							 "Use a user table.");

	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							 psprintf("table \"%s\" is temporary", name),
							 "Changes of temporary tables are not written to WAL.",
							 "Use a permanent table.");

	/* the persistence of a partitioned table has no effect */
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED &&
		rel->rd_rel->relkind == RELKIND_RELATION)
		return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							 psprintf("table \"%s\" is unlogged", name),
							 "Changes of unlogged tables are not written to WAL.",
							 psprintf("Run: ALTER TABLE %s SET LOGGED;",
									  qualified_name(RelationGetRelid(rel))));
	return NULL;
}

/*
 * Returns an obstacle if policies hide rows of the table from the current
 * user, the owner of the rollup.  Policies do not apply to the WAL.  So the
 * rollup would differ from its definition, and would show rows that the user
 * may not see.
 */
static Obstacle *
visibility_obstacle(Relation rel)
{
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid,
						 true) != RLS_ENABLED)
		return NULL;

	return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
						 psprintf("row-level security of table \"%s\" applies to role \"%s\"",
								  RelationGetRelationName(rel),
								  GetUserNameFromId(GetUserId(), false)),
						 "A rollup counts all rows of the table.",
						 "Create the rollup as a role that bypasses row-level security.");
}

/*
 * Returns why the table cannot be read with its partitions or children, or
 * without them, or NULL.
 */
static Obstacle *
inheritance_obstacle(Relation rel, bool inherit)
{
	Oid			relid = RelationGetRelid(rel);

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		if (!inherit)
			return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
								 psprintf("definition reads partitioned table \"%s\" with ONLY",
										  RelationGetRelationName(rel)),
								 "A partitioned table contains no rows itself.",
								 "Omit ONLY.");
		return partition_obstacle(rel);
	}
	if (inherit && find_inheritance_children(relid, NoLock) != NIL)
		return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							 psprintf("table \"%s\" has inheritance children",
									  RelationGetRelationName(rel)),
							 "Changes of the children are not changes of this table.",
							 psprintf("Use FROM ONLY %s, and add the children with UNION ALL.",
									  qualified_name(relid)));
	return NULL;
}

/*
 * Returns the first obstacle of a partition whose changes cannot be counted,
 * or NULL.
 */
static Obstacle *
partition_obstacle(Relation rel)
{
	Obstacle   *obstacle = NULL;
	ListCell   *lc;

	foreach(lc, leaf_partitions(RelationGetRelid(rel)))
	{
		Relation	leaf = relation_open(lfirst_oid(lc), NoLock);
		bool		foreign = leaf->rd_rel->relkind == RELKIND_FOREIGN_TABLE;

		if (obstacle == NULL &&
			(foreign ||
			 leaf->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED))
			obstacle = obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
									 psprintf("partition \"%s\" of table \"%s\" is %s",
											  RelationGetRelationName(leaf),
											  RelationGetRelationName(rel),
											  foreign ? "a foreign table" : "unlogged"),
									 "Changes of this partition are not written to WAL.",
									 foreign ?
									 "Use the other partitions with UNION ALL instead." :
									 psprintf("Run: ALTER TABLE %s SET LOGGED;",
											  qualified_name(RelationGetRelid(leaf))));

		relation_close(leaf, NoLock);
	}
	return obstacle;
}

/*
 * Returns the partitions that hold rows (foreign tables included), locked so
 * that they cannot be removed.
 */
static List *
leaf_partitions(Oid relid)
{
	List	   *leaves = NIL;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_PARTITIONED_TABLE)
			leaves = lappend_oid(leaves, lfirst_oid(lc));
	}

	return leaves;
}

/*
 * Returns whether a key, in the form of RelationGetIndexAttrBitmap(), contains
 * the column of that name.
 */
static bool
key_has(Relation rel, const Bitmapset *key, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	return bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, key);
}

/*
 * Returns the columns for an index of a table that could be its replica
 * identity: these columns of "root", the primary key, and the current replica
 * identity, which other consumers may need.
 */
static Bitmapset *
index_columns(Relation rel, Oid root, const Bitmapset *columns)
{
	Bitmapset  *key = bms_add_members(RelationGetIndexAttrBitmap(rel,
																 INDEX_ATTR_BITMAP_PRIMARY_KEY),
									  RelationGetIndexAttrBitmap(rel,
																 INDEX_ATTR_BITMAP_IDENTITY_KEY));
	Bitmapset  *result = NULL;
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		result = bms_add_member(result, get_attnum(RelationGetRelid(rel),
												   get_attname(root, attnum,
															   false)));
	attnum = -1;
	while ((attnum = bms_next_member(key, attnum)) >= 0)
		result = bms_add_member(result,
								attnum + FirstLowInvalidHeapAttributeNumber);
	return result;
}

/*
 * Returns the columns of an index, or NULL if it cannot be a replica identity.
 */
static Bitmapset *
identifying_columns(Relation rel, Relation index)
{
	Form_pg_index form = index->rd_index;
	Bitmapset  *columns = NULL;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid ||
		RelationGetIndexPredicate(index) != NIL)
		return NULL;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	attnum = form->indkey.values[i];

		/* not an expression, and no column that can be null */
		if (attnum <= 0 ||
			!attribute_is_not_null(RelationGetDescr(rel), attnum))
			return NULL;
		columns = bms_add_member(columns, attnum);
	}
	return columns;
}

/*
 * Returns the index of a table that can be its replica identity, and has the
 * given columns, with as few others as possible; or InvalidOid.
 */
static Oid
covering_index(Relation rel, const Bitmapset *columns)
{
	Oid			found = InvalidOid;
	int			fewest = 0;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Bitmapset  *indexed = identifying_columns(rel, index);
		int			number = bms_num_members(indexed);

		if (indexed != NULL && bms_is_subset(columns, indexed) &&
			(found == InvalidOid || number < fewest) &&
			published_lists_have(rel, indexed) &&
			published_generated(rel, indexed))
		{
			found = RelationGetRelid(index);
			fewest = number;
		}
		index_close(index, NoLock);
	}
	return found;
}

/*
 * Returns a hint on how to make the replica identity of a table cover the
 * columns: an index that has them, or otherwise FULL.
 */
static char *
identity_hint(Relation rel, Oid root, const Bitmapset *columns)
{
	Oid			index = covering_index(rel, index_columns(rel, root, columns));
	char	   *name = qualified_name(RelationGetRelid(rel));

	if (!OidIsValid(index))
		return psprintf("Run: ALTER TABLE %s REPLICA IDENTITY FULL;", name);
	if (index == rel->rd_pkindex)
		return psprintf("Run: ALTER TABLE %s REPLICA IDENTITY DEFAULT;", name);
	return psprintf("Run: ALTER TABLE %s REPLICA IDENTITY USING INDEX %s;",
					name, quote_identifier(get_rel_name(index)));
}

/*
 * Returns the names of columns, quoted; with "nullable", only of those that
 * may be null.  Returns "" if there are none.
 */
static char *
column_names(Relation rel, const Bitmapset *columns, bool nullable)
{
	StringInfoData names;
	int			attnum = -1;

	initStringInfo(&names);
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
	{
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(rel),
												 attnum - 1);

		if (!nullable || !column->attnotnull)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 quote_identifier(NameStr(column->attname)));
	}
	return names.data;
}

/*
 * Returns a hint on how to create a replica identity of the columns that is
 * not FULL: a unique index over them and the primary key.
 */
static char *
index_hint(Relation rel, Oid root, const Bitmapset *columns)
{
	Bitmapset  *indexed = index_columns(rel, root, columns);
	char	   *names = column_names(rel, indexed, false);
	char	   *nullable = column_names(rel, indexed, true);
	const char *index;

	if (bms_is_empty(RelationGetIndexAttrBitmap(rel,
												INDEX_ATTR_BITMAP_PRIMARY_KEY)))
		return psprintf("Add a primary key to %s, so that an index over it and the columns that the definition uses can be the replica identity.",
						qualified_name(RelationGetRelid(rel)));
	if (nullable[0] != '\0')
		return psprintf("Make these columns of %s NOT NULL, so that an index over them can be the replica identity: %s.",
						qualified_name(RelationGetRelid(rel)), nullable);
	if (!published_lists_have(rel, indexed))
		return psprintf("Publish these columns of %s with every publication that has a column list for it, so that an index over them can be the replica identity: %s.",
						qualified_name(RelationGetRelid(rel)), names);
	index = quote_identifier(ChooseRelationName(RelationGetRelationName(rel),
												NULL, "identity",
												RelationGetNamespace(rel),
												false));
	return psprintf("%s: CREATE UNIQUE INDEX %s ON %s (%s); ALTER TABLE %s REPLICA IDENTITY USING INDEX %s;",
					published_generated(rel, indexed) ? "Run" :
					"Set publish_generated_columns = stored for the publications of the table, and run",
					index, qualified_name(RelationGetRelid(rel)), names,
					qualified_name(RelationGetRelid(rel)), index);
}

/*
 * Returns why the server refuses, or would refuse, updates and deletes with a
 * replica identity, or NULL.
 */
static const char *
refusal_of(Relation rel, char identity, bool by_us)
{
	const char *reason = published_refusal(rel, identity);

	return reason == NULL && by_us ? published_refusal_by_us(rel, identity) :
		reason;
}

/*
 * Returns a gap if the replica identity of a table makes the server refuse
 * updates and deletes; otherwise NULL.
 */
static IdentityGap *
refusal(Oid relid, Oid root, const Bitmapset *columns, bool by_us)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	const char *reason = refusal_of(rel, rel->rd_rel->relreplident, by_us);
	IdentityGap *gap = NULL;

	if (reason != NULL)
	{
		gap = palloc(sizeof(IdentityGap));
		gap->relid = relid;
		gap->missing = NULL;
		gap->refusal = reason;
		gap->hint = index_hint(rel, root, columns);
	}
	relation_close(rel, NoLock);
	return gap;
}

/*
 * Returns a gap with those of "columns", attribute numbers of "root", that the
 * replica identity of the table "relid" does not cover; NULL if it covers all.
 */
static IdentityGap *
identity_gap(Oid relid, Oid root, const Bitmapset *columns, bool by_us)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	IdentityGap *gap = NULL;

	if (rel->rd_rel->relreplident != REPLICA_IDENTITY_FULL)
	{
		Bitmapset  *key = RelationGetIndexAttrBitmap(rel,
													 INDEX_ATTR_BITMAP_IDENTITY_KEY);
		StringInfoData missing;
		int			attnum = -1;

		initStringInfo(&missing);
		while ((attnum = bms_next_member(columns, attnum)) >= 0)
		{
			char	   *name = get_attname(root, attnum, false);

			if (!key_has(rel, key, name))
				appendStringInfo(&missing, "%s%s", missing.len > 0 ? ", " : "",
								 name);
		}

		/*
		 * A definition may read no column, for example to count all rows.  It
		 * still needs an identity.  Without one, a DELETE arrives without an
		 * old row, and the code that folds it cannot know that no column of
		 * it is needed.
		 */
		if (bms_is_empty(key) && missing.len == 0)
			appendStringInfoString(&missing, "any column");

		if (missing.len > 0)
		{
			gap = palloc(sizeof(IdentityGap));
			gap->relid = relid;
			gap->missing = missing.data;
			gap->refusal = refusal_of(rel, REPLICA_IDENTITY_FULL, by_us);
			gap->hint = gap->refusal == NULL ?
				identity_hint(rel, root, columns) :
				index_hint(rel, root, columns);
		}
	}

	relation_close(rel, NoLock);
	return gap;
}

/*
 * Returns whether the replica identity of one table, which is not FULL, covers
 * the columns of these names.
 */
bool
source_identity_covers(Relation rel, char **names, int nnames)
{
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel,
												 INDEX_ATTR_BITMAP_IDENTITY_KEY);

	for (int i = 0; i < nnames; i++)
		if (!key_has(rel, key, names[i]))
			return false;
	return true;
}

/* Returns the owner of a table. */
Oid
source_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Returns the names of columns of a table, quoted, for a message. */
char	   *
source_column_names(Oid relid, const Bitmapset *columns)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	char	   *names = column_names(rel, columns, false);

	relation_close(rel, NoLock);
	return names;
}
