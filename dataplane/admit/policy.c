/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What policy parts share. Building them is ops/builder's and ops/settings' business. */
#include "dataplane/admit/policy.h"

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

void services_free(struct services *services)
{
    if (services == NULL)
        return;
    free(services->service);
    free(services->backend);
    free(services->members);
    endpoints_free(services->by_listen);
    endpoints_free(services->by_backend);
    endpoints_free(services->own[OUTSIDE]);
    endpoints_free(services->own[INSIDE]);
    endpoints_free(services->behind);
    free(services->inside_link);
    free(services);
}
