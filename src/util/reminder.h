#pragma once

/*
 * What is said of something that lasts: at once when it begins, and then once a minute for as long
 * as it is still so. A line that is repeated at every attempt hides the others; one that is said
 * once is not there any more when somebody looks.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
        REMINDER_SEEN = 32, /* different things that are remembered; over it, the oldest goes */
};

#define REMINDER_AGAIN_US (60 * INT64_C(1000000))

/* Zeroed: nothing was said. */
typedef struct Reminder {
        struct {
                uint64_t hash; /* 0: unused */
                int64_t said_us;
        } seen[REMINDER_SEEN];
} Reminder;

/* Whether @what is to be said now: not in the last minute. Then it counts as said. */
bool reminder_is_due(Reminder *reminder, const char *what, int64_t now);

/* The same for what needs no haste: not in the last @again_us. A Reminder has one of the two. */
bool reminder_is_due_every(Reminder *reminder, const char *what, int64_t now, int64_t again_us);

/* The state changed: everything is news again. */
void reminder_forget(Reminder *reminder);
