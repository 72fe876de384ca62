#pragma once

/* What commands ask about where they print. */

#include <stdbool.h>

/* Whether stdout may get colours: a terminal, no NO_COLOR, not TERM=dumb. */
bool terminal_wants_colours(void);

/* The width of the terminal at stdout, else $COLUMNS, else 80. */
int terminal_columns(void);
