/*-------------------------------------------------------------------------
 *
 * own_table.h
 *	  Whether a rollup's own table can hold what its definition gives.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_OWN_TABLE_H
#define NOTIFY_STATS_OWN_TABLE_H

#include "access/tupdesc.h"
#include "utils/relcache.h"

#include "definition.h"

/*
 * Throws unless the table has the columns that the definition gives, first and
 * in that order, with their types, type modifiers and collations.  "rollup" is
 * its name as SQL.
 */
extern void own_table_check_columns(const char *rollup, TupleDesc table, TupleDesc definition);

/*
 * A unique index of the table that finds a group, NULLs included; or InvalidOid.  That
 * of a definition compares its group columns as GROUP BY does, so that no other index,
 * of a collation that takes more for equal, merges groups; without a definition (NULL)
 * any columns will do.
 */
extern Oid	own_table_find_index(Relation table, const Definition *definition);

/* Columns as CREATE TABLE takes them. */
extern char *own_table_columns_of(TupleDesc desc);

#endif							/* NOTIFY_STATS_OWN_TABLE_H */
