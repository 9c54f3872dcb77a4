/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  Our own tables, without SQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CATALOG_H
#define NOTIFY_STATS_CATALOG_H

#include "access/htup.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* The tables that every cycle reads, in the order of their names in catalog.c. */
typedef enum CatalogTable
{
	CATALOG_STREAM,
	CATALOG_CONTROL,
	CATALOG_ROLLUP,
	CATALOG_REBUILD_REQUEST
} CatalogTable;

/* Columns of these tables, as the SQL script creates them. */
enum StreamColumn
{
	STREAM_SLOT_NAME = 1,
	STREAM_FORMAT,
	STREAM_APPLIED_LSN,
	STREAM_APPLIED_AT,
	STREAM_UPGRADE_FROM,
	STREAM_UPGRADE_LSN,
	STREAM_COLUMNS = STREAM_UPGRADE_LSN
};

enum ControlColumn
{
	CONTROL_PAUSED = 1,
	CONTROL_COLUMNS = CONTROL_PAUSED
};

enum RollupColumn
{
	ROLLUP_ROLLUP = 1,
	ROLLUP_DEFINITION,
	ROLLUP_IGNORE_DELETES,
	ROLLUP_STATE,
	ROLLUP_FINGERPRINT,
	ROLLUP_COLUMNS = ROLLUP_FINGERPRINT
};

enum RebuildRequestColumn
{
	REQUEST_ID = 1,
	REQUEST_ROLLUP,
	REQUEST_COLUMNS = REQUEST_ROLLUP
};

/*
 * A number that is another one after anybody, in any database, has committed a
 * change of its catalogs, as far as a transaction started now would notice.
 * What was derived from the server's catalogs holds while it stays the same.
 */
extern uint64 catalog_version(void);

/* The OID of one of our tables, or InvalidOid if the extension is not installed. */
extern Oid	catalog_table(CatalogTable table);

/*
 * The rows of one of our tables as they are now, whatever the isolation level:
 * a list of HeapTuple, palloc'd.  *desc, with which to read them, stays valid
 * until the end of the transaction.  Checks no privileges.
 */
extern List *catalog_read(CatalogTable table, TupleDesc *desc);

/* Likewise the only row of a table; throws if there is none, or another one. */
extern HeapTuple catalog_read_only_row(CatalogTable table, TupleDesc *desc);

/*
 * Replaces some columns of the only row of a table: those that "replace", of
 * the table's width, tells.  Throws if somebody else has written it meanwhile.
 */
extern void catalog_update_row(CatalogTable table, const Datum *values, const bool *isnull,
							   const bool *replace);

/*
 * Deletes the rows of one of our tables for which "is_meant" is true, as far as
 * nobody else has locked or changed them: it waits for no other transaction.
 */
typedef bool (*CatalogFilter) (HeapTuple row, TupleDesc desc, const void *arg);
extern void catalog_delete_free(CatalogTable table, CatalogFilter is_meant, const void *arg);

#endif							/* NOTIFY_STATS_CATALOG_H */
