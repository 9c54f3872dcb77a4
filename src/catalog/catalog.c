/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  Our own tables.
 *
 * To plan the simplest query takes longer than all else that a cycle of few
 * changes does, most of all after decoding has emptied the server's caches,
 * and there may be a hundred cycles a second.  So what every cycle reads
 * and writes is read and written as the server does with its catalogs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "catalog_version.h"
#include "settings.h"

static const char *const table_names[] = {
	"stream", "control", "rollup", "rebuild_request"
};
static const int table_widths[] = {STREAM_COLUMNS, CONTROL_COLUMNS,
ROLLUP_COLUMNS, REQUEST_COLUMNS};

/* OIDs of the tables, as of a version of the catalogs. */
static struct
{
	CatalogStamp stamp;
	Oid			oids[lengthof(table_names)];
}			known;

/*
 * Only the extension's own.  If its schema has been renamed, anybody who may
 * create one can make tables of these names, and say what we do as whom.
 */
static void
look_up_tables(void)
{
	uint64		version = catalog_version();
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);
	Oid			namespace = OidIsValid(extension) ?
	get_namespace_oid(EXTENSION_SCHEMA, true) : InvalidOid;

	catalog_stamp(&known.stamp, version);
	for (int i = 0; i < lengthof(table_names); i++)
	{
		Oid			relid = OidIsValid(namespace) ?
		get_relname_relid(table_names[i], namespace) : InvalidOid;

		if (OidIsValid(relid) && getExtensionOfObject(RelationRelationId,
													  relid) != extension)
			relid = InvalidOid;
		known.oids[i] = relid;
		known.stamp.valid &= OidIsValid(relid);
	}
}

/*
 * The OID of one of our tables, or InvalidOid if the extension is not
 * installed.
 */
Oid
catalog_table(CatalogTable table)
{
	if (!catalog_stamp_holds(&known.stamp))
		look_up_tables();
	return known.oids[table];
}

static Relation
open_table(CatalogTable table, LOCKMODE mode)
{
	Oid			relid = catalog_table(table);
	Relation	relation = OidIsValid(relid) ? try_table_open(relid, mode) :
	NULL;

	if (relation == NULL)
	{
		/* this transaction itself may have made the extension anew */
		look_up_tables();
		relid = known.oids[table];
		relation = OidIsValid(relid) ? try_table_open(relid, mode) : NULL;
	}
	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", EXTENSION_SCHEMA,
						table_names[table]),
				 errhint("Drop the extension and create it again.")));
	/* the library may be of another version than the extension */
	if (RelationGetNumberOfAttributes(relation) != table_widths[table])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has %d columns instead of %d",
						EXTENSION_SCHEMA,
						table_names[table],
						RelationGetNumberOfAttributes(relation),
						table_widths[table]),
				 errdetail("The loaded library and the extension have different versions."),
				 errhint("Run ALTER EXTENSION notify_stats UPDATE; and restart the server.")));
	return relation;
}

/*
 * Copies the rows of an open table: all of them, or those in one of its
 * blocks.  A synchronized scan would not start at that block.
 */
static List *
read_blocks(Relation relation, BlockNumber first, BlockNumber nblocks)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan_strat(relation, snapshot, 0, NULL,
											   true, false);
	List	   *rows = NIL;
	HeapTuple	tuple;

	heap_setscanlimits(scan, first, nblocks);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
		rows = lappend(rows, heap_copytuple(tuple));
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	return rows;
}

static List *
read_rows(Relation relation)
{
	return read_blocks(relation, 0, InvalidBlockNumber);
}

/*
 * The rows of one of our tables as they are now, whatever the isolation level:
 * a list of HeapTuple, palloc'd.  *desc, with which to read them, stays valid
 * until the end of the transaction.  Checks no privileges.
 */
List	   *
catalog_read(CatalogTable table, TupleDesc *desc)
{
	Relation	relation = open_table(table, AccessShareLock);
	List	   *rows = read_rows(relation);

	*desc = CreateTupleDescCopy(RelationGetDescr(relation));
	table_close(relation, NoLock);
	return rows;
}

/* Where this process has last seen the only row of a table. */
static BlockNumber row_block[lengthof(table_names)];

/*
 * The only row of an open table.  While somebody holds a snapshot, each
 * cycle leaves one more dead version of the stream's row that cannot be
 * removed, and the table keeps the room for them afterwards.  So a look at
 * the block where the row was comes before one at the whole table.  To scan
 * the block, rather than to fetch a remembered ctid, finds what other
 * processes have made of the row, and prunes the block.
 */
static HeapTuple
read_only_row(CatalogTable table, Relation relation)
{
	List	   *rows = NIL;

	if (row_block[table] < RelationGetNumberOfBlocks(relation))
		rows = read_blocks(relation, row_block[table], 1);
	if (rows == NIL)
		rows = read_rows(relation);
	if (list_length(rows) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("tables \"stream\" and \"control\" in schema \"%s\" do not have exactly one row",
						EXTENSION_SCHEMA),
				 errhint("Drop the extension and create it again.")));
	row_block[table] =
		ItemPointerGetBlockNumber(&((HeapTuple) linitial(rows))->t_self);
	return (HeapTuple) linitial(rows);
}

/*
 * Likewise the only row of a table; throws if there is none, or another one.
 */
HeapTuple
catalog_read_only_row(CatalogTable table, TupleDesc *desc)
{
	Relation	relation = open_table(table, AccessShareLock);
	HeapTuple	row = read_only_row(table, relation);

	*desc = CreateTupleDescCopy(RelationGetDescr(relation));
	table_close(relation, NoLock);
	return row;
}

/*
 * Replaces some columns of the only row of a table: those that "replace", of
 * the table's width, tells.  Throws if somebody else has written it meanwhile.
 */
void
catalog_update_row(CatalogTable table, const Datum *values, const bool *isnull,
				   const bool *replace)
{
	Relation	relation = open_table(table, RowExclusiveLock);
	HeapTuple	old = read_only_row(table, relation);
	HeapTuple	new;

	new = heap_modify_tuple(old, RelationGetDescr(relation),
							unconstify(Datum *, values),
							unconstify(bool *, isnull),
							unconstify(bool *, replace));
	CatalogTupleUpdate(relation, &old->t_self, new);
	row_block[table] = ItemPointerGetBlockNumber(&new->t_self);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

void
catalog_delete_free(CatalogTable table, CatalogFilter is_meant,
					const void *arg)
{
	Relation	relation = open_table(table, RowExclusiveLock);
	CommandId	command = GetCurrentCommandId(true);
	ListCell   *lc;

	foreach(lc, read_rows(relation))
	{
		HeapTuple	row = (HeapTuple) lfirst(lc);
		TM_FailureData failure;

		/*
		 * whatever comes of it, a row that is not free stays, or goes without
		 * us
		 */
		if (is_meant(row, RelationGetDescr(relation), arg))
			(void) heap_delete(relation, &row->t_self, command,
							   InvalidSnapshot, false,
							   &failure, false);
	}
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

/*
 * With SQL: what is done rarely.
 */

SavedRole
catalog_enter(void)
{
	SavedRole	saved = xact_become(BOOTSTRAP_SUPERUSERID);

	SPI_connect();
	return saved;
}

void
catalog_leave(SavedRole saved)
{
	SPI_finish();
	xact_restore_role(saved);
}

/* Runs a statement that changes the catalog; returns the number of rows. */
uint64
catalog_execute(const char *query, int nargs, Oid *argtypes, Datum *args,
				const char *nulls)
{
	SavedRole	saved = catalog_enter();
	int			rc = SPI_execute_with_args(query, nargs, argtypes, args, nulls,
										   false, 0);
	uint64		processed = SPI_processed;

	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", query,
			 SPI_result_code_string(rc));
	catalog_leave(saved);
	return processed;
}

uint64
catalog_execute_for(const char *query, Oid relid)
{
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(relid)};

	return catalog_execute(query, 1, argtypes, args, NULL);
}

Datum
catalog_oid_array(List *oids)
{
	Datum	   *values = palloc(sizeof(Datum) * (list_length(oids) + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, oids)
		values[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(values, n, OIDOID, sizeof(Oid),
										   true, TYPALIGN_INT));
}
