/*-------------------------------------------------------------------------
 *
 * message_buffer.c
 *	  Messages of an output plugin, on their way to a reader.
 *
 * They are kept in memory, one after the other.  The server gives all changes
 * of a transaction at once, however many they are.  So what exceeds the limit
 * goes into a tuplestore, and from there into a temporary file.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"	/* for varatt.h, new in 16 */
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/resowner.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "message_buffer.h"
#include "xact.h"

#define FIRST_SIZE 8192

/* A message in memory; its bytes follow.  The next one is aligned. */
typedef struct MessageHeader
{
	XLogRecPtr	lsn;
	TransactionId xid;
	int			len;
} MessageHeader;

struct MessageBuffer
{
	MemoryContext context;		/* of everything in it */
	ResourceOwner owner;		/* of the temporary file */
	Size		limit;			/* of "used" */
	char	   *memory;			/* NULL: nothing was added yet */
	Size		size;			/* allocated */
	Size		used;
	Size		read;			/* of "used" */
	Tuplestorestate *rest;		/* what came after the limit was reached, or
								 * NULL */
	TupleTableSlot *row;		/* of the rest */
};

/*
 * Creates a buffer in the current memory context and resource owner, which
 * uses about so many bytes of memory before it uses a temporary file.
 */
MessageBuffer *
message_buffer_create(Size memory_limit)
{
	MessageBuffer *buffer = palloc0(sizeof(MessageBuffer));

	buffer->context = CurrentMemoryContext;
	buffer->owner = CurrentResourceOwner;
	buffer->limit = memory_limit;
	return buffer;
}

/*
 * The same for the rows of a decoding function of the server: pg_lsn, xid, and
 * text or bytea.  The buffer owns the tuplestore.
 */
MessageBuffer *
message_buffer_of_rows(Tuplestorestate *rows, TupleDesc desc)
{
	MessageBuffer *buffer = message_buffer_create(0);

	buffer->rest = rows;
	buffer->row = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	return buffer;
}

static void
make_room(MessageBuffer *buffer, Size len)
{
	Size		needed = buffer->used + len;

	if (needed <= buffer->size)
		return;
	buffer->size = Max(Max(needed, buffer->size * 2), FIRST_SIZE);
	buffer->memory = buffer->memory == NULL ?
		MemoryContextAllocHuge(buffer->context, buffer->size) :
		repalloc_huge(buffer->memory, buffer->size);
}

/*
 * Creates the tuplestore of the rest.  Its file must outlast the
 * subtransaction in which the server decodes.
 */
static void
begin_rest(MessageBuffer *buffer)
{
	MemoryContext context = MemoryContextSwitchTo(buffer->context);
	ResourceOwner owner = CurrentResourceOwner;

	CurrentResourceOwner = buffer->owner;

	if (buffer->row == NULL)
	{
		TupleDesc	desc = CreateTemplateTupleDesc(3);

		/* pg_lsn, xid and bytea, as types that are known without a catalog */
		TupleDescInitBuiltinEntry(desc, 1, "lsn", INT8OID, -1, 0);
		TupleDescInitBuiltinEntry(desc, 2, "xid", INT4OID, -1, 0);
		TupleDescInitBuiltinEntry(desc, 3, "data", TEXTOID, -1, 0);
		TupleDescFinalize(desc);
		buffer->row = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	}
	buffer->rest = tuplestore_begin_heap(false, false, work_mem);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(context);
}

static void
add_to_rest(MessageBuffer *buffer, const Message *message)
{
	bytea	   *data = palloc(VARHDRSZ + message->len);
	Datum		values[3];
	bool		isnull[3] = {false, false, false};

	xact_lift_temp_file_limit();
	if (buffer->rest == NULL)
		begin_rest(buffer);
	SET_VARSIZE(data, VARHDRSZ + message->len);
	memcpy(VARDATA(data), message->data, message->len);
	values[0] = LSNGetDatum(message->lsn);
	values[1] = TransactionIdGetDatum(message->xid);
	values[2] = PointerGetDatum(data);
	tuplestore_putvalues(buffer->rest, buffer->row->tts_tupleDescriptor,
						 values, isnull);
	pfree(data);
}

/* Adds a copy of a message.  May be called in any memory context. */
void
message_buffer_add(MessageBuffer *buffer, const Message *message)
{
	MessageHeader header = {message->lsn, message->xid, message->len};
	Size		len = MAXALIGN(sizeof(header) + message->len);

	if (buffer->rest != NULL ||
		(buffer->used > 0 && buffer->used + len > buffer->limit))
	{
		add_to_rest(buffer, message);
		return;
	}
	make_room(buffer, len);
	memcpy(buffer->memory + buffer->used, &header, sizeof(header));
	memcpy(buffer->memory + buffer->used + sizeof(header), message->data,
		   message->len);
	buffer->used += len;
}

/*
 * Returns how many bytes of memory the messages take; the maximum if some are
 * in a file, as the memory then takes no more.
 */
Size
message_buffer_size(const MessageBuffer *buffer)
{
	return buffer->rest != NULL ? (Size) -1 : buffer->used;
}

static bool
next_of_rest(MessageBuffer *buffer, Message *message)
{
	TupleTableSlot *row = buffer->row;
	struct varlena *data;

	if (!tuplestore_gettupleslot(buffer->rest, true, false, row))
		return false;
	slot_getallattrs(row);
	/* a function's result is never compressed or external */
	data = PG_DETOAST_DATUM_PACKED(row->tts_values[2]);
	message->lsn = DatumGetLSN(row->tts_values[0]);
	message->xid = DatumGetTransactionId(row->tts_values[1]);
	message->data = VARDATA_ANY(data);
	message->len = VARSIZE_ANY_EXHDR(data);
	return true;
}

/*
 * Returns the next message, in the order in which they were added, valid until
 * the next call; false at the end.
 */
bool
message_buffer_next(MessageBuffer *buffer, Message *message)
{
	MessageHeader header;

	if (buffer->read >= buffer->used)
		return buffer->rest != NULL && next_of_rest(buffer, message);
	memcpy(&header, buffer->memory + buffer->read, sizeof(header));
	message->lsn = header.lsn;
	message->xid = header.xid;
	message->len = header.len;
	message->data = buffer->memory + buffer->read + sizeof(header);
	buffer->read += MAXALIGN(sizeof(header) + header.len);
	return true;
}

static void
end_rest(MessageBuffer *buffer)
{
	if (buffer->rest == NULL)
		return;
	ExecClearTuple(buffer->row);
	tuplestore_end(buffer->rest);
	buffer->rest = NULL;
}

/* Empties a buffer. */
void
message_buffer_reset(MessageBuffer *buffer)
{
	end_rest(buffer);
	buffer->used = 0;
	buffer->read = 0;
}

void
message_buffer_free(MessageBuffer *buffer)
{
	end_rest(buffer);
	if (buffer->row != NULL)
		ExecDropSingleTupleTableSlot(buffer->row);
	if (buffer->memory != NULL)
		pfree(buffer->memory);
	pfree(buffer);
}
