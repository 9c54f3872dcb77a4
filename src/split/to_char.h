/*-------------------------------------------------------------------------
 *
 * to_char.h
 *	  What a format of to_char shows of a point in time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_TO_CHAR_H
#define NOTIFY_STATS_TO_CHAR_H

#include "nodes/primnodes.h"

typedef struct TimeFormat
{
	const char *unit;			/* date_trunc() to it does not change the
								 * text; NULL: no unit is known */
	bool		has_time;		/* shows more than the day */
	bool		has_zone;		/* shows the time zone */
} TimeFormat;

extern TimeFormat to_char_format(const char *format);
extern Node *to_char_bucket(FuncExpr *call);

#endif							/* NOTIFY_STATS_TO_CHAR_H */
