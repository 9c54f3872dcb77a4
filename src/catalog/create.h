/*-------------------------------------------------------------------------
 *
 * create.h
 *	  Creating a rollup.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_CREATE_H
#define NOTIFY_STATS_CREATE_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

#include "definition.h"
#include "format.h"
#include "rollup.h"

/* What create_rollup() is told besides the name and the query. */
typedef struct CreateOptions
{
	List	   *ignore_deletes; /* names (char *) of sources whose deleted rows
								 * continue to count */
	List	   *facts;			/* names of tables; see from_query_split */
	bool		adopt;			/* the table exists */
	const char *updated_at;		/* the column in which apply.c notes the time
								 * of a change; NULL: none */
	bool		to_compare;		/* it is dropped again at once */
} CreateOptions;

extern Oid	rollup_create(const char *name, const char *definition,
						  const Format *format,
						  const CreateOptions *options);
extern void rollup_adopt_table(Oid relid, const Format *format,
							   const CreateOptions *options);

/*
 * The steps of both, for computed.c.  All checks come before anything is made.
 */
typedef struct NewTable
{
	RangeVar   *table;			/* with its schema */
	const char *text;			/* of its definition */
	RawStmt    *statement;
	Definition *definition;
	Oid			adopted;		/* the table, if it exists already */
	const char *updated_at;		/* as in CreateOptions */
} NewTable;

extern char *create_definition_name(const char *name);
extern void create_check_number(int n);
extern void create_comments(const char *kind, const char *rollup,
							const char *definition, const char *description,
							const List *ignored);
extern RangeVar *create_resolve_name(const char *name);
extern void create_check_names(const RangeVar *rollup, List *cores,
							   bool adopt);
extern RawStmt *create_parse(const char *text);
extern Query *create_analyze(const char *text);
extern NewTable *create_prepare(const RangeVar *rollup, const char *name,
								const char *text, const Format *format);
extern List *create_resolve_ignored(List *names, List *definitions,
									const Format *format, bool cores);
extern Oid	create_prepared(const NewTable *new, List *ignored);
extern Oid	create_view(const RangeVar *rollup, const char *name,
						const RawStmt *statement, const char *text);

extern void create_check_adoptable(Oid relid);
extern Rollup *create_open_left(Oid relid, const Format *format);
extern void create_adopt_left(const Rollup *rollup, List *ignored,
							  const char *updated_at);

#endif							/* NOTIFY_STATS_CREATE_H */
