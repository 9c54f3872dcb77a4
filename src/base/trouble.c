/*-------------------------------------------------------------------------
 *
 * trouble.c
 *	  Determines which rollup or source an error belongs to.
 *
 * Static variables hold the rollup or source that this process is working on.
 * They are set around the work (trouble_begin and trouble_end, and the similar
 * functions for values of a source).  When an error ends a cycle or a build,
 * trouble_record() enters it in the stream's shared memory, under the LWLock.
 * The next cycle of any process writes it to the catalog, commits that before
 * it reads anything, and clears the entry (trouble_forget).  There is only one
 * entry.  If it is overwritten before it was read, the rollup that was in it
 * fails again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shared.h"
#include "trouble.h"

/*
 * After MAX_PASSING_ERRORS errors in a row at one position, or
 * MIN_PASSING_ERRORS within more than MAX_PASSING_MS, the last one counts as
 * an error of the rollup at work, whatever its code.
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
static bool resuming = false;
static XLogRecPtr working_at = InvalidXLogRecPtr;
static int64 serving = 0;
static int64 catalog_before = 0;	/* of the build */
static uint64 others_before = 0;	/* of the current work */
static bool ignoring = false;
static volatile Oid reading_values_of = InvalidOid;
static volatile bool noting_values = false;
static NameData reading_slot;	/* empty: no record is being read */
static XLogRecPtr reading_lsn;
static TransactionId reading_xid;

/* From now on, until trouble_end, work is done for that rollup only. */
void
trouble_begin(Oid rollup)
{
	working_for = ignoring ? InvalidOid : rollup;
}

/*
 * While set, errors do not count as errors of a rollup.  The rollup is only
 * inspected, and the caller gets the error.
 */
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

/*
 * Sets the part of the rollup's definition that is evaluated, such as 'in
 * WHERE', to be reported with an error.  Stores the pointer only.  trouble_end
 * resets it.
 */
void
trouble_set_part(const char *new_part)
{
	part = new_part;
}

/* Returns the part, or NULL. */
const char *
trouble_part(void)
{
	return part;
}

/*
 * Returns the rollup that work is done for, or the source whose values are
 * being read, or InvalidOid.  May be called in a signal handler.
 */
Oid
trouble_at_work(void)
{
	if (OidIsValid(working_for))
		return working_for;
	return noting_values ? reading_values_of : InvalidOid;
}

/*
 * Makes the next error count as that rollup's or source's own, whatever its
 * code and whichever rollup is then at work.  The error gets this reason; the
 * pointer is stored.  InvalidOid resets this.  May be called in a signal
 * handler.
 */
void
trouble_blame(Oid relid, const char *reason)
{
	blame_reason = reason;
	blamed = relid;
	blames_source = noting_values && relid == reading_values_of;
}

/*
 * Sets the rollup that this process is building; InvalidOid: none.  A
 * temporary error of a build does not delay others, since the build is simply
 * tried again later.  The exception is the end of the build ("joining"), for
 * which all rollups wait.
 */
void
trouble_set_building(Oid rollup, bool is_joining)
{
	if (!is_joining)
		catalog_before = 0;
	building = rollup;
	joining = is_joining;
}

/*
 * Sets whether the build resumes the rollup from its position.  Then an error
 * that would recur there, but is not the rollup's own, such as a value that
 * cannot be read, makes the rollup one to be computed again.
 */
void
trouble_set_resuming(bool value)
{
	resuming = value;
}

/*
 * From now on, until trouble_end_values, values of that source are being read.
 */
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

/*
 * While not set, errors raised by values do not count as errors of a source.
 * This is used when reading another stream than the main one, whose reader
 * starts again.
 */
void
trouble_note_values(bool note)
{
	noting_values = note;
	reading_values_of = InvalidOid;
}

/*
 * From now on, errors of the rollup are those of its build, which serves the
 * requests for a rebuild up to this one.  0 resets this.
 */
void
trouble_set_request(int64 request)
{
	serving = request;
}

/*
 * Marks the beginning of work.  Transactions that others commit from now on
 * may resolve its errors.
 */
void
trouble_start(void)
{
	others_before = shared_foreign_transactions();
}

/*
 * Sets the rollup_catalog_state() from before the build that this process
 * runs.
 */
void
trouble_set_catalog(int64 state)
{
	catalog_before = state;
}

/* Sets the position that is being applied, to be reported with an error. */
void
trouble_set_lsn(XLogRecPtr lsn)
{
	working_at = lsn;
}

/*
 * Sets the record of a slot's output that is being read, to be reported with
 * an error; NULL: none.
 */
void
trouble_set_record(const char *slot_name, XLogRecPtr lsn, TransactionId xid)
{
	/* copied, since the caller's string is gone when an error is recorded */
	strlcpy(NameStr(reading_slot), slot_name ? slot_name : "", NAMEDATALEN);
	reading_lsn = lsn;
	reading_xid = xid;
}

/*
 * Returns whether an error may be temporary and unrelated to the rollup.  Such
 * errors are tried again.
 */
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
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlerrcode == ERRCODE_OBJECT_IN_USE;
}

/*
 * Returns whether an error is caused by the contents of the catalogs: a
 * missing privilege or replica identity, a column of another type, a
 * constraint.  Values of rows raise other errors.
 */
static bool
is_of_catalog(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('0', 'A', '0', '0', '0'):
		case MAKE_SQLSTATE('2', '3', '0', '0', '0'):
		case MAKE_SQLSTATE('4', '2', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'):
			return true;
	}
	return false;
}

/*
 * Returns whether the server itself raised the error.  Procedural languages
 * report errors of users under a text domain of their own.
 */
static bool
is_servers(const ErrorData *edata)
{
	return edata->domain != NULL &&
		strcmp(edata->domain, PG_TEXTDOMAIN("postgres")) == 0;
}

/*
 * Returns whether an error concerns no rollup in particular: a full or failing
 * disk, which stops all of them, or a cancellation.
 */
static bool
is_nobodys(const ErrorData *edata)
{
	return is_servers(edata) &&
		(edata->sqlerrcode == ERRCODE_DISK_FULL ||
		 edata->sqlerrcode == ERRCODE_IO_ERROR ||
		 edata->sqlerrcode == ERRCODE_QUERY_CANCELED);
}

/* Returns whether it is the error that xact_limit_lock_waits causes. */
static bool
is_lock_timeout(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE &&
		is_servers(edata) &&
		edata->message_id != NULL &&
		strcmp(edata->message_id, "canceling statement due to lock timeout") ==
		0;
}

/*
 * Counts a temporary error of a rollup or source at work.  The lock of shared
 * memory must be held.  Several rollups may fail in turn, so errors are
 * counted per position.  Returns true if there were too many, or if they have
 * lasted too long.  Each successful cycle resets the count
 * (shared_stream_reached).
 */
static bool
count_passing_error(SharedStream *stream)
{
	XLogRecPtr	position = pg_atomic_read_u64(&stream->reached_lsn);
	TimestampTz now = GetCurrentTimestamp();

	if (stream->passing.errors == 0 || stream->passing.lsn != position)
	{
		stream->passing.lsn = position;
		stream->passing.since = now;
		stream->passing.errors = 0;
	}
	stream->passing.errors++;
	return stream->passing.errors >= MAX_PASSING_ERRORS ||
		(stream->passing.errors >= MIN_PASSING_ERRORS &&
		 TimestampDifferenceExceeds(stream->passing.since, now,
									MAX_PASSING_MS));
}

/*
 * Formats an error for the view status, with its position if it is a record of
 * a slot.  Only details of our own errors are included, since others may
 * contain values of rows.
 */
static char *
describe(const ErrorData *edata, const char *message)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, message);
	if (NameStr(reading_slot)[0] == '\0')
		return buf.data;
	if (edata->sqlerrcode == ERRCODE_PROTOCOL_VIOLATION &&
		edata->detail != NULL)
		appendStringInfo(&buf, ": %s", edata->detail);
	appendStringInfo(&buf, " (slot \"%s\", record at " LSN_FORMAT ", transaction %u)",
					 NameStr(reading_slot),
					 LSN_FORMAT_ARGS(reading_lsn), reading_xid);
	return buf.data;
}

/*
 * Records an error of a rollup, or that a source has a value that cannot be
 * read.  The lock of shared memory must be held.
 */
static void
note(SharedStream *stream, Oid relid, bool is_source, bool heals,
	 const char *reason)
{
	stream->passing.errors = 0;
	if (is_source)
	{
		stream->unreadable.source = relid;
		shared_copy_message(stream->unreadable.reason, reason);
		return;
	}
	stream->trouble.rollup = relid;
	stream->trouble.heals = heals;
	stream->trouble.loses_position = false;
	stream->trouble.of_catalog = false;
	stream->trouble.lsn = working_at;
	stream->trouble.request = relid == building ? serving : 0;
	shared_copy_message(stream->trouble.reason, reason);
}

/*
 * Records whether a change of the catalogs may resolve the rollup's error, and
 * the data needed to detect such a change later.  Dropping a child table,
 * which resolves an unsupported feature, leaves no trace in the catalogs.  So
 * in that case ended transactions are counted.
 */
static void
note_catalog(SharedStream *stream, int sqlerrcode)
{
	bool		counts_as_ended =
	TransactionIdIsValid(GetTopTransactionIdIfAny());

	stream->trouble.of_catalog = is_of_catalog(sqlerrcode);
	stream->trouble.catalog = stream->trouble.rollup == building ?
		catalog_before : 0;
	stream->trouble.xmin = TransactionXmin;
	stream->trouble.others = 0;
	if (sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED)
		/* this transaction will be aborted, and is then counted as well */
		stream->trouble.others = others_before + (counts_as_ended ? 1 : 0);
}

/* Records an error that may be temporary, of the rollup or source at work. */
static void
note_passing(SharedStream *stream, const ErrorData *edata, Oid relid,
			 const char *message)
{
	if (relid == building)
	{
		if (joining)
		{
			stream->join_failure.rollup = relid;
			stream->join_failure.request = serving;
		}
	}
	else if (is_lock_timeout(edata))
		note(stream, relid, !OidIsValid(working_for), true,
			 psprintf("a lock was not available in time: %s", message));
	else if (count_passing_error(stream))
		note(stream, relid, !OidIsValid(working_for), false,
			 psprintf("%s (%d times in a row)", message,
					  stream->passing.errors));
}

/*
 * Records the rollup or source that the error belongs to, if there is one.
 * The lock of shared memory must be held.
 */
static void
note_owner(SharedStream *stream, const ErrorData *edata, const char *message)
{
	Oid			relid = trouble_at_work();

	if (OidIsValid(blamed))
		note(stream, blamed, blames_source, false, blame_reason);
	else if (is_nobodys(edata))
		return;
	else if (!OidIsValid(relid))
	{
		if (resuming && !is_passing(edata->sqlerrcode))
		{
			note(stream, building, false, true, message);
			stream->trouble.loses_position = true;
		}
	}
	else if (is_passing(edata->sqlerrcode))
		note_passing(stream, edata, relid, message);
	else
	{
		note(stream, relid, !OidIsValid(working_for), false, message);
		if (OidIsValid(working_for))
			note_catalog(stream, edata->sqlerrcode);
		/* the table does not match its definition at any position */
		stream->trouble.loses_position =
			edata->sqlerrcode == ERRCODE_DATA_CORRUPTED;
	}
}

/* Resets everything: no rollup or source is at work. */
void
trouble_reset(void)
{
	trouble_end();
	working_at = InvalidXLogRecPtr;
	blamed = InvalidOid;
	trouble_note_values(false);
	NameStr(reading_slot)[0] = '\0';
	ignoring = false;
	resuming = false;
}

/*
 * Records the error in shared memory: for the rollup if it is the rollup's
 * own, and for the status unless it only answers one caller.  Must be called
 * in PG_CATCH, before PG_RE_THROW.
 */
void
trouble_record(bool for_status)
{
	SharedStream *stream = shared_stream();
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext ?
												  TopTransactionContext :
												  TopMemoryContext);
	ErrorData  *edata = CopyErrorData();
	const char *error = edata->message ? edata->message : "unknown error";
	const char *message = part ? psprintf("%s (%s)", error, part) : error;
	char	   *whole = describe(edata, message);

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (for_status &&
		(ERRCODE_TO_CATEGORY(edata->sqlerrcode) !=
		 ERRCODE_TO_CATEGORY(ERRCODE_ADMIN_SHUTDOWN) ||
		 OidIsValid(working_for)))
		shared_stream_note_error(stream, OidIsValid(working_for) ?
								 working_for : building, whole);
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

/*
 * Returns whether the last error of that rollup's build was a temporary one,
 * during its join.  Returns true only once for each error.
 */
bool
trouble_failed_at_join(Oid rollup)
{
	SharedStream *stream = shared_stream();

	if (stream->join_failure.rollup != rollup)
		return false;
	stream->join_failure.rollup = InvalidOid;
	return true;
}

/*
 * Records that a build has failed this way too often.  The next cycle marks
 * the rollup.
 */
void
trouble_give_up_build(Oid rollup, int failures)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	note(stream, rollup, false, false,
		 psprintf("%s (%d builds in a row)", stream->last_error.message,
				  failures));
	stream->trouble.request = stream->join_failure.request;
	LWLockRelease(shared_state->lock);
}

/*
 * Records the rollup or source that trouble_blame has named, if any.  Must be
 * called when the process ends.
 */
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

/* Reads the recorded error of a rollup; returns false if there is none. */
bool
trouble_read(Trouble *trouble)
{
	SharedStream *stream = shared_stream();
	char		copy[SHARED_MESSAGE_LENGTH];

	LWLockAcquire(shared_state->lock, LW_SHARED);
	trouble->rollup = stream->trouble.rollup;
	trouble->lsn = stream->trouble.lsn;
	trouble->request = stream->trouble.request;
	trouble->heals = stream->trouble.heals;
	trouble->loses_position = stream->trouble.loses_position;
	trouble->of_catalog = stream->trouble.of_catalog;
	trouble->catalog = stream->trouble.catalog;
	trouble->xmin = stream->trouble.xmin;
	trouble->others = stream->trouble.others;
	memcpy(copy, stream->trouble.reason, sizeof(copy));
	LWLockRelease(shared_state->lock);

	trouble->reason = pstrdup(copy);
	return OidIsValid(trouble->rollup);
}

/*
 * Clears the entry if it is that rollup's: the error is now in the catalog, or
 * the rollup is gone.
 */
void
trouble_forget(Oid rollup)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (stream->trouble.rollup == rollup)
		stream->trouble.rollup = InvalidOid;
	LWLockRelease(shared_state->lock);
}

/*
 * Returns the source with a value that cannot be read, and the reason,
 * palloc'd; or InvalidOid.
 */
Oid
trouble_unreadable_source(char **reason)
{
	SharedStream *stream = shared_stream();
	char		copy[SHARED_MESSAGE_LENGTH];
	Oid			source;

	LWLockAcquire(shared_state->lock, LW_SHARED);
	source = stream->unreadable.source;
	memcpy(copy, stream->unreadable.reason, sizeof(copy));
	LWLockRelease(shared_state->lock);

	*reason = pstrdup(copy);
	return source;
}

/*
 * Clears the note of an unreadable value of the source, since its rollups no
 * longer depend on it.
 */
void
trouble_forget_source(Oid source)
{
	SharedStream *stream = shared_stream();

	LWLockAcquire(shared_state->lock, LW_EXCLUSIVE);
	if (stream->unreadable.source == source)
		stream->unreadable.source = InvalidOid;
	LWLockRelease(shared_state->lock);
}
