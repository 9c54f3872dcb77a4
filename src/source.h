/*-------------------------------------------------------------------------
 *
 * source.h
 *	  Whether the changes of a table can be counted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SOURCE_H
#define NOTIFY_STATS_SOURCE_H

#include "nodes/bitmapset.h"
#include "utils/relcache.h"

/*
 * A table whose replica identity lacks columns, or because of which the server refuses
 * its updates and deletes, or would with FULL.
 */
typedef struct IdentityGap
{
	Oid			relid;			/* the source, or a partition of it */
	char	   *missing;		/* names of the columns, for a message, or NULL */
	const char *refusal;		/* why they are, or would be, refused, or NULL */
	char	   *hint;			/* how to fix it */
} IdentityGap;

/*
 * Throws unless "relid" is a permanent ordinary or partitioned table whose
 * changes the WAL tells.  "inherit" is false for FROM ONLY.  The caller holds
 * a lock on the table.
 */
extern void source_check_kind(Oid relid, bool inherit);

/*
 * Lists (of IdentityGap) where "columns", attribute numbers of "relid", are
 * not covered by the replica identity: of the table itself, or of each leaf
 * partition.  NIL if all is well.  "by_us" as below, of the hints.
 */
extern List *source_identity_gaps(Oid relid, const Bitmapset *columns, bool by_us);

/*
 * Lists the same tables where the replica identity has all columns, but makes the
 * server refuse updates and deletes because of a publication; with "by_us" also if
 * it does as soon as we publish the table.
 */
extern List *source_refusals(Oid relid, const Bitmapset *columns, bool by_us);

/*
 * Throws for the first gap, and if updates and deletes would be refused because we
 * publish the table, if we do.
 */
extern void source_check_identity(Oid relid, const Bitmapset *columns, bool by_us);

/*
 * Whether the replica identity of one table, which is not FULL, covers columns
 * of these names.
 */
extern bool source_identity_covers(Relation rel, char **names, int nnames);

/* The owner of a table. */
extern Oid	source_owner(Oid relid);

#endif							/* NOTIFY_STATS_SOURCE_H */
