/*-------------------------------------------------------------------------
 *
 * computed.h
 *	  Rollups that are computed when they are read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_COMPUTED_H
#define NOTIFY_STATS_COMPUTED_H

#include "nodes/pg_list.h"

#include "core.h"
#include "format.h"

/* A core that is to be created: a rollup beside the view, in its schema. */
typedef struct ComputedCore
{
	char	   *name;			/* without the schema */
	char	   *text;			/* its definition */
} ComputedCore;

/*
 * Returns the query of the view, over the cores with these OIDs, in the order
 * in which they were passed.
 */
typedef char *(*ViewText) (void *arg, List *core_relids);

extern Oid	computed_create(const char *name, const char *definition_text,
							List *cores, ViewText view_text, void *arg,
							const Format *format, List *ignore_deletes);
extern bool computed_is_left(Oid relid);
extern void computed_adopt(Oid view, const Format *format,
						   List *ignore_deletes);
extern void computed_follow_owner(Oid view);

#endif							/* NOTIFY_STATS_COMPUTED_H */
