/* What ackd writes to a topic it must not read: each dead letter would be rejected again. */

#include <regex.h>
#include <string.h>

#include "config/checker.h"
#include "config/keys.h"
#include "config/problems.h"

/* A pattern that is none is somebody else's error. */
static bool matches(const char *pattern, const char *topic) {
        regex_t regex;
        if (pattern[0] != '^') {
                return strcmp(pattern, topic) == 0;
        }
        if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0) {
                return false;
        }
        bool match = regexec(&regex, topic, 0, NULL, 0) == 0;
        regfree(&regex);
        return match;
}

int check_consume(const Checker *checker) {
        const ConfigConsume *consume = &checker->config->consume;
        const char *letters = consume->dead_letter_topic;
        CLEANUP(buffer_deinit) Buffer place = BUFFER_INIT;
        if (letters[0] == '\0' || !checker_is_good(checker, "consume.topics") ||
            !checker_is_good(checker, "consume.dead_letter_topic")) {
                return 0;
        }
        int r = problem_append_place(checker_origin(checker->config, "consume.topics"), &place);
        const char *where = r == 0 ? buffer_string(&place) : NULL;
        if (where == NULL) {
                return error_origin(-ENOMEM);
        }
        for (size_t i = 0; consume->topics[i] != NULL; i++) {
                char shown[PROBLEM_VALUE], as[PROBLEM_VALUE];
                if (!matches(consume->topics[i], letters)) {
                        continue;
                }
                problem_add(&checker->errors->errors,
                            checker_origin(checker->config, "consume.dead_letter_topic"),
                            "consume.dead_letter_topic: %s is consumed, as %s of consume.topics "
                            "(%s), and what is rejected would come again; allowed: a topic that is "
                            "not consumed",
                            problem_value(letters, shown), problem_value(consume->topics[i], as),
                            where);
        }
        return 0;
}
