#pragma once

/* Secrets, which lie in files of their own and are read again at each use, so that a new one counts
 * at once. */

#include "util/buffer.h"

enum {
        SECRET_E_UNFIT = 1, /* it cannot be used; *@why */

        SECRET_BYTES_MAX = 16 * 1024,
};

/*
 * Appends what the file holds, one line end at its end left out. *@why: what
 * stands behind "FILE: ", such as "Permission denied" or "is empty"; static. Refused: what is no
 * regular file (a pipe would hold up the loop), empty, over SECRET_BYTES_MAX, or has a control
 * character (which a header must not have). 0, SECRET_E_UNFIT, -ENOMEM; @out is then as it was.
 */
MUST_CHECK int secret_read(const char *path, Buffer *out, const char **why);

/* Overwrites what the buffer holds, and empties it. */
void secret_wipe(Buffer *buffer);
