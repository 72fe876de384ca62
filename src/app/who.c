#include "app/who.h"

#include <ctype.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        NAME_MAX_BYTES = 64, /* Linux has 32 for a user, 64 for a host */
};

/* An environment may hold anything, and the line goes to terminals. */
static const char *plain(const char *name, char out[NAME_MAX_BYTES + 1]) {
        size_t n = 0;
        for (const char *c = name; c != NULL && *c != '\0' && n < NAME_MAX_BYTES; c++) {
                if (isalnum((unsigned char)*c) || strchr("._-$@\\", *c) != NULL) {
                        out[n++] = *c;
                }
        }
        out[n] = '\0';
        return out;
}

const char *who_format(char out[WHO_MAX], const char *sudo_user, const char *login,
                       const char *user, unsigned long uid, const char *host) {
        char sudo[NAME_MAX_BYTES + 1], tty[NAME_MAX_BYTES + 1], self[NAME_MAX_BYTES + 1],
                place[NAME_MAX_BYTES + 1], number[32];
        plain(sudo_user, sudo);
        plain(login, tty);
        plain(user, self);
        plain(host, place);
        snprintf(number, sizeof(number), "uid %lu", uid);
        const char *as = self[0] != '\0' ? self : number;
        const char *person = sudo[0] != '\0' ? sudo : tty[0] != '\0' ? tty : as;
        bool other = strcmp(person, as) != 0;
        snprintf(out, WHO_MAX, "%s@%s%s%s", person, place[0] != '\0' ? place : "?",
                 other ? " as " : "", other ? as : "");
        return out;
}

const char *who_calls(char out[WHO_MAX]) {
        char host[NAME_MAX_BYTES + 1] = "";
        const struct passwd *entry = getpwuid(getuid());
        gethostname(host, sizeof(host) - 1);
        return who_format(out, getenv("SUDO_USER"), getlogin(),
                          entry != NULL ? entry->pw_name : NULL, (unsigned long)getuid(), host);
}
