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

extern Oid	rollup_create(const char *name, const char *definition,
						  const Format *format,
						  List *ignore_deletes);
extern void rollup_adopt_table(Oid relid, const Format *format,
							   List *ignore_deletes);

/*
 * The steps of both, for computed.c.  All checks come before anything is made.
 */
typedef struct NewTable
{
	RangeVar   *table;			/* with its schema */
	const char *text;			/* of its definition */
	RawStmt    *statement;
	Definition *definition;
} NewTable;

extern char *create_definition_name(const char *name);
extern void create_check_number(int n);
extern void create_comments(const char *kind, const char *rollup,
							const char *definition, const char *description,
							const List *ignored);
extern RangeVar *create_resolve_name(const char *name);
extern void create_check_names(const RangeVar *rollup, List *cores);
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
extern void create_adopt_left(const Rollup *rollup, List *ignored);

#endif							/* NOTIFY_STATS_CREATE_H */
