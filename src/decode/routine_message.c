/*-------------------------------------------------------------------------
 *
 * routine_message.c
 *	  Suppresses messages that the server logs with each use of a slot.
 *
 * Each peek, each advance and each creation of a slot logs several lines.  The
 * server has no setting for that, so these messages are suppressed here, and
 * no others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "routine_message.h"

/* a decoding function of the server is running for us */
static bool drop_them = false;

static emit_log_hook_type prev_emit_log_hook = NULL;

static void
drop_routine_messages(ErrorData *edata)
{
	static const char *const routine[] = {
		"starting logical decoding for slot ",
		"logical decoding found "
	};

	if (drop_them && edata->elevel == LOG && edata->message_id != NULL)
		for (int i = 0; i < lengthof(routine); i++)
			if (strncmp(edata->message_id, routine[i],
						strlen(routine[i])) == 0)
			{
				edata->output_to_server = false;
				edata->output_to_client = false;
			}

	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/* Installs the hook. */
void
routine_message_init(void)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = drop_routine_messages;
}

/*
 * Begins or ends suppressing them, in this process.  Must be ended also after
 * an error.
 */
void
routine_message_drop(bool drop)
{
	drop_them = drop;
}
