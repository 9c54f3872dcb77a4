/*-------------------------------------------------------------------------
 *
 * decoded_table.c
 *	  Converts changes of a table, with columns by name, to changes of the
 *	  sources that include the table.
 *
 * Output plugins other than ours write rows of the table that holds them, a
 * partition for instance, with all of its columns.  A row is a change of each
 * source that is the table itself or an ancestor of it.  Columns are found by
 * their names, which a partition shares with its ancestors.
 *
 * Values are converted only when needed: most updates change none of the
 * columns in use, and are discarded after a binary comparison.  Other values
 * are passed to the type's input function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "decoded_table.h"
#include "source.h"
#include "trouble.h"
#include "users_code.h"
#include "xact.h"

/* How a column's values are read. */
typedef struct ColumnInput
{
	AttrNumber	attnum;			/* of the source */
	int			cell;			/* index in the rows of the decoded table */
	Oid			type;
	int32		typmod;
	FmgrInfo	input;			/* fn_oid is InvalidOid until needed */
	Oid			input_param;
	FmgrInfo	receive;		/* likewise */
	Oid			receive_param;
} ColumnInput;

struct DecodedTarget
{
	Source	   *source;
	Oid			owner;			/* of the source */
	bool		calls_users_code;	/* reading its values may (users_code.h) */
	int			ncolumns;
	ColumnInput *columns;		/* those that the source lists */
};

struct TableDecoder
{
	const char *plugin;
	MemoryContext context;		/* of the decoder */
	MemoryContext value_context;	/* of values, reset before each change */
	List	   *sources;
	const ChangeConsumer *consumer;
	List	   *tables;			/* of DecodedTable */

	bool		wanted;			/* the current transaction */
	XLogRecPtr	commit_lsn;		/* of it */
};

/*
 * Creates a decoder in the current memory context.  The list of Source and the
 * consumer are kept by reference; "plugin" is for messages.
 */
TableDecoder *
table_decoder_create(const char *plugin, List *sources,
					 const ChangeConsumer *consumer)
{
	TableDecoder *decoder = palloc0(sizeof(TableDecoder));

	decoder->plugin = plugin;
	decoder->context = CurrentMemoryContext;
	decoder->value_context = AllocSetContextCreate(CurrentMemoryContext,
												   "notify_stats values",
												   ALLOCSET_DEFAULT_SIZES);
	decoder->sources = sources;
	decoder->consumer = consumer;
	return decoder;
}

/*
 * Tables
 */

/* Returns the index of a name in a table's columns; adds it if missing. */
static int
add_column(DecodedTable *table, Form_pg_attribute att)
{
	int			index = decoded_column(table, NameStr(att->attname), 0);

	if (index >= 0)
		return index;
	table->names[table->ncolumns] = pstrdup(NameStr(att->attname));
	table->types[table->ncolumns] = att->atttypid;
	return table->ncolumns++;
}

static void
add_target(DecodedTable *table, Source *source)
{
	DecodedTarget *target = &table->targets[table->ntargets++];
	int			attnum = -1;

	target->source = source;
	target->owner = source_owner(source->relid);
	target->columns =
		palloc0(sizeof(ColumnInput) * (bms_num_members(source->columns) + 1));
	while ((attnum = bms_next_member(source->columns, attnum)) >= 0)
	{
		Form_pg_attribute att = TupleDescAttr(source->desc, attnum - 1);
		ColumnInput *column = &target->columns[target->ncolumns++];

		column->attnum = attnum;
		column->cell = add_column(table, att);

		/*
		 * the value is already valid for the domain, and its constraints are
		 * users' code
		 */
		column->typmod = att->atttypmod;
		column->type = getBaseTypeAndTypmod(att->atttypid, &column->typmod);
		target->calls_users_code |= users_code_in_type(column->type);
	}
}

/* Creates the entry of a table.  Returns NULL if no source reads it. */
static DecodedTable *
make_table(TableDecoder *decoder, Oid relid)
{
	List	   *ancestors = get_rel_relispartition(relid) ?
	get_partition_ancestors(relid) : NIL;
	List	   *sources = NIL;
	DecodedTable *table;
	int			ncolumns = 1;
	ListCell   *lc;

	foreach(lc, decoder->sources)
	{
		Source	   *source = (Source *) lfirst(lc);

		if (source->relid != relid &&
			!list_member_oid(ancestors, source->relid))
			continue;
		sources = lappend(sources, source);
		ncolumns += bms_num_members(source->columns);
	}
	if (sources == NIL)
		return NULL;

	table = palloc0(sizeof(DecodedTable));
	table->relid = relid;
	table->names = palloc(sizeof(char *) * ncolumns);
	table->types = palloc(sizeof(Oid) * ncolumns);
	table->targets = palloc0(sizeof(DecodedTarget) * list_length(sources));
	foreach(lc, sources)
		add_target(table, (Source *) lfirst(lc));
	table->old_row = palloc0(sizeof(Cell) * ncolumns);
	table->new_row = palloc0(sizeof(Cell) * ncolumns);
	return table;
}

/*
 * Returns the table of that OID, or NULL if no source reads it.  Uses the
 * current partitioned ancestors.  The entry is created once, then cached.
 */
DecodedTable *
table_decoder_table(TableDecoder *decoder, Oid relid)
{
	DecodedTable *table;
	MemoryContext context;
	ListCell   *lc;

	foreach(lc, decoder->tables)
	{
		if (((DecodedTable *) lfirst(lc))->relid == relid)
			return (DecodedTable *) lfirst(lc);
	}

	context = MemoryContextSwitchTo(decoder->context);
	table = make_table(decoder, relid);
	if (table != NULL)
		decoder->tables = lappend(decoder->tables, table);
	MemoryContextSwitchTo(context);
	return table;
}

/* Returns the index of a column in use, or -1.  Tries "guess" first. */
int
decoded_column(const DecodedTable *table, const char *name, int guess)
{
	if (guess >= 0 && guess < table->ncolumns &&
		strcmp(table->names[guess], name) == 0)
		return guess;
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(table->names[i], name) == 0)
			return i;
	return -1;
}

/* Sets all cells of a row. */
void
decoded_row_fill(const DecodedTable *table, Cell *row, CellKind kind)
{
	for (int i = 0; i < table->ncolumns; i++)
		row[i].kind = kind;
}

/*
 * Values
 */

static Datum
read_text(TableDecoder *decoder, ColumnInput *column, const Cell *cell)
{
	if (!OidIsValid(column->input.fn_oid))
	{
		Oid			function;

		getTypeInputInfo(column->type, &function, &column->input_param);
		fmgr_info_cxt(function, &column->input, decoder->context);
	}
	return InputFunctionCall(&column->input, unconstify(char *, cell->bytes),
							 column->input_param, column->typmod);
}

static Datum
read_binary(TableDecoder *decoder, ColumnInput *column, const Cell *cell)
{
	StringInfoData buf;
	Datum		value;

	if (!OidIsValid(column->receive.fn_oid))
	{
		Oid			function;

		getTypeBinaryInputInfo(column->type, &function,
							   &column->receive_param);
		fmgr_info_cxt(function, &column->receive, decoder->context);
	}
	buf.data = unconstify(char *, cell->bytes);
	buf.len = cell->len;
	buf.maxlen = 0;
	buf.cursor = 0;
	value = ReceiveFunctionCall(&column->receive, &buf, column->receive_param,
								column->typmod);
	if (buf.cursor != buf.len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("incorrect binary data format")));
	return value;
}

/* Reads one value, in the context of values. */
static void
read_value(TableDecoder *decoder, const DecodedTable *table,
		   ColumnInput *column,
		   const Cell *cell, RowImage *image)
{
	int			index = column->attnum - 1;

	image->isnull[index] = cell->kind == CELL_NULL;
	switch (cell->kind)
	{
		case CELL_NULL:
			image->values[index] = (Datum) 0;
			break;
		case CELL_TEXT:
			image->values[index] = read_text(decoder, column, cell);
			break;
		case CELL_BINARY:
			image->values[index] = read_binary(decoder, column, cell);
			break;
		default:
			throw_violation(decoder->plugin,
							"Column \"%s\" of table \"%s\" is missing.",
							table->names[column->cell],
							get_rel_name(table->relid));
	}
}

static void
read_row(TableDecoder *decoder, const DecodedTable *table,
		 DecodedTarget *target,
		 const Cell *row, RowImage *image)
{
	MemoryContext context = MemoryContextSwitchTo(decoder->value_context);

	for (int i = 0; i < target->ncolumns; i++)
		read_value(decoder, table, &target->columns[i],
				   &row[target->columns[i].cell], image);
	MemoryContextSwitchTo(context);
}

/* Elements of arrays and composite types may be of a domain, too. */
static void
read_rows(TableDecoder *decoder, const DecodedTable *table,
		  DecodedTarget *target, RowChangeKind kind)
{
	SavedRole	saved = {0};

	trouble_begin_values(target->source->relid);
	if (target->calls_users_code)
		saved = xact_become(target->owner);
	if (kind != ROW_INSERT)
		read_row(decoder, table, target, table->old_row,
				 &target->source->old_row);
	if (kind != ROW_DELETE)
		read_row(decoder, table, target, table->new_row,
				 &target->source->new_row);
	if (target->calls_users_code)
		xact_restore_role(saved);
	trouble_end_values();
}

/*
 * Changes
 */

/*
 * Starts a transaction, and asks the consumer whether it is wanted.  If not,
 * the functions below do nothing, and a format need not fill cells.
 */
bool
table_decoder_begin(TableDecoder *decoder, TransactionId xid,
					XLogRecPtr commit_lsn)
{
	decoder->commit_lsn = commit_lsn;
	decoder->wanted = decoder->consumer->wants(decoder->consumer->arg, xid,
											   commit_lsn);
	return decoder->wanted;
}

static void
tell(TableDecoder *decoder, Source *source, RowChangeKind kind,
	 const char *reason)
{
	RowChange	change;

	change.kind = kind;
	change.source = source;
	change.commit_lsn = decoder->commit_lsn;
	change.reason = reason;
	change.moves = false;
	decoder->consumer->change(decoder->consumer->arg, &change);
}

static bool
is_same_cell(const Cell *a, const Cell *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind != CELL_TEXT && a->kind != CELL_BINARY)
		return true;
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/*
 * Completes the new row of an update from its old one.  Returns whether a
 * column in use differs.
 */
static bool
is_update_of(const DecodedTable *table, const DecodedTarget *target)
{
	bool		differs = false;

	for (int i = 0; i < target->ncolumns; i++)
	{
		const Cell *old_cell = &table->old_row[target->columns[i].cell];
		Cell	   *new_cell = &table->new_row[target->columns[i].cell];

		if ((new_cell->kind == CELL_UNCHANGED ||
			 new_cell->kind == CELL_ABSENT) &&
			(old_cell->kind == CELL_TEXT || old_cell->kind == CELL_BINARY))
			*new_cell = *old_cell;
		else if (!is_same_cell(old_cell, new_cell) ||
				 old_cell->kind == CELL_UNTOLD)
			differs = true;
	}
	return differs;
}

/* Returns why a row, old or new, cannot be counted, or NULL. */
static const char *
reason_unknown(const DecodedTarget *target, const Cell *row, bool old_row)
{
	for (int i = 0; i < target->ncolumns; i++)
	{
		switch (row[target->columns[i].cell].kind)
		{
			case CELL_ABSENT:
				if (!old_row)
					break;		/* an error, see read_value */
				pg_fallthrough;
			case CELL_UNCHANGED:
				return REASON_NOT_COVERED;
			case CELL_UNTOLD:
				return "the output plugin wrote NaN or infinity as null";
			default:
				break;
		}
	}
	return NULL;
}

/* Passes the change to one source. */
static void
change_target(TableDecoder *decoder, DecodedTable *table,
			  DecodedTarget *target,
			  RowChangeKind kind, bool has_old)
{
	const char *reason = NULL;

	if (target->ncolumns == 0)
	{
		/* rows are only counted */
		if (kind != ROW_UPDATE)
			tell(decoder, target->source, kind, NULL);
		return;
	}
	if (kind == ROW_UPDATE && table->covered && !has_old && !table->full)
		return;					/* the replica identity has not changed */
	if (kind != ROW_INSERT && (!table->covered || !has_old))
		reason = REASON_NOT_COVERED;
	else if (kind == ROW_UPDATE && !is_update_of(table, target))
		return;
	if (reason == NULL && kind != ROW_INSERT)
		reason = reason_unknown(target, table->old_row, true);
	if (reason == NULL && kind != ROW_DELETE)
		reason = reason_unknown(target, table->new_row, false);
	if (reason != NULL)
	{
		tell(decoder, target->source, ROW_UNKNOWN, reason);
		return;
	}

	MemoryContextReset(decoder->value_context);
	read_rows(decoder, table, target, kind);
	tell(decoder, target->source, kind, NULL);
}

/*
 * Processes a changed row, in old_row and new_row.  "has_old" is false if the
 * plugin wrote no old row: for an update, because the replica identity has
 * not changed.
 */
void
table_decoder_change(TableDecoder *decoder, DecodedTable *table,
					 RowChangeKind kind,
					 bool has_old)
{
	if (!decoder->wanted)
		return;
	for (int i = 0; i < table->ntargets; i++)
		change_target(decoder, table, &table->targets[i], kind, has_old);
}

/* Processes an unknown change of a table, with the reason. */
void
table_decoder_unknown(TableDecoder *decoder, DecodedTable *table,
					  const char *reason)
{
	for (int i = 0; decoder->wanted && i < table->ntargets; i++)
		tell(decoder, table->targets[i].source, ROW_UNKNOWN, reason);
}

/*
 * Determines the effect of a TRUNCATE of these tables on a partitioned source
 * that is not among them: all of its partitions are truncated, or some.
 * Returns false if none are.
 */
static bool
is_truncated_below(const Source *source, List *relids, bool *wholly)
{
	ListCell   *lc;
	bool		partly = false;

	*wholly = true;
	if (get_rel_relkind(source->relid) != RELKIND_PARTITIONED_TABLE)
		return false;
	foreach(lc, find_all_inheritors(source->relid, NoLock, NULL))
	{
		if (list_member_oid(relids, lfirst_oid(lc)))
			partly = true;
		else if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_PARTITIONED_TABLE)
			*wholly = false;
	}
	return partly;
}

/* Processes a TRUNCATE of these tables: sources, partitions, and others. */
void
table_decoder_truncate(TableDecoder *decoder, List *relids)
{
	ListCell   *lc;
	ListCell   *lc2;
	bool		wholly;

	if (!decoder->wanted)
		return;
	foreach(lc, relids)
	{
		foreach(lc2, decoder->sources)
		{
			if (((Source *) lfirst(lc2))->relid == lfirst_oid(lc))
				tell(decoder, (Source *) lfirst(lc2), ROW_TRUNCATE, NULL);
		}
	}
	foreach(lc, decoder->sources)
	{
		Source	   *source = (Source *) lfirst(lc);

		if (list_member_oid(relids, source->relid) ||
			!is_truncated_below(source, relids, &wholly))
			continue;
		if (wholly)
			tell(decoder, source, ROW_TRUNCATE, NULL);
		else
			tell(decoder, source, ROW_PARTITION_TRUNCATE, NULL);
	}
}
