/*-------------------------------------------------------------------------
 *
 * functions.h
 *	  What the SQL functions have in common.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FUNCTIONS_H
#define NOTIFY_STATS_FUNCTIONS_H

#include "access/xlogdefs.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

extern void check_primary(void);
extern int64 timeout_argument(FunctionCallInfo fcinfo, int n);
extern bool wait_until_applied(XLogRecPtr target, List *relids,
							   TimestampTz start, int64 timeout, bool no_throw);
extern int64 interval_ms(const Interval *interval);

#endif							/* NOTIFY_STATS_FUNCTIONS_H */
