/*-------------------------------------------------------------------------
 *
 * notification.c
 *	  Notifications of changed rollups to clients.
 *
 * With notify_stats.notify, each transaction that changes rollups also sends a
 * notification for each of them, as NOTIFY does.  It is delivered after the
 * commit, with the position that the rollup then has.  So a client that
 * listens knows what to read again, and one connection can serve many.
 *
 * Sessions that wait in changes() learn it from shared memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "lib/stringinfo.h"
#include "utils/json.h"

#include "compat.h"
#include "core.h"
#include "notification.h"
#include "rollup.h"
#include "settings.h"
#include "shared.h"

/* The channel on which clients listen. */
#define CHANNEL "notify_stats"

/*
 * The name that SQL accepts as regclass: of the rollup that users know, if
 * this one is a core.
 */
static void
send_one(const Rollup *rollup, XLogRecPtr lsn)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"rollup\": ");
	escape_json(&payload,
				rollup_qualified_name(core_users_rollup(rollup->relid)));
	appendStringInfo(&payload, ", \"lsn\": \"" LSN_FORMAT "\"}", LSN_FORMAT_ARGS(lsn));
	Async_Notify(CHANNEL, payload.data);
	pfree(payload.data);
}

/*
 * Notifies sessions that wait, and clients, if that is wanted, that this
 * transaction changes these rollups (a list of Rollup), and brings them to a
 * position.
 */
void
notification_send(List *rollups, XLogRecPtr lsn)
{
	ListCell   *lc;

	foreach(lc, rollups)
	{
		const Rollup *rollup = (const Rollup *) lfirst(lc);

		shared_stream_note_change(rollup->relid, lsn);
		if (notify_stats_notify)
			send_one(rollup, lsn);
	}
}
