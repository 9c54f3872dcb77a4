/*-------------------------------------------------------------------------
 *
 * format.c
 *	  The formats that there are.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "format.h"

static const Format *const formats[] = {
	&format_native,
};

const Format *
format_lookup(const char *name)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strcmp(formats[i]->name, name) == 0)
			return formats[i];
	return NULL;
}
