#pragma once

/*
 * By what names and addresses others may mean the machine that ackd runs on: its host name, with
 * and without its domain, the name that the resolver has for it, and the addresses of its
 * interfaces. A name that some server elsewhere leads to one of these addresses is not known here,
 * nor, in a container, those of the machine below it.
 */

#include <stdbool.h>

#include "util/error.h"

/* *@namesp: canonical (core/host.h), each once, ends with NULL. *@completep: the resolver answered,
 * if only that it has no name; it is waited for 2 s. -ENOMEM. */
MUST_CHECK int machine_names(char ***namesp, bool *completep);
void machine_names_free(char **names); /* NULL is allowed */
