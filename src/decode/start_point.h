/*-------------------------------------------------------------------------
 *
 * start_point.h
 *	  Places in the WAL where decoding can begin.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_START_POINT_H
#define NOTIFY_STATS_START_POINT_H

#include "shared.h"

extern bool start_point_find_quiet(XLogRecPtr from, XLogRecPtr before,
								   StartPoint *point);
extern bool start_point_find_after(const StartPoint *known, XLogRecPtr from,
								   XLogRecPtr before, uint64 max_overlap,
								   const char *slot_name, StartPoint *point);
extern void start_point_create_slot(const StartPoint *point,
									const char *slot_name,
									const char *plugin);
extern void start_point_move_slot(const StartPoint *point,
								  const char *slot_name);

#endif							/* NOTIFY_STATS_START_POINT_H */
