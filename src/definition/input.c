/*-------------------------------------------------------------------------
 *
 * input.c
 *	  Reads FROM items into Inputs, one per table.
 *
 * Subqueries and UNION ALL are multiplied out, as the planner does when it
 * pulls them up.  The code lists what is supported, not what is unsupported: a
 * FROM item that a later server adds is refused.
 *
 * The functions never throw because of an obstacle.  After the first one they
 * look for others, but the Inputs that they return may be incomplete.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"

#include "expression.h"
#include "input.h"
#include "source.h"

/* Context of substitute_mutator. */
typedef struct Substitution
{
	const Input *input;
	Index		varno;			/* the FROM item that the input belongs to */
} Substitution;

/* Context of reference_walker. */
typedef struct ReferenceCheck
{
	Index		varno;			/* the FROM item that may be referred to */
	bool		has_subquery;	/* an input is not a table itself */
	Obstacle   *obstacle;		/* the first one, or NULL */
} ReferenceCheck;

/* A clause of SELECT that is refused if it is present. */
typedef struct RefusedClause
{
	bool		present;
	const char *construct;
	const char *hint;
} RefusedClause;

static List *read_subquery(const Query *query, List **obstacles);
static List *read_union(Node *node, const Query *query, List **obstacles);

/* Lists the clauses that are present. */
static List *
list_clauses(const RefusedClause *clauses, int n)
{
	List	   *obstacles = NIL;

	for (int i = 0; i < n; i++)
	{
		if (clauses[i].present)
			obstacles = lappend(obstacles,
								obstacle_unsupported(clauses[i].construct,
													 NULL, clauses[i].hint));
	}
	return obstacles;
}

/*
 * Lists (of Obstacle) the clauses of a SELECT that are supported neither in
 * the topmost query nor in a subquery.
 */
List	   *
input_clause_obstacles(const Query *query)
{
	const RefusedClause clauses[] = {
		{query->cteList != NIL, "WITH",
		"Write the query as a subquery in FROM."},
		{query->hasDistinctOn, "DISTINCT ON",
		"Omit it. GROUP BY makes the rows distinct."},
		{query->distinctClause != NIL && !query->hasDistinctOn, "DISTINCT",
		"Omit it. GROUP BY makes the rows distinct."},
		{query->groupingSets != NIL,
			"GROUPING SETS, ROLLUP, CUBE or GROUP BY ()",
		"Create one rollup for each set of group columns."},
		{query->havingQual != NULL, "HAVING",
		"Filter the groups when reading the rollup."},
		{query->hasWindowFuncs || query->windowClause != NIL,
			"a window function",
		"Use the window function when reading the rollup."},
		{query->hasTargetSRFs, "a set-returning function", SET_HINT},
		{query->hasSubLinks, "a subquery in an expression", SUBQUERY_HINT},
		{query->hasForUpdate || query->rowMarks != NIL,
			"FOR UPDATE or FOR SHARE",
		"Omit it."},
		{query->limitCount != NULL || query->limitOffset != NULL,
			"LIMIT or OFFSET",
		"Limit the rows when reading the rollup."},
		{query->sortClause != NIL, "ORDER BY",
		"Sort the rows when reading the rollup."},
	};

	return list_clauses(clauses, lengthof(clauses));
}

/* Lists the clauses of a subquery that are not supported there. */
static List *
subquery_clause_obstacles(const Query *query)
{
	const RefusedClause clauses[] = {
		{query->groupClause != NIL, "GROUP BY in a subquery",
		"Use GROUP BY in the outermost SELECT only."},
		{query->hasAggs, "an aggregate in a subquery",
		"Use aggregates in the outermost SELECT only."},
	};

	return list_concat(input_clause_obstacles(query),
					   list_clauses(clauses, lengthof(clauses)));
}

/*
 * Reads FROM and WHERE of a SELECT into a list of Inputs, in the current
 * memory context.  Sets the varno by which the other expressions of the SELECT
 * refer to the FROM item.  Appends to *obstacles; if it appends any, the list
 * cannot be used.
 */
List	   *
input_read_query(const Query *query, Index *varno, List **obstacles)
{
	List	   *items = query->jointree->fromlist;
	List	   *quals = make_ands_implicit((Expr *) query->jointree->quals);
	int			nobstacles = list_length(*obstacles);
	List	   *inputs;
	ListCell   *lc;

	*varno = 0;
	if (items == NIL)
	{
		*obstacles = lappend(*obstacles,
							 obstacle_unsupported("a SELECT without FROM", NULL,
												  "Use a table in FROM."));
		return NIL;
	}
	if (list_length(items) > 1 || !IsA(linitial(items), RangeTblRef))
	{
		*obstacles = lappend(*obstacles,
							 obstacle_unsupported("a join",
												  "A change of one table would change many rows of the join.",
												  "Use one table, or several with UNION ALL, and join when reading the rollup."));
		return NIL;
	}

	*varno = ((RangeTblRef *) linitial(items))->rtindex;
	inputs = input_read_item(rt_fetch(*varno, query->rtable), obstacles);
	if (list_length(*obstacles) == nobstacles)
		*obstacles = obstacle_append(*obstacles,
									 input_reference_obstacle(inputs,
															  (Node *) quals,
															  *varno));
	if (list_length(*obstacles) > nobstacles)
		return NIL;

	/* the quals of the item come first, since these may depend on them */
	foreach(lc, inputs)
	{
		Input	   *input = lfirst(lc);

		input->quals = list_concat(input->quals,
								   input_substitute(quals, input, *varno));
	}

	return inputs;
}

/*
 * Returns the obstacle of a FROM item that is neither a table nor a subquery.
 */
static Obstacle *
item_obstacle(const RangeTblEntry *rte)
{
	switch (rte->rtekind)
	{
		case RTE_FUNCTION:
		case RTE_TABLEFUNC:
			return obstacle_unsupported("a function in FROM", NULL,
										"Use a table in FROM.");
		case RTE_VALUES:
			return obstacle_unsupported("VALUES", NULL,
										"Use a table in FROM.");
		default:
			return obstacle_unsupported("a FROM item other than a table or subquery",
										NULL, "Use a table in FROM.");
	}
}

/*
 * Reads a table.  Parse analysis already holds the lock, but a stored query
 * may come without it.  The lock is kept until the transaction ends.
 */
static List *
read_table(const RangeTblEntry *rte, List **obstacles)
{
	Input	   *input = palloc0(sizeof(Input));

	LockRelationOid(rte->relid, AccessShareLock);
	*obstacles = obstacle_append(*obstacles,
								 source_kind_obstacle(rte->relid, rte->inh));

	input->relid = rte->relid;
	input->is_table = true;
	return list_make1(input);
}

/*
 * Reads one FROM item into a list of Inputs, in the current memory context:
 * a table, a subquery that has only a target list, FROM (one item) and WHERE,
 * or a UNION ALL of such.  Locks the tables until the transaction ends.  The
 * item may come from parse analysis, or from a stored or a constructed query.
 *
 * Appends to *obstacles; if it appends any, the list cannot be used.  The
 * expressions of the subqueries are not checked: for those of WHERE, call
 * input_qual_obstacles; for those of columns, input_expression_obstacle with
 * the expressions that use them.
 */
List	   *
input_read_item(RangeTblEntry *rte, List **obstacles)
{
	if (rte->tablesample != NULL)
		*obstacles = lappend(*obstacles,
							 obstacle_unsupported("TABLESAMPLE", NULL,
												  "Use a condition on columns in WHERE."));
	if (rte->lateral)
	{
		*obstacles = lappend(*obstacles,
							 obstacle_unsupported("LATERAL", NULL, "Omit it."));
		return NIL;
	}

	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return read_table(rte, obstacles);
		case RTE_SUBQUERY:
			return read_subquery(rte->subquery, obstacles);
		default:
			*obstacles = lappend(*obstacles, item_obstacle(rte));
			return NIL;
	}
}

/*
 * Reads a subquery in FROM, or one side of a UNION ALL.
 */
static List *
read_subquery(const Query *query, List **obstacles)
{
	int			nobstacles = list_length(*obstacles);
	List	   *columns = NIL;
	List	   *inputs;
	Index		varno;
	ListCell   *lc;

	check_stack_depth();
	*obstacles = list_concat(*obstacles, subquery_clause_obstacles(query));

	if (query->setOperations != NULL)
		return read_union(query->setOperations, query, obstacles);

	inputs = input_read_query(query, &varno, obstacles);
	if (list_length(*obstacles) > nobstacles)
		return NIL;

	/* there is no resjunk entry, since no remaining clause adds one */
	foreach(lc, query->targetList)
		columns = lappend(columns, lfirst_node(TargetEntry, lc)->expr);

	*obstacles = obstacle_append(*obstacles,
								 input_reference_obstacle(inputs,
														  (Node *) columns,
														  varno));
	if (list_length(*obstacles) > nobstacles)
		return NIL;

	foreach(lc, inputs)
	{
		Input	   *input = lfirst(lc);

		input->columns = input_substitute(columns, input, varno);
		input->is_table = false;
	}

	return inputs;
}

/* Returns the obstacle of a set operation other than UNION ALL, or NULL. */
static Obstacle *
set_operation_obstacle(const SetOperationStmt *setop)
{
	if (setop->op == SETOP_INTERSECT)
		return obstacle_unsupported("INTERSECT", NULL,
									"Use a condition in WHERE.");
	if (setop->op != SETOP_UNION)
		return obstacle_unsupported("EXCEPT", NULL,
									"Use a condition in WHERE.");
	if (!setop->all)
		return obstacle_unsupported("UNION without ALL",
									"Duplicate rows would need to be searched for.",
									"Use UNION ALL.");
	return NULL;
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
 * Reads a tree of UNION ALL.
 */
static List *
read_union(Node *node, const Query *query, List **obstacles)
{
	int			nobstacles = list_length(*obstacles);
	SetOperationStmt *setop;
	List	   *inputs;
	ListCell   *lc;

	check_stack_depth();

	if (IsA(node, RangeTblRef))
		return input_read_item(rt_fetch(((RangeTblRef *) node)->rtindex,
										query->rtable), obstacles);

	setop = castNode(SetOperationStmt, node);
	*obstacles = obstacle_append(*obstacles, set_operation_obstacle(setop));

	inputs = read_union(setop->larg, query, obstacles);
	inputs = list_concat(inputs, read_union(setop->rarg, query, obstacles));
	if (list_length(*obstacles) > nobstacles)
		return NIL;

	foreach(lc, inputs)
		coerce_input(lfirst(lc), setop);

	return inputs;
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

	if (var->varattno <= 0 || var->varattno > list_length(input->columns))
		elog(ERROR, "unexpected reference to column %d of a subquery",
			 var->varattno);
	return copyObject(list_nth(input->columns, var->varattno - 1));
}

/*
 * Puts a list of expressions over the FROM item "varno" in terms of the table
 * of the input.  The list may contain NULLs.  Returns a copy.  The expressions
 * must have passed input_reference_obstacle.
 */
List	   *
input_substitute(List *exprs, const Input *input, Index varno)
{
	Substitution context = {input, varno};

	return (List *) substitute_mutator((Node *) exprs, &context);
}

/* Finds the first reference that substitute_mutator does not support. */
static bool
reference_walker(Node *node, ReferenceCheck *check)
{
	Var		   *var = (Var *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, Var))
		return expression_tree_walker(node, reference_walker, check);

	if (var->varlevelsup != 0 || (Index) var->varno != check->varno)
		check->obstacle = obstacle_unsupported("a reference to another FROM item",
											   "A row must be counted by its own columns.",
											   SUBQUERY_HINT);
	else if (var->varattno == InvalidAttrNumber && check->has_subquery)
		check->obstacle = expression_whole_row();
	return check->obstacle != NULL;
}

/*
 * Returns why input_substitute cannot be called for an expression (or a list),
 * or NULL: it refers to another FROM item, or to the whole row of a subquery.
 */
Obstacle   *
input_reference_obstacle(List *inputs, Node *expr, Index varno)
{
	ReferenceCheck check = {.varno = varno};
	ListCell   *lc;

	foreach(lc, inputs)
	{
		if (!((const Input *) lfirst(lc))->is_table)
			check.has_subquery = true;
	}
	(void) reference_walker(expr, &check);
	return check.obstacle;
}

/*
 * Returns the first obstacle of an expression over a table, before and after
 * the planner has processed it.
 */
static Obstacle *
planned_obstacle(Node *expr, Oid relid)
{
	Obstacle   *obstacle = expression_obstacle(expr, relid);

	if (obstacle == NULL)
		obstacle = expression_obstacle((Node *) expression_planner((Expr *) expr),
									   relid);
	return obstacle;
}

/*
 * Returns the first obstacle of an expression (or a list) over the FROM item
 * "varno" in any of its inputs, or NULL.  Evaluates constant parts that are
 * immutable, as the current user, and throws if that fails.  The expression
 * must refer to this FROM item only.
 */
Obstacle   *
input_expression_obstacle(List *inputs, Node *expr, Index varno)
{
	Obstacle   *obstacle = input_reference_obstacle(inputs, expr, varno);
	ListCell   *lc;

	foreach(lc, inputs)
	{
		const Input *input = lfirst(lc);

		if (obstacle != NULL)
			break;
		obstacle = planned_obstacle((Node *) input_substitute(list_make1(expr),
															  input, varno),
									input->relid);
	}
	return obstacle;
}

/*
 * Lists (of Obstacle) what prevents the maintenance of the conditions that the
 * inputs have.  Evaluates constant parts as input_expression_obstacle does.
 */
List	   *
input_qual_obstacles(List *inputs)
{
	List	   *obstacles = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, inputs)
	{
		const Input *input = lfirst(lc);

		foreach(lc2, input->quals)
			obstacles = obstacle_append(obstacles,
										planned_obstacle(lfirst(lc2),
														 input->relid));
	}
	return obstacles;
}

/*
 * Returns whether an expression over the FROM item "varno" can never be NULL,
 * given the current state of the tables.  The expression must have passed
 * input_expression_obstacle.
 */
bool
input_expression_never_null(List *inputs, Node *expr, Index varno)
{
	ListCell   *lc;

	foreach(lc, inputs)
	{
		const Input *input = lfirst(lc);
		List	   *exprs = input_substitute(list_make1(expr), input, varno);

		if (!expression_is_never_null(linitial(exprs), input->relid))
			return false;
	}
	return inputs != NIL;
}
