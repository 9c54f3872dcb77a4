/*-------------------------------------------------------------------------
 *
 * decoder.h
 *	  A logical slot that a process keeps open.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_DECODER_H
#define NOTIFY_STATS_DECODER_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

#include "message_buffer.h"
#include "start_point.h"

extern bool decoder_is_open(const char *slot_name);
extern bool decoder_is_held(const char *slot_name);
extern bool decoder_is_ready(const char *slot_name, List *options);
extern void decoder_open(const char *slot_name, List *options,
						 MemoryContext context);
extern void decoder_open_at(const StartPoint *point, const char *slot_name,
							const char *plugin, List *options,
							MemoryContext context);
extern bool decoder_read(XLogRecPtr upto, MessageBuffer *messages);
extern void decoder_confirm(XLogRecPtr lsn);
extern void decoder_close(void);
extern void decoder_discard(void);
extern void decoder_forget(void);

#endif							/* NOTIFY_STATS_DECODER_H */
