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
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

/* What a snapshot shows of the position of a rollup. */
typedef struct RollupPosition
{
	XLogRecPtr	lsn;			/* the table is exact there; invalid: it is not
								 * exact anywhere */
	bool		is_live;		/* it is the position of the stream */
	XLogRecPtr	exact_since;	/* invalid: it has not been built here */
	Oid			file;			/* of the table */
	char	   *names;			/* that readers may know, or NULL */
	XLogRecPtr	names_since;	/* invalid: since it was built */
} RollupPosition;

extern void position_keep(Oid rollup, XLogRecPtr lsn);
extern void position_move(Oid rollup, XLogRecPtr lsn);
extern XLogRecPtr position_of(Oid rollup);
extern void position_forget(Oid rollup);
extern void position_forget_all(void);
extern void position_set_exact_since(Oid rollup, XLogRecPtr lsn);
extern void position_set_names(Oid rollup, const char *names);
extern bool position_note_names(List *rollups, List *names, XLogRecPtr lsn);
extern bool position_read(Oid rollup, Snapshot snapshot,
						  RollupPosition *position);

#endif							/* NOTIFY_STATS_POSITION_H */
