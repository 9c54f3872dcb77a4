/*-------------------------------------------------------------------------
 *
 * expand.h
 *	  Brings a query into the form that the split works on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_EXPAND_H
#define NOTIFY_STATS_EXPAND_H

#include "nodes/parsenodes.h"

extern bool query_is_grouped(const Query *query);
extern List *expand_views(Query *query);
extern Query *expand_query(const Query *query, List **obstacles);
extern void expand_join_columns(Query *query);
extern void expand_all_joins(Query *query);

#endif							/* NOTIFY_STATS_EXPAND_H */
