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

#include "obstacle.h"

/*
 * A table whose replica identity lacks columns, or for which the server
 * refuses updates and deletes because of the replica identity, or would refuse
 * them with FULL.
 */
typedef struct IdentityGap
{
	Oid			relid;			/* the source, or a partition of it */
	char	   *missing;		/* names of the columns, for a message, or
								 * NULL */
	const char *refusal;		/* why they are, or would be, refused, or NULL */
	char	   *hint;			/* how to fix it */
} IdentityGap;

extern Obstacle *source_kind_obstacle(Oid relid, bool inherit);
extern void source_check_kind(Oid relid, bool inherit);
extern List *source_identity_gaps(Oid relid, const Bitmapset *columns,
								  bool by_us);
extern List *source_refusals(Oid relid, const Bitmapset *columns, bool by_us);
extern void source_check_identity(Oid relid, const Bitmapset *columns,
								  bool by_us);
extern bool source_identity_covers(Relation rel, char **names, int nnames);
extern char *source_column_names(Oid relid, const Bitmapset *columns);
extern Oid	source_owner(Oid relid);

#endif							/* NOTIFY_STATS_SOURCE_H */
