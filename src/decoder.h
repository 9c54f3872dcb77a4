/*-------------------------------------------------------------------------
 *
 * decoder.h
 *	  A logical slot that a process keeps open.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DECODER_H
#define NOTIFY_STATS_DECODER_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "utils/tuplestore.h"

/* Whether this process has that slot open; with NULL: any. */
extern bool decoder_is_open(const char *slot_name);

/* Whether it is open with these options, so that decoder_open has nothing to do. */
extern bool decoder_is_ready(const char *slot_name, List *options);

/*
 * Opens a slot, at its confirmed position, unless it is open already and was
 * opened with the same options, a list of char *, names and values in turn.
 * What is opened lives in the given memory context, which has to outlast it.
 * Throws if another process has the slot.
 */
extern void decoder_open(const char *slot_name, List *options, MemoryContext context);

/*
 * Decodes from where the last call stopped up to a position that is on disk, and
 * adds what the output plugin writes to a tuplestore of (pg_lsn, xid, bytea).
 * Within a transaction.  If it throws, or if what was read is not applied, the
 * process must end, or call decoder_forget on its way out of the command.
 */
extern void decoder_read(XLogRecPtr upto, Tuplestorestate *rows, TupleDesc desc);

/* Lets the slot forget what lies before a position, which must be read by now. */
extern void decoder_confirm(XLogRecPtr lsn);

/* Closes the slot, if one is open, so that others can use it. */
extern void decoder_close(void);

/*
 * After an error in a session: forgets what is open.  The slot is released when
 * the command is aborted, and the memory goes with its context.
 */
extern void decoder_forget(void);

#endif							/* NOTIFY_STATS_DECODER_H */
