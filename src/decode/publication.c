/*-------------------------------------------------------------------------
 *
 * publication.c
 *	  The publication that a stream in the format pgoutput reads.
 *
 * pgoutput looks the publication up as it was when a change was made.
 *
 * - If there was none at that time, reading that change always fails.  So the
 *   publication is created before the slot.  If it was dropped in between, all
 *   rollups become stale, nothing is read up to where it was created again,
 *   and builds begin after that (build.c).
 * - Changes of a table that was not in it at that time are skipped.  So tables
 *   are added before the barrier of a build (build.c): transactions that
 *   changed one earlier have ended when the build takes its snapshot.
 * - If another user removes a table or alters what is published, changes are
 *   silently skipped.  Therefore the row versions of the catalog are facts
 *   (facts.h) that must not change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/publicationcmds.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "busy_lock.h"
#include "compat.h"
#include "names.h"
#include "settings.h"
#include "publication.h"
#include "xact.h"

/* identifies the publication as ours */
#define PUBLICATION_COMMENT "made by notify_stats for its own slot"

static void
execute(const char *command)
{
	SPI_connect();
	xact_execute(command);
	SPI_finish();
}

/*
 * Returns whether the publication was created by notify_stats.  The comment
 * alone is no proof: any user can put it on a publication of their own, and
 * alter that later.
 */
static bool
is_ours(Oid publication)
{
	char	   *comment = GetComment(publication, PublicationRelationId, 0);
	HeapTuple	tuple = SearchSysCache1(PUBLICATIONOID,
										ObjectIdGetDatum(publication));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = comment != NULL && strcmp(comment, PUBLICATION_COMMENT) == 0 &&
		superuser_arg(((Form_pg_publication) GETSTRUCT(tuple))->pubowner);
	ReleaseSysCache(tuple);
	return result;
}

/* Whether it publishes what we need. */
static bool
is_sound(Oid publication)
{
	HeapTuple	tuple = SearchSysCache1(PUBLICATIONOID,
										ObjectIdGetDatum(publication));
	Form_pg_publication form;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_publication) GETSTRUCT(tuple);
	result = !form->puballtables && form->pubinsert && form->pubupdate &&
		form->pubdelete &&
		form->pubtruncate && !form->pubviaroot;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Creates the publication if there is none, and recreates it if its properties
 * are not ours.  Returns whether it wrote; the caller must then commit before
 * it creates a slot.  Throws if another user has created a publication of that
 * name.
 */
bool
publication_ensure(void)
{
	Oid			publication = get_publication_oid(PUBLICATION_NAME, true);

	if (OidIsValid(publication) && !is_ours(publication))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("publication \"%s\" already exists", PUBLICATION_NAME),
				 errdetail("notify_stats must create a publication with this name for its slot."),
				 errhint("Run: ALTER PUBLICATION %s RENAME TO another_name;",
						 PUBLICATION_NAME)));
	if (OidIsValid(publication) && is_sound(publication))
		return false;
	(void) publication_drop();
	execute("CREATE PUBLICATION " PUBLICATION_NAME
			" WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = false"
			PUBLICATION_OPTIONS ")");
	execute("COMMENT ON PUBLICATION " PUBLICATION_NAME " IS '" PUBLICATION_COMMENT "'");
	return true;
}

/* Drops the publication if it is ours; returns whether it did. */
bool
publication_drop(void)
{
	Oid			publication = get_publication_oid(PUBLICATION_NAME, true);

	if (!OidIsValid(publication) || !is_ours(publication))
		return false;
	execute("DROP PUBLICATION " PUBLICATION_NAME);
	return true;
}

/* Runs ALTER PUBLICATION ... TABLE on a table whose lock is taken. */
static void
alter_publication(const char *verb, Oid relid)
{
	execute(psprintf("ALTER PUBLICATION " PUBLICATION_NAME " %s TABLE ONLY %s",
					 verb,
					 qualified_name(relid)));
}

/* Whether all rows and columns of a table are published; *member: some are. */
static bool
is_published_whole(Oid relid, Oid publication, bool *member)
{
	HeapTuple	tuple = SearchSysCache2(PUBLICATIONRELMAP,
										ObjectIdGetDatum(relid),
										ObjectIdGetDatum(publication));
	bool		all_rows = false;
	bool		all_columns = false;

	*member = HeapTupleIsValid(tuple);
	if (!*member)
		return false;
	(void) SysCacheGetAttr(PUBLICATIONRELMAP, tuple,
						   Anum_pg_publication_rel_prqual, &all_rows);
	(void) SysCacheGetAttr(PUBLICATIONRELMAP, tuple,
						   Anum_pg_publication_rel_prattrs, &all_columns);
	ReleaseSysCache(tuple);
	return all_rows && all_columns;
}

/*
 * Adds the tables that are not in it yet.  It takes only locks that are free;
 * if one is not, it is in *busy, and false is returned.
 */
bool
publication_add(List *relids, BusyLock *busy)
{
	Oid			publication = get_publication_oid(PUBLICATION_NAME, false);
	ListCell   *lc;

	foreach(lc, relids)
	{
		Oid			relid = lfirst_oid(lc);
		bool		member;

		if (is_published_whole(relid, publication, &member))
			continue;

		/*
		 * the command would wait for the lock while it holds our other locks
		 */
		if (!ConditionalLockRelationOid(relid, ShareUpdateExclusiveLock))
		{
			busy->relid = relid;
			busy->mode = ShareUpdateExclusiveLock;
			busy->until = 0;
			busy->type = InvalidOid;
			return false;
		}
		if (member)
			alter_publication("DROP", relid);
		alter_publication("ADD", relid);
	}
	return true;
}

/* The published tables that no definition reads. */
static List *
unused_tables(void)
{
	static const char query[] =
	"SELECT p.prrelid FROM pg_catalog.pg_publication_rel p"
	" JOIN pg_catalog.pg_publication b ON b.oid = p.prpubid"
	" WHERE b.pubname = '" PUBLICATION_NAME "' AND NOT EXISTS"
	" (SELECT FROM " EXTENSION_SCHEMA ".rollup r"
	"  JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.definition"
	"  JOIN pg_catalog.pg_depend d ON d.objid = w.oid"
	"   AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass"
	"   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
	"  WHERE d.refobjid = p.prrelid)";

	return xact_query_oids(query);
}

/*
 * Takes out the tables that no rollup reads, as far as their locks are free.
 */
void
publication_remove_unused(void)
{
	Oid			publication = get_publication_oid(PUBLICATION_NAME, true);
	ListCell   *lc;

	if (!OidIsValid(publication) || !is_ours(publication))
		return;
	foreach(lc, unused_tables())
	{
		Oid			relid = lfirst_oid(lc);

		if (ConditionalLockRelationOid(relid, ShareUpdateExclusiveLock) &&
			SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
			alter_publication("DROP", relid);
	}
}

/*
 * Which publication has the table, and since when, as text that changes if it
 * was altered, or the table taken out, even if that was undone since.
 */
char	   *
publication_fact(Oid relid)
{
	HeapTuple	publication = SearchSysCache1(PUBLICATIONNAME,
											  CStringGetDatum(PUBLICATION_NAME));
	HeapTuple	member;
	Oid			oid;
	char	   *result;

	if (!HeapTupleIsValid(publication))
		return "none";
	oid = ((Form_pg_publication) GETSTRUCT(publication))->oid;
	member = SearchSysCache2(PUBLICATIONRELMAP, ObjectIdGetDatum(relid),
							 ObjectIdGetDatum(oid));
	if (!HeapTupleIsValid(member))
		result = "not published";
	else
	{
		result = psprintf("%u %u, %u %u", oid,
						  HeapTupleHeaderGetRawXmin(publication->t_data),
						  ((Form_pg_publication_rel) GETSTRUCT(member))->oid,
						  HeapTupleHeaderGetRawXmin(member->t_data));
		ReleaseSysCache(member);
	}
	ReleaseSysCache(publication);
	return result;
}
