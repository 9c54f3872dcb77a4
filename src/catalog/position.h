/*-------------------------------------------------------------------------
 *
 * position.h
 *	  The position of a rollup that was left behind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_POSITION_H
#define NOTIFY_STATS_POSITION_H

#include "access/xlogdefs.h"

extern void position_keep(Oid rollup, XLogRecPtr lsn);
extern void position_move(Oid rollup, XLogRecPtr lsn);
extern XLogRecPtr position_of(Oid rollup);
extern void position_forget(Oid rollup);
extern void position_forget_all(void);

#endif							/* NOTIFY_STATS_POSITION_H */
