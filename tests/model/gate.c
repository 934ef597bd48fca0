/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The gate of the model: it refuses what begins with "/no", in bytes that are always the same, so
 * that a client can compare. They take the place of the gateway's own (admit/reply.c). */
#include <string.h>

#include "tests/model/shop.h"

enum verdict gate_request(struct shard *shard, const struct gate_asker *asker,
                          const struct gate_head *head, struct refusal *refusal)
{
    (void)shard;
    (void)asker;
    if (head->path.length < 3 || memcmp(head->path.at, "/no", 3) != 0)
        return VERDICT_FORWARDED;
    refusal->kind = REFUSAL_BUSY;
    return VERDICT_RULE_RATE;
}

uint16_t reply_write(const struct refusal *refusal, uint64_t unix_ms, uint8_t out[REPLY_MOST])
{
    (void)refusal;
    (void)unix_ms;
    for (uint32_t i = 0; i < REPLY_MOST; i++)
        out[i] = (uint8_t)(i * 167 >> 3);
    return REPLY_MOST;
}

bool reply_prefers_html(const struct http1_slice *accept)
{
    (void)accept;
    return false;
}
