/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Sorted, so that a name is found by bisection; a wildcard is an entry that begins with "*.". */
#include "dataplane/tls/names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 255, LABEL_MOST = 63 };

struct names {
    size_t count;
    char *name[];
};

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names *names_new(char *const *name, size_t count)
{
    struct names *names = calloc(1, sizeof *names + count * sizeof names->name[0]);
    if (names == NULL)
        return NULL;
    for (; names->count < count; names->count++) {
        char *copy = strdup(name[names->count]);
        if (copy == NULL) {
            names_free(names);
            return NULL;
        }
        for (char *at = copy; *at != '\0'; at++)
            *at = (char)tolower((unsigned char)*at);
        names->name[names->count] = copy;
    }
    qsort(names->name, count, sizeof names->name[0], compare);
    return names;
}

void names_free(struct names *names)
{
    if (names == NULL)
        return;
    for (size_t i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names);
}

static bool listed(const struct names *names, const char *name)
{
    return bsearch(&name, names->name, names->count, sizeof names->name[0], compare) != NULL;
}

bool names_allow(const struct names *names, const char *name)
{
    char wildcard[1 + NAME_MOST + 1];
    if (listed(names, name))
        return true;
    const char *rest = strchr(name, '.');
    if (rest == NULL || strlen(rest) > NAME_MOST)
        return false;
    wildcard[0] = '*';
    strcpy(wildcard + 1, rest); /* it fits: see above */
    return listed(names, wildcard);
}

const char *names_refuse(const char *name)
{
    size_t label = 0, length = strlen(name);
    if (strncmp(name, "*.", 2) == 0) {
        name += 2;
        if (strchr(name, '.') == NULL)
            return "a wildcard for a whole top-level domain";
    }
    if (length == 0 || length > NAME_MOST)
        return "a host name has 1 to 255 characters";
    for (; *name != '\0'; name++) {
        bool letter = isalnum((unsigned char)*name) || *name == '-' || *name == '_';
        if (!letter && (*name != '.' || label == 0))
            return "not a host name: letters, digits, hyphens and single dots (other scripts as "
                   "xn--…)";
        label = letter ? label + 1 : 0;
        if (label > LABEL_MOST)
            return "a label of more than 63 characters";
    }
    return label == 0 ? "ends with a dot" : NULL;
}
