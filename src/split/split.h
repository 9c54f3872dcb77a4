/*-------------------------------------------------------------------------
 *
 * split.h
 *	  Splits a query into cores, which are kept, and a view that computes the
 *	  rest from them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SPLIT_H
#define NOTIFY_STATS_SPLIT_H

#include "nodes/parsenodes.h"

/* A table that is kept. */
typedef struct Core
{
	char	   *name;			/* without schema */
	Query	   *query;			/* its definition, over the sources */
	char	   *text;			/* the same as SQL */
} Core;

#define FINDING_KEPT "kept"
#define FINDING_COMPUTED "computed when reading"
#define FINDING_CHANGED "changed"
#define FINDING_UNSUPPORTED "not supported"

/* What becomes of a part of the query. */
typedef struct Finding
{
	char	   *part;
	char	   *verdict;
	char	   *reason;
	char	   *advice;			/* or NULL */
} Finding;

typedef struct Split
{
	bool		plain;			/* a table can hold the result itself */
	Query	   *query;			/* the definition; like the query, but with
								 * the time zone written in, and without ORDER
								 * BY */
	bool		changed;		/* it differs from what the user wrote */
	List	   *cores;			/* of Core */
	Query	   *view;			/* reads the cores; they are references to
								 * WITH queries of their names */
	List	   *findings;		/* of Finding */
	List	   *obstacles;		/* of Obstacle; not NIL: the query cannot be
								 * kept, and the rest is not valid */
} Split;

extern Split *split_query(const Query *query, const char *name, List *facts);
extern char *split_view_text(const Split *split, List *core_relids);
extern char *split_definition_text(const Split *split);

#endif							/* NOTIFY_STATS_SPLIT_H */
