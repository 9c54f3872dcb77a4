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

/*
 * Whether to evaluate an expression, or a list of them, may call anything but
 * what came with the server: a function of its own, or one that compares, reads
 * or checks values of a type.  Rather true than false.
 */
extern bool users_code_in(Node *expression);

/*
 * The same of the functions that a type comes with.  Those of an enum are the
 * server's.
 */
extern bool users_code_in_type(Oid type);

#endif							/* NOTIFY_STATS_USERS_CODE_H */
