/*-------------------------------------------------------------------------
 *
 * functions.h
 *	  What the SQL functions have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FUNCTIONS_H
#define NOTIFY_STATS_FUNCTIONS_H

#include "utils/timestamp.h"

extern void check_primary(void);
extern int64 interval_ms(const Interval *interval);

#endif							/* NOTIFY_STATS_FUNCTIONS_H */
