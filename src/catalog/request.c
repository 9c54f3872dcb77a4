/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Requests for a rebuild.
 *
 * A request is a row with a number.  The last one of a rollup is as good as
 * all of them: a build that begins after it has committed serves those
 * before it as well.  So whoever asks takes away the others, and there is
 * one row of a rollup, however often a rebuild is asked for.
 *
 * Nobody waits here for another transaction: a build forgets what it has
 * served while it holds the stream's lock, and a session that asks should
 * not wait for another one that does.  A request that another transaction
 * is at may stay, and is then served once more.
 *
 * None gets lost.  Numbers are not in the order of commits, so that a build
 * forgets at its end no others than the very one that it was begun for: one
 * with a lower number may have been committed after the build's snapshot.
 * Those that are there when it begins it forgets then, as its own stands
 * for them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "request.h"

/* Which requests of a rollup are to be deleted. */
typedef struct Meant
{
	Oid			rollup;
	int64		first;			/* of these numbers */
	int64		last;
	bool		others;			/* none of this transaction */
} Meant;

static Oid
rollup_of(HeapTuple row, TupleDesc desc)
{
	bool		isnull;

	return DatumGetObjectId(heap_getattr(row, REQUEST_ROLLUP, desc, &isnull));
}

static bool
is_made_here(HeapTuple row)
{
	return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data));
}

/*
 * Whether this very transaction has already asked for a rebuild of that
 * rollup.
 */
bool
request_is_made(Oid rollup)
{
	TupleDesc	desc;
	ListCell   *lc;

	foreach(lc, catalog_read(CATALOG_REBUILD_REQUEST, &desc))
	{
		HeapTuple	row = (HeapTuple) lfirst(lc);

		if (rollup_of(row, desc) == rollup && is_made_here(row))
			return true;
	}
	return false;
}

static bool
is_meant(HeapTuple row, TupleDesc desc, const void *arg)
{
	const Meant *meant = (const Meant *) arg;
	bool		isnull;
	int64		id = DatumGetInt64(heap_getattr(row, REQUEST_ID, desc,
												&isnull));

	return rollup_of(row, desc) == meant->rollup && id >= meant->first &&
		id <= meant->last &&
		!(meant->others && is_made_here(row));
}

/*
 * Deletes requests, but none that another transaction is at: those of a
 * rollup that other transactions have made; the one of that number; those
 * before it; those of rollups that are gone.
 */
void
request_forget_others(Oid rollup)
{
	Meant		meant = {.rollup = rollup, .last = PG_INT64_MAX,
	.others = true};

	catalog_delete_free(CATALOG_REBUILD_REQUEST, is_meant, &meant);
}

void
request_forget(Oid rollup, int64 id)
{
	Meant		meant = {.rollup = rollup, .first = id, .last = id};

	catalog_delete_free(CATALOG_REBUILD_REQUEST, is_meant, &meant);
}

void
request_forget_before(Oid rollup, int64 id)
{
	Meant		meant = {.rollup = rollup, .last = id - 1};

	catalog_delete_free(CATALOG_REBUILD_REQUEST, is_meant, &meant);
}

static bool
is_of_dropped(HeapTuple row, TupleDesc desc, const void *arg)
{
	return !SearchSysCacheExists1(RELOID,
								  ObjectIdGetDatum(rollup_of(row, desc)));
}

void
request_forget_dropped(void)
{
	catalog_delete_free(CATALOG_REBUILD_REQUEST, is_of_dropped, NULL);
}
