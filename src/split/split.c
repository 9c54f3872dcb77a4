/*-------------------------------------------------------------------------
 *
 * split.c
 *	  Splits a query into cores, which are kept, and a view that computes the
 *	  rest from them.
 *
 * Each SELECT of the query that groups, or removes duplicates, gets a core of
 * its own, the innermost first: a rollup of one of the tables that it reads,
 * the fact (fact.c).  In the SELECT the core takes the place of the fact, and
 * aggregates of the core that of the aggregates (reading.c).  Everything else
 * stays as it is: the other tables, conditions on them, HAVING, ORDER BY with
 * LIMIT, window functions, and what is around the SELECT.
 *
 * The result is a query that is equal to the one given if the core is replaced
 * by its definition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_clause.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/ruleutils.h"

#include "build_expr.h"
#include "compat.h"
#include "core_builder.h"
#include "definition.h"
#include "direct.h"
#include "expand.h"
#include "fact.h"
#include "input.h"
#include "looks.h"
#include "obstacle.h"
#include "range_table.h"
#include "reading.h"
#include "split.h"
#include "time_zone.h"

#define CORE_SUFFIX "_core"

/* Stands for the core while the fact still has its place; no query is so long. */
#define CORE_VARNO 60000

/* The state of a split. */
typedef struct Splitter
{
	const char *name;			/* of the rollup */
	List	   *facts;			/* OIDs of tables that the user named as facts */
	List	   *cores;			/* of Core */
	List	   *obstacles;		/* of Obstacle */
	List	   *excuses;		/* of Obstacle: why a SELECT has no core; they
								 * matter if there is no core at all */
	List	   *findings;		/* of Finding */
} Splitter;

static void split_level(Splitter *splitter, Query *query, bool distinct,
						const Bitmapset *looks);

/* ----------------------------------------------------------------
 *		findings
 * ----------------------------------------------------------------
 */

/* Adds a finding, unless it is known. */
static void
add_finding(List **findings, char *part, char *verdict, char *reason)
{
	Finding    *finding = palloc0(sizeof(Finding));
	ListCell   *lc;

	foreach(lc, *findings)
	{
		if (strcmp(((Finding *) lfirst(lc))->part, part) == 0)
			return;
	}
	finding->part = part;
	finding->verdict = verdict;
	finding->reason = reason;
	*findings = lappend(*findings, finding);
}

static void
find_computed(Splitter *splitter, char *part, char *reason)
{
	add_finding(&splitter->findings, part, FINDING_COMPUTED, reason);
}

/* Finds the parts of a SELECT that its view computes. */
static void
find_parts(Splitter *splitter, const Query *query, const Reading *reading,
		   const List *items)
{
	ListCell   *lc;

	foreach(lc, items)
	{
		const FromItem *item = (const FromItem *) lfirst(lc);
		const char *name = rt_fetch(item->rtindex, query->rtable)->eref->aliasname;

		if (item->rtindex == reading->core->fact)
			add_finding(&splitter->findings, psprintf("rows of \"%s\"", name),
						FINDING_KEPT, "Its changes are counted.");
		else
			find_computed(splitter, psprintf("join with \"%s\"", name),
						  "It is read when the rollup is read.");
	}
	if (reading->window != NULL)
		find_computed(splitter, "window of time",
					  "Whole hours are kept; the rest of an hour is read from the source.");
	if (reading->unindexed != NULL)
	{
		find_computed(splitter, psprintf("condition on \"%s\"", reading->unindexed),
					  "Each time is kept, since no index begins with the column.");
		((Finding *) llast(splitter->findings))->advice =
			psprintf("Create an index on column \"%s\" first. Then hours are kept, which are fewer.",
					 reading->unindexed);
	}
	foreach(lc, reading->computed)
		find_computed(splitter, (char *) lfirst(lc),
					  "It is computed from what is kept.");
	if (query->havingQual != NULL)
		find_computed(splitter, "HAVING", "It filters the groups.");
	if (query->groupingSets != NIL)
		find_computed(splitter, "GROUPING SETS",
					  "They are computed from the finest grouping.");
}

/* Finds the clauses of any SELECT that its view computes. */
static void
find_clauses(Splitter *splitter, const Query *query)
{
	if (query->hasWindowFuncs)
		find_computed(splitter, "window functions",
					  "They are computed over the groups.");
	if (query->distinctClause != NIL)
		find_computed(splitter, query->hasDistinctOn ? "DISTINCT ON" : "DISTINCT",
					  "It is applied to the result.");
	if (query->limitCount != NULL || query->limitOffset != NULL)
		find_computed(splitter, "LIMIT", "It is applied to the result.");
	if (query->setOperations != NULL)
		find_computed(splitter, "UNION, INTERSECT or EXCEPT",
					  "Each side is computed by itself.");
}

/* ----------------------------------------------------------------
 *		one SELECT
 * ----------------------------------------------------------------
 */

/* Returns whether a SELECT returns distinct rows, and nothing more. */
static bool
is_distinct(const Query *query)
{
	return query->distinctClause != NIL && !query->hasDistinctOn &&
		!query_is_grouped(query) && !query->hasWindowFuncs &&
		!query->hasTargetSRFs;
}

/* Returns the expressions by which a SELECT groups. */
static List *
group_expressions(const Query *query)
{
	List	   *groups = NIL;
	ListCell   *lc;

	if (is_distinct(query))
	{
		foreach(lc, query->targetList)
			groups = lappend(groups, lfirst_node(TargetEntry, lc)->expr);
		return groups;
	}
	foreach(lc, query->groupClause)
		groups = lappend(groups,
						 get_sortgroupclause_expr(lfirst_node(SortGroupClause, lc),
												  query->targetList));
	return groups;
}

/*
 * Returns whether an expression is the same for all facts.  A query may group
 * by it to get a single row, and then a table can hold the result.
 */
static bool
is_constant_group(const Query *query, Node *expr)
{
	return IsA(expr, Const) && query->groupingSets == NIL &&
		list_length(query->jointree->fromlist) == 1 &&
		IsA(linitial(query->jointree->fromlist), RangeTblRef);
}

/* Collects the conditions of inner joins and WHERE. */
static List *
inner_conditions(Node *node, List *conditions)
{
	const JoinExpr *join = (const JoinExpr *) node;
	ListCell   *lc;

	if (node == NULL || IsA(node, RangeTblRef))
		return conditions;
	if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
			conditions = inner_conditions((Node *) lfirst(lc), conditions);
		return list_concat(conditions,
						   make_ands_implicit((Expr *) ((FromExpr *) node)->quals));
	}
	if (join->jointype != JOIN_INNER)
		return conditions;
	conditions = inner_conditions(join->larg, conditions);
	conditions = inner_conditions(join->rarg, conditions);
	return list_concat(conditions, make_ands_implicit((Expr *) join->quals));
}

/*
 * Returns the column of the fact that an inner join sets equal to an
 * expression, or NULL.
 */
static Node *
equal_column(const CoreBuilder *core, const Query *query, Node *expr)
{
	ListCell   *lc;

	foreach(lc, inner_conditions((Node *) query->jointree, NIL))
	{
		const OpExpr *op = (const OpExpr *) lfirst(lc);

		if (!IsA(op, OpExpr) || list_length(op->args) != 2 ||
			!op_hashjoinable(op->opno, exprType((Node *) linitial(op->args))))
			continue;
		for (int side = 0; side < 2; side++)
		{
			Node	   *other = (Node *) list_nth(op->args, 1 - side);

			if (equal(list_nth(op->args, side), expr) &&
				core_can_keep(core, other))
				return other;
		}
	}
	return NULL;
}

/*
 * The core begins with the columns by which the query groups, in the order of
 * the output: its index can then be used for conditions on them.  In the place
 * of a column of another table is the column that it is joined by.
 */
static void
read_groups(Reading *reading, const Query *query)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Node	   *column;

		if (!list_member(reading->groups, entry->expr))
			continue;
		column = equal_column(reading->core, query, (Node *) entry->expr);
		if (column != NULL)
			(void) reading_of_expression(reading, column, CORE_CONDITION,
										 NULL);
		if (is_constant_group(query, (Node *) entry->expr))
			(void) core_group(reading->core, (Node *) entry->expr, CORE_GROUP,
							  entry->resjunk ? "part" : entry->resname);
		else
			(void) reading_of_expression(reading, (Node *) entry->expr,
										 CORE_GROUP,
										 entry->resjunk ? NULL : entry->resname);
	}
}

/* Returns whether a condition is never true in a row without fact. */
static bool
excludes_no_fact(const CoreBuilder *core, Node *condition)
{
	Node	   *value = core_for_no_fact(core, condition);

	return value == NULL ||
		(IsA(value, Const) && !DatumGetBool(((Const *) value)->constvalue));
}

static Node *
fact_exists(CoreBuilder *core)
{
	return expr_is_not_null((Node *) core_count(core, NULL, NIL, "n"));
}

/*
 * Recognizes a condition that moves with the clock and need not be evaluated
 * for each row of the core.
 */
static bool
read_window(Reading *reading, Node *condition)
{
	if (reading->window != NULL)
		return false;
	reading->window = window_of_times(reading->core, condition);
	if (reading->window == NULL)
	{
		char	   *column = window_lacks_index(reading->core, condition);

		if (column != NULL)
			reading->unindexed = column;
		return false;
	}
	reading->hour = core_group(reading->core, reading->window->hour,
							   CORE_CONDITION, "hour");
	return true;
}

/*
 * Divides conditions into those of the core and those of the view, which are
 * returned.  "keeps": facts that do not meet a condition can be left out of
 * the core.
 */
static Node *
read_conditions(Reading *reading, Node *conditions, bool keeps, bool nullable)
{
	CoreBuilder *core = reading->core;
	List	   *read = NIL;
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) conditions))
	{
		Node	   *condition = (Node *) lfirst(lc);
		Node	   *days = window_of_days(core, condition);

		if (days != NULL)
			condition = days;
		if (keeps && !nullable && !core_can_keep(core, condition) &&
			read_window(reading, condition))
			continue;
		if (keeps && core_can_keep(core, condition) &&
			(!nullable || excludes_no_fact(core, condition)))
		{
			core->quals = lappend(core->quals, condition);
			if (nullable)
				read = list_append_unique(read, fact_exists(core));
		}
		else
			read = lappend(read, reading_of_expression(reading, condition,
													   CORE_CONDITION, NULL));
	}
	return read == NIL ? NULL : (Node *) make_ands_explicit(read);
}

/* What a FROM item has of the fact. */
typedef enum FactPlace
{
	FACT_ELSEWHERE,
	FACT_IN_EACH_ROW,
	FACT_NULLABLE
} FactPlace;

/*
 * Puts the conditions of joins in terms of the core, and the core in the place
 * of the fact.
 */
static FactPlace
read_from(Reading *reading, Node *node)
{
	CoreBuilder *core = reading->core;
	JoinExpr   *join = (JoinExpr *) node;
	FactPlace	left;
	FactPlace	right;
	FactPlace	place;
	bool		keeps;

	if (IsA(node, RangeTblRef))
	{
		if (((RangeTblRef *) node)->rtindex != core->fact)
			return FACT_ELSEWHERE;
		return FACT_IN_EACH_ROW;
	}
	left = read_from(reading, join->larg);
	right = read_from(reading, join->rarg);
	place = left == FACT_ELSEWHERE ? right : left;

	/*
	 * a condition of an outer join says which rows find a partner; only on
	 * the nullable side does it also say which facts are left out
	 */
	keeps = place == FACT_IN_EACH_ROW &&
		(join->jointype == JOIN_INNER ||
		 (join->jointype == JOIN_LEFT && right != FACT_ELSEWHERE) ||
		 (join->jointype == JOIN_RIGHT && left != FACT_ELSEWHERE));
	join->quals = read_conditions(reading, join->quals, keeps, false);
	if (join->quals == NULL)
		join->quals = makeBoolConst(true, false);
	if (place == FACT_ELSEWHERE || join->jointype == JOIN_INNER ||
		(join->jointype == JOIN_LEFT && left != FACT_ELSEWHERE) ||
		(join->jointype == JOIN_RIGHT && right != FACT_ELSEWHERE))
		return place;
	return FACT_NULLABLE;
}

/* Puts FROM items that refer to the fact (LATERAL) in terms of the core. */
static void
read_lateral_items(Reading *reading, Query *query)
{
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY && rte->lateral)
			rte->subquery = (Query *) reading_of_expression(reading, (Node *) rte->subquery,
															CORE_CONDITION, NULL);
		else if (rte->rtekind == RTE_FUNCTION)
			rte->functions = (List *) reading_of_expression(reading, (Node *) rte->functions,
															CORE_CONDITION, NULL);
	}
}

/* Returns whether some condition of WHERE is evaluated when reading. */
static bool
has_read_condition(const CoreBuilder *core, const Query *query)
{
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) query->jointree->quals))
	{
		if (!core_can_keep(core, (Node *) lfirst(lc)))
			return true;
	}
	return false;
}

static void
read_outputs(Reading *reading, Query *query)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		reading->column = entry->resname && !entry->resjunk ?
			entry->resname : "part";
		reading->keeps_scale = bms_is_member(entry->resno, reading->looks) ||
			(!IsA(entry->expr, Aggref) && !IsA(entry->expr, CoalesceExpr));
		entry->expr = (Expr *) reading_of_output(reading,
												 (Node *) entry->expr);
	}
	reading->column = "having";
	reading->keeps_scale = true;
	query->havingQual = reading_of_output(reading, query->havingQual);
}

/* Returns the highest reference to an output column. */
static Index
highest_ref(const Query *query)
{
	Index		highest = 0;
	ListCell   *lc;

	foreach(lc, query->targetList)
		highest = Max(highest, lfirst_node(TargetEntry, lc)->ressortgroupref);
	return highest;
}

/* Adds an expression to GROUP BY. */
static void
add_group(Query *query, Node *expr)
{
	TargetEntry *entry = makeTargetEntry((Expr *) copyObject(expr),
										 list_length(query->targetList) + 1,
										 NULL, true);
	SortGroupClause *clause = expr_group_clause(entry, highest_ref(query) + 1,
												false);

	if (!OidIsValid(clause->eqop))
		return;
	query->targetList = lappend(query->targetList, entry);
	query->groupClause = lappend(query->groupClause, clause);
}

/* Collects the columns outside aggregates by which the query does not group. */
typedef struct Ungrouped
{
	List	   *groups;
	int			sublevels_up;
	List	   *vars;
} Ungrouped;

static bool
ungrouped_walker(Node *node, Ungrouped *context)
{
	bool		result;

	if (node == NULL ||
		(context->sublevels_up == 0 &&
		 (IsA(node, Aggref) || list_member(context->groups, node))))
		return false;
	if (IsA(node, Query))
	{
		context->sublevels_up++;
		result = query_tree_walker((Query *) node, ungrouped_walker, context,
								   0);
		context->sublevels_up--;
		return result;
	}
	if (IsA(node, Var) &&
		(int) ((Var *) node)->varlevelsup == context->sublevels_up)
	{
		Var		   *var = copyObject((Var *) node);

		var->varlevelsup = 0;
		if (!list_member(context->groups, var))
			context->vars = list_append_unique(context->vars, var);
		return false;
	}
	return expression_tree_walker(node, ungrouped_walker, context);
}

/*
 * Columns that depend on a grouped primary key are added to GROUP BY.  The
 * core has no primary key to depend on; and a view that relies on one is not
 * restored as it is from a dump.
 */
static void
complete_groups(Reading *reading, Query *query)
{
	Ungrouped	context = {group_expressions(query), 0, NIL};
	ListCell   *lc;

	if (query->groupClause == NIL)
		return;
	(void) ungrouped_walker((Node *) query->targetList, &context);
	(void) ungrouped_walker(query->havingQual, &context);
	if (context.vars != NIL && query->groupingSets != NIL)
		reading->obstacles =
			lappend(reading->obstacles,
					obstacle_unsupported("a column that depends on a grouped primary key, with GROUPING SETS,",
										 NULL, "Add the column to GROUP BY."));
	if (query->groupingSets != NIL)
		return;
	foreach(lc, context.vars)
		add_group(query, (Node *) lfirst(lc));
	query->constraintDeps = NIL;
}

/* Adds a FROM item that repeats each row of the core for each fact. */
static void
add_copies(Reading *reading, Query *query)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	RangeTblFunction *function = makeNode(RangeTblFunction);
	RangeTblRef *ref = makeNode(RangeTblRef);

	function->funcexpr = (Node *) makeFuncExpr(F_GENERATE_SERIES_INT8_INT8,
											   INT8OID,
											   list_make2(expr_bigint(1),
														  reading_count_of_copy(reading)),
											   InvalidOid, InvalidOid,
											   COERCE_EXPLICIT_CALL);
	((FuncExpr *) function->funcexpr)->funcretset = true;
	function->funccolcount = 1;
	rte->rtekind = RTE_FUNCTION;
	rte->functions = list_make1(function);
	rte->alias = makeAlias("copy", list_make1(makeString("number")));
	rte->eref = copyObject(rte->alias);
	rte->lateral = true;
	rte->inFromCl = true;
	query->rtable = lappend(query->rtable, rte);
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
}

/* Leaves the grouping out: each row of the core is a row of the result. */
static void
read_directly(Query *query)
{
	if (query->havingQual != NULL)
		query->jointree->quals =
			(Node *) make_and_qual(query->jointree->quals,
								   query->havingQual);
	query->havingQual = NULL;
	query->groupClause = NIL;
	query->hasAggs = false;
}

/*
 * Puts a SELECT in terms of a core, in place.  "reading" says how, and has the
 * core afterwards.  Returns the core's definition.
 */
static Query *
read_select(Reading *reading, Query *query, const char *core_name)
{
	CoreBuilder *core = reading->core;
	ListCell   *lc;
	Query	   *definition;

	core->guarded |= has_read_condition(core, query);
	reading->groups = group_expressions(query);
	read_groups(reading, query);
	foreach(lc, query->jointree->fromlist)
		(void) read_from(reading, (Node *) lfirst(lc));
	query->jointree->quals = read_conditions(reading, query->jointree->quals,
											 true, core->nullable);
	read_lateral_items(reading, query);
	read_outputs(reading, query);
	if (reading->copy != NULL)
		add_copies(reading, query);
	definition = core_finish(core, query, core_name);
	if (reading->window != NULL)
		window_apply(reading->window, reading->hour, definition,
					 rt_fetch(core->fact, query->rtable));
	if (reading->direct)
		read_directly(query);
	else
		complete_groups(reading, query);
	expand_join_columns(query);
	return definition;
}

/*
 * Returns whether the groups of the core are the groups of the result, so that
 * nothing is aggregated when reading.
 */
static bool
is_direct(const Reading *reading, const Query *view)
{
	return !reading->aggregates_again && !reading->expands &&
		!reading->core->nullable && reading->window == NULL &&
		direct_is_possible(view, list_length(reading->core->groups));
}

static CoreBuilder *
make_builder(const Query *query, const FromItem *item, const List *items)
{
	CoreBuilder *core = palloc0(sizeof(CoreBuilder));

	core->block = query;
	core->fact = item->rtindex;
	core->varno = CORE_VARNO;
	core->inputs = item->inputs;
	core->nullable = item->nullable;
	core->guarded = list_length(items) > 1;
	return core;
}

/* Tries to put a copy of a SELECT in terms of a core. */
static Query *
try_reading(Reading *reading, const Query *query, const FromItem *item,
			const List *items, const char *core_name, Query **definition)
{
	Query	   *copy = copyObject(unconstify(Query *, query));

	reading->core = make_builder(query, item, items);
	if (reading->expands)
		reading->copy = makeVar(list_length(query->rtable) + 1, 1, INT8OID, -1,
								InvalidOid, 0);
	*definition = read_select(reading, copy, core_name);
	return copy;
}

static void
add_core(Splitter *splitter, Query *definition, char *name, char *text)
{
	Core	   *core = palloc0(sizeof(Core));

	core->name = name;
	core->query = definition;
	core->text = text;
	splitter->cores = lappend(splitter->cores, core);
}

static char *
definition_text(const Query *definition)
{
	return pg_get_querydef(copyObject(unconstify(Query *, definition)), false);
}

/* Context of rename_core. */
typedef struct CoreNames
{
	const char *from;
	char	   *to;
} CoreNames;

static void
rename_core(RangeTblEntry *rte, void *context)
{
	const CoreNames *names = (const CoreNames *) context;

	if (rte->rtekind == RTE_CTE && strcmp(rte->ctename, names->from) == 0)
		rte->ctename = names->to;
}

/*
 * Adds the core that a view refers to by "name".  If there is one with the same
 * definition, as for a WITH query that is used twice, the view uses that.
 */
static void
use_same_core(Splitter *splitter, Query *view, Query *definition, char *name)
{
	char	   *text = definition_text(definition);
	ListCell   *lc;

	foreach(lc, splitter->cores)
	{
		const Core *core = (const Core *) lfirst(lc);
		CoreNames	names = {name, core->name};

		if (strcmp(core->text, text) != 0)
			continue;
		range_table_visit(view, rename_core, &names);
		return;
	}
	add_core(splitter, definition, name, text);
}

static char *
core_name(const Splitter *splitter)
{
	int			n = list_length(splitter->cores) + 1;

	return n == 1 ? psprintf("%s" CORE_SUFFIX, splitter->name) :
		psprintf("%s" CORE_SUFFIX "_%d", splitter->name, n);
}

/* Returns a table that is the fact, or a part of it, and is joined as well. */
static Oid
table_read_twice(const List *items, FromItem *fact)
{
	ListCell   *lc;

	foreach(lc, items)
	{
		if (lfirst(lc) != fact &&
			OidIsValid(fact_read_twice(list_make2(fact, lfirst(lc)))))
			return fact_read_twice(list_make2(fact, lfirst(lc)));
	}
	return InvalidOid;
}

/* Adds an Obstacle for joins whose core would be as large as the fact. */
static void
check_core(Reading *reading, const Query *query, const List *items,
		   FromItem *fact)
{
	Oid			twice = table_read_twice(items, fact);

	if (OidIsValid(twice))
		reading->obstacles =
			lappend(reading->obstacles, fact_self_join(twice));
	else if (core_is_row_per_row(reading->core))
		reading->obstacles =
			lappend(reading->obstacles,
					obstacle_unsupported(psprintf("a join or condition that depends on each single row of \"%s\"",
												  rt_fetch(fact->rtindex, query->rtable)->eref->aliasname),
										 "The rollup would have to keep a row for each row of the table.",
										 "Join and filter by columns that many rows have in common."));
}

/*
 * Gives a SELECT that groups a core.  The first reading finds out which
 * columns the core needs, and so how the view can read it.
 */
static void
split_select(Splitter *splitter, Query *query, List *items, FromItem *fact,
			 const Bitmapset *looks)
{
	char	   *name = core_name(splitter);
	Reading		first = {.looks = looks};
	Reading		second = {.looks = looks};
	Query	   *definition;
	Query	   *view = try_reading(&first, query, fact, items, name,
								   &definition);

	check_core(&first, query, items, fact);
	splitter->obstacles = list_concat(splitter->obstacles, first.obstacles);
	if (first.obstacles != NIL)
		return;
	second.direct = is_direct(&first, view);
	second.expands = first.expands;
	if (second.direct || second.expands)
		view = try_reading(&second, query, fact, items, name, &definition);
	find_parts(splitter, query, &first, items);
	use_same_core(splitter, view, definition, name);
	*query = *view;
}

/* ----------------------------------------------------------------
 *		all levels
 * ----------------------------------------------------------------
 */

static void
note_core(RangeTblEntry *rte, void *context)
{
	*(bool *) context |= rte->rtekind == RTE_CTE;
}

/* Returns whether a query reads cores. */
static bool
reads_core(Query *query)
{
	bool		result = false;

	range_table_visit(query, note_core, &result);
	return result;
}

/* Makes a SELECT return distinct rows, where only those matter. */
static void
make_distinct(Query *query)
{
	ListCell   *lc;

	/* the order of such a SELECT has no effect */
	query->sortClause = NIL;
	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Index		ref = entry->ressortgroupref;

		if (entry->resjunk)
		{
			query->targetList = foreach_delete_current(query->targetList, lc);
			continue;
		}
		query->distinctClause =
			lappend(query->distinctClause,
					expr_group_clause(entry, ref ? ref : highest_ref(query) + 1,
									  true));
	}
}

/* Splits the sides of a set operation. */
static void
split_set_operation(Splitter *splitter, Query *query, Node *node,
					bool distinct, const Bitmapset *looks)
{
	SetOperationStmt *operation = (SetOperationStmt *) node;

	check_stack_depth();
	if (IsA(node, RangeTblRef))
	{
		split_level(splitter, rt_fetch(((RangeTblRef *) node)->rtindex,
									   query->rtable)->subquery, distinct,
					looks);
		return;
	}
	distinct = !operation->all;
	split_set_operation(splitter, query, operation->larg, distinct, looks);
	split_set_operation(splitter, query, operation->rarg, distinct, looks);
}

/* Splits scalar subqueries in expressions that aggregate. */
static bool
split_sublinks_walker(Node *node, Splitter *splitter)
{
	SubLink    *link = (SubLink *) node;

	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, SubLink) && link->subLinkType == EXPR_SUBLINK &&
		((Query *) link->subselect)->hasAggs)
		split_level(splitter, (Query *) link->subselect, false,
					looks_of_all((Query *) link->subselect));
	return expression_tree_walker(node, split_sublinks_walker, splitter);
}

/*
 * Splits one level of the query and those below it.  "distinct": the query
 * around it removes duplicates.  "looks": the numbers of its columns
 * whose looks matter to that query (looks.c).
 */
static void
split_level(Splitter *splitter, Query *query, bool distinct,
			const Bitmapset *looks)
{
	List	   *items;
	ListCell   *lc;
	FromItem   *fact;
	bool		only_distinct;

	check_stack_depth();
	find_clauses(splitter, query);
	if (query->setOperations != NULL)
	{
		split_set_operation(splitter, query, query->setOperations, distinct,
							looks);
		return;
	}
	items = fact_items(query);
	foreach(lc, items)
	{
		FromItem   *item = (FromItem *) lfirst(lc);
		RangeTblEntry *rte = rt_fetch(item->rtindex, query->rtable);

		if (rte->rtekind == RTE_SUBQUERY && item->inputs == NIL)
			split_level(splitter, rte->subquery, false,
						looks_of_item(query, item->rtindex, looks));
	}
	(void) split_sublinks_walker((Node *) query->targetList, splitter);
	(void) split_sublinks_walker(query->havingQual, splitter);
	(void) split_sublinks_walker(query->jointree->quals, splitter);

	if (items == NIL)
		splitter->excuses = lappend(splitter->excuses,
									obstacle_unsupported("a SELECT without FROM", NULL,
														 "Use a table in FROM."));
	only_distinct = distinct && !query_is_grouped(query) &&
		query->distinctClause == NIL && query->limitCount == NULL &&
		query->limitOffset == NULL && !query->hasWindowFuncs &&
		!query->hasTargetSRFs && !reads_core(query);
	if (items == NIL || (!query_is_grouped(query) && !is_distinct(query) &&
						 !only_distinct))
		return;
	fact = fact_choose(query, items, splitter->facts, &splitter->obstacles);
	if (fact == NULL)
	{
		foreach(lc, items)
			splitter->excuses = list_concat(splitter->excuses,
											((FromItem *) lfirst(lc))->obstacles);
		return;
	}
	if (only_distinct)
		make_distinct(query);
	split_select(splitter, query, items, fact, looks);
}

/* ----------------------------------------------------------------
 *		the whole query
 * ----------------------------------------------------------------
 */

static bool
note_volatile(Oid function, void *context)
{
	if (func_volatile(function) != PROVOLATILE_VOLATILE)
		return false;
	*(Oid *) context = function;
	return true;
}

static bool
volatile_walker(Node *node, Oid *function)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, note_volatile, function))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, volatile_walker, function, 0);
	return expression_tree_walker(node, volatile_walker, function);
}

/* Adds an Obstacle if the query calls a volatile function. */
static void
check_volatile(Splitter *splitter, const Query *query)
{
	Oid			function = InvalidOid;

	if (volatile_walker((Node *) unconstify(Query *, query), &function))
		splitter->obstacles =
			lappend(splitter->obstacles,
					obstacle_make(ERRCODE_INVALID_OBJECT_DEFINITION,
								  psprintf("volatile function %s is not supported in a rollup definition",
										   format_procedure(function)),
								  "A row must be counted in the same way when it is inserted and when it is deleted.",
								  "Use only columns, constants and immutable functions."));
}

/* Adds an Obstacle for an item that a view cannot read. */
static void
check_item(RangeTblEntry *rte, void *context)
{
	List	  **obstacles = &((Splitter *) context)->obstacles;

	if (rte->tablesample != NULL)
		*obstacles = lappend(*obstacles,
							 obstacle_unsupported("TABLESAMPLE", NULL,
												  "Use a condition on columns in WHERE."));
	if (rte->rtekind != RTE_RELATION || !rte->inFromCl)
		return;
	if (get_rel_persistence(rte->relid) == RELPERSISTENCE_TEMP)
		*obstacles = lappend(*obstacles,
							 obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
										   psprintf("table \"%s\" is temporary",
													get_rel_name(rte->relid)),
										   NULL, "Use a permanent table."));
	if (check_enable_rls(rte->relid, InvalidOid, true) == RLS_ENABLED)
		*obstacles = lappend(*obstacles,
							 obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
										   psprintf("row-level security of table \"%s\" applies to role \"%s\"",
													get_rel_name(rte->relid),
													GetUserNameFromId(GetUserId(), false)),
										   "Its policies would be those of the rollup's owner for every reader.",
										   "Use a table without row-level security, or an owner to whom it does not apply."));
}

/* Throws if the query does not read a table that the user named as a fact. */
static void
check_facts(Query *query, const List *facts)
{
	List	   *relids = range_table_relations(query);
	ListCell   *lc;

	foreach(lc, facts)
	{
		if (!list_member_oid(relids, lfirst_oid(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the query does not read table \"%s\", which is named as a fact",
							get_rel_name(lfirst_oid(lc)))));
	}
}

/* Leaves out ORDER BY, which a table or view does not have. */
static void
drop_order(Query *query, Split *split)
{
	if (query->sortClause == NIL || query->limitCount != NULL ||
		query->limitOffset != NULL || query->hasDistinctOn)
		return;
	query->sortClause = NIL;
	split->changed = true;
	add_finding(&split->findings, "ORDER BY", FINDING_CHANGED,
				"ORDER BY was left out of the definition, since a rollup has no order");
}

/*
 * Writes the queries of views in their place: a rollup would not notice when a
 * view is replaced.
 */
static void
write_views(Query *query, Split *split)
{
	ListCell   *lc;

	foreach(lc, expand_views(query))
	{
		char	   *name = (char *) lfirst(lc);

		split->changed = true;
		add_finding(&split->findings, psprintf("view \"%s\"", name),
					FINDING_CHANGED,
					psprintf("the query of view \"%s\" was written into the definition, which does not follow later changes of the view",
							 name));
	}
}

/* Writes the time zone of the session into expressions that depend on it. */
static void
pin_time_zone(Query *query, Split *split)
{
	const char *zone = time_zone_name();
	bool		pinned = false;

	if (zone != NULL)
		time_zone_pin_query(query, zone, &pinned);
	if (!pinned)
		return;
	split->changed = true;
	add_finding(&split->findings, "time zone", FINDING_CHANGED,
				psprintf("time zone \"%s\" of this session was written into the definition",
						 zone));
}

/* Keeps the result of the query as it is. */
static void
keep_result(Splitter *splitter, const Query *query)
{
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		const RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->inFromCl)
			add_finding(&splitter->findings,
						psprintf("rows of \"%s\"", rte->eref->aliasname),
						FINDING_KEPT, "Its changes are counted.");
	}
	add_core(splitter, copyObject(unconstify(Query *, query)),
			 core_name(splitter), definition_text(query));
}

/*
 * Splits an analyzed query.  "name" is the rollup's, without schema; "facts"
 * are the OIDs of tables that the user has named as facts.  Changes nothing,
 * and does not change the query.  Everything is allocated in the current
 * memory context.
 */
Split *
split_query(const Query *query, const char *name, List *facts)
{
	Split	   *split = palloc0(sizeof(Split));
	Splitter	splitter = {.name = name, .facts = facts};

	split->query = copyObject(unconstify(Query *, query));
	drop_order(split->query, split);
	write_views(split->query, split);
	pin_time_zone(split->query, split);
	split->view = expand_query(split->query, &splitter.obstacles);
	check_facts(split->view, facts);
	split->plain = splitter.obstacles == NIL &&
		definition_try(split->query, &(Obstacle *) {NULL}) != NULL;
	if (split->plain)
		keep_result(&splitter, split->query);
	else if (splitter.obstacles == NIL)
	{
		check_volatile(&splitter, split->query);
		split_level(&splitter, split->view, false, NULL);
		expand_all_joins(split->view);
		range_table_visit(split->view, check_item, &splitter);
		if (splitter.cores == NIL && splitter.obstacles == NIL)
			splitter.obstacles = splitter.excuses;
		if (splitter.cores == NIL && splitter.obstacles == NIL)
			splitter.obstacles =
				list_make1(obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
										 "definition has no GROUP BY", NULL,
										 "Use a query with GROUP BY or an aggregate over a table."));
	}
	split->cores = splitter.cores;
	split->findings = list_concat(splitter.findings, split->findings);
	split->obstacles = splitter.obstacles;
	return split;
}

/* Context of name_core. */
typedef struct CoreTables
{
	const Split *split;
	List	   *relids;
} CoreTables;

/* Replaces a reference to a core by its table. */
static void
name_core(RangeTblEntry *rte, void *context)
{
	const CoreTables *tables = (const CoreTables *) context;
	ListCell   *lc;

	if (rte->rtekind != RTE_CTE)
		return;
	foreach(lc, tables->split->cores)
	{
		if (strcmp(((Core *) lfirst(lc))->name, rte->ctename) != 0)
			continue;
		rte->rtekind = RTE_RELATION;
		rte->relid = list_nth_oid(tables->relids, foreach_current_index(lc));
		rte->relkind = RELKIND_RELATION;
		rte->rellockmode = AccessShareLock;
		rte->inh = true;
		rte->ctename = NULL;
		rte->coltypes = NIL;
		rte->coltypmods = NIL;
		rte->colcollations = NIL;
		return;
	}
}

/*
 * Returns the SQL of the view.  "core_relids" are the OIDs of the tables of
 * the cores, in order; NIL: they are referred to by name.
 */
char *
split_view_text(const Split *split, List *core_relids)
{
	CoreTables	context = {split, core_relids};
	Query	   *view = copyObject(split->view);

	if (core_relids != NIL)
		range_table_visit(view, name_core, &context);
	return pg_get_querydef(view, true);
}

/* Returns the SQL of the definition. */
char *
split_definition_text(const Split *split)
{
	return pg_get_querydef(copyObject(split->query), true);
}
