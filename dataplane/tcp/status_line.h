/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The status of an HTTP/1 response (RFC 9112 section 4), read from its first bytes in whatever
 * pieces they come; interim responses (1xx) are passed over. Nothing is kept but where it stands.
 * Pure; any thread. */
#ifndef DROPGATE_DATAPLANE_TCP_STATUS_LINE_H
#define DROPGATE_DATAPLANE_TCP_STATUS_LINE_H

#include <stdint.h>

/** Begins zeroed. */
struct status_line {
    uint16_t code; /* once it is complete */
    uint8_t at;    /* bytes of the line that have matched; then, of an interim response, the rest */
};

enum status_event {
    STATUS_MORE, /* all bytes read, it is not complete */
    STATUS_READ, /* `code`, 200 to 599: what follows does not matter */
    STATUS_BAD,  /* no HTTP/1 response; the same bytes again would say so again */
};

/** Reads what comes next; not to be called again once it has said anything but STATUS_MORE. */
enum status_event status_line_read(struct status_line *line, const uint8_t *bytes, uint32_t length);

#endif
