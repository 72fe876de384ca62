#include "util/user.h"

#include <pwd.h>
#include <stdio.h>

const char *user_text(char out[USER_TEXT_MAX], uid_t uid) {
        FILE *file = fopen("/etc/passwd", "re");
        struct passwd *entry = NULL;
        while (file != NULL && (entry = fgetpwent(file)) != NULL && entry->pw_uid != uid) {
        }
        if (entry != NULL) {
                snprintf(out, USER_TEXT_MAX, "user %s", entry->pw_name);
        } else {
                snprintf(out, USER_TEXT_MAX, "user id %u", (unsigned)uid);
        }
        if (file != NULL) {
                fclose(file);
        }
        return out;
}
