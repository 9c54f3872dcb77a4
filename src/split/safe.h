/*-------------------------------------------------------------------------
 *
 * safe.h
 *	  Expressions that raise no errors.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_SAFE_H
#define NOTIFY_STATS_SAFE_H

#include "nodes/nodes.h"

extern bool safe_expression(Node *node);
extern bool safe_image(Node *node);
extern bool safe_image_of_type(Oid type, int32 typmod, Oid collation);

#endif							/* NOTIFY_STATS_SAFE_H */
