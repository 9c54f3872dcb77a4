/*-------------------------------------------------------------------------
 *
 * xact.c
 *	  The transactions of cycles and builds, in a worker or in a procedure.
 *
 * A worker has no transaction until it starts one.  A procedure always has
 * one: SPI_commit ends it and starts the next.  The settings that our own
 * statements need are made once for a worker.  For a procedure they are made
 * in each transaction, since a commit undoes them.  While a transaction runs,
 * the death of the postmaster is watched for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "postmaster_watch.h"
#include "shared.h"
#include "wake.h"
#include "xact.h"

/*
 * Only the server's own objects are found without a schema.  If pg_temp were
 * left out, it would be searched first for tables and types, and users' code
 * can create types there.
 */
#define SAFE_SEARCH_PATH "pg_catalog, pg_temp"

/*
 * Settings that ALTER DATABASE or ALTER ROLE must not change for us.  A commit
 * must be on disk (except one of xact_commit_lazily), but does not wait for a
 * standby.  In a deadlock (a user drops a rollup that is being built) the
 * process that checks first is the victim.  That should be ours.
 */
static const struct
{
	const char *name;
	const char *value;
}			settings[] =

{
	{"search_path", SAFE_SEARCH_PATH},
	{"synchronous_commit", "local"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"deadlock_timeout", "100ms"},
	{"idle_in_transaction_session_timeout", "0"},
	{"transaction_timeout", "0"},	/* since 17 */
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_table_access_method", "heap"},	/* our tables are updated */
	{"temp_file_limit", "-1"},	/* a file that does not fit would never fit */
	{"exit_on_error", "off"},	/* would hide which rollup an error belongs to */
	{"restrict_nonsystem_relation_kind", ""},	/* definitions are views */
	{"session_replication_role", "origin"},
	{"row_security", "off"},
	{"jit", "off"},
	{"DateStyle", "ISO"},
	{"IntervalStyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"TimeZone", "UTC"},
	{"array_nulls", "on"},
	{"xmloption", "content"},
	{"quote_all_identifiers", "off"},	/* facts hold quoted names */
};

static bool in_procedure = false;

/* the role that called the procedure */
static Oid	caller_userid;
static int	caller_sec_context;

/* of the settings that are made for a procedure's transaction */
static int	settings_nestlevel;

static void
apply_settings(GucSource source, GucAction action)
{
	for (int i = 0; i < lengthof(settings); i++)
	{
		if (GetConfigOption(settings[i].name, true, false) == NULL)
			continue;			/* not in this version */
		(void) set_config_option(settings[i].name, settings[i].value,
								 PGC_SUSET, source, action, true, 0, false);
	}
}

/*
 * Sets the environment: a worker (the default), where each transaction is
 * started and committed; or a non-atomic procedure that has called
 * SPI_connect_ext(SPI_OPT_NONATOMIC), where each transaction directly follows
 * the one before.
 */
void
xact_in_procedure(bool value)
{
	in_procedure = value;
	/* the procedure may end with an error */
	if (!value)
		postmaster_watch_stop();
}

/*
 * Makes the settings that xact_begin makes for single transactions once for
 * the whole life of a worker.
 */
void
xact_set_worker_defaults(void)
{
	apply_settings(PGC_S_OVERRIDE, GUC_ACTION_SET);

	/*
	 * a procedure has its caller's role, but nobody may choose a worker's
	 * role
	 */
	SetConfigOption("role", "none", PGC_SUSET, PGC_S_OVERRIDE);
}

/* Makes the settings of a procedure's transaction. */
static void
make_settings(void)
{
	settings_nestlevel = NewGUCNestLevel();
	apply_settings(PGC_S_SESSION, GUC_ACTION_SAVE);
}

static void
begin(int isolation_level)
{
	MemoryContext context = CurrentMemoryContext;

	postmaster_watch_start();
	if (!in_procedure)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
	}
	XactIsoLevel = isolation_level;
	XactReadOnly = false;
	if (in_procedure)
	{
		/* runs with a worker's rights, whichever role with EXECUTE calls it */
		GetUserIdAndSecContext(&caller_userid, &caller_sec_context);
		SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
							   caller_sec_context |
							   SECURITY_LOCAL_USERID_CHANGE);
		make_settings();
	}
	MemoryContextSwitchTo(context);
}

/*
 * Starts a read committed transaction, with a snapshot and with the settings
 * that our statements rely on, whatever the database or role has set.  Does
 * not change the current memory context.  Nothing may be open.
 */
void
xact_begin(void)
{
	begin(XACT_READ_COMMITTED);
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * The same, but repeatable read and without a snapshot.  The caller takes its
 * locks and then pushes its only snapshot.
 */
void
xact_begin_repeatable_read(void)
{
	begin(XACT_REPEATABLE_READ);
}

static void
commit(bool on_disk)
{
	MemoryContext context = CurrentMemoryContext;
	bool		wrote = TransactionIdIsValid(GetTopTransactionIdIfAny());

	if (!on_disk)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
								 PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	wake_ignore_next_end();
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	if (in_procedure)
	{
		SetUserIdAndSecContext(caller_userid, caller_sec_context);
		SPI_commit();
	}
	else
		CommitTransactionCommand();
	MemoryContextSwitchTo(context);

	if (wrote)
	{
		/*
		 * synchronous_commit = off, set by a superuser, must have no effect
		 * here
		 */
		if (on_disk)
			XLogFlush(XactLastCommitEnd);
		pg_atomic_fetch_add_u64(&shared_state->own_commits, 1);
	}
	if (!in_procedure)
		pgstat_report_stat(false);
	postmaster_watch_stop();
}

/*
 * Commits.  If the transaction wrote, its commit is on disk on return.  Does
 * not change the current memory context.
 */
void
xact_commit(void)
{
	commit(true);
}

/*
 * Commits asynchronously.  Returns the end of the commit record, or an invalid
 * LSN if nothing was written.
 */
XLogRecPtr
xact_commit_lazily(void)
{
	bool		wrote = TransactionIdIsValid(GetTopTransactionIdIfAny());

	commit(false);
	return wrote ? XactLastCommitEnd : InvalidXLogRecPtr;
}

/*
 * Takes back the settings of a procedure's transaction, on 15.  There, while
 * there are any, each subtransaction looks through all settings of the server
 * when it ends, and decoding runs one per transaction that it reads.  Later
 * versions have transaction_timeout, which must remain off.  Nothing else may
 * be called until xact_resume_settings.
 */
void
xact_suspend_settings(void)
{
	if (in_procedure && LOCAL_SETTINGS_ARE_SLOW)
		AtEOXact_GUC(true, settings_nestlevel);
}

void
xact_resume_settings(void)
{
	if (in_procedure && LOCAL_SETTINGS_ARE_SLOW)
		make_settings();
}

/*
 * Allows temporary files of any size while settings are suspended, until the
 * current subtransaction ends.  A file that does not fit would never fit.
 */
void
xact_lift_temp_file_limit(void)
{
	if (!in_procedure || temp_file_limit < 0)
		return;
	(void) NewGUCNestLevel();
	(void) set_config_option("temp_file_limit", "-1", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Until the transaction ends, text that the server converts for clients stays
 * in the server's encoding.  This is for the text that pgoutput writes.
 */
void
xact_use_server_encoding(void)
{
	if (pg_get_client_encoding() != GetDatabaseEncoding())
		(void) set_config_option("client_encoding", GetDatabaseEncodingName(),
								 PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
}

/*
 * Executes a statement of any kind by SPI, which the caller has connected.
 * Throws if the statement is refused.  SPI_processed and SPI_tuptable hold the
 * result.
 */
void
xact_execute(const char *query)
{
	int			rc = SPI_execute(query, false, 0);

	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", query,
			 SPI_result_code_string(rc));
}

/*
 * Returns the OIDs that a query with one column returns, in a list in the
 * current memory context.  Connects to SPI itself.
 */
List	   *
xact_query_oids(const char *query)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *oids = NIL;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", query);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[i],
										  SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext spi_context = MemoryContextSwitchTo(context);

		oids = lappend_oid(oids, DatumGetObjectId(value));
		MemoryContextSwitchTo(spi_context);
	}
	SPI_finish();
	return oids;
}

SavedRole
xact_become(Oid role)
{
	SavedRole	saved;

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	SetUserIdAndSecContext(role, saved.sec_context |
						   SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	saved.guc_nestlevel = NewGUCNestLevel();

	/*
	 * a fold calls this for each change, in a process where it is set
	 * permanently
	 */
	if (strcmp(namespace_search_path, SAFE_SEARCH_PATH) != 0)
		(void) set_config_option("search_path", SAFE_SEARCH_PATH, PGC_USERSET,
								 PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return saved;
}

/* Makes some of our settings, for the current nest level. */
static void
use_settings(const char *const *names, int nnames)
{
	for (int i = 0; i < lengthof(settings); i++)
	{
		for (int j = 0; j < nnames; j++)
		{
			if (strcmp(settings[i].name, names[j]) == 0)
				(void) set_config_option(names[j], settings[i].value,
										 PGC_USERSET, PGC_S_SESSION,
										 GUC_ACTION_SAVE, true, 0, false);
		}
	}
}

void
xact_use_portable_text(void)
{
	static const char *const names[] = {"DateStyle", "IntervalStyle",
	"extra_float_digits"};

	use_settings(names, lengthof(names));
}

/*
 * Makes the settings that affect the reading, writing and comparing of values
 * the same as in a worker.  Nor does the session's client get messages, which
 * may have values of rows that it may not see.  Applies until the current
 * bracket of xact_become, or nest level of settings, ends.
 */
void
xact_use_worker_values(void)
{
	static const char *const names[] = {"row_security", "DateStyle",
		"IntervalStyle", "extra_float_digits", "bytea_output", "TimeZone",
	"array_nulls", "xmloption", "quote_all_identifiers", "exit_on_error"};

	use_settings(names, lengthof(names));
	(void) set_config_option("client_min_messages", "error", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Makes waits for a lock end with an error (ERRCODE_LOCK_NOT_AVAILABLE) after
 * the given number of milliseconds; 0: no limit.  Applies until the current
 * bracket of xact_become, or nest level of settings, ends.
 */
void
xact_limit_lock_waits(int milliseconds)
{
	char		value[12];

	snprintf(value, sizeof(value), "%d", milliseconds);
	(void) set_config_option("lock_timeout", value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE,
							 true, 0, false);
}

/*
 * Makes deferred constraints and triggers be checked at the end of each
 * statement of this transaction, while the rollup at work is known.  At the
 * commit an error would be that of all rollups, so the server refuses to defer
 * them for code of owners.  Must be called for each rollup, as the code of
 * another one may have deferred them.
 */
void
xact_check_constraints_at_once(void)
{
	ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);

	statement->deferred = false;
	AfterTriggerSetState(statement);
	pfree(statement);
}

void
xact_restore_role(SavedRole saved)
{
	/* restored as by a rollback; otherwise the effects of SET would remain */
	AtEOXact_GUC(false, saved.guc_nestlevel);
	SetUserIdAndSecContext(saved.userid, saved.sec_context);
}
