/*-------------------------------------------------------------------------
 *
 * format.c
 *	  The formats that there are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "format.h"
#include "notify_stats.h"

/* in the order of the values of notify_stats.format */
static const Format *const formats[] = {
	&format_native,
	&format_pgoutput,
	&format_wal2json,
};

const Format *
format_lookup(const char *name)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

const Format *
format_of_plugin(const char *plugin)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i]->plugin, plugin) == 0)
			return formats[i];
	return NULL;
}

const Format *
format_chosen(void)
{
	return formats[notify_stats_format];
}
