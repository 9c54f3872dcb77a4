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

/*
 * To be called in PG_CATCH, before PG_RE_THROW, when a peek of the main stream from
 * that position on has failed: counts the error if a change may have been too large.
 */
extern void oversize_record(XLogRecPtr lsn);

/* A peek has succeeded, or the slot is given up. */
extern void oversize_forget(void);

/* Whether there were so many of these errors in a row that the next would be one, too. */
extern bool oversize_is_final(XLogRecPtr lsn);

#endif							/* NOTIFY_STATS_OVERSIZE_H */
