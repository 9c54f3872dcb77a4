/*-------------------------------------------------------------------------
 *
 * parallel.h
 *	  Reading a backlog by several processes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_PARALLEL_H
#define NOTIFY_STATS_PARALLEL_H

#include "stream.h"

/* Starts so many processes that call parallel_help; returns how many. */
typedef int (*ParallelLauncher) (int nprocesses);

extern void parallel_set_launcher(ParallelLauncher launcher);
extern bool parallel_begin(const StreamRow *row, XLogRecPtr start,
						   XLogRecPtr safe, XLogRecPtr *end);
extern void parallel_move_slot(const StreamRow *row);
extern void parallel_read(void);
extern bool parallel_is_over(void);
extern void parallel_help(int leader);

#endif							/* NOTIFY_STATS_PARALLEL_H */
