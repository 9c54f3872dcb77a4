/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  Declarations shared by the files of the fuzzer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <setjmp.h>

#include "format.h"

/*
 * stubs.c
 */

/*
 * The target of an ereport(ERROR), and its message without the values in it.
 */
extern jmp_buf stub_catch;
extern char stub_error[128];

/* Bytes in all memory contexts. */
extern size_t stub_memory;

/* Reports a failure of a parser, and aborts the program. */
extern void stub_fail(const char *format,...) pg_attribute_printf(1, 2) __attribute__((noreturn));

/*
 * catalog.c
 */

/* Reads the file of types and tables. catalog.c describes its lines. */
extern void catalog_load(const char *path);

/* Returns the sources of the catalog, with rows in the current context. */
extern List *catalog_sources(void);

/*
 * session.c
 */

#define MAX_MESSAGES 300
#define MAX_LEN (64 * 1024)		/* of one message */
#define NKINDS (ROW_PARTITION + 1)
#define NEXPECTED (ROW_UNKNOWN + 1) /* without those of one format only */

typedef struct Message
{
	char	   *data;
	size_t		len;
} Message;

/* The messages that one reader is fed with. */
typedef struct Session
{
	int32		expected[NEXPECTED];	/* changes of these kinds, or -1 */
	int			nmessages;
	Message		messages[MAX_MESSAGES];
} Session;

/*
 * The maximum size of a session file.  It contains the expected numbers, then
 * each message preceded by its length, and the length -1 at the end.  Numbers
 * are int32 in network byte order.
 */
#define MAX_SESSION_FILE (4 * (NEXPECTED + 1) + MAX_MESSAGES * (4 + MAX_LEN))
extern Session *session_load(const char *path);
extern void session_write(const Session *session, char *to);

extern Session *session_copy(const Session *session);
extern void session_free(Session *session);

/* Mutates a session at random, and may insert parts of another one. */
extern void session_mutate(Session *session, const Session *other, bool json);

/* Starts the sequence of random numbers. */
extern void random_start(uint64 seed);
extern size_t random_below(size_t limit);

#endif							/* FUZZ_H */
