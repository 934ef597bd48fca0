/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Rules: what of a shop is open to requests, as its operators say: by method, path and host, or on
 * TLS by server name. The first rule in the file's order that matches a request decides. The same
 * rules are asked at the gateway and in the purchase service. A set is compiled once and never
 * changes, so that it can be swapped under those who read it; rates and counters are kept by its
 * users, under the number that a rule has for them. Pure: no clock, no lock. Any thread. */
#ifndef DROPGATE_COMMON_RULES_H
#define DROPGATE_COMMON_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http1.h"

/** What the operators have said about what a rule matches. */
enum rule_state {
    RULE_UPCOMING, /* not before opens_at; then it is open, by itself */
    RULE_OPEN,     /* with a rate, or without one */
    RULE_SOLD_OUT,
    RULE_CLOSED,
    RULE_STATES
};

enum { RULES_MAX = 4096, RULES_PATH = 1024, RULES_METHODS = 31, RULES_RETRY_MAX = 60 };

/** A rule, as its users see it. */
struct rule {
    const char *name;    /* of the set */
    int64_t opens_at;    /* UPCOMING: Unix time in milliseconds */
    uint32_t per_second; /* OPEN: requests admitted; 0 = no limit */
    uint32_t burst;      /* of them at once, at least 1 where there is a limit */
    uint32_t slot;       /* the user's: where its rate and counters are */
    uint8_t state;       /* enum rule_state, as configured: rule_state_at says what it is now */
    bool observe;        /* it never decides; whoever finds it counts what it would have done */
};

/** A rule and what it matches; all of it is copied. Each condition may be left out (NULL, 0), and
 * then everything fulfils it. */
struct rule_source {
    struct rule rule;
    char *const *methods; /* ASCII, case-insensitive; GET is also HEAD */
    size_t method_count;
    const char *path; /* "/v1/sales/7" is that and all below, "/v1/sales/7/…", but not
                         "/v1/sales/70"; "%20" is a space */
    const char *host; /* "shop.example", or "*.shop.example" for any one label in its place; the
                         Host field without port, or TLS's server name */
    bool tls;         /* `host` is a server name: the rule is for connections, not for requests */
    char *const *services; /* names; only what comes by one of them */
    size_t service_count;
};

/** Why a rule cannot be, or NULL; `*key` names the condition: "methods", "path", "host". */
const char *rules_refuse(const struct rule_source *source, const char **key);

/** Compiles up to RULES_MAX rules that were not refused, in the file's order, into one block, to be
 * freed by free(). NULL when memory is short. No rules are a set too. */
struct rules *rules_new(const struct rule_source *sources, size_t count);

size_t rules_count(const struct rules *rules);
const struct rule *rules_at(const struct rules *rules, size_t index);

/** The number under which rules know a service: made of its name alone, so that it lasts. */
uint64_t rules_service(const char *name);

/** What is asked for. Slices point into a head that http1 has accepted, or are empty. */
struct rules_request {
    uint64_t service; /* rules_service, or 0 where there are none */
    bool http;        /* a request; else a connection of which nothing but `host` is known */
    struct http1_slice method, path;
    struct http1_slice host; /* the Host field's value, or the server name */
};

/** `rule` decides, NULL: none matches; `observed` would have decided and stands before it. */
struct rules_found {
    const struct rule *rule, *observed;
};

/** The rule that holds for a request. A path that servers may read in several ways (common/path.h)
 * is looked up in each, and the strictest rule holds: one that refuses, else the one with the
 * lowest rate. So no way to spell a path gets around a rule, as long as its backends read paths
 * in one of those ways; and a rule with a host is one for that name, so a backend must not serve
 * what it protects by other names, or by none. What is plain costs a hash look-up per segment, in
 * each of the few places that a rule for it may stand; the oddest path of 2,048 bytes costs some
 * hundred times as much (scripts/bench rules). */
struct rules_found rules_find(const struct rules *rules, const struct rules_request *request,
                              int64_t unix_ms);

/** What a rule says at that time. */
static inline enum rule_state rule_state_at(const struct rule *rule, int64_t unix_ms)
{
    return rule->state == RULE_UPCOMING && unix_ms >= rule->opens_at ? RULE_OPEN
                                                                     : (enum rule_state)rule->state;
}

/** The word for a state in configurations and telemetry. */
extern const char *const rule_states[RULE_STATES + 1];

/* ---- when to come again ---- */

/** Those whom a rule's rate has refused, in line: each place is one admission long, so the line
 * ends where all of them would have been admitted. It is an estimate, for Retry-After; nobody is
 * held to his place. Zero at the start; any monotonic clock. One thread's: of several that share a
 * rate each keeps a line of its own, with places as many times longer. */
struct rule_line {
    uint64_t end_us;
};

/** One more was refused; a place is `place_us` long, the time between two admissions. Returns the
 * wait until his place, in milliseconds; at most RULES_RETRY_MAX seconds: the line gets no longer
 * than that. */
uint32_t rule_line_join(struct rule_line *line, uint64_t place_us, uint64_t now_ms);

/** Retry-After in whole seconds for a wait: rounded up, and spread at random over a quarter more
 * and two seconds, so that those who were refused together do not come together. */
uint32_t rules_retry_after(uint64_t wait_ms, uint32_t random);

/** The same for a rule that opens later: no more than an hour and what it is spread over, since the
 * opening may be moved. */
uint32_t rules_retry_opening(const struct rule *rule, int64_t unix_ms, uint32_t random);

#endif
