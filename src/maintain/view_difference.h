/*-------------------------------------------------------------------------
 *
 * view_difference.h
 *	  Comparing the view of a computed rollup with its definition.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_VIEW_DIFFERENCE_H
#define NOTIFY_STATS_VIEW_DIFFERENCE_H

#include "core.h"
#include "difference.h"

extern void view_difference_report(const Computed *computed,
								   VerifyCallback callback, void *arg);

#endif							/* NOTIFY_STATS_VIEW_DIFFERENCE_H */
