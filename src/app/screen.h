#pragma once

/*
 * A terminal that belongs to us for a while: its other screen, without a cursor, keys as they are
 * pressed. ncurses does it, which knows the terminals, and writes only what has changed.
 *
 * One at a time in a process. The caller keeps signals away from it (blocked, read with signalfd),
 * and closes it before the process ends, however it ends.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

typedef struct Screen Screen;

enum {
        SCREEN_E_TERMINAL = 1, /* stdin and stdout are none, or it is not known */
};

/* 0, SCREEN_E_TERMINAL, or -ENOMEM. */
MUST_CHECK int screen_open(Screen **screenp, bool colour);
/* The terminal is as it was. NULL is allowed. */
void screen_close(Screen *screen);

/* Asks the terminal for its size: at the start, and with each SIGWINCH. */
void screen_resize(Screen *screen);
int screen_columns(const Screen *screen);

/* Shows the lines of a Layout, with its escape sequences. A line that is too long goes on in the
 * next one; when there are too many, the last one says how many are missing. It begins as far down
 * as it was scrolled, but not below the last screenful. */
void screen_paint(Screen *screen, const char *text);

/* Takes @key when it is one that scrolls (arrows, j and k; page up and down, b and the blank; Home,
 * g): then the text is to be painted anew. */
bool screen_scroll(Screen *screen, int key);

/* The next key that was pressed; -1: none. Does not wait. */
int screen_key(Screen *screen);
