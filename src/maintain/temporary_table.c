/*-------------------------------------------------------------------------
 *
 * temporary_table.c
 *	  The temporary tables of a build.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "temporary_table.h"
#include "xact.h"

void
temporary_table_drop(const char *name)
{
	Oid			namespace = LookupNamespaceNoError("pg_temp");

	if (OidIsValid(namespace) &&
		OidIsValid(get_relname_relid(name, namespace)))
		xact_execute(psprintf("DROP TABLE pg_temp.%s",
							  quote_identifier(name)));
}

/*
 * Creates a temporary table, which the rollup's owner can fill.  "made" is a
 * list of columns, or AS and a query.  The table does not belong to the
 * rollup's owner.  An owner could rename it, or add triggers to it, which
 * could harm the session that has called catch_up().
 */
void
temporary_table_create(const Rollup *rollup, const char *name,
					   const char *made)
{
	temporary_table_drop(name);
	name = quote_identifier(name);
	xact_execute(psprintf("CREATE TEMPORARY TABLE %s %s", name, made));
	xact_execute(psprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON pg_temp.%s TO %s", name,
						  quote_identifier(GetUserNameFromId(rollup->shape->owner, false))));
}
