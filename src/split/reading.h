/*-------------------------------------------------------------------------
 *
 * reading.h
 *	  What is computed from a core when it is read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_READING_H
#define NOTIFY_STATS_READING_H

#include "core_builder.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "window.h"

/* The rewriting of one grouped SELECT. */
typedef struct Reading
{
	CoreBuilder *core;
	List	   *groups;			/* the expressions that the SELECT groups by */
	bool		direct;			/* each row of the core is a row of the result */
	bool		aggregates_again;	/* some aggregate is computed from group
									 * columns of the core */
	bool		expands;		/* the view repeats each row of the core for
								 * each fact */
	Var		   *copy;			/* the number of such a repetition */
	const Bitmapset *looks;		/* output columns whose looks matter to the
								 * query around the SELECT */
	bool		keeps_scale;	/* the number of decimal places of a sum
								 * matters */
	const char *column;			/* name of the output column */
	MovingWindow *window;		/* a condition that moves with the clock */
	Var		   *hour;			/* the core's column for it */
	char	   *unindexed;		/* a column whose index would make the core
								 * shorter */
	List	   *computed;		/* names of aggregates that are computed when
								 * reading */
	List	   *obstacles;		/* of Obstacle */
} Reading;

extern Node *reading_of_expression(Reading *reading, Node *node, CoreUse use,
								   const char *name);
extern Node *reading_of_output(Reading *reading, Node *node);
extern Node *reading_count_of_copy(Reading *reading);

#endif							/* NOTIFY_STATS_READING_H */
