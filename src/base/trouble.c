/*-------------------------------------------------------------------------
 *
 * trouble.c
 *	  Whose error it is.
 *
 * What this process works for is in static variables, which are set around
 * the work (trouble_begin and trouble_end, and those for values of a
 * source).  On the way out of a cycle or a build by an error,
 * trouble_record() enters that in the stream's shared memory, under the
 * LWLock.  The next cycle of any process brings it into the catalog,
 * commits that before it reads anything, and clears the entry
 * (trouble_forget).  There is one entry: the rollup of one that is
 * overwritten before it was read fails again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "shared.h"
#include "trouble.h"

/*
 * After so many errors in a row at one position, or some for so long, the
 * last one is that of the rollup at work, whatever it says.
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
static int64 catalog_before = 0;	/* the build */
static uint64 others_before = 0;	/* the work at hand */
static bool ignoring = false;
static volatile Oid reading_values_of = InvalidOid;
static volatile bool noting_values = false;
static NameData reading_slot;	/* empty: no record is being read */
static XLogRecPtr reading_lsn;
static TransactionId reading_xid;

/* From here on, until trouble_end, work is done for that rollup alone. */
void
trouble_begin(Oid rollup)
{
	working_for = ignoring ? InvalidOid : rollup;
}

/*
 * While set, errors are nobody's: a rollup is only looked at, and whoever does
 * so is told.
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
 * Which part of the rollup's definition is evaluated, to report with an
 * error, such as 'in WHERE'; kept by reference until trouble_end, which
 * forgets it.
 */
void
trouble_set_part(const char *new_part)
{
	part = new_part;
}

/* The part, or NULL. */
const char *
trouble_part(void)
{
	return part;
}

/*
 * The rollup that work is done for, or the source the values of which are
 * read, or InvalidOid.  May be called in a signal handler.
 */
Oid
trouble_at_work(void)
{
	if (OidIsValid(working_for))
		return working_for;
	return noting_values ? reading_values_of : InvalidOid;
}

/*
 * The next error is that rollup's or source's own, whatever it says and
 * whoever is at work then, for this reason; InvalidOid: it is not.  May be
 * called in a signal handler; the reason is kept by reference.
 */
void
trouble_blame(Oid relid, const char *reason)
{
	blame_reason = reason;
	blamed = relid;
	blames_source = noting_values && relid == reading_values_of;
}

/*
 * This process builds that rollup, or with InvalidOid, none (any more).  A
 * passing error of it holds up nobody, since the build is tried again at
 * leisure; but for the end of the build, "joining", when all others wait.
 */
void
trouble_set_building(Oid rollup, bool is_joining)
{
	if (!is_joining)
		catalog_before = 0;
	building = rollup;
	joining = is_joining;
}

/* From here on, until trouble_end_values, values of that source are read. */
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
 * While not set, errors that values raise are nobody's: another stream than
 * the main one is read, and its reader starts again.
 */
void
trouble_note_values(bool note)
{
	noting_values = note;
	reading_values_of = InvalidOid;
}

/*
 * From here on errors of the rollup are those of its build, which serves the
 * requests for a rebuild up to this one; 0: they are not.
 */
void
trouble_set_request(int64 request)
{
	serving = request;
}

/* Work begins: what others commit from here on may put right its errors. */
void
trouble_start(void)
{
	others_before = shared_foreign_transactions();
}

/*
 * The rollup_catalog_state() from before the build that this process is at.
 */
void
trouble_set_catalog(int64 state)
{
	catalog_before = state;
}

/* The position that is being applied, to report with an error. */
void
trouble_set_lsn(XLogRecPtr lsn)
{
	working_at = lsn;
}

/*
 * The record of a slot's output that is being read, to report with an error;
 * NULL: none.
 */
void
trouble_set_record(const char *slot_name, XLogRecPtr lsn, TransactionId xid)
{
	/* the caller's copy is gone when an error is noted */
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
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		sqlerrcode == ERRCODE_OBJECT_IN_USE;
}

/*
 * Errors of what is said in the catalogs: a privilege or a replica identity
 * that is missing, a column of another type, a constraint.  Values of rows
 * raise others.
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
 * Whether the server itself says so: procedural languages report what users
 * raise under a text domain of their own.
 */
static bool
is_servers(const ErrorData *edata)
{
	return edata->domain != NULL &&
		strcmp(edata->domain, PG_TEXTDOMAIN("postgres")) == 0;
}

/*
 * A disk that is full, or fails, stops everybody; and somebody may cancel
 * us.
 */
static bool
is_nobodys(const ErrorData *edata)
{
	return is_servers(edata) &&
		(edata->sqlerrcode == ERRCODE_DISK_FULL ||
		 edata->sqlerrcode == ERRCODE_IO_ERROR ||
		 edata->sqlerrcode == ERRCODE_QUERY_CANCELED);
}

/* The error of xact_limit_lock_waits. */
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
 * Counts a passing error of some rollup or source at work, with the lock of
 * shared memory held: they may fail in turn, so it is the position that
 * counts.  True if such errors have come too often, or for too long.  Each
 * cycle that succeeds forgets what was counted (shared_stream_reached).
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

static void
copy_message(char *target, const char *source)
{
	int			len = pg_mbcliplen(source, strlen(source),
								   SHARED_MESSAGE_LENGTH - 1);

	memcpy(target, source, len);
	target[len] = '\0';
}

/*
 * An error for the status, with where it was if that is a record of a slot.
 * Of the details only ours are shown, as others may hold values of rows.
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
	appendStringInfo(&buf, " (slot \"%s\", record at %X/%X, transaction %u)",
					 NameStr(reading_slot),
					 LSN_FORMAT_ARGS(reading_lsn), reading_xid);
	return buf.data;
}

/*
 * Notes the trouble of a rollup, or that a source has a value that cannot
 * be read, with the lock of shared memory held.
 */
static void
note(SharedStream *stream, Oid relid, bool is_source, bool heals,
	 const char *reason)
{
	stream->passing.errors = 0;
	if (is_source)
	{
		stream->unreadable.source = relid;
		copy_message(stream->unreadable.reason, reason);
		return;
	}
	stream->trouble.rollup = relid;
	stream->trouble.heals = heals;
	stream->trouble.of_catalog = false;
	stream->trouble.lsn = working_at;
	stream->trouble.request = relid == building ? serving : 0;
	copy_message(stream->trouble.reason, reason);
}

/*
 * Notes whether a change of the catalogs may put right what was noted of a
 * rollup, and what tells later whether there was one.  A child table that
 * is dropped, which is an unsupported feature, leaves no trace in the
 * catalogs.
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
		/* this transaction will be aborted, and is counted then */
		stream->trouble.others = others_before + (counts_as_ended ? 1 : 0);
}

/* Notes an error that may pass, of the rollup or source at work. */
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
 * Notes whose error it is, if it is anybody's, with the lock of shared
 * memory held.
 */
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
	{
		note(stream, relid, !OidIsValid(working_for), false, message);
		if (OidIsValid(working_for))
			note_catalog(stream, edata->sqlerrcode);
	}
}

/* Nobody is at work. */
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

/*
 * To be called in PG_CATCH, before PG_RE_THROW: notes the error in shared
 * memory, for the rollup if it is the rollup's own, and for the status if
 * it is not just the answer to one caller.
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
	{
		stream->last_error.at = GetCurrentTimestamp();
		stream->last_error.rollup = OidIsValid(working_for) ?
			working_for : building;
		copy_message(stream->last_error.message, whole);
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

/*
 * Whether the last error of that rollup's build was a passing one, at its
 * join.  Asked once for each error.
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
 * Enters that a build has failed so often in that way: the next cycle marks
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
 * To be called when the process ends: notes whom trouble_blame has named,
 * if anybody.
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

/* Reads the note of a rollup's trouble; false if there is none. */
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
 * Forgets the note if it is that rollup's: it is in the catalog, or gone.
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
 * The source with a value that cannot be read, and why, palloc'd; or
 * InvalidOid.
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
 * Forgets that a value of the source cannot be read: its rollups do without
 * it.
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
