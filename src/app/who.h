#pragma once

/*
 * Who gives a command, for those who ask later: kept beside what was decided. It is told, not
 * proved: whoever may write to the tables may write anything there.
 */

#include <stddef.h>

enum {
        WHO_MAX = 256, /* bytes with its NUL */
};

/* "jo@web1", or "jo@web1 as root" when @user, as whom the process runs, is another one than the
 * person: @sudo_user, else @login. NULL or empty: not known; without all three @uid stands there.
 * What is no plain text in them is left out. Yields @out. Pure. */
const char *who_format(char out[WHO_MAX], const char *sudo_user, const char *login,
                       const char *user, unsigned long uid, const char *host);

/* Of this process. */
const char *who_calls(char out[WHO_MAX]);
