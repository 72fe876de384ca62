#pragma once

/* What the finders of troubles share; nobody else includes it. The first failure is kept in
 * Troubles.error and makes the rest do nothing. */

#include "app/troubles.h"

/* NULL without memory: the others take it. Valid until the next one is added. */
Trouble *trouble_add(Troubles *troubles, const char *word, bool error, int64_t since_us);
/* Add to a part of it. */
__attribute__((format(printf, 3, 4))) void trouble_say(Troubles *troubles, Buffer *part,
                                                       const char *format, ...);
/* The remedy begins: "ackd COMMAND", with -c when another file than the usual one was read. */
void trouble_ackd(Troubles *troubles, Trouble *trouble, const TroubleFacts *facts,
                  const char *command);
/* The remedy begins: "psql -U postgres -h … -d …": what it asks for needs a superuser, or the right
 * of one. */
void trouble_psql(Troubles *troubles, Trouble *trouble, const TroubleFacts *facts);
/* Adds a blank and @word, quoted. */
void trouble_word(Troubles *troubles, Buffer *part, const char *word);
/* Adds " --topic NAME", or " --topic=NAME" where NAME would be taken for an option. */
void trouble_option(Troubles *troubles, Buffer *part, const char *option, const char *value);
/* Adds @name as SQL has it, between double quotes. */
void trouble_identifier(Troubles *troubles, Buffer *part, const char *name);

#define TROUBLE_TEXT(...)                                                                          \
        (trouble != NULL ? trouble_say(troubles, &trouble->text, __VA_ARGS__) : (void)0)
#define TROUBLE_NOTE(...)                                                                          \
        (trouble != NULL ? trouble_say(troubles, &trouble->note, __VA_ARGS__) : (void)0)
#define TROUBLE_WHERE(...)                                                                         \
        (trouble != NULL ? trouble_say(troubles, &trouble->where, __VA_ARGS__) : (void)0)
#define TROUBLE_REMEDY(...)                                                                        \
        (trouble != NULL ? trouble_say(troubles, &trouble->remedy, __VA_ARGS__) : (void)0)

/* --- the finders, by what they look at --- */

void troubles_of_kafka(Troubles *troubles, const TroubleFacts *facts); /* trouble_outside.c */
void troubles_of_dead_letters(Troubles *troubles, const TroubleFacts *facts);
void troubles_of_postgres(Troubles *troubles, const TroubleFacts *facts);
void troubles_of_partitions(Troubles *troubles, const TroubleFacts *facts); /* trouble_work.c */
void troubles_of_work(Troubles *troubles, const TroubleFacts *facts);
