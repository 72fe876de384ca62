#include "handlers/actions/output.h"

#include <inttypes.h>
#include <string.h>

#include "util/json.h"

void output_init(Output *output, uint8_t *kept, size_t half) {
        *output = (Output){.half = half, .kept = kept};
}

/* Where the next byte goes in the ring, which is also where the oldest one is. */
static size_t ring_at(const Output *output) {
        return (size_t)((output->written - output->half) % output->half);
}

void output_add(Output *output, const uint8_t *data, size_t size) {
        size_t half = output->half;
        if (output->written < half) {
                size_t room = half - (size_t)output->written;
                size_t n = room < size ? room : size;
                memcpy(output->kept + output->written, data, n);
                output->written += n;
                data += n;
                size -= n;
        }
        if (size > half) {
                output->written += size - half;
                data += size - half;
                size = half;
        }
        while (size > 0) {
                size_t at = ring_at(output);
                size_t n = half - at < size ? half - at : size;
                memcpy(output->kept + half + at, data, n);
                output->written += n;
                data += n;
                size -= n;
        }
}

int output_print(const Output *output, Buffer *out) {
        size_t half = output->half;
        if (output->written <= 2 * half) {
                return buffer_append(out, output->kept, (size_t)output->written);
        }
        size_t at = ring_at(output);
        const uint8_t *ring = output->kept + half;
        int r = buffer_append(out, output->kept, half);
        r = r != 0 ? r
                   : buffer_printf(out, "\n[%" PRIu64 " bytes left out]\n",
                                   output->written - 2 * half);
        r = r != 0 ? r : buffer_append(out, ring + at, half - at);
        return r != 0 ? r : buffer_append(out, ring, at);
}

void output_last_line(const uint8_t *data, size_t size, char line[OUTPUT_LINE]) {
        while (size > 0 && data[size - 1] <= ' ') {
                size--;
        }
        const uint8_t *newline = size > 0 ? memrchr(data, '\n', size) : NULL;
        const uint8_t *start = newline != NULL ? newline + 1 : data;
        size_t used = 0;
        if (size > 0) {
                size_t left = size - (size_t)(start - data);
                used = json_escape(line, OUTPUT_LINE - 1, (const char *)start, left,
                                   JSON_ESCAPE_CONTROL, &left);
        }
        line[used] = '\0';
}
