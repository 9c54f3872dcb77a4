/*-------------------------------------------------------------------------
 *
 * quiet_point.h
 *	  Places in the WAL where decoding can begin.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_QUIET_POINT_H
#define NOTIFY_STATS_QUIET_POINT_H

#include "access/transam.h"
#include "access/xlogdefs.h"

/* A record of the running transactions, of which there were none. */
typedef struct QuietPoint
{
	XLogRecPtr	record;			/* its start */
	XLogRecPtr	end;			/* all transactions of later records begin
								 * after this */
	TransactionId next_xid;
} QuietPoint;

extern bool quiet_point_find(XLogRecPtr from, XLogRecPtr before,
							 QuietPoint *point);

#endif							/* NOTIFY_STATS_QUIET_POINT_H */
