/*-------------------------------------------------------------------------
 *
 * oversize.c
 *	  Detects changes that are too large for the slot's output plugin.
 *
 * Our own plugin writes a change that exceeds its limit as unknown (see
 * native_protocol.h).  pgoutput and wal2json throw, as no string of the
 * server exceeds 1 GB, and would throw at each later read.  So two statements
 * of any role that may write to a table would stop all rollups permanently.
 * Therefore the slot is abandoned after some attempts, like one that has lost
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
 * Counts the error if a change may have been too large.  Must be called in
 * PG_CATCH, before PG_RE_THROW, when a peek of the main stream from that
 * position has failed.
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

/* Resets the count: a peek has succeeded, or the slot is abandoned. */
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
 * Returns whether there were so many of these errors in a row that the next
 * peek is expected to fail as well.
 */
bool
oversize_is_final(XLogRecPtr lsn)
{
	SharedStream *stream = shared_stream();

	return stream->oversize.failures >= MAX_FAILURES &&
		stream->oversize.lsn == lsn;
}
