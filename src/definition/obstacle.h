/*-------------------------------------------------------------------------
 *
 * obstacle.h
 *	  Reasons why a query cannot be maintained, as in an error.
 *
 * A function that looks for obstacles returns the first one, or NULL, or
 * appends all to a list.  Its caller decides whether to throw.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_OBSTACLE_H
#define NOTIFY_STATS_OBSTACLE_H

#include "nodes/pg_list.h"

#include "compat.h"

typedef struct Obstacle
{
	int			sqlerrcode;
	const char *message;
	const char *detail;			/* or NULL */
	const char *hint;			/* or NULL */
} Obstacle;

extern Obstacle *obstacle_make(int sqlerrcode, const char *message,
							   const char *detail, const char *hint);
extern Obstacle *obstacle_unsupported(const char *construct,
									  const char *detail, const char *hint);
extern List *obstacle_append(List *obstacles, Obstacle *obstacle);
pg_noreturn extern void obstacle_throw(const Obstacle *obstacle);
extern void obstacle_throw_first(const List *obstacles);
extern void obstacle_throw_all(const List *obstacles, int sqlerrcode,
							   const char *message);

#endif							/* NOTIFY_STATS_OBSTACLE_H */
