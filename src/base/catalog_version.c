/*-------------------------------------------------------------------------
 *
 * catalog_version.c
 *	  Whether the server's catalogs may have changed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/sinval.h"
#include "utils/inval.h"

#include "catalog_version.h"

/*
 * Returns a number that changes whenever any session, in any database, has
 * committed a change of its catalogs, as far as a transaction started now
 * would notice.  Data derived from the catalogs is valid while the number
 * stays the same.
 */
uint64
catalog_version(void)
{
	/* counts the messages by which backends notify each other of changes */
	AcceptInvalidationMessages();
	return SharedInvalidMessageCounter;
}

/*
 * Marks derived data as valid for "version", which the caller read before it
 * derived the data.
 */
void
catalog_stamp(CatalogStamp *stamp, uint64 version)
{
	stamp->valid = true;
	stamp->version = version;
}

/*
 * Returns whether the data is still valid, as far as a transaction started now
 * would notice.
 */
bool
catalog_stamp_holds(const CatalogStamp *stamp)
{
	return stamp->valid && stamp->version == catalog_version();
}
