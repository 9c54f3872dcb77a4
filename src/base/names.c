/*-------------------------------------------------------------------------
 *
 * names.c
 *	  Names of relations.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "names.h"

/*
 * Returns the name of an existing relation, schema-qualified and quoted;
 * palloc'd.
 */
char	   *
qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/*
 * The same, but returns NULL if there is no such relation.  The relation need
 * not be locked.
 */
char	   *
qualified_name_or_null(Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *namespace = get_namespace_name(get_rel_namespace(relid));

	return name && namespace ?
		quote_qualified_identifier(namespace, name) : NULL;
}
