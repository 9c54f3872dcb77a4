/*-------------------------------------------------------------------------
 *
 * plugin.h
 *	  What the output plugin notify_stats tells the process that decodes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_PLUGIN_H
#define NOTIFY_STATS_PLUGIN_H

#include "replication/logical.h"

extern bool plugin_is_ours(const OutputPluginCallbacks *callbacks);
extern bool plugin_ignores_last_change(const LogicalDecodingContext *decoding);
extern uint64 plugin_catalog_generation(void);

#endif							/* NOTIFY_STATS_PLUGIN_H */
