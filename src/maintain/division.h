/*-------------------------------------------------------------------------
 *
 * division.h
 *	  The division of a backlog into windows.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DIVISION_H
#define NOTIFY_STATS_DIVISION_H

#include "shared.h"

/* A window that this process has taken. */
typedef struct Window
{
	SharedWindow *shared;
	uint64		division;		/* of which it is a part */
	bool		paused;			/* whether the leader reads a paused stream */
	StartPoint	start;
	StartPoint	end;
	TimestampTz taken_at;
} Window;

extern bool division_begin(XLogRecPtr *start, XLogRecPtr safe, int nprocesses,
						   bool paused);
extern bool division_take_first(const StartPoint *start, XLogRecPtr *end);
extern void division_first_is_applied(void);
extern bool division_take(int leader, Window *window);
extern bool division_wait_for_turn(const Window *window);
extern void division_is_applied(const Window *window);
extern void division_leave(Window *window);
extern StartPoint division_applied(void);
extern void division_wait_for_readers(void);
extern void division_end(void);
extern void division_stop(const Window *window);
extern void division_take_no_more(int leader);
extern void division_refuse(bool all);
extern bool division_abandon(void);
extern bool division_is_mine(void);
extern bool division_is_of_other(void);
extern void division_wait_for_other(void);
extern char *division_slot_name(void);

#endif							/* NOTIFY_STATS_DIVISION_H */
