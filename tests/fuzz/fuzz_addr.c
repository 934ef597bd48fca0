/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Addresses, prefixes and endpoints: what is read prints to text that reads to the same, in one
 * form only. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_addr(const char *text)
{
    struct addr a, again;
    char once[ADDR_TEXT], twice[ADDR_TEXT];
    if (addr_parse(text, &a) != 0)
        return;
    check(strspn(text, "0123456789abcdefABCDEF:.") == strlen(text));
    check(addr_is_v4(&a) == (strchr(text, ':') == NULL));
    check(addr_parse(addr_print(&a, once), &again) == 0 && addr_equal(&a, &again));
    check(strcmp(once, addr_print(&again, twice)) == 0);
    check(addr_is_v4(&a) || strchr(once, '.') == NULL);
}

static void check_prefix(const char *text)
{
    struct prefix p, again;
    bool masked;
    char once[ADDR_TEXT];
    if (prefix_parse(text, &p, &masked) != 0)
        return;
    check(p.length <= 128 && (p.length >= 96 || !addr_is_v4(&p.base)));
    check(prefix_contains(&p, &p.base));
    check(prefix_parse(prefix_print(&p, once), &again, &masked) == 0 && !masked);
    check(again.length == p.length && addr_equal(&again.base, &p.base));
    if (p.length > 0) { /* the last bit of the prefix decides */
        again.base.bytes[(p.length - 1) / 8] ^= (uint8_t)(0x80 >> (p.length - 1) % 8);
        check(!prefix_contains(&p, &again.base));
    }
    if (p.length < 128) { /* the first bit behind it does not */
        again.base = p.base;
        again.base.bytes[p.length / 8] ^= (uint8_t)(0x80 >> p.length % 8);
        check(prefix_contains(&p, &again.base) || addr_is_v4(&again.base) != addr_is_v4(&p.base));
    }
}

static void check_endpoint(const char *text)
{
    struct endpoint e, again;
    char once[ADDR_TEXT];
    if (endpoint_parse(text, &e) != 0)
        return;
    check(e.port > 0);
    check(endpoint_parse(endpoint_print(&e, once), &again) == 0);
    check(again.port == e.port && addr_equal(&again.addr, &e.addr));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char *text = malloc(length + 1);
    if (!text)
        return 0;
    if (length > 0)
        memcpy(text, bytes, length);
    text[length] = '\0';
    check_addr(text);
    check_prefix(text);
    check_endpoint(text);
    free(text);
    return 0;
}
