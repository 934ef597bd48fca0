/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Stock is told as a band only: exact numbers would change with every grant, so nothing could be
 * cached, and they invite scripts to race for the last one. */
#include "control/catalog/view.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "control/timestamp.h"

enum { LOW_PERCENT = 10 };

static const char *stock_band(const struct catalog_row *row)
{
    if (row->avail <= 0)
        return "none";
    return row->avail <= row->total / (100 / LOW_PERCENT) ? "low" : "available";
}

static json_t *time_value(int64_t at)
{
    char text[TIMESTAMP_TEXT];
    return timestamp_is_finite(at) ? json_string(timestamp_print(at, text)) : json_null();
}

static int set_etag(struct view *view)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(view->body, view->length, digest, NULL, EVP_sha256(), NULL))
        return -ENOMEM;
    char *at = view->etag;
    *at++ = '"';
    for (int i = 0; i < 16; i++) {
        *at++ = digits[digest[i] >> 4];
        *at++ = digits[digest[i] & 15];
    }
    *at++ = '"';
    *at = '\0';
    return 0;
}

/* Takes the JSON value over. */
static int finish(json_t *root, struct view *out)
{
    out->body = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!out->body)
        return -ENOMEM;
    out->length = strlen(out->body);
    int status = set_etag(out);
    if (status)
        view_free(out);
    return status;
}

int view_sale(const struct catalog_row *row, struct view *out)
{
    json_t *root = json_pack(
        "{s:i, s:s, s:s, s:s, s:I, s:s, s:i, s:I, s:o, s:o, s:s}", "id", row->sale, "item",
        row->item, "title", row->title, "state", row->state, "unit_price",
        (json_int_t)row->unit_price, "currency", row->currency, "per_user", row->per_user,
        "hold_seconds", (json_int_t)(row->hold_ms / 1000), "opens_at", time_value(row->opens_at),
        "closes_at", time_value(row->closes_at), "stock", stock_band(row));
    return finish(root, out);
}

int view_item(const struct catalog_row *const *rows, size_t count, struct view *out)
{
    json_t *sales = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(sales, json_integer(rows[i]->sale));
    json_t *root = json_pack("{s:s, s:s, s:s, s:o}", "id", rows[0]->item, "title", rows[0]->title,
                             "description", rows[0]->description, "sales", sales);
    return finish(root, out);
}

void view_free(struct view *view)
{
    free(view->body);
    view->body = NULL;
}
