/*-------------------------------------------------------------------------
 *
 * message_buffer.h
 *	  Messages of an output plugin, on their way to a reader.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_MESSAGE_BUFFER_H
#define NOTIFY_STATS_MESSAGE_BUFFER_H

#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "utils/tuplestore.h"

/* A message: what the output plugin wrote at once. */
typedef struct Message
{
	XLogRecPtr	lsn;			/* approximate position of the plugin */
	TransactionId xid;
	const char *data;			/* bytes or text, not NUL-terminated */
	int			len;
} Message;

typedef struct MessageBuffer MessageBuffer;

extern MessageBuffer *message_buffer_create(Size memory_limit);
extern MessageBuffer *message_buffer_of_rows(Tuplestorestate *rows,
											 TupleDesc desc);
extern void message_buffer_add(MessageBuffer *buffer, const Message *message);
extern Size message_buffer_size(const MessageBuffer *buffer);
extern bool message_buffer_next(MessageBuffer *buffer, Message *message);
extern void message_buffer_reset(MessageBuffer *buffer);
extern void message_buffer_free(MessageBuffer *buffer);

#endif							/* NOTIFY_STATS_MESSAGE_BUFFER_H */
