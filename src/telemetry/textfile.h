#pragma once

/*
 * Writes the page of metrics into a file, for node_exporter's textfile collector.
 *
 * A thread writes, since a disk can hang; it always takes the newest page and leaves out those that
 * came meanwhile. A reader never sees half a page: it is written beside the file (PATH.tmp) and
 * renamed. Not synced: after a power cut a page that is seconds old is worth nothing.
 *
 * A path belongs to one daemon: two of them replace each other's pages, and may rename each other's
 * unfinished ones. That is noticed when a file is not the one that was written before, and said.
 */

#include <stdbool.h>
#include <stdint.h>

#include "telemetry/log.h"
#include "util/buffer.h"

typedef struct Textfile Textfile;

/* Starts the thread. @path is copied; @log is told when writing fails, when it works again, and
 * when another writes there too, and must live as long. Negative errno. */
MUST_CHECK int textfile_new(Textfile **filep, const char *path, Log *log);

/* Ends the thread. What it has not begun is not written: textfile_flush() before. Never waits for
 * the disk: a thread that hangs in it is left behind, touches nothing of the caller's any more, and
 * frees itself should it return. NULL is allowed. */
void textfile_free(Textfile *file);

/* Hands over the page and returns at once. @page is emptied, and gets another's memory. */
void textfile_write(Textfile *file, Buffer *page);

/* Waits, for @limit_us at most, until the newest page is written. False: it is not, because of the
 * limit or of an error (which was logged). True too when there was never a page. */
bool textfile_flush(Textfile *file, int64_t limit_us);
