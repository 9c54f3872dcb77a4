/*-------------------------------------------------------------------------
 *
 * replacement.h
 *	  Replacing a rollup by another one that is built beside it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_REPLACEMENT_H
#define NOTIFY_STATS_REPLACEMENT_H

#include "nodes/pg_list.h"

#include "create.h"
#include "format.h"

typedef enum ReplacementStep
{
	REPLACEMENT_NONE,			/* none is pending */
	REPLACEMENT_LATER,			/* one is being built, or needs a lock */
	REPLACEMENT_SOMETHING		/* something was written */
} ReplacementStep;

extern void replacement_begin(Oid rollup, const char *text,
							  const Format *format, List *facts);
extern void replacement_cancel(Oid relid);
extern Oid	replacement_find_same(const char *name, const char *text,
								  const Format *format,
								  const CreateOptions *options);
extern void replacement_detach(Oid rollup);
extern ReplacementStep replacement_continue(List *rollups, bool *ready);
extern void replacement_check_view(Oid view);

#endif							/* NOTIFY_STATS_REPLACEMENT_H */
