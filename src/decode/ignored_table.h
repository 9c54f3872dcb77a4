/*-------------------------------------------------------------------------
 *
 * ignored_table.h
 *	  Leaving out the changes of tables that the output plugin ignores.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_IGNORED_TABLE_H
#define NOTIFY_STATS_IGNORED_TABLE_H

#include "replication/logical.h"
#include "utils/relcache.h"

typedef struct IgnoredTables IgnoredTables;

extern IgnoredTables *ignored_tables_create(void);
extern void ignored_tables_add(IgnoredTables *tables, Relation relation);
extern bool ignored_tables_leave_out(IgnoredTables *tables,
									 LogicalDecodingContext *decoding);

#endif							/* NOTIFY_STATS_IGNORED_TABLE_H */
