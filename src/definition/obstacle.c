/*-------------------------------------------------------------------------
 *
 * obstacle.c
 *	  Reasons why a query cannot be maintained, as in an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "obstacle.h"

/*
 * Returns an obstacle in the current memory context.  The strings are not
 * copied.  "detail" and "hint" may be NULL.
 */
Obstacle   *
obstacle_make(int sqlerrcode, const char *message, const char *detail,
			  const char *hint)
{
	Obstacle   *obstacle = palloc(sizeof(Obstacle));

	obstacle->sqlerrcode = sqlerrcode;
	obstacle->message = message;
	obstacle->detail = detail;
	obstacle->hint = hint;
	return obstacle;
}

/* Returns the obstacle of a construct that no rollup can have. */
Obstacle   *
obstacle_unsupported(const char *construct, const char *detail,
					 const char *hint)
{
	return obstacle_make(ERRCODE_FEATURE_NOT_SUPPORTED,
						 psprintf("%s is not supported in a rollup definition",
								  construct),
						 detail, hint);
}

/* Appends an obstacle to a list, unless it is NULL. */
List	   *
obstacle_append(List *obstacles, Obstacle *obstacle)
{
	return obstacle ? lappend(obstacles, obstacle) : obstacles;
}

/* Throws the obstacle as an error. */
void
obstacle_throw(const Obstacle *obstacle)
{
	ereport(ERROR,
			(errcode(obstacle->sqlerrcode),
			 errmsg("%s", obstacle->message),
			 obstacle->detail ? errdetail("%s", obstacle->detail) : 0,
			 obstacle->hint ? errhint("%s", obstacle->hint) : 0));
}

/* Throws the first obstacle of the list.  Returns if the list is empty. */
void
obstacle_throw_first(const List *obstacles)
{
	if (obstacles != NIL)
		obstacle_throw(linitial(obstacles));
}

/*
 * Throws an error with this message that lists all obstacles.  Returns if there
 * are none.
 */
void
obstacle_throw_all(const List *obstacles, int sqlerrcode, const char *message)
{
	bool		numbered = list_length(obstacles) > 1;
	StringInfoData detail;
	StringInfoData hint;
	ListCell   *lc;

	if (obstacles == NIL)
		return;
	initStringInfo(&detail);
	initStringInfo(&hint);
	foreach(lc, obstacles)
	{
		const Obstacle *obstacle = (const Obstacle *) lfirst(lc);
		char	   *number = numbered ?
		psprintf("%d. ", foreach_current_index(lc) + 1) : "";

		appendStringInfo(&detail, "%s%s%s.", detail.len > 0 ? "\n" : "",
						 number, obstacle->message);
		if (obstacle->detail != NULL)
			appendStringInfo(&detail, " %s", obstacle->detail);
		if (obstacle->hint != NULL)
			appendStringInfo(&hint, "%s%s%s", hint.len > 0 ? "\n" : "",
							 number, obstacle->hint);
	}
	ereport(ERROR,
			(errcode(sqlerrcode),
			 errmsg("%s", message),
			 errdetail("%s", detail.data),
			 hint.len > 0 ? errhint("%s", hint.data) : 0));
}
