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
 * Whether the table has a unique index that finds a group, NULLs included.  That
 * of a definition compares its group columns as GROUP BY does; without one
 * (NULL) any columns will do.
 */
extern bool own_table_has_index(Relation table, const Definition *definition);

/* Columns as CREATE TABLE takes them. */
extern char *own_table_columns_of(TupleDesc desc);

/*
 * The group columns as ON CONFLICT takes them, to be found in no other index
 * than one of theirs.
 */
extern char *own_table_conflict_target(const Definition *definition);

#endif							/* NOTIFY_STATS_OWN_TABLE_H */
