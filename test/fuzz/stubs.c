/*-------------------------------------------------------------------------
 *
 * stubs.c
 *	  Functions of the server that the format readers call, for a program
 *	  with AddressSanitizer.
 *
 * Every palloc is a malloc of exactly that size, and resetting a context frees
 * its chunks.  So ASan detects every access out of bounds or after a reset.
 * The functions that read bytes of a message (pqformat.c) do exactly the same
 * as those of the server.
 *
 * String buffers, psprintf, encodings and the JSON parser are the server's
 * own, from its libpgcommon.  Functions that a format calls only for a
 * definition are missing.  The formats are in a separate library, so the
 * program can be linked without them.  If such a function is called, the
 * dynamic linker ends the program with the name of the function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sanitizer/asan_interface.h>

#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "nodes/memnodes.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"

#include "source.h"
#include "trouble.h"
#include "users_code.h"
#include "xact.h"
#include "fuzz.h"
#include "settings.h"

/* settings, see settings.c */
int			notify_stats_wal2json_format_version = 2;
bool		notify_stats_wal2json_numeric_as_string = false;

/*
 * Failures and errors
 */

jmp_buf		stub_catch;
char		stub_error[128];
static char error_text[8192];

void
stub_fail(const char *format,...)
{
	va_list		args;

	fputs("FAILED: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();					/* ASan prints the stack */
}

bool
errstart(int elevel, const char *domain)
{
	stub_error[0] = '\0';
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

/*
 * Formats a text as the server would, so that its arguments are read.  Retains
 * the last text, which is the most specific one: its format, or the text up to
 * a quote if the format is only "%s".
 */
static int
take_text(const char *format, va_list args)
{
	vsnprintf(error_text, sizeof(error_text), format, args);
	strlcpy(stub_error, strcmp(format, "%s") == 0 ? error_text : format, sizeof(stub_error));
	if (strcmp(format, "%s") == 0)
		stub_error[strcspn(stub_error, "\"")] = '\0';
	return 0;
}

#define TEXT_FUNCTION(name) \
int \
name(const char *format,...) \
{ \
	va_list		args; \
\
	va_start(args, format); \
	take_text(format, args); \
	va_end(args); \
	return 0; \
}

TEXT_FUNCTION(errmsg)
TEXT_FUNCTION(errmsg_internal)
TEXT_FUNCTION(errdetail)
TEXT_FUNCTION(errdetail_internal)

int
errhint(const char *format,...)
{
	return 0;
}

int
errcode(int sqlerrcode)
{
	return 0;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (stub_error[0] == '\0')
		stub_fail("an error without a text at %s:%d", filename, lineno);
	longjmp(stub_catch, 1);
}

void
#if PG_VERSION_NUM >= 160000
ExceptionalCondition(const char *condition, const char *file, int line)
#else
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
#endif
{
	stub_fail("assertion \"%s\" at %s:%d", condition, file, line);
}

/*
 * Memory
 */

/*
 * Precedes a chunk, and is poisoned, so that it guards the start of the chunk.
 * Only functions that are not instrumented may access it.
 */
typedef struct Chunk
{
	struct Chunk *prev;
	struct Chunk *next;
	MemoryContext context;
	Size		size;
} Chunk;

#define NOT_INSTRUMENTED __attribute__((no_sanitize_address))

typedef struct StubContext
{
	MemoryContextData header;
	Chunk		chunks;			/* head of a circular list */
} StubContext;

MemoryContext CurrentMemoryContext = NULL;
size_t		stub_memory = 0;

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size min_size,
							  Size init_size, Size max_size)
{
	StubContext *context = calloc(1, sizeof(StubContext));

	context->header.type = T_AllocSetContext;
	context->header.name = name;
	context->header.parent = parent;
	context->chunks.prev = context->chunks.next = &context->chunks;
	if (parent != NULL)
	{
		context->header.nextchild = parent->firstchild;
		parent->firstchild = &context->header;
	}
	return &context->header;
}

NOT_INSTRUMENTED void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	Chunk	   *ring = &((StubContext *) context)->chunks;
	Chunk	   *chunk;

	/* lengths are checked against the message before, so this is a failure */
	if (!AllocSizeIsValid(size))
		stub_fail("invalid memory alloc request size %zu", size);
	chunk = malloc(sizeof(Chunk) + size);
	memset(chunk + 1, 0x7f, size);
	chunk->context = context;
	chunk->size = size;
	chunk->prev = ring;
	chunk->next = ring->next;
	ring->next->prev = chunk;
	ring->next = chunk;
	ASAN_POISON_MEMORY_REGION(chunk, sizeof(Chunk));
	stub_memory += size;
	return chunk + 1;
}

NOT_INSTRUMENTED void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	chunk->prev->next = chunk->next;
	chunk->next->prev = chunk->prev;
	stub_memory -= chunk->size;
	free(chunk);
}

NOT_INSTRUMENTED void *
repalloc(void *pointer, Size size)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;
	void	   *result = MemoryContextAlloc(chunk->context, size);

	memcpy(result, pointer, Min(chunk->size, size));
	pfree(pointer);
	return result;
}

void
MemoryContextReset(MemoryContext context)
{
	Chunk	   *ring = &((StubContext *) context)->chunks;

	while (context->firstchild != NULL)
		MemoryContextDelete(context->firstchild);
	while (ring->next != ring)
		pfree(ring->next + 1);
}

void
MemoryContextDelete(MemoryContext context)
{
	MemoryContextReset(context);
	if (context->parent != NULL)
	{
		MemoryContext *link = &context->parent->firstchild;

		while (*link != context)
			link = &(*link)->nextchild;
		*link = context->nextchild;
	}
	free(context);
}

void *
palloc(Size size)
{
	return MemoryContextAlloc(CurrentMemoryContext, size);
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

char *
pstrdup(const char *string)
{
	return strcpy(palloc(strlen(string) + 1), string);
}

/*
 * Lists and sets
 */

static List *
list_append(NodeTag tag, List *list, ListCell cell)
{
	if (list == NIL)
	{
		list = palloc0(sizeof(List));
		list->type = tag;
	}

	/*
	 * allocate new cells each time, so that references to old ones are
	 * detected
	 */
	list->elements = list->max_length == 0 ? palloc(sizeof(ListCell)) :
		repalloc(list->elements, sizeof(ListCell) * (list->length + 1));
	list->max_length = list->length + 1;
	list->elements[list->length++] = cell;
	return list;
}

List *
lappend(List *list, void *datum)
{
	return list_append(T_List, list, list_make_ptr_cell(datum));
}

List *
lappend_oid(List *list, Oid datum)
{
	return list_append(T_OidList, list, list_make_oid_cell(datum));
}

List *
list_make1_impl(NodeTag tag, ListCell a)
{
	return list_append(tag, NIL, a);
}

List *
list_make2_impl(NodeTag tag, ListCell a, ListCell b)
{
	return list_append(tag, list_make1_impl(tag, a), b);
}

List *
list_make4_impl(NodeTag tag, ListCell a, ListCell b, ListCell c, ListCell d)
{
	return list_append(tag, list_append(tag, list_make2_impl(tag, a, b), c), d);
}

List *
list_concat(List *list, const List *more)
{
	for (int i = 0; i < list_length(more); i++)
		list = list_append(more->type, list, more->elements[i]);
	return list;
}

bool
list_member_oid(const List *list, Oid oid)
{
	for (int i = 0; i < list_length(list); i++)
		if (list->elements[i].oid_value == oid)
			return true;
	return false;
}

void
list_free(List *list)
{
	if (list == NIL)
		return;
	pfree(list->elements);
	pfree(list);
}

#define WORDNUM(member) ((member) / BITS_PER_BITMAPWORD)
#define BITNUM(member) ((member) % BITS_PER_BITMAPWORD)

Bitmapset *
bms_add_member(Bitmapset *set, int member)
{
	Size		words = set == NULL ? 0 : set->nwords;
	Size		needed = Max(words, WORDNUM(member) + 1);
	Bitmapset  *result = palloc0(offsetof(Bitmapset, words) + needed * sizeof(bitmapword));

	if (set != NULL)
		memcpy(result, set, offsetof(Bitmapset, words) + words * sizeof(bitmapword));
	result->nwords = needed;
	result->words[WORDNUM(member)] |= (bitmapword) 1 << BITNUM(member);
	return result;
}

int
bms_next_member(const Bitmapset *set, int previous)
{
	for (int i = previous + 1; set != NULL && i < set->nwords * BITS_PER_BITMAPWORD; i++)
		if ((set->words[WORDNUM(i)] >> BITNUM(i)) & 1)
			return i;
	return -2;
}

bool
bms_is_member(int member, const Bitmapset *set)
{
	return bms_next_member(set, member - 1) == member;
}

int
bms_num_members(const Bitmapset *set)
{
	int			member = -1;
	int			count = 0;

	while ((member = bms_next_member(set, member)) >= 0)
		count++;
	return count;
}

/*
 * Messages, as in pqformat.c
 */

const char *
pq_getmsgbytes(StringInfo message, int len)
{
	const char *result;

	if (len < 0 || len > message->len - message->cursor)
		ereport(ERROR, errmsg("insufficient data left in message"));
	result = &message->data[message->cursor];
	message->cursor += len;
	return result;
}

int
pq_getmsgbyte(StringInfo message)
{
	if (message->cursor >= message->len)
		ereport(ERROR, errmsg("no data left in message"));
	return (unsigned char) message->data[message->cursor++];
}

unsigned int
pq_getmsgint(StringInfo message, int size)
{
	uint16		n16;
	uint32		n32;

	if (size == 2)
	{
		memcpy(&n16, pq_getmsgbytes(message, 2), 2);
		return pg_ntoh16(n16);
	}
	if (size != 4)
		stub_fail("pq_getmsgint of %d bytes", size);
	memcpy(&n32, pq_getmsgbytes(message, 4), 4);
	return pg_ntoh32(n32);
}

int64
pq_getmsgint64(StringInfo message)
{
	uint64		n64;

	memcpy(&n64, pq_getmsgbytes(message, 8), 8);
	return pg_ntoh64(n64);
}

const char *
pq_getmsgstring(StringInfo message)
{
	const char *string = &message->data[message->cursor];
	int			len = strlen(string);	/* requires a NUL after the message */

	if (message->cursor + len >= message->len)
		ereport(ERROR, errmsg("invalid string in message"));
	message->cursor += len + 1;
	return string;
}

/*
 * Texts
 */

XLogRecPtr
pg_lsn_in_internal(const char *string, bool *failed)
{
	int			len1 = strspn(string, "0123456789abcdefABCDEF");
	int			len2 = string[len1] == '/' ?
		strspn(string + len1 + 1, "0123456789abcdefABCDEF") : 0;

	*failed = len1 < 1 || len1 > 8 || len2 < 1 || len2 > 8 || string[len1 + 1 + len2] != '\0';
	if (*failed)
		return InvalidXLogRecPtr;
	return (uint64) strtoul(string, NULL, 16) << 32 | strtoul(string + len1 + 1, NULL, 16);
}

#if PG_VERSION_NUM < 170000
/*
 * Missing in the parser of the library.  Reads the same bytes as the server's.
 */
char *
json_errdetail(JsonParseErrorType error, JsonLexContext *lex)
{
	int			len = lex->token_terminator - lex->token_start;
	char	   *token;

	switch (error)
	{
		case JSON_EXPECTED_MORE:
		case JSON_UNICODE_CODE_POINT_ZERO:
		case JSON_UNICODE_ESCAPE_FORMAT:
		case JSON_UNICODE_HIGH_ESCAPE:
		case JSON_UNICODE_HIGH_SURROGATE:
		case JSON_UNICODE_LOW_SURROGATE:
			return psprintf("JSON error %d", error);
		case JSON_ESCAPING_REQUIRED:
			return psprintf("JSON error %d: \"%02x\"", error, (unsigned char) *lex->token_terminator);
		default:
			token = palloc(len + 1);
			memcpy(token, lex->token_start, len);
			token[len] = '\0';
			return psprintf("JSON error %d: \"%s\"", error, token);
	}
}
#endif

/* Only used to make a unique name.  Here it is the same in each run. */
bool
pg_strong_random(void *buf, size_t len)
{
	memset(buf, 7, len);
	return true;
}

/* The source of an error is irrelevant here. */
void
trouble_begin_values(Oid source)
{
}

void
trouble_end_values(void)
{
}

/* Privileges are irrelevant here as well. */
SavedRole
xact_become(Oid role)
{
	SavedRole	saved = {0};

	return saved;
}

void
xact_restore_role(SavedRole saved)
{
}

bool
users_code_in(Node *expression)
{
	return false;
}

bool
users_code_in_type(Oid type)
{
	return false;
}

Oid
source_owner(Oid relid)
{
	return 10;
}
