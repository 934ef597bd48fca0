/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What policy parts share. Building them is ops/builder's and ops/settings' business. */
#include "dataplane/admit/policy.h"

#include <endian.h>
#include <stdlib.h>

#include "common/siphash.h"

uint32_t policy_cookie_service(const struct endpoint *listen, uint8_t window_scale)
{
    /* A name, not a secret: the key is fixed so that all gateways agree. The MAC's key is what
     * protects it. */
    static const struct siphash_key fixed = {UINT64_C(0x64726f7067617465),
                                             UINT64_C(0x73657276696365)};
    uint8_t bytes[19];
    memcpy(bytes, &listen->addr, 16);
    store16(bytes + 16, listen->port);
    bytes[18] = window_scale;
    return (uint32_t)siphash_bytes(&fixed, bytes, sizeof bytes);
}

static void suspect(struct source_filter *filter, const struct addr *a)
{
    bool v4 = addr_is_v4(a);
    uint32_t piece = source_piece(a, v4);
    filter->harmless[v4][piece / 64] &= ~(UINT64_C(1) << piece % 64);
}

/* A prefix that is shorter than what tells the pieces apart spoils several of IPv4's, which lie
 * beside each other, or all of IPv6's, which do not. */
static void suspect_prefix(struct source_filter *filter, const struct prefix *prefix)
{
    enum { V4_BITS = 12, V6_BITS = 32, MAPPED = 96 };
    struct addr at = prefix->base;
    if (!addr_is_v4(&at)) {
        if (prefix->length < V6_BITS)
            memset(filter->harmless[0], 0, sizeof filter->harmless[0]);
        suspect(filter, &at);
        return;
    }
    uint32_t bits = prefix->length > MAPPED ? prefix->length - MAPPED : 0;
    uint32_t pieces = bits < V4_BITS ? 1U << (V4_BITS - bits) : 1;
    uint32_t first = source_piece(&at, true);
    for (uint32_t i = 0; i < pieces; i++) {
        at = addr_from_v4(htobe32((first + i) << (32 - V4_BITS)));
        suspect(filter, &at);
    }
}

static void suspect_all(struct source_filter *filter, const struct endpoints *map)
{
    for (uint32_t i = 0; i <= map->mask; i++)
        if (map->slot[i].value >= 0)
            suspect(filter, &map->slot[i].addr);
}

bool policy_forged_there(const struct services *services, const struct addr *source, bool v4)
{
    return packet_bogon(source, v4) || policy_own(services, OUTSIDE, source) ||
           policy_behind(services, source);
}

void services_note_sources(struct services *services)
{
    /* ff00::/8 is told by its first byte; the other bogons of IPv6 begin with zeros. */
    static const struct prefix bogons[] = {
        {{.bytes = {[10] = 0xff, [11] = 0xff, [12] = 0}}, 96 + 8},
        {{.bytes = {[10] = 0xff, [11] = 0xff, [12] = 127}}, 96 + 8},
        {{.bytes = {[10] = 0xff, [11] = 0xff, [12] = 224}}, 96 + 3},
        {{.bytes = {0}}, 80},
    };
    struct source_filter *filter = &services->sources;
    memset(filter, 0xff, sizeof *filter);
    for (size_t i = 0; i < sizeof bogons / sizeof bogons[0]; i++)
        suspect_prefix(filter, &bogons[i]);
    suspect_all(filter, services->own[OUTSIDE]);
    suspect_all(filter, services->behind);
    for (uint32_t i = 0; i < services->inside_link_count; i++)
        suspect_prefix(filter, &services->inside_link[i]);
}

void services_free(struct services *services)
{
    if (services == NULL)
        return;
    free(services->service);
    free(services->backend);
    free(services->members);
    free(services->probes);
    for (uint32_t i = 0; i < services->names_count; i++)
        names_free(services->names[i]);
    free(services->names);
    endpoints_free(services->by_listen);
    endpoints_free(services->by_leaving);
    endpoints_free(services->by_backend);
    endpoints_free(services->own[OUTSIDE]);
    endpoints_free(services->own[INSIDE]);
    endpoints_free(services->behind);
    free(services->inside_link);
    free(services);
}
