/*-------------------------------------------------------------------------
 *
 * type_parts.h
 *	  The types that values consist of, and how ALTER TYPE can change them.
 *
 * ALTER TYPE can change the meaning of stored values, or their text form,
 * without a change of any row.  Examples are adding or dropping attributes of
 * composite types, and renaming labels of enums.
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
extern Oid	type_naming(Oid type);
extern void type_check_text(Oid relid, const Bitmapset *columns);

#endif							/* NOTIFY_STATS_TYPE_PARTS_H */
