/*-------------------------------------------------------------------------
 *
 * direct.h
 *	  Whether each row of a core is a row of the result.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DIRECT_H
#define NOTIFY_STATS_DIRECT_H

#include "nodes/parsenodes.h"

extern bool direct_is_possible(const Query *view, int ngroups);
extern List *direct_keys(Query *view, const List *cores);

#endif							/* NOTIFY_STATS_DIRECT_H */
