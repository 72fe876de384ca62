/* ackd dead-letter list. */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/dead_letter.h"
#include "app/layout.h"
#include "app/terminal.h"
#include "core/engine.h"

enum {
        GAP = 2,
        DETAIL_LEAST = 24, /* cells; with fewer each message gets lines of its own */
        STACK_INDENT = 4,
};

typedef enum Column {
        COLUMN_PLACE,
        COLUMN_REJECTED,
        COLUMN_STATE,
        COLUMN_HOST,
        COLUMN_HANDLER,
        COLUMN_REASON,
        COLUMN_OUTBOX,
        COLUMNS,
} Column;

static const char *const heads[COLUMNS] = {"MESSAGE", "REJECTED", "STATE", "HOST",
                                           "HANDLER", "REASON",   "OUTBOX"};

typedef struct Table {
        const DeadLetterCommand *command;
        Layout layout;
        Buffer out;
        int columns; /* cells of the terminal, 0: no limit */
        int widths[COLUMNS];
        bool stacked;
        bool headed;
        bool outbox; /* there is a dead-letter topic, as far as the first page tells */
} Table;

static bool is_shown(const Table *table, Column column) {
        return column == COLUMN_STATE    ? table->command->filter.which == DEAD_LETTERS_ALL
               : column == COLUMN_OUTBOX ? table->outbox
                                         : true;
}

/* "failing": it was tried, and waits for the next attempt; `show` has the error. */
static const char *outbox_text(const DeadLetter *letter) {
        if (strcmp(letter->outbox, "none") == 0) {
                return "-";
        }
        return strcmp(letter->outbox, "pending") == 0 && letter->outbox_error != NULL
                       ? "failing"
                       : letter->outbox;
}

static const char *cell_text(const DeadLetter *letter, Column column, char place[PLACE_TEXT]) {
        switch (column) {
        case COLUMN_PLACE:
                return dead_letter_place_text(letter, place);
        case COLUMN_REJECTED:
                return letter->rejected_at;
        case COLUMN_STATE:
                return dead_letter_state(letter);
        case COLUMN_HOST:
                return letter->host != NULL ? letter->host : "-";
        case COLUMN_HANDLER:
                return letter->handler != NULL ? letter->handler : DEAD_LETTERS_MESSAGE;
        case COLUMN_REASON:
                return letter->reason;
        case COLUMN_OUTBOX:
                return outbox_text(letter);
        case COLUMNS:
                break;
        }
        return "";
}

/* By its first page: later ones are as wide, but for a longer name. */
static void measure(Table *table, const DeadLetterPage *page) {
        int total = 0;
        for (size_t i = 0; i < page->n; i++) {
                table->outbox = table->outbox || strcmp(page->items[i].outbox, "none") != 0;
        }
        for (Column column = 0; column < COLUMNS; column++) {
                char place[PLACE_TEXT];
                table->widths[column] = is_shown(table, column) ? (int)strlen(heads[column]) : 0;
                for (size_t i = 0; i < page->n && is_shown(table, column); i++) {
                        const char *text = cell_text(&page->items[i], column, place);
                        int width = layout_width(&table->layout, text);
                        table->widths[column] =
                                width > table->widths[column] ? width : table->widths[column];
                }
                total += is_shown(table, column) ? table->widths[column] + GAP : 0;
        }
        table->stacked = table->columns > 0 && total + DETAIL_LEAST > table->columns;
}

/* What is left of the line gets the detail, cut to it. */
static void put_detail(Table *table, const char *detail) {
        char text[MESSAGE_DETAIL_MAX + 8];
        int room = table->columns > 0 ? table->columns - table->layout.column - GAP : INT32_MAX;
        snprintf(text, sizeof(text) - 4, "%s", detail);
        size_t n = strlen(text);
        while (n > 0 && layout_width(&table->layout, text) > room) {
                do {
                        n--;
                } while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80);
                strcpy(text + n, "…");
        }
        layout_item(&table->layout, STYLE_PLAIN, "%s", text);
}

static void put_head(Table *table) {
        layout_line(&table->layout, 0, 0);
        for (Column column = 0; column < COLUMNS; column++) {
                if (is_shown(table, column)) {
                        layout_cell(&table->layout, STYLE_DIM, table->widths[column], false,
                                    heads[column]);
                }
        }
        layout_item(&table->layout, STYLE_DIM, "DETAIL");
}

static void put_row(Table *table, const DeadLetter *letter) {
        char place[PLACE_TEXT];
        layout_line(&table->layout, 0, 0);
        for (Column column = 0; column < COLUMNS; column++) {
                if (is_shown(table, column)) {
                        layout_cell(&table->layout,
                                    column == COLUMN_PLACE ? STYLE_STRONG : STYLE_PLAIN,
                                    table->widths[column], false, cell_text(letter, column, place));
                }
        }
        if (letter->detail != NULL) {
                put_detail(table, letter->detail);
        }
}

static void put_stacked(Table *table, const DeadLetter *letter) {
        char place[PLACE_TEXT];
        layout_line(&table->layout, 0, STACK_INDENT);
        for (Column column = 0; column < COLUMNS; column++) {
                if (is_shown(table, column)) {
                        layout_item(&table->layout,
                                    column == COLUMN_PLACE ? STYLE_STRONG : STYLE_PLAIN, "%s",
                                    cell_text(letter, column, place));
                }
        }
        if (letter->detail != NULL) {
                layout_line(&table->layout, STACK_INDENT, STACK_INDENT);
                layout_words(&table->layout, STYLE_PLAIN, letter->detail);
        }
}

static int print_table_page(Table *table, const DeadLetterPage *page) {
        buffer_clear(&table->out);
        layout_begin(&table->layout, &table->out, table->columns, terminal_wants_colours());
        if (!table->headed) {
                measure(table, page);
                if (!table->stacked) {
                        put_head(table);
                }
                table->headed = true;
        }
        for (size_t i = 0; i < page->n; i++) {
                if (table->stacked) {
                        put_stacked(table, &page->items[i]);
                } else {
                        put_row(table, &page->items[i]);
                }
        }
        int r = layout_end(&table->layout);
        if (r == 0 && table->out.size > 0) {
                fwrite(table->out.data, 1, table->out.size, stdout);
        }
        return r;
}

/* --- JSON --------------------------------------------------------------------------------- */

static int print_json_page(const DeadLetterCommand *command, const DeadLetterPage *page,
                           uint64_t before) {
        CLEANUP(buffer_deinit) Buffer out = BUFFER_INIT;
        for (size_t i = 0; i < page->n; i++) {
                Json json;
                int r = buffer_append_string(&out, before + i > 0 ? ",\n" : "");
                json_begin(&json, &out);
                json_begin_object(&json);
                dead_letter_put_json(command, &json, &page->items[i], false);
                json_end_object(&json);
                r = r != 0 ? r : json_end(&json);
                if (r != 0) {
                        return r;
                }
        }
        fwrite(out.data, 1, out.size, stdout);
        return 0;
}

/* --- the list ----------------------------------------------------------------------------- */

static int print_pages(DeadLetterCommand *command, Table *table, uint64_t *shown, char **errorp) {
        while (*shown < command->limit) {
                DeadLetterPage page = {0};
                uint64_t left = command->limit - *shown;
                int r = dead_letters_next(command->desk, left < PAGE_ROWS ? left : PAGE_ROWS,
                                          PAGE_BYTES, false, &page, errorp);
                size_t n = page.n;
                if (r == 0 && n > 0) {
                        r = table != NULL ? print_table_page(table, &page)
                                          : print_json_page(command, &page, *shown);
                }
                dead_letter_page_deinit(&page);
                if (r != 0 || n == 0) {
                        return r;
                }
                *shown += n;
        }
        return 0;
}

/* How many there are, by reason; and what this group's list does not show. */
static int print_summary(const DeadLetterCommand *command, uint64_t shown, char **errorp) {
        DeadLetterCounts counts = {0}, others = {0};
        const DeadLetterFilter *filter = &command->filter;
        int r = dead_letters_reasons(command->desk, filter, &counts, errorp);
        r = r != 0 ? r : dead_letters_others(command->desk, &others, errorp);
        if (r == 0 && shown < (uint64_t)counts.total) {
                printf("… %llu more; --limit 0 lists all\n",
                       (unsigned long long)counts.total - (unsigned long long)shown);
        }
        if (r == 0 && counts.total == 0) {
                printf("No rejected message of group %s is %s\n", config_group(command->config),
                       filter->which == DEAD_LETTERS_ALL ? "there, or none fits"
                                                         : "open, or none fits; --all lists the "
                                                           "others too");
        } else if (r == 0) {
                printf("%lld %s:", (long long)counts.total,
                       filter->which == DEAD_LETTERS_ALL ? "in all" : "open");
                for (size_t i = 0; i < counts.n; i++) {
                        printf("%s %lld ", i > 0 ? "," : "", (long long)counts.items[i].n);
                        dead_letter_print(stdout, counts.items[i].word);
                }
                putchar('\n');
        }
        for (size_t i = 0; r == 0 && i < others.n; i++) {
                printf("%lld open of another group: -o kafka.group.id=",
                       (long long)others.items[i].n);
                dead_letter_print(stdout, others.items[i].word);
                printf(" lists %s\n", others.items[i].n == 1 ? "it" : "them");
        }
        dead_letter_counts_deinit(&counts);
        dead_letter_counts_deinit(&others);
        return r;
}

int dead_letter_list(DeadLetterCommand *command) {
        Table table = {.command = command,
                       .columns = isatty(STDOUT_FILENO) == 1 ? terminal_columns() : 0};
        uint64_t n = 0, shown = 0;
        char *error = NULL;
        /* Who names a message wants to see it, whatever its state. */
        bool all = command->all || command->filter.n_places > 0;
        command->filter.which = all ? DEAD_LETTERS_ALL : DEAD_LETTERS_OPEN;
        int r = dead_letters_select(command->desk, &command->filter, &n, &error);
        if (r == 0 && command->json) {
                fputs("[", stdout);
        }
        r = r != 0 ? r : print_pages(command, command->json ? NULL : &table, &shown, &error);
        if (r == 0 && command->json) {
                fputs("]\n", stdout);
        }
        r = r != 0 || command->json ? r : print_summary(command, shown, &error);
        buffer_deinit(&table.out);
        return r != 0 ? dead_letter_fail(command, r, error) : EXIT_OK;
}
