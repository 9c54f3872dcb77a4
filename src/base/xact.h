/*-------------------------------------------------------------------------
 *
 * xact.h
 *	  The transactions of cycles and builds, in a worker or in a procedure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_XACT_H
#define NOTIFY_STATS_XACT_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

extern void xact_in_procedure(bool in_procedure);
extern void xact_begin(void);
extern void xact_begin_repeatable_read(void);
extern void xact_commit(void);
extern XLogRecPtr xact_commit_lazily(void);
extern void xact_set_worker_defaults(void);
extern void xact_suspend_settings(void);
extern void xact_resume_settings(void);
extern void xact_lift_temp_file_limit(void);
extern void xact_use_server_encoding(void);
extern void xact_execute(const char *query);
extern List *xact_query_oids(const char *query);

/*
 * xact_become runs the following code as "role", under
 * SECURITY_RESTRICTED_OPERATION and with a search_path in which users cannot
 * create objects.  It is for expressions and statements that may call code of
 * users.  xact_restore_role undoes it, including all changes of settings by
 * that code.  So does the abort of the transaction.
 */
typedef struct SavedRole
{
	Oid			userid;
	int			sec_context;
	int			guc_nestlevel;
} SavedRole;

/*
 * Sets how constants are written, so that SQL text means the same when it is
 * read again: in other settings, a time is written as '01/02/2026 05:30 IST'.
 * Applies until the current bracket of xact_become, or nest level of settings,
 * ends.
 */
extern void xact_use_portable_text(void);

extern void xact_use_worker_values(void);

extern void xact_limit_lock_waits(int milliseconds);
extern void xact_check_constraints_at_once(void);

extern SavedRole xact_become(Oid role);
extern void xact_restore_role(SavedRole saved);

#endif							/* NOTIFY_STATS_XACT_H */
