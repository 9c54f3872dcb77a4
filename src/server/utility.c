/*-------------------------------------------------------------------------
 *
 * utility.c
 *	  Statements on whole databases that require that nothing is connected.
 *
 * The server refuses to drop, rename, move or copy a database while any
 * session is connected to it, and our worker always is.  So before such a
 * statement, our processes are terminated.  They cannot return while we hold
 * the lock on the database that the server is about to take itself, and that
 * every process that connects waits for.  We take it first.  It is released
 * when the transaction ends, by commit or abort, and then the launcher starts
 * the worker again.
 *
 * Our processes are terminated only if the current role may run the statement.
 * All other checks are left to the server, so the statement may still fail.
 *
 * After a database was moved to another tablespace, changes written to the WAL
 * before that cannot be decoded any more.  The WAL identifies files by their
 * tablespace, and files in the database's default tablespace are looked up by
 * its current one.  Our last commit is always unread, so the slot is dropped,
 * and the rollups are rebuilt.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_tablespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "utility.h"

/*
 * Maximum time to wait for our processes to exit.  Then the statement is
 * passed to the server, which may refuse it.
 */
#define LEAVE_TIMEOUT_MS 10000

/* A statement that needs a database to itself. */
typedef struct DatabaseStatement
{
	const char *database;		/* NULL: not such a statement */
	const char *tablespace;		/* to which it moves the database, or NULL */
	bool		changes;		/* or another one that changes pg_database */
	bool		drops;
	bool		forces;			/* and terminates its sessions */
	bool		renames;
	bool		creates;		/* requires CREATEDB */
	bool		copies;			/* uses the database as a template */
} DatabaseStatement;

static ProcessUtility_hook_type prev_process_utility = NULL;

/* Events to report when the transaction has committed. */
static Oid	dropped = InvalidOid;
static bool changed = false;	/* some database was created or altered */

/*
 * Returns an option's value, or the default if the option is absent or
 * DEFAULT.
 */
static const char *
find_option(List *options, const char *name, const char *default_value)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = (DefElem *) lfirst(lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return default_value;
}

static bool
is_forced(const DropdbStmt *statement)
{
	ListCell   *lc;

	foreach(lc, statement->options)
	{
		if (strcmp(((DefElem *) lfirst(lc))->defname, "force") == 0)
			return true;
	}
	return false;
}

static DatabaseStatement
read_statement(Node *node)
{
	DatabaseStatement statement = {0};

	switch (nodeTag(node))
	{
		case T_DropdbStmt:
			statement.database = ((DropdbStmt *) node)->dbname;
			statement.changes = true;
			statement.drops = true;
			statement.forces = is_forced((DropdbStmt *) node);
			break;
		case T_RenameStmt:
			if (((RenameStmt *) node)->renameType != OBJECT_DATABASE)
				break;
			statement.database = ((RenameStmt *) node)->subname;
			statement.changes = true;
			statement.renames = true;
			statement.creates = true;
			break;
		case T_AlterDatabaseStmt:
			statement.changes = true;
			statement.tablespace =
				find_option(((AlterDatabaseStmt *) node)->options,
							"tablespace", NULL);
			if (statement.tablespace != NULL)
				statement.database = ((AlterDatabaseStmt *) node)->dbname;
			break;
		case T_CreatedbStmt:
			statement.database = find_option(((CreatedbStmt *) node)->options,
											 "template", "template1");
			statement.changes = true;
			statement.creates = true;
			statement.copies = true;
			break;
		default:
			break;
	}
	return statement;
}

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		result;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Looks up the properties of a database that decide whether a statement is
 * permitted.  Returns false if there is no such database.
 */
static bool
look_up_database(Oid database, bool *is_template, Oid *tablespace)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(database));

	if (!HeapTupleIsValid(tuple))
		return false;
	*is_template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	*tablespace = ((Form_pg_database) GETSTRUCT(tuple))->dattablespace;
	ReleaseSysCache(tuple);
	return true;
}

/*
 * Returns whether the current role may run the statement, by the server's own
 * rules, and whether the statement has any effect.
 */
static bool
is_permitted(const DatabaseStatement *statement, Oid database)
{
	bool		is_template;
	Oid			old_tablespace;
	Oid			tablespace;

	if (!look_up_database(database, &is_template, &old_tablespace) ||
		(statement->creates && !may_create_databases()) ||
		!((statement->copies && is_template) ||
		  owns_database(database, GetUserId())))
		return false;
	if (statement->tablespace == NULL)
		return true;
	tablespace = get_tablespace_oid(statement->tablespace, true);
	return OidIsValid(tablespace) && tablespace != old_tablespace &&
		may_create_in_tablespace(tablespace, GetUserId());
}

/*
 * Signals our processes in a database to exit.  Returns false if there is
 * none.  A process that is connected has set its databaseId before it released
 * the lock on the database, which we hold.
 */
static bool
terminate_processes(Oid database)
{
	bool		found = false;

	for (int i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[i];
		int			pid = proc->pid;
		const char *type;

		if (pid == 0 || pid == MyProcPid || proc->databaseId != database)
			continue;
		type = GetBackgroundWorkerTypeByPid(pid);
		if (type == NULL ||
			strncmp(type, EXTENSION_NAME " ", strlen(EXTENSION_NAME " ")) != 0)
			continue;
		if (kill(pid, SIGTERM) == 0)
			found = true;
	}
	return found;
}

/*
 * Terminates the sessions that follow a rollup of a database, as the statement
 * demands: before the server would do that, it refuses because of their slots.
 * Throws if the current role may not.  Returns false if there is none.
 */
static bool
terminate_followers(Oid database)
{
	bool		found = false;
	ListCell   *lc;

	foreach(lc, slot_followers(database))
	{
		int			pid = ((const Follower *) lfirst(lc))->pid;

		if (pid == 0)
			continue;
		(void) DirectFunctionCall2(pg_terminate_backend, Int32GetDatum(pid),
								   Int64GetDatum(0));
		found = true;
	}
	return found;
}

/* Terminates what keeps the server from running the statement. */
static bool
terminate(const DatabaseStatement *statement, Oid database)
{
	bool		found = terminate_processes(database);

	return (statement->forces && terminate_followers(database)) || found;
}

/*
 * Terminates our processes in the database, and prevents new ones until the
 * transaction ends.
 */
static void
empty_database(const DatabaseStatement *statement, Oid database)
{
	TimestampTz start = GetCurrentTimestamp();
	bool		said = false;

	LockSharedObject(DatabaseRelationId, database, 0,
					 statement->copies ? ShareLock : AccessExclusiveLock);
	if (get_database_oid(statement->database, true) != database)
		return;					/* renamed concurrently */
	while (terminate(statement, database) &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(),
									   LEAVE_TIMEOUT_MS))
	{
		if (!said)
			ereport(LOG,
					(errmsg("disconnecting notify_stats from database \"%s\"",
							statement->database),
					 errdetail("A statement requires that the database has no connections.")));
		said = true;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT |
						 WL_EXIT_ON_PM_DEATH, 10,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Disconnects our processes from the database of the statement, if the
 * statement is permitted and can use this.  Returns the OID of the database,
 * or InvalidOid if nothing was done.
 */
static Oid
prepare(const DatabaseStatement *statement, bool top_level)
{
	/* in a transaction block, the server refuses all but a rename */
	Oid			database;

	if (!statement->renames && IsInTransactionBlock(top_level))
		return InvalidOid;
	database = get_database_oid(statement->database, true);
	if (!OidIsValid(database) ||
		(database == MyDatabaseId && !statement->copies) ||
		!is_permitted(statement, database))
		return InvalidOid;
	empty_database(statement, database);
	return database;
}

static void
drop_unreadable_slots(Oid database)
{
	NameData	name;

	/* first, as the main slot would be made again from it */
	if (slot_drop_window_of(database, &name))
		ereport(LOG,
				(errmsg("notify_stats dropped replication slot \"%s\"",
						NameStr(name))));
	if (slot_drop_main_of(database, &name))
		ereport(LOG,
				(errmsg("notify_stats dropped replication slot \"%s\"",
						NameStr(name)),
				 errdetail("Its changes cannot be read after the database was moved to another tablespace."),
				 errhint("The worker makes a new slot and rebuilds the rollups.")));
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *dest,
				QueryCompletion *completion)
{
	DatabaseStatement statement = read_statement(pstmt->utilityStmt);
	Oid			database = InvalidOid;

	if (statement.database != NULL && !RecoveryInProgress())
		database = prepare(&statement, context == PROCESS_UTILITY_TOPLEVEL);
	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)
		(pstmt, query, read_only_tree, context, params, environment, dest,
		 completion);
	if (statement.tablespace != NULL && OidIsValid(database))
		drop_unreadable_slots(database);
	if (statement.drops)
		dropped = database;
	changed |= statement.changes;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (event == XACT_EVENT_COMMIT && OidIsValid(dropped))
		shared_stream_drop(dropped);
	if (event == XACT_EVENT_COMMIT && changed)
		shared_launcher_databases_changed();
	dropped = InvalidOid;
	changed = false;
}

/*
 * Installs the hooks that disconnect our processes from a database for a
 * statement that needs it without connections.  The processes return when the
 * transaction ends.
 */
void
utility_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	RegisterXactCallback(at_transaction_end, NULL);
}
