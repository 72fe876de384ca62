/*
 * The configuration: whatever the file holds, it loads or says why; what it printed can be loaded,
 * and prints the same again.
 */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The loader reads a file; this one is in memory. */
static Config *load(const void *data, size_t size, ConfigErrors *errors) {
        char path[32];
        int fd = memfd_create("ackd.yaml", MFD_CLOEXEC);
        assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ConfigSources sources = {.file = path};
        Config *config = NULL;
        int r = config_load(&config, &sources, errors);
        assert(r >= 0 && (r == 0) == (config != NULL));
        assert((r == 0) == (errors->errors.n == 0));
        close(fd);
        return config;
}

/* Without the comments, which name a line of the file. */
static void strip(Buffer *text) {
        size_t kept = 0;
        bool comment = false;
        for (size_t i = 0; i < text->size; i++) {
                comment =
                        text->data[i] != '\n' &&
                        (comment || (text->size - i > 4 && memcmp(text->data + i, "  # ", 4) == 0));
                if (!comment) {
                        text->data[kept++] = text->data[i];
                }
        }
        text->size = kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        ConfigErrors errors = {0};
        Buffer first = BUFFER_INIT, second = BUFFER_INIT;
        Config *config = load(data, size, &errors);
        if (config != NULL) {
                assert(config_print(config, &first) == 0);
                Config *again = load(first.data, first.size, &errors);
                assert(again != NULL && config_print(again, &second) == 0);
                strip(&first);
                strip(&second);
                assert(first.size == second.size);
                assert(memcmp(first.data, second.data, first.size) == 0);
                config_free(again);
        }
        config_free(config);
        config_errors_deinit(&errors);
        buffer_deinit(&first);
        buffer_deinit(&second);
        return 0;
}
