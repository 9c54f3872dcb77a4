/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  Detects DDL that affects sources.
 *
 * A cycle compares the facts of sources (facts.h) with those of its last
 * position.  So it sees the new name of a renamed column.  But it does not see
 * that the column had another name in between, or whether a new partition
 * already contained rows.  An event trigger checks the facts after each
 * command.  It records when changes that are still unread can no longer be
 * decoded correctly.
 *
 * The trigger runs in the transactions of other users, so it only reads
 * catalogs and takes no lock: the command holds the locks on everything that
 * it has altered.  Types that the values of a source consist of are checked in
 * the same way as the source.
 *
 * A second event trigger gives the parts of a computed rollup to the new owner
 * of its view.  It runs as the user who has altered the owner, so the server
 * checks the privileges for each part.  Others check views that are replaced,
 * and report what was dropped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "tcop/deparse_utility.h"

#include "catalog.h"
#include "compat.h"
#include "computed.h"
#include "core.h"
#include "facts.h"
#include "replacement.h"
#include "settings.h"
#include "shared.h"
#include "stream.h"
#include "wake.h"

sql_function(notify_stats_note_ddl);
sql_function(notify_stats_follow_owner);
sql_function(notify_stats_check_view);
sql_function(notify_stats_report_drop);

/* The properties of a command that are needed here. */
typedef struct Command
{
	Oid			class;
	Oid			object;
	bool		alters;			/* false: it creates the object */
	bool		brings;			/* may add rows for which there are no row
								 * changes */
	List	   *recomputed;		/* of ObjectAddress: columns whose values it
								 * may change without row changes */
} Command;

static ObjectAddress *
copy_address(const ObjectAddress *address)
{
	ObjectAddress *copy = palloc(sizeof(ObjectAddress));

	*copy = *address;
	return copy;
}

/* Determines what a command does without row changes. */
static void
look_into(const CollectedCommand *collected, Command *command)
{
	ListCell   *lc;

	if (collected->type != SCT_AlterTable)
		return;
	foreach(lc, collected->d.alterTable.subcmds)
	{
		const CollectedATSubcmd *part = (const CollectedATSubcmd *) lfirst(lc);
		AlterTableType subtype;

		if (!IsA(part->parsetree, AlterTableCmd))
			continue;
		subtype = ((const AlterTableCmd *) part->parsetree)->subtype;
		command->brings |= subtype == AT_AttachPartition ||
			subtype == AT_SetLogged;
		if (recomputes_column(subtype))
			command->recomputed = lappend(command->recomputed,
										  copy_address(&part->address));
	}
}

/*
 * Lists the commands on relations, types and schemas that fired the event
 * trigger.
 */
static List *
list_commands(void)
{
	static const char query[] =
	"SELECT classid, objid, command_tag LIKE 'ALTER%', command FROM pg_catalog.pg_event_trigger_ddl_commands()"
	" WHERE classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_namespace'::pg_catalog.regclass,"
	" 'pg_catalog.pg_type'::pg_catalog.regclass)";
	MemoryContext context = CurrentMemoryContext;
	List	   *commands = NIL;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the commands of an event");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Command    *command = MemoryContextAllocZero(context, sizeof(Command));
		MemoryContext spi_context = MemoryContextSwitchTo(context);
		bool		isnull;

		command->class = DatumGetObjectId(SPI_getbinval(tuple, desc, 1,
														&isnull));
		command->object = DatumGetObjectId(SPI_getbinval(tuple, desc, 2,
														 &isnull));
		command->alters = DatumGetBool(SPI_getbinval(tuple, desc, 3, &isnull));
		look_into((const CollectedCommand *) DatumGetPointer(SPI_getbinval(tuple, desc, 4, &isnull)),
				  command);
		commands = lappend(commands, command);
		MemoryContextSwitchTo(spi_context);
	}
	SPI_finish();
	return commands;
}

/*
 * Returns the sources that a command on a relation, a type or a schema may
 * have changed.
 */
static List *
sources_of(List *facts, const Command *command)
{
	List	   *sources = NIL;
	ListCell   *lc;

	if (command->class == RelationRelationId)
		return facts_sources_of(facts, command->object);
	if (command->class == TypeRelationId)
		return facts_sources_with_type(facts, command->object);
	foreach(lc, facts)
		sources = list_append_unique_oid(sources,
										 ((const Fact *) lfirst(lc))->source);
	return sources;
}

/*
 * Returns whether the unread changes of a new partition of the source may not
 * describe it correctly after a command.  The partitions that other
 * transactions have added were checked there.  For formats that go by name,
 * the name and the replica identity of a new partition matter as well, and any
 * transaction may change them.
 */
static bool
misleads(const Format *format, const Command *command, List *before, List *now,
		 Oid source)
{
	if (format->by_name)
		return command->alters && facts_bring_rows(before, now, source, false);
	return command->brings && facts_bring_rows(before, now, source, true);
}

/*
 * Returns the facts of a source that the command has broken.  An expression
 * that looks the same may return other values now.
 */
static List *
broken_by(const Command *command, List *before, List *now, Oid source)
{
	List	   *broken = facts_broken(before, now, source);
	ListCell   *lc;

	foreach(lc, command->recomputed)
	{
		const ObjectAddress *column = (const ObjectAddress *) lfirst(lc);

		broken = list_concat_unique_ptr(broken,
										facts_of_expression(before, source,
															column->objectId,
															column->objectSubId));
	}
	return broken;
}

/*
 * Records the sources for which the command has made changes after the position
 * of these facts, or some of them, unusable.
 */
static void
note_command(const Format *format, const FactSet *set, const Command *command)
{
	List	   *before = set->facts;
	ListCell   *lc;

	foreach(lc, sources_of(before, command))
	{
		Oid			source = lfirst_oid(lc);
		List	   *now = facts_renew(format, before, source);

		if (now == NIL)
			continue;
		if (misleads(format, command, before, now, source))
			facts_note_break(set->rollup, source);
		facts_note_broken(set->rollup,
						  broken_by(command, before, now, source));
		facts_note_detached(set->rollup, before, now, source);
	}
}

/*
 * Returns whether a user's command has fired the event trigger, and not one in
 * a script of the extension.  Throws if the function was called otherwise.
 */
static bool
fired_by_user(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	return !catalog_is_changing();
}

Datum
notify_stats_note_ddl(PG_FUNCTION_ARGS)
{
	List	   *sets;
	StreamRow	row;
	ListCell   *lc;
	ListCell   *lc2;

	if (!fired_by_user(fcinfo))
		PG_RETURN_NULL();

	/* a restore adds rollups without a call of our functions */
	if (!shared_has_worker() && catalog_may_have_rows(CATALOG_ROLLUP))
		wake_launcher_at_commit();
	sets = facts_load_sets();
	if (sets != NIL && stream_load(&row) && row.has_slot)
		foreach(lc, list_commands())
			foreach(lc2, sets)
				note_command(row.format, (const FactSet *) lfirst(lc2),
							 (const Command *) lfirst(lc));
	PG_RETURN_NULL();
}

Datum
notify_stats_follow_owner(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	if (!fired_by_user(fcinfo))
		PG_RETURN_NULL();

	/* must not fail if somebody has renamed our schema */
	if (OidIsValid(catalog_table(CATALOG_COMPUTED_ROLLUP)) &&
		core_list_computed() != NIL)
		foreach(lc, list_commands())
	{
		const Command *command = (const Command *) lfirst(lc);

		if (command->class == RelationRelationId && command->alters)
			computed_follow_owner(command->object);
	}
	PG_RETURN_NULL();
}

Datum
notify_stats_check_view(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	if (!fired_by_user(fcinfo))
		PG_RETURN_NULL();

	foreach(lc, list_commands())
	{
		const Command *command = (const Command *) lfirst(lc);

		if (command->class == RelationRelationId)
			replacement_check_view(command->object);
	}
	PG_RETURN_NULL();
}

/*
 * Reports that a rollup was dropped, which a user or a migration may not have
 * known to be one.  Its parts are not reported.
 */
static void
report_dropped(void)
{
	static const char query[] =
	"WITH dropped AS MATERIALIZED (SELECT objid, object_type, object_identity"
	" FROM pg_catalog.pg_event_trigger_dropped_objects()"
	" WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objsubid = 0)"
	" SELECT d.object_type, d.object_identity,"
	" NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA ".rollup r JOIN pg_catalog.pg_class c ON c.oid = r.rollup)"
	" FROM dropped d WHERE EXISTS (SELECT FROM (SELECT rollup, definition FROM " EXTENSION_SCHEMA ".rollup"
	" UNION ALL SELECT rollup, definition FROM " EXTENSION_SCHEMA ".computed_rollup) r"
	" WHERE r.rollup = d.objid AND r.definition IN (SELECT objid FROM dropped))"
	" AND NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA ".computed_rollup u WHERE d.objid = ANY (u.cores))"
	" AND NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA ".replacement x WHERE x.successor = d.objid)"
	" ORDER BY d.object_identity";

	SPI_connect();
	/* with a new snapshot, which does not show what was dropped */
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the dropped objects");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *last = SPI_getvalue(SPI_tuptable->vals[i],
										SPI_tuptable->tupdesc, 3);

		ereport(NOTICE,
				(errmsg("%s %s was a rollup of notify_stats",
						SPI_getvalue(SPI_tuptable->vals[i],
									 SPI_tuptable->tupdesc, 1),
						SPI_getvalue(SPI_tuptable->vals[i],
									 SPI_tuptable->tupdesc, 2)),
				 strcmp(last, "t") == 0 ?
				 errdetail("It is no longer maintained. There is no other rollup in this database, so the replication slot will be dropped, too.") :
				 errdetail("It is no longer maintained."),
				 errhint("To have it again, use notify_stats.create_rollup().")));
	}
	SPI_finish();
}

Datum
notify_stats_report_drop(PG_FUNCTION_ARGS)
{
	if (!fired_by_user(fcinfo))
		PG_RETURN_NULL();

	/* must not fail if somebody has renamed our schema */
	if (OidIsValid(catalog_table(CATALOG_ROLLUP)) &&
		OidIsValid(catalog_table(CATALOG_COMPUTED_ROLLUP)) &&
		OidIsValid(catalog_table(CATALOG_REPLACEMENT)))
		report_dropped();
	PG_RETURN_NULL();
}
