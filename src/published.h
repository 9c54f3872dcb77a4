/*-------------------------------------------------------------------------
 *
 * published.h
 *	  What publications demand of the replica identity of a table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_PUBLISHED_H
#define NOTIFY_STATS_PUBLISHED_H

#include "nodes/bitmapset.h"
#include "utils/relcache.h"

/*
 * Why the server refuses updates and deletes of a table because of the publications
 * that it is in, or would refuse them if it had this replica identity: FULL, or the
 * one that it has.  NULL if it does not.
 */
extern const char *published_refusal(Relation rel, char identity);

/*
 * The same for a publication of all its columns that it is not in yet, with the
 * replica identity that it has: ours for pgoutput.
 */
extern const char *published_refusal_by_us(Relation rel, char identity);

/* Whether all column lists of these publications have all of the columns. */
extern bool published_lists_have(Relation rel, const Bitmapset *columns);

/*
 * Whether these publications have all of the columns that are generated, as far as
 * can be told: not if there are such ones, and some generated column is left out.
 */
extern bool published_generated(Relation rel, const Bitmapset *columns);

#endif							/* NOTIFY_STATS_PUBLISHED_H */
