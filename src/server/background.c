/*-------------------------------------------------------------------------
 *
 * background.c
 *	  Functions shared by our background processes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "background.h"
#include "settings.h"
#include "usage.h"
#include "xact.h"

#define MAX_DELAY_SECONDS 60

/*
 * Describes a process of type "type" that starts in our function "function"
 * and connects to a database.  The caller adds its name and its arguments.
 * "restart" is as bgw_restart_time: seconds, or BGW_NEVER_RESTART.
 */
void
background_describe(BackgroundWorker *worker, const char *type,
					const char *function, int restart)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = restart;
	snprintf(worker->bgw_library_name, sizeof(worker->bgw_library_name),
			 EXTENSION_NAME);
	snprintf(worker->bgw_function_name, sizeof(worker->bgw_function_name),
			 "%s", function);
	snprintf(worker->bgw_type, sizeof(worker->bgw_type), "%s", type);
}

/*
 * Connects this process, which another one has started, to a database, and
 * makes it ready for transactions.  The current memory context is then one for
 * results that must survive the end of a transaction.
 */
void
background_connect(Oid database, const char *name)
{
	settings_follow();
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pgstat_report_appname(name);
	xact_set_worker_defaults();
	usage_count_at_exit();

	CurrentResourceOwner = NULL;
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext,
												"notify_stats background process",
												ALLOCSET_DEFAULT_SIZES));
}

/*
 * Returns how many seconds to wait after a number of failures in a row,
 * starting with 0 failures: 1, 2, 4 ..., at most MAX_DELAY_SECONDS.
 */
int
background_backoff(int failures)
{
	return Min(MAX_DELAY_SECONDS, 1 << Min(failures, 6));
}
