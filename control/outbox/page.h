/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * One answer to GET /v1/events: the rows of dropgate.events_read, which are JSON already, put
 * together. Never trusts their order: a page with a gap in its positions is refused, since a reader
 * would never ask again for what is missing. Pure. */
#ifndef DROPGATE_CONTROL_OUTBOX_PAGE_H
#define DROPGATE_CONTROL_OUTBOX_PAGE_H

#include <libpq-fe.h>

#include "control/ledger/request.h"

enum {
    PAGE_LIMIT_MAX = 1000,    /* events */
    PAGE_BYTES = 1024 * 1024, /* of events, unless a single one is longer */
    PAGE_WAIT_MAX = 30,       /* seconds */
};

/** Renders `result` for `page`: sets place, and for LEDGER_PAGE body, length and events. Returns
 * LEDGER_PAGE, LEDGER_PAGE_GONE, LEDGER_PAGE_AHEAD or LEDGER_FAILED (misshapen rows, or no memory).
 */
enum ledger_status page_render(const PGresult *result, struct ledger_page *page);

#endif
