#include "util/reminder.h"

#include <stddef.h>
#include <string.h>

/* FNV-1a */
static uint64_t hash_text(const char *text) {
        uint64_t hash = UINT64_C(14695981039346656037);
        for (const char *p = text; *p != '\0'; p++) {
                hash = (hash ^ (uint8_t)*p) * UINT64_C(1099511628211);
        }
        return hash != 0 ? hash : 1;
}

bool reminder_is_due(Reminder *reminder, const char *what, int64_t now) {
        return reminder_is_due_every(reminder, what, now, REMINDER_AGAIN_US);
}

bool reminder_is_due_every(Reminder *reminder, const char *what, int64_t now, int64_t again_us) {
        uint64_t hash = hash_text(what);
        size_t at = 0;
        for (size_t i = 0; i < REMINDER_SEEN; i++) {
                if (reminder->seen[i].hash == hash) {
                        if (now - reminder->seen[i].said_us < again_us) {
                                return false;
                        }
                        at = i;
                        break;
                }
                /* One that is unused was never said, which is older than anything. */
                if (reminder->seen[at].hash != 0 &&
                    (reminder->seen[i].hash == 0 ||
                     reminder->seen[i].said_us < reminder->seen[at].said_us)) {
                        at = i;
                }
        }
        reminder->seen[at].hash = hash;
        reminder->seen[at].said_us = now;
        return true;
}

void reminder_forget(Reminder *reminder) {
        memset(reminder, 0, sizeof(*reminder));
}
