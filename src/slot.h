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
#include "nodes/pg_list.h"

/* What can be known of a slot without acquiring it. */
typedef struct SlotInfo
{
	NameData	plugin;
	Oid			database;		/* InvalidOid: a physical slot */
	bool		lost;			/* invalidated: the WAL that it needs is gone */
	XLogRecPtr	confirmed_flush_lsn;
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

/* How many slots can still be made. */
extern int	slot_count_free(void);

/*
 * Creates a permanent slot, and returns its position.  Waits for all
 * transactions that have an xid.  Throws in a transaction that has written.
 */
extern XLogRecPtr slot_create(const char *name, const char *plugin);

/*
 * Makes a temporary slot, which this process alone uses and which goes away
 * with it, at the position of another, and returns that position.
 */
extern XLogRecPtr slot_copy(const char *source, const char *name, const char *plugin);

extern void slot_drop(const char *name);

/*
 * The position up to which the WAL is on disk.  A peek up to it gives every
 * transaction whose commit record starts before it.
 */
extern XLogRecPtr slot_safe_lsn(void);

/*
 * The position after everything that was written so far, made safe: on disk
 * on return.
 */
extern XLogRecPtr slot_flush_written(void);

/*
 * The same position for a caller's token: pg_current_wal_insert_lsn() may
 * point behind the header of a page that does not exist yet.
 */
extern XLogRecPtr slot_normalize_lsn(XLogRecPtr lsn);

/*
 * Decodes from the slot's confirmed position up to a safe one, which lies
 * after it, and leaves the slot as it was.  The options are as a format gives
 * them.  The result lives in the current memory context and resource owner,
 * and takes work_mem, then temporary files.
 */
extern SlotPeek *slot_peek(const char *name, const char *plugin, bool binary,
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

#endif							/* NOTIFY_STATS_SLOT_H */
