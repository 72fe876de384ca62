#include "config/zones.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/usr/share/zoneinfo"

enum {
        NAME_MAX_BYTES = 64, /* the longest of the database has 32 */
};

static const char *folder(void) {
        /* Not of an environment that somebody else made, should ackd ever be set-uid. */
        const char *named = secure_getenv("TZDIR");
        return named != NULL && named[0] == '/' ? named : FOLDER;
}

/* Names between slashes that begin with a letter: neither an absolute path nor "..". */
static bool is_name(const char *name) {
        bool begins = true;
        if (strlen(name) > NAME_MAX_BYTES) {
                return false;
        }
        for (const char *p = name; *p != '\0'; p++) {
                unsigned char c = (unsigned char)*p;
                if (begins ? !isalpha(c) : !isalnum(c) && strchr("_+-/", c) == NULL) {
                        return false;
                }
                begins = c == '/';
        }
        return !begins;
}

static int unfit(Buffer *why, const char *text) {
        int r = buffer_append_string(why, text);
        return r != 0 ? r : ZONES_E_UNFIT;
}

/* Negative: an errno. Not over ZONE_SIZE_MAX and one byte. */
static ssize_t read_file(const char *path, uint8_t *data) {
        struct stat status;
        size_t size = 0;
        ssize_t n = 1;
        /* A fifo must not hold up the start, nor a device be opened for more than its name. */
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
                return -errno;
        }
        if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
                close(fd);
                return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
        }
        while (n > 0 && size <= ZONE_SIZE_MAX) {
                n = read(fd, data + size, ZONE_SIZE_MAX + 1 - size);
                size += n > 0 ? (size_t)n : 0;
        }
        int error = n < 0 ? -errno : 0;
        close(fd);
        return error != 0 ? error : (ssize_t)size;
}

static int refuse_file(Buffer *why, int error) {
        int r;
        if (error != -ENOENT && error != -ENOTDIR && error != -EISDIR) {
                r = buffer_printf(why, "cannot be read in %s: %s", folder(), strerror(-error));
        } else if (access(folder(), F_OK) != 0) {
                r = buffer_printf(why, "cannot be looked up: there is no %s; install tzdata",
                                  folder());
        } else {
                r = buffer_printf(why, "is no zone of %s", folder());
        }
        return r != 0 ? r : ZONES_E_UNFIT;
}

int zones_load(Zone **zonep, const char *name, Buffer *why) {
        const char *wrong = NULL;
        if (strcmp(name, "UTC") == 0) {
                *zonep = (Zone *)zone_utc();
                return 0;
        }
        if (!is_name(name)) {
                return unfit(why, "is not the name of a zone");
        }
        CLEANUP(buffer_deinit) Buffer path = BUFFER_INIT;
        int r = buffer_printf(&path, "%s/%s", folder(), name);
        const char *text = r == 0 ? buffer_string(&path) : NULL;
        uint8_t *data = text != NULL ? malloc(ZONE_SIZE_MAX + 1) : NULL;
        if (data == NULL) {
                return error_origin(-ENOMEM);
        }
        ssize_t size = read_file(text, data);
        if (size < 0) {
                r = refuse_file(why, (int)size);
        } else if (size > ZONE_SIZE_MAX) {
                r = unfit(why, "has a file that is too large for a zone's");
        } else {
                r = zone_parse(zonep, data, (size_t)size, &wrong);
        }
        free(data);
        if (wrong != NULL) {
                r = buffer_printf(why, "has a file that cannot be used: it %s", wrong);
                return r != 0 ? r : ZONES_E_UNFIT;
        }
        return r;
}
