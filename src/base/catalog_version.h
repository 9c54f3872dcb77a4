/*-------------------------------------------------------------------------
 *
 * catalog_version.h
 *	  Whether the server's catalogs may have changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CATALOG_VERSION_H
#define NOTIFY_STATS_CATALOG_VERSION_H

extern uint64 catalog_version(void);

/*
 * The catalog version at which some data was derived; not valid if none was.
 */
typedef struct CatalogStamp
{
	bool		valid;
	uint64		version;
} CatalogStamp;

extern void catalog_stamp(CatalogStamp *stamp, uint64 version);
extern bool catalog_stamp_holds(const CatalogStamp *stamp);

#endif							/* NOTIFY_STATS_CATALOG_VERSION_H */
