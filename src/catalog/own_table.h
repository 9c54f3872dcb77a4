/*-------------------------------------------------------------------------
 *
 * own_table.h
 *	  Whether a rollup's own table can hold the result of its definition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_OWN_TABLE_H
#define NOTIFY_STATS_OWN_TABLE_H

#include "access/tupdesc.h"
#include "utils/relcache.h"

#include "definition.h"

extern void own_table_check_columns(const char *rollup, TupleDesc table,
									TupleDesc definition,
									const AttrNumber *columns);
extern Oid	own_table_find_index(Relation table, const Definition *definition,
								 const AttrNumber *columns);
extern char *own_table_columns_of(TupleDesc desc);
extern char *own_table_column_type(Form_pg_attribute attribute,
								   bool with_collation);

#endif							/* NOTIFY_STATS_OWN_TABLE_H */
