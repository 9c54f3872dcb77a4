/*-------------------------------------------------------------------------
 *
 * facts.c
 *	  Properties that must not change between a change of a row and its
 *	  reading.
 *
 * The tables are locked against changes of their shape from when facts are
 * collected until they are written with the new position.  So if the facts are
 * the same as at the old position, nothing has changed in between.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "facts.h"
#include "settings.h"
#include "type_parts.h"

/*
 * names of facts that may be removed or added with a definition or a partition
 */
#define COLUMN_FACT "column "
#define EXPRESSION_FACT "expression of column "
#define TYPE_FACT "type "
#define PARTITION_FACT "partition "

/* Appends a fact; the strings are kept by reference. */
List	   *
facts_add(List *facts, Oid source, const char *name, const char *value)
{
	Fact	   *fact = palloc(sizeof(Fact));

	fact->source = source;
	fact->name = name;
	fact->value = value;
	return lappend(facts, fact);
}

/* Name and type of a column, which may be dropped. */
static char *
column_value(Oid source, AttrNumber attnum)
{
	char	   *name = get_attname(source, attnum, true);

	return name ? psprintf("%u %s", get_atttype(source, attnum), name) :
		"dropped";
}

/* Appends the names and types of columns. */
List	   *
facts_add_columns(List *facts, Oid source, const Bitmapset *columns)
{
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		facts = facts_add(facts, source, psprintf(COLUMN_FACT "%d", attnum),
						  column_value(source, attnum));
	return facts;
}

/*
 * Appends one more fact of a column.  Each column has its own: which ones
 * are in use changes with the rollups.
 */
List	   *
facts_add_column(List *facts, Oid source, AttrNumber attnum, const char *name,
				 const char *value)
{
	return facts_add(facts, source,
					 psprintf(COLUMN_FACT "%d, %s", attnum, name), value);
}

/*
 * Appends the leaf partitions of a partitioned source, each with what "value"
 * says of it, or, with NULL, only that there is such a one.
 */
List	   *
facts_add_partitions(List *facts, Oid source, char *(*value) (Oid relid))
{
	List	   *relids;
	ListCell   *lc;

	if (get_rel_relkind(source) != RELKIND_PARTITIONED_TABLE)
		return facts;
	relids = find_all_inheritors(source, NoLock, NULL);
	foreach(lc, relids)
	{
		Oid			relid = lfirst_oid(lc);

		if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
			facts = facts_add(facts, source,
							  psprintf(PARTITION_FACT "%u", relid),
							  psprintf("%c%s", get_rel_persistence(relid),
									   value ? value(relid) : ""));
	}
	return facts;
}

/*
 * Appends a partition of which changes were read.  They were logged, so that it
 * is permanent.
 */
List	   *
facts_add_partition(List *facts, Oid source, Oid partition)
{
	return facts_add(facts, source, psprintf(PARTITION_FACT "%u", partition),
					 psprintf("%c", RELPERSISTENCE_PERMANENT));
}

/* A hash of the expression that generates a column. */
static char *
expression_value(Oid relid, AttrNumber attnum)
{
	Relation	defaults = table_open(AttrDefaultRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *value = "none";

	ScanKeyInit(&keys[0], Anum_pg_attrdef_adrelid, BTEqualStrategyNumber,
				F_OIDEQ,
				ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_attrdef_adnum, BTEqualStrategyNumber,
				F_INT2EQ,
				Int16GetDatum(attnum));
	scan = systable_beginscan(defaults, AttrDefaultIndexId, true, NULL,
							  lengthof(keys), keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		adbin = heap_getattr(tuple, Anum_pg_attrdef_adbin,
										 RelationGetDescr(defaults), &isnull);
		char	   *expression = TextDatumGetCString(adbin);

		value = psprintf(UINT64_FORMAT,
						 hash_bytes_extended((unsigned char *) expression,
											 strlen(expression),
											 0));
	}
	systable_endscan(scan);
	table_close(defaults, AccessShareLock);
	return value;
}

/*
 * Appends how a column is generated in the source, or in a leaf partition
 * of it.
 */
static List *
add_expression(List *facts, Oid source, AttrNumber attnum, Oid relid)
{
	AttrNumber	number = get_attnum(relid, get_attname(source, attnum, false));

	/* while an event trigger runs, a partition can be dropped concurrently */
	if (number == InvalidAttrNumber ||
		get_attgenerated(relid, number) != ATTRIBUTE_GENERATED_STORED)
		return facts;
	return facts_add(facts, source,
					 psprintf(EXPRESSION_FACT "%d of %u", attnum, relid),
					 expression_value(relid, number));
}

/*
 * Appends how columns are generated: another expression computes them again
 * without a change of a row.  Each partition has its own.
 */
static List *
add_expressions(List *facts, Oid source, const Bitmapset *columns)
{
	bool		partitioned = get_rel_relkind(source) ==
	RELKIND_PARTITIONED_TABLE;
	int			attnum = -1;
	ListCell   *lc;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
	{
		if (get_attname(source, attnum, true) == NULL ||
			get_attgenerated(source, attnum) != ATTRIBUTE_GENERATED_STORED)
			continue;
		foreach(lc, partitioned ? find_all_inheritors(source, NoLock, NULL) :
				list_make1_oid(source))
		{
			if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_PARTITIONED_TABLE)
				facts = add_expression(facts, source, attnum, lfirst_oid(lc));
		}
	}
	return facts;
}

/* Appends what the values of these types are made of. */
static List *
add_types(const Format *format, List *facts, Oid source, List *types)
{
	ListCell   *lc;

	foreach(lc, type_parts(types))
		facts = facts_add(facts, source,
						  psprintf(TYPE_FACT "%u", lfirst_oid(lc)),
						  type_description(lfirst_oid(lc), format->by_name));
	return facts;
}

/*
 * The facts of one source: those of its format, and what matters to all of
 * them: that its changes are in the WAL at all, and what its values mean.
 */
static List *
add_facts_of(const Format *format, List *facts, Oid source,
			 const Bitmapset *columns, List *types)
{
	facts = facts_add(facts, source, "persistence",
					  psprintf("%c", get_rel_persistence(source)));
	facts = format->facts_of(facts, source, columns);
	facts = add_expressions(facts, source, columns);
	return add_types(format, facts, source, types);
}

/* The facts of what definitions read, a list of Definition. */
List	   *
facts_collect(const Format *format, List *definitions)
{
	List	   *facts = NIL;
	List	   *done = NIL;
	ListCell   *lc;
	ListCell   *lc2;
	ListCell   *lc3;

	foreach(lc, definitions)
	{
		foreach(lc2, ((Definition *) lfirst(lc))->sources)
		{
			Oid			source = lfirst_oid(lc2);
			Bitmapset  *columns = NULL;
			List	   *types = NIL;

			if (list_member_oid(done, source))
				continue;
			done = lappend_oid(done, source);
			foreach(lc3, definitions)
			{
				const Definition *definition = (Definition *) lfirst(lc3);

				columns = bms_add_members(columns,
										  definition_source_columns(definition,
																	source));
				types = list_concat_unique_oid(types,
											   definition_source_types(definition, source));
			}
			facts = add_facts_of(format, facts, source, columns, types);
		}
	}
	return facts;
}

static bool
has_prefix(const Fact *fact, const char *prefix)
{
	return strncmp(fact->name, prefix, strlen(prefix)) == 0;
}

static const Fact *
find_fact(List *facts, const Fact *wanted)
{
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == wanted->source &&
			strcmp(fact->name, wanted->name) == 0)
			return fact;
	}
	return NULL;
}

/* The partition that a fact is of. */
static Oid
partition_of(const Fact *fact)
{
	return strtoul(fact->name + strlen(PARTITION_FACT), NULL, 10);
}

/* A fact that a partition was detached, of whatever transaction. */
static const Fact *
find_detached(List *facts, Oid source, Oid relid)
{
	const char *prefix = psprintf(DETACHED_FACT "%u ", relid);
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == source && has_prefix(fact, prefix))
			return fact;
	}
	return NULL;
}

/* The column of the source that a fact is of, or InvalidAttrNumber. */
static AttrNumber
column_of(const Fact *fact)
{
	if (has_prefix(fact, COLUMN_FACT))
		return atoi(fact->name + strlen(COLUMN_FACT));
	if (has_prefix(fact, EXPRESSION_FACT))
		return atoi(fact->name + strlen(EXPRESSION_FACT));
	return InvalidAttrNumber;
}

/* The type that a fact is of, or InvalidOid. */
static Oid
type_of(const Fact *fact)
{
	return has_prefix(fact, TYPE_FACT) ?
		strtoul(fact->name + strlen(TYPE_FACT), NULL, 10) : InvalidOid;
}

/* Returns the columns that the facts of a source refer to. */
static Bitmapset *
columns_of(List *facts, Oid source)
{
	Bitmapset  *columns = NULL;
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == source && column_of(fact) != InvalidAttrNumber)
			columns = bms_add_member(columns, column_of(fact));
	}
	return columns;
}

/* Returns the types that the facts of a source refer to. */
static List *
types_of(List *facts, Oid source)
{
	List	   *types = NIL;
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == source && OidIsValid(type_of(fact)))
			types = lappend_oid(types, type_of(fact));
	}
	return types;
}

/*
 * The facts of a source as they are now, of the same columns as those given;
 * NIL if it does not exist any more.
 */
List	   *
facts_renew(const Format *format, List *facts, Oid source)
{
	if (get_rel_name(source) == NULL)
		return NIL;
	return add_facts_of(format, NIL, source, columns_of(facts, source),
						types_of(facts, source));
}

/*
 * Returns the sources in a set of facts that a relation affects: the relation
 * itself, its ancestors, and sources whose values contain its row type.
 */
List	   *
facts_sources_of(List *facts, Oid relid)
{
	List	   *ancestors = get_rel_relispartition(relid) ?
	get_partition_ancestors(relid) : NIL;
	List	   *sources = facts_sources_with_type(facts,
												  get_rel_type_id(relid));
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == relid ||
			list_member_oid(ancestors, fact->source) ||
			(has_prefix(fact, PARTITION_FACT) && partition_of(fact) == relid))
			sources = list_append_unique_oid(sources, fact->source);
	}
	return sources;
}

/* The sources whose values are made of a type. */
List	   *
facts_sources_with_type(List *facts, Oid type)
{
	List	   *sources = NIL;
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (OidIsValid(type) && type_of(fact) == type)
			sources = list_append_unique_oid(sources, fact->source);
	}
	return sources;
}

/* The version of a row of a catalog, by its cache. */
static TransactionId
row_version(HeapTuple tuple)
{
	TransactionId xmin;

	if (!HeapTupleIsValid(tuple))
		return InvalidTransactionId;
	xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	ReleaseSysCache(tuple);
	return xmin;
}

/* The versions of the catalog rows that a fact is from. */
static char *
fact_version(const Format *format, const Fact *fact)
{
	Oid			relid = has_prefix(fact, PARTITION_FACT) ? partition_of(fact) :
	fact->source;
	Oid			namespace = get_rel_namespace(relid);
	AttrNumber	attnum = column_of(fact);

	/* changes of attributes of composite types cannot be undone */
	if (OidIsValid(type_of(fact)))
		return format->by_name ? type_label_versions(type_of(fact)) : "";
	return psprintf("%u %u %u",
					row_version(SearchSysCache1(RELOID,
												ObjectIdGetDatum(relid))),
					row_version(SearchSysCache1(NAMESPACEOID,
												ObjectIdGetDatum(namespace))),
					row_version(SearchSysCache2(ATTNUM,
												ObjectIdGetDatum(relid),
												Int16GetDatum(attnum))));
}

/*
 * The same, together with the versions of the catalog rows they come from.  As
 * long as these are unchanged, nothing about the sources was altered, not even
 * temporarily.
 */
List	   *
facts_collect_versions(const Format *format, List *definitions)
{
	List	   *facts = facts_collect(format, definitions);
	List	   *result = list_copy(facts);
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		result = facts_add(result, fact->source,
						   psprintf("version of %s", fact->name),
						   fact_version(format, fact));
	}
	return result;
}

static bool
is_note(const Fact *fact)
{
	return has_prefix(fact, BREAK_FACT " ") || has_prefix(fact, DETACHED_FACT);
}

/*
 * Returns the fact that a note reports as broken; for any other fact, the fact
 * itself.
 */
static const Fact *
subject_of(const Fact *fact)
{
	const char *name;
	Fact	   *subject;

	if (!has_prefix(fact, BREAK_FACT " "))
		return fact;
	name = strchr(fact->name + strlen(BREAK_FACT " "), ' ');
	if (name == NULL)
		return fact;
	subject = palloc(sizeof(Fact));
	*subject = *fact;
	subject->name = name + 1;
	return subject;
}

/* Returns a description of a fact for messages. */
static const char *
describe(const Fact *fact)
{
	char	   *name;

	fact = subject_of(fact);
	if (has_prefix(fact, BREAK_FACT " "))
		return BREAK_FACT;
	if (has_prefix(fact, DETACHED_FACT))
		return "set of partitions";
	if (OidIsValid(type_of(fact)))
		return psprintf(TYPE_FACT "%s",
						format_type_be_qualified(type_of(fact)));
	if (has_prefix(fact, EXPRESSION_FACT))
	{
		name = get_attname(fact->source, column_of(fact), true);
		return psprintf(EXPRESSION_FACT "\"%s\"", name ? name : "?");
	}
	if (has_prefix(fact, COLUMN_FACT))
	{
		name = get_attname(fact->source, column_of(fact), true);
		return name ? psprintf(COLUMN_FACT "\"%s\"", name) : "set of columns";
	}
	if (!has_prefix(fact, PARTITION_FACT))
		return fact->name;
	name = get_rel_name(partition_of(fact));
	return name ? psprintf(PARTITION_FACT "\"%s\"", name) :
		"set of partitions";
}

/* Returns whether it does not matter that a fact no longer exists. */
static bool
may_go(const Fact *fact, bool partitions_may_go)
{
	/* no definition uses it any more */
	if (has_prefix(fact, COLUMN_FACT) || has_prefix(fact, EXPRESSION_FACT) ||
		has_prefix(fact, TYPE_FACT))
		return true;
	return partitions_may_go &&
		(has_prefix(fact, PARTITION_FACT) || has_prefix(fact, DETACHED_FACT));
}

/* Returns whether a fact is unchanged, as far as that matters. */
static bool
holds(const Fact *before, const Fact *now)
{
	if (OidIsValid(type_of(before)))
		return type_description_holds(before->value, now->value);
	return strcmp(before->value, now->value) == 0;
}

/* Whether a fact that was does not hold any more. */
static bool
is_broken(const Fact *before, List *now, bool partitions_may_go)
{
	const Fact *fact = find_fact(now, before);

	return fact ? !holds(before, fact) : !may_go(before, partitions_may_go);
}

/*
 * Returns whether a rollup depends on a fact.  Formats that read text read all
 * columns of a row that any rollup uses, so for them a type concerns all
 * rollups.
 */
static bool
concerns(const Fact *fact, const Format *format, const Definition *definition)
{
	const Fact *subject = subject_of(fact);

	if (has_prefix(subject, EXPRESSION_FACT))
		return bms_is_member(column_of(subject),
							 definition_source_columns(definition,
													   fact->source));
	if (OidIsValid(type_of(subject)) && !format->by_name)
		return list_member_oid(type_parts(definition_source_types(definition,
																  fact->source)),
							   type_of(subject));
	return true;
}

/*
 * Returns why changes of a source between two sets of facts cannot be decoded
 * for a rollup, or NULL.
 */
const char *
facts_break(const Format *format, List *before, List *now,
			const Definition *definition,
			Oid source, bool partitions_may_go)
{
	ListCell   *lc;

	foreach(lc, before)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == source &&
			is_broken(fact, now, partitions_may_go) &&
			concerns(fact, format, definition))
			return psprintf("the %s of table \"%s\" has changed, which output plugin \"%s\" does not report",
							describe(fact), get_rel_name(source),
							format->plugin);
	}
	return NULL;
}

/*
 * Returns the facts of a source in the first set that do not hold in the
 * second, except notes and removed partitions.
 */
List	   *
facts_broken(List *before, List *now, Oid source)
{
	List	   *broken = NIL;
	ListCell   *lc;

	foreach(lc, before)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == source && !is_note(fact) &&
			is_broken(fact, now, true))
			broken = lappend(broken, lfirst(lc));
	}
	return broken;
}

/*
 * The facts of a source on how a column of this table, itself or a
 * partition, is generated.
 */
List	   *
facts_of_expression(List *facts, Oid source, Oid relid, AttrNumber attnum)
{
	const char *column = get_attname(relid, attnum, true);
	Fact		wanted = {.source = source};
	const Fact *fact;

	if (column == NULL)
		return NIL;
	wanted.name = psprintf(EXPRESSION_FACT "%d of %u",
						   get_attnum(source, column), relid);
	fact = find_fact(facts, &wanted);
	return fact ? list_make1(unconstify(Fact *, fact)) : NIL;
}

/* Whether a table was made in this transaction and has never had a row. */
static bool
is_brand_new(Oid relid)
{
	Relation	relation = try_relation_open(relid, NoLock);
	bool		result;

	if (relation == NULL)
		return true;
	result = relation->rd_createSubid != InvalidSubTransactionId &&
		relation->rd_rel->relkind == RELKIND_RELATION &&
		RelationGetNumberOfBlocks(relation) == 0;
	relation_close(relation, NoLock);
	return result;
}

/* Whether this transaction has altered a table, or attached it. */
static bool
is_altered_here(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
	ReleaseSysCache(tuple);
	return result;
}

/* The same for a partition, or a table between it and the source. */
static bool
is_partition_altered_here(Oid partition, Oid source)
{
	List	   *ancestors = get_rel_relispartition(partition) ?
	get_partition_ancestors(partition) : NIL;
	ListCell   *lc;

	foreach(lc, lcons_oid(partition, ancestors))
	{
		if (lfirst_oid(lc) == source)
			break;
		if (is_altered_here(lfirst_oid(lc)))
			return true;
	}
	return false;
}

/*
 * Returns whether a partition is new in the second set, or was temporarily
 * detached.  It may then have rows, or another replica identity, for which
 * there were no changes.  If "altered_here", only partitions count that this
 * transaction has altered or attached, itself or by a table above them.
 */
bool
facts_bring_rows(List *before, List *now, Oid source, bool altered_here)
{
	ListCell   *lc;

	foreach(lc, now)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		if (fact->source == source && has_prefix(fact, PARTITION_FACT) &&
			(find_fact(before, fact) == NULL ||
			 find_detached(before, source, partition_of(fact)) != NULL) &&
			!is_brand_new(partition_of(fact)) &&
			(!altered_here ||
			 is_partition_altered_here(partition_of(fact), source)))
			return true;
	}
	return false;
}

/* Returns the facts whose subject has none among the known facts. */
List	   *
facts_without(List *facts, List *known)
{
	List	   *others = NIL;
	ListCell   *lc;

	foreach(lc, facts)
	{
		if (find_fact(known, (const Fact *) lfirst(lc)) == NULL)
			others = lappend(others, lfirst(lc));
	}
	return others;
}

/* Whether each fact of one set is in the other. */
static bool
is_subset(List *facts, List *of)
{
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);
		const Fact *other = find_fact(of, fact);

		if (other == NULL || strcmp(other->value, fact->value) != 0)
			return false;
	}
	return true;
}

/* Whether the two sets are the same. */
bool
facts_equal(List *before, List *now)
{
	return list_length(before) == list_length(now) && is_subset(before, now);
}

/*
 * Runs a query for facts with their rollups.  It reads the current rows,
 * whatever the isolation level of the session that alters a source.  Returns a
 * list of FactSet.
 */
static List *
load_sets(const char *query, Oid rollup)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *sets = NIL;
	Oid			argtypes[1] = {OIDOID};
	Datum		args[1] = {ObjectIdGetDatum(rollup)};

	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_with_args(query, 1, argtypes, args, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the facts of sources");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext spi_context = MemoryContextSwitchTo(context);
		bool		isnull;
		Oid			owner = DatumGetObjectId(SPI_getbinval(tuple, desc, 1,
														   &isnull));
		FactSet    *set = sets == NIL ? NULL : (FactSet *) llast(sets);

		if (set == NULL || set->rollup != owner)
		{
			set = palloc0(sizeof(FactSet));
			set->rollup = owner;
			sets = lappend(sets, set);
		}
		set->facts = facts_add(set->facts,
							   DatumGetObjectId(SPI_getbinval(tuple, desc, 2,
															  &isnull)),
							   SPI_getvalue(tuple, desc, 3),
							   SPI_getvalue(tuple, desc, 4));
		MemoryContextSwitchTo(spi_context);
	}
	PopActiveSnapshot();
	SPI_finish();
	return sets;
}

/*
 * The facts as they were when the stream's position was written; or those of a
 * rollup that was left behind, as of its own position.
 */
List	   *
facts_load(Oid rollup)
{
	List	   *sets = load_sets("SELECT rollup, source, fact, value FROM " EXTENSION_SCHEMA ".source_fact"
								 " WHERE rollup = $1", rollup);

	return sets == NIL ? NIL : ((FactSet *) linitial(sets))->facts;
}

/*
 * All of these, as a list of FactSet: those of the stream (rollup is
 * InvalidOid), which do not have what no live rollup reads; and those of each
 * rollup that was left behind.
 */
List	   *
facts_load_sets(void)
{
	return load_sets("SELECT f.rollup, f.source, f.fact, f.value FROM " EXTENSION_SCHEMA ".source_fact f"
					 " WHERE f.rollup = $1 OR EXISTS (SELECT FROM " EXTENSION_SCHEMA ".rollup_activity v"
					 " WHERE v.rollup = f.rollup AND v.applied_lsn IS NOT NULL) ORDER BY f.rollup", InvalidOid);
}

/* Three arrays of the same length, as arguments of a query. */
static void
make_arrays(List *facts, Datum *args)
{
	int			nfacts = list_length(facts);
	Datum	   *sources = palloc(sizeof(Datum) * (nfacts + 1));
	Datum	   *names = palloc(sizeof(Datum) * (nfacts + 1));
	Datum	   *values = palloc(sizeof(Datum) * (nfacts + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, facts)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		sources[n] = ObjectIdGetDatum(fact->source);
		names[n] = CStringGetTextDatum(fact->name);
		values[n++] = CStringGetTextDatum(fact->value);
	}
	args[0] = PointerGetDatum(construct_array(sources, n, OIDOID, sizeof(Oid),
											  true, TYPALIGN_INT));
	args[1] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false,
											  TYPALIGN_INT));
	args[2] = PointerGetDatum(construct_array(values, n, TEXTOID, -1, false,
											  TYPALIGN_INT));
}

/*
 * Writes facts in place of those that were loaded.  Live rollups do not need
 * the notes of their own any more.
 */
void
facts_store(List *loaded, List *facts)
{
	/*
	 * facts added by facts_note_break that were not seen here are left for
	 * the next time
	 */
	static const char delete[] =
	"DELETE FROM " EXTENSION_SCHEMA ".source_fact f"
	" USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	" l (source, fact, value) WHERE f.rollup = 0 AND f.source = l.source AND f.fact = l.fact";
	static const char insert[] =
	"INSERT INTO " EXTENSION_SCHEMA ".source_fact (rollup, source, fact, value)"
	" SELECT 0, n.* FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) n";
	Oid			argtypes[3] = {OIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum		args[3];

	SPI_connect();
	make_arrays(loaded, args);
	if (SPI_execute_with_args(delete, 3, argtypes, args, NULL, false,
							  0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete the facts of sources");
	make_arrays(facts, args);
	if (SPI_execute_with_args(insert, 3, argtypes, args, NULL, false,
							  0) != SPI_OK_INSERT ||
		SPI_execute("DELETE FROM " EXTENSION_SCHEMA ".source_fact f USING " EXTENSION_SCHEMA ".rollup r"
					" WHERE f.rollup = r.rollup AND r.state = 'live'", false,
					0) != SPI_OK_DELETE)
		elog(ERROR, "could not write the facts of sources");
	SPI_finish();
}

/*
 * Writes the facts that are not yet stored.  Does not change stored facts:
 * changes of their sources since then are left for the next comparison.
 */
void
facts_store_others(List *stored, List *facts)
{
	facts_store(NIL, facts_without(facts, stored));
}

/*
 * Writes notes of this transaction: of the stream, or only of a rollup that was
 * left behind.  A rollup that will be left behind at an earlier position than
 * that of the stream needs its own, as a cycle deletes those of the stream.  A
 * rollup that will be live again needs those of the stream.
 */
static void
store_notes(Oid rollup, List *notes)
{
	static const char insert[] =
	"INSERT INTO " EXTENSION_SCHEMA ".source_fact (rollup, source, fact, value)"
	" SELECT r.rollup, n.* FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	" n (source, fact, value) CROSS JOIN LATERAL (SELECT $4 UNION"
	" SELECT s.rollup FROM " EXTENSION_SCHEMA ".rollup_source s WHERE s.source = n.source AND $4 = 0 UNION"
	" SELECT 0 WHERE NOT EXISTS (SELECT FROM " EXTENSION_SCHEMA ".source_fact f WHERE f.rollup = 0 AND f.source = n.source)"
	") r (rollup) ON CONFLICT DO NOTHING";
	Oid			argtypes[4] = {OIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, OIDOID};
	Datum		args[4];

	if (notes == NIL)
		return;
	make_arrays(notes, args);
	args[3] = ObjectIdGetDatum(rollup);
	SPI_connect();
	if (SPI_execute_with_args(insert, 4, argtypes, args, NULL, false,
							  0) != SPI_OK_INSERT)
		elog(ERROR, "could not write notes about sources");
	SPI_finish();
}

/*
 * Records that this transaction has altered the source so that unread changes
 * cannot be decoded, for any rollup; or, as the next ones, for a rollup that was
 * left behind.
 */
void
facts_note_break(Oid rollup, Oid source)
{
	List	   *facts = facts_add(NIL, source,
								  psprintf(BREAK_FACT " %u",
										   GetTopTransactionId()), "");

	store_notes(rollup, facts);
}

/* The same, but only for rollups that depend on one of these facts. */
void
facts_note_broken(Oid rollup, List *broken)
{
	List	   *facts = NIL;
	ListCell   *lc;

	foreach(lc, broken)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		facts = facts_add(facts, fact->source,
						  psprintf(BREAK_FACT " %u %s", GetTopTransactionId(),
								   fact->name), "");
	}
	store_notes(rollup, facts);
}

/*
 * Records the partitions that are only in the first set of facts.  They may be
 * attached again before the next comparison.
 */
void
facts_note_detached(Oid rollup, List *before, List *now, Oid source)
{
	List	   *facts = NIL;
	ListCell   *lc;

	foreach(lc, before)
	{
		const Fact *fact = (const Fact *) lfirst(lc);

		/* each transaction has its own, so that none waits for another */
		if (fact->source == source && has_prefix(fact, PARTITION_FACT) &&
			find_fact(now, fact) == NULL &&
			find_detached(before, source, partition_of(fact)) == NULL)
			facts = facts_add(facts, source,
							  psprintf(DETACHED_FACT "%u %u",
									   partition_of(fact),
									   GetTopTransactionId()), "");
	}
	store_notes(rollup, facts);
}
