/*-------------------------------------------------------------------------
 *
 * type_parts.h
 *	  The types that values are made of, and what can be altered about them.
 *
 * ALTER TYPE changes what stored values mean, or how they are written as
 * text, without a change of any row: attributes of composite types come and
 * go, labels of enums are renamed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TYPE_PARTS_H
#define NOTIFY_STATS_TYPE_PARTS_H

#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

extern bool type_is_alterable(Oid type);
extern List *type_parts(List *types);
extern char *type_description(Oid type, bool as_text);
extern bool type_description_holds(const char *before, const char *now);
extern List *type_relations(List *types);
extern List *type_enums(List *types);
extern char *type_label_versions(Oid type);
extern void type_check_text(Oid relid, const Bitmapset *columns);

#endif							/* NOTIFY_STATS_TYPE_PARTS_H */
