/*-------------------------------------------------------------------------
 *
 * definition.c
 *	  Compiles the query that a rollup is kept equal to.
 *
 * A query can be maintained from the changes of single rows if each source
 * row alone permanently determines its group and what it adds to the group.
 * So FROM must be reducible to single tables without joins (input.c).  Every
 * expression must be immutable (expression.c).  For every aggregate, it must
 * be possible to subtract a deleted row again (aggregate.c).  The steps are:
 *
 *	check_clauses		refuses clauses of the topmost SELECT
 *	read_inputs			turns FROM and WHERE into Inputs, one per table
 *	read_columns		sorts the output columns into group columns and measures
 *	compile_branch		puts the group columns and measures in terms of one Input,
 *						and makes the expressions ready for the executor
 *	find_row_count		finds the count that shows when a group becomes empty
 *	find_companions		finds for each sum the count that shows when it is NULL
 *
 * The code lists what is supported, not what is unsupported: a clause, FROM
 * item, node or aggregate that a later server adds is refused.  Lists of
 * refused constructs only serve to give better messages.  Each of these steps
 * throws the first obstacle (obstacle.h) that it finds.
 *
 * An expression is evaluated only after it has been found to be immutable.
 * Folding it to a constant then calls functions as the current user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"

#include "compat.h"
#include "definition.h"
#include "expression.h"
#include "input.h"
#include "type_parts.h"
#include "users_code.h"

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

static Obstacle *check_select(const Query *query);
static Obstacle *check_clauses(const Query *query);
static Obstacle *read_inputs(const Query *query, List **inputs, Index *varno);
static Obstacle *check_references(const Columns *columns, List *inputs,
								  Index varno);

static Obstacle *read_columns(Definition *definition, Columns *columns,
							  const Query *query);
static bool calls_users_code(const Definition *definition);
static void prepare_group_hash(Definition *definition);
static Obstacle *add_group(Definition *definition, Columns *columns,
						   const TargetEntry *entry,
						   const SortGroupClause *clause);
static Obstacle *add_measure(Definition *definition, Columns *columns,
							 const TargetEntry *entry);
static Obstacle *lack_of_row_count(void);
static Obstacle *check_row_count(const Definition *definition,
								 const Columns *columns);

static Obstacle *compile_branches(Definition *definition,
								  const Columns *columns, List *inputs,
								  Index varno);
static Obstacle *compile_branch(Branch *branch, const Columns *columns,
								const Input *input, Index varno);
static Obstacle *ready_expressions(List **expressions, Branch *branch);
static bool note_types_walker(Node *node, List **types);
static Bitmapset *used_columns(const Branch *branch);
static Obstacle *find_row_count(Definition *definition,
								const Columns *columns);
static Obstacle *find_companions(Definition *definition,
								 const Columns *columns);

/*
 * Compiles an analyzed query (from parse_analyze, or the stored query of the
 * definition view), in the current memory context.  Does not change the query.
 * If the query cannot be maintained from row changes, returns NULL, and sets
 * *obstacle.  Constant expressions are evaluated, which may throw.
 */
Definition *
definition_try(const Query *query, Obstacle **obstacle)
{
	Definition *definition = palloc0(sizeof(Definition));
	Columns		columns = {0};
	List	   *inputs;
	Index		varno;

	if ((*obstacle = check_select(query)) != NULL ||
		(*obstacle = check_clauses(query)) != NULL ||
		(*obstacle = read_inputs(query, &inputs, &varno)) != NULL ||
		(*obstacle = read_columns(definition, &columns, query)) != NULL ||
		(*obstacle = check_references(&columns, inputs, varno)) != NULL ||
		(*obstacle = compile_branches(definition, &columns, inputs,
									  varno)) != NULL ||
		(*obstacle = find_row_count(definition, &columns)) != NULL ||
		(*obstacle = find_companions(definition, &columns)) != NULL)
		return NULL;
	prepare_group_hash(definition);
	definition->calls_users_code = calls_users_code(definition);

	return definition;
}

/* The same, but throws, naming the construct. */
Definition *
definition_compile(const Query *query)
{
	Obstacle   *obstacle;
	Definition *definition = definition_try(query, &obstacle);

	if (definition == NULL)
		obstacle_throw(obstacle);
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
	TupleDescFinalize(hash->desc);
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

/* ----------------------------------------------------------------
 *		clauses
 * ----------------------------------------------------------------
 */

/* Returns an obstacle unless the query is a SELECT that returns rows. */
static Obstacle *
check_select(const Query *query)
{
	bool		into = query->utilityStmt != NULL &&
	IsA(query->utilityStmt, CreateTableAsStmt) &&
	((CreateTableAsStmt *) query->utilityStmt)->is_select_into;

	if (into)
		return obstacle_unsupported("SELECT INTO", NULL,
									"Omit INTO. The rollup is the table.");
	if (query->commandType != CMD_SELECT)
		return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							 "definition is not a SELECT statement", NULL,
							 "Write a query of the form SELECT columns, count(*) FROM table GROUP BY columns.");
	return NULL;
}

/*
 * Returns an obstacle if the query has clauses that are not supported.  Only
 * FROM, WHERE and GROUP BY are.
 */
static Obstacle *
check_clauses(const Query *query)
{
	List	   *obstacles = input_clause_obstacles(query);

	if (obstacles != NIL)
		return (Obstacle *) linitial(obstacles);
	if (query->setOperations != NULL)
		return obstacle_unsupported("a set operation outside FROM", NULL,
									"Write UNION ALL as a subquery in FROM, and group its result.");
	if (query->groupClause == NIL)
		return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							 "definition has no GROUP BY", NULL,
							 "To get a single group, group by a constant: SELECT 'all' AS part, count(*) FROM table GROUP BY 1.");
	return NULL;
}

/* Reads FROM and WHERE of the query into Inputs. */
static Obstacle *
read_inputs(const Query *query, List **inputs, Index *varno)
{
	List	   *obstacles = NIL;

	*inputs = input_read_query(query, varno, &obstacles);
	return obstacles == NIL ? NULL : (Obstacle *) linitial(obstacles);
}

/*
 * Returns an obstacle if the output columns refer to whole rows of
 * subqueries.
 */
static Obstacle *
check_references(const Columns *columns, List *inputs, Index varno)
{
	List	   *lists = list_make3(columns->groups, columns->args,
								   columns->filters);

	return input_reference_obstacle(inputs, (Node *) lists, varno);
}

/* ----------------------------------------------------------------
 *		output columns
 * ----------------------------------------------------------------
 */

/*
 * Sorts the output columns into group columns and measures.
 */
static Obstacle *
read_columns(Definition *definition, Columns *columns, const Query *query)
{
	List	   *entries = query_target_list(query);
	Obstacle   *obstacle;
	ListCell   *lc;

	definition->groups = palloc0(sizeof(GroupColumn) * list_length(entries));
	definition->measures = palloc0(sizeof(Measure) * list_length(entries));

	foreach(lc, entries)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		SortGroupClause *clause;

		if (entry->resjunk)
			return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
								 "GROUP BY expression of the definition is not in its SELECT list",
								 "Each row of a rollup is identified by its group columns.",
								 "Add every GROUP BY expression to the SELECT list.");

		clause = entry->ressortgroupref == 0 ? NULL :
			get_sortgroupref_clause_noerr(entry->ressortgroupref,
										  query->groupClause);
		obstacle = clause != NULL ?
			add_group(definition, columns, entry, clause) :
			add_measure(definition, columns, entry);
		if (obstacle != NULL)
			return obstacle;
	}

	definition->ncolumns = definition->ngroups + definition->nmeasures;
	return check_row_count(definition, columns);
}

/* Adds an output column that is in GROUP BY. */
static Obstacle *
add_group(Definition *definition, Columns *columns, const TargetEntry *entry,
		  const SortGroupClause *clause)
{
	GroupColumn *group = &definition->groups[definition->ngroups];
	Obstacle   *obstacle = group_obstacle(entry->resname,
										  (Node *) entry->expr,
										  clause->hashable,
										  OidIsValid(clause->sortop));

	if (obstacle != NULL)
		return obstacle;
	if (definition->ngroups == INDEX_MAX_KEYS)
		return obstacle_make(ERRCODE_TOO_MANY_COLUMNS,
							 psprintf("definition groups by more than %d columns",
									  INDEX_MAX_KEYS),
							 "The rollup has a unique index on its group columns.",
							 "Group by fewer columns.");

	group->attnum = entry->resno;
	group->name = pstrdup(entry->resname);
	group->type = exprType((Node *) entry->expr);
	group->typmod = exprTypmod((Node *) entry->expr);
	group->collation = exprCollation((Node *) entry->expr);
	group->eqop = clause->eqop;

	definition->ngroups++;
	columns->groups = lappend(columns->groups, entry->expr);
	return NULL;
}

/* Returns an obstacle unless the aggregate of an output column can be kept. */
static Obstacle *
check_aggregate(const Aggref *aggregate, const TargetEntry *entry)
{
	if (aggregate == NULL && contain_agg_clause((Node *) entry->expr))
		return obstacle_unsupported(psprintf("an expression over aggregates as column \"%s\"",
											 entry->resname), NULL,
									"Use a separate column for each aggregate, and compute the expression when reading the rollup.");
	if (aggregate == NULL)
		return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
							 psprintf("column \"%s\" of the definition is neither in GROUP BY nor an aggregate",
									  entry->resname), NULL,
							 "Add the column to GROUP BY by its number, or omit it.");
	return aggregate_obstacle(aggregate);
}

/*
 * Returns the argument of an aggregate that can be kept.  Returns NULL for
 * count(*), and also for count(1), which is the same.
 */
static Expr *
aggregate_argument(const Aggref *aggregate, MeasureKind kind)
{
	Expr	   *arg;

	if (aggregate->args == NIL)
		return NULL;
	arg = linitial_node(TargetEntry, aggregate->args)->expr;
	if (kind == MEASURE_COUNT && IsA(arg, Const) &&
		!((Const *) arg)->constisnull)
		return NULL;
	return arg;
}

/*
 * Adds an output column that is an aggregate.
 */
static Obstacle *
add_measure(Definition *definition, Columns *columns, const TargetEntry *entry)
{
	Measure    *measure = &definition->measures[definition->nmeasures];
	bool		never_null;
	Aggref	   *aggregate = aggregate_of_column(entry->expr, &never_null);
	Obstacle   *obstacle = check_aggregate(aggregate, entry);
	Expr	   *arg;

	if (obstacle != NULL)
		return obstacle;
	aggregate_kind(aggregate, &measure->kind);
	arg = aggregate_argument(aggregate, measure->kind);

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
	return NULL;
}

/* The obstacle that no measure shows when a group no longer has rows. */
static Obstacle *
lack_of_row_count(void)
{
	return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
						 "definition has no count(*) without FILTER",
						 "It shows when the last row of a group was deleted.",
						 "Add count(*) to the SELECT list.");
}

/* Returns an obstacle if there is no count that find_row_count could choose. */
static Obstacle *
check_row_count(const Definition *definition, const Columns *columns)
{
	for (int i = 0; i < definition->nmeasures; i++)
	{
		if (definition->measures[i].kind == MEASURE_COUNT &&
			list_nth(columns->filters, i) == NULL)
			return NULL;
	}
	return lack_of_row_count();
}

/* ----------------------------------------------------------------
 *		branches
 * ----------------------------------------------------------------
 */

/* Puts the output columns in terms of each table. */
static Obstacle *
compile_branches(Definition *definition, const Columns *columns, List *inputs,
				 Index varno)
{
	ListCell   *lc;

	foreach(lc, inputs)
	{
		Branch	   *branch = palloc0(sizeof(Branch));
		Obstacle   *obstacle = compile_branch(branch, columns, lfirst(lc),
											  varno);

		if (obstacle != NULL)
			return obstacle;
		definition->branches = lappend(definition->branches, branch);
		definition->sources = list_append_unique_oid(definition->sources,
													 branch->source);
	}
	return NULL;
}

/*
 * Puts the output columns in terms of one table, ready for the executor.
 */
static Obstacle *
compile_branch(Branch *branch, const Columns *columns, const Input *input,
			   Index varno)
{
	Obstacle   *obstacle;

	branch->source = input->relid;
	branch->quals = input->quals;
	branch->groups = input_substitute(columns->groups, input, varno);
	branch->args = input_substitute(columns->args, input, varno);
	branch->filters = input_substitute(columns->filters, input, varno);
	if ((obstacle = ready_expressions(&branch->quals, branch)) != NULL ||
		(obstacle = ready_expressions(&branch->groups, branch)) != NULL ||
		(obstacle = ready_expressions(&branch->args, branch)) != NULL ||
		(obstacle = ready_expressions(&branch->filters, branch)) != NULL)
		return obstacle;
	branch->columns = used_columns(branch);
	return NULL;
}

/*
 * Prepares expressions as the planner does.  They are checked and their types
 * noted twice: before immutable parts are evaluated, and afterwards, when
 * default arguments have been inserted.
 */
static Obstacle *
ready_expressions(List **expressions, Branch *branch)
{
	Obstacle   *obstacle = expression_obstacle((Node *) *expressions,
											   branch->source);

	if (obstacle != NULL)
		return obstacle;
	note_types_walker((Node *) *expressions, &branch->types);
	*expressions = (List *) expression_planner((Expr *) *expressions);
	obstacle = expression_obstacle((Node *) *expressions, branch->source);
	if (obstacle != NULL)
		return obstacle;
	note_types_walker((Node *) *expressions, &branch->types);
	return NULL;
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

/* ----------------------------------------------------------------
 *		counts
 * ----------------------------------------------------------------
 */

/* Returns whether the argument of a measure can never be NULL. */
static bool
is_argument_never_null(const Definition *definition, int measure)
{
	ListCell   *lc;

	foreach(lc, definition->branches)
	{
		const Branch *branch = lfirst(lc);

		if (!expression_is_never_null(list_nth(branch->args, measure),
									  branch->source))
			return false;
	}
	return true;
}

/* Returns whether a measure is a count with this FILTER. */
static bool
is_count(const Definition *definition, const Columns *columns, int measure,
		 const Node *filter)
{
	return definition->measures[measure].kind == MEASURE_COUNT &&
		equal(list_nth(columns->filters, measure), filter);
}

/*
 * Finds a count of the rows that satisfy a FILTER: count(*), or count(x) of an
 * argument that can never be NULL.  In that case a NULL becomes an error.
 * Returns -1 if there is none.
 */
static int
find_count_of_rows(Definition *definition, const Columns *columns,
				   const Node *filter)
{
	for (int i = 0; i < definition->nmeasures; i++)
	{
		if (is_count(definition, columns, i, filter) &&
			list_nth(columns->args, i) == NULL)
			return i;
	}
	for (int i = 0; i < definition->nmeasures; i++)
	{
		if (is_count(definition, columns, i, filter) &&
			is_argument_never_null(definition, i))
		{
			definition->measures[i].arg_not_null = true;
			return i;
		}
	}
	return -1;
}

/*
 * Finds a count of the argument of a sum, with its FILTER.  Returns -1 if
 * there is none.
 */
static int
find_count_of_values(const Definition *definition, const Columns *columns,
					 int sum)
{
	Node	   *arg = list_nth(columns->args, sum);

	/* sum() relabels an argument of a domain type, count() does not */
	while (IsA(arg, RelabelType))
		arg = (Node *) ((RelabelType *) arg)->arg;

	for (int i = 0; i < definition->nmeasures; i++)
	{
		if (is_count(definition, columns, i,
					 list_nth(columns->filters, sum)) &&
			equal(list_nth(columns->args, i), arg))
			return i;
	}

	return -1;
}

/* Finds the measure that shows when a group no longer has rows. */
static Obstacle *
find_row_count(Definition *definition, const Columns *columns)
{
	definition->row_count = find_count_of_rows(definition, columns, NULL);
	return definition->row_count < 0 ? lack_of_row_count() : NULL;
}

/* Finds, for each sum that can be NULL, the count that shows whether it is. */
static Obstacle *
find_companions(Definition *definition, const Columns *columns)
{
	int			i = -1;

	while ((i = bms_next_member(columns->nullable_sums, i)) >= 0)
	{
		Measure    *measure = &definition->measures[i];

		/* a count of the values works with or without NULLs */
		measure->companion = find_count_of_values(definition, columns, i);
		if (measure->companion < 0 && is_argument_never_null(definition, i))
		{
			measure->companion = find_count_of_rows(definition, columns,
													list_nth(columns->filters, i));
			measure->arg_not_null = true;
		}

		if (measure->companion < 0)
			return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
								 "sum of a nullable argument requires a count of the same argument",
								 psprintf("The count shows when column \"%s\" must be NULL because no value is left.",
										  measure->name),
								 "Use coalesce(sum(x), 0), or add count(x) with the same FILTER to the definition.");
	}
	return NULL;
}

/* Returns whether no expression of a list can be NULL. */
static bool
are_never_null(List *exprs, Oid relid)
{
	ListCell   *lc;

	foreach(lc, exprs)
	{
		if (!expression_is_never_null(lfirst(lc), relid))
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
