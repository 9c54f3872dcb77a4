/*-------------------------------------------------------------------------
 *
 * facts.h
 *	  Properties that must not change between a change of a row and its
 *	  reading.
 *
 * Attaching or detaching a partition adds or removes rows without row changes
 * in the WAL.  So does anything done while a table is unlogged.  Some output
 * plugins identify tables and columns by their names at the time of the
 * change, and we look these up in the current catalogs.  Altering user-defined
 * types changes the meaning of stored values and their text form
 * (type_parts.h).  So the facts that decoding relies on are stored with the
 * position of the stream.  If one has changed since then, unread changes can
 * no longer be decoded, and the rollups of that source become stale.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FACTS_H
#define NOTIFY_STATS_FACTS_H

#include "access/attnum.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

#include "definition.h"
#include "format.h"

typedef struct Fact
{
	Oid			source;
	const char *name;			/* the subject of the fact, for messages */
	const char *value;
} Fact;

/* The facts as of one position. */
typedef struct FactSet
{
	Oid			rollup;			/* that was left behind there; InvalidOid: the
								 * position of the stream */
	List	   *facts;
} FactSet;

/*
 * Notes written by DDL.  No comparison of facts ever finds them true.  One
 * kind records that unread changes are unusable, the other that a partition
 * was detached temporarily.  Each transaction writes its own.  If only one
 * fact is broken, its name follows the transaction, since it may concern only
 * some rollups.
 */
#define BREAK_FACT "shape"
#define DETACHED_FACT "detached partition "

/*
 * The condition on a row of source_fact, as f, that it is a note of DDL; also
 * in applied_lsn().
 */
#define FACT_IS_NOTE "f.fact LIKE '" BREAK_FACT " %' OR f.fact LIKE '" DETACHED_FACT "%'"

extern List *facts_add(List *facts, Oid source, const char *name,
					   const char *value);
extern List *facts_add_columns(List *facts, Oid source,
							   const Bitmapset *columns);
extern List *facts_add_column(List *facts, Oid source, AttrNumber attnum,
							  const char *name,
							  const char *value);
extern List *facts_add_partitions(List *facts, Oid source,
								  char *(*value) (Oid relid));
extern List *facts_add_partition(List *facts, Oid source, Oid partition);
extern List *facts_collect(const Format *format, List *definitions);
extern List *facts_renew(const Format *format, List *facts, Oid source);
extern List *facts_sources_of(List *facts, Oid relid);
extern List *facts_sources_with_type(List *facts, Oid type);
extern List *facts_broken(List *before, List *now, Oid source);
extern List *facts_of_expression(List *facts, Oid source, Oid relid,
								 AttrNumber attnum);
extern void facts_note_break(Oid rollup, Oid source);
extern void facts_note_broken(Oid rollup, List *broken);
extern void facts_note_detached(Oid rollup, List *before, List *now, Oid source);
extern List *facts_collect_versions(const Format *format, List *definitions);
extern const char *facts_break(const Format *format, List *before, List *now,
							   const Definition *definition, Oid source,
							   bool partitions_may_go);
extern bool facts_bring_rows(List *before, List *now, Oid source,
							 bool altered_here);
extern List *facts_without(List *facts, List *known);
extern bool facts_equal(List *before, List *now);
extern List *facts_load(Oid rollup);
extern List *facts_load_sets(void);
extern void facts_store(List *loaded, List *facts);
extern void facts_store_others(List *stored, List *facts);

#endif							/* NOTIFY_STATS_FACTS_H */
