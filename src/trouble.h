/*-------------------------------------------------------------------------
 *
 * trouble.h
 *	  Whose error it is.
 *
 * An error while a rollup's own expressions, table or privileges are at work
 * is that rollup's alone, and must not stop the others.  There is no
 * subtransaction to catch it in.  Instead the error ends the process (or the
 * caller's command) as any error does, after it has been noted here for whom
 * work was being done; the next cycle marks that rollup as failed, and goes on
 * without it.
 *
 * Errors that pass by themselves (a deadlock, a cancellation, a connection limit)
 * are tried again.  But users' code can raise any of them.  So if such errors occur
 * again and again while some rollup is at work at the same position, the last one is
 * that rollup's own as well.  A lock that is not free within notify_stats.lock_timeout
 * makes the rollup stale at once: it is rebuilt when the lock is free.
 *
 * An error while a value of a table's changes is read is that of the rollups that
 * read this table, and is noted for the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TROUBLE_H
#define NOTIFY_STATS_TROUBLE_H

#include "access/xlogdefs.h"

/* From here on, until trouble_end, work is done for that rollup alone. */
extern void trouble_begin(Oid rollup);
extern void trouble_end(void);

/*
 * Which part of the rollup's definition is evaluated, to report with an error, such as
 * 'in WHERE'; kept by reference until trouble_end, which forgets it.
 */
extern void trouble_set_part(const char *part);

/* The part, or NULL. */
extern const char *trouble_part(void);

/*
 * The rollup that work is done for, or the source the values of which are read, or
 * InvalidOid.  May be called in a signal handler.
 */
extern Oid	trouble_at_work(void);

/*
 * The next error is that rollup's or source's own, whatever it says and whoever is at
 * work then, for this reason; InvalidOid: it is not.  May be called in a signal handler;
 * the reason is kept by reference.
 */
extern void trouble_blame(Oid relid, const char *reason);

/* To be called when the process ends: notes whom trouble_blame has named, if anybody. */
extern void trouble_record_blame(void);

/*
 * While set, errors are nobody's: a rollup is only looked at, and whoever does
 * so is told.
 */
extern void trouble_ignore(bool ignore);

/*
 * This process builds that rollup, or with InvalidOid, none (any more).  A passing error
 * of it holds up nobody, since the build is tried again at leisure; but for the end of
 * the build, "joining", when all others wait.
 */
extern void trouble_set_building(Oid rollup, bool joining);

/*
 * Whether the last error of that rollup's build was a passing one, at its join.  Asked
 * once for each error.
 */
extern bool trouble_failed_at_join(Oid rollup);

/* Enters that a build has failed so often in that way: the next cycle marks the rollup. */
extern void trouble_give_up_build(Oid rollup, int failures);

/* Nobody is at work. */
extern void trouble_reset(void);

/*
 * From here on errors of the rollup are those of its build, which serves the
 * requests for a rebuild up to this one; 0: they are not.
 */
extern void trouble_set_request(int64 request);

/* The position that is being applied, to report with an error. */
extern void trouble_set_lsn(XLogRecPtr lsn);

/*
 * The record of a slot's output that is being read, to report with an error;
 * NULL: none.
 */
extern void trouble_set_record(const char *slot_name, XLogRecPtr lsn, TransactionId xid);

/*
 * To be called in PG_CATCH, before PG_RE_THROW: notes the error in shared
 * memory, for the rollup if it is the rollup's own, and for the status if it is
 * not just the answer to one caller.
 */
extern void trouble_record(bool for_status);

/* A rollup's trouble; the reason is palloc'd. */
typedef struct Trouble
{
	Oid			rollup;
	char	   *reason;
	bool		heals;			/* a rebuild may put it right: it is stale rather than failed */
	XLogRecPtr	lsn;			/* invalid: not known */
	int64		request;
} Trouble;

/* Reads the note of a rollup's trouble; false if there is none. */
extern bool trouble_read(Trouble *trouble);

/* Forgets the note if it is that rollup's: it is in the catalog, or mended. */
extern void trouble_forget(Oid rollup);

/* From here on, until trouble_end_values, values of that source are read. */
extern void trouble_begin_values(Oid source);
extern void trouble_end_values(void);

/*
 * While not set, errors that values raise are nobody's: another stream than the
 * main one is read, and its reader starts again.
 */
extern void trouble_note_values(bool note);

/* The source with a value that cannot be read, and why, palloc'd; or InvalidOid. */
extern Oid	trouble_unreadable_source(char **reason);

/* Forgets that a value of the source cannot be read: its rollups do without it. */
extern void trouble_forget_source(Oid source);

#endif							/* NOTIFY_STATS_TROUBLE_H */
