#pragma once

/*
 * Whether a text is JSON (RFC 8259), and where it stops being it: for texts of the configuration,
 * which are read long before jansson is there. What is in a message is jansson's to judge.
 */

#include <stdbool.h>
#include <stddef.h>

enum {
        JSON_SYNTAX_DEPTH = 64, /* nesting; deeper texts are refused */
};

/* *@at: the byte (from 0) at which it is none any more, @size when it ends too early; untouched
 * when it is JSON. UTF-8 is not looked at. Pure, and bounded whatever the bytes are. */
bool json_syntax_is_valid(const char *text, size_t size, size_t *at);
