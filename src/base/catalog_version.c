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
 * A number that is another one after anybody, in any database, has committed a
 * change of its catalogs, as far as a transaction started now would notice.
 * What was derived from the server's catalogs holds while it stays the same.
 */
uint64
catalog_version(void)
{
	/* counts the messages by which backends tell each other of changes */
	AcceptInvalidationMessages();
	return SharedInvalidMessageCounter;
}

/* Something holds for that version, which was read before it was derived. */
void
catalog_stamp(CatalogStamp *stamp, uint64 version)
{
	stamp->valid = true;
	stamp->version = version;
}

/*
 * Whether it still holds, as far as a transaction started now would notice.
 */
bool
catalog_stamp_holds(const CatalogStamp *stamp)
{
	return stamp->valid && stamp->version == catalog_version();
}
