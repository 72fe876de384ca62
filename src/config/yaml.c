#include "config/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/problems.h"

/*
 * libyaml's events build the tree from a stack of the open maps and lists. Its composer
 * (yaml_parser_load) is not used: it has neither a bound nor a look at duplicate keys.
 */

typedef struct Anchor {
        char *name;
        YamlNode *node; /* whole: an alias inside its own anchor does not find it */
} Anchor;

typedef struct Level {
        YamlNode *node;
        YamlNode *key; /* of a map, waiting for its value */
        char *anchor;
} Level;

typedef struct Reader {
        YamlDocument *document;
        yaml_parser_t parser;
        const char *data;
        size_t size;
        YamlReport report;
        void *user;
        size_t depth;
        Level levels[YAML_DEPTH_MAX];
        size_t n_anchors;
        Anchor *anchors;
} Reader;

static unsigned position(size_t zero_based) {
        return (unsigned)zero_based + 1;
}

__attribute__((format(printf, 4, 5))) static int fail(Reader *reader, unsigned line,
                                                      unsigned column, const char *format, ...) {
        YamlError error = {.line = line, .column = column};
        va_list ap;
        va_start(ap, format);
        vsnprintf(error.what, sizeof(error.what), format, ap);
        va_end(ap);
        reader->report(reader->user, &error);
        return YAML_E_SYNTAX;
}

static int fail_at(Reader *reader, const yaml_mark_t *mark, const char *what) {
        return fail(reader, position(mark->line), position(mark->column), "%s", what);
}

/* An array with room for one more than @n, which has grown by doubling since it was NULL: it is
 * full whenever @n is a power of two. NULL: no memory, and the array is as it was. */
static void *make_room(void *array, size_t n, size_t element) {
        if (n > 0 && (n & (n - 1)) != 0) {
                return array;
        }
        return reallocarray(array, n > 0 ? n * 2 : 1, element);
}

static int new_node(Reader *reader, YamlType type, const yaml_mark_t *mark, YamlNode **nodep) {
        YamlDocument *document = reader->document;
        if (document->n_nodes >= YAML_NODES_MAX) {
                return fail_at(reader, mark, "too much: no configuration has over 10000 values");
        }
        YamlNode **nodes = make_room(document->nodes, document->n_nodes, sizeof(*nodes));
        if (nodes == NULL) {
                return error_origin(-ENOMEM);
        }
        document->nodes = nodes;
        YamlNode *node = calloc(1, sizeof(*node));
        if (node == NULL) {
                return error_origin(-ENOMEM);
        }
        node->type = type;
        node->weight = 1;
        node->line = position(mark->line);
        node->column = position(mark->column);
        document->nodes[document->n_nodes++] = node;
        *nodep = node;
        return 0;
}

static bool has_key(const YamlNode *map, const char *name, const YamlNode **first) {
        for (size_t i = 0; i < map->n; i++) {
                if (strcmp(map->pairs[i].key->text, name) == 0) {
                        *first = map->pairs[i].key;
                        return true;
                }
        }
        return false;
}

static int add_key(Reader *reader, Level *level, YamlNode *key) {
        if (key->type == YAML_LIST || key->type == YAML_MAP) {
                return fail(reader, key->line, key->column,
                            "a key must be text; a placeholder is written in quotes: "
                            "\"{{host}}\"");
        }
        if (key->type == YAML_TEXT && !key->quoted && strcmp(key->text, "<<") == 0) {
                return fail(reader, key->line, key->column,
                            "merge keys (<<) are not supported; write the values out");
        }
        if (key->text == NULL) {
                key->text = strdup("null");
                if (key->text == NULL) {
                        return error_origin(-ENOMEM);
                }
        }
        level->key = key;
        return 0;
}

static int add_pair(Reader *reader, Level *level, YamlNode *value) {
        YamlNode *map = level->node;
        YamlNode *key = steal(level->key);
        const YamlNode *first = NULL;
        if (has_key(map, key->text, &first)) {
                char shown[PROBLEM_VALUE];
                (void)fail(reader, key->line, key->column, "%s is here twice; first in line %u",
                           problem_value(key->text, shown), first->line);
                return 0;
        }
        YamlPair *pairs = make_room(map->pairs, map->n, sizeof(*pairs));
        if (pairs == NULL) {
                return error_origin(-ENOMEM);
        }
        map->pairs = pairs;
        map->pairs[map->n++] = (YamlPair){.key = key, .value = value};
        return 0;
}

/* Puts a whole node where it belongs. */
static int add_node(Reader *reader, YamlNode *node) {
        if (reader->depth == 0) {
                reader->document->root = node;
                return 0;
        }
        Level *level = &reader->levels[reader->depth - 1];
        level->node->weight += node->weight; /* both at most YAML_WEIGHT_MAX */
        if (level->node->weight > YAML_WEIGHT_MAX) {
                return fail(reader, level->node->line, level->node->column,
                            "too much: over 4 MiB with every alias written out");
        }
        if (level->node->type == YAML_MAP) {
                return level->key == NULL ? add_key(reader, level, node)
                                          : add_pair(reader, level, node);
        }
        YamlNode *list = level->node;
        YamlNode **items = make_room(list->items, list->n, sizeof(*items));
        if (items == NULL) {
                return error_origin(-ENOMEM);
        }
        list->items = items;
        list->items[list->n++] = node;
        return 0;
}

/* Takes @name. */
static int add_anchor(Reader *reader, char *name, YamlNode *node) {
        Anchor *anchors = make_room(reader->anchors, reader->n_anchors, sizeof(*anchors));
        if (anchors == NULL) {
                free(name);
                return error_origin(-ENOMEM);
        }
        reader->anchors = anchors;
        reader->anchors[reader->n_anchors++] = (Anchor){.name = name, .node = node};
        return 0;
}

static int copy_anchor(const yaml_char_t *anchor, char **namep) {
        if (anchor == NULL) {
                return 0;
        }
        *namep = strdup((const char *)anchor);
        return *namep == NULL ? error_origin(-ENOMEM) : 0;
}

static bool is_null(const char *text) {
        static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
        for (size_t i = 0; nulls[i] != NULL; i++) {
                if (strcmp(text, nulls[i]) == 0) {
                        return true;
                }
        }
        return false;
}

static int refuse_tag(Reader *reader, const yaml_char_t *tag, const yaml_mark_t *mark) {
        if (tag == NULL || strcmp((const char *)tag, "!") == 0) {
                return 0;
        }
        return fail_at(reader, mark,
                       "tags (!…) are not supported; text that begins with ! needs quotes");
}

static int read_scalar(Reader *reader, const yaml_event_t *event) {
        const char *text = (const char *)event->data.scalar.value;
        int r = refuse_tag(reader, event->data.scalar.tag, &event->start_mark);
        if (r != 0) {
                return r;
        }
        if (memchr(text, '\0', event->data.scalar.length) != NULL) {
                return fail_at(reader, &event->start_mark, "text must not hold a NUL (\\0)");
        }
        bool quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        YamlNode *node = NULL;
        r = new_node(reader, !quoted && is_null(text) ? YAML_NONE : YAML_TEXT, &event->start_mark,
                     &node);
        if (r != 0) {
                return r;
        }
        node->quoted = quoted;
        if (node->type == YAML_TEXT) {
                node->text = strdup(text);
                if (node->text == NULL) {
                        return error_origin(-ENOMEM);
                }
                node->weight += event->data.scalar.length;
        }
        char *anchor = NULL;
        r = copy_anchor(event->data.scalar.anchor, &anchor);
        if (r == 0 && anchor != NULL) {
                r = add_anchor(reader, anchor, node);
        }
        return r == 0 ? add_node(reader, node) : r;
}

static int open_level(Reader *reader, YamlType type, const yaml_char_t *anchor,
                      const yaml_char_t *tag, const yaml_mark_t *mark) {
        int r = refuse_tag(reader, tag, mark);
        if (r != 0) {
                return r;
        }
        if (reader->depth >= YAML_DEPTH_MAX) {
                return fail_at(reader, mark, "nested too deeply: no configuration goes below 32");
        }
        YamlNode *node = NULL;
        r = new_node(reader, type, mark, &node);
        if (r != 0) {
                return r;
        }
        Level *level = &reader->levels[reader->depth];
        *level = (Level){.node = node};
        r = copy_anchor(anchor, &level->anchor);
        if (r == 0) {
                reader->depth++;
        }
        return r;
}

static int close_level(Reader *reader) {
        Level *level = &reader->levels[--reader->depth];
        YamlNode *node = level->node;
        char *anchor = steal(level->anchor);
        int r = anchor != NULL ? add_anchor(reader, anchor, node) : 0;
        return r == 0 ? add_node(reader, node) : r;
}

static int read_alias(Reader *reader, const yaml_event_t *event) {
        const char *name = (const char *)event->data.alias.anchor;
        for (size_t i = reader->n_anchors; i > 0; i--) {
                if (strcmp(reader->anchors[i - 1].name, name) == 0) {
                        return add_node(reader, reader->anchors[i - 1].node);
                }
        }
        return fail_at(reader, &event->start_mark,
                       "an alias without an anchor before it; text that begins with * needs "
                       "quotes");
}

/* 0: go on. */
static int read_event(Reader *reader, const yaml_event_t *event) {
        switch (event->type) {
        case YAML_NO_EVENT:
        case YAML_STREAM_START_EVENT:
        case YAML_STREAM_END_EVENT:
        case YAML_DOCUMENT_END_EVENT:
                return 0;
        case YAML_DOCUMENT_START_EVENT:
                if (reader->document->root != NULL) {
                        return fail_at(reader, &event->start_mark,
                                       "a second document begins here; only one is read");
                }
                return 0;
        case YAML_ALIAS_EVENT:
                return read_alias(reader, event);
        case YAML_SCALAR_EVENT:
                return read_scalar(reader, event);
        case YAML_SEQUENCE_START_EVENT:
                return open_level(reader, YAML_LIST, event->data.sequence_start.anchor,
                                  event->data.sequence_start.tag, &event->start_mark);
        case YAML_MAPPING_START_EVENT:
                return open_level(reader, YAML_MAP, event->data.mapping_start.anchor,
                                  event->data.mapping_start.tag, &event->start_mark);
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                return close_level(reader);
        }
        return error_origin(-EINVAL);
}

/* Bytes that are no UTF-8 or no text have an offset, but no mark. */
static int fail_reading(Reader *reader) {
        size_t offset = reader->parser.problem_offset;
        unsigned line = 1, column = 1;
        for (size_t i = 0; i < offset && i < reader->size; i++) {
                column++;
                if (reader->data[i] == '\n') {
                        line++;
                        column = 1;
                }
        }
        return fail(reader, line, column, "not UTF-8 text (%s, byte %zu)", reader->parser.problem,
                    offset + 1);
}

/* Marks count characters, the data has bytes: the line is looked for and its characters counted. */
static bool is_tab(const Reader *reader, const yaml_mark_t *mark) {
        const char *p = reader->data, *end = reader->data + reader->size;
        for (size_t line = 0; line < mark->line && p != NULL; line++) {
                p = memchr(p, '\n', (size_t)(end - p));
                p = p != NULL ? p + 1 : NULL;
        }
        if (p == NULL) {
                return false;
        }
        for (size_t column = 0; p < end; p++) {
                bool begins = ((unsigned char)*p & 0xc0) != 0x80;
                if (begins && column++ == mark->column) {
                        return *p == '\t';
                }
        }
        return false;
}

static int fail_parsing(Reader *reader) {
        const yaml_parser_t *parser = &reader->parser;
        if (parser->error == YAML_MEMORY_ERROR) {
                return error_origin(-ENOMEM);
        }
        if (parser->error == YAML_READER_ERROR) {
                return fail_reading(reader);
        }
        const yaml_mark_t *mark = &parser->problem_mark;
        if (is_tab(reader, mark)) {
                return fail_at(reader, mark, "a tab; YAML indents with spaces");
        }
        if (parser->context == NULL) {
                return fail(reader, position(mark->line), position(mark->column),
                            "not valid YAML: %s", parser->problem);
        }
        return fail(reader, position(mark->line), position(mark->column),
                    "not valid YAML: %s %s that began in line %zu", parser->problem,
                    parser->context, parser->context_mark.line + 1);
}

static int read_all(Reader *reader) {
        for (bool end = false; !end;) {
                yaml_event_t event;
                if (!yaml_parser_parse(&reader->parser, &event)) {
                        return fail_parsing(reader);
                }
                int r = read_event(reader, &event);
                end = event.type == YAML_STREAM_END_EVENT;
                yaml_event_delete(&event);
                if (r != 0) {
                        return r;
                }
        }
        if (reader->document->root == NULL) {
                yaml_mark_t start = {0};
                return new_node(reader, YAML_NONE, &start, &reader->document->root);
        }
        return 0;
}

int yaml_read(YamlDocument *document, const char *data, size_t size, YamlReport report,
              void *user) {
        Reader reader = {
                .document = document, .data = data, .size = size, .report = report, .user = user};
        if (size > YAML_SIZE_MAX) {
                return fail(&reader, 1, 1, "over 1 MiB: this is no configuration of ackd's");
        }
        if (!yaml_parser_initialize(&reader.parser)) {
                return error_origin(-ENOMEM);
        }
        yaml_parser_set_input_string(&reader.parser, (const unsigned char *)data, size);
        int r = read_all(&reader);
        yaml_parser_delete(&reader.parser);
        for (size_t i = 0; i < reader.n_anchors; i++) {
                free(reader.anchors[i].name);
        }
        free(reader.anchors);
        for (size_t i = 0; i < reader.depth; i++) {
                free(reader.levels[i].anchor);
        }
        if (r != 0) {
                yaml_document_deinit(document);
        }
        return r;
}

void yaml_document_deinit(YamlDocument *document) {
        for (size_t i = 0; i < document->n_nodes; i++) {
                YamlNode *node = document->nodes[i];
                free(node->text);
                free(node->items);
                free(node);
        }
        free(document->nodes);
        *document = (YamlDocument){0};
}

const char *yaml_library_version(void) {
        return yaml_get_version_string();
}

const char *yaml_describe(const YamlNode *node) {
        switch (node->type) {
        case YAML_NONE:
                return "has no value";
        case YAML_TEXT:
                return "is text";
        case YAML_LIST:
                return "is a list";
        case YAML_MAP:
                return "is a section";
        }
        return "is unknown";
}
