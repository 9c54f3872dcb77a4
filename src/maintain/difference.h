/*-------------------------------------------------------------------------
 *
 * difference.h
 *	  Finding the differences between a rollup and its definition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DIFFERENCE_H
#define NOTIFY_STATS_DIFFERENCE_H

#include "lib/stringinfo.h"

#include "rollup.h"

typedef struct Differences Differences;

/*
 * Receives one group that differs, as JSON: its key, and its measures in the
 * rollup and in the definition.  Measures are NULL where the group does not
 * exist.
 */
typedef void (*VerifyCallback) (const char *group_key, const char *in_rollup,
								const char *in_definition, void *arg);

/* Returns an expression for a value of a group column, given as another one. */
typedef char *(*KeyExpression) (const Definition *definition, int group,
								const char *value);

extern bool difference_replace(const Rollup *rollup);
extern bool difference_finds_empty(const Rollup *rollup);
extern void difference_fill_new_table(const Rollup *rollup);
extern Differences *difference_collect(const Rollup *rollup,
									   MemoryContext context);
extern void difference_report(const Differences *differences,
							  VerifyCallback callback, void *arg);
extern void difference_append_key(StringInfo buf,
								  const Definition *definition,
								  KeyExpression expression);
extern void difference_append_measures(StringInfo buf,
									   const Definition *definition,
									   const char *condition,
									   const char *prefix);

#endif							/* NOTIFY_STATS_DIFFERENCE_H */
