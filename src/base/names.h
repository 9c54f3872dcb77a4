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

#endif							/* NOTIFY_STATS_NAMES_H */
