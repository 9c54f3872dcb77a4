/*-------------------------------------------------------------------------
 *
 * catch_up_worker.c
 *	  Processes that help to read a backlog (maintain/parallel.c).
 *
 * The process that runs cycles starts them when the backlog is large.  They end
 * when no part of it is left, and after any error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"

#include "background.h"
#include "catch_up_worker.h"
#include "parallel.h"
#include "settings.h"
#include "slot.h"

PGDLLEXPORT void notify_stats_catch_up_main(Datum main_arg);

typedef struct CatchUpArgs
{
	Oid			database;
	int			leader;			/* process for which it reads */
} CatchUpArgs;

/* Starts so many processes for this one, or fewer.  Returns how many. */
int
catch_up_worker_start(int number)
{
	BackgroundWorker worker;
	CatchUpArgs args = {MyDatabaseId, MyProcPid};
	int			started = 0;

	background_describe(&worker, "notify_stats catch-up worker",
						"notify_stats_catch_up_main", BGW_NEVER_RESTART);
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "notify_stats catch-up worker");
	memcpy(worker.bgw_extra, &args, sizeof(args));
	while (started < number && RegisterDynamicBackgroundWorker(&worker, NULL))
		started++;
	return started;
}

void
notify_stats_catch_up_main(Datum main_arg)
{
	CatchUpArgs args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	background_connect(args.database, "notify_stats catch-up worker");
	slot_keep_open(TopMemoryContext);
	pgstat_report_activity(STATE_RUNNING, "notify_stats: catching up");
	parallel_help(args.leader);
	slot_close();
}
