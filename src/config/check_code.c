#include <stdio.h>
#include <string.h>

#include "config/checker.h"
#include "config/keys.h"
#include "config/problems.h"

/*
 * Placeholders that become code. Each stays one argument, but an argument may be code to what is
 * run: the script of `sh -c`, and whatever ssh hands to the shell on the other side.
 */

static const char *base_name(const char *path) {
        const char *slash = strrchr(path, '/');
        return slash != NULL ? slash + 1 : path;
}

static bool is_shell(const char *name) {
        static const char *const shells[] = {"ash",  "bash",  "dash", "fish", "ksh",
                                             "mksh", "rbash", "sh",   "zsh"};
        for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
                if (strcmp(shells[i], name) == 0) {
                        return true;
                }
        }
        return false;
}

static bool is_option(const char *argument) {
        return (argument[0] == '-' || argument[0] == '+') && argument[1] != '\0';
}

/* The script among the arguments of a shell, as in `sh -e -o pipefail -c SCRIPT`; NULL: none. */
static const char *find_script(char *const *argument) {
        bool script = false;
        for (; *argument != NULL; argument++) {
                const char *option = *argument;
                if (!is_option(option)) {
                        return script ? option : NULL;
                }
                bool is_long = option[1] == '-';
                size_t size = strlen(option);
                script = script || (!is_long && option[0] == '-' && strchr(option, 'c') != NULL);
                /* -o NAME */
                if (!is_long && (option[size - 1] == 'o' || option[size - 1] == 'O') &&
                    argument[1] != NULL) {
                        argument++;
                }
        }
        return NULL;
}

static void warn_script(const Checker *checker, const char *path, const char *shell,
                        const char *script) {
        const char *open = strstr(script, "{{");
        const char *shut = strstr(open, "}}");
        int size = shut != NULL ? (int)(shut + 2 - open) : (int)strlen(open);
        problem_add(&checker->errors->warnings, checker_origin(checker->config, path),
                    "%s: %.*s stands in the code of %s -c, and becomes a part of it; write \"$1\" "
                    "there, and give it behind the code as an argument of its own: -c, 'CODE "
                    "\"$1\"', %s, \"%.*s\"",
                    path, size, open, shell, shell, size, open);
}

/* The letters of a host are known; those of an id or another field are whoever's. */
static const char *find_field(const char *text) {
        const char *field = strstr(text, "{{message.");
        return field != NULL ? field : strstr(text, "{{id}}");
}

static void warn_ssh(const Checker *checker, const char *path, char *const *argument) {
        while (*argument != NULL && strstr(*argument, "{{host") == NULL) {
                argument++;
        }
        for (; *argument != NULL; argument++) {
                const char *field = find_field(*argument);
                const char *shut = field != NULL ? strstr(field, "}}") : NULL;
                if (shut == NULL) {
                        continue;
                }
                problem_add(&checker->errors->warnings, checker_origin(checker->config, path),
                            "%s: %.*s: ssh gives what stands behind the host to a shell there, so "
                            "what a message brings is run as code; of the placeholders only "
                            "{{host}} and {{host.label}} are safe in it",
                            path, (int)(shut + 2 - field), field);
                return;
        }
}

void check_code(const Checker *checker, const char *section, const ConfigExec *exec) {
        char path[KEY_PATH];
        char **argv = exec->argv;
        snprintf(path, sizeof(path), "%s.exec.argv", section);
        for (size_t i = 0; argv != NULL && argv[i] != NULL; i++) {
                const char *name = base_name(argv[i]);
                const char *script = is_shell(name) ? find_script(argv + i + 1) : NULL;
                if (script != NULL && strstr(script, "{{") != NULL) {
                        warn_script(checker, path, name, script);
                        return;
                }
        }
        if (argv != NULL && strcmp(base_name(argv[0]), "ssh") == 0) {
                warn_ssh(checker, path, argv + 1);
        }
}
