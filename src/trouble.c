/*-------------------------------------------------------------------------
 *
 * trouble.c
 *	  Whose error it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "shared.h"
#include "trouble.h"

static Oid	working_for = InvalidOid;
static XLogRecPtr working_at = InvalidXLogRecPtr;
static int64 serving = 0;
static bool ignoring = false;
static Oid	reading_values_of = InvalidOid;
static bool noting_values = false;
static NameData reading_slot;	/* empty: no record is being read */
static XLogRecPtr reading_lsn;
static TransactionId reading_xid;

void
trouble_begin(Oid rollup)
{
	working_for = ignoring ? InvalidOid : rollup;
}

void
trouble_ignore(bool ignore)
{
	ignoring = ignore;
}

void
trouble_end(void)
{
	working_for = InvalidOid;
}

void
trouble_begin_values(Oid source)
{
	reading_values_of = source;
}

void
trouble_end_values(void)
{
	reading_values_of = InvalidOid;
}

void
trouble_note_values(bool note)
{
	noting_values = note;
	reading_values_of = InvalidOid;
}

void
trouble_set_request(int64 request)
{
	serving = request;
}

void
trouble_set_lsn(XLogRecPtr lsn)
{
	working_at = lsn;
}

void
trouble_set_record(const char *slot_name, XLogRecPtr lsn, TransactionId xid)
{
	/* whoever owns it is gone when an error is noted */
	strlcpy(NameStr(reading_slot), slot_name ? slot_name : "", NAMEDATALEN);
	reading_lsn = lsn;
	reading_xid = xid;
}

/*
 * Errors that say nothing about the rollup: a conflict, a full disk, a
 * shutdown, a lock that was not to be had.  They are tried again.
 */
static bool
is_transient(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):
			return true;
	}
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || sqlerrcode == ERRCODE_OBJECT_IN_USE;
}

static void
copy_message(char *target, const char *source)
{
	int			len = pg_mbcliplen(source, strlen(source), SHARED_MESSAGE_LENGTH - 1);

	memcpy(target, source, len);
	target[len] = '\0';
}

/*
 * An error for the status, with where it was if that is a record of a slot.  Of
 * the details only ours are shown, as others may hold values of rows.
 */
static char *
describe(const ErrorData *edata, const char *message)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, message);
	if (NameStr(reading_slot)[0] == '\0')
		return buf.data;
	if (edata->sqlerrcode == ERRCODE_PROTOCOL_VIOLATION && edata->detail != NULL)
		appendStringInfo(&buf, ": %s", edata->detail);
	appendStringInfo(&buf, " (slot \"%s\", record at %X/%X, transaction %u)", NameStr(reading_slot),
					 LSN_FORMAT_ARGS(reading_lsn), reading_xid);
	return buf.data;
}

/* Notes that a value cannot be read, if that is what has happened. */
static void
note_unreadable(SharedStream *stream, const ErrorData *edata, const char *message)
{
	if (!noting_values || !OidIsValid(reading_values_of) || is_transient(edata->sqlerrcode))
		return;
	stream->unreadable_source = reading_values_of;
	copy_message(stream->unreadable_reason, message);
}

void
trouble_record(bool for_status)
{
	SharedStream *stream = shared_stream();
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext ?
												  TopTransactionContext : TopMemoryContext);
	ErrorData  *edata = CopyErrorData();
	const char *message = edata->message ? edata->message : "unknown error";
	char	   *whole = describe(edata, message);

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (for_status &&
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_TO_CATEGORY(ERRCODE_ADMIN_SHUTDOWN))
	{
		stream->last_error_at = GetCurrentTimestamp();
		copy_message(stream->last_error, whole);
	}
	/* a type without a send function, see format_pgoutput.c */
	if (!OidIsValid(working_for) && !OidIsValid(reading_values_of) &&
		edata->sqlerrcode == ERRCODE_UNDEFINED_FUNCTION)
		stream->text_only = true;
	note_unreadable(stream, edata, message);
	if (OidIsValid(working_for) && !is_transient(edata->sqlerrcode))
	{
		stream->trouble_rollup = working_for;
		stream->trouble_lsn = working_at;
		stream->trouble_request = serving;
		copy_message(stream->trouble_reason, message);
	}
	LWLockRelease(shared_state->lock);

	FreeErrorData(edata);
	MemoryContextSwitchTo(context);
	working_for = InvalidOid;
	working_at = InvalidXLogRecPtr;
	trouble_note_values(false);
	NameStr(reading_slot)[0] = '\0';
	ignoring = false;
}

bool
trouble_read(Trouble *trouble)
{
	SharedStream *stream = shared_stream();
	char		copy[SHARED_MESSAGE_LENGTH];

	LWLockAcquire(shared_state->lock, LW_SHARED);
	trouble->rollup = stream->trouble_rollup;
	trouble->lsn = stream->trouble_lsn;
	trouble->request = stream->trouble_request;
	memcpy(copy, stream->trouble_reason, sizeof(copy));
	LWLockRelease(shared_state->lock);

	trouble->reason = pstrdup(copy);
	return OidIsValid(trouble->rollup);
}

void
trouble_forget(Oid rollup)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (stream->trouble_rollup == rollup)
		stream->trouble_rollup = InvalidOid;
	LWLockRelease(shared_state->lock);
}

Oid
trouble_unreadable_source(char **reason)
{
	SharedStream *stream = shared_stream();
	char		copy[SHARED_MESSAGE_LENGTH];
	Oid			source;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	source = stream->unreadable_source;
	memcpy(copy, stream->unreadable_reason, sizeof(copy));
	LWLockRelease(shared_state->lock);

	*reason = pstrdup(copy);
	return source;
}

void
trouble_forget_source(Oid source)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (stream->unreadable_source == source)
		stream->unreadable_source = InvalidOid;
	LWLockRelease(shared_state->lock);
}
