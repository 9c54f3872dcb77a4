/*-------------------------------------------------------------------------
 *
 * session.c
 *	  Sessions of a reader: reading and writing their files, and mutating them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bswap.h"

#include "fuzz.h"

/*
 * Random numbers (splitmix64)
 */

static uint64 random_state;

void
random_start(uint64 seed)
{
	random_state = seed;
}

size_t
random_below(size_t limit)
{
	uint64		z = (random_state += UINT64CONST(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % limit;
}

/*
 * Messages
 */

/* Replaces bytes of a message by others, which may be its own. */
static void
edit(Message *message, size_t at, size_t nremoved, const char *inserted, size_t ninserted)
{
	size_t		len = message->len - nremoved + ninserted;
	char	   *data;

	if (len > MAX_LEN)
		return;
	data = malloc(len + 1);
	memcpy(data, message->data, at);
	memcpy(data + at, inserted, ninserted);
	memcpy(data + at + ninserted, message->data + at + nremoved, message->len - at - nremoved);
	free(message->data);
	message->data = data;
	message->len = len;
}

/* Inserts a copy of a message into a session. */
static void
insert_message(Session *session, int at, const Message *message)
{
	Message		copy = {malloc(1), 0};

	edit(&copy, 0, 0, message->data, message->len);
	if (session->nmessages == MAX_MESSAGES)
		free(session->messages[--session->nmessages].data);
	at = Min(at, session->nmessages);
	memmove(&session->messages[at + 1], &session->messages[at],
			sizeof(Message) * (session->nmessages++ - at));
	session->messages[at] = copy;
}

static void
remove_message(Session *session, int at)
{
	free(session->messages[at].data);
	memmove(&session->messages[at], &session->messages[at + 1],
			sizeof(Message) * (--session->nmessages - at));
}

/*
 * Sessions
 */

Session *
session_load(const char *path)
{
	Session    *session = calloc(1, sizeof(Session));
	FILE	   *file = fopen(path, "r");
	int32		len;

	if (file == NULL || fread(session->expected, sizeof(int32), NEXPECTED, file) != NEXPECTED)
		stub_fail("%s is no session", path);
	for (int i = 0; i < NEXPECTED; i++)
		session->expected[i] = pg_ntoh32(session->expected[i]);
	while (fread(&len, 4, 1, file) == 1 && (len = pg_ntoh32(len)) >= 0)
	{
		Message		message = {malloc(len + 1), len};

		if (len > MAX_LEN || session->nmessages == MAX_MESSAGES ||
			fread(message.data, 1, len, file) != len)
			stub_fail("%s is too large, or cut off", path);
		insert_message(session, session->nmessages, &message);
		free(message.data);
	}
	fclose(file);
	return session;
}

static char *
write_int(char *to, int32 value)
{
	value = pg_hton32(value);
	memcpy(to, &value, 4);
	return to + 4;
}

void
session_write(const Session *session, char *to)
{
	for (int i = 0; i < NEXPECTED; i++)
		to = write_int(to, -1);
	for (int i = 0; i < session->nmessages; i++)
	{
		to = write_int(to, session->messages[i].len);
		memcpy(to, session->messages[i].data, session->messages[i].len);
		to += session->messages[i].len;
	}
	write_int(to, -1);
}

Session *
session_copy(const Session *session)
{
	Session    *copy = calloc(1, sizeof(Session));

	for (int i = 0; i < session->nmessages; i++)
		insert_message(copy, i, &session->messages[i]);
	return copy;
}

void
session_free(Session *session)
{
	while (session->nmessages > 0)
		remove_message(session, session->nmessages - 1);
	free(session);
}

/*
 * Mutations of any message
 */

/* Overwrites an integer by a boundary value. */
static void
mutate_integer(Message *message, size_t at)
{
	const uint64 values[] = {0, 1, 2, -1, -2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xfffffffb, message->len, message->len - at, message->len - at - 4};
	int			size = 1 << random_below(4);
	uint64		value = pg_hton64(values[random_below(lengthof(values))]);

	edit(message, at, Min(size, message->len - at), (char *) &value + 8 - size, size);
}

/*
 * Removes one element of a list, if the number of elements is at this position
 * and the element has this length.
 */
static void
mutate_count(Message *message, size_t at, size_t len)
{
	uint16		count;

	if (at + 2 + len > message->len)
		return;
	memcpy(&count, message->data + at, 2);
	count = pg_hton16(pg_ntoh16(count) - 1);
	memcpy(message->data + at, &count, 2);
	edit(message, at + 2, len, "", 0);
}

/* Returns a random length up to a limit.  Small ones are more likely. */
static size_t
random_len(size_t limit)
{
	size_t		len = random_below((size_t) 1 << random_below(12));

	return Min(len, limit);
}

/* Changes some bytes, regardless of their meaning. */
static void
mutate_bytes(Message *message, const Message *other)
{
	size_t		at = random_below(message->len + 1);
	size_t		len = random_len(message->len - at);
	size_t		from = random_below(other->len + 1);
	size_t		nfrom = random_len(other->len - from);
	char		byte = random_below(256);

	switch (random_below(9))
	{
		case 0:
			if (at < message->len)
				message->data[at] ^= 1 << random_below(8);
			break;
		case 1:
			edit(message, at, Min(1, message->len - at), &byte, 1);
			break;
		case 2:
			mutate_integer(message, at);
			break;
		case 3:
			edit(message, at, len, "", 0);
			break;
		case 4:
			edit(message, at, 0, message->data + at, len);
			break;
		case 5:					/* cut off the end */
			edit(message, at, message->len - at, "", 0);
			break;
		case 6:					/* replace the end by the other's end */
			edit(message, at, message->len - at, other->data + from, other->len - from);
			break;
		case 7:
			len = random_below(2) == 0 ? len : Min(nfrom, message->len - at);
			edit(message, at, len, other->data + from, nfrom);
			break;
		case 8:
			mutate_count(message, at, random_below(16));
			break;
	}
}

/*
 * Mutations of JSON
 */

typedef struct Token
{
	size_t		start;
	size_t		len;
	char		kind;			/* its first byte; 'a' for a word or number,
								 * 'k' for a key */
} Token;

#define MAX_TOKENS 2000

/*
 * Finds the tokens of a message, as far as there are any.  Returns their
 * number.
 */
static int
tokenize(const Message *message, Token *tokens)
{
	const char *data = message->data;
	size_t		end = 0;
	int			n = 0;

	while (end < message->len && n < MAX_TOKENS)
	{
		size_t		start = end++;
		bool		word = isalnum((unsigned char) data[start]) || data[start] == '-';

		if (data[start] == '"')
		{
			while (end < message->len && data[end] != '"')
				end += data[end] == '\\' ? 2 : 1;
			end = Min(end + 1, message->len);
		}
		while (word && end < message->len && strchr(",:]}\" \n", data[end]) == NULL)
			end++;
		if (data[start] == ':' && n > 0 && tokens[n - 1].kind == '"')
			tokens[n - 1].kind = 'k';
		tokens[n++] = (Token) {start, end - start, word ? 'a' : data[start]};
	}
	return n;
}

/*
 * Returns where the value, or the member of an object, that begins with a
 * token ends.
 */
static size_t
unit_end(const Token *tokens, int ntokens, int at)
{
	int			depth = 0;

	for (at += tokens[at].kind == 'k' ? 2 : 0; at < ntokens; at++)
	{
		if (tokens[at].kind == '{' || tokens[at].kind == '[')
			depth++;
		else if (tokens[at].kind == '}' || tokens[at].kind == ']')
			depth--;
		if (depth <= 0)
			break;
	}
	at = Min(at, ntokens - 1);
	return tokens[at].start + tokens[at].len;
}

/* Changes a token, or a unit of tokens: a value, or a key with its value. */
static void
mutate_json(Message *message, const Message *other)
{
	static const char *const words[] = {
		"null", "true", "nul", "0", "-0", "-1", "1.5", "1e999999", "4294967296",
		"99999999999999999999", "\"\"", "\"0/0\"", "\"0/1\"", "\"FFFFFFFF/FFFFFFFF\"",
		"\"timestamp\"", "\"origin\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"",
		"\"\\ud83d\\ude00\"", "\"\\q\"", "\"\xff\xfe\"", "\"\xf0\x9f\"", "\"\n\"", ",",
		"{}", "[]", "{\"a\":[{}]}", "{\"a\":{\"a\":", "[[[[[[[[[[[["
	};
	static Token mine[MAX_TOKENS];
	static Token theirs[MAX_TOKENS];
	int			nmine = tokenize(message, mine);
	int			ntheirs = tokenize(other, theirs);
	int			at = random_below(nmine + 1);
	int			from = random_below(ntheirs + 1);
	const char *word = words[random_below(lengthof(words))];
	const char *unit;
	size_t		start;
	size_t		len;
	size_t		nunit;

	if (at == nmine || from == ntheirs)
	{
		mutate_bytes(message, other);
		return;
	}
	/* in most cases, a token of the same kind */
	for (int i = 0; i < ntheirs && theirs[from].kind != mine[at].kind; i++)
		from = (from + 1) % ntheirs;
	start = mine[at].start;
	len = unit_end(mine, nmine, at) - start;
	unit = other->data + theirs[from].start;
	nunit = unit_end(theirs, ntheirs, from) - theirs[from].start;
	switch (random_below(7))
	{
		case 0:
			edit(message, start, mine[at].len, word, strlen(word));
			break;
		case 1:
			edit(message, start, mine[at].len, unit, theirs[from].len);
			break;
		case 2:
			edit(message, start, mine[at].len, "", 0);
			break;
		case 3:
			edit(message, start, len, unit, nunit);
			break;
		case 4:					/* insert the unit and a comma before */
			edit(message, start, 0, unit, nunit);
			if (start + nunit <= message->len)
				edit(message, start + nunit, 0, ",", 1);
			break;
		case 5:					/* remove the unit and a comma */
			if (start + len < message->len && message->data[start + len] == ',')
				len++;
			else if (start > 0 && message->data[start - 1] == ',')
				start--, len++;
			edit(message, start, len, "", 0);
			break;
		case 6:
			mutate_bytes(message, other);
			break;
	}
}

/*
 * Mutations of a session
 */

void
session_mutate(Session *session, const Session *other, bool json)
{
	int			at;
	int			from;
	Message		message;

	if (session->nmessages == 0 || other->nmessages == 0)
		return;
	at = random_below(session->nmessages);
	from = random_below(random_below(2) == 0 ? session->nmessages : other->nmessages);
	if (from >= other->nmessages || random_below(2) == 0)
	{
		other = session;
		from %= session->nmessages;
	}
	switch (random_below(12))
	{
		case 0:
			remove_message(session, at);
			break;
		case 1:
			insert_message(session, at, &other->messages[from]);
			break;
		case 2:
			if (other != session)
				break;
			message = session->messages[at];
			session->messages[at] = session->messages[from];
			session->messages[from] = message;
			break;
		default:
			if (json)
				mutate_json(&session->messages[at], &other->messages[from]);
			else
				mutate_bytes(&session->messages[at], &other->messages[from]);
			break;
	}
}
