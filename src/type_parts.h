/*-------------------------------------------------------------------------
 *
 * type_parts.h
 *	  The types that values are made of, and what can be altered about them.
 *
 * ALTER TYPE changes what stored values mean, or how they are written as text,
 * without a change of any row: attributes of composite types come and go, labels
 * of enums are renamed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TYPE_PARTS_H
#define NOTIFY_STATS_TYPE_PARTS_H

#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

/* Whether a type can be altered at all: those that came with the server cannot. */
extern bool type_is_alterable(Oid type);

/*
 * The alterable types among the given ones and all that their values are made of:
 * attributes, elements, and what domains and ranges are over.  Takes no lock.
 */
extern List *type_parts(List *types);

/*
 * What is to be known of one type to understand its values.  With "as_text",
 * also what is to be known to read them as its output function wrote them.
 * Palloc'd.
 */
extern char *type_description(Oid type, bool as_text);

/*
 * Whether values that were written when a type had the first description can be
 * understood now that it has the second.
 */
extern bool type_description_holds(const char *before, const char *now);

/* The relations of the composite types out of a list: their locks guard the attributes. */
extern List *type_relations(List *types);

/* The enums out of a list. */
extern List *type_enums(List *types);

/*
 * A number that is another one after a label of an enum was renamed, even if it
 * has the same name again; "" for other types.
 */
extern char *type_label_versions(Oid type);

/*
 * Throws if columns of a table have values whose text names other objects, which
 * may be renamed between the writing and the reading of the text.
 */
extern void type_check_text(Oid relid, const Bitmapset *columns);

#endif							/* NOTIFY_STATS_TYPE_PARTS_H */
