/*-------------------------------------------------------------------------
 *
 * release.c
 *	  Ending a rollup whose table is kept.
 *
 * The table remains with its rows, indexes, privileges and everything else.
 * The definition is dropped, by which the next cycle recognizes that the rollup
 * has ended.  As after DROP TABLE, it deletes the catalog entries: deleting
 * them here would lock a row that a cycle updates when it gives up a table that
 * is locked for long.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "commands/comment.h"
#include "executor/spi.h"
#include "storage/lmgr.h"

#include "core.h"
#include "names.h"
#include "release.h"
#include "replacement.h"
#include "rollup.h"
#include "xact.h"

/* Throws if the rollup is not a table. */
static void
check_table(Oid relid)
{
	if (core_find_computed(relid) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot keep the table of rollup %s, which is a view",
						qualified_name(relid)),
				 errhint("To save its rows, run: CREATE TABLE name AS SELECT * FROM %s;",
						 qualified_name(relid))));
}

/* Removes the comment that create_comments() has added. */
static void
remove_comment(Oid relid)
{
	const char *comment = GetComment(relid, RelationRelationId, 0);

	if (comment == NULL || strncmp(comment, "rollup of ", 10) != 0 ||
		strstr(comment, " the extension notify_stats if ") == NULL)
		return;
	SPI_connect();
	xact_execute(psprintf("COMMENT ON TABLE %s IS NULL",
						  qualified_name(relid)));
	SPI_finish();
}

/* Drops the definition, which the table does not need. */
static void
drop_definition(Oid relid, Oid view)
{
	ObjectAddress address;

	(void) deleteDependencyRecordsForSpecific(RelationRelationId, view,
											  DEPENDENCY_INTERNAL,
											  RelationRelationId, relid);
	CommandCounterIncrement();
	ObjectAddressSet(address, RelationRelationId, view);
	performDeletion(&address, DROP_RESTRICT, 0);
}

/*
 * Ends a rollup, and keeps its table as an ordinary one.  The current user must
 * own it.  Readers of the table do not wait.
 */
void
release_table(Oid relid)
{
	const Rollup *rollup;

	rollup_check_owner(relid);
	check_table(relid);
	rollup_check_no_core(relid);
	LockRelationOid(relid, ShareRowExclusiveLock);
	rollup_check_owner(relid);	/* the owner may have changed in between */
	rollup = rollup_find(rollup_list(NULL), relid);
	if (rollup == NULL)
		rollup_complain_missing(relid);
	replacement_cancel(relid);
	remove_comment(relid);
	drop_definition(relid, rollup->view);
}
