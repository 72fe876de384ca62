#pragma once

/*
 * Findings: collected while everything is read, then sorted in the order in which a person looks:
 * the file from top to bottom, then variables, then options.
 */

#include "config/config.h"
#include "config/yaml.h"

enum {
        PROBLEMS_MAX = 100,
        PROBLEM_VALUE = 96, /* bytes of a value as it is shown, with its quotes and NUL */
};

/* A source while it is read. */
typedef struct Source {
        ConfigOrigin origin; /* of its beginning */
        ConfigErrors *errors;
} Source;

/* Where @node stands: its line in a file, or just the source. NULL: the source as a whole. */
ConfigOrigin source_origin(const Source *source, const YamlNode *node);

/* Adds "ORIGIN: text". Over PROBLEMS_MAX, and without memory, it is only counted. */
void problem_add(ConfigProblems *problems, const ConfigOrigin *origin, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* An error at @node. */
#define source_error(source, node, ...)                                                            \
        do {                                                                                       \
                ConfigOrigin origin_ = source_origin((source), (node));                            \
                problem_add(&(source)->errors->errors, &origin_, __VA_ARGS__);                     \
        } while (0)

/* Adds "FILE:LINE:COLUMN", the variable, "-o KEY" or "the default"; -ENOMEM. */
MUST_CHECK int problem_append_place(const ConfigOrigin *origin, Buffer *out);

void problems_sort(ConfigProblems *problems);

/* @text in quotes, shortened, control characters as `?`: a terminal is not to be steered by it. */
const char *problem_value(const char *text, char out[PROBLEM_VALUE]);
