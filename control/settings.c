/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The configuration table of dropgate-control: every key once, with its bounds, default and one
 * sentence; and the checks that look at more than one key. It opens nothing: a file that passes
 * here may still name a port in use. */
#include "control/settings.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "control/ledger/hosts.h"
#include "control/payment/http_provider.h"

static const char *const IDENTITY_CHOICES[] = {"none", "header", "jwt", NULL};
static const char *const ALGORITHM_CHOICES[] = {"HS256", "RS256", NULL};
static const char *const QUEUE_CHOICES[] = {"memory", "redis", NULL};
static const char *const LEVEL_CHOICES[] = {"debug", "info", "warning", "error", NULL};

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

#define IN_CONTROL(field) offsetof(struct control_settings, field)
static const char *const PROVIDER_CHOICES[] = {"none", "http", NULL};

#define IN_PAYMENT(field)  offsetof(struct payment_settings, field)
#define IN_JWT(field)      offsetof(struct jwt_settings, field)
#define IN_DATABASE(field) offsetof(struct database_settings, field)

static const struct conf_section SECTIONS[] = {
    {"control", 0, offsetof(struct settings, control), sizeof(struct control_settings), 0, 0,
     "The HTTP side and the queues behind it."},
    {"database", 0, offsetof(struct settings, database), sizeof(struct database_settings), 0, 0,
     "PostgreSQL, the ledger."},
    {"catalog", 0, offsetof(struct settings, catalog), sizeof(struct catalog_settings), 0, 0,
     "The copy of items and sales in memory."},
    {"events", 0, offsetof(struct settings, events), sizeof(struct events_settings), 0, 0,
     "What other systems may hear of: GET /v1/events."},
    {"payment", 0, offsetof(struct settings, payment), sizeof(struct payment_settings), 0, 0,
     "Who takes the money. Without a provider reservations are held, and cannot be paid here."},
    {"jwt", 1, offsetof(struct settings, jwt), sizeof(struct jwt_settings), 0, 16,
     "A key that may have signed the tokens of identity = jwt. To rotate: add the new key's "
     "section, "
     "restart the instances one by one, let the issuer sign with the new key, and take the old "
     "section out when the last token that it signed has expired."},
    {"rule", 1, offsetof(struct settings, rules), sizeof(struct rule_settings), 0, RULES_MAX,
     "Who is let in to what, and when, as at the gateway: of all rules that match a request the "
     "first one decides, before anything else is done for it. A request that none matches passes; "
     "/healthz and /readyz always do. SIGHUP reads the rules again."},
};

static const struct conf_row ROWS[] = {
    {"control", "listen", CONF_ENDPOINTS, IN_CONTROL(listen), 1, 16, "127.0.0.1:8080, [::1]:8080",
     NULL, CONF_BOOT,
     "Addresses and ports to listen on; [::] means IPv6 only, so name 0.0.0.0 beside it for both. "
     "A "
     "second instance of the same user may share them, for a restart without a gap."},
    {"control", "network_threads", CONF_INT, IN_CONTROL(network_threads), 1, 64, "2", NULL,
     CONF_BOOT, "Threads that speak HTTP; each has its own listening sockets."},
    {"control", "ledger_threads", CONF_INT, IN_CONTROL(ledger_threads), 1, 64, "2", NULL, CONF_BOOT,
     "Threads that send batches, one PostgreSQL connection each; a sale stays with one. One more "
     "connection is kept "
     "for sales whose lock another session holds."},
    {"control", "lookup_connections", CONF_INT, IN_CONTROL(lookup_connections), 1, 64, "2", NULL,
     CONF_BOOT, "PostgreSQL connections for reading and cancelling single reservations."},
    {"control", "identity", CONF_ENUM, IN_CONTROL(identity), 0, 0, "none", IDENTITY_CHOICES,
     CONF_BOOT,
     "Who the shopper is: none refuses reservations; jwt takes the subject of a signed token "
     "(Authorization: Bearer) and wants a [jwt] section; header trusts user_header, for trials "
     "behind a trusted proxy only."},
    {"control", "token_issuer", CONF_STRING, IN_CONTROL(token_issuer), 0, 255, "", NULL, CONF_BOOT,
     "The only issuer (iss) whose tokens count; empty: not looked at."},
    {"control", "token_audience", CONF_STRING, IN_CONTROL(token_audience), 0, 255, "", NULL,
     CONF_BOOT,
     "The audience (aud) that a token must name; empty: only tokens without an audience count."},
    {"control", "clock_skew", CONF_DURATION, IN_CONTROL(clock_skew), 0, 10 * MINUTE, "30s", NULL,
     CONF_BOOT,
     "How far the clocks of this machine and the issuer's may differ when a token's exp and nbf "
     "are judged."},
    {"control", "user_header", CONF_STRING, IN_CONTROL(user_header), 1, 64, "X-Dropgate-User", NULL,
     CONF_BOOT, "The request header that holds the user when identity = header."},
    {"control", "queue", CONF_ENUM, IN_CONTROL(queue), 0, 0, "memory", QUEUE_CHOICES, CONF_BOOT,
     "Where requests wait for their batch: memory is this process; redis is not built yet."},
    {"control", "connections_max", CONF_INT, IN_CONTROL(connections_max), 16, 1000000, "16384",
     NULL, CONF_BOOT, "Client connections at once; one more is told 503 and closed."},
    {"control", "idle_timeout", CONF_DURATION, IN_CONTROL(idle_timeout), SECOND, HOUR, "60s", NULL,
     CONF_BOOT, "A kept-alive connection without a request is closed after this time."},
    {"control", "head_timeout", CONF_DURATION, IN_CONTROL(head_timeout), 100, 10 * MINUTE, "10s",
     NULL, CONF_BOOT, "From the first byte of a request until its head is complete."},
    {"control", "body_timeout", CONF_DURATION, IN_CONTROL(body_timeout), 100, 10 * MINUTE, "10s",
     NULL, CONF_BOOT, "From the end of a request's head until its body is complete."},
    {"control", "write_timeout", CONF_DURATION, IN_CONTROL(write_timeout), 100, 10 * MINUTE, "30s",
     NULL, CONF_BOOT, "A client that does not take its answers for this time is closed."},
    {"control", "deadline", CONF_DURATION, IN_CONTROL(deadline), 50, MINUTE, "5s", NULL, CONF_BOOT,
     "A request that PostgreSQL has not answered by then is answered 503; also the longest wait "
     "for a restart of it."},
    {"control", "batch_max", CONF_INT, IN_CONTROL(batch_max), 1, 1024, "256", NULL, CONF_BOOT,
     "Reservations in one transaction at most; what has collected is sent at once, so this only "
     "bounds the lock time."},
    {"control", "queue_per_sale", CONF_INT, IN_CONTROL(queue_per_sale), 1, 1000000, "8192", NULL,
     CONF_BOOT, "Reservations that may wait per sale; one more is told 503 with Retry-After."},
    {"control", "queue_total", CONF_INT, IN_CONTROL(queue_total), 1, 4000000, "32768", NULL,
     CONF_BOOT, "Reservations that may wait over all sales; about 512 bytes each."},
    {"control", "queue_lookups", CONF_INT, IN_CONTROL(queue_lookups), 1, 1000000, "4096", NULL,
     CONF_BOOT, "Reads and cancellations that may wait."},
    {"control", "drain_notice", CONF_DURATION, IN_CONTROL(drain_notice), 0, 5 * MINUTE, "0s", NULL,
     CONF_BOOT, "After SIGTERM, how long /readyz says 503 while connections are still accepted."},
    {"control", "drain_max", CONF_DURATION, IN_CONTROL(drain_max), 0, 10 * MINUTE, "10s", NULL,
     CONF_BOOT,
     "After that, how long requests in work may take before their connections are closed."},
    {"control", "log_level", CONF_ENUM, IN_CONTROL(log_level), 0, 0, "info", LEVEL_CHOICES,
     CONF_BOOT, "Lowest level that is logged."},
    {"jwt", "algorithm", CONF_ENUM, IN_JWT(algorithm), 0, 0, NULL, ALGORITHM_CHOICES, CONF_BOOT,
     "The one algorithm of this key: HS256, a secret shared with the issuer, or RS256, the "
     "issuer's "
     "public key."},
    {"jwt", "file", CONF_STRING, IN_JWT(file), 1, 1024, NULL, NULL, CONF_BOOT,
     "HS256: a file of mode 0600 with 32 to 1,024 bytes, without the line end; RS256: a public key "
     "in PEM of at least 2,048 bits."},
    {"jwt", "key_id", CONF_STRING, IN_JWT(key_id), 0, 255, "", NULL, CONF_BOOT,
     "The kid of tokens signed with this key; empty: whatever they name."},
    {"database", "dsn", CONF_STRING, IN_DATABASE(dsn), 1, 2048, NULL, NULL, CONF_BOOT,
     "libpq connection string of the primary and its standbys (host=a,b), without a password: "
     "passwords come from passfile= or PGPASSFILE. Of all primaries that answer the one of the "
     "highest timeline is used."},
    {"database", "timeline_file", CONF_STRING, IN_DATABASE(timeline_file), 0, 4000, "", NULL,
     CONF_BOOT,
     "Where the highest timeline ever seen is kept, so that a restart does not fall for an old "
     "primary while the new one is down; empty: it is not kept."},
    {"database", "lock_timeout", CONF_DURATION, IN_DATABASE(lock_timeout), 10, MINUTE, "1s", NULL,
     CONF_BOOT,
     "How long a batch waits for its sale's lock before it is put back and the sale moves to the "
     "spare connection."},
    {"database", "connect_timeout", CONF_DURATION, IN_DATABASE(connect_timeout), 2 * SECOND, MINUTE,
     "5s", NULL, CONF_BOOT,
     "How long connecting, with all that makes a connection ready, and a server's account of "
     "itself "
     "may take, unless dsn says otherwise."},
    {"catalog", "refresh", CONF_DURATION, offsetof(struct catalog_settings, refresh), 100,
     10 * MINUTE, "1s", NULL, CONF_BOOT,
     "How often the catalogue is read again without being told of a change; also how often expiry "
     "runs."},
    {"events", "token_file", CONF_STRING, offsetof(struct events_settings, token_file), 0, 1024, "",
     NULL, CONF_BOOT,
     "A file of mode 0600 with the token, 32 to 255 characters, that systems send to read events "
     "(Authorization: Bearer); empty: nobody may read them."},
    {"payment", "provider", CONF_ENUM, IN_PAYMENT(provider), 0, 0, "none", PROVIDER_CHOICES,
     CONF_BOOT,
     "none: payment calls are refused; http: JSON over HTTP, as docs/payments.md has it."},
    {"payment", "base_url", CONF_STRING, IN_PAYMENT(base_url), 0, 1024, "", NULL, CONF_BOOT,
     "What comes before /payments in the provider's addresses, https only; http to a loopback "
     "address, for tests."},
    {"payment", "credentials", CONF_STRING, IN_PAYMENT(credentials), 0, 1024, "", NULL, CONF_BOOT,
     "A file of mode 0600 with the provider's API key, sent as Authorization: Bearer."},
    {"payment", "ca_file", CONF_STRING, IN_PAYMENT(ca_file), 0, 1024, "", NULL, CONF_BOOT,
     "The certificates (PEM) that the provider's must lead to; empty: the system's."},
    {"payment", "timeout", CONF_DURATION, IN_PAYMENT(timeout), 100, MINUTE, "10s", NULL, CONF_BOOT,
     "How long one call to the provider may take; then its outcome is unknown, and asked for "
     "later."},
    {"payment", "connections", CONF_INT, IN_PAYMENT(connections), 1, 256, "32", NULL, CONF_BOOT,
     "Calls to the provider at once; others wait. Connections are kept."},
    {"payment", "database_connections", CONF_INT, IN_PAYMENT(database_connections), 1, 64, "4",
     NULL, CONF_BOOT, "PostgreSQL connections for payments."},
    {"payment", "queue", CONF_INT, IN_PAYMENT(queue), 1, 1000000, "4096", NULL, CONF_BOOT,
     "Payments in work or waiting; one more is told 503 with Retry-After."},
    {"payment", "patience", CONF_DURATION, IN_PAYMENT(patience), SECOND, 24 * HOUR, "15m", NULL,
     CONF_BOOT,
     "How long an attempt to pay may take, the shopper's bank included; the reservation is kept "
     "meanwhile. What is not "
     "authorised by then is made void before its units go back."},
    {"payment", "reconcile", CONF_DURATION, IN_PAYMENT(reconcile), 50, MINUTE, "1s", NULL,
     CONF_BOOT, "How often attempts are looked for that nobody follows up."},
    {"payment", "webhook_secret", CONF_STRING, IN_PAYMENT(webhook_secret), 0, 1024, "", NULL,
     CONF_BOOT,
     "A file of mode 0600 with the secret (16 to 1,024 bytes) under which the provider signs its "
     "events; empty: they are refused."},
    {"payment", "webhook_secret_old", CONF_STRING, IN_PAYMENT(webhook_secret_old), 0, 1024, "",
     NULL, CONF_BOOT, "Another one that counts too, while the secret is being changed."},
    {"payment", "webhook_tolerance", CONF_DURATION, IN_PAYMENT(webhook_tolerance), SECOND, HOUR,
     "5m", NULL, CONF_BOOT,
     "How old an event's signature may be, and how far ahead of this machine's clock."},
    RULE_ROWS,
    RULE_ROW("admit_per_second", CONF_INT, admit_per_second, 0, 1000000, "0", NULL,
             "While it is open: requests that are let through per second, of this instance; the "
             "others are told to come again (503, Retry-After). 0: all."),
    RULE_ROW("burst", CONF_INT, burst, 0, 10000000, "0", NULL,
             "How many of them at once, after a time with fewer; never more than this and the "
             "rate in any time. 0: as many as in 100 ms."),
};

/* What belongs together is there together. */
static int check_payment(const struct settings *s, char *why, size_t why_size)
{
    const struct payment_settings *p = &s->payment;
    if (p->provider == PAYMENT_PROVIDER_NONE)
        return 0;
    const char *wrong =
        !p->base_url ? "base_url is missing"
        : !http_provider_accepts(p->base_url)
            ? "base_url is neither https://HOST[:PORT][/PATH] nor http:// to a loopback address"
        : !p->credentials ? "credentials is missing: the file of the provider's API key"
        : p->webhook_secret_old && !p->webhook_secret
            ? "webhook_secret_old stands without webhook_secret"
        : p->patience <= 2 * p->timeout ? "patience must be more than twice the timeout of a call"
                                        : NULL;
    if (wrong)
        snprintf(why, why_size, "[payment] %s", wrong);
    return wrong ? -EINVAL : 0;
}

/* A secret in the configuration ends up in backups and in --show-config, so it is refused here. */
static int check_dsn(const char *dsn, char *why, size_t why_size)
{
    char reason[CONF_WHY];
    struct hosts hosts;
    if (hosts_parse(&hosts, dsn, reason, sizeof reason)) {
        snprintf(why, why_size, "[database] dsn: %.*s", CONF_WHY - 64, reason);
        return -EINVAL;
    }
    PQconninfoOption *options = PQconninfoParse(dsn, NULL);
    int status = options ? 0 : -EINVAL;
    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        if (o->val && (!strcmp(o->keyword, "password") || !strcmp(o->keyword, "sslpassword")))
            status = -EINVAL;
    PQconninfoFree(options);
    if (status)
        snprintf(why, why_size,
                 "[database] dsn must not hold a password; put it into a file of mode 0600 and "
                 "name that with "
                 "passfile= or PGPASSFILE");
    return status;
}

/* A header name is an HTTP token (RFC 9110 section 5.6.2). */
static int check_header(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
              strchr("!#$%&'*+-.^_`|~", *c)))
            return -EINVAL;
    return 0;
}

static int check(const void *root, char *why, size_t why_size)
{
    const struct settings *s = root;
    if (s->control.identity == IDENTITY_JWT && s->jwt.count == 0) {
        snprintf(why, why_size,
                 "[control] identity = jwt: there is no key; a [jwt NAME] section with algorithm "
                 "and file is needed");
        return -EINVAL;
    }
    if (s->control.queue != QUEUE_MEMORY) {
        snprintf(why, why_size, "[control] queue = redis is not built yet; allowed now: memory");
        return -EINVAL;
    }
    if (check_header(s->control.user_header)) {
        snprintf(
            why, why_size,
            "[control] user_header = %s is not a header name; letters, digits and - are allowed",
            s->control.user_header);
        return -EINVAL;
    }
    if (s->control.queue_per_sale > s->control.queue_total) {
        snprintf(why, why_size,
                 "[control] queue_per_sale (%lld) must not be above queue_total (%lld)",
                 (long long)s->control.queue_per_sale, (long long)s->control.queue_total);
        return -EINVAL;
    }
    if (s->database.lock_timeout >= s->control.deadline) {
        snprintf(why, why_size,
                 "[database] lock_timeout (%lld ms) must be below [control] deadline (%lld ms)",
                 (long long)s->database.lock_timeout, (long long)s->control.deadline);
        return -EINVAL;
    }
    if (check_payment(s, why, why_size) || rule_settings_check(&s->rules, why, why_size))
        return -EINVAL;
    return check_dsn(s->database.dsn, why, why_size);
}

const struct conf_schema SETTINGS_SCHEMA = {
    .program = "dropgate-control",
    .size = sizeof(struct settings),
    .sections = SECTIONS,
    .section_count = sizeof SECTIONS / sizeof *SECTIONS,
    .rows = ROWS,
    .row_count = sizeof ROWS / sizeof *ROWS,
    .check = check,
};
