/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A frame's tags are all read before they are judged, at most one more than any side may have. */
#include "dataplane/net/vlan.h"

#include <errno.h>
#include <stdlib.h>

enum { ADDRESSES = 12, ID_MAX = 4094, TYPE_UNKNOWN = 0 };

/* The tags of a frame, outermost first. */
struct tags {
    uint16_t id[VLAN_TAGS + 1], type[VLAN_TAGS + 1];
    uint32_t count;
    uint32_t bytes; /* that they take up in the frame */
};

/* One number without sign, blanks or leading zero; *text moves behind it. */
static bool parse_id(const char **text, uint16_t *id)
{
    char *end;
    if (**text < '1' || **text > '9')
        return false;
    unsigned long value = strtoul(*text, &end, 10);
    *text = end;
    *id = (uint16_t)value;
    return value <= ID_MAX;
}

int vlan_parse(const char *text, struct vlan *out)
{
    struct vlan vlan = {0};
    *out = vlan;
    if (text == NULL || *text == '\0')
        return 0;
    if (!parse_id(&text, &vlan.id[vlan.count++]))
        return -EINVAL;
    if (*text == '.') {
        text++;
        if (!parse_id(&text, &vlan.id[vlan.count++]))
            return -EINVAL;
    }
    if (*text != '\0')
        return -EINVAL;
    *out = vlan;
    return 0;
}

/* False when the frame ends within its header or a tag. */
static bool read_tags(const uint8_t *frame, uint32_t length, int beside, struct tags *tags)
{
    *tags = (struct tags){0};
    if (length < ETHERNET_HEADER)
        return false;
    if (beside >= 0)
        tags->id[tags->count++] = (uint16_t)beside & VLAN_ID_MASK; /* its type is not told */
    while (tags->count <= VLAN_TAGS && vlan_tagged(frame + tags->bytes, length - tags->bytes)) {
        const uint8_t *at = frame + ADDRESSES + tags->bytes;
        if (length - tags->bytes < ETHERNET_HEADER + VLAN_TAG)
            return false;
        tags->type[tags->count] = load16(at);
        tags->id[tags->count++] = load16(at + 2) & VLAN_ID_MASK;
        tags->bytes += VLAN_TAG;
    }
    return true;
}

static bool same(const struct vlan *vlan, const struct tags *tags)
{
    if (tags->count != vlan->count)
        return false;
    for (uint32_t i = 0; i < tags->count; i++) {
        bool outer_of_two = i == 0 && tags->count == 2;
        bool type_fits = tags->type[i] == TYPE_UNKNOWN || tags->type[i] == ETHERTYPE_VLAN ||
                         (outer_of_two && tags->type[i] == ETHERTYPE_QINQ);
        if (tags->id[i] != vlan->id[i] || !type_fits)
            return false;
    }
    return true;
}

enum verdict vlan_take(const struct vlan *vlan, uint8_t *frame, uint32_t length, int beside,
                       uint32_t *taken)
{
    struct tags tags;
    *taken = 0;
    if (!read_tags(frame, length, beside, &tags))
        return VERDICT_TRUNCATED;
    if (tags.count > VLAN_TAGS)
        return VERDICT_VLAN_DEPTH;
    if (tags.count == 1 && tags.id[0] == 0)
        tags.count = 0; /* only a priority; its bytes go all the same */
    if (vlan->count == 0 && tags.count != 0)
        return VERDICT_VLAN;
    if (vlan->count != 0 && tags.count == 0)
        return VERDICT_VLAN_MISSING;
    if (!same(vlan, &tags))
        return VERDICT_VLAN_OTHER;
    if (tags.bytes != 0)
        memmove(frame + tags.bytes, frame, ADDRESSES);
    *taken = tags.bytes;
    return VERDICT_FORWARDED;
}

void vlan_put(const struct vlan *vlan, uint8_t *front)
{
    memmove(front, front + (size_t)vlan->count * VLAN_TAG, ADDRESSES);
    for (uint32_t i = 0; i < vlan->count; i++) {
        uint8_t *at = front + ADDRESSES + (size_t)i * VLAN_TAG;
        store16(at, i == 0 && vlan->count == 2 ? ETHERTYPE_QINQ : ETHERTYPE_VLAN);
        store16(at + 2, vlan->id[i]);
    }
}
