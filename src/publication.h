/*-------------------------------------------------------------------------
 *
 * publication.h
 *	  The publication that a stream in the format pgoutput reads.
 *
 * It is ours: made before the slot, dropped after it, and its tables are those
 * that rollups read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_PUBLICATION_H
#define NOTIFY_STATS_PUBLICATION_H

#include "nodes/pg_list.h"

#include "rollup.h"

#define PUBLICATION_NAME "notify_stats"

/*
 * Makes the publication if there is none, anew if it is not as we make it.
 * Returns whether it wrote, so that the caller has to commit before it makes a
 * slot.  Throws if there is one of that name that somebody else made.
 */
extern bool publication_ensure(void);

/*
 * Adds the tables that are not in it yet.  It takes only locks that are free;
 * if one is not, it is in *busy, and false is returned.
 */
extern bool publication_add(List *relids, BusyLock *busy);

/* Takes out the tables that no rollup reads, as far as their locks are free. */
extern void publication_remove_unused(void);

/* Drops the publication if it is ours; returns whether it did. */
extern bool publication_drop(void);

/*
 * Which publication has the table, and since when, as text that changes if it
 * was altered, or the table taken out, even if that was undone since.
 */
extern char *publication_fact(Oid relid);

#endif							/* NOTIFY_STATS_PUBLICATION_H */
