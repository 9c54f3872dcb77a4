/*-------------------------------------------------------------------------
 *
 * group_key.h
 *	  The form of a group's key in JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_GROUP_KEY_H
#define NOTIFY_STATS_GROUP_KEY_H

#include "rollup.h"

extern bool group_key_looks_vary(const Definition *definition);
extern char *group_key_expression(const Definition *definition, int group,
								  const char *value);
extern char *group_key_names(const RollupShape *shape);
extern void group_key_check(const Rollup *rollup);

#endif							/* NOTIFY_STATS_GROUP_KEY_H */
