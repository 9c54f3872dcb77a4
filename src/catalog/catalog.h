/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  Access to the extension's own tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CATALOG_H

#define NOTIFY_STATS_CATALOG_H

#include "access/htup.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#include "xact.h"

/*
 * The tables that every cycle reads, in the order of their names in catalog.c.
 */
typedef enum CatalogTable
{
	CATALOG_STREAM,
	CATALOG_CONTROL,
	CATALOG_ROLLUP,
	CATALOG_REBUILD_REQUEST,
	CATALOG_COMPUTED_ROLLUP,	/* not in every cycle */
	CATALOG_REPLACEMENT			/* likewise */
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
	STREAM_SLOT_REQUESTS,
	STREAM_COLUMNS = STREAM_SLOT_REQUESTS
};

enum ControlColumn
{
	CONTROL_PAUSED = 1,
	CONTROL_SLOT_REQUESTS,
	CONTROL_COLUMNS = CONTROL_SLOT_REQUESTS
};

enum RollupColumn
{
	ROLLUP_ROLLUP = 1,
	ROLLUP_DEFINITION,
	ROLLUP_IGNORE_DELETES,
	ROLLUP_STATE,
	ROLLUP_FINGERPRINT,
	ROLLUP_UPDATED_AT,
	ROLLUP_COLUMN_NAMES,
	ROLLUP_COLUMNS = ROLLUP_COLUMN_NAMES
};

enum RebuildRequestColumn
{
	REQUEST_ID = 1,
	REQUEST_ROLLUP,
	REQUEST_FROM_SCRATCH,
	REQUEST_COLUMNS = REQUEST_FROM_SCRATCH
};

enum ComputedRollupColumn
{
	COMPUTED_ROLLUP = 1,
	COMPUTED_DEFINITION,
	COMPUTED_CORES,
	COMPUTED_COLUMNS = COMPUTED_CORES
};

enum ReplacementColumn
{
	REPLACEMENT_ROLLUP = 1,
	REPLACEMENT_SUCCESSOR,
	REPLACEMENT_REASON,
	REPLACEMENT_COLUMNS = REPLACEMENT_REASON
};

extern Oid	catalog_table(CatalogTable table);
extern bool catalog_is_changing(void);
extern bool catalog_may_have_rows(CatalogTable table);
extern List *catalog_read(CatalogTable table, TupleDesc *desc);
extern HeapTuple catalog_read_only_row(CatalogTable table, TupleDesc *desc);
extern void catalog_update_row(CatalogTable table, const Datum *values,
							   const bool *isnull,
							   const bool *replace);

/*
 * Deletes the rows of one of our tables for which "is_meant" is true, except
 * those that another transaction has locked or changed.  Does not wait for
 * other transactions.
 */
typedef bool (*CatalogFilter) (HeapTuple row, TupleDesc desc, const void *arg);

extern void catalog_delete_free(CatalogTable table, CatalogFilter is_meant,
								const void *arg);

extern SavedRole catalog_enter(void);

extern void catalog_leave(SavedRole saved);
extern uint64 catalog_execute(const char *query, int nargs, Oid *argtypes,
							  Datum *args, const char *nulls);

extern uint64 catalog_execute_for(const char *query, Oid relid);

extern Datum catalog_oid_array(List *oids);

#endif							/* NOTIFY_STATS_CATALOG_H */
