#pragma once

/*
 * Errors
 *
 * A function that can fail returns an int: 0 is ok; a negative errno is fatal, nobody on the way
 * handles it, and it is only ever passed on, up to the global handler; a positive MODULE_E_* is a
 * condition that the direct caller handles. An outage of Kafka, of PostgreSQL or of a host is
 * always positive.
 *
 * Where a fatal error began is remembered, so that the global handler can say it: wrap the place
 * in error_origin(). Passing on needs no wrapping.
 */

#include <errno.h>

#define MUST_CHECK __attribute__((warn_unused_result))

typedef struct ErrorOrigin {
        int error; /* negative errno, 0: none yet */
        int line;
        const char *file;
        const char *function;
} ErrorOrigin;

/* Remembers @error and its place for the calling thread; returns @error. Like errno, kept by
 * thread: the only state in the program that belongs to no object. */
int error_origin_at(int error, const char *file, int line, const char *function);
#define error_origin(error) error_origin_at((error), __FILE__, __LINE__, __func__)

/* The origin of the newest fatal error of the calling thread. Never NULL. */
const ErrorOrigin *error_last(void);

/* Runs @function on the address of the variable when it goes out of scope. */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* Defines cleanup_NAME(Type *) for a destructor that takes NULL. */
#define DEFINE_CLEANUP(Type, destructor)                                                           \
        static inline void cleanup_##destructor(Type *p) {                                         \
                destructor(*p);                                                                    \
        }

/* Hands over ownership: yields the pointer and clears the source. */
#define steal(pointer)                                                                             \
        __extension__({                                                                            \
                __typeof__(pointer) steal_ = (pointer);                                            \
                (pointer) = NULL;                                                                  \
                steal_;                                                                            \
        })
