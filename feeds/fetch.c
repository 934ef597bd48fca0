/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * libcurl's multi interface. */
#include "feeds/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "common/replace_file.h"
#include "common/secret_file.h"
#include "feeds/stamp.h"

enum {
    REDIRECTIONS = 5,
    CONNECT_SECONDS = 20,
    STILL_SECONDS = 30,
    POLL_MS = 500,
    HEADER_BYTES = 4096,
    WHY = 512
};

/* One feed on its way. */
struct download {
    const struct source_settings *source;
    char file[PATH_MAX];
    CURL *easy;
    struct curl_slist *headers;
    struct replacement replacement;
    bool begun; /* the replacement is ours to end */
    bool finished;
    int64_t size; /* bytes so far */
    struct stamp old, new;
    char why[WHY]; /* it has failed; "" if nothing better is known than what curl says */
    char curl_why[CURL_ERROR_SIZE];
};

static void fail(struct download *d, const char *why)
{
    if (d->why[0] == '\0')
        snprintf(d->why, sizeof d->why, "%s", why);
}

static void fail_at_file(struct download *d, int error)
{
    fail(d, error == -EISDIR ? "there is a directory of its name" : strerror(-error));
}

/* ---- what comes ---- */

static bool begin_file(struct download *d)
{
    int error = replace_begin(&d->replacement, d->file, 0644);
    d->begun = error == 0;
    if (error != 0)
        fail_at_file(d, error);
    return d->begun;
}

static size_t on_bytes(char *bytes, size_t one, size_t count, void *context)
{
    struct download *d = context;
    size_t length = one * count;
    long status = 0;
    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return length; /* the page of an error */
    d->size += (int64_t)length;
    if (d->size > d->source->max_size) {
        fail(d, "larger than max_size");
        return 0;
    }
    if (!d->begun && !begin_file(d))
        return 0;
    for (size_t done = 0; done < length;) {
        ssize_t written = write(d->replacement.fd, bytes + done, length - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            fail(d, written < 0 ? strerror(errno) : "no room");
            return 0;
        }
        done += (size_t)written;
    }
    return length;
}

/* Takes the value of a header line of that name; one that is too long is as if it were not there.
 */
static void take_header(const char *line, size_t length, const char *name, char *out)
{
    size_t skip = strlen(name);
    if (length <= skip || strncasecmp(line, name, skip) != 0)
        return;
    for (; skip < length && (line[skip] == ' ' || line[skip] == '\t'); skip++)
        ;
    while (length > skip && strchr("\r\n \t", line[length - 1]) != NULL)
        length--;
    out[0] = '\0';
    if (length - skip < STAMP_VALIDATOR && memchr(line + skip, '\0', length - skip) == NULL) {
        memcpy(out, line + skip, length - skip);
        out[length - skip] = '\0';
    }
}

static size_t on_header(char *line, size_t one, size_t count, void *context)
{
    struct download *d = context;
    size_t length = one * count;
    if (length > 5 &&
        strncasecmp(line, "HTTP/", 5) == 0) /* of the next answer, behind a redirection */
        d->new.etag[0] = d->new.modified[0] = '\0';
    take_header(line, length, "ETag:", d->new.etag);
    take_header(line, length, "Last-Modified:", d->new.modified);
    return length;
}

/* ---- what is asked ---- */

static bool add_header(struct download *d, const char *format, const char *value)
{
    char line[HEADER_BYTES];
    if (snprintf(line, sizeof line, format, value) >= (int)sizeof line)
        return false;
    struct curl_slist *longer = curl_slist_append(d->headers, line);
    if (longer != NULL)
        d->headers = longer;
    explicit_bzero(line, sizeof line);
    return longer != NULL;
}

static bool add_own_header(struct download *d)
{
    char line[HEADER_BYTES];
    const char *wrong;
    ssize_t length = secret_file_read_line(d->source->header_file, line, sizeof line - 1, &wrong);
    if (length < 0) {
        snprintf(d->why, sizeof d->why, "header_file %s %s", d->source->header_file, wrong);
        return false;
    }
    line[length] = '\0';
    bool good = strcspn(line, "\r\n") == (size_t)length && strchr(line, ':') != NULL &&
                add_header(d, "%s", line);
    explicit_bzero(line, sizeof line);
    if (!good)
        snprintf(d->why, sizeof d->why, "header_file %s holds no header line (Name: value)",
                 d->source->header_file);
    return good;
}

static bool make_headers(struct download *d)
{
    if (d->source->header_file != NULL && !add_own_header(d))
        return false;
    if (d->old.etag[0] != '\0' && !add_header(d, "If-None-Match: %s", d->old.etag))
        return false;
    return d->old.modified[0] == '\0' || add_header(d, "If-Modified-Since: %s", d->old.modified);
}

static bool set_options(struct download *d, const struct settings *settings)
{
    const struct source_settings *source = d->source;
    const bool local = settings_url_local(source->url);
    CURL *easy = d->easy;
    return !(
        curl_easy_setopt(easy, CURLOPT_PRIVATE, d) ||
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) ||
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, d->curl_why) ||
        curl_easy_setopt(easy, CURLOPT_URL, source->url) ||
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, local ? "http" : "https") ||
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https") ||
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION,
                         local || source->header_file != NULL ? 0L : 1L) ||
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTIONS) ||
        curl_easy_setopt(easy, CURLOPT_PROXY,
                         settings->fetch.proxy != NULL && !local ? settings->fetch.proxy : "") ||
        curl_easy_setopt(easy, CURLOPT_USERAGENT, settings->fetch.user_agent) ||
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "") ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, d->headers) ||
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)source->timeout) ||
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS) ||
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L) ||
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)STILL_SECONDS) ||
        curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)source->max_size) ||
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes) ||
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, d) ||
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) ||
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, d) ||
        (source->ca_file != NULL && curl_easy_setopt(easy, CURLOPT_CAINFO, source->ca_file)));
}

/* ---- what became of it ---- */

static int put_in_place(struct download *d)
{
    snprintf(d->new.url, sizeof d->new.url, "%s", d->source->url);
    int error = stamp_hash(d->replacement.fd, d->new.sha256);
    if (error != 0)
        return error;
    d->begun = false;
    return replace_commit(&d->replacement);
}

static void note_stamp(const struct download *d, const struct stamp *stamp)
{
    int error = stamp_save(d->file, stamp);
    if (error != 0)
        log_warn(
            "feed_stamp",
            "feed %s: what is remembered of it could not be written (%s); it will be fetched anew",
            d->source->name, strerror(-error));
}

/* The whole answer is here. Returns whether it was good; else `why` says what is wrong. */
static bool take_answer(struct download *d, long status, struct fetched *fetched)
{
    const char *name = d->source->name;
    d->new.asked = time(NULL);
    if (status == 304 && d->old.url[0] != '\0') {
        d->old.asked = d->new.asked;
        note_stamp(d, &d->old);
        log_info("feed_unchanged", "feed %s: not changed", name);
        fetched->unchanged++;
        return true;
    }
    if (status != 200) {
        snprintf(d->why, sizeof d->why, "answered with status %ld", status);
        return false;
    }
    if (d->size == 0) {
        fail(d, "an empty file");
        return false;
    }
    int error = put_in_place(d);
    if (error != 0) {
        fail_at_file(d, error);
        return false;
    }
    note_stamp(d, &d->new);
    bool same = strcmp(d->old.sha256, d->new.sha256) == 0;
    log_info(same ? "feed_unchanged" : "feed_fetched", "feed %s: %lld bytes, SHA-256 %s", name,
             (long long)d->size, d->new.sha256);
    same ? fetched->unchanged++ : fetched->changed++;
    return true;
}

static void finish(struct download *d, CURLcode result, struct fetched *fetched)
{
    long status = 0;
    curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    d->finished = true;
    if (result == CURLE_OK && d->why[0] == '\0' && take_answer(d, status, fetched))
        return;
    if (result == CURLE_FILESIZE_EXCEEDED)
        fail(d, "larger than max_size");
    if (result != CURLE_OK)
        fail(d, d->curl_why[0] != '\0' ? d->curl_why : curl_easy_strerror(result));
    fetched->failed++;
    log_error("feed_failed", "feed %s: %s; the file before stays", d->source->name, d->why);
}

/* ---- a run ---- */

/* Returns whether it is under way; else `why` says why not. */
static bool begin(struct download *d, CURLM *multi, const struct settings *settings)
{
    d->easy = curl_easy_init();
    if (d->why[0] == '\0' && d->easy != NULL && make_headers(d) && set_options(d, settings) &&
        curl_multi_add_handle(multi, d->easy) == CURLM_OK)
        return true;
    fail(d, "memory is short, or libcurl cannot do it");
    return false;
}

/* What is there of it, and whether it is to be asked for now. */
static bool is_due(struct download *d, const struct settings *settings, bool force,
                   struct fetched *fetched)
{
    if (snprintf(d->file, sizeof d->file, "%s/%s", settings->fetch.directory, d->source->name) >=
        (int)sizeof d->file) {
        fail(d, "its path is too long");
        return true;
    }
    if (!force)
        stamp_load(d->file, d->source->url, &d->old);
    int64_t since = time(NULL) - d->old.asked;
    if (d->old.url[0] == '\0' || since < 0 || since >= d->source->interval / 1000)
        return true;
    log_debug("feed_early", "feed %s: asked %lld s ago", d->source->name, (long long)since);
    fetched->early++;
    return false;
}

/* All feeds of a run. */
struct run {
    const struct settings *settings;
    const bool *wanted;
    bool force;
    struct download *downloads;
    CURLM *multi;
    size_t next; /* the first that was not looked at */
    int64_t under_way;
    struct fetched *fetched;
};

/* Begins as many as may be under way. */
static void begin_some(struct run *run)
{
    const struct settings *settings = run->settings;
    const struct source_settings *sources = settings->sources.items;
    while (run->under_way < settings->fetch.at_once && run->next < settings->sources.count) {
        size_t i = run->next++;
        struct download *d = &run->downloads[i];
        d->source = &sources[i];
        d->finished = true;
        if ((run->wanted != NULL && !run->wanted[i]) ||
            !is_due(d, settings, run->force, run->fetched))
            continue;
        d->finished = !begin(d, run->multi, settings);
        if (d->finished)
            finish(d, CURLE_FAILED_INIT, run->fetched);
        else
            run->under_way++;
    }
}

static void end(struct run *run, struct download *d, CURLcode result)
{
    finish(d, result, run->fetched);
    curl_multi_remove_handle(run->multi, d->easy);
    run->under_way--;
}

static void take_ended(struct run *run)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(run->multi, &left)) != NULL;) {
        struct download *d;
        CURLcode result = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&d);
        end(run, d, result);
    }
}

static void transfer(struct run *run, const volatile bool *stop)
{
    int running;
    for (begin_some(run); run->under_way > 0 && !*stop; begin_some(run)) {
        if (curl_multi_perform(run->multi, &running) != CURLM_OK)
            break;
        take_ended(run);
        if (running > 0)
            curl_multi_poll(run->multi, NULL, 0, POLL_MS, NULL);
    }
    for (size_t i = 0; i < run->next; i++) {
        struct download *d = &run->downloads[i];
        if (!d->finished) {
            fail(d, "interrupted");
            end(run, d, CURLE_ABORTED_BY_CALLBACK);
        }
        curl_easy_cleanup(d->easy);
        curl_slist_free_all(d->headers);
        if (d->begun)
            replace_abandon(&d->replacement);
    }
    run->fetched->failed += (unsigned)(run->settings->sources.count - run->next);
}

int fetch_all(const struct settings *settings, const bool *wanted, bool force,
              const volatile bool *stop, struct fetched *fetched)
{
    struct download *downloads = calloc(settings->sources.count, sizeof *downloads);
    bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == 0;
    CURLM *multi = ready ? curl_multi_init() : NULL;
    *fetched = (struct fetched){0};
    int error = downloads == NULL || multi == NULL ? -ENOMEM : 0;
    struct run run = {.settings = settings,
                      .wanted = wanted,
                      .force = force,
                      .downloads = downloads,
                      .multi = multi,
                      .fetched = fetched};
    if (error == 0)
        transfer(&run, stop);
    curl_multi_cleanup(multi);
    if (ready)
        curl_global_cleanup();
    free(downloads);
    return error;
}
