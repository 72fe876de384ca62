#pragma once

/*
 * Intrusive doubly linked list, circular with a head. A link that is in no list points to itself,
 * so unlinking twice is harmless. The list owns nothing.
 */

#include <stdbool.h>
#include <stddef.h>

typedef struct List {
        struct List *next, *prev;
} List;

#define container_of(pointer, Type, member) ((Type *)((char *)(pointer)-offsetof(Type, member)))

static inline void list_init(List *list) {
        list->next = list->prev = list;
}

static inline bool list_is_empty(const List *list) {
        return list->next == list;
}

/* Whether the link is in a list. */
static inline bool list_is_linked(const List *link) {
        return link->next != link;
}

static inline void list_insert_before(List *where, List *link) {
        link->prev = where->prev;
        link->next = where;
        where->prev->next = link;
        where->prev = link;
}

static inline void list_push_back(List *list, List *link) {
        list_insert_before(list, link);
}

static inline void list_push_front(List *list, List *link) {
        list_insert_before(list->next, link);
}

static inline void list_unlink(List *link) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        list_init(link);
}

/* Moves every link of @from to the end of @to. */
static inline void list_splice_back(List *to, List *from) {
        if (list_is_empty(from)) {
                return;
        }
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        list_init(from);
}

/* Moves every link of @from to the front of @to. */
static inline void list_splice_front(List *to, List *from) {
        list_splice_back(to->next, from);
}

/* The first entry, or NULL. */
#define list_first(list, Type, member)                                                             \
        (list_is_empty(list) ? NULL : container_of((list)->next, Type, member))

#define list_for_each(link, list) for (List *link = (list)->next; link != (list); link = link->next)

/* The body may unlink or free the entry of @link. */
#define list_for_each_safe(link, list)                                                             \
        for (List *link = (list)->next, *link##_next = link->next; link != (list);                 \
             link = link##_next, link##_next = link->next)
