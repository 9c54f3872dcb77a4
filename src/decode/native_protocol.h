/*-------------------------------------------------------------------------
 *
 * native_protocol.h
 *	  The protocol between the output plugin notify_stats and its reader.
 *
 * The plugin writes one or more messages per transaction.  Each is a
 * sequence of whole records of one transaction:
 *
 *	message:  byte version, int32 xid, int64 LSN of the commit record, records
 *	record:   byte kind, int32 OID of the source, and then
 *		'R'		int16 number of columns; a column: int16 attnum, int32 type OID
 *				(the listed columns, ascending; announces those of all later
 *				images of that source; needed before images only)
 *		'I'		image of the new row
 *		'U'		image of the old row, image of the new row
 *		'D'		image of the old row
 *		'M'		the same, of a row that an UPDATE moves to another partition
 *				(only with "moves"; otherwise a 'D')
 *		'T'		nothing: the source was truncated
 *		'P'		nothing: some partition of it was
 *		'X'		byte reason: an unknown change, see below
 *	image:	  a column, in announced order: int32 length or -1 for NULL, and
 *			  that many bytes of the datum as it is in memory (detoasted, with
 *			  a 4-byte header; pass-by-value types as store_att_byval leaves
 *			  them)
 *
 * Integers are in network byte order (pqformat.h).  Plugin and reader run
 * in the same server, so a datum needs no more portable form, and its type
 * is checked against the announced OID.  An update that changes none of the
 * listed columns is not written at all.
 *
 * Options: "version", and "tables" = 'OID:attnum,attnum;OID:attnum...'.
 * Both are required.  No attnum means that rows are only counted.  With
 * "resumable" = 'on' an announcement holds for its transaction only, so
 * that a new reader can take over from another after each.  With "moves" =
 * 'on' it writes 'M'.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_NATIVE_PROTOCOL_H
#define NOTIFY_STATS_NATIVE_PROTOCOL_H

#define NATIVE_PLUGIN_NAME "notify_stats"
#define NATIVE_VERSION 1

#define NATIVE_RELATION 'R'
#define NATIVE_INSERT	'I'
#define NATIVE_UPDATE	'U'
#define NATIVE_DELETE	'D'
#define NATIVE_MOVE		'M'
#define NATIVE_TRUNCATE 'T'
#define NATIVE_PARTITION_TRUNCATE 'P'
#define NATIVE_UNKNOWN	'X'

/* reasons of NATIVE_UNKNOWN */
#define NATIVE_NO_IDENTITY	'i' /* the old row lacks a listed column */
#define NATIVE_NO_COLUMN	'c' /* the table had no such column then */
#define NATIVE_TOO_LARGE	'l' /* it exceeds NATIVE_MAX_CHANGE */

/*
 * Bytes of the values of varying length in all images of one change.
 * Beyond that the change is unknown: a message cannot exceed 1 GB, so that
 * a change of that size would stop the stream for ever, and a good part of
 * it takes much memory.
 */
#define NATIVE_MAX_CHANGE	(256 * 1024 * 1024)

#endif							/* NOTIFY_STATS_NATIVE_PROTOCOL_H */
