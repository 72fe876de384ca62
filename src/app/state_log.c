#include "app/state_log.h"

#include <jansson.h>
#include <string.h>

#include "app/status_text.h"

int state_log(Log *log, const Buffer *document) {
        CLEANUP(buffer_deinit) Buffer text = BUFFER_INIT;
        json_t *object = json_loadb((const char *)document->data, document->size, 0, NULL);
        int r = object != NULL ? status_text(&text, object, 0, false) : error_origin(-ENOMEM);
        json_decref(object);
        char *line = r == 0 ? buffer_string(&text) : NULL;
        if (line == NULL) {
                return r != 0 ? r : error_origin(-ENOMEM);
        }
        for (char *end; *line != '\0'; line = end) {
                size_t size = strcspn(line, "\n");
                end = line + size + (line[size] == '\n' ? 1 : 0);
                if (size > 0) {
                        log_info(log, "state", FIELDS(), "%.*s", (int)size, line);
                }
        }
        return 0;
}
