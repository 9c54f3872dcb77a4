/*-------------------------------------------------------------------------
 *
 * explain.c
 *	  explain_rollup(): what would become of a query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "obstacle.h"
#include "split.h"

sql_function(notify_stats_explain_rollup);

static void
put_row(ReturnSetInfo *rsinfo, const char *part, const char *verdict,
		const char *reason, const char *advice)
{
	const char *texts[4] = {part, verdict, reason, advice};
	Datum		values[4];
	bool		nulls[4];

	for (int i = 0; i < 4; i++)
	{
		nulls[i] = texts[i] == NULL;
		values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(texts[i]);
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
notify_stats_explain_rollup(PG_FUNCTION_ARGS)
{
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Query	   *query;
	Split	   *split;
	ListCell   *lc;

	query = parse_analyze_fixedparams((RawStmt *) linitial(raw_parser(sql, RAW_PARSE_DEFAULT)),
									  sql, NULL, 0, NULL);
	InitMaterializedSRF(fcinfo, 0);
	split = split_query(query, "rollup", NIL);
	foreach(lc, split->obstacles)
	{
		const Obstacle *obstacle = (const Obstacle *) lfirst(lc);

		put_row(rsinfo, obstacle->message, "not supported", obstacle->detail,
				obstacle->hint);
	}
	if (split->obstacles != NIL)
		return (Datum) 0;
	foreach(lc, split->cores)
	{
		const Core *core = (const Core *) lfirst(lc);

		put_row(rsinfo, core->name, "kept", core->text, NULL);
	}
	put_row(rsinfo, split->plain ? "plain" : "view", "computed when reading",
			split_view_text(split, NIL), NULL);
	if (split->changed)
		put_row(rsinfo, "definition", "changed", split_definition_text(split),
				NULL);
	return (Datum) 0;
}
