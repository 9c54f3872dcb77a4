/*-------------------------------------------------------------------------
 *
 * request.h
 *	  Requests for a rebuild.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_REQUEST_H
#define NOTIFY_STATS_REQUEST_H

/* Whether this very transaction has already asked for a rebuild of that rollup. */
extern bool request_is_made(Oid rollup);

/*
 * Deletes requests, but none that another transaction is at: those of a rollup that
 * other transactions have made; the one of that number; those before it; those of
 * rollups that are gone.
 */
extern void request_forget_others(Oid rollup);
extern void request_forget(Oid rollup, int64 id);
extern void request_forget_before(Oid rollup, int64 id);
extern void request_forget_dropped(void);

#endif							/* NOTIFY_STATS_REQUEST_H */
