/*-------------------------------------------------------------------------
 *
 * shape.h
 *	  The catalogs' information about a rollup and its definition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SHAPE_H
#define NOTIFY_STATS_SHAPE_H

#include "access/tupdesc.h"
#include "nodes/pg_list.h"

#include "busy_lock.h"
#include "definition.h"

/*
 * The catalogs' information about a rollup and its definition.  It is
 * determined once, and shared by all users of the rollup in this process,
 * until some catalog changes.
 */
typedef struct RollupShape
{
	MemoryContext context;		/* contains the shape; apply.c keeps its plan
								 * there */
	Oid			relid;
	Oid			view;
	List	   *reads;			/* OIDs of the sources, their partitions, and
								 * composite types */
	Oid			owner;
	char	   *name;			/* schema-qualified and quoted, for SQL */
	char	   *view_name;		/* likewise */
	int64		fingerprint;	/* of the definition as it is now */
	Definition *definition;		/* with the table's column names */
	List	   *source_descs;	/* a TupleDesc for each of its sources */
	TupleDesc	desc;			/* of the definition's result, with the same
								 * names */
	AttrNumber *columns;		/* of the table, by column of the definition */
	bool		columns_stored; /* or need not be; see own_columns.c */
	AttrNumber *first_columns;	/* 1, 2, 3 ...: the same of other tables that
								 * are made for the definition */
	Oid			group_index;	/* the index of the table that finds a group;
								 * invalid: none */
	char	   *obstacle;		/* subscription_reason() of its table; NULL:
								 * none */
	struct ApplyPlan *plans;	/* apply.c's; NULL: none yet */
} RollupShape;

typedef enum ShapeAccess
{
	SHAPE_READY,				/* locked and compiled */
	SHAPE_BUSY,					/* another session has locked something it
								 * needs */
	SHAPE_GONE					/* it has just been dropped */
} ShapeAccess;

extern ShapeAccess shape_open(RollupShape **shape, Oid relid, Oid view,
							  const List *column_names, const List *all,
							  BusyLock *busy);
extern bool shape_is_kept(Oid relid, Oid view);
extern void shape_forget_outdated(void);
extern void shape_check_sources(const Definition *definition,
								const List *relids);
extern int64 shape_fingerprint(Oid view);
extern bool shape_lock_sources(List *relids, BusyLock *busy);
extern bool shape_lock_facts(const RollupShape *shape, bool labels,
							 BusyLock *busy);
extern bool shape_order_may_change(const RollupShape *shape);
extern bool shape_lock_indexes(const RollupShape *shape, BusyLock *busy);
extern void shape_make_indexes_again(const RollupShape *shape);
extern char *shape_columns(const RollupShape *shape);
extern char *shape_group_columns(const Definition *definition,
								 const char *prefix);

#endif							/* NOTIFY_STATS_SHAPE_H */
