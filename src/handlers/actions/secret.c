#include "handlers/actions/secret.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *error_text(int error) {
        const char *text = strerrordesc_np(error);
        return text != NULL ? text : "cannot be read";
}

/* NULL: it was read. */
static const char *read_all(int fd, Buffer *out) {
        size_t before = out->size;
        for (;;) {
                ssize_t n = read(fd, out->data + out->size,
                                 SECRET_BYTES_MAX + 1 - (out->size - before));
                if (n < 0 && errno != EINTR) {
                        return error_text(errno);
                }
                if (n == 0) {
                        return NULL;
                }
                out->size += n > 0 ? (size_t)n : 0;
                if (out->size - before > SECRET_BYTES_MAX) {
                        return "holds more than 16 KiB";
                }
        }
}

static const char *secret_fault(const uint8_t *data, size_t size) {
        if (size == 0) {
                return "is empty";
        }
        for (size_t i = 0; i < size; i++) {
                if (data[i] < ' ' || data[i] == 0x7f) {
                        return "has a control character in it, or more than one line";
                }
        }
        return NULL;
}

static const char *read_secret(int fd, Buffer *out) {
        struct stat status;
        size_t before = out->size;
        if (fstat(fd, &status) != 0) {
                return error_text(errno);
        }
        if (!S_ISREG(status.st_mode)) {
                return "is no regular file";
        }
        const char *why = read_all(fd, out);
        if (why != NULL) {
                return why;
        }
        if (out->size > before && out->data[out->size - 1] == '\n') {
                out->size--;
                out->size -= out->size > before && out->data[out->size - 1] == '\r';
        }
        return secret_fault(out->data + before, out->size - before);
}

int secret_read(const char *path, Buffer *out, const char **why) {
        size_t before = out->size;
        /* So that nothing of it is left behind in memory that was grown out of. */
        int r = buffer_reserve(out, SECRET_BYTES_MAX + 1);
        if (r != 0) {
                return r;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        const char *fault = fd < 0 ? error_text(errno) : read_secret(fd, out);
        if (fd >= 0) {
                close(fd);
        }
        if (fault != NULL) {
                explicit_bzero(out->data + before, out->size - before);
                out->size = before;
                *why = fault;
                return SECRET_E_UNFIT;
        }
        return 0;
}

void secret_wipe(Buffer *buffer) {
        if (buffer->data != NULL) {
                explicit_bzero(buffer->data, buffer->capacity);
        }
        buffer_clear(buffer);
}
