/*-------------------------------------------------------------------------
 *
 * from_query.h
 *	  Creating a rollup from any query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_FROM_QUERY_H
#define NOTIFY_STATS_FROM_QUERY_H

#include "nodes/pg_list.h"

#include "create.h"
#include "format.h"
#include "split.h"

extern Oid	from_query_create(const char *name, const char *text,
							  const Format *format,
							  const CreateOptions *options);
extern Split *from_query_split(const char *name, const char *text,
							   List *facts);

#endif							/* NOTIFY_STATS_FROM_QUERY_H */
