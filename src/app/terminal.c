#include "app/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool terminal_wants_colours(void) {
        const char *no_color = getenv("NO_COLOR");
        const char *term = getenv("TERM");
        return isatty(STDOUT_FILENO) == 1 && (no_color == NULL || *no_color == '\0') &&
               (term == NULL || strcmp(term, "dumb") != 0);
}

int terminal_columns(void) {
        struct winsize size;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
                return size.ws_col;
        }
        const char *columns = getenv("COLUMNS");
        long n = columns != NULL ? strtol(columns, NULL, 10) : 0;
        return n > 0 && n < 10000 ? (int)n : 80;
}
