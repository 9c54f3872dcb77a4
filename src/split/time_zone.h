/*-------------------------------------------------------------------------
 *
 * time_zone.h
 *	  Writes the time zone of the session into expressions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TIME_ZONE_H
#define NOTIFY_STATS_TIME_ZONE_H

#include "nodes/parsenodes.h"

extern const char *time_zone_name(void);
extern Node *time_zone_pin(Node *node, const char *zone, bool *pinned);
extern void time_zone_pin_query(Query *query, const char *zone, bool *pinned);

#endif							/* NOTIFY_STATS_TIME_ZONE_H */
