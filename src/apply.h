/*-------------------------------------------------------------------------
 *
 * apply.h
 *	  Deltas become rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_APPLY_H
#define NOTIFY_STATS_APPLY_H

#include "fold.h"

/*
 * Applies the deltas of one rollup to "target", a qualified and quoted name:
 * the rollup's table, or the table that a build fills.  Runs as the rollup's
 * owner.  Returns whether anything changed.  Throws if the table cannot be
 * what the definition had: a group would get a negative count.
 */
extern bool apply_delta(Delta *delta, const char *target);

/* Throws unless as many groups were written as there were to write. */
extern void apply_check_written(const Rollup *rollup, uint64 written, uint64 expected);

/*
 * Runs a query that reads rows handed over in a tuplestore, which it names
 * notify_stats_rows, and whose columns are those of "desc".  SPI must be
 * connected.
 */
extern void apply_query_with_rows(const char *query, Tuplestorestate *rows, TupleDesc desc,
								  uint64 nrows);
#define APPLY_ROWS "notify_stats_rows"

#endif							/* NOTIFY_STATS_APPLY_H */
