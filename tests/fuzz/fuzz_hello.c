/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * ClientHellos: what a connection's first bytes are said to be never changes with more of them,
 * except from "more"; and whatever is taken can be fingerprinted. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/tls/ja4.h"
#include "dataplane/tls/names.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static enum hello_result read_exactly(const uint8_t *bytes, size_t length, struct hello *out)
{
    uint8_t *copy = malloc(length ? length : 1);
    check(copy != NULL);
    memcpy(copy, bytes, length);
    enum hello_result result = hello_read(copy, (uint32_t)length, out);
    free(copy);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hello hello;
    enum hello_result before = HELLO_MORE;
    for (size_t length = 0; length < size; length += 1 + length / 16) {
        enum hello_result now = read_exactly(data, length, &hello);
        check(before == HELLO_MORE || now == before);
        before = now;
    }
    enum hello_result result = hello_read(data, (uint32_t)size, &hello);
    check(before == HELLO_MORE || result == before);
    if (result != HELLO_OK)
        return 0;
    char text[JA4_TEXT];
    ja4_print(&hello, text);
    check(strlen(text) == JA4_TEXT - 1);
    check(!hello.has_name || names_refuse(hello.name) == NULL || strlen(hello.name) > 60);
    return 0;
}
