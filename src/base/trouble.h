/*-------------------------------------------------------------------------
 *
 * trouble.h
 *	  Determines which rollup or source an error belongs to.
 *
 * An error raised by a rollup's own expressions, table or privileges belongs
 * to that rollup alone and must not stop the others.  There is no
 * subtransaction to catch it in.  Instead the error ends the process (or the
 * caller's command), as any error does.  Before that, it is recorded here for
 * the rollup that was being worked on.  The next cycle marks that rollup as
 * failed and continues without it.
 *
 * Temporary errors (a deadlock, a cancellation, a connection limit) are tried
 * again.  But users' code can raise any of them.  So if such errors are
 * repeated while some rollup is at work at the same position, the last one
 * counts as that rollup's own.  A lock that is not free within
 * notify_stats.lock_timeout makes the rollup stale at once.  It is rebuilt
 * when the lock is free.
 *
 * An error while reading a value of a table's changes belongs to the rollups
 * that read this table, and is recorded for the table.
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
extern void trouble_set_resuming(bool resuming);
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

/* The recorded error of a rollup; the reason is palloc'd. */
typedef struct Trouble
{
	Oid			rollup;
	char	   *reason;
	bool		heals;			/* a rebuild may resolve it: it becomes stale
								 * rather than failed */
	bool		loses_position; /* the rollup cannot be resumed from its
								 * position */
	bool		of_catalog;		/* a change of the catalogs may resolve it */
	int64		catalog;		/* rollup_catalog_state() before; 0: unknown */
	TransactionId xmin;			/* changes by this and later transactions were
								 * not seen */
	uint64		others;			/* if more of others have ended since, the
								 * cause may be gone; 0: irrelevant */
	XLogRecPtr	lsn;			/* invalid: unknown */
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
