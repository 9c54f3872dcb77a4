/*-------------------------------------------------------------------------
 *
 * ddl.c
 *	  Notices what DDL does to sources.
 *
 * A cycle compares the facts of sources (facts.h) with those of its last
 * position, and so sees what a column was renamed to, but not that it had
 * another name for a while, nor whether a new partition has brought rows
 * along.  An event trigger looks at them after each command, and notes when
 * changes that are unread by then cannot be told any more.
 *
 * It runs in the transactions of others, so it does nothing but look at
 * catalogs, and takes no lock: the command holds those on what it has
 * altered.  Types that values of a source are made of are looked at as the
 * source is.
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

#include "compat.h"
#include "facts.h"
#include "stream.h"

sql_function(notify_stats_note_ddl);

/* A command, as far as it matters. */
typedef struct Command
{
	Oid			class;
	Oid			object;
	bool		alters;			/* rather than creates */
	bool		brings;			/* may add rows that no change has told */
	List	   *recomputed;		/* of ObjectAddress: columns that it may alter
								 * likewise */
} Command;

static ObjectAddress *
copy_address(const ObjectAddress *address)
{
	ObjectAddress *copy = palloc(sizeof(ObjectAddress));

	*copy = *address;
	return copy;
}

/* Notes what a command does that no change of a row tells. */
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

/* The commands on relations, types and schemas that the event is about. */
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
 * The sources that a command on a relation, a type or a schema may have
 * changed.
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
 * Whether a command may have made a new partition other than what its changes
 * tell.  To formats that go by name, what it is called, and its replica
 * identity, matter as well.
 */
static bool
may_mislead(const Format *format, const Command *command)
{
	return format->by_name ? command->alters : command->brings;
}

/*
 * The facts of a source that the command has broken.  An expression that
 * looks the same may give other values now.
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
 * Notes the sources whose unread changes the command has broken, or a part
 * of their rows.
 */
static void
note_command(const Format *format, List *before, const Command *command)
{
	ListCell   *lc;

	foreach(lc, sources_of(before, command))
	{
		Oid			source = lfirst_oid(lc);
		List	   *now = facts_renew(format, before, source);

		if (now == NIL)
			continue;
		if (may_mislead(format, command) &&
			facts_bring_rows(before, now, source))
			facts_note_break(source);
		facts_note_broken(broken_by(command, before, now, source));
		facts_note_detached(before, now, source);
	}
}

Datum
notify_stats_note_ddl(PG_FUNCTION_ARGS)
{
	List	   *facts;
	StreamRow	row;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");

	facts = facts_load();
	if (facts != NIL && stream_load(&row) && row.has_slot)
		foreach(lc, list_commands())
			note_command(row.format, facts, (const Command *) lfirst(lc));
	PG_RETURN_NULL();
}
