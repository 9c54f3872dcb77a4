/*-------------------------------------------------------------------------
 *
 * estimate.h
 *	  How many rows a core will have.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_ESTIMATE_H
#define NOTIFY_STATS_ESTIMATE_H

#include "nodes/parsenodes.h"

/* Numbers of rows; approximate. */
typedef struct CoreSize
{
	double		groups;			/* of the core */
	double		facts;			/* that it counts */
} CoreSize;

extern CoreSize estimate_core(const Query *core);

#endif							/* NOTIFY_STATS_ESTIMATE_H */
