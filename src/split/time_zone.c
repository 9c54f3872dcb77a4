/*-------------------------------------------------------------------------
 *
 * time_zone.c
 *	  Writes the time zone of the session into expressions.
 *
 * A function such as date(timestamptz) is not immutable, because it depends
 * on the setting TimeZone.  With the time zone written in, it is:
 * date(x AT TIME ZONE 'Europe/London').  The result is the same in a session
 * with that setting.
 *
 * A "local time" is a timestamp without time zone.  x AT TIME ZONE z turns a
 * point in time into a local time, and a local time into a point in time.  A
 * local time in the gap of a DST change does not exist, and becomes a later
 * one in both directions; one that exists twice stands for the point in time
 * in standard time.  The functions that we replace look up offsets in the
 * same way, so that the results are the same for these, too.
 *
 * Expressions of the current time, such as date_trunc('day', now()), are not
 * changed: they are computed when the rollup is read, in the reader's time
 * zone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/scansup.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "time_zone.h"
#include "to_char.h"

/* How a function is replaced. */
typedef enum PinRule
{
	RULE_CALL,					/* another function, of the local time */
	RULE_LOCAL,					/* the local time itself */
	RULE_POINT,					/* the point in time of a local time */
	RULE_POINT_OF_DATE,			/* that of the start of a date */
	RULE_POINT_OF_CALL,			/* that of the result of another function */
	RULE_EXTRACT,
	RULE_TRUNCATE,
	RULE_FORMAT,
	RULE_ADD,					/* an interval to a point in time */
	RULE_ADD_TO,				/* the same, the interval comes first */
	RULE_SUBTRACT,
	RULE_COMPARE				/* a point in time and a date or local time */
} PinRule;

/* What to write instead of a function. */
typedef struct Rule
{
	Oid			function;
	PinRule		rule;
	Oid			local;			/* the other function */
} Rule;

static const Rule rules[] = {
	{F_DATE_TIMESTAMPTZ, RULE_CALL, F_DATE_TIMESTAMP},
	{F_TIME_TIMESTAMPTZ, RULE_CALL, F_TIME_TIMESTAMP},
	{F_TIMESTAMP_TIMESTAMPTZ, RULE_LOCAL, InvalidOid},
	{F_TIMEZONE_TIMESTAMPTZ, RULE_LOCAL, InvalidOid},
	{F_TIMESTAMPTZ_TIMESTAMP, RULE_POINT, InvalidOid},
	{F_TIMEZONE_TIMESTAMP, RULE_POINT, InvalidOid},
	{F_TIMESTAMPTZ_DATE, RULE_POINT_OF_DATE, InvalidOid},
	{F_TIMESTAMPTZ_DATE_TIME, RULE_POINT_OF_CALL, F_TIMESTAMP_DATE_TIME},
	{F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8, RULE_POINT_OF_CALL,
	F_MAKE_TIMESTAMP},
	{F_EXTRACT_TEXT_TIMESTAMPTZ, RULE_EXTRACT, F_EXTRACT_TEXT_TIMESTAMP},
	{F_DATE_PART_TEXT_TIMESTAMPTZ, RULE_EXTRACT, F_DATE_PART_TEXT_TIMESTAMP},
	{F_DATE_TRUNC_TEXT_TIMESTAMPTZ, RULE_TRUNCATE, InvalidOid},
	{F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT, RULE_TRUNCATE, InvalidOid},
	{F_TO_CHAR_TIMESTAMPTZ_TEXT, RULE_FORMAT, F_TO_CHAR_TIMESTAMP_TEXT},
	{F_TIMESTAMPTZ_PL_INTERVAL, RULE_ADD, InvalidOid},
	{F_DATE_ADD_TIMESTAMPTZ_INTERVAL, RULE_ADD, InvalidOid},
	{F_INTERVAL_PL_TIMESTAMPTZ, RULE_ADD_TO, InvalidOid},
	{F_TIMESTAMPTZ_MI_INTERVAL, RULE_SUBTRACT, InvalidOid},
	{F_DATE_SUBTRACT_TIMESTAMPTZ_INTERVAL, RULE_SUBTRACT, InvalidOid},
	{F_DATE_LT_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_DATE_LE_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_DATE_EQ_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_DATE_GT_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_DATE_GE_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_DATE_NE_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_LT_DATE, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_LE_DATE, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_EQ_DATE, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_GT_DATE, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_GE_DATE, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_NE_DATE, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMP_LT_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMP_LE_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMP_EQ_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMP_GT_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMP_GE_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMP_NE_TIMESTAMPTZ, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_LT_TIMESTAMP, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_LE_TIMESTAMP, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_EQ_TIMESTAMP, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_GT_TIMESTAMP, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_GE_TIMESTAMP, RULE_COMPARE, InvalidOid},
	{F_TIMESTAMPTZ_NE_TIMESTAMP, RULE_COMPARE, InvalidOid},
};

/* The part of a local time that matters. */
typedef enum LocalPart
{
	PART_DAY,
	PART_ALL
} LocalPart;

/* Context of pin_mutator. */
typedef struct Pin
{
	const char *zone;
	bool		fixed;			/* the offset of the zone never changes */
	List	   *groups;			/* GROUP BY of the query, as it was */
	bool		pinned;
} Pin;

/* An argument that is a point in time. */
typedef struct TimePoint
{
	Node	   *node;			/* pinned */
	bool		is_group;		/* is an expression of GROUP BY */
} TimePoint;

static Node *pin_mutator(Node *node, Pin *pin);
static Node *pin_query(Query *query, Pin *pin, int flags);
static Node *pin_call(Node *node, List *old_args, Pin *pin);
static bool can_pin(Node *node, PinRule rule, List *args);
static Node *pin_extract(FuncExpr *call, Oid local, TimePoint point, Pin *pin);
static Node *pin_truncate(FuncExpr *call, TimePoint point, Pin *pin);
static Node *pin_format(FuncExpr *call, TimePoint point, Pin *pin);
static Node *pin_add(TimePoint point, Node *interval, bool subtract, Pin *pin);
static Node *pin_comparison(OpExpr *expr, Pin *pin);

/* ----------------------------------------------------------------
 *		time zones
 * ----------------------------------------------------------------
 */

/* Returns whether the offset of the time zone never changes. */
static bool
is_fixed(const char *zone, long *offset)
{
	pg_tz	   *tz = pg_tzset(zone);

	return tz != NULL && pg_get_timezone_offset(tz, offset);
}

/*
 * Returns whether AT TIME ZONE with this name means the same as the setting
 * TimeZone.  It does not for a few names such as CET and EST: AT TIME ZONE
 * takes them for abbreviations of a fixed offset, while the setting takes them
 * for names of zones, which have DST or had another offset once.  UTC and GMT
 * are both, and the same.
 */
static bool
is_same_in_expressions(const char *zone)
{
	char	   *name = downcase_truncate_identifier(zone, strlen(zone), false);
	int			type = UNKNOWN_FIELD;
	int			offset = 0;
	long		zone_offset;
	pg_tz	   *tz = NULL;

	if (pg_tzset(zone) == NULL)
		return false;
	decode_time_zone_abbrev(name, &type, &offset, &tz);
	if (type == UNKNOWN_FIELD)
		return true;
	return (type == TZ || type == DTZ) && offset == 0 &&
		is_fixed(zone, &zone_offset) && zone_offset == 0;
}

/*
 * Returns the name of the session's time zone, or NULL if it cannot be written
 * into an expression: "localtime" depends on the machine.
 */
const char *
time_zone_name(void)
{
	const char *zone = pg_get_timezone_name(session_timezone);

	if (zone == NULL || pg_strcasecmp(zone, "localtime") == 0 ||
		!is_same_in_expressions(zone))
		return NULL;
	return zone;
}

/* ----------------------------------------------------------------
 *		making expressions
 * ----------------------------------------------------------------
 */

static Node *
make_text(const char *text)
{
	return (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
							  CStringGetTextDatum(text), false, false);
}

/* Returns the constant text, or NULL if it is null or no constant. */
static char *
get_text(Node *node)
{
	Const	   *value = (Const *) node;

	return IsA(node, Const) && value->consttype == TEXTOID &&
		!value->constisnull ? TextDatumGetCString(value->constvalue) : NULL;
}

static Node *
make_at_time_zone(Oid function, Oid type, const char *zone, Node *arg)
{
	return (Node *) makeFuncExpr(function, type,
								 list_make2(make_text(zone), arg),
								 InvalidOid, DEFAULT_COLLATION_OID,
								 COERCE_SQL_SYNTAX);
}

static Node *
make_local(Node *point, const char *zone)
{
	return make_at_time_zone(F_TIMEZONE_TEXT_TIMESTAMPTZ, TIMESTAMPOID, zone,
							 point);
}

static Node *
make_point(Node *local, const char *zone)
{
	return make_at_time_zone(F_TIMEZONE_TEXT_TIMESTAMP, TIMESTAMPTZOID, zone,
							 local);
}

static Node *
make_cast(Oid function, Oid type, Node *arg)
{
	return (Node *) makeFuncExpr(function, type, list_make1(arg), InvalidOid,
								 InvalidOid, COERCE_EXPLICIT_CAST);
}

/* Returns the server's operator of that name for these types. */
static Oid
find_operator(const char *name, Oid left, Oid right)
{
	return OpernameGetOprid(list_make2(makeString("pg_catalog"),
									   makeString(pstrdup(name))),
							left, right);
}

static Node *
make_operation(const char *name, Oid type, Node *left, Node *right)
{
	Oid			opno = find_operator(name, exprType(left), exprType(right));
	OpExpr	   *expr;

	Assert(OidIsValid(opno));
	expr = (OpExpr *) make_opclause(opno, type, false, (Expr *) left,
									(Expr *) right, InvalidOid, InvalidOid);
	set_opfuncid(expr);
	return (Node *) expr;
}

static Node *
make_date_trunc(const char *unit, Node *local)
{
	return (Node *) makeFuncExpr(F_DATE_TRUNC_TEXT_TIMESTAMP, TIMESTAMPOID,
								 list_make2(make_text(unit), local),
								 InvalidOid, DEFAULT_COLLATION_OID,
								 COERCE_EXPLICIT_CALL);
}

/* Returns DTK_DAY or the like for a constant unit, or -1. */
static int
get_unit(Node *node)
{
	char	   *text = get_text(node);
	int			unit;

	if (text == NULL)
		return -1;
	text = downcase_truncate_identifier(text, strlen(text), false);

	return DecodeUnits(0, text, &unit) == UNITS ? unit : -1;
}

/* Returns DTK_DAY or the like for a constant field of extract, or -1. */
static int
get_field(Node *node)
{
	char	   *text = get_text(node);
	int			field = get_unit(node);
	int			type;

	if (text == NULL || field >= 0)
		return field;
	text = downcase_truncate_identifier(text, strlen(text), false);

	type = DecodeSpecial(0, text, &field);
	return type == UNITS || (type == RESERV && field == DTK_EPOCH) ? field :
		-1;
}

static bool
is_days(int unit)
{
	switch (unit)
	{
		case DTK_DAY:
		case DTK_WEEK:
		case DTK_MONTH:
		case DTK_QUARTER:
		case DTK_YEAR:
		case DTK_DECADE:
		case DTK_CENTURY:
		case DTK_MILLENNIUM:
			return true;
		default:
			return false;
	}
}

/* Returns a constant interval, or NULL. */
static Interval *
get_interval(Node *node)
{
	Const	   *value = (Const *) node;

	return IsA(node, Const) && value->consttype == INTERVALOID &&
		!value->constisnull ? DatumGetIntervalP(value->constvalue) : NULL;
}

static Node *
make_interval_const(int32 month, int32 day, TimeOffset time)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->month = month;
	interval->day = day;
	interval->time = time;
	return (Node *) makeConst(INTERVALOID, -1, InvalidOid, sizeof(Interval),
							  IntervalPGetDatum(interval), false, false);
}

/* ----------------------------------------------------------------
 *		local times
 * ----------------------------------------------------------------
 */

/*
 * Returns the local time from which a local time was computed by adding
 * months or days, by date_trunc, or by converting it to a point in time and
 * back; otherwise NULL.  Stores whether it was truncated to whole days.
 */
static Node *
get_origin(Node *local, const char *zone, bool *truncated)
{
	List	   *args;

	*truncated = false;
	if (IsA(local, FuncExpr))
	{
		FuncExpr   *call = (FuncExpr *) local;
		FuncExpr   *inner = llast(call->args);
		char	   *name;

		if (call->funcid == F_DATE_TRUNC_TEXT_TIMESTAMP)
		{
			*truncated = is_days(get_unit(linitial(call->args)));
			return *truncated ? lsecond(call->args) : NULL;
		}
		if (call->funcid != F_TIMEZONE_TEXT_TIMESTAMPTZ ||
			!IsA(inner, FuncExpr) ||
			inner->funcid != F_TIMEZONE_TEXT_TIMESTAMP ||
			!equal(linitial(call->args), linitial(inner->args)))
			return NULL;
		name = get_text(linitial(call->args));
		return name && strcmp(name, zone) == 0 ? lsecond(inner->args) : NULL;
	}
	if (IsA(local, OpExpr) &&
		(((OpExpr *) local)->opfuncid == F_TIMESTAMP_PL_INTERVAL ||
		 ((OpExpr *) local)->opfuncid == F_TIMESTAMP_MI_INTERVAL))
	{
		Interval   *interval;

		args = ((OpExpr *) local)->args;
		interval = get_interval(lsecond(args));
		return interval && interval->time == 0 ? linitial(args) : NULL;
	}
	return NULL;
}

static bool
is_date(Node *local)
{
	return IsA(local, FuncExpr) &&
		((FuncExpr *) local)->funcid == F_TIMESTAMP_DATE;
}

/* Returns whether a local time was computed from a date alone. */
static bool
is_of_date(Node *local, const char *zone)
{
	bool		truncated;

	while (local != NULL && !is_date(local))
		local = get_origin(local, zone, &truncated);
	return local != NULL;
}

/*
 * Returns whether a local time is the beginning of a day, or what has become
 * of it if that day began in the gap of a DST change.
 */
static bool
is_start_of_day(Node *local, const char *zone)
{
	bool		truncated = false;

	while (local != NULL && !is_date(local) && !truncated)
		local = get_origin(local, zone, &truncated);
	return local != NULL;
}

/*
 * Returns the local time of a point in time.  If that was made from a local
 * time, returns this where
 *
 * - the offset of the zone never changes;
 * - only the day matters, and it is the beginning of a day.  If that is in a
 * gap, it becomes a later time of that day;
 * - it comes from a date.  The start of a day that begins in a gap then
 * remains 00:00 instead of becoming 01:00, and a day that a zone has left out
 * (Samoa, 2011-12-30) remains that day.  A user who writes date_trunc('month',
 * day)::timestamp does not mean these changes.
 *
 * A point in time by which the query groups is left as it is, as it must occur
 * as such in the output columns.
 */
static Node *
local_time(TimePoint point, LocalPart part, Pin *pin)
{
	FuncExpr   *call = (FuncExpr *) point.node;

	if (!point.is_group && IsA(call, FuncExpr) &&
		call->funcid == F_TIMEZONE_TEXT_TIMESTAMP)
	{
		char	   *zone = get_text(linitial(call->args));
		Node	   *local = lsecond(call->args);

		if (zone && strcmp(zone, pin->zone) == 0 &&
			(pin->fixed || is_of_date(local, zone) ||
			 (part == PART_DAY && is_start_of_day(local, zone))))
			return local;
	}
	return make_local(point.node, pin->zone);
}

/* ----------------------------------------------------------------
 *		expressions and queries
 * ----------------------------------------------------------------
 */

/*
 * Returns a copy of an expression with the time zone written in, which is
 * that of time_zone_name().  NULL: nothing is changed.  Sets *pinned if
 * anything was changed.
 */
Node	   *
time_zone_pin(Node *node, const char *zone, bool *pinned)
{
	Pin			pin = {0};
	long		offset;

	if (zone == NULL)
		return copyObject(node);
	pin.zone = zone;
	pin.fixed = is_fixed(zone, &offset);
	node = pin_mutator(node, &pin);
	*pinned |= pin.pinned;
	return node;
}

/*
 * The same for all expressions of an analyzed query, which is changed.
 * Expressions that are equal remain equal.
 */
void
time_zone_pin_query(Query *query, const char *zone, bool *pinned)
{
	Pin			pin = {0};
	long		offset;

	if (zone == NULL)
		return;
	pin.zone = zone;
	pin.fixed = is_fixed(zone, &offset);
	(void) pin_query(query, &pin, QTW_DONT_COPY_QUERY);
	*pinned |= pin.pinned;
}

static Node *
pin_query(Query *query, Pin *pin, int flags)
{
	List	   *groups = pin->groups;
	ListCell   *lc;

	pin->groups = NIL;
	foreach(lc, query->groupClause)
	{
		Node	   *group = get_sortgroupclause_expr(lfirst(lc),
													 query->targetList);

		pin->groups = lappend(pin->groups, copyObject(group));
	}
	query = query_tree_mutator(query, pin_mutator, pin, flags);
	pin->groups = groups;
	return (Node *) query;
}

static Node *
pin_mutator(Node *node, Pin *pin)
{
	if (node == NULL)
		return NULL;

	switch (nodeTag(node))
	{
		case T_Query:
			return pin_query((Query *) node, pin, 0);

		case T_RangeTblFunction:
			{
				/* FROM must still call the same function */
				RangeTblFunction *function =
				copyObject((RangeTblFunction *) node);

				function->funcexpr =
					expression_tree_mutator(function->funcexpr, pin_mutator,
											pin);
				return (Node *) function;
			}

		case T_ArrayCoerceExpr:
			{
				/* SQL cannot show another conversion of the elements */
				ArrayCoerceExpr *coerce =
				copyObject((ArrayCoerceExpr *) node);

				coerce->arg = (Expr *) pin_mutator((Node *) coerce->arg, pin);
				return (Node *) coerce;
			}

		case T_FuncExpr:
		case T_OpExpr:
		case T_DistinctExpr:
			{
				List	   *old_args = IsA(node, FuncExpr) ?
				((FuncExpr *) node)->args : ((OpExpr *) node)->args;
				Node	   *pinned;

				node = expression_tree_mutator(node, pin_mutator, pin);
				pinned = pin_call(node, old_args, pin);
				if (pinned == NULL)
					return node;
				pin->pinned = true;
				return pinned;
			}

		default:
			return expression_tree_mutator(node, pin_mutator, pin);
	}
}

/* Returns the rule for a function, or NULL.  Some servers lack functions. */
static const Rule *
find_rule(Oid function)
{
	for (int i = 0; i < (int) lengthof(rules); i++)
	{
		if (rules[i].function == function && OidIsValid(function))
			return &rules[i];
	}
	return NULL;
}

/* Returns what to write instead of a call, to which a rule applies, or NULL. */
static Node *
apply_rule(const Rule *rule, Node *node, List *args, TimePoint point, Pin *pin)
{
	FuncExpr   *call = (FuncExpr *) node;
	Oid			local = rule->local;

	switch (rule->rule)
	{
		case RULE_CALL:
			call->funcid = local;
			call->args = list_make1(local_time(point,
											   local == F_DATE_TIMESTAMP ?
											   PART_DAY : PART_ALL, pin));
			return node;
		case RULE_LOCAL:
			return local_time(point, PART_ALL, pin);
		case RULE_POINT:
			return make_point(point.node, pin->zone);
		case RULE_POINT_OF_DATE:
			return make_point(make_cast(F_TIMESTAMP_DATE, TIMESTAMPOID,
										point.node), pin->zone);
		case RULE_POINT_OF_CALL:
			call->funcid = local;
			call->funcresulttype = TIMESTAMPOID;
			return make_point(node, pin->zone);
		case RULE_EXTRACT:
			return pin_extract(call, local, point, pin);
		case RULE_TRUNCATE:
			return pin_truncate(call, point, pin);
		case RULE_FORMAT:
			return pin_format(call, point, pin);
		case RULE_ADD:
			return pin_add(point, lsecond(args), false, pin);
		case RULE_ADD_TO:
			return pin_add(point, linitial(args), false, pin);
		case RULE_SUBTRACT:
			return pin_add(point, lsecond(args), true, pin);
		case RULE_COMPARE:
			return IsA(node, FuncExpr) ? NULL : pin_comparison((OpExpr *) node, pin);
	}
	return NULL;
}

/*
 * Returns what to write instead of a function or operator whose arguments
 * have been pinned, or NULL.
 */
static Node *
pin_call(Node *node, List *old_args, Pin *pin)
{
	const Rule *rule;
	List	   *args;
	int			which;			/* argument that is the point in time */
	TimePoint	point;

	if (IsA(node, FuncExpr))
	{
		rule = find_rule(((FuncExpr *) node)->funcid);
		args = ((FuncExpr *) node)->args;
	}
	else
	{
		set_opfuncid((OpExpr *) node);
		rule = find_rule(((OpExpr *) node)->opfuncid);
		args = ((OpExpr *) node)->args;
	}
	if (rule == NULL || !can_pin(node, rule->rule, args))
		return NULL;

	which = rule->rule == RULE_EXTRACT || rule->rule == RULE_TRUNCATE ||
		rule->rule == RULE_ADD_TO;
	point.node = list_nth(args, which);
	point.is_group = list_member(pin->groups, list_nth(old_args, which));
	return apply_rule(rule, node, args, point, pin);
}

/* Returns whether the expression, or a subquery in it, has a column. */
static bool
has_column_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, has_column_walker, context,
								 0);
	return expression_tree_walker(node, has_column_walker, context);
}

static bool
has_column(Node *node)
{
	return has_column_walker(node, NULL);
}

/*
 * Returns whether the expression has a placeholder: x in CASE x WHEN d, or a
 * column of the subquery in x IN (SELECT ...).  SQL cannot show how that is
 * converted.
 */
static bool
has_placeholder_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CaseTestExpr) || IsA(node, CoerceToDomainValue) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK))
		return true;
	return expression_tree_walker(node, has_placeholder_walker, context);
}

/*
 * Returns whether the time zone may be written into a call: not if it is
 * computed from the current time alone, or compares a column with that.  A
 * volatile argument must not be evaluated twice.
 */
static bool
can_pin(Node *node, PinRule rule, List *args)
{
	ListCell   *lc;

	if (rule != RULE_COMPARE)
	{
		if (has_placeholder_walker((Node *) args, NULL) ||
			contain_volatile_functions((Node *) args))
			return false;
		return has_column((Node *) args) ||
			!contain_mutable_functions((Node *) args);
	}
	foreach(lc, args)
	{
		if (!has_column(lfirst(lc)) && contain_mutable_functions(lfirst(lc)))
			return false;
	}
	return true;
}

/* ----------------------------------------------------------------
 *		the rules
 * ----------------------------------------------------------------
 */

/*
 * extract and date_part.  The epoch is that of the point in time.  A local
 * time does not have the fields of the time zone.
 */
static Node *
pin_extract(FuncExpr *call, Oid local, TimePoint point, Pin *pin)
{
	Node	   *arg;

	switch (get_field(linitial(call->args)))
	{
		case -1:
		case DTK_TZ:
		case DTK_TZ_HOUR:
		case DTK_TZ_MINUTE:
			return NULL;
		case DTK_EPOCH:
			arg = make_local(point.node, "UTC");
			break;
		case DTK_DAY:
		case DTK_DOW:
		case DTK_ISODOW:
		case DTK_DOY:
		case DTK_WEEK:
		case DTK_MONTH:
		case DTK_QUARTER:
		case DTK_YEAR:
		case DTK_ISOYEAR:
		case DTK_DECADE:
		case DTK_CENTURY:
		case DTK_MILLENNIUM:
			arg = local_time(point, PART_DAY, pin);
			break;
		default:
			arg = local_time(point, PART_ALL, pin);
			break;
	}

	call->funcid = local;
	call->args = list_make2(linitial(call->args), arg);
	return (Node *) call;
}

/*
 * date_trunc.  Where the unit is a day or longer, the function looks up the
 * offset of the truncated local time, as we do.  For an hour or a minute, it
 * keeps the offset that the point in time has, which may differ near a DST
 * change: so subtract what lies between it and the beginning of the hour.
 * That is null if the point in time is infinite.  All offsets are whole
 * seconds.
 */
static Node *
pin_truncate(FuncExpr *call, TimePoint point, Pin *pin)
{
	int			unit = get_unit(linitial(call->args));
	char	   *name = get_text(linitial(call->args));
	Pin other = *pin;
	Node	   *local;
	Node	   *rest;
	CoalesceExpr *coalesce;

	if (list_length(call->args) == 3)
	{
		long		offset;

		other.		zone = get_text(lthird(call->args));

		if (other.zone == NULL || !is_same_in_expressions(other.zone))
			return NULL;
		other.		fixed = is_fixed(other.zone, &offset);

		pin = &other;
	}

	if (is_days(unit))
		return make_point(make_date_trunc(name,
										  local_time(point, PART_DAY, pin)),
						  pin->zone);

	if (unit != DTK_HOUR && unit != DTK_MINUTE && unit != DTK_SECOND &&
		unit != DTK_MILLISEC && unit != DTK_MICROSEC)
		return NULL;
	if (pin->fixed)
		return make_point(make_date_trunc(name,
										  local_time(point, PART_ALL, pin)),
						  pin->zone);
	if (unit != DTK_HOUR && unit != DTK_MINUTE)
		return make_point(make_date_trunc(name,
										  make_local(point.node, "UTC")),
						  "UTC");

	local = make_local(point.node, pin->zone);
	rest = make_operation("-", INTERVALOID,
						  make_cast(F_TIME_TIMESTAMP, TIMEOID, local),
						  make_cast(F_TIME_TIMESTAMP, TIMEOID,
									make_date_trunc(name, copyObject(local))));
	coalesce = makeNode(CoalesceExpr);
	coalesce->coalescetype = TIMESTAMPTZOID;
	coalesce->args =
		list_make2(make_point(make_operation("-", TIMESTAMPOID,
											 make_local(copyObject(point.node),
														"UTC"),
											 rest), "UTC"),
				   copyObject(point.node));
	coalesce->location = -1;
	return (Node *) coalesce;
}

/*
 * to_char.  A local time does not have a time zone that could be shown.
 */
static Node *
pin_format(FuncExpr *call, TimePoint point, Pin *pin)
{
	char	   *text = get_text(lsecond(call->args));
	TimeFormat	format;

	if (text == NULL)
		return NULL;
	format = to_char_format(text);
	if (format.has_zone)
		return NULL;

	call->funcid = F_TO_CHAR_TIMESTAMP_TEXT;
	call->args = list_make2(local_time(point, format.has_time ?
									   PART_ALL : PART_DAY, pin),
							lsecond(call->args));
	return (Node *) call;
}

/*
 * Returns whether an interval is known to have neither months nor days.
 */
static bool
has_only_time(Node *node)
{
	Interval   *interval = get_interval(node);
	List	   *args;

	if (interval != NULL)
		return interval->month == 0 && interval->day == 0;
	if (!IsA(node, OpExpr))
		return false;

	args = ((OpExpr *) node)->args;
	switch (((OpExpr *) node)->opfuncid)
	{
		case F_INTERVAL_MUL:
		case F_INTERVAL_DIV:
			return has_only_time(linitial(args));
		case F_MUL_D_INTERVAL:
			return has_only_time(lsecond(args));
		default:
			return false;
	}
}

/*
 * Returns a point in time to which an interval was added, or from which it was
 * subtracted.  The server adds first the months, then the days, both to the
 * local time, which it converts each time, and then the rest to the point in
 * time.
 */
static Node *
pin_add(TimePoint point, Node *interval, bool subtract, Pin *pin)
{
	const char *name = subtract ? "-" : "+";
	Interval   *value = get_interval(interval);

	if (pin->fixed)
		return make_point(make_operation(name, TIMESTAMPOID,
										 local_time(point, PART_ALL, pin),
										 interval), pin->zone);
	if (has_only_time(interval))
		return make_point(make_operation(name, TIMESTAMPOID,
										 make_local(point.node, "UTC"),
										 interval), "UTC");
	if (value == NULL)
	{
		Oid			function;

		if (!OidIsValid(F_DATE_ADD_TIMESTAMPTZ_INTERVAL_TEXT))
			return NULL;
		function = subtract ? F_DATE_SUBTRACT_TIMESTAMPTZ_INTERVAL_TEXT :
			F_DATE_ADD_TIMESTAMPTZ_INTERVAL_TEXT;
		return (Node *) makeFuncExpr(function, TIMESTAMPTZOID,
									 list_make3(point.node, interval,
												make_text(pin->zone)),
									 InvalidOid, DEFAULT_COLLATION_OID,
									 COERCE_EXPLICIT_CALL);
	}
	if (interval_is_infinite(value))
		return NULL;

	if (value->month != 0 || value->day != 0)
	{
		Node	   *local = local_time(point, PART_ALL, pin);

		if (value->month == 0 || value->day == 0 ||
			is_of_date(local, pin->zone))
			local = make_operation(name, TIMESTAMPOID, local,
								   value->time == 0 ? interval :
								   make_interval_const(value->month,
													   value->day, 0));
		else
		{
			local = make_operation(name, TIMESTAMPOID, local,
								   make_interval_const(value->month, 0, 0));
			local = make_local(make_point(local, pin->zone), pin->zone);
			local = make_operation(name, TIMESTAMPOID, local,
								   make_interval_const(0, value->day, 0));
		}
		point.node = make_point(local, pin->zone);
	}
	if (value->time != 0)
		point.node =
			make_point(make_operation(name, TIMESTAMPOID,
									  make_local(point.node, "UTC"),
									  make_interval_const(0, 0, value->time)),
					   "UTC");
	return point.node;
}

/*
 * The comparison of a point in time with a date or a local time.  A date
 * beyond the range of timestamps becomes an error.
 */
static Node *
pin_comparison(OpExpr *expr, Pin *pin)
{
	ListCell   *lc;

	/* one of the two is a point in time */
	foreach(lc, expr->args)
	{
		Node	   *arg = lfirst(lc);
		Oid			type = exprType(arg);

		if (type == TIMESTAMPTZOID)
			continue;
		if (has_placeholder_walker(arg, NULL))
			return NULL;
		if (type == DATEOID)
			arg = make_cast(F_TIMESTAMP_DATE, TIMESTAMPOID, arg);
		lfirst(lc) = make_point(arg, pin->zone);
	}
	expr->opno = find_operator(get_opname(expr->opno), TIMESTAMPTZOID,
							   TIMESTAMPTZOID);
	expr->opfuncid = get_opcode(expr->opno);
	return (Node *) expr;
}
