/*-------------------------------------------------------------------------
 *
 * users_code.h
 *	  Whether an expression may call code of users.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_USERS_CODE_H
#define NOTIFY_STATS_USERS_CODE_H

#include "nodes/nodes.h"

extern bool users_code_in(Node *expression);
extern bool users_code_in_type(Oid type);

#endif							/* NOTIFY_STATS_USERS_CODE_H */
