#include "handlers/actions/command.h"

#include <stdlib.h>
#include <string.h>

#include "handlers/actions/lookup.h"
#include "util/json.h"

/* Replaces @why by a sentence. */
static int say(Buffer *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int say(Buffer *why, const char *format, ...) {
        if (why == NULL) {
                return 0;
        }
        va_list ap;
        buffer_clear(why);
        va_start(ap, format);
        int r = buffer_vprintf(why, format, ap);
        va_end(ap);
        return r;
}

static int command_compile(Command *command, const char *const *templates, Buffer *why) {
        for (size_t i = 0; i < command->n; i++) {
                char *error = NULL;
                int r = template_new(&command->templates[i], templates[i], &error);
                if (r == TEMPLATE_E_SYNTAX) {
                        r = say(why, "argv[%zu]: %s", i, error);
                        free(error);
                        return r != 0 ? r : COMMAND_E_TEMPLATE;
                }
                if (r != 0) {
                        return r;
                }
        }
        /* A message must never choose the program. */
        if (command->n == 0 || templates[0][0] != '/' ||
            !template_is_literal(command->templates[0])) {
                int r = say(why, "argv[0] is the program: it must be an absolute path, such as "
                                 "/usr/bin/ssh, without placeholders; there is no search in PATH");
                return r != 0 ? r : COMMAND_E_TEMPLATE;
        }
        return 0;
}

int command_init(Command *command, const char *const *templates, Buffer *why) {
        Command new = {0};
        while (templates[new.n] != NULL) {
                new.n++;
        }
        new.templates = calloc(new.n + 1, sizeof(*new.templates));
        new.starts = calloc(new.n + 1, sizeof(*new.starts));
        new.argv = calloc(new.n + 1, sizeof(*new.argv));
        int r = new.templates == NULL || new.starts == NULL || new.argv == NULL
                        ? error_origin(-ENOMEM)
                        : command_compile(&new, templates, why);
        if (r != 0) {
                command_deinit(&new);
                return r;
        }
        *command = new;
        return 0;
}

void command_deinit(Command *command) {
        for (size_t i = 0; command->templates != NULL && i < command->n; i++) {
                template_free(command->templates[i]);
        }
        free(command->templates);
        free(command->starts);
        free(command->argv);
        buffer_deinit(&command->text);
        *command = (Command){0};
}

int command_expand(Command *command, const ActionRequest *request, Buffer *why) {
        Buffer *text = &command->text;
        buffer_clear(text);
        for (size_t i = 0; i < command->n; i++) {
                const char *placeholder = "";
                command->starts[i] = text->size;
                int r = template_expand(command->templates[i], action_look_up, (void *)request,
                                        text, &placeholder);
                if (r > 0) {
                        r = say(why, "argv[%zu]: %s: %s", i, placeholder, template_error_text(r));
                        return r != 0 ? r : COMMAND_E_POISON;
                }
                r = r != 0 ? r : buffer_append_char(text, '\0');
                if (r != 0) {
                        return r;
                }
                if (text->size > COMMAND_BYTES_MAX) {
                        r = say(why, "argv[%zu]: the command is longer than %d bytes", i,
                                COMMAND_BYTES_MAX);
                        return r != 0 ? r : COMMAND_E_POISON;
                }
        }
        for (size_t i = 0; i < command->n; i++) {
                command->argv[i] = (char *)text->data + command->starts[i];
        }
        return 0;
}

/* What a shell would take as it stands. */
static bool is_plain(const char *argument) {
        return *argument != '\0' &&
               argument[strspn(argument, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789%+,-./:=@^_")] == '\0';
}

int command_print(const Command *command, Buffer *out) {
        int r = 0;
        for (size_t i = 0; r == 0 && i < command->n; i++) {
                const char *argument = command->argv[i];
                r = i > 0 ? buffer_append_char(out, ' ') : 0;
                if (r == 0) {
                        r = is_plain(argument)
                                    ? buffer_append_string(out, argument)
                                    : json_append_string(out, argument, strlen(argument));
                }
        }
        return r;
}
