/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A request as the service reads it once its bytes are framed: path, query, user, key and body of
 * whatever head parses. What comes out must keep the promises of its headers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/http1.h"
#include "control/api/body.h"
#include "control/api/events.h"
#include "control/api/identity.h"
#include "control/api/routes.h"
#include "control/ledger/key.h"
#include "control/outbox/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_route(const struct http1_head *head)
{
    struct route_match m;
    route_match(&head->method, &head->path, &m);
    require(memchr(m.item, '\0', sizeof m.item) != NULL);
    if (m.route == ROUTE_SALE || m.route == ROUTE_RESERVE)
        require(m.sale > 0);
    if (m.route == ROUTE_METHOD)
        require(m.allow != NULL);
}

static void check_query(const struct http1_slice *query)
{
    struct ledger_page page;
    const char *wrong = events_parse(query, &page);
    if (wrong) {
        require(!strpbrk(wrong, "\"\\"));
        return;
    }
    require(page.after >= -1 && page.limit >= 1 && page.limit <= PAGE_LIMIT_MAX);
    require(page.wait >= 0 && page.wait <= PAGE_WAIT_MAX);
}

static void check_identity(const struct http1_head *head)
{
    struct http1_slice user;
    struct idempotency_key key;
    uint8_t id[16];
    if (identity_user(head, "X-Dropgate-User", &user) != IDENTITY_GOOD)
        return;
    require(user.length >= 1 && user.length <= 255);
    if (idempotency_key(head, &key) == IDENTITY_GOOD)
        require(key_reservation_id(user.at, user.length, 1, key.bytes, key.length, id) == 0);
}

static void check_body(const uint8_t *data, size_t size)
{
    int32_t quantity = 0;
    if (!body_parse((const char *)data, size, &quantity))
        require(quantity >= 1 && quantity <= BODY_QUANTITY_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char end[] = "\r\n\r\n";
    struct http1_head head;
    const uint8_t *stop = memmem(data, size, end, sizeof end - 1);
    size_t length = stop ? (size_t)(stop - data) + sizeof end - 1 : 0;
    if (stop && http1_head(data, length, &HTTP1_DEFAULT_LIMITS, &head) == HTTP1_OK) {
        check_route(&head);
        check_query(&head.query);
        check_identity(&head);
    }
    check_body(data + length, size - length);
    return 0;
}
