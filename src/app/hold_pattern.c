#include "app/hold_pattern.h"

#include <string.h>

#include "config/keys.h"
#include "core/host.h"

int hold_pattern(const char *text, char out[HOLD_PATTERN_MAX], Buffer *why) {
        char host[HOST_SIZE];
        const char *unfit = NULL;
        size_t size = strlen(text);
        if (size > 0 && strpbrk(text, "*?[]{}!") == NULL) {
                if (host_canonical(text, size, host, &unfit) != 0) {
                        return buffer_append_string(why, unfit) != 0 ? error_origin(-ENOMEM)
                                                                     : HOLD_E_PATTERN;
                }
                strcpy(out, host);
                return 0;
        }
        int r = key_check_glob(text, 0, why);
        if (r != 0) {
                return r < 0 ? r : HOLD_E_PATTERN;
        }
        for (size_t i = 0; i <= size; i++) {
                out[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
        }
        return 0;
}
