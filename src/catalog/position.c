/*-------------------------------------------------------------------------
 *
 * position.c
 *	  The position of a rollup that was left behind.
 *
 * A live rollup has the position of the stream.  A rollup that fails, or for
 * which the others do not wait, is left behind: its table remains as of the
 * position of the stream at that time, which is kept in rollup_activity, with
 * the facts about its sources as of then (facts.h).  It can be resumed from
 * there, instead of being computed again, as long as its WAL can be read.
 *
 * The position is written under the stream's lock when the rollup is left
 * behind, and by its build while that resumes it.
 *
 * To tell readers what has changed (changes.c), the changes of the sources are
 * read again.  That is possible only for changes after which nothing else has
 * made the table different, and the facts are the same: those since the
 * position "exact_since".  It is set by a build, unless that has confirmed all
 * rows of a live rollup, and when a fact is gone that does not matter for
 * changes after it.
 *
 * Readers of JSON know columns, and labels of enums, by their names.  These are
 * kept as well, with the position "names_since" from which on readers have seen
 * no other names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "position.h"
#include "settings.h"
#include "shared.h"

/* Runs an UPDATE of a rollup, $1, with a position, $2. */
static void
set_lsn(const char *update, Oid rollup, XLogRecPtr lsn)
{
	Oid			argtypes[2] = {OIDOID, PG_LSNOID};
	Datum		args[2] = {ObjectIdGetDatum(rollup), LSNGetDatum(lsn)};

	catalog_execute(update, 2, argtypes, args, NULL);
}

/* Returns a column of the row that a query has found. */
static XLogRecPtr
lsn_or_invalid(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0],
									  SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? InvalidXLogRecPtr : DatumGetLSN(value);
}

/* The same for a text, which is copied into a memory context; or NULL. */
static char *
copy_text(int column, MemoryContext context)
{
	char	   *text = SPI_getvalue(SPI_tuptable->vals[0],
									SPI_tuptable->tupdesc, column);

	return text == NULL ? NULL : MemoryContextStrdup(context, text);
}

/*
 * Leaves a rollup behind at a position, which is that of the stream as stored.
 * The rollup has a row in rollup_activity.
 */
void
position_keep(Oid rollup, XLogRecPtr lsn)
{
	static const char keep_facts[] =
	"INSERT INTO " EXTENSION_SCHEMA ".source_fact (rollup, source, fact, value)"
	" SELECT $1, f.source, f.fact, f.value FROM " EXTENSION_SCHEMA ".source_fact f"
	" JOIN " EXTENSION_SCHEMA ".rollup_source s ON s.source = f.source"
	" WHERE f.rollup = 0 AND s.rollup = $1 ON CONFLICT DO NOTHING";

	position_move(rollup, lsn);
	catalog_execute_for(keep_facts, rollup);
}

/* Sets the position to which the rollup was brought since. */
void
position_move(Oid rollup, XLogRecPtr lsn)
{
	shared_stream_note_change(rollup, lsn);
	set_lsn("UPDATE " EXTENSION_SCHEMA ".rollup_activity SET applied_lsn = $2 WHERE rollup = $1",
			rollup, lsn);
}

/* Returns the position of a rollup that was left behind, or an invalid one. */
XLogRecPtr
position_of(Oid rollup)
{
	static const char query[] =
	"SELECT applied_lsn FROM " EXTENSION_SCHEMA ".rollup_activity"
	" WHERE rollup = $1 AND applied_lsn IS NOT NULL";
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(rollup)};
	SavedRole	saved = catalog_enter();
	XLogRecPtr	lsn = InvalidXLogRecPtr;

	if (SPI_execute_with_args(query, 1, argtypes, args, NULL, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the position of a rollup");
	if (SPI_processed > 0)
		lsn = lsn_or_invalid(1);
	catalog_leave(saved);
	return lsn;
}

/* The rollup is live again, or cannot be resumed any more. */
void
position_forget(Oid rollup)
{
	catalog_execute_for("UPDATE " EXTENSION_SCHEMA ".rollup_activity SET applied_lsn = NULL"
						" WHERE rollup = $1 AND applied_lsn IS NOT NULL", rollup);
	catalog_execute_for("DELETE FROM " EXTENSION_SCHEMA ".source_fact WHERE rollup = $1",
						rollup);
}

/* No rollup can be resumed any more. */
void
position_forget_all(void)
{
	catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup_activity SET applied_lsn = NULL"
					" WHERE applied_lsn IS NOT NULL", 0, NULL, NULL, NULL);
	catalog_execute("DELETE FROM " EXTENSION_SCHEMA ".source_fact WHERE rollup <> 0",
					0, NULL, NULL, NULL);
}

/* From this position on, all changes of the rollup can be read again. */
void
position_set_exact_since(Oid rollup, XLogRecPtr lsn)
{
	set_lsn("UPDATE " EXTENSION_SCHEMA ".rollup_activity SET exact_since = $2 WHERE rollup = $1",
			rollup, lsn);
}

/* Sets the names of a rollup that was built. */
void
position_set_names(Oid rollup, const char *names)
{
	Oid			argtypes[2] = {OIDOID, TEXTOID};
	Datum		args[2] = {ObjectIdGetDatum(rollup), CStringGetTextDatum(names)};

	catalog_execute("UPDATE " EXTENSION_SCHEMA ".rollup_activity SET names = $2, names_since = NULL"
					" WHERE rollup = $1", 2, argtypes, args, NULL);
}

static Datum
text_array(List *strings)
{
	Datum	   *values = palloc(sizeof(Datum) * (list_length(strings) + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, strings)
		values[n++] = CStringGetTextDatum((char *) lfirst(lc));
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/*
 * Notes the names of rollups.  Readers have not seen those that are new before a
 * position.  Returns whether there are any.
 */
bool
position_note_names(List *rollups, List *names, XLogRecPtr lsn)
{
	static const char update[] =
	"UPDATE " EXTENSION_SCHEMA ".rollup_activity v SET names = n.names, names_since = $3"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) n (rollup, names)"
	" WHERE v.rollup = n.rollup AND v.names IS DISTINCT FROM n.names";
	Oid			argtypes[3] = {OIDARRAYOID, TEXTARRAYOID, PG_LSNOID};
	Datum		args[3] = {catalog_oid_array(rollups), text_array(names),
	LSNGetDatum(lsn)};

	return catalog_execute(update, 3, argtypes, args, NULL) > 0;
}

/*
 * Reads the position of a rollup as a snapshot shows it.  Returns false if the
 * snapshot shows no such rollup.
 */
bool
position_read(Oid rollup, Snapshot snapshot, RollupPosition *position)
{
	static const char query[] =
	"SELECT CASE WHEN r.state <> 'live' THEN v.applied_lsn"
	" WHEN s.slot_name IS NOT NULL THEN s.applied_lsn END, r.state = 'live', v.exact_since, c.relfilenode, v.names, v.names_since"
	" FROM " EXTENSION_SCHEMA ".rollup r JOIN pg_class c ON c.oid = r.rollup CROSS JOIN " EXTENSION_SCHEMA ".stream s"
	" LEFT JOIN " EXTENSION_SCHEMA ".rollup_activity v ON v.rollup = r.rollup WHERE r.rollup = $1"
	" AND EXISTS (SELECT FROM pg_catalog.pg_class d WHERE d.oid = r.definition)";
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(rollup)};
	MemoryContext context = CurrentMemoryContext;
	SavedRole	saved = catalog_enter();
	bool		found;
	bool		isnull;

	memset(position, 0, sizeof(*position));
	PushActiveSnapshot(snapshot);
	if (SPI_execute_with_args(query, 1, argtypes, args, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the position of a rollup");
	found = SPI_processed > 0;
	if (found)
	{
		position->lsn = lsn_or_invalid(1);
		position->is_live =
			DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, 2, &isnull));
		position->exact_since = lsn_or_invalid(3);
		position->file =
			DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
										   SPI_tuptable->tupdesc, 4, &isnull));
		position->names = copy_text(5, context);
		position->names_since = lsn_or_invalid(6);
	}
	PopActiveSnapshot();
	catalog_leave(saved);
	return found;
}
