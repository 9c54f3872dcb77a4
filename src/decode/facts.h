/*-------------------------------------------------------------------------
 *
 * facts.h
 *	  What has to stay as it is between a change and its reading.
 *
 * Rows come and go with partitions that are attached and detached, and
 * while a table is unlogged, without a change of a row in the WAL.  And
 * some output plugins call tables and columns by the names that they had
 * when the change was made, and we look these up in the catalogs as they
 * are now.  Types that users have made can be altered, which changes what
 * stored values mean, and how they are written as text (type_parts.h).  So
 * the facts that all this rests on are written down with the position of
 * the stream.  If one has changed since, then unread changes cannot be told
 * any more, and the rollups of that source are stale.
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
	const char *name;			/* what it is a fact of, for people */
	const char *value;
} Fact;

/*
 * What DDL has noted, and what is never true when facts are compared: that
 * it has broken unread changes; and that a partition has been one no more
 * for a while.  Each transaction notes its own.  A break of one fact has
 * the name of that behind the transaction, as it may matter to some rollups
 * only.
 */
#define BREAK_FACT "shape"
#define DETACHED_FACT "detached partition "

/*
 * The condition on a row of source_fact, as f, that DDL has noted it; also
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
extern List *facts_collect(const Format *format, List *definitions);
extern List *facts_renew(const Format *format, List *facts, Oid source);
extern List *facts_sources_of(List *facts, Oid relid);
extern List *facts_sources_with_type(List *facts, Oid type);
extern List *facts_broken(List *before, List *now, Oid source);
extern List *facts_of_expression(List *facts, Oid source, Oid relid,
								 AttrNumber attnum);
extern void facts_note_break(Oid source);
extern void facts_note_broken(List *broken);
extern void facts_note_detached(List *before, List *now, Oid source);
extern List *facts_collect_versions(const Format *format, List *definitions);
extern const char *facts_break(const Format *format, List *before, List *now,
							   const Definition *definition, Oid source,
							   bool partitions_may_go);
extern bool facts_bring_rows(List *before, List *now, Oid source);
extern bool facts_equal(List *before, List *now);
extern List *facts_load(void);
extern void facts_store(List *loaded, List *facts);
extern void facts_store_others(List *stored, List *facts);

#endif							/* NOTIFY_STATS_FACTS_H */
