/* The linker puts these before malloc() and friends (--wrap). */

#include "memory.h"

#include <stdbool.h>
#include <stddef.h>

static int64_t after = -1;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void memory_engine(int64_t count) {
        after = count;
}

int64_t memory_world(void) {
        int64_t left = after;
        after = -1;
        return left;
}

static bool is_out(void) {
        return after >= 0 && after-- == 0;
}

void *__wrap_malloc(size_t size) {
        return is_out() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
        return is_out() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
        return is_out() ? NULL : __real_realloc(p, size);
}
