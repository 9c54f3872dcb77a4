/*-------------------------------------------------------------------------
 *
 * looks.h
 *	  Whether it matters how values of a subquery look.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_LOOKS_H
#define NOTIFY_STATS_LOOKS_H

#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"

extern Bitmapset *looks_of_item(Query *query, Index varno,
								const Bitmapset *looks);
extern Bitmapset *looks_of_all(const Query *query);

#endif							/* NOTIFY_STATS_LOOKS_H */
