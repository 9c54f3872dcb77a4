/*-------------------------------------------------------------------------
 *
 * names.h
 *	  Names of relations.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_NAMES_H
#define NOTIFY_STATS_NAMES_H

extern char *qualified_name(Oid relid);
extern char *qualified_name_or_null(Oid relid);

#endif							/* NOTIFY_STATS_NAMES_H */
