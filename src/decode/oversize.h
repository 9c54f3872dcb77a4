/*-------------------------------------------------------------------------
 *
 * oversize.h
 *	  Detects changes that are too large for the slot's output plugin.
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
