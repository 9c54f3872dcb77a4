/*-------------------------------------------------------------------------
 *
 * oversize.c
 *	  Whether the slot has a change that is too large for its output plugin.
 *
 * A change that our own plugin cannot write within bounds it calls unknown
 * (see native_protocol.h).  pgoutput and wal2json throw, as no string of
 * the server exceeds 1 GB, and would throw at each later read: two
 * statements of any role that may write to a table would stop all rollups
 * for good.  So after some tries the slot is given up, as one that has lost
 * changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "oversize.h"
#include "shared.h"

#define MAX_FAILURES 5

/* The server's errors of a string, or a value, of 1 GB. */
static bool
is_oversize(const ErrorData *edata)
{
	static const char invalid_size[] = "invalid memory alloc request size";

	return edata->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		(edata->sqlerrcode == ERRCODE_INTERNAL_ERROR &&
		 edata->message != NULL &&
		 strncmp(edata->message, invalid_size, strlen(invalid_size)) == 0);
}

/*
 * To be called in PG_CATCH, before PG_RE_THROW, when a peek of the main
 * stream from that position on has failed: counts the error if a change may
 * have been too large.
 */
void
oversize_record(XLogRecPtr lsn)
{
	SharedStream *stream = shared_stream();
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);
	ErrorData  *edata = CopyErrorData();

	if (is_oversize(edata))
	{
		LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
		if (stream->oversize.lsn != lsn)
			stream->oversize.failures = 0;
		stream->oversize.lsn = lsn;
		stream->oversize.failures++;
		LWLockRelease(shared_state->lock);
	}
	FreeErrorData(edata);
	MemoryContextSwitchTo(context);
}

/* A peek has succeeded, or the slot is given up. */
void
oversize_forget(void)
{
	SharedStream *stream = shared_stream_if_any();

	if (stream == NULL || stream->oversize.failures == 0)
		return;
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	stream->oversize.failures = 0;
	LWLockRelease(shared_state->lock);
}

/*
 * Whether there were so many of these errors in a row that the next would
 * be one, too.
 */
bool
oversize_is_final(XLogRecPtr lsn)
{
	SharedStream *stream = shared_stream();

	return stream->oversize.failures >= MAX_FAILURES &&
		stream->oversize.lsn == lsn;
}
