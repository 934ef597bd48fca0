/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A backend's answer to a probe, whole and in two pieces: both must come to the same. */
#include <stddef.h>
#include <stdlib.h>

#include "dataplane/tcp/status_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status_line whole = {0}, parts = {0};
    if (size < 1 || size > UINT16_MAX)
        return 0;
    const uint32_t length = (uint32_t)size - 1, cut = length == 0 ? 0 : data[0] % (length + 1);
    const enum status_event one = status_line_read(&whole, data + 1, length);
    enum status_event two = status_line_read(&parts, data + 1, cut);
    if (two == STATUS_MORE)
        two = status_line_read(&parts, data + 1 + cut, length - cut);
    if (one != two || whole.code != parts.code)
        abort();
    if (one == STATUS_READ && (whole.code < 200 || whole.code > 599))
        abort();
    return 0;
}
