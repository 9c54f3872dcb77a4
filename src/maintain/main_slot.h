/*-------------------------------------------------------------------------
 *
 * main_slot.h
 *	  Creating, replacing and dropping the slot of the main stream.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NOTIFY_STATS_MAIN_SLOT_H
#define NOTIFY_STATS_MAIN_SLOT_H

#include "slot.h"
#include "stream.h"

/* Interval for checking whether a slot in use by others is free again. */
#define MAIN_SLOT_RETRY_MS 1000

extern bool main_slot_note_use(bool look);
extern void main_slot_drop_orphans(void);
extern void main_slot_create(void);
extern bool main_slot_is_sound(const StreamRow *row, SlotInfo *slot);
extern void main_slot_give_up_as_requested(const StreamRow *row);
extern void main_slot_give_up(const StreamRow *row, const char *reason);
extern bool main_slot_replace(const StreamRow *row);
extern const char *main_slot_loss_reason(const StreamRow *row);
extern void main_slot_touch(void);
extern bool main_slot_wants_failover(void);
extern bool main_slot_follows_settings(void);
extern void main_slot_follow_settings(bool at_once);
extern int	main_slot_touch_interval(void);

#endif							/* NOTIFY_STATS_MAIN_SLOT_H */
