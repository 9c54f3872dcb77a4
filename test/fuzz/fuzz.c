/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *	  Feeds the reader of a format with output of the plugin and mutations of
 *	  it.
 *
 *	fuzz FORMAT CATALOG options
 *		prints the options to peek with, alternating names and values
 *	fuzz FORMAT CATALOG SECONDS SEED LAST SESSION...
 *		reads the sessions unchanged, and then mutations of them.  Exits with
 *		0 if there was no failure.  Otherwise the file LAST contains the
 *		session that caused it.  To reproduce the failure, specify that file
 *		as the only SESSION, with 0 SECONDS and another LAST.
 *
 * FORMAT is notify_stats, pgoutput, wal2json1 or wal2json2.  As in the server,
 * the first error ends a session.
 *
 * For any bytes, the reader must either throw an error or return changes that
 * consist of values.  Other behavior is detected by ASan and UBSan, by the
 * alarm, and by the consumer below, which checks the changes that it gets.
 *
 * Mutated sessions that reach a new part of the parsers are mutated further:
 * gcc calls __sanitizer_cov_trace_pc at each branch of the parsers.  With the
 * same seed, the sequence of sessions is the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "utils/memutils.h"

#include "fuzz.h"
#include "settings.h"

#define MAX_SESSIONS 5000
#define MAX_MUTATIONS 4
#define MAX_TEXTS 100
#define MAX_MEMORY (64 * 1024 * 1024)	/* limit for one session */
#define MAX_TIME 10				/* limit for one session, in seconds */

/* An error and the number of its occurrences. */
typedef struct ErrorCount
{
	char		text[sizeof(stub_error)];
	long		count;
} ErrorCount;

static const Format *format;
static Session *sessions[MAX_SESSIONS]; /* the sessions to mutate */
static int	nsessions;
static char *last;				/* the file LAST, in memory */

/* totals of all sessions that were fed */
static long nfed;
static long nmessages;
static long nchanges[NKINDS];
static ErrorCount errors[MAX_TEXTS];

/* The sanitizers call these functions. */
const char *
__asan_default_options(void)
{
	return "detect_leaks=0:handle_abort=1:malloc_context_size=10";
}

const char *
__ubsan_default_options(void)
{
	return "print_stacktrace=1";
}

/*
 * Coverage
 */

static uint8 covered[1 << 16];
static int	ncovered;
static uintptr_t previous_pc;

extern void __sanitizer_cov_trace_pc(void);

/*
 * Called at each branch of the parsers.  Their addresses vary, so the address
 * is relative to a function of the library.
 */
__attribute__((no_sanitize("address", "undefined"))) void
__sanitizer_cov_trace_pc(void)
{
	uintptr_t	pc = (uintptr_t) __builtin_return_address(0) - (uintptr_t) format_native.reader_feed;
	size_t		edge = (pc ^ previous_pc) % lengthof(covered);

	ncovered += !covered[edge];
	covered[edge] = 1;
	previous_pc = pc >> 1;
}

/*
 * The consumer
 */

#define POISON UINT64CONST(0x5afec0de7f3b91d4)
#define POISONED_NULL 0x6e

static List *sources;
static bool wanting_all;
static bool wanted;
static XLogRecPtr wanted_lsn;
static int32 changes[NKINDS];	/* of the session */

static void
poison_rows(const Source *source)
{
	for (int i = 0; i < source->desc->natts; i++)
		source->old_row.values[i] = source->new_row.values[i] = POISON;
	memset(source->old_row.isnull, POISONED_NULL, source->desc->natts);
	memset(source->new_row.isnull, POISONED_NULL, source->desc->natts);
}

/* Reads every byte of a value, so that ASan detects missing ones. */
static void
touch_datum(Form_pg_attribute att, Datum value)
{
	static volatile unsigned sum;
	const unsigned char *bytes = (const unsigned char *) DatumGetPointer(value);
	Size		len = att->attbyval ? 0 : att->attlen > 0 ? att->attlen : VARSIZE_ANY(bytes);

	for (Size i = 0; i < len; i++)
		sum += bytes[i];
}

/* Checks that all listed columns were set, and no others. */
static void
check_row(const Source *source, const RowImage *row)
{
	for (int i = 0; i < source->desc->natts; i++)
	{
		uint8		isnull = ((const uint8 *) row->isnull)[i];

		if (!bms_is_member(i + 1, source->columns))
		{
			if (isnull != POISONED_NULL || row->values[i] != POISON)
				stub_fail("column %d of table %u was set", i + 1, source->relid);
			continue;
		}
		if (isnull > 1 || row->values[i] == POISON)
			stub_fail("column %d of table %u was not set", i + 1, source->relid);
		if (!isnull)
			touch_datum(TupleDescAttr(source->desc, i), row->values[i]);
	}
}

static bool
consumer_wants(void *arg, TransactionId xid, XLogRecPtr commit_lsn)
{
	wanted_lsn = commit_lsn;
	return wanted = wanting_all || random_below(8) > 0;
}

static void
consumer_change(void *arg, const RowChange *change)
{
	Source	   *source = change->source;
	bool		known = false;

	for (int i = 0; i < list_length(sources); i++)
		known |= list_nth(sources, i) == source;
	if (!known)
		stub_fail("a change of an unknown source");
	if ((unsigned) change->kind >= NKINDS)
		stub_fail("a change of kind %d", change->kind);
	if (!wanted || change->commit_lsn != wanted_lsn)
		stub_fail("a change of a transaction that was not wanted");
	if (change->kind == ROW_UNKNOWN && strlen(change->reason) == 0)
		stub_fail("no reason");
	if (change->kind == ROW_UPDATE || change->kind == ROW_DELETE)
		check_row(source, &source->old_row);
	if (change->kind == ROW_UPDATE || change->kind == ROW_INSERT)
		check_row(source, &source->new_row);
	changes[change->kind]++;
	poison_rows(source);
}

static const ChangeConsumer consumer = {consumer_wants, consumer_change, NULL};

/*
 * Feeding
 */

/*
 * Copies a message to a place where neither bytes beyond its end nor bytes of
 * the previous message can be read.  The JSON parser is not instrumented, so
 * messages in JSON are followed by a page that cannot be read.
 */
static const char *
hand_over(const Message *message)
{
	static char *copy = NULL;
	static char *pages = NULL;

	free(copy);
	copy = malloc(message->len);
	memcpy(copy, message->data, message->len);
	if (format->binary)
		return copy;
	if (pages == NULL)
	{
		pages = mmap(NULL, 2 * MAX_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		mprotect(pages + MAX_LEN, MAX_LEN, PROT_NONE);
	}
	return memcpy(pages + MAX_LEN - message->len, copy, message->len);
}

static void
count_error(void)
{
	ErrorCount *error = errors;

	while (error->count > 0 && strcmp(error->text, stub_error) != 0 &&
		   error < errors + MAX_TEXTS - 1)
		error++;
	strlcpy(error->text, stub_error, sizeof(error->text));
	error->count++;
}

static void
feed_messages(const Session *session)
{
	MemoryContext context = CurrentMemoryContext;
	FormatReader *reader;

	sources = catalog_sources();
	for (int i = 0; i < list_length(sources); i++)
		poison_rows((Source *) list_nth(sources, i));
	reader = format->reader_create(sources, &consumer);
	for (int i = 0; i < session->nmessages; i++)
	{
		const Message *message = &session->messages[i];

		nmessages++;
		format->reader_feed(reader, hand_over(message), message->len);
		if (CurrentMemoryContext != context)
			stub_fail("the memory context was not restored");
	}
}

/* Feeds a session to a reader.  Returns false if an error ended it. */
static bool
feed_session(const Session *session)
{
	MemoryContext context = AllocSetContextCreate(NULL, "session", ALLOCSET_DEFAULT_SIZES);
	size_t		memory = stub_memory;
	volatile bool finished = false;

	session_write(session, last);
	alarm(MAX_TIME);
	memset(changes, 0, sizeof(changes));
	previous_pc = 0;
	CurrentMemoryContext = context;
	if (setjmp(stub_catch) == 0)
	{
		feed_messages(session);
		finished = true;
	}
	else
		count_error();
	if (stub_memory - memory > MAX_MEMORY)
		stub_fail("a session took %zu bytes of memory", stub_memory - memory);
	MemoryContextDelete(context);
	nfed++;
	for (int i = 0; i < NKINDS; i++)
		nchanges[i] += changes[i];
	return finished;
}

static void
on_alarm(int signal)
{
	stub_fail("a session took more than %d seconds", MAX_TIME);
}

/* Feeds an unchanged session, and checks the expected numbers of changes. */
static void
feed_original(const Session *session, const char *path)
{
	bool		finished;

	wanting_all = true;
	finished = feed_session(session);
	if (session->expected[0] >= 0 && !finished)
		stub_fail("%s: %s", path, stub_error);
	for (int i = 0; i < NEXPECTED; i++)
		if (session->expected[i] >= 0 && session->expected[i] != changes[i])
			stub_fail("%s: %d changes of kind %d instead of %d",
					  path, changes[i], i, session->expected[i]);
	wanting_all = false;
}

/* Feeds a session that is mutated with parts of other sessions. */
static void
feed_mutation(void)
{
	Session    *session = session_copy(sessions[random_below(nsessions)]);
	int			nmutations = 1 + random_below(MAX_MUTATIONS);
	int			before = ncovered;

	for (int i = 0; i < nmutations; i++)
		session_mutate(session, sessions[random_below(nsessions)], !format->binary);
	feed_session(session);
	if (ncovered > before && nsessions < MAX_SESSIONS)
		sessions[nsessions++] = session;
	else
		session_free(session);
}

/*
 * The program
 */

static void
print_options(void)
{
	List	   *options;

	CurrentMemoryContext = AllocSetContextCreate(NULL, "options", ALLOCSET_DEFAULT_SIZES);
	options = format->reader_options(format->reader_create(catalog_sources(), &consumer), false, false);
	for (int i = 0; i < list_length(options); i++)
		puts((char *) list_nth(options, i));
}

static void
print_counts(void)
{
	printf("%ld sessions, %ld messages; kept %d sessions, covered %d branches\n",
		   nfed, nmessages, nsessions, ncovered);
	printf("changes: %ld inserts, %ld updates, %ld deletes, %ld truncates, %ld of partitions, %ld unknown\n",
		   nchanges[ROW_INSERT], nchanges[ROW_UPDATE], nchanges[ROW_DELETE],
		   nchanges[ROW_TRUNCATE], nchanges[ROW_PARTITION_TRUNCATE],
		   nchanges[ROW_UNKNOWN]);
	printf("errors:\n");
	for (int i = 0; i < MAX_TEXTS && errors[i].count > 0; i++)
		printf("%10ld  %s\n", errors[i].count, errors[i].text);
}

/*
 * Sets the format.  The version number of wal2json, the only format that has
 * one, is a setting here.
 */
static void
set_format(const char *name)
{
	format = strcmp(name, "notify_stats") == 0 ? &format_native :
		strcmp(name, "pgoutput") == 0 ? &format_pgoutput :
		strncmp(name, "wal2json", 8) == 0 ? &format_wal2json : NULL;
	if (format == NULL)
		stub_fail("there is no format \"%s\"", name);
	if (format == &format_wal2json)
		notify_stats_wal2json_format_version = atoi(name + 8);
}

/*
 * Maps the file LAST, so that it contains the current session however the
 * program ends.
 */
static void
map_last(const char *path)
{
	int			file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (file < 0 || ftruncate(file, MAX_SESSION_FILE) != 0)
		stub_fail("cannot write %s", path);
	last = mmap(NULL, MAX_SESSION_FILE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
}

int
main(int argc, char **argv)
{
	time_t		end;

	if (argc < 4 || (argc < 7 && strcmp(argv[3], "options") != 0))
		stub_fail("see fuzz.c for the arguments");
	set_format(argv[1]);
	catalog_load(argv[2]);
	if (argc == 4)
	{
		print_options();
		return 0;
	}

	signal(SIGALRM, on_alarm);
	random_start(strtoull(argv[4], NULL, 10));
	map_last(argv[5]);
	for (int i = 6; i < argc; i++)
	{
		sessions[nsessions++] = session_load(argv[i]);
		feed_original(sessions[nsessions - 1], argv[i]);
	}
	end = time(NULL) + atoi(argv[3]);
	while (time(NULL) < end)
		feed_mutation();
	print_counts();
	unlink(argv[5]);
	return 0;
}
