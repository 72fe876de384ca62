#pragma once

/* Names of users for the log. */

#include <stddef.h>
#include <sys/types.h>

enum {
        USER_TEXT_MAX = 48,
};

/* "user jo", or "user id 7" when /etc/passwd has none: only the local file is read, since a
 * directory service could hold up the loop. Yields @out. Any thread. */
const char *user_text(char out[USER_TEXT_MAX], uid_t uid);
