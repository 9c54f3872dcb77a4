/*-------------------------------------------------------------------------
 *
 * facts.h
 *	  What has to stay as it is between a change and its reading.
 *
 * Rows come and go with partitions that are attached and detached, and while
 * a table is unlogged, without a change of a row in the WAL.  And some output
 * plugins call tables and columns by the names that they had when the change
 * was made, and we look these up in the catalogs as they are now.  Types that
 * users have made can be altered, which changes what stored values mean, and how
 * they are written as text (type_parts.h).  So the facts
 * that all this rests on are written down with the position of the stream.  If
 * one has changed since, then unread changes cannot be told any more, and the
 * rollups of that source are stale.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FACTS_H
#define NOTIFY_STATS_FACTS_H

#include "access/attnum.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

#include "format.h"

struct Rollup;

typedef struct Fact
{
	Oid			source;
	const char *name;			/* what it is a fact of, for people */
	const char *value;
} Fact;

/*
 * What DDL has noted, and what is never true when facts are compared: that it has
 * broken unread changes; and that a partition has been one no more for a while.
 * Each transaction notes its own.  A break of one fact has the name of that behind
 * the transaction, as it may matter to some rollups only.
 */
#define BREAK_FACT "shape"
#define DETACHED_FACT "detached partition "

/* The condition on a row of source_fact, as f, that DDL has noted it; also in applied_lsn(). */
#define FACT_IS_NOTE "f.fact LIKE '" BREAK_FACT " %' OR f.fact LIKE '" DETACHED_FACT "%'"

/* Appends a fact; the strings are kept by reference. */
extern List *facts_add(List *facts, Oid source, const char *name, const char *value);

/* Appends the names and types of columns. */
extern List *facts_add_columns(List *facts, Oid source, const Bitmapset *columns);

/*
 * Appends one more fact of a column.  Each column has its own: which ones are in
 * use changes with the rollups.
 */
extern List *facts_add_column(List *facts, Oid source, AttrNumber attnum, const char *name,
							  const char *value);

/*
 * Appends the leaf partitions of a partitioned source, each with what "value"
 * says of it, or, with NULL, only that there is such a one.
 */
extern List *facts_add_partitions(List *facts, Oid source, char *(*value) (Oid relid));

/* The facts of what the given rollups read, all of them opened. */
extern List *facts_collect(const Format *format, List *rollups);

/*
 * The facts of a source as they are now, of the same columns as those given;
 * NIL if it does not exist any more.
 */
extern List *facts_renew(const Format *format, List *facts, Oid source);

/*
 * The sources that a relation is, is a leaf partition of, or the row type of which
 * their values are made of, in a set of facts.
 */
extern List *facts_sources_of(List *facts, Oid relid);

/* The sources whose values are made of a type. */
extern List *facts_sources_with_type(List *facts, Oid type);

/*
 * The facts of a source in the first set that do not hold in the second, other
 * than that of a partition that is gone, and notes.
 */
extern List *facts_broken(List *before, List *now, Oid source);

/* The facts of a source on how a column of this table, itself or a partition, is generated. */
extern List *facts_of_expression(List *facts, Oid source, Oid relid, AttrNumber attnum);

/*
 * Notes that the source was altered, in this transaction, such that unread
 * changes cannot be told: to any rollup.
 */
extern void facts_note_break(Oid source);

/* The same, as far as a rollup reads what one of these facts is of. */
extern void facts_note_broken(List *broken);

/*
 * Notes the partitions that are in the first set of facts alone.  They may come
 * back before anybody looks again.
 */
extern void facts_note_detached(List *before, List *now, Oid source);

/*
 * The same, and the versions of the catalog rows that they are from: nothing
 * about the sources was altered, not even for a while, as long as these hold.
 */
extern List *facts_collect_versions(const Format *format, List *rollups);

/* Why changes of a source cannot be told to a rollup between two sets of facts, or NULL. */
extern const char *facts_break(const Format *format, List *before, List *now,
							   const struct Rollup *rollup, Oid source);

/*
 * Whether a partition is new in the second set, or was not one for a while, and
 * so may have rows, or another replica identity, that no change has told.
 */
extern bool facts_bring_rows(List *before, List *now, Oid source);

/* Whether the two sets are the same. */
extern bool facts_equal(List *before, List *now);

/* The facts as they were when the stream's position was written. */
extern List *facts_load(void);

/* Writes facts in place of those that were loaded. */
extern void facts_store(List *loaded, List *facts);

/*
 * Writes the facts that are not among those already stored, and leaves these as
 * they are: what has come of their sources since is for the next look.
 */
extern void facts_store_others(List *stored, List *facts);

#endif							/* NOTIFY_STATS_FACTS_H */
