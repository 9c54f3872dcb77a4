/*-------------------------------------------------------------------------
 *
 * window.h
 *	  Conditions that move with the clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_WINDOW_H
#define NOTIFY_STATS_WINDOW_H

#include "core_builder.h"

/*
 * A condition "time >= bound" on the fact, where the bound moves with the
 * clock.  The core has the hours; those from "first" on are in the window as a
 * whole.  The facts of the hours before are read from the source.
 */
typedef struct MovingWindow
{
	Node	   *condition;		/* in terms of the fact */
	Node	   *hour;			/* the hour of a fact, for the core */
	Node	   *time;			/* the column */
	Node	   *first;			/* the first whole hour, without columns */
} MovingWindow;

extern Node *window_of_days(const CoreBuilder *core, Node *condition);
extern char *window_lacks_index(const CoreBuilder *core, Node *condition);
extern MovingWindow *window_of_times(const CoreBuilder *core, Node *condition);
extern void window_apply(const MovingWindow *window, Var *hour,
						 Query *definition, RangeTblEntry *core);

#endif							/* NOTIFY_STATS_WINDOW_H */
