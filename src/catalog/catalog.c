/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  Access to the extension's own tables.
 *
 * Planning even the simplest query takes longer than everything else in a
 * cycle with few changes, especially after decoding has emptied the server's
 * caches.  There may be a hundred cycles per second.  So rows that every cycle
 * reads and writes are accessed in the way the server accesses its catalogs.
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
#include "compat.h"
#include "settings.h"

static const char *const table_names[] = {
	"stream", "control", "rollup", "rebuild_request", "computed_rollup",
	"replacement"
};
static const int table_widths[] = {STREAM_COLUMNS, CONTROL_COLUMNS,
ROLLUP_COLUMNS, REQUEST_COLUMNS, COMPUTED_COLUMNS, REPLACEMENT_COLUMNS};

/* OIDs of the tables, valid for one version of the catalogs. */
static struct
{
	CatalogStamp stamp;
	Oid			oids[lengthof(table_names)];
}			known;

/*
 * Looks up only tables of the extension itself.  Otherwise, if its schema was
 * renamed, any user with the privilege to create a schema could create tables
 * with these names.  Such tables would control what we do, and as which role.
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
 * Returns the OID of one of our tables, or InvalidOid if the extension is not
 * installed.
 */
Oid
catalog_table(CatalogTable table)
{
	if (!catalog_stamp_holds(&known.stamp))
		look_up_tables();
	return known.oids[table];
}

/*
 * Returns whether a script of the extension itself is running, which creates
 * our objects or changes them to those of another version.  In the middle of
 * it, our tables may have columns that this library does not know.
 */
bool
catalog_is_changing(void)
{
	return creating_extension &&
		CurrentExtensionObject == get_extension_oid(EXTENSION_NAME, true);
}

static Relation
open_table(CatalogTable table, LOCKMODE mode)
{
	Oid			relid = catalog_table(table);
	Relation	relation = OidIsValid(relid) ? try_table_open(relid, mode) :
	NULL;

	if (relation == NULL)
	{
		/* this transaction itself may have created the extension again */
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
	/* the library may have another version than the extension */
	if (RelationGetNumberOfAttributes(relation) != table_widths[table])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" has %d columns instead of %d",
						EXTENSION_SCHEMA,
						table_names[table],
						RelationGetNumberOfAttributes(relation),
						table_widths[table]),
				 errdetail("The loaded library and the extension have different versions."),
				 errhint("Restart the server with the new library, and run ALTER EXTENSION notify_stats UPDATE;")));
	return relation;
}

/*
 * Copies the rows of an open table: all of them, or those in one of its
 * blocks.  The scan must not be synchronized, as it would then not start at
 * that block.
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
 * Returns the current rows of one of our tables, regardless of the isolation
 * level, as a list of HeapTuple, palloc'd.  *desc is needed to read them, and
 * is palloc'd as well.  Checks no privileges.
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

/*
 * Returns whether one of our tables has a row, or may have one when the
 * transactions that are running have ended.  Returns false if the extension is
 * not installed.
 */
bool
catalog_may_have_rows(CatalogTable table)
{
	Relation	relation;
	SnapshotData snapshot;
	TableScanDesc scan;
	bool		found;

	if (!OidIsValid(catalog_table(table)))
		return false;
	relation = open_table(table, AccessShareLock);
	InitDirtySnapshot(snapshot);
	scan = table_beginscan_strat(relation, &snapshot, 0, NULL, true, false);
	found = heap_getnext(scan, ForwardScanDirection) != NULL;
	table_endscan(scan);
	table_close(relation, NoLock);
	return found;
}

/* Where this process last saw, or wrote, the only row of a table. */
static ItemPointerData row_address[lengthof(table_names)];

/*
 * Returns a copy of the row at an address, or NULL if no row is visible there.
 * The block must exist.  Prunes it, as a scan does.
 */
static HeapTuple
read_at(Relation relation, const ItemPointerData *address)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	HeapTupleData tuple;
	HeapTuple	copy = NULL;
	Buffer		buffer;

	tuple.t_self = *address;
	if (heap_fetch(relation, snapshot, &tuple, &buffer, false))
	{
		copy = heap_copytuple(&tuple);
		prune_page(relation, buffer);
		ReleaseBuffer(buffer);
	}
	UnregisterSnapshot(snapshot);
	return copy;
}

/*
 * Returns the only row of an open table.  While any session holds a snapshot,
 * each cycle leaves one more dead version of the stream's row that cannot be
 * removed, and the table stays large afterwards.  So the address where the row
 * was last seen is read first.  A visible row there is the only one, as the
 * table has no other.  If another process has written a new version, that is
 * usually in the same block, which is read next; then, the whole table.
 */
static HeapTuple
read_only_row(CatalogTable table, Relation relation)
{
	ItemPointer address = &row_address[table];
	List	   *rows = NIL;

	if (ItemPointerIsValid(address) &&
		ItemPointerGetBlockNumber(address) < RelationGetNumberOfBlocks(relation))
	{
		HeapTuple	row = read_at(relation, address);

		if (row != NULL)
			return row;
		rows = read_blocks(relation, ItemPointerGetBlockNumber(address), 1);
	}
	if (rows == NIL)
		rows = read_rows(relation);
	if (list_length(rows) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("tables \"stream\" and \"control\" in schema \"%s\" do not have exactly one row",
						EXTENSION_SCHEMA),
				 errhint("Drop the extension and create it again.")));
	*address = ((HeapTuple) linitial(rows))->t_self;
	return (HeapTuple) linitial(rows);
}

/*
 * The same for a table that is not open.  Throws unless there is exactly one
 * row.
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
 * Replaces some columns of the only row of a table: those for which "replace"
 * is true.  It has one entry per column.  Throws if another transaction has
 * written the row concurrently.
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
	row_address[table] = new->t_self;
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
		 * the result does not matter: a row that is not free stays, or is
		 * deleted by the other transaction
		 */
		if (is_meant(row, RelationGetDescr(relation), arg))
			(void) delete_if_free(relation, &row->t_self, command, &failure);
	}
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

/* The following functions use SQL, for operations that are rare. */

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

/* Runs a statement that changes the catalog.  Returns the number of rows. */
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
