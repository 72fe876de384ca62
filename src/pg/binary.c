#include "pg/binary.h"

int binary_append_header(Buffer *copy) {
        /* The signature, no flags, no extension. */
        static const uint8_t header[] = {'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n',
                                         0,   0,   0,   0,   0,   0,   0,    0,    0};
        return buffer_append(copy, header, sizeof(header));
}

int binary_append_trailer(Buffer *copy) {
        static const uint8_t trailer[] = {0xff, 0xff};
        return buffer_append(copy, trailer, sizeof(trailer));
}
