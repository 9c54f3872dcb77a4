/*-------------------------------------------------------------------------
 *
 * request.c
 *	  Requests for a rebuild.
 *
 * A request is a row with a number.  The last request of a rollup can stand
 * for all of them: a build that begins after it was committed also serves the
 * earlier ones.  So each request deletes the others, and a rollup has one row
 * however often a rebuild is requested.
 *
 * No process waits here for another transaction.  A build deletes requests
 * that it has served while it holds the stream's lock.  A session that adds a
 * request should not wait for another session that does the same.  A request
 * that another transaction is working on may remain, and is then served once
 * more.
 *
 * No request gets lost.  The order of the numbers is not the order of the
 * commits.  So at its end a build deletes only the request for which it began:
 * one with a lower number may have been committed after the build's snapshot.
 * When a build begins, it deletes the other requests that exist then, since
 * its own stands for them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "request.h"

/* Selects the requests of a rollup that are to be deleted. */
typedef struct Meant
{
	Oid			rollup;
	int64		first;			/* range of their numbers */
	int64		last;
	bool		others;			/* only those of other transactions */
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
 * Returns whether this transaction has already requested a rebuild of that
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
 * These functions delete requests, except those that another transaction is
 * working on: the requests of a rollup that other transactions have made; the
 * one with that number; those before it; those of dropped rollups.
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
