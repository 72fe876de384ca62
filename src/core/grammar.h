#pragma once

/*
 * Whether a message is one JSON object that PostgreSQL can keep. For core/message alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"
#include "util/error.h"

/* 0 with *@rootp the first byte of the object; MESSAGE_E_POISON with @fault; -ENOMEM. What is
 * refused is listed at message_decode(). */
MUST_CHECK int grammar_check(const uint8_t *value, size_t size, size_t *rootp, MessageFault *fault);

/*
 * Writes @value, ASCII without a NUL, to @out with "" for each string that is a value and holds
 * neither a backslash nor a control character. So one text is JSON exactly when the other is;
 * places differ. Returns its size, at most @size. grammar_check() gives it to jansson first.
 */
size_t grammar_condense(const uint8_t *value, size_t size, char *out);

/* Fills @fault. @byte counts from 1; 0: no place. Always MESSAGE_E_POISON, so that the caller can
 * return it. */
int grammar_fault_set(MessageFault *fault, const char *reason, size_t byte, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* "an object", "a string", …: of a valid value, by its first byte. */
const char *grammar_type(char first);

static inline bool grammar_is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
