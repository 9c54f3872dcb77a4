/*-------------------------------------------------------------------------
 *
 * definition.c
 *	  Compiles the query that a rollup is kept equal to.
 *
 * A query can be maintained from the changes of single rows if each source
 * row alone permanently determines its group and what it adds to the group.
 * So FROM must be reducible to single tables without joins.  Every
 * expression must be immutable.  For every aggregate, it must be possible
 * to subtract a deleted row again.  The steps are:
 *
 *	check_query			refuses clauses, for each SELECT of the query
 *	read_query			turns FROM and WHERE into Inputs, one per table: subqueries
 *						and UNION ALL are multiplied out, as the planner does when
 *						it pulls them up
 *	read_columns		sorts the output columns into group columns and measures
 *	compile_branch		puts the group columns and measures in terms of one Input,
 *						and makes the expressions ready for the executor
 *	find_companions		finds for each sum the count that shows when it is NULL
 *
 * The code lists what is supported, not what is unsupported: a clause, FROM
 * item, node or aggregate that a later server adds is refused.  Lists of
 * refused constructs only serve to give better messages.
 *
 * An expression is evaluated only after it has been found to be immutable.
 * Folding it to a constant then calls functions as the current user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "definition.h"
#include "source.h"
#include "type_parts.h"
#include "users_code.h"

/*
 * What a FROM item takes from one table.  All expressions are in terms of the
 * table, Vars of varno 1.
 */
typedef struct Input
{
	Oid			relid;
	bool		is_table;		/* the item is the table itself */
	List	   *columns;		/* else an Expr for each column of the item */
	List	   *quals;			/* implicitly ANDed */
} Input;

/*
 * The output columns.  Their expressions are in terms of the FROM item of the
 * topmost query.
 */
typedef struct Columns
{
	List	   *groups;			/* an Expr per group column */
	List	   *args;			/* an Expr per measure, NULL for count(*) */
	List	   *filters;		/* an Expr per measure, NULL without FILTER */
	Bitmapset  *nullable_sums;	/* measures that are a sum without coalesce */
} Columns;

/* Context of substitute_mutator. */
typedef struct Substitution
{
	const Input *input;
	Index		varno;			/* the FROM item that the input belongs to */
} Substitution;

/* A clause of SELECT that is refused if it is present. */
typedef struct RefusedClause
{
	bool		present;
	const char *construct;
	const char *hint;
} RefusedClause;

/* The aggregates from which a row can be subtracted again. */
static const struct
{
	Oid			aggregate;
	MeasureKind kind;
}			measure_kinds[] = {
	{F_COUNT_, MEASURE_COUNT},
	{F_COUNT_ANY, MEASURE_COUNT},
	{F_SUM_INT2, MEASURE_SUM_INT},
	{F_SUM_INT4, MEASURE_SUM_INT},
	{F_SUM_INT8, MEASURE_SUM_NUMERIC},
	{F_SUM_NUMERIC, MEASURE_SUM_NUMERIC},
};

#define MONEY_HINT \
	"The numeric value of type money depends on lc_monetary. Store it in a column of type numeric or bigint."

/*
 * Messages for other aggregates; the last entry applies to all that are not
 * listed.
 */
static const struct
{
	const char *name;
	Oid			aggregate;		/* invalid: all of that name */
	const char *detail;
	const char *hint;
}			refused_aggregates[] = {

	{"sum", F_SUM_INTERVAL,
		"Only sums of exact numbers can be subtracted exactly.",
	"Sum the seconds: coalesce(sum(extract(epoch FROM x)), 0)."},
	{"sum", F_SUM_MONEY,
		"Only sums of exact numbers can be subtracted exactly.",
	MONEY_HINT},
	{"sum", InvalidOid,
		"Only sums of exact numbers can be subtracted exactly.",
	"Use a smallint, integer, bigint or numeric argument. A double precision value can be cast: sum(x::numeric)."},
	{"avg", InvalidOid, NULL,
	"Use sum(x) and count(x), and divide when reading the rollup."},
	{"min", InvalidOid,
		"When the smallest value is deleted, the next one must be searched for.",
	"Use count(*), count(x) or sum(x), or add the column to GROUP BY."},
	{"max", InvalidOid,
		"When the greatest value is deleted, the next one must be searched for.",
	"Use count(*), count(x) or sum(x), or add the column to GROUP BY."},
	{"bool_and", InvalidOid, NULL,
	"Use count(*) FILTER (WHERE NOT x), and compare with 0 when reading the rollup."},
	{"every", InvalidOid, NULL,
	"Use count(*) FILTER (WHERE NOT x), and compare with 0 when reading the rollup."},
	{"bool_or", InvalidOid, NULL,
	"Use count(*) FILTER (WHERE x), and compare with 0 when reading the rollup."},
	{NULL, InvalidOid, NULL,
	"Use count(*), count(x) or sum(x)."},
};

#define CURRENT_TIME_HINT \
	"Omit the current time, and filter by it when reading the rollup."
#define FORMAT_HINT \
	"Use the value itself, or date_trunc() or extract(), and format it when reading the rollup."
#define PARTS_HINT \
	"Construct the date from parts of the text: make_date(left(x, 4)::integer, substr(x, 6, 2)::integer, substr(x, 9, 2)::integer)."
#define CONCATENATION_HINT \
	"Use a separate column for each value, or cast values that are not text: a || b::text."

/* Hints on what to write instead of functions that are not immutable. */
static const struct
{
	Oid			function;
	const char *hint;
}			function_hints[] = {
	{F_AGE_TIMESTAMP, CURRENT_TIME_HINT},
	{F_AGE_TIMESTAMPTZ, CURRENT_TIME_HINT},
	{F_TO_CHAR_TIMESTAMP_TEXT, FORMAT_HINT},
	{F_TO_CHAR_TIMESTAMPTZ_TEXT, FORMAT_HINT},
	{F_TO_CHAR_INTERVAL_TEXT, FORMAT_HINT},
	{F_DATE_IN, PARTS_HINT},
	{F_TIMESTAMP_IN, PARTS_HINT},
	{F_TIMESTAMPTZ_IN, PARTS_HINT},
	{F_TO_DATE, PARTS_HINT},
	{F_TO_TIMESTAMP_TEXT_TEXT, PARTS_HINT},
	{F_TEXTANYCAT, CONCATENATION_HINT},
	{F_ANYTEXTCAT, CONCATENATION_HINT},
	{F_CONCAT, CONCATENATION_HINT},
	{F_CONCAT_WS, CONCATENATION_HINT},
	{F_NUMERIC_MONEY, MONEY_HINT},
	{F_CASH_OUT, MONEY_HINT},
	{F_ENUM_OUT, "Use the enum itself, and cast it when reading the rollup."},
	{F_RECORD_OUT, "Use the columns of the row separately."},
	{F_TO_TSVECTOR_TEXT,
	"Specify the text search configuration: to_tsvector('english', x)."},
	{F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8,
	"Use make_timestamp(...) AT TIME ZONE 'Europe/London'."},
	{F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8_TEXT,
	"Use make_timestamp(...) AT TIME ZONE 'Europe/London'."},
};

pg_noreturn static void refuse(const char *construct, const char *detail,
							   const char *hint);
static void check_select(const Query *query);
static void check_query(const Query *query, bool in_from);
static void check_clauses(const RefusedClause *clauses, int n);

static List *read_query(const Query *query, Index *varno);
static List *read_item(RangeTblEntry *rte);
static Input *read_table(const RangeTblEntry *rte);
static List *read_subquery(const Query *query);
static List *read_union(Node *node, const Query *query);
static void coerce_input(Input *input, const SetOperationStmt *setop);
static List *substitute(List *expressions, const Input *input, Index varno);
static Node *substitute_mutator(Node *node, Substitution *context);

static void read_columns(Definition *definition, Columns *columns,
						 const Query *query);
static const char *group_hint(Oid type);
static bool calls_users_code(const Definition *definition);
static void prepare_group_hash(Definition *definition);
static void add_group(Definition *definition, Columns *columns,
					  const TargetEntry *entry, const SortGroupClause *clause);
static void add_measure(Definition *definition, Columns *columns,
						const TargetEntry *entry);
static Aggref *measure_aggregate(Expr *expr, bool *never_null);
static bool is_zero(Node *node, Oid type);
static MeasureKind check_aggregate(const Aggref *aggregate);
pg_noreturn static void refuse_aggregate(Oid aggregate);
static void find_row_count(Definition *definition, const Columns *columns);

static Branch *compile_branch(const Columns *columns, const Input *input,
							  Index varno);
static List *ready_expressions(List *expressions, Branch *branch);
static bool note_types_walker(Node *node, List **types);
static Bitmapset *used_columns(const Branch *branch);
static void find_companions(Definition *definition, const Columns *columns);
static int	find_count(const Definition *definition, const Columns *columns,
					   int sum, bool of_rows);
static bool is_never_null(Node *node, Oid relid);

static bool check_expression_walker(Node *node, Oid *relid);
static void check_table_column(Oid relid, AttrNumber attnum);
static bool is_immutable_json(Node *node);
static bool note_mutable_function(Oid function, void *context);
static char *deparse(Node *node, Oid relid);
pg_noreturn static void refuse_function(Oid function, Node *node, Oid relid);
static const char *function_hint(Oid function, Node *node, Oid relid);
static const char *time_zone_hint(Oid function, Node *node, Oid relid);
static Node *in_time_zone(Node *node);

/*
 * Compiles an analyzed query (from parse_analyze, or the stored query of the
 * definition view), in the current memory context.  Does not change the query.
 * Throws, naming the construct, if the query cannot be maintained from row
 * changes.
 */
Definition *
definition_compile(const Query *query)
{
	Definition *definition = palloc0(sizeof(Definition));
	Columns		columns = {0};
	List	   *inputs;
	Index		varno;
	ListCell   *lc;

	check_select(query);
	check_query(query, false);
	inputs = read_query(query, &varno);
	read_columns(definition, &columns, query);

	foreach(lc, inputs)
	{
		Branch	   *branch = compile_branch(&columns, lfirst(lc), varno);

		definition->branches = lappend(definition->branches, branch);
		definition->sources = list_append_unique_oid(definition->sources,
													 branch->source);
	}

	find_companions(definition, &columns);
	prepare_group_hash(definition);
	definition->calls_users_code = calls_users_code(definition);

	return definition;
}

static bool
calls_users_code(const Definition *definition)
{
	ListCell   *lc;

	for (int i = 0; i < definition->ngroups; i++)
	{
		if (users_code_in_type(definition->groups[i].type))
			return true;
	}
	foreach(lc, definition->branches)
	{
		const Branch *branch = lfirst(lc);

		if (users_code_in((Node *) branch->quals) ||
			users_code_in((Node *) branch->groups) ||
			users_code_in((Node *) branch->args) ||
			users_code_in((Node *) branch->filters))
			return true;
	}

	return false;
}

/* Looks up the data needed to find groups in a hash table. */
static void
prepare_group_hash(Definition *definition)
{
	GroupHash  *hash = &definition->group_hash;
	int			ngroups = definition->ngroups;
	Oid		   *eq_operators = palloc(sizeof(Oid) * ngroups);
	FmgrInfo   *hash_functions;

	hash->desc = CreateTemplateTupleDesc(ngroups);
	hash->columns = palloc(sizeof(AttrNumber) * ngroups);
	hash->hash_functions = palloc(sizeof(Oid) * ngroups);
	hash->collations = palloc(sizeof(Oid) * ngroups);
	for (int i = 0; i < ngroups; i++)
	{
		const GroupColumn *group = &definition->groups[i];

		TupleDescInitEntry(hash->desc, i + 1, group->name, group->type,
						   group->typmod, 0);
		TupleDescInitEntryCollation(hash->desc, i + 1, group->collation);
		hash->columns[i] = i + 1;
		hash->collations[i] = group->collation;
		eq_operators[i] = group->eqop;
	}
	execTuplesHashPrepare(ngroups, eq_operators, &hash->eq_functions,
						  &hash_functions);
	for (int i = 0; i < ngroups; i++)
		hash->hash_functions[i] = hash_functions[i].fn_oid;
}

/*
 * Returns the columns of one source that the definition uses, for all branches
 * together.
 */
Bitmapset  *
definition_source_columns(const Definition *definition, Oid source)
{
	Bitmapset  *columns = NULL;
	ListCell   *lc;

	foreach(lc, definition->branches)
	{
		Branch	   *branch = lfirst(lc);

		if (branch->source == source)
			columns = bms_add_members(columns, branch->columns);
	}

	return columns;
}

/*
 * Returns the alterable types of the columns of one source that the definition
 * uses, and of expressions over them, for all branches together.
 */
List	   *
definition_source_types(const Definition *definition, Oid source)
{
	List	   *types = NIL;
	ListCell   *lc;

	foreach(lc, definition->branches)
	{
		Branch	   *branch = lfirst(lc);

		if (branch->source == source)
			types = list_concat_unique_oid(types, branch->types);
	}

	return types;
}

/* Throws because the definition has a construct that no rollup can have. */
static void
refuse(const char *construct, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not supported in a rollup definition",
					construct),
			 detail ? errdetail("%s", detail) : 0,
			 errhint("%s", hint)));
}

/* ----------------------------------------------------------------
 *		clauses
 * ----------------------------------------------------------------
 */

/* Throws unless the query is a SELECT that returns rows. */
static void
check_select(const Query *query)
{
	bool		into = query->utilityStmt != NULL &&
	IsA(query->utilityStmt, CreateTableAsStmt) &&
	((CreateTableAsStmt *) query->utilityStmt)->is_select_into;

	if (into)
		refuse("SELECT INTO", NULL,
			   "Omit INTO. The rollup is the table.");

	if (query->commandType != CMD_SELECT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("definition is not a SELECT statement"),
				 errhint("Write a query of the form SELECT columns, count(*) FROM table GROUP BY columns.")));
}

/*
 * Throws if the query has clauses that are not supported.  Only FROM and WHERE
 * are, and in the topmost query also GROUP BY.
 */
static void
check_query(const Query *query, bool in_from)
{
	const RefusedClause everywhere[] = {
		{query->cteList != NIL, "WITH",
		"Write the query as a subquery in FROM."},
		{query->hasDistinctOn, "DISTINCT ON",
		"Omit it. GROUP BY makes the rows distinct."},
		{query->distinctClause != NIL, "DISTINCT",
		"Omit it. GROUP BY makes the rows distinct."},
		{query->groupingSets != NIL,
			"GROUPING SETS, ROLLUP, CUBE or GROUP BY ()",
		"Create one rollup for each set of group columns."},
		{query->havingQual != NULL, "HAVING",
		"Filter the groups when reading the rollup."},
		{query->hasWindowFuncs || query->windowClause != NIL,
			"a window function",
		"Use the window function when reading the rollup."},
		{query->hasTargetSRFs, "a set-returning function",
		"Group by the argument of the function, and use the function when reading the rollup."},
		{query->hasSubLinks, "a subquery in an expression",
		"Use only columns of the source, and look up other values when reading the rollup."},
		{query->hasForUpdate || query->rowMarks != NIL,
			"FOR UPDATE or FOR SHARE",
		"Omit it."},
		{query->limitCount != NULL || query->limitOffset != NULL,
			"LIMIT or OFFSET",
		"Limit the rows when reading the rollup."},
		{query->sortClause != NIL, "ORDER BY",
		"Sort the rows when reading the rollup."},
	};
	const RefusedClause outside[] = {
		{query->setOperations != NULL, "a set operation outside FROM",
		"Write UNION ALL as a subquery in FROM, and group its result."},
	};
	const RefusedClause inside[] = {
		{query->groupClause != NIL, "GROUP BY in a subquery",
		"Use GROUP BY in the outermost SELECT only."},
		{query->hasAggs, "an aggregate in a subquery",
		"Use aggregates in the outermost SELECT only."},
	};

	check_clauses(everywhere, lengthof(everywhere));
	if (in_from)
		check_clauses(inside, lengthof(inside));
	else
		check_clauses(outside, lengthof(outside));

	if (!in_from && query->groupClause == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("definition has no GROUP BY"),
				 errhint("To get a single group, group by a constant: SELECT 'all' AS part, count(*) FROM table GROUP BY 1.")));
}

/* Throws for the first clause that is present. */
static void
check_clauses(const RefusedClause *clauses, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (clauses[i].present)
			refuse(clauses[i].construct, NULL, clauses[i].hint);
	}
}

/* ----------------------------------------------------------------
 *		FROM and WHERE
 * ----------------------------------------------------------------
 */

/*
 * Reads FROM and WHERE of a SELECT into a list of Inputs.  Sets the varno by
 * which the other expressions of the SELECT refer to the FROM item.
 */
static List *
read_query(const Query *query, Index *varno)
{
	List	   *items = query->jointree->fromlist;
	List	   *quals = make_ands_implicit((Expr *) query->jointree->quals);
	List	   *inputs;
	ListCell   *lc;

	if (items == NIL)
		refuse("a SELECT without FROM", NULL, "Use a table in FROM.");
	if (list_length(items) > 1 || !IsA(linitial(items), RangeTblRef))
		refuse("a join",
			   "A change of one table would change many rows of the join.",
			   "Use one table, or several with UNION ALL, and join when reading the rollup.");

	*varno = ((RangeTblRef *) linitial(items))->rtindex;
	inputs = read_item(rt_fetch(*varno, query->rtable));

	/* the quals of the item come first, since these may depend on them */
	foreach(lc, inputs)
	{
		Input	   *input = lfirst(lc);

		input->quals = list_concat(input->quals,
								   substitute(quals, input, *varno));
	}

	return inputs;
}

/*
 * Reads one FROM item, a table or a subquery.
 */
static List *
read_item(RangeTblEntry *rte)
{
	if (rte->tablesample != NULL)
		refuse("TABLESAMPLE", NULL,
			   "Use a condition on columns in WHERE.");
	if (rte->lateral)
		refuse("LATERAL", NULL, "Omit it.");

	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return list_make1(read_table(rte));
		case RTE_SUBQUERY:
			return read_subquery(rte->subquery);
		case RTE_FUNCTION:
		case RTE_TABLEFUNC:
			refuse("a function in FROM", NULL, "Use a table in FROM.");
		case RTE_VALUES:
			refuse("VALUES", NULL, "Use a table in FROM.");
		default:
			refuse("a FROM item other than a table or subquery", NULL,
				   "Use a table in FROM.");
	}
}

/*
 * Reads a table.  Parse analysis already holds the lock, but a stored query
 * may come without it.  The lock is kept until the transaction ends.
 */
static Input *
read_table(const RangeTblEntry *rte)
{
	Input	   *input = palloc0(sizeof(Input));

	LockRelationOid(rte->relid, AccessShareLock);
	source_check_kind(rte->relid, rte->inh);

	input->relid = rte->relid;
	input->is_table = true;
	return input;
}

/*
 * Reads a subquery in FROM, or one side of a UNION ALL.
 */
static List *
read_subquery(const Query *query)
{
	List	   *columns = NIL;
	List	   *inputs;
	Index		varno;
	ListCell   *lc;

	check_stack_depth();
	check_query(query, true);

	if (query->setOperations != NULL)
		return read_union(query->setOperations, query);

	inputs = read_query(query, &varno);

	/* there is no resjunk entry, since no remaining clause adds one */
	foreach(lc, query->targetList)
		columns = lappend(columns, lfirst_node(TargetEntry, lc)->expr);

	foreach(lc, inputs)
	{
		Input	   *input = lfirst(lc);

		input->columns = substitute(columns, input, varno);
		input->is_table = false;
	}

	return inputs;
}

/*
 * Reads a tree of UNION ALL.
 */
static List *
read_union(Node *node, const Query *query)
{
	SetOperationStmt *setop;
	List	   *inputs;
	ListCell   *lc;

	check_stack_depth();

	if (IsA(node, RangeTblRef))
		return read_item(rt_fetch(((RangeTblRef *) node)->rtindex,
								  query->rtable));

	setop = castNode(SetOperationStmt, node);
	if (setop->op == SETOP_INTERSECT)
		refuse("INTERSECT", NULL, "Use a condition in WHERE.");
	if (setop->op != SETOP_UNION)
		refuse("EXCEPT", NULL, "Use a condition in WHERE.");
	if (!setop->all)
		refuse("UNION without ALL",
			   "Duplicate rows would need to be searched for.",
			   "Use UNION ALL.");

	inputs = list_concat(read_union(setop->larg, query),
						 read_union(setop->rarg, query));
	foreach(lc, inputs)
		coerce_input(lfirst(lc), setop);

	return inputs;
}

/*
 * Gives the columns of one side the types and collations of the UNION ALL, as
 * generate_setop_tlist() of the planner does.
 */
static void
coerce_input(Input *input, const SetOperationStmt *setop)
{
	ListCell   *column;
	ListCell   *type;
	ListCell   *collation;

	forthree(column, input->columns,
			 type, setop->colTypes,
			 collation, setop->colCollations)
	{
		Node	   *expr = lfirst(column);

		if (exprType(expr) != lfirst_oid(type))
			expr = coerce_to_common_type(NULL, expr, lfirst_oid(type),
										 "UNION");
		if (exprCollation(expr) != lfirst_oid(collation))
			expr = applyRelabelType(expr, exprType(expr), exprTypmod(expr),
									lfirst_oid(collation),
									COERCE_IMPLICIT_CAST, -1, false);
		lfirst(column) = expr;
	}
}

/*
 * Puts a list of expressions in terms of the table of the input.
 */
static List *
substitute(List *expressions, const Input *input, Index varno)
{
	Substitution context = {input, varno};

	return (List *) substitute_mutator((Node *) expressions, &context);
}

static Node *
substitute_mutator(Node *node, Substitution *context)
{
	const Input *input = context->input;
	Var		   *var;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Var))
		return expression_tree_mutator(node, substitute_mutator, context);

	var = (Var *) node;
	if (var->varlevelsup != 0 || (Index) var->varno != context->varno)
		elog(ERROR, "unexpected reference to range table entry %d, level %u",
			 (int) var->varno, var->varlevelsup);

	/* columns of a table are checked only when they are used */
	if (input->is_table)
	{
		var = copyObject(var);
		var->varno = 1;
		var->varnosyn = 1;
		var->varattnosyn = var->varattno;
		return (Node *) var;
	}

	if (var->varattno == InvalidAttrNumber)
		refuse("a whole-row reference", NULL,
			   "Use the columns of the row separately.");
	return copyObject(list_nth(input->columns, var->varattno - 1));
}

/* ----------------------------------------------------------------
 *		output columns
 * ----------------------------------------------------------------
 */

/*
 * Sorts the output columns into group columns and measures.
 */
static void
read_columns(Definition *definition, Columns *columns, const Query *query)
{
	List	   *entries = query_target_list(query);
	ListCell   *lc;

	definition->groups = palloc0(sizeof(GroupColumn) * list_length(entries));
	definition->measures = palloc0(sizeof(Measure) * list_length(entries));

	foreach(lc, entries)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		SortGroupClause *clause;

		if (entry->resjunk)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("GROUP BY expression of the definition is not in its SELECT list"),
					 errdetail("Each row of a rollup is identified by its group columns."),
					 errhint("Add every GROUP BY expression to the SELECT list.")));

		clause = entry->ressortgroupref == 0 ? NULL :
			get_sortgroupref_clause_noerr(entry->ressortgroupref,
										  query->groupClause);
		if (clause != NULL)
			add_group(definition, columns, entry, clause);
		else
			add_measure(definition, columns, entry);
	}

	definition->ncolumns = definition->ngroups + definition->nmeasures;
	find_row_count(definition, columns);
}

/*
 * Returns a hint on what to group by instead of values of a type that cannot
 * be hashed or sorted.
 */
static const char *
group_hint(Oid type)
{
	Oid			output;
	bool		is_varlena;

	if (type == MONEYOID)
		return MONEY_HINT;
	if (type_is_rowtype(type))
		return "Group by the columns of the row separately.";
	getTypeOutputInfo(type, &output, &is_varlena);
	if (func_volatile(output) == PROVOLATILE_IMMUTABLE)
		return "Cast the column to a type with such operator classes, for example text.";
	return "Group by another value that can be computed from the column.";
}

/* Adds an output column that is in GROUP BY. */
static void
add_group(Definition *definition, Columns *columns, const TargetEntry *entry,
		  const SortGroupClause *clause)
{
	GroupColumn *group = &definition->groups[definition->ngroups];
	Oid			type = exprType((Node *) entry->expr);

	/*
	 * the deltas of a group are found in a hash table, its row by a btree
	 * index
	 */
	if (!clause->hashable || !OidIsValid(clause->sortop))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot group by column \"%s\" of type %s",
						entry->resname, format_type_be(type)),
				 errdetail("The type must have default operator classes for both hash and btree."),
				 errhint("%s", group_hint(type))));

	if (definition->ngroups == INDEX_MAX_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_TOO_MANY_COLUMNS),
				 errmsg("definition groups by more than %d columns",
						INDEX_MAX_KEYS),
				 errdetail("The rollup has a unique index on its group columns."),
				 errhint("Group by fewer columns.")));

	group->attnum = entry->resno;
	group->name = pstrdup(entry->resname);
	group->type = type;
	group->typmod = exprTypmod((Node *) entry->expr);
	group->collation = exprCollation((Node *) entry->expr);
	group->eqop = clause->eqop;

	definition->ngroups++;
	columns->groups = lappend(columns->groups, entry->expr);
}

/*
 * Adds an output column that is an aggregate.
 */
static void
add_measure(Definition *definition, Columns *columns, const TargetEntry *entry)
{
	Measure    *measure = &definition->measures[definition->nmeasures];
	bool		never_null;
	Aggref	   *aggregate = measure_aggregate(entry->expr, &never_null);
	Expr	   *arg = NULL;

	if (aggregate == NULL && contain_agg_clause((Node *) entry->expr))
		refuse(psprintf("an expression over aggregates as column \"%s\"",
						entry->resname),
			   NULL,
			   "Use a separate column for each aggregate, and compute the expression when reading the rollup.");
	if (aggregate == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of the definition is neither in GROUP BY nor an aggregate",
						entry->resname),
				 errhint("Add the column to GROUP BY by its number, or omit it.")));

	measure->kind = check_aggregate(aggregate);
	if (aggregate->args != NIL)
		arg = linitial_node(TargetEntry, aggregate->args)->expr;

	measure->attnum = entry->resno;
	measure->name = pstrdup(entry->resname);
	measure->argtype = arg ? exprType((Node *) arg) : InvalidOid;
	measure->companion = -1;
	if (measure->kind != MEASURE_COUNT && !never_null)
		columns->nullable_sums = bms_add_member(columns->nullable_sums,
												definition->nmeasures);

	definition->nmeasures++;
	columns->args = lappend(columns->args, arg);
	columns->filters = lappend(columns->filters, aggregate->aggfilter);
}

/*
 * Returns the aggregate of an output column: the column itself, or the sum(x)
 * in coalesce(sum(x), 0), which is never NULL.  (Around a count, coalesce has
 * no effect.)  Returns NULL for other expressions.
 */
static Aggref *
measure_aggregate(Expr *expr, bool *never_null)
{
	CoalesceExpr *coalesce;
	Node	   *aggregate;

	*never_null = false;
	if (IsA(expr, Aggref))
		return (Aggref *) expr;
	if (!IsA(expr, CoalesceExpr))
		return NULL;

	coalesce = (CoalesceExpr *) expr;
	aggregate = linitial(coalesce->args);
	if (list_length(coalesce->args) != 2 || !IsA(aggregate, Aggref) ||
		!is_zero(lsecond(coalesce->args), coalesce->coalescetype))
		return NULL;

	*never_null = true;
	return (Aggref *) aggregate;
}

/*
 * Returns whether the expression is the constant zero, of the type of an
 * aggregate.
 */
static bool
is_zero(Node *node, Oid type)
{
	Const	   *constant;

	if (contain_agg_clause(node) || contain_var_clause(node) ||
		contain_mutable_functions(node))
		return false;

	/* the numeric constant 0 is a cast until it is folded */
	node = eval_const_expressions(NULL, node);
	if (!IsA(node, Const))
		return false;

	constant = (Const *) node;
	if (constant->constisnull || constant->consttype != type)
		return false;

	switch (type)
	{
		case INT8OID:
			return DatumGetInt64(constant->constvalue) == 0;
		case NUMERICOID:
			return DatumGetBool(DirectFunctionCall2(numeric_eq,
													constant->constvalue,
													NumericGetDatum(int64_to_numeric(0))));
		default:
			return false;
	}
}

/* Throws unless a row can be subtracted from the aggregate again. */
static MeasureKind
check_aggregate(const Aggref *aggregate)
{
	int			kind = 0;

	while (kind < (int) lengthof(measure_kinds) &&
		   measure_kinds[kind].aggregate != aggregate->aggfnoid)
		kind++;
	if (kind == (int) lengthof(measure_kinds))
		refuse_aggregate(aggregate->aggfnoid);

	if (aggregate->aggdistinct != NIL)
		refuse("DISTINCT in an aggregate", NULL,
			   "Add the argument to GROUP BY, and count the rows of the rollup.");
	if (aggregate->aggorder != NIL)
		refuse("ORDER BY in an aggregate", NULL,
			   "Omit it. The results of count and sum do not depend on the order.");

	return measure_kinds[kind].kind;
}

/*
 * Throws for an aggregate that is not supported.
 */
static void
refuse_aggregate(Oid aggregate)
{
	const char *name = "";
	int			i = 0;

	/*
	 * the messages for count and sum do not apply to functions of the same
	 * name in other schemas
	 */
	if (get_func_namespace(aggregate) == PG_CATALOG_NAMESPACE)
		name = get_func_name(aggregate);

	while (refused_aggregates[i].name != NULL &&
		   (strcmp(refused_aggregates[i].name, name) != 0 ||
			(OidIsValid(refused_aggregates[i].aggregate) &&
			 refused_aggregates[i].aggregate != aggregate)))
		i++;
	refuse(psprintf("aggregate %s", format_procedure(aggregate)),
		   refused_aggregates[i].detail, refused_aggregates[i].hint);
}

/* Finds the measure that shows when a group no longer has rows. */
static void
find_row_count(Definition *definition, const Columns *columns)
{
	for (int i = 0; i < definition->nmeasures; i++)
	{
		if (definition->measures[i].kind == MEASURE_COUNT &&
			list_nth(columns->args, i) == NULL &&
			list_nth(columns->filters, i) == NULL)
		{
			definition->row_count = i;
			return;
		}
	}

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("definition has no count(*) without FILTER"),
			 errdetail("It shows when the last row of a group was deleted."),
			 errhint("Add count(*) to the SELECT list.")));
}

/* ----------------------------------------------------------------
 *		branches
 * ----------------------------------------------------------------
 */

/*
 * Puts the output columns in terms of one table, ready for the executor.
 */
static Branch *
compile_branch(const Columns *columns, const Input *input, Index varno)
{
	Branch	   *branch = palloc0(sizeof(Branch));
	List	   *groups = substitute(columns->groups, input, varno);
	List	   *args = substitute(columns->args, input, varno);
	List	   *filters = substitute(columns->filters, input, varno);

	branch->source = input->relid;
	branch->quals = ready_expressions(input->quals, branch);
	branch->groups = ready_expressions(groups, branch);
	branch->args = ready_expressions(args, branch);
	branch->filters = ready_expressions(filters, branch);
	branch->columns = used_columns(branch);

	return branch;
}

/*
 * Prepares expressions as the planner does.  They are checked and their types
 * noted twice: before immutable parts are evaluated, and afterwards, when
 * default arguments have been inserted.
 */
static List *
ready_expressions(List *expressions, Branch *branch)
{
	check_expression_walker((Node *) expressions, &branch->source);
	note_types_walker((Node *) expressions, &branch->types);
	expressions = (List *) expression_planner((Expr *) expressions);
	check_expression_walker((Node *) expressions, &branch->source);
	note_types_walker((Node *) expressions, &branch->types);

	return expressions;
}

/*
 * Notes the alterable types of the parts of an expression that has passed the
 * check.
 */
static bool
note_types_walker(Node *node, List **types)
{
	if (node == NULL)
		return false;
	/* all nodes that pass the check have a type, except these */
	if (!IsA(node, List) && !IsA(node, CaseWhen) &&
		type_is_alterable(exprType(node)))
		*types = list_append_unique_oid(*types, exprType(node));

	return expression_tree_walker(node, note_types_walker, types);
}

/* Returns the columns of the table that the expressions of a branch use. */
static Bitmapset *
used_columns(const Branch *branch)
{
	Bitmapset  *offset_attnums = NULL;
	Bitmapset  *columns = NULL;
	int			i = -1;

	pull_varattnos((Node *) branch->quals, 1, &offset_attnums);
	pull_varattnos((Node *) branch->groups, 1, &offset_attnums);
	pull_varattnos((Node *) branch->args, 1, &offset_attnums);
	pull_varattnos((Node *) branch->filters, 1, &offset_attnums);

	while ((i = bms_next_member(offset_attnums, i)) >= 0)
		columns = bms_add_member(columns,
								 i + FirstLowInvalidHeapAttributeNumber);

	return columns;
}

/* Finds, for each sum that can be NULL, the count that shows whether it is. */
static void
find_companions(Definition *definition, const Columns *columns)
{
	int			i = -1;

	while ((i = bms_next_member(columns->nullable_sums, i)) >= 0)
	{
		Measure    *measure = &definition->measures[i];
		ListCell   *lc;

		/* a count of the values works with or without NULLs */
		measure->companion = find_count(definition, columns, i, false);
		if (measure->companion >= 0)
			continue;

		measure->companion = find_count(definition, columns, i, true);
		measure->arg_not_null = true;
		foreach(lc, definition->branches)
		{
			Branch	   *branch = lfirst(lc);

			if (!is_never_null(list_nth(branch->args, i), branch->source))
				measure->companion = -1;
		}

		if (measure->companion < 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("sum of a nullable argument requires a count of the same argument"),
					 errdetail("The count shows when column \"%s\" must be NULL because no value is left.",
							   measure->name),
					 errhint("Use coalesce(sum(x), 0), or add count(x) with the same FILTER to the definition.")));
	}
}

/*
 * Finds a count with the FILTER of a sum, either of its rows or of its
 * argument.  Returns -1 if there is none.
 */
static int
find_count(const Definition *definition, const Columns *columns, int sum,
		   bool of_rows)
{
	Node	   *arg = list_nth(columns->args, sum);

	/* sum() relabels an argument of a domain type, count() does not */
	while (IsA(arg, RelabelType))
		arg = (Node *) ((RelabelType *) arg)->arg;

	for (int i = 0; i < definition->nmeasures; i++)
	{
		if (definition->measures[i].kind == MEASURE_COUNT &&
			equal(list_nth(columns->filters, i),
				  list_nth(columns->filters, sum)) &&
			equal(list_nth(columns->args, i), of_rows ? NULL : arg))
			return i;
	}

	return -1;
}

/*
 * Returns whether a function returns NULL only for NULL.  These are the
 * functions that turn times into days, hours and the like.  The server has no
 * such information about functions.
 */
static bool
is_never_null_function(Oid function)
{
	switch (function)
	{
		case F_DATE_TIMESTAMP:
		case F_TIMESTAMP_DATE:
		case F_TIMEZONE_TEXT_TIMESTAMP:
		case F_TIMEZONE_TEXT_TIMESTAMPTZ:
		case F_TIMEZONE_INTERVAL_TIMESTAMP:
		case F_TIMEZONE_INTERVAL_TIMESTAMPTZ:
		case F_DATE_TRUNC_TEXT_TIMESTAMP:
		case F_DATE_BIN_INTERVAL_TIMESTAMP_TIMESTAMP:
		case F_DATE_BIN_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ:
			return true;
		default:
			return false;
	}
}

static bool
are_never_null(List *nodes, Oid relid)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		if (!is_never_null(lfirst(lc), relid))
			return false;
	}
	return true;
}

/*
 * Returns whether no group column can be NULL in any row, given the current
 * state of the sources.
 */
bool
definition_groups_not_null(const Definition *definition)
{
	ListCell   *lc;

	foreach(lc, definition->branches)
	{
		const Branch *branch = (const Branch *) lfirst(lc);

		if (!are_never_null(branch->groups, branch->source))
			return false;
	}
	return true;
}

/* Returns whether the expression can never be NULL. */
static bool
is_never_null(Node *node, Oid relid)
{
	ListCell   *lc;
	bool		not_null;

	switch (nodeTag(node))
	{
		case T_FuncExpr:
			return is_never_null_function(((FuncExpr *) node)->funcid) &&
				are_never_null(((FuncExpr *) node)->args, relid);

		case T_Const:
			return !((Const *) node)->constisnull;

		case T_RelabelType:
			return is_never_null((Node *) ((RelabelType *) node)->arg, relid);

		case T_CoalesceExpr:
			foreach(lc, ((CoalesceExpr *) node)->args)
			{
				if (is_never_null(lfirst(lc), relid))
					return true;
			}
			return false;

		case T_Var:
			{
				Relation	rel = table_open(relid, AccessShareLock);

				not_null = attribute_is_not_null(RelationGetDescr(rel),
												 ((Var *) node)->varattno);
				table_close(rel, NoLock);
				return not_null;
			}

		default:
			return false;
	}
}

/* ----------------------------------------------------------------
 *		expressions
 * ----------------------------------------------------------------
 */

/*
 * Returns whether a node, apart from its children, depends on its arguments
 * alone, provided that the functions that it calls do.
 */
static bool
is_supported(Node *node)
{
	switch (nodeTag(node))
	{
		case T_List:
		case T_Const:
		case T_SubscriptingRef:
		case T_FuncExpr:
		case T_NamedArgExpr:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_FieldSelect:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_RowCompareExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
			return true;
		default:
			return is_immutable_json(node);
	}
}

/*
 * Returns a function that the node itself calls and that is not immutable, or
 * InvalidOid.
 */
static Oid
mutable_function(Node *node)
{
	Oid			function = InvalidOid;

	if (IsA(node, MinMaxExpr))
		note_mutable_function(lookup_type_cache(exprType(node),
												TYPECACHE_CMP_PROC)->cmp_proc,
							  &function);
	else
		check_functions_in_node(node, note_mutable_function, &function);
	return function;
}

/*
 * Throws unless the expression depends only on the columns of one row of the
 * table.
 */
static bool
check_expression_walker(Node *node, Oid *relid)
{
	Oid			function;

	if (node == NULL)
		return false;

	switch (nodeTag(node))
	{
		case T_Var:
			check_table_column(*relid, ((Var *) node)->varattno);
			return false;

		case T_CoerceToDomain:
			/* a column that already has the domain type needs no cast */
			refuse(psprintf("a cast to domain %s",
							format_type_be(exprType(node))),
				   "The constraints of a domain may change.",
				   "Cast to the base type of the domain.");

		case T_SQLValueFunction:
			refuse(deparse_expression(node, NIL, false, false),
				   "A row must be counted in the same way when it is inserted and when it is deleted.",
				   "Filter by it when reading the rollup.");

		case T_Param:
			refuse("a parameter", NULL, "Use a constant.");

		default:
			if (!is_supported(node))
				refuse(deparse(node, *relid), NULL,
					   "Use columns, constants, operators and immutable functions.");
	}

	/*
	 * children are checked first, so that the error names now() rather than
	 * the expression around it
	 */
	function = mutable_function(node);
	(void) expression_tree_walker(node, check_expression_walker, relid);
	if (OidIsValid(function))
		refuse_function(function, node, *relid);
	return false;
}

/*
 * Returns whether the node is a part of SQL/JSON, or an SQL/JSON predicate or
 * query whose result depends only on its arguments.  The server checks the
 * path of a query, but not the conversion of its result to the RETURNING type.
 */
static bool
is_immutable_json(Node *node)
{
	Oid			input;
	Oid			param;

	if (is_json_part(node))
		return true;
	if (!is_json_query(node) || contain_mutable_functions(node) ||
		exprType(node) >= FirstNormalObjectId)
		return false;
	getTypeInputInfo(exprType(node), &input, &param);
	return func_volatile(input) == PROVOLATILE_IMMUTABLE;
}

/*
 * Returns an expression over the columns of the table as text, in the way a
 * definition would write it.
 */
static char *
deparse(Node *node, Oid relid)
{
	return deparse_expression(node, deparse_context_for(get_rel_name(relid),
														relid), false, false);
}

/* Throws unless the column is in the rows that logical decoding returns. */
static void
check_table_column(Oid relid, AttrNumber attnum)
{
	if (attnum == InvalidAttrNumber)
		refuse("a whole-row reference", NULL,
			   "Use the columns of the row separately.");

	if (attnum < 0)
		refuse(psprintf("system column \"%s\"",
						NameStr(SystemAttributeDefinition(attnum)->attname)),
			   NULL, "Use the user columns of the table.");

	if (get_attgenerated(relid, attnum) == ATTRIBUTE_GENERATED_VIRTUAL)
		refuse(psprintf("virtual generated column \"%s\"",
						get_attname(relid, attnum, false)),
			   "Virtual generated columns are not written to WAL.",
			   "Use the generation expression instead of the column.");
}

/*
 * Callback of check_functions_in_node.  If the result of the function depends
 * on more than its arguments, notes the function and stops the walk.
 */
static bool
note_mutable_function(Oid function, void *context)
{
	if (func_volatile(function) == PROVOLATILE_IMMUTABLE)
		return false;

	*(Oid *) context = function;
	return true;
}

/* Throws because the node calls a function that is not immutable. */
static void
refuse_function(Oid function, Node *node, Oid relid)
{
	bool		is_volatile = func_volatile(function) == PROVOLATILE_VOLATILE;
	const char *caller = "";

	/*
	 * what the definition contains, where that is not the name of the
	 * function
	 */
	if (IsA(node, CoerceViaIO))
		caller = psprintf("The function is called by the cast from %s to %s. ",
						  format_type_be(exprType((Node *) ((CoerceViaIO *) node)->arg)),
						  format_type_be(exprType(node)));
	else if (IsA(node, FuncExpr) &&
			 ((FuncExpr *) node)->funcformat != COERCE_EXPLICIT_CALL
			 && ((FuncExpr *) node)->funcformat != COERCE_SQL_SYNTAX)
		caller = psprintf("The function is called by the cast from %s to %s. ",
						  format_type_be(exprType(linitial(((FuncExpr *) node)->args))),
						  format_type_be(exprType(node)));
	else if (IsA(node, OpExpr))
		caller = psprintf("The function is called by operator %s. ",
						  format_operator(((OpExpr *) node)->opno));

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("%s function %s is not supported in a rollup definition",
					is_volatile ? "volatile" : "stable",
					format_procedure(function)),
			 errdetail("%sA row must be counted in the same way when it is inserted and when it is deleted.",
					   caller),
			 errhint("%s", function_hint(function, node, relid))));
}

/*
 * Returns a hint on what to write instead of a function that is not immutable
 * and that the node calls.
 */
static const char *
function_hint(Oid function, Node *node, Oid relid)
{
	const char *hint;
	bool		is_cast = IsA(node, CoerceViaIO) ||
	(IsA(node, FuncExpr) &&
	 ((FuncExpr *) node)->funcformat == COERCE_EXPLICIT_CAST);

	for (int i = 0; i < (int) lengthof(function_hints); i++)
		if (function_hints[i].function == function)
			return function_hints[i].hint;

	if (get_func_rettype(function) == TIMESTAMPTZOID &&
		get_func_nargs(function) == 0)
		return CURRENT_TIME_HINT;
	if (func_volatile(function) == PROVOLATILE_VOLATILE ||
		get_func_nargs(function) == 0)
		return "Use only columns, constants and immutable functions.";

	hint = time_zone_hint(function, node, relid);
	if (hint != NULL)
		return hint;
	return is_cast ?
		"Use the value itself, and cast it when reading the rollup." :
		"Use the argument of the function, and call the function when reading the rollup.";
}

/*
 * Returns a hint on how to avoid the time zone of the session, or NULL if none
 * is known.
 */
static const char *
time_zone_hint(Oid function, Node *node, Oid relid)
{
	bool		is_explicit;
	Node	   *local;
	char	   *arg;

	if (!IsA(node, FuncExpr) && !IsA(node, OpExpr))
		return NULL;
	if (IsA(node, OpExpr) ||
		(function != F_TIMESTAMPTZ_DATE &&
		 function != F_TIMESTAMPTZ_TIMESTAMP))
	{
		local = in_time_zone(node);
		return local ? psprintf("Specify the time zone: %s.",
								deparse(local, relid)) : NULL;
	}

	is_explicit = ((FuncExpr *) node)->funcformat != COERCE_IMPLICIT_CAST;
	arg = deparse(linitial(((FuncExpr *) node)->args), relid);
	if (function == F_TIMESTAMPTZ_TIMESTAMP)
		return psprintf("Specify the time zone: (%s) AT TIME ZONE 'Europe/London'.", arg);
	if (is_explicit)
		return psprintf("Specify the time zone: (%s)::timestamp AT TIME ZONE 'Europe/London'.", arg);
	return psprintf("Use a timestamp without time zone: (%s)::timestamp.",
					arg);
}

/*
 * Returns x AT TIME ZONE zone, which converts a point in time to a local time.
 */
static Node *
local_time(Node *arg, Node *zone)
{
	return (Node *) makeFuncExpr(F_TIMEZONE_TEXT_TIMESTAMPTZ, TIMESTAMPOID,
								 list_make2(zone, arg),
								 InvalidOid, DEFAULT_COLLATION_OID,
								 COERCE_SQL_SYNTAX);
}

/*
 * Converts the arguments that are points in time to local times, and stores
 * the types of all arguments.  Returns false if one of them cannot be written
 * as SQL.
 */
static bool
make_local(List *args, Node *zone, Oid *types)
{
	ListCell   *lc;

	foreach(lc, args)
	{
		Node	   *arg = lfirst(lc);

		if (IsA(arg, CaseTestExpr))
			return false;
		if (exprType(arg) == TIMESTAMPTZOID)
			lfirst(lc) = local_time(arg, zone);
		types[foreach_current_index(lc)] = exprType(lfirst(lc));
	}
	return true;
}

/*
 * Returns the server's function of that name for arguments of these types, if
 * it is immutable; otherwise InvalidOid.
 */
static Oid
find_immutable(const char *name, int nargs, const Oid *types)
{
	List	   *qualified = list_make2(makeString("pg_catalog"),
									   makeString(pstrdup(name)));
	Oid			function = LookupFuncName(qualified, nargs, types, true);

	return OidIsValid(function) &&
		func_volatile(function) == PROVOLATILE_IMMUTABLE ? function :
		InvalidOid;
}

/*
 * Returns the call of a function with local times instead of points in time.
 * Returns NULL if there is no such function, or if it is not immutable either.
 */
static Node *
call_in_time_zone(FuncExpr *call, Node *zone)
{
	Oid			types[FUNC_MAX_ARGS];

	call = copyObject(call);
	if (call->funcid == F_TIMESTAMP_TIMESTAMPTZ)
		return local_time(linitial(call->args), zone);
	if (call->funcid == F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT)
	{
		zone = llast(call->args);
		call->args = list_truncate(call->args, 2);
	}
	if (get_func_namespace(call->funcid) != PG_CATALOG_NAMESPACE ||
		!make_local(call->args, zone, types))
		return NULL;
	call->funcid = find_immutable(get_func_name(call->funcid),
								  list_length(call->args), types);
	return OidIsValid(call->funcid) ? (Node *) call : NULL;
}

/*
 * The same for an operator.
 */
static Node *
operator_in_time_zone(OpExpr *expr, Node *zone)
{
	Oid			types[2] = {InvalidOid, InvalidOid};
	List	   *name;

	expr = copyObject(expr);
	if (list_length(expr->args) != 2 || !make_local(expr->args, zone, types))
		return NULL;
	name = list_make2(makeString("pg_catalog"),
					  makeString(get_opname(expr->opno)));
	expr->opno = OpernameGetOprid(name, types[0], types[1]);
	expr->opfuncid = OidIsValid(expr->opno) ?
		get_opcode(expr->opno) : InvalidOid;
	return OidIsValid(expr->opfuncid) &&
		func_volatile(expr->opfuncid) == PROVOLATILE_IMMUTABLE ?
		(Node *) expr : NULL;
}

static Node *
in_time_zone(Node *node)
{
	Node	   *zone = (Node *) makeConst(UNKNOWNOID, -1, InvalidOid, -2,
										  CStringGetDatum("Europe/London"),
										  false, false);

	return IsA(node, FuncExpr) ? call_in_time_zone((FuncExpr *) node, zone) :
		operator_in_time_zone((OpExpr *) node, zone);
}
