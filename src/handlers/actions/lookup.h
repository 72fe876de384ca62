#pragma once

/* The values of an action's templates. */

#include "handlers/actions/action.h"
#include "util/template.h"

/* A TemplateLookup; @request: the ActionRequest. */
int action_look_up(void *request, TemplateField field, const char *path, Buffer *out);
