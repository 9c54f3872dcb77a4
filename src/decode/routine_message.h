/*-------------------------------------------------------------------------
 *
 * routine_message.h
 *	  Suppresses messages that the server logs with each use of a slot.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_ROUTINE_MESSAGE_H
#define NOTIFY_STATS_ROUTINE_MESSAGE_H

extern void routine_message_init(void);
extern void routine_message_drop(bool drop);

#endif							/* NOTIFY_STATS_ROUTINE_MESSAGE_H */
