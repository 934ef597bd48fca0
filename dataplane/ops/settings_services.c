/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The part of policy that says who is served, by whom, and which addresses are ours. Its entries
 * stand at the numbers that their endpoints have, so there may be gaps, and beside the configured
 * ones there are those that still have flows, as they were. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rules.h"
#include "dataplane/ops/settings.h"
#include "dataplane/ops/settings_probe.h"

/* What the part is made from. */
struct plan {
    const struct settings *settings;
    const struct services *before; /* has those that leave; NULL: none do */
    const struct numbers *services, *backends;
    struct services *out;
};

static const struct backend_settings *backends_of(const struct settings *s)
{
    return s->backends.items;
}

static const struct service_settings *services_of(const struct settings *s)
{
    return s->services.items;
}

size_t settings_listen_count(const struct settings *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->services.count; i++)
        count += services_of(s)[i].listen.count;
    return count;
}

static size_t member_count(const struct settings *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->services.count; i++)
        count += services_of(s)[i].backends.count;
    return count;
}

static void fill_backend(const struct plan *plan, const struct backend_settings *from,
                         struct backend *to)
{
    const struct settings *s = plan->settings;
    to->presence = PRESENT;
    to->address = from->address;
    snprintf(to->name, sizeof to->name, "%s", from->name);
    to->next_hop = *settings_next_hop(s, &from->address.addr);
    to->source = settings_on_link(&s->port[INSIDE], &to->next_hop)->addr;
    to->weight = (uint8_t)from->weight;
    to->drain = from->drain;
}

/* One that leaves is what it was, but nobody is led to it, and it is not probed. */
static void keep_backend(const struct backend *from, struct backend *to)
{
    *to = *from;
    to->presence = LEAVING;
    to->drain = true;
    to->probe = NULL;
    to->probe_length = 0;
}

static void fill_backends(const struct plan *plan)
{
    struct services *out = plan->out;
    for (uint32_t i = 0; i < out->backend_count; i++) {
        out->backend[i].presence = ABSENT;
        if (numbers_state(plan->backends, i) == NUMBER_LEAVING)
            keep_backend(&plan->before->backend[i], &out->backend[i]);
    }
    for (size_t i = 0; i < plan->settings->backends.count; i++) {
        const struct backend_settings *from = &backends_of(plan->settings)[i];
        fill_backend(plan, from, &out->backend[numbers_find(plan->backends, &from->address)]);
    }
    for (uint32_t i = 0; i < out->backend_count; i++) {
        const struct endpoint *address = &out->backend[i].address;
        if (out->backend[i].presence == ABSENT)
            continue;
        endpoints_add(out->by_backend, &address->addr, address->port, (int32_t)i);
        endpoints_add(out->behind, &address->addr, 0, 0); /* they may share one */
    }
}

/* The names of each service that has some; false when memory is short. */
static bool fill_names(const struct settings *s, struct services *out)
{
    out->names = calloc(s->services.count, sizeof *out->names);
    out->names_count = out->names == NULL ? 0 : (uint32_t)s->services.count;
    for (size_t i = 0; i < out->names_count; i++) {
        const struct conf_list *names = &services_of(s)[i].names;
        if (names->count == 0)
            continue;
        out->names[i] = names_new(names->items, names->count);
        if (out->names[i] == NULL)
            return false;
    }
    return out->names != NULL;
}

/* Writes the numbers of the service's backends of a family, in the order of their names there. */
static uint32_t fill_members(const struct plan *plan, const struct service_settings *service,
                             bool v4, uint16_t *out)
{
    char *const *names = service->backends.items;
    uint32_t count = 0;
    for (size_t i = 0; i < service->backends.count; i++) {
        int index = settings_find_backend(plan->settings, names[i]);
        const struct endpoint *address = &backends_of(plan->settings)[index].address;
        if (addr_is_v4(&address->addr) == v4)
            out[count++] = (uint16_t)numbers_find(plan->backends, address);
    }
    return count;
}

static void add_listen(const struct services *out, struct endpoints *map, uint32_t index)
{
    const struct endpoint *listen = &out->service[index].listen;
    endpoints_add(map, &listen->addr, listen->port, (int32_t)index);
    endpoints_add(out->own[OUTSIDE], &listen->addr, 0, 0); /* several ports share one address */
}

/* All that listen on one family share a list of backends. Returns how many members were written. */
static uint32_t fill_service(const struct plan *plan, size_t position, uint16_t *members)
{
    const struct service_settings *from = &services_of(plan->settings)[position];
    const struct endpoint *listen = from->listen.items;
    const uint32_t v6_count = fill_members(plan, from, false, members);
    const uint32_t v4_count = fill_members(plan, from, true, members + v6_count);
    for (size_t i = 0; i < from->listen.count; i++) {
        const bool v4 = addr_is_v4(&listen[i].addr);
        uint32_t number = (uint32_t)numbers_find(plan->services, &listen[i]);
        struct service *to = &plan->out->service[number];
        *to = (struct service){
            .listen = listen[i],
            .presence = PRESENT,
            .rule_number = rules_service(from->name),
            .protocol = (uint8_t)from->protocol,
            .names = plan->out->names[position],
            .all_down = (uint8_t)from->all_down,
            .response_timeout_ms =
                from->protocol == SERVICE_TCP ? 0 : (uint32_t)from->response_timeout,
            .backends = v4 ? members + v6_count : members,
            .backend_count = v4 ? v4_count : v6_count,
        };
        snprintf(to->name, sizeof to->name, "%s", from->name);
        add_listen(plan->out, plan->out->by_listen, number);
    }
    return v6_count + v4_count;
}

/* Nobody new is led anywhere; who is being read may say any name. */
static void keep_service(const struct plan *plan, uint32_t number)
{
    struct service *to = &plan->out->service[number];
    *to = plan->before->service[number];
    to->presence = LEAVING;
    to->backends = NULL;
    to->backend_count = 0;
    to->names = NULL;
    add_listen(plan->out, plan->out->by_leaving, number);
}

static void fill_services(const struct plan *plan)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < plan->out->count; i++) {
        plan->out->service[i].presence = ABSENT;
        if (numbers_state(plan->services, i) == NUMBER_LEAVING)
            keep_service(plan, i);
    }
    for (size_t i = 0; i < plan->settings->services.count; i++)
        used += fill_service(plan, i, plan->out->members + used);
}

static void fill_own(const struct settings *s, enum port_side side, struct endpoints *own)
{
    const struct conf_interface *addresses = s->port[side].addresses.items;
    for (size_t i = 0; i < s->port[side].addresses.count; i++)
        endpoints_add(own, &addresses[i].addr, 0, 0);
}

static void fill_links(const struct settings *s, struct services *out)
{
    const struct conf_interface *own = s->port[INSIDE].addresses.items;
    fill_own(s, OUTSIDE, out->own[OUTSIDE]);
    fill_own(s, INSIDE, out->own[INSIDE]);
    fill_own(s, INSIDE, out->behind);
    for (size_t i = 0; i < s->port[INSIDE].addresses.count; i++)
        out->inside_link[out->inside_link_count++] = own[i].on_link;
}

/* False when memory is short. */
static bool reserve(const struct plan *plan)
{
    const struct settings *s = plan->settings;
    struct services *out = plan->out;
    uint32_t leaving = numbers_count(plan->services, NUMBER_LEAVING);
    size_t inside = s->port[INSIDE].addresses.count;
    out->room = numbers_room(plan->services);
    out->backend_room = numbers_room(plan->backends);
    out->count = numbers_end(plan->services);
    out->backend_count = numbers_end(plan->backends);
    out->service = calloc(out->count, sizeof *out->service);
    out->backend = calloc(out->backend_count, sizeof *out->backend);
    out->members = calloc(member_count(s), sizeof *out->members);
    out->by_listen = endpoints_new(out->count);
    out->by_backend = endpoints_new(out->backend_count);
    out->own[OUTSIDE] = endpoints_new(out->count + (uint32_t)s->port[OUTSIDE].addresses.count);
    out->own[INSIDE] = endpoints_new((uint32_t)inside);
    out->behind = endpoints_new((uint32_t)inside + out->backend_count);
    out->inside_link = calloc(inside, sizeof *out->inside_link);
    if (leaving > 0 && (out->by_leaving = endpoints_new(leaving)) == NULL)
        return false;
    return out->service != NULL && out->backend != NULL && out->members != NULL &&
           out->by_listen != NULL && out->by_backend != NULL && out->own[OUTSIDE] != NULL &&
           out->own[INSIDE] != NULL && out->behind != NULL && out->inside_link != NULL &&
           fill_names(s, out);
}

struct services *settings_services_at(const struct settings *s, const struct services *before,
                                      const struct numbers *services,
                                      const struct numbers *backends)
{
    struct services *out = calloc(1, sizeof *out);
    const struct plan plan = {s, before, services, backends, out};
    if (out == NULL || !reserve(&plan)) {
        services_free(out);
        return NULL;
    }
    out->generation = before != NULL ? before->generation + 1 : 1;
    fill_backends(&plan);
    if (!settings_probe_fill(s, out)) {
        services_free(out);
        return NULL;
    }
    fill_services(&plan);
    fill_links(s, out);
    services_note_sources(out);
    return out;
}

bool settings_take_backends(const struct settings *s, struct numbers *backends)
{
    for (size_t i = 0; i < s->backends.count; i++)
        if (numbers_take(backends, &backends_of(s)[i].address) < 0)
            return false;
    return true;
}

bool settings_take_services(const struct settings *s, struct numbers *services)
{
    for (size_t i = 0; i < s->services.count; i++) {
        const struct endpoint *listen = services_of(s)[i].listen.items;
        for (size_t k = 0; k < services_of(s)[i].listen.count; k++)
            if (numbers_take(services, &listen[k]) < 0)
                return false;
    }
    return true;
}

struct services *settings_services(const struct settings *s)
{
    struct numbers *services = numbers_new((uint32_t)s->tables.services);
    struct numbers *backends = numbers_new((uint32_t)s->tables.backends);
    struct services *out = NULL;
    if (services != NULL && backends != NULL && settings_take_services(s, services) &&
        settings_take_backends(s, backends))
        out = settings_services_at(s, NULL, services, backends);
    numbers_free(services);
    numbers_free(backends);
    return out;
}
