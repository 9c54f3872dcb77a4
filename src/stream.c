/*-------------------------------------------------------------------------
 *
 * stream.c
 *	  The main stream's row in the catalog.
 *
 * All of this runs under the settings of xact_begin, so that unqualified
 * operators are pg_catalog's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"

#include "facts.h"
#include "notify_stats.h"
#include "stream.h"

void
stream_lock(void)
{
	LOCKTAG		tag;
	Oid			namespace = get_namespace_oid(EXTENSION_SCHEMA, true);

	/*
	 * Relations are locked by another kind of tag, so this object of pg_class
	 * is locked by nobody else.
	 */
	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   get_relname_relid("stream", namespace), 0);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

bool
stream_load(StreamRow *row)
{
	static const char query[] =
		"SELECT s.slot_name, s.format, s.applied_lsn, c.paused"
		" FROM " EXTENSION_SCHEMA ".stream s, " EXTENSION_SCHEMA ".control c";
	SPITupleTable *table;
	Datum		value;
	bool		isnull;

	memset(row, 0, sizeof(*row));
	if (!OidIsValid(get_extension_oid(EXTENSION_NAME, true)))
		return false;

	SPI_connect();
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("tables \"stream\" and \"control\" in schema \"%s\" do not have exactly one row",
						EXTENSION_SCHEMA),
				 errhint("Drop and create the extension.")));
	table = SPI_tuptable;

	value = SPI_getbinval(table->vals[0], table->tupdesc, 1, &isnull);
	row->has_slot = !isnull;
	if (row->has_slot)
	{
		char	   *format = SPI_getvalue(table->vals[0], table->tupdesc, 2);

		namestrcpy(&row->slot_name, NameStr(*DatumGetName(value)));
		row->format = format_lookup(format);
		if (row->format == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("slot \"%s\" has the unknown format \"%s\"",
							NameStr(row->slot_name), format),
					 errhint("Restart the server, so that it loads the library that belongs to the extension.")));
		row->applied_lsn = DatumGetLSN(SPI_getbinval(table->vals[0], table->tupdesc, 3, &isnull));
	}
	row->paused = DatumGetBool(SPI_getbinval(table->vals[0], table->tupdesc, 4, &isnull));
	SPI_finish();
	return true;
}

/* Runs an UPDATE of the one row. */
static void
update_stream(const char *query, int nargs, Oid *argtypes, Datum *args)
{
	SPI_connect();
	if (SPI_execute_with_args(query, nargs, argtypes, args, NULL, false, 0) != SPI_OK_UPDATE ||
		SPI_processed != 1)
		elog(ERROR, "could not update the stream");
	SPI_finish();
}

void
stream_set_slot(const char *slot_name, const Format *format, XLogRecPtr lsn)
{
	Oid			argtypes[3] = {TEXTOID, TEXTOID, PG_LSNOID};
	Datum		args[3];

	args[0] = CStringGetTextDatum(slot_name);
	args[1] = CStringGetTextDatum(format->name);
	args[2] = LSNGetDatum(lsn);
	update_stream("UPDATE " EXTENSION_SCHEMA ".stream"
				  " SET slot_name = $1, format = $2, applied_lsn = $3, applied_at = pg_catalog.clock_timestamp()",
				  3, argtypes, args);
	facts_store(facts_load(), NIL);
}

void
stream_clear_slot(void)
{
	update_stream("UPDATE " EXTENSION_SCHEMA ".stream"
				  " SET slot_name = NULL, format = NULL, applied_lsn = NULL, applied_at = NULL",
				  0, NULL, NULL);
}

void
stream_set_applied(XLogRecPtr lsn)
{
	Oid			argtypes[1] = {PG_LSNOID};
	Datum		args[1] = {LSNGetDatum(lsn)};

	update_stream("UPDATE " EXTENSION_SCHEMA ".stream"
				  " SET applied_lsn = $1, applied_at = pg_catalog.clock_timestamp()",
				  1, argtypes, args);
}
