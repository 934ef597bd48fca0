/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * jansson does the parsing; this decides what is accepted. */
#include "control/api/body.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static const char *read_object(const json_t *root, int32_t *quantity)
{
    if (!json_is_object(root))
        return "The body is not a JSON object.";
    const json_t *value = json_object_get(root, "quantity");
    if (!value)
        return "The member quantity is missing.";
    if (json_object_size(root) != 1)
        return "There is a member other than quantity.";
    if (!json_is_integer(value))
        return "The member quantity is not an integer.";
    json_int_t number = json_integer_value(value);
    if (number < 1 || number > BODY_QUANTITY_MAX)
        return "The member quantity is not within 1 to 10000.";
    *quantity = (int32_t)number;
    return NULL;
}

const char *body_parse(const char *bytes, size_t length, int32_t *quantity)
{
    json_error_t error;
    if (length == 0)
        return "The body is empty; a JSON object is expected.";
    if (length > BODY_MAX)
        return "The body is too large.";
    json_t *root = json_loadb(bytes, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root)
        return json_error_code(&error) == json_error_duplicate_key ? "A member stands twice."
                                                                   : "The body is not valid JSON.";
    const char *wrong = read_object(root, quantity);
    json_decref(root);
    return wrong;
}
