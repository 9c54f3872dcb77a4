/*-------------------------------------------------------------------------
 *
 * core_builder.h
 *	  The core of a grouped SELECT: the table that is kept for it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CORE_BUILDER_H
#define NOTIFY_STATS_CORE_BUILDER_H

#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"

/* What a group column of a core is needed for. */
typedef enum CoreUse
{
	CORE_GROUP,					/* the query groups by it */
	CORE_CONDITION,				/* a join, a condition or an expression that
								 * is computed when reading */
	CORE_ARGUMENT				/* an aggregate that does not add up */
} CoreUse;

/* A column of a core. */
typedef struct CoreColumn
{
	char	   *name;
	Expr	   *expr;			/* in terms of the fact; a measure: the
								 * aggregate, or coalesce(sum, 0) */
	CoreUse		use;			/* of a group column */
} CoreColumn;

/*
 * A core in the making.  The fact is the FROM item whose rows are counted.
 * Until core_finish() the Vars of the core have provisional numbers.
 */
typedef struct CoreBuilder
{
	const Query *block;			/* the SELECT */
	int			fact;			/* index of the fact in its range table */
	int			varno;			/* stands for the core until core_finish() */
	List	   *inputs;			/* the tables of the fact (input.h) */
	bool		nullable;		/* an outer join may add rows without fact */
	bool		guarded;		/* conditions that are evaluated when reading
								 * can hide facts */
	List	   *quals;			/* conditions on the fact, implicitly ANDed */
	List	   *groups;			/* of CoreColumn */
	List	   *measures;		/* of CoreColumn */
} CoreBuilder;

extern bool core_has_fact(const CoreBuilder *builder, Node *node);
extern bool core_can_keep(const CoreBuilder *builder, Node *node);
extern Node *core_for_no_fact(const CoreBuilder *builder, Node *node);
extern bool core_has_group(const CoreBuilder *builder, Node *expr);
extern Var *core_group(CoreBuilder *builder, Node *expr, CoreUse use,
					   const char *name);
extern Var *core_measure(CoreBuilder *builder, Expr *aggregate,
						 const char *name);
extern Var *core_count(CoreBuilder *builder, Node *arg, List *filter,
					   const char *name);
extern Var *core_sum(CoreBuilder *builder, Node *arg, List *filter,
					 const char *name);
extern bool core_is_row_per_row(const CoreBuilder *builder);
extern Query *core_finish(CoreBuilder *builder, Query *view,
						  const char *core_name);

#endif							/* NOTIFY_STATS_CORE_BUILDER_H */
