/*-------------------------------------------------------------------------
 *
 * decoded_table.h
 *	  Converts changes of a table, with columns by name, to changes of the
 *	  sources that include the table.
 *
 * Shared by the formats of other output plugins.  A format stores the
 * values of a row in cells, without conversion; this file converts them for
 * each source.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DECODED_TABLE_H
#define NOTIFY_STATS_DECODED_TABLE_H

#include "format.h"

typedef enum CellKind
{
	CELL_ABSENT,				/* the row came without this column */
	CELL_NULL,
	CELL_UNCHANGED,				/* an out-of-line value, not updated */
	CELL_UNTOLD,				/* a value that the plugin cannot write */
	CELL_TEXT,					/* as the type's output function writes it */
	CELL_BINARY					/* as its send function does */
} CellKind;

typedef struct Cell
{
	CellKind	kind;
	int			len;			/* of text without the NUL that follows */
	const char *bytes;			/* NUL-terminated in either case */
} Cell;

/* The state of one table for one source. */
typedef struct DecodedTarget DecodedTarget;

typedef struct DecodedTable
{
	Oid			relid;			/* a source, or a leaf partition of one */
	bool		covered;		/* the replica identity covers used columns */
	bool		full;			/* it is the whole row */
	int			ncolumns;		/* columns in use by some source */
	char	  **names;			/* theirs */
	Oid		   *types;			/* current ones */
	Cell	   *old_row;		/* of these columns, for the format to fill */
	Cell	   *new_row;
	int			ntargets;
	DecodedTarget *targets;
} DecodedTable;

/* Converts changes of tables to changes of sources. */
typedef struct TableDecoder TableDecoder;

extern TableDecoder *table_decoder_create(const char *plugin, List *sources,
										  const ChangeConsumer *consumer);
extern DecodedTable *table_decoder_table(TableDecoder *decoder, Oid relid);
extern int	decoded_column(const DecodedTable *table, const char *name,
						   int guess);
extern void decoded_row_fill(const DecodedTable *table, Cell *row,
							 CellKind kind);
extern bool table_decoder_begin(TableDecoder *decoder, TransactionId xid,
								XLogRecPtr commit_lsn);
extern void table_decoder_change(TableDecoder *decoder, DecodedTable *table,
								 RowChangeKind kind,
								 bool has_old);
extern void table_decoder_unknown(TableDecoder *decoder, DecodedTable *table,
								  const char *reason);
extern void table_decoder_truncate(TableDecoder *decoder, List *relids);

#endif							/* NOTIFY_STATS_DECODED_TABLE_H */
