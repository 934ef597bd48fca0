/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * IPv6 extension headers (RFC 8200 section 4). The parser reads TCP and ICMPv6 directly behind the
 * IPv6 header; whatever else stands there comes here. Headers that mean nothing to us are removed,
 * so that an honest client is served (RFC 7045 section 2.1) and nothing behind this file ever sees
 * one, nor a backend; any other refuses the packet by its name. Pure. Any thread.
 *
 * Removed are hop-by-hop and destination options that hold only padding, and a routing header with
 * no segment left (to be ignored: RFC 8200 section 4.4). Refused are all other options (each asks
 * for something that we would not do), source routes, fragments, atomic ones too (RFC 6946; nobody
 * should make them since RFC 8021), ESP and AH, which would hide or cover the TCP header that we
 * have to change, whatever no TCP client sends, and ICMPv6 behind any of them: neighbour discovery
 * must stand alone (RFC 6980 for fragments), echo and errors have no need. The walk is bounded as
 * RFC 8504 section 5.3 allows: 128 bytes, hop-by-hop options only first, destination options twice,
 * a routing header once (RFC 8200 section 4.1), so four headers. */
#ifndef DROPGATE_DATAPLANE_NET_EXTENSION_H
#define DROPGATE_DATAPLANE_NET_EXTENSION_H

#include <stdint.h>

#include "dataplane/net/verdict.h"

/** IPv6 next header values that are extension headers (IANA), but for "no next header". */
enum {
    EXTENSION_HOP_BY_HOP = 0,
    EXTENSION_ROUTING = 43,
    EXTENSION_FRAGMENT = 44,
    EXTENSION_ESP = 50,
    EXTENSION_AH = 51,
    EXTENSION_DESTINATION = 60,
    EXTENSION_MOBILITY = 135,
    EXTENSION_HIP = 139,
    EXTENSION_SHIM6 = 140,
};

enum { EXTENSION_BYTES = 128 };

/** Removes the extension headers of a frame for which packet_parse returned IPV6_EXTENSION.
 * VERDICT_FORWARDED: *length is smaller, TCP stands behind the IPv6 header, and the frame is to be
 * parsed again. Else the reason to drop it (TRUNCATED, FRAGMENT, UNSUPPORTED or one of the IPV6_
 * verdicts); then nothing was written. */
enum verdict extension_remove(uint8_t *frame, uint32_t *length);

#endif
