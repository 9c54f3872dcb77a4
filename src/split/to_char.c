/*-------------------------------------------------------------------------
 *
 * to_char.c
 *	  What a format of to_char shows of a point in time.
 *
 * to_char(x, format) is not immutable, since some formats depend on lc_time.
 * So it is computed when the rollup is read.  The core only needs the part
 * of x that the format shows.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "to_char.h"

/* What a template pattern shows, as bits. */
typedef enum Shown
{
	SHOWS_YEAR = 1 << 0,
	SHOWS_QUARTER = 1 << 1,
	SHOWS_MONTH = 1 << 2,
	SHOWS_WEEK = 1 << 3,		/* of ISO 8601, and its year */
	SHOWS_DAY = 1 << 4,
	SHOWS_HOUR = 1 << 5,
	SHOWS_MINUTE = 1 << 6,
	SHOWS_SECOND = 1 << 7,
	SHOWS_FRACTION = 1 << 8,
	SHOWS_ZONE = 1 << 9,
	SHOWS_NOTHING = 0
} Shown;

/*
 * The template patterns, as the server has them (formatting.c).  Of those
 * that match, the first one is taken.
 */
static const struct
{
	const char *name;
	bool		capitalized;	/* also with one capital: Month */
	int			shown;
}			patterns[] = {
	{"A.D.", false, SHOWS_YEAR},
	{"A.M.", false, SHOWS_HOUR},
	{"AD", false, SHOWS_YEAR},
	{"AM", false, SHOWS_HOUR},
	{"B.C.", false, SHOWS_YEAR},
	{"BC", false, SHOWS_YEAR},
	{"CC", false, SHOWS_YEAR},
	{"DAY", true, SHOWS_DAY},
	{"DDD", false, SHOWS_DAY},
	{"DD", false, SHOWS_DAY},
	{"DY", true, SHOWS_DAY},
	{"D", false, SHOWS_DAY},
	{"FF1", false, SHOWS_FRACTION},
	{"FF2", false, SHOWS_FRACTION},
	{"FF3", false, SHOWS_FRACTION},
	{"FF4", false, SHOWS_FRACTION},
	{"FF5", false, SHOWS_FRACTION},
	{"FF6", false, SHOWS_FRACTION},
	{"FX", false, SHOWS_NOTHING},
	{"HH24", false, SHOWS_HOUR},
	{"HH12", false, SHOWS_HOUR},
	{"HH", false, SHOWS_HOUR},
	{"IDDD", false, SHOWS_DAY},
	{"ID", false, SHOWS_DAY},
	{"IW", false, SHOWS_WEEK},
	{"IYYY", false, SHOWS_WEEK},
	{"IYY", false, SHOWS_WEEK},
	{"IY", false, SHOWS_WEEK},
	{"I", false, SHOWS_WEEK},
	{"J", false, SHOWS_DAY},
	{"MI", false, SHOWS_MINUTE},
	{"MM", false, SHOWS_MONTH},
	{"MONTH", true, SHOWS_MONTH},
	{"MON", true, SHOWS_MONTH},
	{"MS", false, SHOWS_FRACTION},
	{"OF", false, SHOWS_ZONE},
	{"P.M.", false, SHOWS_HOUR},
	{"PM", false, SHOWS_HOUR},
	{"Q", false, SHOWS_QUARTER},
	{"RM", false, SHOWS_MONTH},
	{"SSSSS", false, SHOWS_SECOND},
	{"SSSS", false, SHOWS_SECOND},
	{"SS", false, SHOWS_SECOND},
	{"TZH", false, SHOWS_ZONE},
	{"TZM", false, SHOWS_ZONE},
	{"TZ", false, SHOWS_ZONE},
	{"US", false, SHOWS_FRACTION},
	{"WW", false, SHOWS_DAY},
	{"W", false, SHOWS_DAY},
	{"Y,YYY", false, SHOWS_YEAR},
	{"YYYY", false, SHOWS_YEAR},
	{"YYY", false, SHOWS_YEAR},
	{"YY", false, SHOWS_YEAR},
	{"Y", false, SHOWS_YEAR},
};

static const char *const prefixes[] = {"FM", "fm", "TM", "tm"};
static const char *const postfixes[] = {"TH", "th", "SP"};

/* Returns the length of the modifier that the text begins with, or 0. */
static int
modifier_length(const char *text, const char *const *modifiers, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strncmp(text, modifiers[i], strlen(modifiers[i])) == 0)
			return strlen(modifiers[i]);
	}
	return 0;
}

/* Returns whether the text begins with the pattern. */
static bool
begins_with(const char *text, const char *name, bool capitalized)
{
	bool		upper = true;
	bool		lower = true;
	bool		capital = capitalized;

	for (int i = 0; name[i] != '\0'; i++)
	{
		char		low = pg_ascii_tolower((unsigned char) name[i]);

		if (text[i] != name[i])
			upper = false;
		if (text[i] != low)
			lower = false;
		if (text[i] != (i == 0 ? name[i] : low))
			capital = false;
		if (!upper && !lower && !capital)
			return false;
	}
	return true;
}

/* Returns the index of the pattern that the text begins with, or -1. */
static int
find_pattern(const char *text)
{
	for (int i = 0; i < (int) lengthof(patterns); i++)
	{
		if (begins_with(text, patterns[i].name, patterns[i].capitalized))
			return i;
	}
	return -1;
}

/* Returns what the format shows, in the same steps as the server. */
static int
shown_by(const char *format)
{
	const char *p = format;
	int			shown = SHOWS_NOTHING;

	while (*p != '\0')
	{
		int			i;

		p += modifier_length(p, prefixes, lengthof(prefixes));
		i = find_pattern(p);
		if (i >= 0)
		{
			shown |= patterns[i].shown;
			p += strlen(patterns[i].name);
			p += modifier_length(p, postfixes, lengthof(postfixes));
		}
		else if (*p == '"')
		{
			p++;
			while (*p != '\0' && *p != '"')
			{
				if (*p == '\\' && p[1] != '\0')
					p++;
				p++;
			}
			if (*p == '"')
				p++;
		}
		else
		{
			if (*p == '\\' && p[1] == '"')
				p++;
			if (*p != '\0')
				p++;
		}
	}
	return shown;
}

/*
 * Returns the longest unit of date_trunc() that keeps all that is shown, or
 * NULL.  The first day of a month or year may be of the week before, so weeks
 * together with these need days.
 */
static const char *
unit_of(int shown)
{
	if (shown & SHOWS_FRACTION)
		return NULL;
	if (shown & SHOWS_SECOND)
		return "second";
	if (shown & SHOWS_MINUTE)
		return "minute";
	if (shown & SHOWS_HOUR)
		return "hour";
	if (shown & SHOWS_DAY)
		return "day";
	if (shown & SHOWS_WEEK)
		return shown & (SHOWS_MONTH | SHOWS_QUARTER | SHOWS_YEAR) ?
			"day" : "week";
	if (shown & SHOWS_MONTH)
		return "month";
	if (shown & SHOWS_QUARTER)
		return "quarter";
	return "year";
}

/*
 * Returns what a format of to_char(timestamp, format) shows.
 */
TimeFormat
to_char_format(const char *format)
{
	int			shown = shown_by(format);
	TimeFormat	result;

	result.unit = unit_of(shown);
	result.has_time = (shown & (SHOWS_HOUR | SHOWS_MINUTE | SHOWS_SECOND |
								SHOWS_FRACTION)) != 0;
	result.has_zone = (shown & SHOWS_ZONE) != 0;
	return result;
}

/*
 * Returns whether date_trunc() to the unit, which is a day or shorter, keeps
 * the value as it is: a date, or the result of the same date_trunc().
 */
static bool
is_truncated(Node *node, const char *unit, bool has_time)
{
	FuncExpr   *call = (FuncExpr *) node;
	Const	   *arg;

	if (!IsA(node, FuncExpr))
		return false;
	if (call->funcid == F_TIMESTAMP_DATE)
		return has_time || strcmp(unit, "day") == 0;
	if (call->funcid != F_DATE_TRUNC_TEXT_TIMESTAMP)
		return false;
	arg = linitial(call->args);
	return IsA(arg, Const) && !arg->constisnull &&
		pg_strcasecmp(TextDatumGetCString(arg->constvalue), unit) == 0;
}

/*
 * Returns an immutable expression b of the argument x of to_char(x, format),
 * a timestamp without time zone, which has fewer values than x, such that
 * to_char(b, format) is to_char(x, format).  Returns NULL if none is known.
 *
 * There is one difference: the first year that a timestamp can have, 4714 BC,
 * has no beginning, so date_trunc() to a month or longer fails there.
 */
Node	   *
to_char_bucket(FuncExpr *call)
{
	Node	   *arg;
	Const	   *pattern;
	TimeFormat	format;
	Node	   *unit;

	if (call->funcid != F_TO_CHAR_TIMESTAMP_TEXT)
		return NULL;
	arg = linitial(call->args);
	pattern = lsecond(call->args);
	if (!IsA(pattern, Const) || pattern->constisnull ||
		contain_mutable_functions(arg))
		return NULL;

	format = to_char_format(TextDatumGetCString(pattern->constvalue));
	if (format.unit == NULL)
		return NULL;
	if (is_truncated(arg, format.unit, format.has_time))
		return copyObject(arg);
	unit = (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
							  CStringGetTextDatum(format.unit), false, false);
	return (Node *) makeFuncExpr(F_DATE_TRUNC_TEXT_TIMESTAMP, TIMESTAMPOID,
								 list_make2(unit, copyObject(arg)),
								 InvalidOid, DEFAULT_COLLATION_OID,
								 COERCE_EXPLICIT_CALL);
}
