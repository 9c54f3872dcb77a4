/*-------------------------------------------------------------------------
 *
 * adopt.h
 *	  Making a rollup of a table that exists, and the reverse.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_ADOPT_H
#define NOTIFY_STATS_ADOPT_H

#include "access/attnum.h"
#include "nodes/primnodes.h"

#include "definition.h"

extern Oid	adopt_find_table(const RangeVar *name);
extern void adopt_check(Oid relid, Oid view, const Definition *definition,
						const char *updated_at);
extern void adopt_check_updated_at(Oid relid, const char *updated_at,
								   const AttrNumber *columns, int ncolumns);

#endif							/* NOTIFY_STATS_ADOPT_H */
