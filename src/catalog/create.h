/*-------------------------------------------------------------------------
 *
 * create.h
 *	  Creating a rollup.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CREATE_H
#define NOTIFY_STATS_CREATE_H

#include "nodes/pg_list.h"

#include "format.h"

extern Oid	rollup_create(const char *name, const char *definition,
						  const Format *format,
						  List *ignore_deletes);
extern void rollup_adopt_table(Oid relid, const Format *format,
							   List *ignore_deletes);

#endif							/* NOTIFY_STATS_CREATE_H */
