/*-------------------------------------------------------------------------
 *
 * rollup.h
 *	  The catalog of rollups.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_ROLLUP_H
#define NOTIFY_STATS_ROLLUP_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "nodes/plannodes.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"

#include "busy_lock.h"
#include "format.h"
#include "shape.h"
#include "xact.h"

typedef enum RollupState
{
	ROLLUP_BUILDING,
	ROLLUP_LIVE,
	ROLLUP_STALE,
	ROLLUP_FAILED
} RollupState;

typedef struct Rollup
{
	Oid			relid;
	Oid			view;			/* the definition */
	RollupState state;
	int64		request;		/* the last requested rebuild, or 0 */
	bool		from_scratch;	/* it was asked not to resume the rollup */
	int64		built_from;		/* fingerprint of the definition at that time */

	char	   *updated_at;		/* the column in which the time of a change is
								 * noted; NULL: none */
	List	   *column_names;	/* of String; NIL: its table had just the
								 * columns of its definition when last seen */
	List	   *ignores;		/* OIDs of the sources whose deleted rows
								 * still count */
	bool		resumable;		/* though it has these, if it is left behind
								 * now; set by the main stream */

	const List *all;			/* OIDs of all rollups, in order */
	RollupShape *shape;			/* set by rollup_open, under its locks */
} Rollup;

extern ShapeAccess rollup_open(Rollup *rollup, BusyLock *busy);
extern SavedRole rollup_begin_as_owner(const Rollup *rollup, bool blame);
extern void rollup_end_as_owner(SavedRole saved);
extern List *rollup_definitions(List *rollups);
extern void rollup_check_no_core(Oid relid);
extern void rollup_drop(Oid relid);
extern void rollup_request_rebuild(Oid relid, bool forget_deleted,
								   bool from_scratch, bool resumable);
extern void rollup_allow_give_up_all(bool forget_deleted);
extern bool rollup_is_visible(Oid relid);
extern void rollup_complain_missing(Oid relid);
extern void rollup_check_owner(Oid relid);
extern List *rollup_list(bool *some_dropped);
extern List *rollup_relids(void);
extern void rollup_forget_dropped(void);
extern void rollup_forget_released(Oid relid);
extern bool rollup_settle_restored(List *rollups, bool has_slot);
extern bool rollup_is_restored(const Rollup *rollup);
extern void rollup_take_over(List *rollups);
extern const AttrNumber *rollup_columns(const Rollup *rollup, Relation table);
extern Oid	rollup_group_index(const Rollup *rollup, Relation table);
extern bool rollup_has_index(const Rollup *rollup);
extern bool rollup_is_obstructed(const Rollup *rollup);

extern char *rollup_qualified_name(Oid relid);
extern char *rollup_rebuild_statement(const char *name, bool forgets);
extern char *rollup_repair_hint(const char *name, bool ignores, bool resumable);
extern Rollup *rollup_find(List *rollups, Oid relid);
extern int	rollup_lock_patience(const Rollup *rollup);
extern int	rollup_long_patience(void);
extern bool rollup_lock_rows(const Rollup *rollup, BusyLock *busy);
extern void rollup_check_name(const Rollup *rollup);

/* What is not done of what was waited for: one of the two. */
typedef struct Unreached
{
	XLogRecPtr	reached;		/* the position that the stream has reached */
	Oid			rollup;			/* a rollup that is not ready */
	char		step[20];		/* it has not been that yet */
} Unreached;

extern bool rollup_reached(Oid relid, XLogRecPtr target, XLogRecPtr reached,
						   Unreached *missing);
extern bool rollup_ignores_deletes(const Rollup *rollup, Oid source);

/* A source of a rollup, as of its creation or last build. */
typedef struct RollupSource
{
	Oid			rollup;
	Oid			source;
	Bitmapset  *columns;		/* those that the definition reads and that
								 * still exist */
} RollupSource;

extern List *rollup_known_sources(void);
extern char *rollup_ignored_names(const Rollup *rollup);
extern bool rollup_wants_build(const Rollup *rollup);
extern void rollup_set_state(Oid relid, RollupState state, const char *reason,
							 XLogRecPtr lsn);

extern bool rollup_exists(Oid relid);
extern void rollup_make_dependent(Oid relid, Oid view);
extern void rollup_store_sources(Oid relid, const Definition *definition);
extern void rollup_give_up_restored(List *relids, const char *reason);
extern bool rollup_adopt_view(const Rollup *rollup);
extern bool rollup_note_columns(const Rollup *rollup);
extern void rollup_set_built(const Rollup *rollup);
extern int64 rollup_catalog_state(Oid relid, TransactionId *youngest);
extern void rollup_set_retry(Oid relid, int64 state);
extern bool rollup_retry(Rollup *rollup);
extern void rollup_set_resumed(Oid relid);
extern void rollup_give_up(Rollup *rollup, const char *reason, XLogRecPtr lsn);
extern void rollup_leave_behind(Rollup *rollup, const char *reason,
								XLogRecPtr lsn);
extern void rollup_give_up_all(const char *reason, XLogRecPtr lsn,
							   bool rebuild);
extern void rollup_set_changed(List *rollups);

#endif							/* NOTIFY_STATS_ROLLUP_H */
