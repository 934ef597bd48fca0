/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * jansson does the parsing; this decides what is accepted. A member that stands twice is refused
 * everywhere: two readers of one message must not read two messages. */
#include "control/payment/read.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "control/ledger/key.h"

static json_t *load(const char *bytes, size_t length, const char **wrong)
{
    json_error_t error;
    json_t *root = json_loadb(bytes, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root && json_is_object(root))
        return root;
    *wrong = root ? "The body is not a JSON object."
             : json_error_code(&error) == json_error_duplicate_key ? "A member stands twice."
                                                                   : "The body is not valid JSON.";
    json_decref(root);
    return NULL;
}

/* Visible ASCII that can be printed between quotes as it is. */
static bool is_plain(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] < 0x21 || text[i] > 0x7e || text[i] == '"' || text[i] == '\\')
            return false;
    return true;
}

/* The member `name` as 1..max characters of `alphabet` (NULL: all that is plain), copied with an
 * end. */
static bool take_text(const json_t *root, const char *name, const char *alphabet, size_t max,
                      char *out)
{
    const json_t *value = json_object_get(root, name);
    size_t length = json_string_length(value);
    const char *text = json_string_value(value);
    if (!text || length < 1 || length > max || !is_plain(text, length))
        return false;
    if (alphabet && strspn(text, alphabet) != length)
        return false;
    memcpy(out, text, length + 1);
    return true;
}

static bool take_attempt(const json_t *root, unsigned char attempt[16])
{
    const json_t *value = json_object_get(root, "attempt");
    return json_is_string(value) &&
           !key_parse(json_string_value(value), json_string_length(value), attempt);
}

static const char *read_body(const json_t *root, char *method)
{
    if (!json_object_get(root, "method"))
        return "The member method is missing.";
    if (json_object_size(root) != 1)
        return "There is a member other than method.";
    if (!take_text(root, "method", NULL, PROVIDER_METHOD_MAX, method))
        return "The member method is not 1 to 255 visible ASCII characters without quotes and "
               "backslashes.";
    return NULL;
}

const char *payment_read_body(const char *bytes, size_t length,
                              char method[PROVIDER_METHOD_MAX + 1])
{
    const char *wrong = "The body is empty; a JSON object is expected.";
    json_t *root = length ? load(bytes, length, &wrong) : NULL;
    if (!root)
        return wrong;
    wrong = read_body(root, method);
    json_decref(root);
    return wrong;
}

static const char WORD[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

static enum provider_outcome outcome_of(const json_t *root)
{
    static const char *const NAMES[PROVIDER_OUTCOMES] = {
        [PROVIDER_UNKNOWN] = "",          [PROVIDER_ABSENT] = "absent",
        [PROVIDER_PENDING] = "pending",   [PROVIDER_ACTION] = "requires_action",
        [PROVIDER_DECLINED] = "declined", [PROVIDER_AUTHORISED] = "authorised",
        [PROVIDER_CAPTURED] = "captured", [PROVIDER_VOIDED] = "voided",
        [PROVIDER_REFUNDED] = "refunded"};
    const char *state = json_string_value(json_object_get(root, "state"));
    for (int i = 1; state && i < PROVIDER_OUTCOMES; i++)
        if (!strcmp(state, NAMES[i]))
            return (enum provider_outcome)i;
    return PROVIDER_UNKNOWN;
}

/* What it is that costs: a provider that has another amount in its books than we have must not pay
 * for this. */
static bool same_money(const json_t *root, const struct provider_call *call)
{
    const json_t *amount = json_object_get(root, "amount");
    const char *currency = json_string_value(json_object_get(root, "currency"));
    return json_is_integer(amount) && json_integer_value(amount) == call->amount && currency &&
           !strcmp(currency, call->currency);
}

static const char *read_answer(const json_t *root, const struct provider_call *call,
                               struct provider_answer *answer)
{
    unsigned char attempt[16];
    enum provider_outcome outcome = outcome_of(root);
    if (outcome == PROVIDER_UNKNOWN)
        return "no state that is known";
    if (!take_attempt(root, attempt) || memcmp(attempt, call->attempt, sizeof attempt) != 0)
        return "not about this attempt";
    if (outcome != PROVIDER_ABSENT &&
        (outcome != PROVIDER_VOIDED || json_object_get(root, "amount")) && !same_money(root, call))
        return "not this amount and currency";
    if (outcome == PROVIDER_ACTION &&
        (!take_text(root, "action", NULL, PROVIDER_ACTION_MAX, answer->action) ||
         strncmp(answer->action, "https://", 8) != 0))
        return "an action that is not an https URL";
    if (outcome == PROVIDER_DECLINED &&
        !take_text(root, "reason", WORD, PROVIDER_REASON_MAX, answer->reason))
        strcpy(answer->reason, "declined");
    answer->outcome = outcome;
    return NULL;
}

const char *payment_read_answer(const char *bytes, size_t length, const struct provider_call *call,
                                struct provider_answer *answer)
{
    const char *wrong = "empty";
    memset(answer, 0, sizeof *answer);
    json_t *root = length && length <= PAYMENT_ANSWER_MAX ? load(bytes, length, &wrong) : NULL;
    if (!root)
        return length > PAYMENT_ANSWER_MAX ? "too long" : wrong;
    wrong = read_answer(root, call, answer);
    json_decref(root);
    if (wrong)
        memset(answer, 0, sizeof *answer);
    return wrong;
}

static const char *read_event(const json_t *root, struct payment_event *event)
{
    if (!take_text(root, "id", NULL, PAYMENT_EVENT_MAX, event->id))
        return "The member id is not 1 to 255 visible ASCII characters without quotes and "
               "backslashes.";
    if (!take_text(root, "type", WORD, PAYMENT_KIND_MAX, event->kind))
        return "The member type is not a word of 1 to 64 small letters, digits and underlines.";
    if (!take_attempt(root, event->attempt))
        return "The member attempt is not an id of 8-4-4-4-12 hexadecimal digits.";
    return NULL;
}

const char *payment_read_event(const char *bytes, size_t length, struct payment_event *event)
{
    const char *wrong = "The body is empty; a JSON object is expected.";
    json_t *root = length ? load(bytes, length, &wrong) : NULL;
    if (!root)
        return wrong;
    wrong = read_event(root, event);
    json_decref(root);
    return wrong;
}
