/*-------------------------------------------------------------------------
 *
 * published.h
 *	  Requirements of publications on the replica identity of a table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_PUBLISHED_H
#define NOTIFY_STATS_PUBLISHED_H

#include "nodes/bitmapset.h"
#include "utils/relcache.h"

extern const char *published_refusal(Relation rel, char identity);
extern const char *published_refusal_by_us(Relation rel, char identity);
extern bool published_lists_have(Relation rel, const Bitmapset *columns);
extern bool published_generated(Relation rel, const Bitmapset *columns);

#endif							/* NOTIFY_STATS_PUBLISHED_H */
