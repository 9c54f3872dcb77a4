/*-------------------------------------------------------------------------
 *
 * native_protocol.h
 *	  The protocol between the output plugin notify_stats and its reader.
 *
 * The plugin writes one or more messages per transaction.  Each is a
 * NativeMessage and a sequence of whole records of that transaction.  A record
 * is a NativeRecord, and then:
 *
 *		'R'		a NativeColumn for each listed column, ascending; announces the
 *				columns of all later images of that source; needed before
 *				images only
 *		'I'		image of the new row
 *		'U'		image of the old row, image of the new row
 *		'D'		image of the old row
 *		'M'		the same, of a row that an UPDATE moves to another partition
 *				(only with "moves"; otherwise a 'D')
 *		'T'		nothing: the source was truncated
 *		'P'		nothing: some partition of it was
 *		'X'		nothing: an unknown change, for the reason in the record
 *		'L'		the OID of a partition that the next records change; once in a
 *				transaction for each one and source
 *
 * An image has a byte for each column, in announced order, which is 1 for NULL
 * or else 0; and then the values that are not NULL.  A value passed by value is
 * a Datum; others are as in memory, detoasted and with a 4-byte header.  All
 * parts are padded with zeros to the maximum alignment, if the message begins
 * at an address that is aligned.
 *
 * Plugin and reader run in the same server, so nothing needs a portable form,
 * and a value can be used where it lies.  Its type is checked against the
 * announced OID.  An update that changes none of the listed columns is not
 * written at all.
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

#include "access/attnum.h"
#include "access/xlogdefs.h"

#define NATIVE_PLUGIN_NAME "notify_stats"
#define NATIVE_VERSION 1

/* The beginning of a message. */
typedef struct NativeMessage
{
	uint8		version;
	TransactionId xid;
	XLogRecPtr	commit_lsn;		/* start of the commit record */
} NativeMessage;

/* The beginning of a record. */
typedef struct NativeRecord
{
	uint8		kind;
	uint8		reason;			/* of NATIVE_UNKNOWN */
	uint16		ncolumns;		/* of NATIVE_RELATION */
	Oid			relid;			/* of the source */
	uint32		length;			/* in bytes, of what follows */
} NativeRecord;

/* A column of an announcement. */
typedef struct NativeColumn
{
	AttrNumber	attnum;
	Oid			type;
} NativeColumn;

#define NATIVE_RELATION 'R'
#define NATIVE_INSERT	'I'
#define NATIVE_UPDATE	'U'
#define NATIVE_DELETE	'D'
#define NATIVE_MOVE		'M'
#define NATIVE_TRUNCATE 'T'
#define NATIVE_PARTITION_TRUNCATE 'P'
#define NATIVE_UNKNOWN	'X'
#define NATIVE_PARTITION 'L'

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
