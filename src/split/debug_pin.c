/* only for tests of time_zone.c and to_char.c: not to be merged */
#include "postgres.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/ruleutils.h"
#include "compat.h"
#include "time_zone.h"
#include "to_char.h"

sql_function(debug_pin);
sql_function(debug_zone);
sql_function(debug_bucket);

/* debug_pin(query, zone, OUT pinned text, OUT mutable bool) as one text */
Datum
debug_pin(PG_FUNCTION_ARGS)
{
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *zone = text_to_cstring(PG_GETARG_TEXT_PP(1));
	RawStmt    *raw = linitial_node(RawStmt, pg_parse_query(sql));
	Query	   *query = parse_analyze_fixedparams(raw, sql, NULL, 0, NULL);
	Query	   *before = copyObject(query);
	bool		pinned = false;

	time_zone_pin_query(query, zone, &pinned);
	if (!pinned && !equal(before, query))
		elog(ERROR, "changed but not pinned");
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s%s%s", pg_get_querydef(query, false),
											  pinned ? "" : " -- unchanged",
											  contain_mutable_functions((Node *) query->targetList) ? " -- mutable" : "")));
}

Datum
debug_zone(PG_FUNCTION_ARGS)
{
	const char *zone = time_zone_name();

	if (zone == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(zone));
}

Datum
debug_bucket(PG_FUNCTION_ARGS)
{
	TimeFormat	format = to_char_format(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (format.unit == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s%s", format.unit, format.has_zone ? " zone" : "")));
}
