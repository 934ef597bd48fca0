/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 */
#include "dataplane/ops/settings_feeds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/ops/settings.h"

const char *const settings_list_kinds[] = {[LIST_DENY] = "deny",
                                           [LIST_ALLOW] = "allow",
                                           [LIST_SHARED] = "shared",
                                           [LIST_PROXIES] = "proxies",
                                           NULL};
const char *const settings_list_modes[] = {
    [LIST_ENFORCE] = "enforce", [LIST_OBSERVE] = "observe", NULL};

static const struct feed_settings *feeds_of(const struct settings *s)
{
    return s->feeds.items;
}

static int check_feed(const struct feed_settings *feed, char *why, size_t size)
{
    if (feed->file[0] != '/') {
        snprintf(why, size, "[feed %s] file = %s: not an absolute path", feed->name, feed->file);
        return -EINVAL;
    }
    if (feed->mode == LIST_OBSERVE && feed->kind != LIST_DENY) {
        snprintf(
            why, size,
            "[feed %s] mode = observe: there is nothing to observe of kind = %s; allowed: with "
            "kind = deny",
            feed->name, settings_list_kinds[feed->kind]);
        return -EINVAL;
    }
    if (feed->accept != NULL && strspn(feed->accept, "0123456789abcdefABCDEF") != FEED_ACCEPT) {
        snprintf(why, size,
                 "[feed %s] accept = %s: not a SHA-256; allowed: 64 hexadecimal digits, or nothing",
                 feed->name, feed->accept);
        return -EINVAL;
    }
    return 0;
}

int settings_check_feeds(const struct settings *s, char *why, size_t size)
{
    if (s->gateway.state_dir != NULL && s->gateway.state_dir[0] != '/') {
        snprintf(why, size, "[gateway] state_dir = %s: not an absolute path", s->gateway.state_dir);
        return -EINVAL;
    }
    for (size_t i = 0; i < s->feeds.count; i++)
        if (check_feed(&feeds_of(s)[i], why, size) != 0)
            return -EINVAL;
    return 0;
}

/* ---- the plan ---- */

static struct prefix host(const struct addr *a)
{
    return (struct prefix){*a, 128};
}

/* Returns how many there are; `out` may be NULL. */
static size_t list_ours(const struct settings *s, struct prefix *out)
{
    size_t count = 0;
    for (int side = 0; side < PORT_SIDES; side++) {
        const struct conf_interface *own = s->port[side].addresses.items;
        const struct addr *routers = s->port[side].routers.items;
        for (size_t i = 0; i < s->port[side].addresses.count; i++, count++)
            if (out != NULL)
                out[count] = side == INSIDE ? own[i].on_link : host(&own[i].addr);
        for (size_t i = 0; i < s->port[side].routers.count; i++, count++)
            if (out != NULL)
                out[count] = host(&routers[i]);
    }
    const struct backend_settings *backends = s->backends.items;
    for (size_t i = 0; i < s->backends.count; i++, count++)
        if (out != NULL)
            out[count] = host(&backends[i].address.addr);
    const struct service_settings *services = s->services.items;
    for (size_t i = 0; i < s->services.count; i++) {
        const struct endpoint *listen = services[i].listen.items;
        for (size_t k = 0; k < services[i].listen.count; k++, count++)
            if (out != NULL)
                out[count] = host(&listen[k].addr);
    }
    return count;
}

static void copy_text(char *out, size_t room, const char *text)
{
    snprintf(out, room, "%s", text != NULL ? text : "");
}

static void fill_spec(struct feed_spec *out, const struct feed_settings *from)
{
    copy_text(out->name, sizeof out->name, from->name);
    copy_text(out->file, sizeof out->file, from->file);
    copy_text(out->accept, sizeof out->accept, from->accept);
    out->kind = (enum list_kind)from->kind;
    out->mode = (enum list_mode)from->mode;
    out->format = (enum feed_format)from->format;
    out->size_max = (size_t)from->size_max;
    out->prefixes_max = (size_t)from->prefixes_max;
    out->limits = (struct feed_limits){(uint32_t)from->change, (uint32_t)from->share,
                                       (uint32_t)from->clients};
}

struct feed_plan *settings_feeds(const struct settings *s)
{
    size_t ours = list_ours(s, NULL), specs = s->feeds.count * sizeof(struct feed_spec);
    struct feed_plan *plan = calloc(1, sizeof *plan + specs + ours * sizeof(struct prefix));
    if (plan == NULL)
        return NULL;
    struct prefix *behind = (void *)((char *)plan->spec + specs);
    copy_text(plan->state_dir, sizeof plan->state_dir, s->gateway.state_dir);
    plan->ours = behind;
    plan->ours_count = feed_sort_ours(behind, list_ours(s, behind));
    plan->count = s->feeds.count;
    for (size_t i = 0; i < plan->count; i++)
        fill_spec(&plan->spec[i], &feeds_of(s)[i]);
    return plan;
}
