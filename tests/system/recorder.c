/*
 * A restart command that writes down what it was given, byte by byte: recorder FILE [ARGUMENT...]
 *
 * It appends to FILE, in one write: $ACKD_HOST and then each ARGUMENT, all with their size before
 * them (uint32, as this machine has it), and before all of that how many they are (uint32).
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
        RECORD_BYTES = 65536,
};

static char record[RECORD_BYTES];
static size_t used;

static void add(const void *data, size_t size) {
        if (size > sizeof(record) - used) {
                fprintf(stderr, "recorder: over %d bytes\n", RECORD_BYTES);
                exit(99);
        }
        memcpy(record + used, data, size);
        used += size;
}

static void add_number(size_t number) {
        uint32_t short_number = (uint32_t)number;

        add(&short_number, sizeof(short_number));
}

static void add_text(const char *text) {
        add_number(strlen(text));
        add(text, strlen(text));
}

int main(int argc, char **argv) {
        const char *host = getenv("ACKD_HOST");
        int fd = argc > 1 ? open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;

        if (fd < 0) {
                fprintf(stderr, "usage: recorder FILE [ARGUMENT...]\n");
                return 64;
        }
        add_number((size_t)argc - 1);
        add_text(host != NULL ? host : "");
        for (int i = 2; i < argc; i++) {
                add_text(argv[i]);
        }
        return write(fd, record, used) == (ssize_t)used ? 0 : 99;
}
