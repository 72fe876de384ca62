#pragma once

/*
 * YAML read into a small tree that knows where everything stands.
 *
 * Only what a configuration needs: one document of maps, lists and text; keys are text and unique.
 * An alias stands for the very node that its anchor named, so the tree may share nodes but has no
 * circle. Tags, merge keys and further documents are errors. Bounded: 1 MiB, depth 32, 10,000
 * nodes, and 4 MiB when every alias is written out, whoever walks or copies the tree.
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

typedef enum YamlType {
        YAML_NONE, /* nothing was written, or null */
        YAML_TEXT,
        YAML_LIST,
        YAML_MAP,
} YamlType;

typedef struct YamlNode YamlNode;

typedef struct YamlPair {
        YamlNode *key; /* YAML_TEXT, or YAML_NONE with its text ("null") */
        YamlNode *value;
} YamlPair;

struct YamlNode {
        YamlType type;
        bool quoted;           /* text in quotes: never a number */
        unsigned line, column; /* from 1 */
        char *text;            /* YAML_TEXT: UTF-8 without NUL; otherwise NULL */
        size_t n;              /* of items or pairs */
        size_t weight;         /* bytes of text and nodes in it, aliases written out */
        union {
                YamlNode **items;
                YamlPair *pairs;
        };
};

/* Owns every node, whatever shares them. */
typedef struct YamlDocument {
        YamlNode *root; /* YAML_NONE for an empty document */
        YamlNode **nodes;
        size_t n_nodes;
} YamlDocument;

enum {
        YAML_SIZE_MAX = 1 << 20,
        YAML_DEPTH_MAX = 32,
        YAML_NODES_MAX = 10000,
        YAML_WEIGHT_MAX = 4 << 20,
};

/* What is wrong and where. */
typedef struct YamlError {
        unsigned line, column;
        char what[200];
} YamlError;

typedef void (*YamlReport)(void *user, const YamlError *error);

enum {
        YAML_E_SYNTAX = 1, /* it is not YAML of ours: reported, nothing was read */
};

/* Fills @document, {0} at first. Duplicate keys are reported and the first one stays; anything that
 * makes reading on impossible is reported and yields YAML_E_SYNTAX. */
MUST_CHECK int yaml_read(YamlDocument *document, const char *data, size_t size, YamlReport report,
                         void *user);
void yaml_document_deinit(YamlDocument *document);

/* What the node is, as the end of a sentence: "is a list". Static. */
const char *yaml_describe(const YamlNode *node);

/* libyaml's, for people. Static. */
const char *yaml_library_version(void);
