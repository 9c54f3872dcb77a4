/*-------------------------------------------------------------------------
 *
 * apply.h
 *	  Applies deltas to tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_APPLY_H
#define NOTIFY_STATS_APPLY_H

#include "fold.h"

extern bool apply_delta(Delta *delta, const char *build_table);
extern void apply_check_written(const Rollup *rollup, uint64 written,
								uint64 expected);
extern void apply_query_with_rows(const char *query, Tuplestorestate *rows,
								  TupleDesc desc,
								  uint64 nrows);

#define APPLY_ROWS "notify_stats_rows"

#endif							/* NOTIFY_STATS_APPLY_H */
