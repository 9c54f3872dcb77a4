/*-------------------------------------------------------------------------
 *
 * core.h
 *	  Which rollups are the cores of which view.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CORE_H
#define NOTIFY_STATS_CORE_H

#include "nodes/pg_list.h"

/* A rollup that is a view over other rollups, its cores. */
typedef struct Computed
{
	Oid			view;
	Oid			definition;		/* the view with the user's query */
	List	   *cores;			/* OIDs of rollups */
} Computed;

extern List *core_list_computed(void);
extern Computed *core_find_computed(Oid view);
extern List *core_parts(Oid relid);
extern Oid	core_users_rollup(Oid relid);
extern char *core_display_name(Oid relid);
extern void core_register(const Computed *computed);
extern bool core_make_dependent(const Computed *computed);
extern bool core_adopt(Oid core);
extern void core_forget_dropped(void);

extern void relation_make_dependent(Oid dependent, Oid relid, char type);
extern bool relation_is_dependent(Oid dependent, Oid relid, char type);

#endif							/* NOTIFY_STATS_CORE_H */
