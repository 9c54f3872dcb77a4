/*-------------------------------------------------------------------------
 *
 * group_json.h
 *	  Groups of a rollup as JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_GROUP_JSON_H
#define NOTIFY_STATS_GROUP_JSON_H

#include "executor/tuptable.h"

#include "rollup.h"

typedef struct GroupJson GroupJson;

/* Receives a group.  The measures are NULL if it is gone. */
typedef void (*GroupJsonTaker) (const char *group_key, const char *measures,
								void *arg);

extern GroupJson *group_json_begin(const Rollup *rollup, GroupJsonTaker take,
								   void *arg);
extern void group_json_add(GroupJson *json, TupleTableSlot *row, bool gone);
extern void group_json_end(GroupJson *json);

#endif							/* NOTIFY_STATS_GROUP_JSON_H */
