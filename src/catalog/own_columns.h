/*-------------------------------------------------------------------------
 *
 * own_columns.h
 *	  Which columns of a rollup's own table hold those of its definition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_OWN_COLUMNS_H
#define NOTIFY_STATS_OWN_COLUMNS_H

#include "access/tupdesc.h"
#include "nodes/pg_list.h"

extern AttrNumber own_columns_find_name(TupleDesc desc, const char *name);
extern AttrNumber *own_columns_match(Relation table, TupleDesc definition);
extern AttrNumber *own_columns_find(Oid rollup, TupleDesc table,
									TupleDesc definition, const List *names,
									bool *stored);
extern bool own_columns_are_all(TupleDesc table, const AttrNumber *columns,
								int ncolumns);
extern List *own_columns_names(TupleDesc table, const AttrNumber *columns,
							   int ncolumns);
extern void own_columns_store(Oid rollup, const List *names,
							  const AttrNumber *columns);

#endif							/* NOTIFY_STATS_OWN_COLUMNS_H */
