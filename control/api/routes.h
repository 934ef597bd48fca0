/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Method and path to what is asked for, with the parameters in the path read and checked.
 * Case-sensitive, no trailing slash, no dot segments: a path is one thing or nothing. Pure. */
#ifndef DROPGATE_CONTROL_API_ROUTES_H
#define DROPGATE_CONTROL_API_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/http1.h"

enum route {
    ROUTE_NONE,   /* no such path */
    ROUTE_METHOD, /* the path exists, not with this method: `allow` */
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_ITEM,
    ROUTE_SALE,
    ROUTE_RESERVE,
    ROUTE_RESERVATION,
    ROUTE_CANCEL,
    ROUTE_EVENTS,
    ROUTE_PAY,
    ROUTE_WEBHOOK,
};

enum { ROUTE_ITEM_MAX = 64 };

struct route_match {
    enum route route;
    bool head_only;    /* HEAD: the answer to GET without its body */
    const char *allow; /* ROUTE_METHOD: the Allow field's value */
    int32_t sale;      /* ROUTE_SALE, ROUTE_RESERVE: 1.. */
    uint8_t reservation[16];
    char item[ROUTE_ITEM_MAX + 1];
};

/** Never fails: what matches nothing is ROUTE_NONE, and so is an id that is malformed. Any thread.
 */
void route_match(const struct http1_slice *method, const struct http1_slice *path,
                 struct route_match *out);

#endif
