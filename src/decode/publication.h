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

#include "busy_lock.h"

#define PUBLICATION_NAME "notify_stats"

extern bool publication_ensure(void);
extern bool publication_add(List *relids, BusyLock *busy);
extern void publication_remove_unused(void);
extern bool publication_drop(void);
extern char *publication_fact(Oid relid);

#endif							/* NOTIFY_STATS_PUBLICATION_H */
