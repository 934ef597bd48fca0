/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * A provider that is reached by JSON over HTTP (docs/payments.md says what it must answer). TLS
 * certificates and host names are verified, redirects are not followed, proxies of the environment
 * are not used; connections are kept and bounded. On libcurl, non-blocking, names resolved aside.
 */
#ifndef DROPGATE_CONTROL_PAYMENT_HTTP_PROVIDER_H
#define DROPGATE_CONTROL_PAYMENT_HTTP_PROVIDER_H

#include <stdbool.h>

#include "control/payment/provider.h"
#include "control/settings.h"

/** Reads the credentials, opens nothing else. NULL and `why` if that fails. `settings` must outlive
 * it. */
struct provider *http_provider_open(const struct payment_settings *settings, char *why,
                                    size_t why_size);

/** Whether `url` may be a provider's address: https, or http to a loopback address, for tests; no
 * query, no user, no end in a slash. */
bool http_provider_accepts(const char *url);

#endif
