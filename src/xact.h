/*-------------------------------------------------------------------------
 *
 * xact.h
 *	  The transactions that cycles and builds are made of, in a worker or in
 *	  a procedure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_XACT_H
#define NOTIFY_STATS_XACT_H

#include "access/xlogdefs.h"

/*
 * Says where we are: in a worker (the default), where each transaction is
 * started and committed, or in a non-atomic procedure that has called
 * SPI_connect_ext(SPI_OPT_NONATOMIC), where one transaction follows the other
 * without a gap.
 */
extern void xact_in_procedure(bool in_procedure);

/*
 * Starts a transaction, read committed, with a snapshot, and with the settings
 * that our statements rely on, whatever the database or role has set.  The
 * memory context stays what it was.  Nothing may be open.
 */
extern void xact_begin(void);

/*
 * The same, but repeatable read and without a snapshot: the caller takes its
 * locks and then pushes the one snapshot.
 */
extern void xact_begin_repeatable_read(void);

/*
 * Commits.  If the transaction wrote, its commit is on disk on return.  The
 * memory context stays what it was.
 */
extern void xact_commit(void);

/*
 * Commits, and leaves it to the server to write that to disk soon.  Returns the
 * end of the commit record, or an invalid LSN if nothing was written.
 */
extern XLogRecPtr xact_commit_lazily(void);

/*
 * Gives a worker's whole life the settings that xact_begin gives to single
 * transactions.
 */
extern void xact_set_worker_defaults(void);

/*
 * Until the transaction ends, what the server converts for clients stays in the
 * server's encoding: the text that pgoutput writes.
 */
extern void xact_use_server_encoding(void);

/*
 * Executes a statement of any kind by SPI, which the caller has connected, and
 * throws if that is refused.  SPI_processed and SPI_tuptable are the result.
 */
extern void xact_execute(const char *query);

/*
 * Runs as "role" from here on, under SECURITY_RESTRICTED_OPERATION and with a
 * search_path in which nobody can put anything: for expressions and statements
 * that may call code of users.  Undone by xact_restore_role, along with whatever
 * that code has done to settings, and by the abort of the transaction.
 */
typedef struct SavedRole
{
	Oid			userid;
	int			sec_context;
	int			guc_nestlevel;
} SavedRole;

/*
 * Until the bracket of xact_become, or nest level of settings, at hand ends, waits for a
 * lock end with an error (ERRCODE_LOCK_NOT_AVAILABLE) after so many milliseconds; 0: they
 * do not.
 */
extern void xact_limit_lock_waits(int milliseconds);

extern SavedRole xact_become(Oid role);
extern void xact_restore_role(SavedRole saved);

#endif							/* NOTIFY_STATS_XACT_H */
