/*-------------------------------------------------------------------------
 *
 * estimate.c
 *	  How many rows a core will have.
 *
 * The planner has no statistics on expressions such as date_trunc(), nor on
 * combinations of columns.  So a sample of the pages is grouped, and the
 * number of groups in the whole table is estimated from the number of those
 * that occur once in the sample, with the formula that ANALYZE uses for
 * distinct values (Haas and Stokes 1998).  Rows of one page are often of one
 * group, such as a day, so several on the same page count as one occurrence.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"

#include "build_expr.h"
#include "definition.h"
#include "estimate.h"
#include "range_table.h"

/* A name that no column of a core has. */
#define PAGES_COLUMN "pages of the group"

/* About 30,000 rows of 80 bytes. */
#define SAMPLE_BLOCKS 300

/* Context of the walk over the tables of a core. */
typedef struct TableWalk
{
	BlockNumber blocks;			/* of all tables */
	double		percent;		/* of the blocks to read; 0: only count them */
} TableWalk;

/* Returns the name of the column that counts the facts of a group. */
static const char *
row_count_name(const Query *core)
{
	const Definition *definition = definition_compile(core);

	return quote_identifier(definition->measures[definition->row_count].name);
}

/* Returns the number of blocks of a table and its partitions. */
static BlockNumber
count_blocks(Oid relid)
{
	BlockNumber blocks = 0;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, AccessShareLock, NULL))
	{
		if (RELKIND_HAS_STORAGE(get_rel_relkind(lfirst_oid(lc))))
		{
			Relation	table = table_open(lfirst_oid(lc), AccessShareLock);

			blocks += RelationGetNumberOfBlocks(table);
			table_close(table, NoLock);
		}
	}
	return blocks;
}

static void
set_sample(RangeTblEntry *rte, double percent)
{
	TableSampleClause *clause = makeNode(TableSampleClause);

	clause->tsmhandler = F_SYSTEM;
	clause->args = list_make1(makeConst(FLOAT4OID, -1, InvalidOid,
										sizeof(float4),
										Float4GetDatum((float4) percent), false,
										true));
	rte->tablesample = clause;
}

static void
sample_table(RangeTblEntry *rte, void *context)
{
	TableWalk  *walk = (TableWalk *) context;

	if (rte->rtekind != RTE_RELATION || !rte->inFromCl)
		return;
	if (walk->percent == 0)
		walk->blocks += count_blocks(rte->relid);
	else
		set_sample(rte, walk->percent);
}

static Node *
as_text(Node *node)
{
	CoerceViaIO *cast = makeNode(CoerceViaIO);

	cast->arg = (Expr *) node;
	cast->resulttype = TEXTOID;
	cast->resultcollid = DEFAULT_COLLATION_OID;
	cast->coerceformat = COERCE_EXPLICIT_CAST;
	cast->location = -1;
	return (Node *) cast;
}

static Node *
text_call(Oid function, List *args)
{
	return (Node *) makeFuncExpr(function, TEXTOID, args, DEFAULT_COLLATION_OID,
								 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL);
}

/*
 * Adds the number of pages on which a group occurs to the output, if the core
 * has one source.  For several, the rows are counted instead.
 */
static void
add_pages(Query *sample)
{
	const RangeTblEntry *rte = linitial_node(RangeTblEntry, sample->rtable);
	Aggref	   *count = makeNode(Aggref);
	TargetEntry *arg;
	SortGroupClause *distinct = makeNode(SortGroupClause);
	Node	   *page;

	page = text_call(F_SPLIT_PART,
					 list_make3(as_text((Node *) makeVar(1, SelfItemPointerAttributeNumber,
														 TIDOID, -1, InvalidOid, 0)),
								expr_text(","),
								expr_integer(1)));
	page = text_call(F_TEXTCAT,
					 list_make2(page,
								as_text((Node *) makeVar(1, TableOidAttributeNumber,
														 OIDOID, -1, InvalidOid, 0))));
	arg = makeTargetEntry((Expr *) page, 1, NULL, false);
	arg->ressortgroupref = distinct->tleSortGroupRef = 1;
	distinct->eqop = TextEqualOperator;
	distinct->sortop = TextLessOperator;
	count->aggfnoid = F_COUNT_ANY;
	count->aggtype = INT8OID;
	count->aggargtypes = list_make1_oid(TEXTOID);
	count->aggkind = AGGKIND_NORMAL;
	count->aggsplit = AGGSPLIT_SIMPLE;
	count->aggno = count->aggtransno = -1;
	count->location = -1;
	if (rte->rtekind == RTE_RELATION)
	{
		count->args = list_make1(arg);
		count->aggdistinct = list_make1(distinct);
	}
	else
	{
		count->aggfnoid = F_COUNT_;
		count->aggargtypes = NIL;
		count->aggstar = true;
	}
	sample->targetList =
		lappend(sample->targetList,
				makeTargetEntry((Expr *) count,
								list_length(sample->targetList) + 1,
								PAGES_COLUMN, false));
}

static double
result_number(int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0],
									  SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetFloat8(value);
}

/*
 * Extrapolates from a sample of "rows" with "groups", of which "once" occur
 * once.  The groups occur "occurrences" times in total.
 */
static CoreSize
extrapolate(double rows, double groups, double once, double occurrences,
			double fraction)
{
	CoreSize	size = {groups, rows};
	double		divisor;

	if (fraction >= 1 || rows == 0)
		return size;
	size.facts = rows / fraction;
	divisor = occurrences - once + once * fraction;
	size.groups = divisor <= 0 ? size.facts : occurrences * groups / divisor;
	size.groups = Max(groups, Min(size.groups, size.facts));
	return size;
}

/*
 * Estimates the size of a core from a sample.  Reads the core's sources as the
 * current user.
 */
CoreSize
estimate_core(const Query *core)
{
	Query	   *sample = copyObject(unconstify(Query *, core));
	TableWalk	walk = {0, 0};
	double		fraction = 1;
	CoreSize	size = {0, 0};
	const char *n = row_count_name(core);
	char	   *text;

	range_table_visit(sample, sample_table, &walk);
	if (walk.blocks > SAMPLE_BLOCKS)
	{
		fraction = (double) SAMPLE_BLOCKS / walk.blocks;
		walk.percent = 100 * fraction;
		range_table_visit(sample, sample_table, &walk);
	}
	add_pages(sample);
	text = psprintf("SELECT pg_catalog.sum(c.%s)::float8, pg_catalog.count(*)::float8,"
					" pg_catalog.count(*) FILTER (WHERE c.\"" PAGES_COLUMN "\" OPERATOR(pg_catalog.=) 1)::float8,"
					" pg_catalog.sum(c.\"" PAGES_COLUMN "\")::float8"
					" FROM (%s) AS c",
					n, pg_get_querydef(sample, false));

	SPI_connect();
	if (SPI_execute(text, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not estimate the size of a core");
	size = extrapolate(result_number(1), result_number(2), result_number(3),
					   result_number(4), fraction);
	SPI_finish();
	return size;
}
