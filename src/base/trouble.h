/*-------------------------------------------------------------------------
 *
 * trouble.h
 *	  Whose error it is.
 *
 * An error while a rollup's own expressions, table or privileges are at
 * work is that rollup's alone, and must not stop the others.  There is no
 * subtransaction to catch it in.  Instead the error ends the process (or
 * the caller's command) as any error does, after it has been noted here for
 * whom work was being done; the next cycle marks that rollup as failed, and
 * goes on without it.
 *
 * Errors that pass by themselves (a deadlock, a cancellation, a connection
 * limit) are tried again.  But users' code can raise any of them.  So if
 * such errors occur again and again while some rollup is at work at the
 * same position, the last one is that rollup's own as well.  A lock that is
 * not free within notify_stats.lock_timeout makes the rollup stale at once:
 * it is rebuilt when the lock is free.
 *
 * An error while a value of a table's changes is read is that of the
 * rollups that read this table, and is noted for the table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TROUBLE_H
#define NOTIFY_STATS_TROUBLE_H

#include "access/xlogdefs.h"

extern void trouble_begin(Oid rollup);
extern void trouble_end(void);
extern void trouble_set_part(const char *part);
extern const char *trouble_part(void);
extern Oid	trouble_at_work(void);
extern void trouble_blame(Oid relid, const char *reason);
extern void trouble_record_blame(void);
extern void trouble_ignore(bool ignore);
extern void trouble_set_building(Oid rollup, bool joining);
extern bool trouble_failed_at_join(Oid rollup);
extern void trouble_give_up_build(Oid rollup, int failures);
extern void trouble_reset(void);
extern void trouble_set_request(int64 request);
extern void trouble_start(void);
extern void trouble_set_catalog(int64 state);
extern void trouble_set_lsn(XLogRecPtr lsn);
extern void trouble_set_record(const char *slot_name, XLogRecPtr lsn,
							   TransactionId xid);
extern void trouble_record(bool for_status);

/* A rollup's trouble; the reason is palloc'd. */
typedef struct Trouble
{
	Oid			rollup;
	char	   *reason;
	bool		heals;			/* a rebuild may put it right: it is stale
								 * rather than failed */
	bool		of_catalog;		/* a change of the catalogs may put it right */
	int64		catalog;		/* rollup_catalog_state() before; 0: not known */
	TransactionId xmin;			/* it did not see what this one and later ones
								 * have written */
	uint64		others;			/* if others have ended since, it may be gone;
								 * 0: not by that */
	XLogRecPtr	lsn;			/* invalid: not known */
	int64		request;
} Trouble;

extern bool trouble_read(Trouble *trouble);
extern void trouble_forget(Oid rollup);
extern void trouble_begin_values(Oid source);
extern void trouble_end_values(void);
extern void trouble_note_values(bool note);
extern Oid	trouble_unreadable_source(char **reason);
extern void trouble_forget_source(Oid source);

#endif							/* NOTIFY_STATS_TROUBLE_H */
