/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The operators' rules (common/rules) in the purchase service: asked by the head of a request
 * alone, before anything else is done for it. The same as at the gateway, for whatever comes
 * another way, or encrypted through it; rates are of this instance. What a rule refuses is refused,
 * also the repetition of a purchase that was granted: the rules know no keys, and a sale that is
 * only sold out must not have a rule for that here. */
#ifndef DROPGATE_CONTROL_API_ADMISSION_H
#define DROPGATE_CONTROL_API_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/http1.h"
#include "control/api/problem.h"

struct admission;

/** With no rules. NULL if memory is short. */
struct admission *admission_new(void);

/** After all network threads. NULL is nothing. */
void admission_free(struct admission *admission);

/** Puts these (checked) rules of struct rule_settings in force. A rule keeps what it has admitted,
 * and its counts, by its name. Waits for a grace period; the main thread. Returns 0 or -ENOMEM:
 * then those of before stay in force. */
int admission_replace(struct admission *admission, const struct conf_list *rules);

/** Logs what each rule has let pass and refused since the start. The main thread. */
void admission_report(const struct admission *admission);

struct admission_refusal {
    enum problem problem;
    int retry_after;  /* seconds, or REPLY_NO_RETRY */
    int64_t opens_at; /* NOT_OPEN: microseconds since 2000 */
};

/** Whether a request may go on; else why not. `unix_ms` decides about openings, `now` (clock_now)
 * about rates; `random` is any number. Registered threads (urcu_memb), outside of a reading of the
 * catalogue or within. */
bool admission_ask(struct admission *admission, const struct http1_head *head, int64_t unix_ms,
                   int64_t now, uint32_t random, struct admission_refusal *refusal);

#endif
