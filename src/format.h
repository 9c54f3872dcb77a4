/*-------------------------------------------------------------------------
 *
 * format.h
 *	  How the output of a slot becomes row changes.
 *
 * A format knows the output plugin of a slot: the options to peek with, and
 * how to read what the plugin writes.  It knows nothing of rollups, takes no
 * lock and runs no query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FORMAT_H
#define NOTIFY_STATS_FORMAT_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

/*
 * One image of a row: values by attribute number - 1 of the source.  Only the
 * columns that the source lists are ever set, the others stay null.
 */
typedef struct RowImage
{
	Datum	   *values;
	bool	   *isnull;
} RowImage;

/*
 * A table that a stream reads, and the columns of it that some definition
 * uses.  The changes of a partition arrive as changes of the partitioned
 * table that the definition names.
 */
typedef struct Source
{
	Oid			relid;
	TupleDesc	desc;			/* as the table is now */
	Bitmapset  *columns;		/* attribute numbers in use, all > 0 */
	RowImage	old_row;		/* filled by the format, natts long */
	RowImage	new_row;
} Source;

typedef enum RowChangeKind
{
	ROW_INSERT,					/* new_row */
	ROW_UPDATE,					/* old_row and new_row */
	ROW_DELETE,					/* old_row */
	ROW_TRUNCATE,				/* the whole source */
	ROW_UNKNOWN					/* something that cannot be counted */
} RowChangeKind;

/*
 * One change of a source.  The rows are in source->old_row and
 * source->new_row, and stay valid until the next call of the format.
 */
typedef struct RowChange
{
	RowChangeKind kind;
	Source	   *source;
	TransactionId xid;			/* of the top-level transaction */
	XLogRecPtr	commit_lsn;		/* start of its commit record */
	const char *reason;			/* of ROW_UNKNOWN: why, for people */
} RowChange;

typedef struct FormatReader FormatReader;

typedef struct Format
{
	const char *name;			/* as in the setting notify_stats.format */
	const char *plugin;			/* output plugin of its slots */
	bool		binary;			/* its output is bytea, not text */

	/*
	 * Makes a reader of the slot's output, in the current memory context,
	 * which has to live as long as the reader.  "sources" is a list of Source
	 * and is kept by reference.
	 */
	FormatReader *(*reader_create) (List *sources);

	/* The options to peek with: a list of char *, names and values in turn. */
	List	   *(*reader_options) (FormatReader *reader);

	/*
	 * Hands over one row of the slot's output.  "data" has to stay until the
	 * next call.
	 */
	void		(*reader_feed) (FormatReader *reader, const char *data, int len);

	/*
	 * Gives the next change of what was fed; false if there is none.  Throws
	 * ERRCODE_PROTOCOL_VIOLATION if the output is not what its plugin writes.
	 */
	bool		(*reader_next) (FormatReader *reader, RowChange *change);
} Format;

extern const Format format_native;

/* Returns the format of that name, or NULL. */
extern const Format *format_lookup(const char *name);

#endif							/* NOTIFY_STATS_FORMAT_H */
