/*-------------------------------------------------------------------------
 *
 * oversize.h
 *	  Whether the slot has a change that is too large for its output plugin.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_OVERSIZE_H
#define NOTIFY_STATS_OVERSIZE_H

#include "access/xlogdefs.h"

extern void oversize_record(XLogRecPtr lsn);
extern void oversize_forget(void);
extern bool oversize_is_final(XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_OVERSIZE_H */
