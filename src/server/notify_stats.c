/*-------------------------------------------------------------------------
 *
 * notify_stats.c
 *	  Initialization when the library is loaded: settings, shared memory,
 *	  the launcher of workers.
 *
 * The same library is also the output plugin, which any backend or walsender
 * may load by its name.  So this initialization runs only while the server
 * preloads libraries.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "catch_up_worker.h"
#include "launcher.h"
#include "parallel.h"
#include "routine_message.h"
#include "settings.h"
#include "shared.h"
#include "utility.h"
#include "wake.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	settings_define();
	shared_init();
	routine_message_init();
	wake_init();
	utility_init();
	parallel_set_launcher(catch_up_worker_start);
	if (!IsBinaryUpgrade)
		launcher_register();
}
