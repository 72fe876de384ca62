#pragma once

/* To see that no descriptor is left. */

#include "test.h"

#include <dirent.h>

/* Those of this process now; the one for counting is among them each time. */
static inline size_t count_fds(void) {
        size_t n = 0;
        DIR *directory = opendir("/proc/self/fd");
        assert_non_null(directory);
        while (readdir(directory) != NULL) {
                n++;
        }
        closedir(directory);
        return n;
}
