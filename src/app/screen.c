#include "app/screen.h"

#include <curses.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

struct Screen {
        SCREEN *terminal;
        int top;   /* lines of the text above the first that is shown */
        int shown; /* lines that are */
};

enum {
        CELLS_MAX = 2000, /* rows, and columns: ncurses counts them in shorts, and takes memory for
                             each */
        PAIR_GREEN = 1,
        PAIR_YELLOW,
        PAIR_RED,
};

int screen_open(Screen **screenp, bool colour) {
        const char *term = getenv("TERM");
        if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1 || term == NULL ||
            strcmp(term, "dumb") == 0) {
                return SCREEN_E_TERMINAL;
        }
        Screen *screen = calloc(1, sizeof(*screen));
        if (screen == NULL) {
                return error_origin(-ENOMEM);
        }
        screen->terminal = newterm(NULL, stdout, stdin);
        if (screen->terminal == NULL) {
                free(screen);
                return SCREEN_E_TERMINAL;
        }
        cbreak();
        noecho();
        nodelay(stdscr, TRUE);
        keypad(stdscr, TRUE);
        set_escdelay(25);
        curs_set(0);
        if (colour && has_colors() && start_color() == OK) {
                use_default_colors();
                init_pair(PAIR_GREEN, COLOR_GREEN, -1);
                init_pair(PAIR_YELLOW, COLOR_YELLOW, -1);
                init_pair(PAIR_RED, COLOR_RED, -1);
        }
        screen_resize(screen);
        *screenp = screen;
        return 0;
}

void screen_close(Screen *screen) {
        if (screen != NULL) {
                endwin();
                delscreen(screen->terminal);
                free(screen);
        }
}

void screen_resize(Screen *screen) {
        struct winsize size;
        (void)screen;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
                resizeterm(size.ws_row < CELLS_MAX ? size.ws_row : CELLS_MAX,
                           size.ws_col < CELLS_MAX ? size.ws_col : CELLS_MAX);
        }
}

int screen_columns(const Screen *screen) {
        (void)screen;
        return COLS;
}

/* --- painting ----------------------------------------------------------------------------- */

/* What follows ESC [ up to its m, as attributes. */
static attr_t attributes_of(const char *sequence) {
        attr_t attributes = A_NORMAL;
        for (const char *p = sequence; *p != 'm' && *p != '\0';) {
                char *end = NULL;
                long code = strtol(p, &end, 10);
                attributes |= code == 1    ? A_BOLD
                              : code == 2  ? A_DIM
                              : code == 31 ? (attr_t)COLOR_PAIR(PAIR_RED)
                              : code == 32 ? (attr_t)COLOR_PAIR(PAIR_GREEN)
                              : code == 33 ? (attr_t)COLOR_PAIR(PAIR_YELLOW)
                                           : A_NORMAL;
                p = *end == ';' ? end + 1 : end;
                if (*p != 'm' && end == p) {
                        break;
                }
        }
        return attributes;
}

/* Bytes of the escape sequence at @p; 0: there is none. */
static size_t sequence_size(const char *p, const char *end) {
        if (p + 1 >= end || p[0] != '\033' || p[1] != '[') {
                return 0;
        }
        const char *m = memchr(p, 'm', (size_t)(end - p));
        return m != NULL ? (size_t)(m - p) + 1 : 0;
}

static int rows_of(const char *line, const char *end) {
        mbstate_t state = {0};
        int cells = 0;
        while (line < end) {
                size_t skip = sequence_size(line, end);
                wchar_t c = 0;
                size_t n = skip > 0 ? skip : mbrtowc(&c, line, (size_t)(end - line), &state);
                if (n == 0 || n > (size_t)(end - line)) {
                        n = 1;
                        state = (mbstate_t){0};
                }
                int width = skip > 0 ? 0 : wcwidth(c);
                cells += skip > 0 ? 0 : width > 0 ? width : 0;
                line += n;
        }
        return cells > COLS ? (cells + COLS - 1) / COLS : 1;
}

static void paint_line(int row, const char *line, const char *end) {
        attrset(A_NORMAL);
        move(row, 0);
        while (line < end) {
                size_t skip = sequence_size(line, end);
                if (skip > 0) {
                        attrset(attributes_of(line + 2));
                        line += skip;
                        continue;
                }
                const char *escape = memchr(line + 1, '\033', (size_t)(end - line - 1));
                const char *stop = escape != NULL ? escape : end;
                addnstr(line, (int)(stop - line));
                line = stop;
        }
        attrset(A_NORMAL);
}

static void say_missing(int row, int lines) {
        const char *dots = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "…" : "...";
        mvprintw(row, 0, "%s %d more line%s", dots, lines, lines == 1 ? "" : "s");
}

/* From the line @text on, where the rest of it begins. */
static const char *next_line(const char *text, int *rowsp) {
        const char *end = text + strcspn(text, "\n");
        *rowsp = rows_of(text, end);
        return *end == '\0' ? end : end + 1;
}

/* The lines above the last screenful: no more of them are scrolled away. */
static int lines_above(const char *text, int all) {
        int n = 0, rows;
        while (all > LINES && *text != '\0') {
                text = next_line(text, &rows);
                all -= rows;
                n++;
        }
        return n;
}

void screen_paint(Screen *screen, const char *text) {
        int all = 0, lines = 0, row = 0, rows;
        for (const char *line = text; *line != '\0'; lines++) {
                line = next_line(line, &rows);
                all += rows;
        }
        int most = lines_above(text, all);
        screen->top = screen->top < most ? screen->top : most;
        for (int i = 0; i < screen->top; i++) {
                text = next_line(text, &rows);
                all -= rows;
                lines--;
        }
        screen->shown = 0;
        erase();
        for (const char *line = text, *end; *line != '\0'; line = *end == '\0' ? end : end + 1) {
                end = line + strcspn(line, "\n");
                rows = rows_of(line, end);
                if (row + rows > LINES - (all > LINES ? 1 : 0)) {
                        say_missing(row, lines);
                        break;
                }
                paint_line(row, line, end);
                row += rows;
                lines--;
                screen->shown++;
        }
        refresh();
}

bool screen_scroll(Screen *screen, int key) {
        int page = screen->shown > 1 ? screen->shown : 1;
        int by = key == 'j' || key == KEY_DOWN    ? 1
                 : key == 'k' || key == KEY_UP    ? -1
                 : key == ' ' || key == KEY_NPAGE ? page
                 : key == 'b' || key == KEY_PPAGE ? -page
                 : key == 'g' || key == KEY_HOME  ? -screen->top
                                                  : 0;
        screen->top = screen->top + by > 0 ? screen->top + by : 0;
        return by != 0;
}

int screen_key(Screen *screen) {
        (void)screen;
        int key = getch();
        return key == ERR ? -1 : key;
}
