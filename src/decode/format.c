/*-------------------------------------------------------------------------
 *
 * format.c
 *	  The list of formats.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "definition.h"
#include "format.h"
#include "settings.h"
#include "source.h"

/* in the order of the values of notify_stats.format */
static const Format *const formats[] = {
	&format_native,
	&format_pgoutput,
	&format_wal2json,
};

/* Returns the format of that name, or NULL. */
const Format *
format_lookup(const char *name)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}

/* Returns the format of the slots of an output plugin, or NULL. */
const Format *
format_of_plugin(const char *plugin)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i]->plugin, plugin) == 0)
			return formats[i];
	return NULL;
}

/* Returns the format of a new slot: the setting notify_stats.format. */
const Format *
format_chosen(void)
{
	return formats[notify_stats_format];
}

/*
 * Throws unless the changes of a definition's source can be read in that
 * format.
 */
void
format_check_source(const Format *format, const Definition *definition,
					Oid source)
{
	Bitmapset  *columns = definition_source_columns(definition, source);

	source_check_identity(source, columns, format == &format_pgoutput);
	if (format->check_source != NULL)
		format->check_source(source, columns);
}
