/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Requests for a rebuild.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_REQUEST_H
#define NOTIFY_STATS_REQUEST_H

extern bool request_is_made(Oid rollup);
extern void request_forget_others(Oid rollup);
extern void request_forget(Oid rollup, int64 id);
extern void request_forget_before(Oid rollup, int64 id);
extern void request_forget_dropped(void);

#endif							/* NOTIFY_STATS_REQUEST_H */
