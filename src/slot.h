/*-------------------------------------------------------------------------
 *
 * slot.h
 *	  Logical slots and positions of the write-ahead log.
 *
 * One slot at a time in a process: after an error in one of these functions
 * the process has to end its (top-level) transaction by that error, else the
 * server would drop the slot that the next call leaves behind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SLOT_H
#define NOTIFY_STATS_SLOT_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* What can be known of a slot without acquiring it. */
typedef struct SlotInfo
{
	NameData	plugin;
	Oid			database;		/* InvalidOid: a physical slot */
	bool		lost;			/* invalidated: it cannot be read any more */
	const char *lost_by;		/* then the setting that has led to it, if known */
	TimestampTz inactive_since; /* nobody has used it; 0: not known (before 18) */
	XLogRecPtr	confirmed_flush_lsn;
	XLogRecPtr	restart_lsn;	/* from where it is read when it is opened */
	int			active_pid;		/* of the process that has it, or 0 */
	bool		failover;		/* standbys have a copy of it */
} SlotInfo;

/* A peek: the rows that the output plugin wrote. */
typedef struct SlotPeek SlotPeek;

/* Has our slot calls' routine messages kept out of the server log. */
extern void slot_init(void);

/* Writes the name of the main slot of this database. */
extern void slot_main_name(NameData *name);

/*
 * Throws, with the line to write, if this server does not let that output
 * plugin be used.
 */
extern void slot_check_plugin(const char *plugin);

/* Looks up a slot; false if there is none of that name. */
extern bool slot_lookup(const char *name, SlotInfo *info);

/*
 * For how many seconds a slot may be left unused before the server invalidates it
 * (idle_replication_slot_timeout); 0: for ever.
 */
extern int	slot_idle_timeout(void);

/* Whether nobody has used a slot for half that time. */
extern bool slot_is_idle(const char *name);

/* Uses a slot, which nobody else does, for a moment, to no other end. */
extern void slot_touch(const char *name);

/* How many slots can still be made. */
extern int	slot_count_free(void);

/*
 * Creates a permanent slot, and returns its position.  With "failover" (from 17
 * on) it is one that standbys take over.  Waits for all
 * transactions that have an xid.  Throws in a transaction that has written.
 */
extern XLogRecPtr slot_create(const char *name, const char *plugin, bool failover);

/*
 * Makes a temporary slot, which this process alone uses and which goes away
 * with it, at the position of another, and returns that position.  It is never
 * idle.
 */
extern XLogRecPtr slot_copy(const char *source, const char *name, const char *plugin);

/* Also a slot that this process has open. */
extern void slot_drop(const char *name);

/*
 * Drops the main slot of any database, whoever calls, and gives its name; false
 * if there is none.  Waits until nobody has it.
 */
extern bool slot_drop_main_of(Oid database, NameData *name);

/*
 * The position up to which the WAL is on disk.  A peek up to it gives every
 * transaction whose commit record starts before it.
 */
extern XLogRecPtr slot_safe_lsn(void);

/*
 * Whether this server has the WAL at a position, on any timeline of its history.
 * Where it was found once it is not looked for again.
 */
extern bool slot_has_wal(XLogRecPtr lsn);

/* The position after everything that was written so far, on disk or not. */
extern XLogRecPtr slot_written_lsn(void);

/* The same, made safe: on disk on return. */
extern XLogRecPtr slot_flush_written(void);

/* Where a segment begins after some more records, this transaction's own. */
extern XLogRecPtr slot_next_segment(void);

/* Leaves the rest of the segment before a position unused, if it is not full; flushes. */
extern void slot_fill_segment(XLogRecPtr end);

/*
 * The same position for a caller's token: pg_current_wal_insert_lsn() may
 * point behind the header of a page that does not exist yet.
 */
extern XLogRecPtr slot_normalize_lsn(XLogRecPtr lsn);

/*
 * Has this process keep a slot open between peeks, where the format allows it
 * (see decoder.h), in that memory context; with NULL no more.  It has to end with
 * any error, or to call slot_forget on the way out of its command.
 */
extern void slot_keep_open(MemoryContext context);
extern void slot_forget(void);

/* Whether it does. */
extern bool slot_keeps_open(void);

/* Whether this process has a slot open: this one, or with NULL any. */
extern bool slot_is_open(const char *name);

/* Closes the slot that is open, if any. */
extern void slot_close(void);

/*
 * Waits, interruptibly, until that process does not have the slot any more.  It
 * has to be asked for it before.
 */
extern void slot_wait_until_free(const char *name, int pid);

/*
 * Decodes from the slot's confirmed position, or with "resumable", in a process
 * that keeps it open, from where the last peek stopped; up to a safe position,
 * which lies after it.  Leaves the slot as it was.  The options are as a format
 * gives them.  The result lives in the current memory context and resource
 * owner, and takes work_mem, then temporary files.
 */
extern SlotPeek *slot_peek(const char *name, const char *plugin, bool binary, bool resumable,
						   List *options, XLogRecPtr upto);

/* A row of a peek. */
typedef struct SlotRow
{
	XLogRecPtr	lsn;			/* where the plugin was, roughly */
	TransactionId xid;
	const char *data;			/* bytes or text, not NUL-terminated */
	int			len;
} SlotRow;

/* The next row of a peek, valid until the next call; false at the end. */
extern bool slot_peek_next(SlotPeek *peek, SlotRow *row);
extern void slot_peek_end(SlotPeek *peek);

/*
 * Lets the slot forget what lies before "lsn"; a no-op if it has already.
 * Survives a rollback, and may be undone by a crash.
 */
extern void slot_advance(const char *name, XLogRecPtr lsn);

/*
 * Whether the standbys in synchronized_standby_slots have the WAL up to a
 * position.  A slot that fails over must not get ahead of what they have.  If one
 * of their slots is missing, or not in use, that is logged at this level.
 */
extern bool slot_standbys_have(XLogRecPtr lsn, int elevel);

/*
 * Logs which transactions are running, at which point a slot may move its
 * restart_lsn when it is advanced past it, and returns the end of the record.
 * The server does it each 15 seconds.
 */
extern XLogRecPtr slot_log_running_transactions(void);

#endif							/* NOTIFY_STATS_SLOT_H */
