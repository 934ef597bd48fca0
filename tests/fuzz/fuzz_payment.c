/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What strangers send about payments: a webhook's signature and body, a shopper's body, a
 * provider's answer. The first line is taken for the signature. Whatever is accepted must be fit to
 * be printed between quotes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/ledger/key.h"
#include "control/payment/read.h"
#include "control/payment/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_plain(const char *text, size_t room)
{
    const char *end = memchr(text, '\0', room);
    if (!end)
        abort();
    for (; text < end; text++)
        if (*text < 0x21 || *text > 0x7e || *text == '"' || *text == '\\')
            abort();
}

static void check_answer(const char *bytes, size_t length)
{
    static const struct provider_call call = {
        .attempt = {1, 2, 3}, .amount = 4900, .currency = "EUR"};
    struct provider_answer answer;
    const char *wrong = payment_read_answer(bytes, length, &call, &answer);
    if ((wrong == NULL) != (answer.outcome != PROVIDER_UNKNOWN))
        abort();
    require_plain(answer.action, sizeof answer.action);
    require_plain(answer.reason, sizeof answer.reason);
    if ((answer.outcome == PROVIDER_ACTION) != (*answer.action != '\0'))
        abort();
}

static void check_bodies(const char *bytes, size_t length)
{
    char method[PROVIDER_METHOD_MAX + 1];
    struct payment_event event;
    if (!payment_read_body(bytes, length, method))
        require_plain(method, sizeof method);
    if (!payment_read_event(bytes, length, &event)) {
        require_plain(event.id, sizeof event.id);
        require_plain(event.kind, sizeof event.kind);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct signature_secrets secrets = {
        .length = {16, 16}, .bytes = {"0123456789abcdef", "fedcba9876543210"}};
    const char *bytes = (const char *)data, *line = size ? memchr(bytes, '\n', size) : NULL;
    size_t field = line ? (size_t)(line - bytes) : 0, from = line ? field + 1 : 0;
    if (signature_check(&secrets, bytes, field, bytes + from, size - from, 1700000000, 300) ==
        SIGNATURE_GOOD)
        abort(); /* nobody guesses that */
    check_bodies(bytes + from, size - from);
    check_answer(bytes + from, size - from);
    return 0;
}
