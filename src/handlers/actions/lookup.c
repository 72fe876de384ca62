#include "handlers/actions/lookup.h"

#include "core/message.h"

int action_look_up(void *user, TemplateField field, const char *path, Buffer *out) {
        const ActionRequest *request = user;
        int r = TEMPLATE_E_MISSING;
        switch (field) {
        case TEMPLATE_HOST:
                return buffer_append_string(out, request->host);
        case TEMPLATE_ID:
                return request->id != NULL ? buffer_append_string(out, request->id) : r;
        case TEMPLATE_MESSAGE:
                if (request->payload != NULL) {
                        r = message_lookup(request->payload, request->payload_size, path, out);
                }
                return r > 0 ? TEMPLATE_E_MISSING : r;
        }
        return r;
}
