/*-------------------------------------------------------------------------
 *
 * temporary_table.h
 *	  The temporary tables of a build.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TEMPORARY_TABLE_H
#define NOTIFY_STATS_TEMPORARY_TABLE_H

#include "rollup.h"

/* The definition's result, and its differences from the rollup. */
#define FRESH_NAME "notify_stats fresh rows"
#define DIFF_NAME "notify_stats differences"
#define FRESH_TABLE "pg_temp.\"" FRESH_NAME "\""
#define DIFF_TABLE "pg_temp.\"" DIFF_NAME "\""

extern void temporary_table_create(const Rollup *rollup, const char *name,
								   const char *made);

extern void temporary_table_drop(const char *name);

#endif							/* NOTIFY_STATS_TEMPORARY_TABLE_H */
