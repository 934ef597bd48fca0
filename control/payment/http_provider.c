/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Each slot is one call at a time with its own buffers. What a status line says is not enough: only
 * a body that names the attempt and its state is an answer; anything else (a proxy's error page,
 * half a body) leaves the outcome unknown, and the engine asks again. */
#include "control/payment/http_provider.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/secret_file.h"
#include "control/ledger/key.h"
#include "control/payment/read.h"

enum {
    CREDENTIAL_MAX = 4096,
    URL_MAX = 1024 + 96,
    FIELD_MAX = 128,
    BESIDE_MAX = PROVIDER_BESIDE_MAX
};

struct slot {
    struct slot *next; /* free */
    CURL *easy;
    struct provider_call *call; /* NULL: free */
    struct curl_slist *fields;
    char *sent; /* the body, of jansson */
    size_t received;
    bool overflow;
    char url[URL_MAX];
    char error[CURL_ERROR_SIZE];
    char answer[PAYMENT_ANSWER_MAX];
};

struct http_provider {
    struct provider provider;
    const struct payment_settings *settings;
    CURLM *multi;
    char authorization[CREDENTIAL_MAX + sizeof "Authorization: Bearer "];
    struct provider_call *first_finished;
    struct slot *free;
    size_t slots;
    struct slot slot[];
};

static struct http_provider *of(struct provider *provider)
{
    return (struct http_provider *)provider;
}

/* ---- one call ---- */

static size_t on_bytes(char *bytes, size_t one, size_t length, void *context)
{
    struct slot *s = context;
    (void)one;
    if (length > sizeof s->answer - s->received) {
        s->overflow = true;
        return 0; /* ends the transfer */
    }
    memcpy(s->answer + s->received, bytes, length);
    s->received += length;
    return length;
}

static const char *const VERBS[PROVIDER_OPERATIONS] = {[PROVIDER_AUTHORISE] = "authorise",
                                                       [PROVIDER_CAPTURE] = "capture",
                                                       [PROVIDER_VOID] = "void",
                                                       [PROVIDER_REFUND] = "refund",
                                                       [PROVIDER_GET] = "get"};

/* One key per attempt and operation: a capture is not a repetition of its authorisation. */
static struct curl_slist *make_fields(const struct http_provider *p,
                                      const struct provider_call *call)
{
    char attempt[KEY_UUID_TEXT], key[FIELD_MAX];
    snprintf(key, sizeof key, "Idempotency-Key: %s-%s", key_print(call->attempt, attempt),
             VERBS[call->operation]);
    const char *const fields[] = {p->authorization, key, "Content-Type: application/json",
                                  "Accept: application/json", "Expect:"};
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct curl_slist *longer = curl_slist_append(list, fields[i]);
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

static char *make_body(const struct provider_call *call)
{
    char attempt[KEY_UUID_TEXT], reservation[KEY_UUID_TEXT];
    key_print(call->attempt, attempt);
    key_print(call->reservation, reservation);
    json_t *body = json_pack("{s:s, s:s, s:I, s:s}", "attempt", attempt, "reservation", reservation,
                             "amount", (json_int_t)call->amount, "currency", call->currency);
    if (body && call->operation == PROVIDER_AUTHORISE)
        json_object_set_new(body, "method", json_string(call->method));
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text;
}

static void print_url(const struct http_provider *p, const struct provider_call *call,
                      char out[URL_MAX])
{
    char attempt[KEY_UUID_TEXT];
    bool whole = call->operation == PROVIDER_AUTHORISE,
         plain = whole || call->operation == PROVIDER_GET;
    snprintf(out, URL_MAX, "%s/payments%s%s%s%s", p->settings->base_url, whole ? "" : "/",
             whole ? "" : key_print(call->attempt, attempt), plain ? "" : "/",
             plain ? "" : VERBS[call->operation]);
}

static void release(struct http_provider *p, struct slot *s)
{
    curl_slist_free_all(s->fields);
    free(s->sent);
    s->fields = NULL;
    s->sent = NULL;
    s->call = NULL;
    s->next = p->free;
    p->free = s;
}

static int begin(struct provider *provider, struct provider_call *call)
{
    struct http_provider *p = of(provider);
    struct slot *s = p->free;
    if (!s)
        return -EBUSY;
    p->free = s->next;
    memset(&call->answer, 0, sizeof call->answer);
    s->call = call;
    s->received = 0;
    s->overflow = false;
    s->error[0] = '\0';
    s->fields = make_fields(p, call);
    s->sent = call->operation == PROVIDER_GET ? NULL : make_body(call);
    print_url(p, call, s->url);
    bool get = call->operation == PROVIDER_GET;
    if (!s->fields || (!get && !s->sent) || curl_easy_setopt(s->easy, CURLOPT_URL, s->url) ||
        curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->fields) ||
        curl_easy_setopt(s->easy, get ? CURLOPT_HTTPGET : CURLOPT_POST, 1L) ||
        (!get && (curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(s->sent)) ||
                  curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS, s->sent))) ||
        curl_multi_add_handle(p->multi, s->easy)) {
        release(p, s);
        return -ENOMEM;
    }
    return 0;
}

/* ---- its end ---- */

static bool is_answer(long status)
{
    return status == 200 || status == 201 || status == 202 || status == 402 || status == 404 ||
           status == 409;
}

/* What an operator can do something about; a time-out under load is one of many. */
static void complain(const struct slot *s, CURLcode result, long status, const char *wrong)
{
    const char *verb = VERBS[s->call->operation];
    if (result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CACERT_BADFILE)
        log_error("provider_certificate",
                  "%s: %s; nothing was sent; check [payment] base_url and ca_file", verb, s->error);
    else if (result)
        log_warn("provider_unreachable", "%s: %s", verb,
                 s->overflow ? "the answer is too long"
                 : *s->error ? s->error
                             : curl_easy_strerror(result));
    else if (status == 401 || status == 403)
        log_error("provider_refuses_us", "%s: HTTP status %ld; check [payment] credentials", verb,
                  status);
    else if (wrong)
        log_error("provider_answer", "%s: HTTP status %ld, %s", verb, status, wrong);
    else
        log_warn("provider_status", "%s: HTTP status %ld", verb, status);
}

static void put_finished(struct http_provider *p, struct slot *s)
{
    struct provider_call *call = s->call;
    curl_multi_remove_handle(p->multi, s->easy);
    release(p, s);
    call->next = p->first_finished;
    p->first_finished = call;
}

static void finish(struct http_provider *p, struct slot *s, CURLcode result)
{
    struct provider_call *call = s->call;
    long status = 0;
    const char *wrong = NULL;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    if (!result && is_answer(status))
        wrong = payment_read_answer(s->answer, s->received, call, &call->answer);
    if (result || !is_answer(status) || wrong)
        complain(s, result, status, wrong);
    put_finished(p, s);
}

static void step(struct http_provider *p)
{
    int running, left;
    curl_multi_perform(p->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(p->multi, &left));) {
        struct slot *s = NULL;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&s);
        if (message->msg == CURLMSG_DONE)
            finish(p, s, result);
    }
}

static void wait_for(struct provider *provider, struct pollfd *beside, unsigned int count,
                     int timeout_ms)
{
    struct http_provider *p = of(provider);
    struct curl_waitfd fds[BESIDE_MAX];
    if (count > BESIDE_MAX)
        count = BESIDE_MAX;
    for (unsigned int i = 0; i < count; i++)
        /* curl's names for the events are those of poll */
        fds[i] = (struct curl_waitfd){.fd = beside[i].fd, .events = beside[i].events};
    curl_multi_poll(p->multi, fds, count, timeout_ms, NULL);
    for (unsigned int i = 0; i < count; i++)
        beside[i].revents = fds[i].revents;
    step(p);
}

static struct provider_call *finished(struct provider *provider)
{
    struct http_provider *p = of(provider);
    struct provider_call *call = p->first_finished;
    if (call)
        p->first_finished = call->next;
    return call;
}

/* ---- opening and closing ---- */

static void cancel(struct provider *provider)
{
    struct http_provider *p = of(provider);
    for (size_t i = 0; i < p->slots; i++)
        if (p->slot[i].call)
            put_finished(p, &p->slot[i]);
}

static void close_provider(struct provider *provider)
{
    struct http_provider *p = of(provider);
    for (size_t i = 0; i < p->slots; i++)
        curl_easy_cleanup(p->slot[i].easy);
    curl_multi_cleanup(p->multi);
    explicit_bzero(p->authorization, sizeof p->authorization);
    free(p);
    curl_global_cleanup();
}

static const struct provider_class HTTP_CLASS = {begin, wait_for, finished, cancel, close_provider};

/* What is the same for every call of a slot. TLS verification is on by default, and never switched
 * off. */
static int prepare(const struct http_provider *p, struct slot *s)
{
    const struct payment_settings *settings = p->settings;
    s->easy = curl_easy_init();
    if (!s->easy || curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s) ||
        curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L) ||
        curl_easy_setopt(s->easy, CURLOPT_ERRORBUFFER, s->error) ||
        curl_easy_setopt(s->easy, CURLOPT_PROTOCOLS_STR, "https,http") ||
        curl_easy_setopt(s->easy, CURLOPT_PROXY, "") ||
        curl_easy_setopt(s->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) ||
        curl_easy_setopt(s->easy, CURLOPT_TCP_KEEPALIVE, 1L) ||
        curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_bytes) ||
        curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s) ||
        curl_easy_setopt(s->easy, CURLOPT_USERAGENT, "dropgate-control") ||
        curl_easy_setopt(s->easy, CURLOPT_TIMEOUT_MS, (long)settings->timeout) ||
        curl_easy_setopt(s->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)settings->timeout) ||
        (settings->ca_file && curl_easy_setopt(s->easy, CURLOPT_CAINFO, settings->ca_file)))
        return -ENOMEM;
    return 0;
}

static int read_credentials(struct http_provider *p, char *why, size_t why_size)
{
    static const char scheme[] = "Authorization: Bearer ";
    char *at = p->authorization + sizeof scheme - 1;
    const char *wrong = NULL;
    memcpy(p->authorization, scheme, sizeof scheme);
    ssize_t length = secret_file_read_line(p->settings->credentials, at, CREDENTIAL_MAX, &wrong);
    if (length >= 0)
        at[length] = '\0';
    for (ssize_t i = 0; i < length && !wrong; i++)
        if (at[i] < 0x21 || at[i] > 0x7e)
            wrong = "is not one line of visible ASCII";
    if (length == 0)
        wrong = "is empty";
    if (wrong || length < 0)
        snprintf(why, why_size, "[payment] credentials: %s %s", p->settings->credentials,
                 wrong ? wrong : "is too long");
    return wrong || length < 0 ? -EINVAL : 0;
}

struct provider *http_provider_open(const struct payment_settings *settings, char *why,
                                    size_t why_size)
{
    size_t slots = (size_t)settings->connections;
    struct http_provider *p = calloc(1, sizeof *p + slots * sizeof *p->slot);
    snprintf(why, why_size, "out of memory");
    if (!p || curl_global_init(CURL_GLOBAL_DEFAULT)) {
        free(p);
        return NULL;
    }
    p->provider.class = &HTTP_CLASS;
    p->settings = settings;
    p->multi = curl_multi_init();
    int status = p->multi ? 0 : -ENOMEM;
    for (size_t i = 0; i < slots && !status; i++, p->slots++) {
        status = prepare(p, &p->slot[i]);
        p->slot[i].next = p->free;
        p->free = &p->slot[i];
    }
    if (!status)
        curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)slots);
    if (!status)
        status = read_credentials(p, why, why_size);
    if (!status)
        return &p->provider;
    close_provider(&p->provider);
    return NULL;
}

static bool is_loopback(const char *host)
{
    static const char *const LOOPBACK[] = {"127.0.0.1", "[::1]", "localhost"};
    for (size_t i = 0; i < sizeof LOOPBACK / sizeof *LOOPBACK; i++) {
        size_t length = strlen(LOOPBACK[i]);
        if (!strncmp(host, LOOPBACK[i], length) &&
            (host[length] == '\0' || host[length] == ':' || host[length] == '/'))
            return true;
    }
    return false;
}

bool http_provider_accepts(const char *url)
{
    bool tls = !strncmp(url, "https://", 8);
    size_t length = strlen(url), scheme = tls ? 8 : 7;
    if (!tls && (strncmp(url, "http://", 7) != 0 || !is_loopback(url + 7)))
        return false;
    if (length <= scheme || length > 1024 || url[length - 1] == '/' || url[scheme] == '/')
        return false;
    for (size_t i = 0; i < length; i++)
        if (url[i] < 0x21 || url[i] > 0x7e || strchr("?#@\"\\", url[i]))
            return false;
    return true;
}
