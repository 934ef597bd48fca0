/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * feeds.conf: where lists come from and how far their servers are trusted. Main thread. */
#ifndef DROPGATE_FEEDS_SETTINGS_H
#define DROPGATE_FEEDS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"

struct source_settings {
    char *name; /* of the feed, and of its file in the directory */
    char *url;
    char *header_file; /* NULL: no header of our own */
    char *ca_file;     /* NULL: the system's authorities */
    int64_t interval, timeout, max_size;
};

struct settings {
    struct {
        char *directory, *proxy, *user_agent;
        int64_t at_once;
    } fetch;
    struct conf_list sources; /* struct source_settings */
};

extern const struct conf_schema FEEDS_SCHEMA;

/** Whether the URL is of this machine, the only ones that need not be https: an API beside us. */
bool settings_url_local(const char *url);

#endif
