/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One row per key; nothing about a key is written anywhere else. */
#include "feeds/settings.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define MINUTE (60 * INT64_C(1000))
#define HOUR   (60 * MINUTE)
#define MIB    (INT64_C(1) << 20)

#define IN_FETCH(field)  (offsetof(struct settings, fetch.field) - offsetof(struct settings, fetch))
#define IN_SOURCE(field) offsetof(struct source_settings, field)

static const struct conf_section SECTIONS[] = {
    {"fetch", 0, offsetof(struct settings, fetch), sizeof(((struct settings *)0)->fetch), 0, 0,
     "What holds for all feeds."},
    {"feed", 1, offsetof(struct settings, sources), sizeof(struct source_settings), 1, 4096,
     "A list that is downloaded into the directory, under the section's name. Mind its terms: some "
     "may not be used "
     "commercially, some ask for credit, most ask not to be fetched more often than they change."},
};

static const struct conf_row ROWS[] = {
    {"fetch", "directory", CONF_STRING, IN_FETCH(directory), 1, 4000, NULL, NULL, CONF_RELOAD,
     "Where the files are put; it must exist, and belong to the user who runs this. The gateway "
     "only reads it."},
    {"fetch", "proxy", CONF_STRING, IN_FETCH(proxy), 0, 2000, "", NULL, CONF_RELOAD,
     "An HTTP proxy for all of them (http://proxy.example:3128). Empty: none, whatever the "
     "environment says."},
    {"fetch", "user_agent", CONF_STRING, IN_FETCH(user_agent), 1, 255, "dropgate-feeds", NULL,
     CONF_RELOAD,
     "How the fetcher names itself; some publishers ask for an address at which they can reach "
     "you."},
    {"fetch", "at_once", CONF_INT, IN_FETCH(at_once), 1, 64, "8", NULL, CONF_RELOAD,
     "Downloads at the same time."},
    {"feed", "url", CONF_STRING, IN_SOURCE(url), 1, 4000, NULL, NULL, CONF_RELOAD,
     "https://…; http:// only to this machine itself (localhost, 127.0.0.1, [::1])."},
    {"feed", "interval", CONF_DURATION, IN_SOURCE(interval), 0, 30 * 24 * HOUR, "1h", NULL,
     CONF_RELOAD,
     "Least time between two successful requests to it; a run that comes sooner leaves it out."},
    {"feed", "timeout", CONF_DURATION, IN_SOURCE(timeout), 100, HOUR, "2m", NULL, CONF_RELOAD,
     "Time for the whole download. One that stands still for 30 s is given up in any case."},
    {"feed", "max_size", CONF_SIZE, IN_SOURCE(max_size), 1, 1024 * MIB, "64M", NULL, CONF_RELOAD,
     "Largest file that is taken, decompressed; more is refused."},
    {"feed", "header_file", CONF_STRING, IN_SOURCE(header_file), 0, 4000, "", NULL, CONF_RELOAD,
     "A file with one header line (X-Api-Key: …), readable by nobody else; its feed's redirections "
     "are refused, so that the "
     "key goes nowhere else."},
    {"feed", "ca_file", CONF_STRING, IN_SOURCE(ca_file), 0, 4000, "", NULL, CONF_RELOAD,
     "Certificates of the authorities that may vouch for it, in PEM. Empty: the system's."},
};

static bool begins(const char *text, const char *with)
{
    return strncasecmp(text, with, strlen(with)) == 0;
}

bool settings_url_local(const char *url)
{
    static const char *const hosts[] = {"http://localhost", "http://127.0.0.1", "http://[::1]"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (begins(url, hosts[i]) && strchr(":/?", url[strlen(hosts[i])]) != NULL)
            return true; /* strchr also finds the end */
    return false;
}

static int check_source(const struct source_settings *source, char *why, size_t size)
{
    const char *url = source->url;
    if (!begins(url, "https://") && !settings_url_local(url))
        return conf_refuse(
            why, size,
            "[feed %s] url = %s: anybody on the way could write this list; allowed: https://…, or "
            "http:// to localhost, 127.0.0.1 or [::1]",
            source->name, url);
    if (strchr(url, '@') != NULL && strchr(url, '@') < url + strcspn(url + 8, "/?") + 8)
        return conf_refuse(
            why, size,
            "[feed %s] url: holds a password, which logs would show; put it into header_file "
            "(Authorization: …)",
            source->name);
    if (source->name[0] == '.')
        return conf_refuse(why, size,
                           "[feed %s]: the name becomes a file's, and may not begin with a dot",
                           source->name);
    return 0;
}

static int check(const void *root, char *why, size_t size)
{
    const struct settings *settings = root;
    const struct source_settings *sources = settings->sources.items;
    for (size_t i = 0; i < settings->sources.count; i++)
        if (check_source(&sources[i], why, size) != 0)
            return -EINVAL;
    return 0;
}

const struct conf_schema FEEDS_SCHEMA = {
    .program = "dropgate-feeds",
    .size = sizeof(struct settings),
    .sections = SECTIONS,
    .section_count = sizeof SECTIONS / sizeof SECTIONS[0],
    .rows = ROWS,
    .row_count = sizeof ROWS / sizeof ROWS[0],
    .check = check,
};
