/*-------------------------------------------------------------------------
 *
 * definition.h
 *	  The query that a rollup is kept equal to, in a form that can be applied
 *	  to single rows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DEFINITION_H
#define NOTIFY_STATS_DEFINITION_H

#include "access/tupdesc.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"

#include "obstacle.h"

#include "aggregate.h"

/* One output column that the definition groups by. */
typedef struct GroupColumn
{
	AttrNumber	attnum;			/* of the rollup and of its definition view */
	char	   *name;
	Oid			type;
	int32		typmod;
	Oid			collation;
	Oid			eqop;			/* hashable equality that GROUP BY uses */
} GroupColumn;

/* One output column that holds an aggregate. */
typedef struct Measure
{
	AttrNumber	attnum;
	char	   *name;
	MeasureKind kind;
	Oid			argtype;		/* type of the argument; InvalidOid: count(*) */

	/*
	 * A sum over no non-null input is NULL.  "companion" is the index of the
	 * count that shows how many inputs there are.  It is -1 if the sum is
	 * never NULL because the definition has coalesce(sum(x), 0).
	 */
	int			companion;

	/*
	 * The companion of a sum counts rows, not values; or a count(x) serves as
	 * a count of rows.  That is correct as long as the argument is never
	 * NULL, so a NULL is an error.
	 */
	bool		arg_not_null;
} Measure;

/*
 * One SELECT of the definition's FROM: a table, and all expressions in terms
 * of its columns (Vars of varno 1, attribute numbers of the source).  The
 * expressions have been processed by expression_planner and are ready for
 * ExecInitExpr.
 */
typedef struct Branch
{
	Oid			source;
	List	   *quals;			/* implicitly ANDed; NIL: every row counts */
	List	   *groups;			/* an Expr per group column */
	List	   *args;			/* an Expr per measure, NULL for count(*) */
	List	   *filters;		/* an Expr per measure, NULL without FILTER */
	Bitmapset  *columns;		/* attribute numbers of the source in use */
	List	   *types;			/* alterable types (type_parts.h) in use */
} Branch;

/*
 * The data for comparing rows by their group columns, as for
 * execTuplesHashPrepare.
 */
typedef struct GroupHash
{
	TupleDesc	desc;			/* of the group columns alone */
	AttrNumber *columns;		/* 1, 2, 3 ... */
	Oid		   *eq_functions;
	Oid		   *hash_functions;
	Oid		   *collations;
} GroupHash;

typedef struct Definition
{
	int			ncolumns;		/* output columns, ngroups + nmeasures */
	int			ngroups;
	GroupColumn *groups;
	GroupHash	group_hash;
	int			nmeasures;
	Measure    *measures;
	int			row_count;		/* index of the measure count(*), or of a
								 * count(x) that is arg_not_null */
	List	   *branches;		/* of Branch */
	List	   *sources;		/* OIDs of the distinct sources */
	bool		calls_users_code;	/* grouping rows may call code of users
									 * (users_code.h) */
} Definition;

extern Definition *definition_try(const Query *query, Obstacle **obstacle);
extern Definition *definition_compile(const Query *query);
extern bool definition_groups_not_null(const Definition *definition);
extern Bitmapset *definition_source_columns(const Definition *definition,
											Oid source);
extern List *definition_source_types(const Definition *definition, Oid source);

#endif							/* NOTIFY_STATS_DEFINITION_H */
