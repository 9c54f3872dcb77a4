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

/*
 * After so many errors in a row at one position, or some for so long, the last one is
 * that of the rollup at work, whatever it says.
 */
#define MAX_PASSING_ERRORS 5
#define MIN_PASSING_ERRORS 3
#define MAX_PASSING_MS 60000

static volatile Oid working_for = InvalidOid;
static volatile Oid blamed = InvalidOid;
static volatile bool blames_source = false;
static const char *volatile blame_reason = NULL;
static const char *part = NULL;
static Oid	building = InvalidOid;
static bool joining = false;
static XLogRecPtr working_at = InvalidXLogRecPtr;
static int64 serving = 0;
static bool ignoring = false;
static volatile Oid reading_values_of = InvalidOid;
static volatile bool noting_values = false;
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
	part = NULL;
}

void
trouble_set_part(const char *new_part)
{
	part = new_part;
}

const char *
trouble_part(void)
{
	return part;
}

Oid
trouble_at_work(void)
{
	if (OidIsValid(working_for))
		return working_for;
	return noting_values ? reading_values_of : InvalidOid;
}

void
trouble_blame(Oid relid, const char *reason)
{
	blame_reason = reason;
	blamed = relid;
	blames_source = noting_values && relid == reading_values_of;
}

void
trouble_set_building(Oid rollup, bool is_joining)
{
	building = rollup;
	joining = is_joining;
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

/* Errors that may say nothing about the rollup.  They are tried again. */
static bool
is_passing(int sqlerrcode)
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

/*
 * Whether the server itself says so: procedural languages report what users raise under
 * a text domain of their own.
 */
static bool
is_servers(const ErrorData *edata)
{
	return edata->domain != NULL && strcmp(edata->domain, PG_TEXTDOMAIN("postgres")) == 0;
}

/* A disk that is full, or fails, stops everybody; and somebody may cancel us. */
static bool
is_nobodys(const ErrorData *edata)
{
	return is_servers(edata) &&
		(edata->sqlerrcode == ERRCODE_DISK_FULL || edata->sqlerrcode == ERRCODE_IO_ERROR ||
		 edata->sqlerrcode == ERRCODE_QUERY_CANCELED);
}

/* The error of xact_limit_lock_waits. */
static bool
is_lock_timeout(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && is_servers(edata) &&
		edata->message_id != NULL &&
		strcmp(edata->message_id, "canceling statement due to lock timeout") == 0;
}

/*
 * Counts a passing error of some rollup or source at work, with the lock of shared memory
 * held: they may fail in turn, so it is the position that counts.  True if such errors have
 * come too often, or for too long.  Each cycle that succeeds forgets what was counted
 * (shared_stream_reached).
 */
static bool
count_passing_error(SharedStream *stream)
{
	XLogRecPtr	position = pg_atomic_read_u64(&stream->reached_lsn);
	TimestampTz now = GetCurrentTimestamp();

	if (stream->passing_errors == 0 || stream->passing_lsn != position)
	{
		stream->passing_lsn = position;
		stream->passing_since = now;
		stream->passing_errors = 0;
	}
	stream->passing_errors++;
	return stream->passing_errors >= MAX_PASSING_ERRORS ||
		(stream->passing_errors >= MIN_PASSING_ERRORS &&
		 TimestampDifferenceExceeds(stream->passing_since, now, MAX_PASSING_MS));
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

/*
 * Notes the trouble of a rollup, or that a source has a value that cannot be read, with
 * the lock of shared memory held.
 */
static void
note(SharedStream *stream, Oid relid, bool is_source, bool heals, const char *reason)
{
	stream->passing_errors = 0;
	if (is_source)
	{
		stream->unreadable_source = relid;
		copy_message(stream->unreadable_reason, reason);
		return;
	}
	stream->trouble_rollup = relid;
	stream->trouble_heals = heals;
	stream->trouble_lsn = working_at;
	stream->trouble_request = relid == building ? serving : 0;
	copy_message(stream->trouble_reason, reason);
}

/* Notes an error that may pass, of the rollup or source at work. */
static void
note_passing(SharedStream *stream, const ErrorData *edata, Oid relid, const char *message)
{
	if (relid == building)
	{
		if (joining)
		{
			stream->join_failed_build = relid;
			stream->join_failed_request = serving;
		}
	}
	else if (is_lock_timeout(edata))
		note(stream, relid, !OidIsValid(working_for), true,
			 psprintf("a lock was not free in time: %s", message));
	else if (count_passing_error(stream))
		note(stream, relid, !OidIsValid(working_for), false,
			 psprintf("%s (%d times in a row)", message, stream->passing_errors));
}

/* Notes whose error it is, if it is anybody's, with the lock of shared memory held. */
static void
note_owner(SharedStream *stream, const ErrorData *edata, const char *message)
{
	Oid			relid = trouble_at_work();

	if (OidIsValid(blamed))
		note(stream, blamed, blames_source, false, blame_reason);
	else if (!OidIsValid(relid) || is_nobodys(edata))
		return;
	else if (is_passing(edata->sqlerrcode))
		note_passing(stream, edata, relid, message);
	else
		note(stream, relid, !OidIsValid(working_for), false, message);
}

void
trouble_reset(void)
{
	trouble_end();
	working_at = InvalidXLogRecPtr;
	blamed = InvalidOid;
	trouble_note_values(false);
	NameStr(reading_slot)[0] = '\0';
	ignoring = false;
}

void
trouble_record(bool for_status)
{
	SharedStream *stream = shared_stream();
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext ?
												  TopTransactionContext : TopMemoryContext);
	ErrorData  *edata = CopyErrorData();
	const char *error = edata->message ? edata->message : "unknown error";
	const char *message = part ? psprintf("%s (%s)", error, part) : error;
	char	   *whole = describe(edata, message);

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (for_status &&
		(ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_TO_CATEGORY(ERRCODE_ADMIN_SHUTDOWN) ||
		 OidIsValid(working_for)))
	{
		stream->last_error_at = GetCurrentTimestamp();
		stream->last_error_rollup = OidIsValid(working_for) ? working_for : building;
		copy_message(stream->last_error, whole);
	}
	/* a type without a send function, see format_pgoutput.c */
	if (!OidIsValid(working_for) && !OidIsValid(reading_values_of) &&
		edata->sqlerrcode == ERRCODE_UNDEFINED_FUNCTION)
		stream->text_only = true;
	note_owner(stream, edata, message);
	LWLockRelease(shared_state->lock);

	FreeErrorData(edata);
	MemoryContextSwitchTo(context);
	trouble_reset();
}

bool
trouble_failed_at_join(Oid rollup)
{
	SharedStream *stream = shared_stream();

	if (stream->join_failed_build != rollup)
		return false;
	stream->join_failed_build = InvalidOid;
	return true;
}

void
trouble_give_up_build(Oid rollup, int failures)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	note(stream, rollup, false, false,
		 psprintf("%s (%d builds in a row)", stream->last_error, failures));
	stream->trouble_request = stream->join_failed_request;
	LWLockRelease(shared_state->lock);
}

void
trouble_record_blame(void)
{
	SharedStream *stream;

	if (!OidIsValid(blamed))
		return;
	stream = shared_stream();
	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	note(stream, blamed, blames_source, false, blame_reason);
	LWLockRelease(shared_state->lock);
	blamed = InvalidOid;
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
	trouble->heals = stream->trouble_heals;
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
