/*-------------------------------------------------------------------------
 *
 * utility.c
 *	  Statements on whole databases, which want nobody connected.
 *
 * The server refuses to drop, rename, move or copy a database as long as
 * anybody is connected to it, and our worker always is.  So before such a
 * statement our processes are sent away.  What keeps them away is the lock
 * on the database that the server is about to take itself, and that
 * everybody who connects waits for: we take it first.  It goes with the
 * transaction, whichever way that ends, and the postmaster starts the
 * worker again.
 *
 * Only who may run the statement can send them away.  All else about it is
 * left to the server to check, and so it may still fail.
 *
 * Changes that were logged before a database moved to another tablespace
 * cannot be decoded any more: the log names files by their tablespace, and
 * those of the database's own are looked up by what that is now.  Our last
 * commit is always unread, so the slot is dropped, and the rollups are
 * rebuilt.
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
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "settings.h"
#include "shared.h"
#include "slot.h"
#include "utility.h"
#include "worker.h"

/*
 * For so long our processes may take to leave, before the server has its
 * say.
 */
#define LEAVE_TIMEOUT_MS 10000

/* A statement that needs a database to itself. */
typedef struct DatabaseStatement
{
	const char *database;		/* NULL: it is none */
	const char *made;			/* the name of a database that it makes, or
								 * NULL */
	const char *tablespace;		/* that it moves the database to, or NULL */
	bool		drops;
	bool		creates;		/* rather than owns: needs CREATEDB */
	bool		copies;			/* the database as a template */
} DatabaseStatement;

static ProcessUtility_hook_type prev_process_utility = NULL;

/* What is to be told when the transaction has committed. */
static Oid	dropped = InvalidOid;
static int	made = -1;			/* its place in notify_stats.database */

/*
 * An option's value; or else if it is not there, or is DEFAULT, the
 * default.
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

static DatabaseStatement
read_statement(Node *node)
{
	DatabaseStatement statement = {0};

	switch (nodeTag(node))
	{
		case T_DropdbStmt:
			statement.database = ((DropdbStmt *) node)->dbname;
			statement.drops = true;
			break;
		case T_RenameStmt:
			if (((RenameStmt *) node)->renameType != OBJECT_DATABASE)
				break;
			statement.database = ((RenameStmt *) node)->subname;
			statement.made = ((RenameStmt *) node)->newname;
			statement.creates = true;
			break;
		case T_AlterDatabaseStmt:
			statement.tablespace =
				find_option(((AlterDatabaseStmt *) node)->options,
							"tablespace", NULL);
			if (statement.tablespace != NULL)
				statement.database = ((AlterDatabaseStmt *) node)->dbname;
			break;
		case T_CreatedbStmt:
			statement.database = find_option(((CreatedbStmt *) node)->options,
											 "template", "template1");
			statement.made = ((CreatedbStmt *) node)->dbname;
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
 * Looks up what decides about a statement; false if there is no such
 * database.
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
 * Whether the current role may run the statement, by the server's own
 * rules, and it does anything.
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
 * Tells our processes in a database to end; false if there is none.  Who is
 * connected has said so before he released the lock on the database, which we
 * hold.
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

/* Has our processes leave the database, and keeps it empty of them. */
static void
empty_database(const DatabaseStatement *statement, Oid database)
{
	TimestampTz start = GetCurrentTimestamp();
	bool		said = false;

	LockSharedObject(DatabaseRelationId, database, 0,
					 statement->copies ? ShareLock : AccessExclusiveLock);
	if (get_database_oid(statement->database, true) != database)
		return;					/* renamed meanwhile */
	while (terminate_processes(database) &&
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
 * Empties the statement's database, if it is one of ours to decide; returns
 * its OID.
 */
static Oid
prepare(const DatabaseStatement *statement, bool top_level)
{
	/* all but a rename are refused in a transaction block */
	bool		renames = statement->made != NULL && !statement->copies;
	Oid			database;

	if (!renames && IsInTransactionBlock(top_level))
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
drop_unreadable_slot(Oid database)
{
	NameData	name;

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
	int			place = statement.made !=
	NULL ? settings_database_place(statement.made) : -1;
	Oid			database = InvalidOid;

	if (statement.database != NULL && !RecoveryInProgress())
		database = prepare(&statement, context == PROCESS_UTILITY_TOPLEVEL);
	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)
		(pstmt, query, read_only_tree, context, params, environment, dest,
		 completion);
	if (statement.tablespace != NULL && OidIsValid(database))
		drop_unreadable_slot(database);
	if (statement.drops)
		dropped = database;
	if (place >= 0)
		made = place;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (event == XACT_EVENT_COMMIT && OidIsValid(dropped))
		shared_stream_drop(dropped);
	if (event == XACT_EVENT_COMMIT && made >= 0)
		shared_worker_retry(made);
	dropped = InvalidOid;
	made = -1;
}

/*
 * Has our processes leave a database for a statement that needs it to itself,
 * and come back afterwards.
 */
void
utility_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	RegisterXactCallback(at_transaction_end, NULL);
}
