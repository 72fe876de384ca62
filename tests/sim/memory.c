/* The linker puts these before malloc() and friends (--wrap); and before engine_act(), whose ring
 * is almost always large enough already. */

#include "memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/state.h"

static int64_t after = -1;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
int __real_engine_act(Engine *engine, const EngineAction *action);
int __wrap_engine_act(Engine *engine, const EngineAction *action);

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

int __wrap_engine_act(Engine *engine, const EngineAction *action) {
        return is_out() ? -ENOMEM : __real_engine_act(engine, action);
}
