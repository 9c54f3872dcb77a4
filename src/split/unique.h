/*-------------------------------------------------------------------------
 *
 * unique.h
 *	  Whether columns of a FROM item identify its rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_UNIQUE_H
#define NOTIFY_STATS_UNIQUE_H

#include "access/htup.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"

extern bool unique_index_holds(HeapTuple index);
extern bool unique_in_table(Oid relid, const Bitmapset *columns);
extern Oid	unique_constraint(Oid relid, const Bitmapset *columns);
extern bool unique_in_item(const RangeTblEntry *rte, const Bitmapset *columns);

#endif							/* NOTIFY_STATS_UNIQUE_H */
