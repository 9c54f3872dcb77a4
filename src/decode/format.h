/*-------------------------------------------------------------------------
 *
 * format.h
 *	  How the output of a slot becomes row changes.
 *
 * A format knows the output plugin of a slot: the options to peek with, and
 * how to read what the plugin writes.  It knows nothing of rollups, keeps no
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

#include "definition.h"

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
	bool		tells_moves;	/* RowChange.moves is wanted */
	RowImage	old_row;		/* filled by the format, natts long */
	RowImage	new_row;
} Source;

typedef enum RowChangeKind
{
	ROW_INSERT,					/* new_row */
	ROW_UPDATE,					/* old_row and new_row */
	ROW_DELETE,					/* old_row */
	ROW_TRUNCATE,				/* the whole source */
	ROW_PARTITION_TRUNCATE,		/* some partition of it, or it was removed
								 * with its rows */
	ROW_UNKNOWN,				/* something that cannot be counted */
	ROW_PARTITION				/* no change: next come those of a partition
								 * of it; once in a peek */
} RowChangeKind;

/*
 * One change of a source.  The rows are in source->old_row and
 * source->new_row, and stay valid until the consumer returns.
 */
typedef struct RowChange
{
	RowChangeKind kind;
	Source	   *source;
	XLogRecPtr	commit_lsn;		/* as passed to ChangeConsumer.wants */
	const char *reason;			/* of ROW_UNKNOWN: the reason, for messages;
								 * of ROW_PARTITION_TRUNCATE: if not NULL */
	Oid			partition;		/* of ROW_PARTITION */
	bool		moves;			/* of ROW_DELETE: to another partition, by an
								 * UPDATE */
} RowChange;

/* The receiver of the changes. */
typedef struct ChangeConsumer
{
	/*
	 * Called at the beginning of a transaction; returns whether its changes
	 * are wanted.  "xid" is the top-level transaction.  "commit_lsn" lies
	 * within its commit record.  It is the start, or the last byte if the
	 * plugin provides only the end.
	 */
	bool		(*wants) (void *arg, TransactionId xid, XLogRecPtr commit_lsn);

	void		(*change) (void *arg, const RowChange *change);
	void	   *arg;
} ChangeConsumer;

typedef struct FormatReader FormatReader;

typedef struct Format
{
	const char *name;			/* as in the setting notify_stats.format */
	const char *plugin;			/* output plugin of its slots */
	bool		binary;			/* its output is bytea, not text */

	bool		resumable;		/* a reader can continue where another
								 * stopped, if requested */

	bool		tells_moves;	/* sets RowChange.moves, if the source wants
								 * it */

	/*
	 * The plugin identifies tables or columns by their names, and does not
	 * find partitions in the catalogs as of the change.  So each cycle checks
	 * that the facts are unchanged, and locks partitions.  "check_source"
	 * throws if the plugin cannot write the changes of these columns.
	 */
	bool		by_name;
	bool		needs_identity; /* without one, it silently skips changes */
	void		(*check_source) (Oid relid, const Bitmapset *columns);

	/* Appends the facts of a source that must not change, see facts.h. */
	List	   *(*facts_of) (List *facts, Oid relid, const Bitmapset *columns);

	/*
	 * Creates a reader of the slot's output, in the current memory context,
	 * which must live as long as the reader.  "sources" is a list of Source.
	 * The list and the consumer are not copied.
	 */
	FormatReader *(*reader_create) (List *sources,
									const ChangeConsumer *consumer);

	/*
	 * Returns the options to peek with: a list of char *, names and values in
	 * turn.  "text_only": some type has no binary form.  "resumable": a new
	 * reader can understand the output after any transaction.
	 */
	List	   *(*reader_options) (FormatReader *reader, bool text_only,
								   bool resumable);

	/*
	 * Reads one row of the slot's output, and passes its changes to the
	 * consumer.  If the plugin cannot have written it, throws, usually
	 * ERRCODE_PROTOCOL_VIOLATION.
	 */
	void		(*reader_feed) (FormatReader *reader, const char *data,
								int len);
} Format;

extern const Format format_native;
extern const Format format_pgoutput;
extern const Format format_wal2json;
extern const Format *format_lookup(const char *name);
extern const Format *format_of_plugin(const char *plugin);
extern const Format *format_chosen(void);

/* The reason of a ROW_UNKNOWN in all formats. */
#define REASON_NOT_COVERED \
	"the replica identity did not cover the columns in use"

/*
 * Throws ERRCODE_PROTOCOL_VIOLATION for output that "plugin" cannot have
 * written; the rest is the detail.
 */
#define throw_violation(plugin, ...) \
	ereport(ERROR, \
			(errcode(ERRCODE_PROTOCOL_VIOLATION), \
			 errmsg("invalid output of output plugin \"%s\"", plugin), \
			 errdetail(__VA_ARGS__)))

extern void format_check_source(const Format *format,
								const Definition *definition, Oid source);

#endif							/* NOTIFY_STATS_FORMAT_H */
