/*-------------------------------------------------------------------------
 *
 * slot.h
 *	  Logical slots and WAL positions.
 *
 * A process uses one slot at a time.  After an error in one of these functions
 * the process must end its (top-level) transaction by that error.  Otherwise
 * the server would drop the slot that the next call leaves behind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SLOT_H
#define NOTIFY_STATS_SLOT_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "message_buffer.h"
#include "start_point.h"

/* The properties of a slot that can be read without acquiring it. */
typedef struct SlotInfo
{
	NameData	plugin;
	Oid			database;		/* InvalidOid: a physical slot */
	bool		lost;			/* invalidated: it can no longer be read */
	const char *lost_by;		/* then the setting that has led to it, if
								 * known */
	TimestampTz inactive_since; /* it has not been used; 0: not known (before
								 * 18) */
	XLogRecPtr	confirmed_flush_lsn;
	XLogRecPtr	restart_lsn;	/* reading starts here when it is opened */
	TransactionId catalog_xmin; /* catalog rows it still needs */
	int			active_pid;		/* of the process that has acquired it, or 0 */
	bool		temporary;		/* it goes away with that process */
	bool		failover;		/* it is synchronized to standbys */
} SlotInfo;

/* The slot of a session that follows a rollup. */
typedef struct Follower
{
	NameData	name;
	int			pid;
	XLogRecPtr	restart_lsn;	/* invalid: it retains no WAL */
} Follower;

/* Free slots that those of the window and of followers leave to others. */
#define SLOTS_OF_OTHERS 1

/* A peek: the messages written by the output plugin. */
typedef struct SlotPeek SlotPeek;

extern void slot_main_name(NameData *name);
extern void slot_window_name(NameData *name);
extern void slot_check_plugin(const char *plugin);
extern bool slot_lookup(const char *name, SlotInfo *info);
extern int	slot_idle_timeout(void);
extern bool slot_is_idle(const char *name);
extern void slot_touch(const char *name);
extern int	slot_count_free(void);
extern XLogRecPtr slot_create(const char *name, const char *plugin,
							  bool failover);
extern XLogRecPtr slot_copy(const char *source, const char *name,
							const char *plugin, bool temporary);
extern void slot_create_at(const StartPoint *point, const char *name,
						   const char *plugin);
extern void slot_drop(const char *name);
extern void slot_set_failover(const char *name, bool failover);
extern bool slot_main_exists_in(Oid database);
extern bool slot_drop_main_of(Oid database, NameData *name);
extern bool slot_drop_window_of(Oid database, NameData *name);
extern XLogRecPtr slot_safe_lsn(void);
extern bool slot_has_wal(XLogRecPtr lsn);
extern XLogRecPtr slot_written_lsn(void);
extern XLogRecPtr slot_flush_written(void);
extern XLogRecPtr slot_next_segment(void);
extern void slot_fill_segment(XLogRecPtr end);
extern XLogRecPtr slot_normalize_lsn(XLogRecPtr lsn);
extern void slot_keep_open(MemoryContext context);
extern void slot_forget(void);
extern bool slot_keeps_open(void);
extern bool slot_is_open(const char *name);
extern bool slot_is_held(const char *name);
extern void slot_close(void);
extern void slot_discard(const char *name);
extern void slot_release_wal(const char *name, XLogRecPtr before);
extern void slot_follower_name(NameData *name);
extern List *slot_followers(Oid database);
extern bool slot_may_keep_follower(void);
extern void slot_wait_until_free(const char *name, int pid);
extern SlotPeek *slot_peek(const char *name, const char *plugin, bool binary,
						   bool resumable,
						   List *options, const StartPoint *start,
						   XLogRecPtr upto);
extern bool slot_peek_more(SlotPeek *peek);
extern bool slot_peek_next(SlotPeek *peek, Message *message);
extern void slot_peek_end(SlotPeek *peek);
extern void slot_advance(const char *name, XLogRecPtr lsn);
extern bool slot_standbys_have(XLogRecPtr lsn, int elevel);
extern XLogRecPtr slot_log_running_transactions(void);

#endif							/* NOTIFY_STATS_SLOT_H */
