/*-------------------------------------------------------------------------
 *
 * changes.h
 *	  What has changed in a rollup since a position.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CHANGES_H
#define NOTIFY_STATS_CHANGES_H

#include "access/xlogdefs.h"
#include "executor/tuptable.h"
#include "utils/snapshot.h"

/*
 * The changes since a position cannot be told: the reader must read the whole
 * rollup.  Classes that begin with N are not used by the server or by SQL.
 */
#define ERRCODE_CHANGES_UNKNOWN MAKE_SQLSTATE('N', 'S', '0', '0', '1')

/* What is to be reported. */
typedef enum ChangesKind
{
	CHANGES_ALL,				/* all groups as they are */
	CHANGES_SINCE,				/* those that have changed */
	CHANGES_UNDONE				/* all groups as they were */
} ChangesKind;

/*
 * A request, and the receiver of its rows: one of the two functions is set.
 * A row has the columns of the table; of a group that is gone, only those of
 * the group are set.  JSON objects are those of verify(); measures of a group
 * that is gone are NULL.
 */
typedef struct ChangesRequest
{
	Oid			rollup;
	ChangesKind kind;
	XLogRecPtr	since;
	Snapshot	snapshot;		/* the rows are those that it shows */
	TupleDesc	row_type;		/* of the rows that are expected; NULL: any */
	void		(*take_row) (TupleTableSlot *row, bool gone, XLogRecPtr lsn,
							 void *arg);
	void		(*take_json) (const char *group_key, const char *measures,
							  XLogRecPtr lsn, void *arg);
	void	   *arg;
} ChangesRequest;

typedef struct ChangesResult
{
	XLogRecPtr	lsn;			/* the reader has everything before it now */
	uint64		ngroups;		/* reported */
} ChangesResult;

extern ChangesResult changes_read(const ChangesRequest *request);

#endif							/* NOTIFY_STATS_CHANGES_H */
