#include "util/error.h"

static _Thread_local ErrorOrigin last;

int error_origin_at(int error, const char *file, int line, const char *function) {
        last = (ErrorOrigin){.error = error, .line = line, .file = file, .function = function};
        return error;
}

const ErrorOrigin *error_last(void) {
        return &last;
}
