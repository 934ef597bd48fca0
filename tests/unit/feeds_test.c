/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The feeds of a gateway with real files, a real builder and a state directory: what is looked up
 * afterwards, and what is said of it. */
#include "dataplane/ops/feeds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "common/log.h"
#include "dataplane/ops/feed_check.h"
#include "dataplane/ops/feed_file.h"
#include "dataplane/ops/settings.h"

enum { ROOM = 4096 };

struct rig {
    char dir[64];
    struct feeds *feeds;
    struct policy_slot slot;
    struct addr clients[64];
    size_t client_count;
    bool slow; /* whoever judges waits */
};

static void put(const struct rig *r, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* That many addresses, 192.0.2.0, .2, .4 ... */
static void put_addresses(const struct rig *r, const char *name, int count)
{
    char text[ROOM];
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "192.0.2.%d\n", 2 * i);
    put(r, name, text);
}

static void take_away(const struct rig *r, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    unlink(path);
}

/* Settings with those feeds; '@' stands for the directory. */
static struct settings *settings_with(const struct rig *r, const char *feeds)
{
    char text[ROOM], why[CONF_WHY];
    size_t length = (size_t)snprintf(text, sizeof text,
                                     "[gateway]\nstate_dir = %s/state\n"
                                     "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17\n"
                                     "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24\n"
                                     "[backend one]\naddress = 198.18.128.2:8080\n"
                                     "[service shop]\nlisten = 198.18.0.80:80\nbackends = one\n",
                                     r->dir);
    for (const char *at = feeds; *at; at++)
        length += *at == '@' ? (size_t)snprintf(text + length, sizeof text - length, "%s", r->dir)
                             : (size_t)snprintf(text + length, sizeof text - length, "%c", *at);
    struct settings *settings = conf_load_memory(&SETTINGS_SCHEMA, "test", text, length, why);
    if (settings == NULL)
        fail_msg("%s", why);
    return settings;
}

static struct feed_plan *plan_of(const struct rig *r, const char *feeds)
{
    struct settings *settings = settings_with(r, feeds);
    struct feed_plan *plan = settings_feeds(settings);
    conf_free(&SETTINGS_SCHEMA, settings);
    assert_non_null(plan);
    return plan;
}

static size_t clients_of(void *context, struct addr *out, size_t room)
{
    const struct rig *r = context;
    assert_true(room >= 64);
    while (__atomic_load_n(&r->slow, __ATOMIC_ACQUIRE))
        usleep(1000);
    memcpy(out, r->clients, sizeof r->clients);
    return r->client_count;
}

static void start(struct rig *r, const char *feeds)
{
    r->feeds = feeds_new(clients_of, r);
    assert_non_null(r->feeds);
    const struct policy parts = {.lists = feeds_start(r->feeds, plan_of(r, feeds))};
    r->slot.row = builder_first_row(&parts);
    assert_non_null(r->slot.row);
}

/* As SIGHUP; all is done when it returns. */
static void load(struct rig *r, const char *feeds)
{
    struct builder *builder = builder_start(&r->slot);
    struct builder *reader = builder_start_reader();
    assert_true(builder != NULL && reader != NULL);
    assert_int_equal(feeds_load(r->feeds, reader, builder, plan_of(r, feeds)), 0);
    builder_stop(reader);
    builder_stop(builder);
}

static void end(struct rig *r)
{
    builder_free_row(r->slot.row);
    feeds_free(r->feeds);
    r->slot.row = NULL;
    r->feeds = NULL;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    char path[128];
    strcpy(r->dir, "/tmp/feeds_test.XXXXXX");
    log_set_lowest(LOG_LEVEL_ERROR);
    *state = r;
    if (mkdtemp(r->dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/state", r->dir);
    return mkdir(path, 0700);
}

static int teardown(void **state)
{
    struct rig *r = *state;
    char command[128];
    end(r);
    snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
    int error = system(command);
    free(r);
    return error;
}

static uint8_t flags_of(const struct rig *r, const char *address)
{
    struct addr a;
    assert_int_equal(addr_parse(address, &a), 0);
    return lists_find(lists_to_ask(r->slot.row->lists), &a, addr_is_v4(&a)).flags;
}

static bool denied(const struct rig *r, const char *address)
{
    return flags_of(r, address) & LISTED_DENIED;
}

static struct feed_status status_of(const struct rig *r, const char *name)
{
    struct feed_status status;
    for (size_t i = 0; feeds_status(r->feeds, i, &status); i++)
        if (strcmp(status.name, name) == 0)
            return status;
    fail_msg("no feed %s", name);
    return status;
}

static void is_said(const struct rig *r, const char *name, enum feed_state state, uint64_t entries,
                    const char *why)
{
    struct feed_status status = status_of(r, name);
    if (status.state != state || status.entries != entries || strstr(status.why, why) == NULL)
        fail_msg("%s: %s, %llu entries: %s", name, feed_state_name(status.state),
                 (unsigned long long)status.entries, status.why);
}

#define BAD   "[feed bad]\nfile = @/bad\n"
#define OTHER "[feed other]\nfile = @/other\n"

/* ---- in force ---- */

static void without_feeds_there_are_no_lists(void **state)
{
    struct rig *r = *state;
    start(r, "");
    assert_null(r->slot.row->lists);
    load(r, "");
    assert_null(r->slot.row->lists);
}

static void every_kind_is_in_force_from_the_start(void **state)
{
    struct rig *r = *state;
    put(r, "bad", "192.0.2.0/24\n2001:db8:bad::/48\n");
    put(r, "good", "192.0.2.7\n");
    put(r, "watched", "198.51.100.0/24\n");
    put(r, "school", "203.0.113.1\n");
    put(r, "cdn", "203.0.113.2\n");
    start(r, BAD "[feed good]\nfile = @/good\nkind = allow\n"
                 "[feed watched]\nfile = @/watched\nmode = observe\n"
                 "[feed school]\nfile = @/school\nkind = shared\n"
                 "[feed cdn]\nfile = @/cdn\nkind = proxies\n");
    assert_true(denied(r, "192.0.2.6"));
    assert_true(denied(r, "2001:db8:bad::1"));
    assert_false(denied(r, "192.0.2.7"));
    assert_int_equal(flags_of(r, "192.0.2.7"), LISTED_ALLOWED);
    assert_int_equal(flags_of(r, "198.51.100.1"), LISTED_OBSERVED);
    assert_int_equal(flags_of(r, "203.0.113.1"), LISTED_SHARED);
    assert_int_equal(flags_of(r, "203.0.113.2"), LISTED_PROXY);
    assert_int_equal(flags_of(r, "203.0.113.3"), 0);
    is_said(r, "bad", FEED_IN_FORCE, 2, "");
}

static void a_new_file_is_taken_with_the_next_reload(void **state)
{
    struct rig *r = *state;
    put(r, "bad", "192.0.2.1\n");
    start(r, BAD);
    const uint16_t generation = lists_generation(r->slot.row->lists);
    put(r, "bad", "192.0.2.2\n");
    load(r, BAD);
    assert_false(denied(r, "192.0.2.1"));
    assert_true(denied(r, "192.0.2.2"));
    assert_int_equal(lists_generation(r->slot.row->lists), lists_next(generation));
}

static void what_has_not_changed_is_not_built_again(void **state)
{
    struct rig *r = *state;
    put_addresses(r, "bad", 10);
    start(r, BAD);
    const struct lists *lists = r->slot.row->lists;
    load(r, BAD);
    put_addresses(r, "bad", 2); /* held back */
    load(r, BAD);
    assert_ptr_equal(r->slot.row->lists, lists);
    load(r, BAD "change = 0\n");
    assert_false(denied(r, "192.0.2.18"));
}

static void a_feed_that_is_no_longer_configured_is_gone(void **state)
{
    struct rig *r = *state;
    put(r, "bad", "192.0.2.1\n");
    put(r, "other", "192.0.2.2\n");
    start(r, BAD OTHER);
    load(r, OTHER);
    assert_false(denied(r, "192.0.2.1"));
    assert_true(denied(r, "192.0.2.2"));
    load(r, "");
    assert_false(denied(r, "192.0.2.2"));
}

static void a_mode_is_changed_without_a_new_file(void **state)
{
    struct rig *r = *state;
    put(r, "bad", "192.0.2.1\n");
    start(r, BAD "mode = observe\n");
    assert_false(denied(r, "192.0.2.1"));
    load(r, BAD);
    assert_true(denied(r, "192.0.2.1"));
}

/* ---- bad files ---- */

static void a_bad_file_leaves_the_last_good_one_and_others_load(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *text; /* NULL: there is no file */
        enum feed_state state;
        const char *why;
    } bad[] = {
        {"192.0.2.0\n", FEED_WAITS, "changed by more than 50 %"},
        {"", FEED_WAITS, "0 entries"},
        {"<html>\n192.0.2.0\n", FEED_BAD, "bad:1: \"<html>\""},
        {"{\"new\":[", FEED_BAD, "not JSON"},
        {NULL, FEED_UNREADABLE, "No such file"},
    };
    put_addresses(r, "bad", 10);
    put(r, "other", "198.51.100.1\n");
    start(r, BAD OTHER);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[32];
        snprintf(text, sizeof text, "198.51.100.%zu\n", i + 2);
        put(r, "other", text);
        if (bad[i].text != NULL)
            put(r, "bad", bad[i].text);
        else
            take_away(r, "bad");
        load(r, BAD OTHER);
        is_said(r, "bad", bad[i].state, 10, bad[i].why);
        assert_true(denied(r, "192.0.2.18"));
        snprintf(text, sizeof text, "198.51.100.%zu", i + 2);
        assert_true(denied(r, text));
        is_said(r, "other", FEED_IN_FORCE, 1, "");
    }
    put_addresses(r, "bad", 11);
    load(r, BAD OTHER);
    is_said(r, "bad", FEED_IN_FORCE, 11, "");
}

static void what_is_held_back_is_taken_once_its_hash_is_accepted(void **state)
{
    struct rig *r = *state;
    char feeds[256];
    put_addresses(r, "bad", 10);
    start(r, BAD);
    put_addresses(r, "bad", 2);
    load(r, BAD);
    is_said(r, "bad", FEED_WAITS, 10, "changed by more than 50 %");
    snprintf(feeds, sizeof feeds, BAD "accept = %s\n", status_of(r, "bad").hash);
    load(r, feeds);
    is_said(r, "bad", FEED_IN_FORCE, 2, "");
    assert_false(denied(r, "192.0.2.18"));
    put_addresses(r, "bad", 9); /* another file is judged as ever */
    load(r, feeds);
    is_said(r, "bad", FEED_WAITS, 2, "changed by more than 50 %");
}

static void what_cannot_be_read_cannot_be_accepted(void **state)
{
    struct rig *r = *state;
    char feeds[256];
    put(r, "bad", "nonsense\n");
    start(r, BAD);
    is_said(r, "bad", FEED_BAD, 0, "cannot be read");
    snprintf(feeds, sizeof feeds, BAD "accept = %s\n", status_of(r, "bad").hash);
    load(r, feeds);
    is_said(r, "bad", FEED_BAD, 0, "cannot be read");
}

static void a_file_that_is_too_long_or_no_file_is_refused(void **state)
{
    struct rig *r = *state;
    char path[128];
    put_addresses(r, "bad", 120);
    start(r, BAD "size_max = 1K\n");
    is_said(r, "bad", FEED_BAD, 0, "more than 1024 bytes");
    take_away(r, "bad");
    snprintf(path, sizeof path, "%s/bad", r->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    load(r, BAD);
    is_said(r, "bad", FEED_UNREADABLE, 0, "not a regular file");
}

static void clients_who_are_there_are_not_denied_in_numbers(void **state)
{
    struct rig *r = *state;
    for (int i = 0; i < 40; i++) { /* twenty, each twice */
        char text[32];
        snprintf(text, sizeof text, "198.51.100.%d", i % 20);
        assert_int_equal(addr_parse(text, &r->clients[i]), 0);
    }
    r->client_count = 40;
    put(r, "bad", "198.51.100.0/31\n");
    start(r, BAD);
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    put(r, "bad", "198.51.100.0/30\n");
    load(r, BAD);
    is_said(r, "bad", FEED_WAITS, 1, "would deny 4 of 20 clients");
    assert_false(denied(r, "198.51.100.3"));
    load(r, BAD "mode = observe\n");
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    for (int i = 0; i < 2; i++) { /* what was observed is not enforced either, however often */
        load(r, BAD);
        is_said(r, "bad", FEED_WAITS, 1, "would deny 4 of 20 clients");
        assert_int_equal(flags_of(r, "198.51.100.3"), LISTED_OBSERVED);
    }
    load(r, "[feed bad]\nfile = @/bad\nclients = 20\n");
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    assert_true(denied(r, "198.51.100.3"));
}

static void put_clients(struct rig *r, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "198.51.100.%zu", i);
        assert_int_equal(addr_parse(text, &r->clients[i]), 0);
    }
    r->client_count = count;
}

static void what_was_only_observed_is_not_enforced_while_its_file_cannot_be_judged(void **state)
{
    struct rig *r = *state;
    put_clients(r, 20);
    put(r, "bad", "198.51.100.0/30\n");
    start(r, BAD "mode = observe\n");
    take_away(r, "bad");
    load(r, BAD);
    is_said(r, "bad", FEED_UNREADABLE, 1, "No such file");
    assert_int_equal(flags_of(r, "198.51.100.3"), LISTED_OBSERVED);
    put(r, "bad", "198.51.100.0/31\n");
    load(r, BAD);
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    assert_true(denied(r, "198.51.100.1"));
}

static void what_allowed_clients_does_not_deny_them_before_it_has_been_judged(void **state)
{
    struct rig *r = *state;
    put_clients(r, 20);
    put(r, "bad", "198.51.100.0/27\n");
    start(r, BAD "kind = allow\n");
    assert_int_equal(flags_of(r, "198.51.100.3"), LISTED_ALLOWED);
    for (int i = 0; i < 2; i++) {
        load(r, BAD);
        is_said(r, "bad", FEED_WAITS, 0, "would deny 20 of 20 clients");
        assert_int_equal(flags_of(r, "198.51.100.3"), 0);
    }
    load(r, BAD "clients = 100\n");
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    assert_true(denied(r, "198.51.100.3"));
}

/* ---- kinds ---- */

static void of_kind(char out[64], const char *kind)
{
    snprintf(out, 64, BAD "kind = %s\nshare = 1\n", kind);
}

/* Those files, after which a feed of the same kind would go on with the last good one. */
static const struct {
    const char *text; /* NULL: there is no file */
    enum feed_state state;
} not_taken[] = {{"20.0.0.0/8\n22.0.0.0/8\n24.0.0.0/8\n", FEED_WAITS},
                 {"<html>\n", FEED_BAD},
                 {NULL, FEED_UNREADABLE}};

static void put_or_take_away(const struct rig *r, const char *name, const char *text)
{
    if (text != NULL)
        put(r, name, text);
    else
        take_away(r, name);
}

static void nothing_is_in_force(const struct rig *r, enum feed_state state, const char *why)
{
    is_said(r, "bad", state, 0, why);
    struct feed_status status = status_of(r, "bad");
    assert_false(status.used);
    assert_int_equal(status.prefixes + status.v4_addresses, 0);
    assert_int_equal(flags_of(r, "192.0.2.18"), 0);
}

static void what_was_taken_as_one_kind_never_serves_as_another(void **state)
{
    struct rig *r = *state;
    static const char *const kinds[] = {"deny", "allow", "shared", "proxies"};
    for (size_t from = 0; from < 4; from++)
        for (size_t to = 0; to < 4; to++)
            for (size_t i = 0; i < 3 && from != to; i++) {
                char before[64], after[64], why[64];
                of_kind(before, kinds[from]);
                of_kind(after, kinds[to]);
                snprintf(why, sizeof why, "what was in force as %s", kinds[from]);
                put_addresses(r, "bad", 10);
                start(r, before);
                assert_int_not_equal(flags_of(r, "192.0.2.18"), 0);
                put_or_take_away(r, "bad", not_taken[i].text);
                for (int again = 0; again < 2; again++) {
                    load(r, after);
                    nothing_is_in_force(r, not_taken[i].state, why);
                    assert_int_equal(status_of(r, "bad").mode, LIST_ENFORCE);
                }
                end(r);
                take_away(r, "state/bad.feed");
            }
    start(r, "");
}

static void the_first_file_of_a_kind_is_compared_with_none_of_another(void **state)
{
    struct rig *r = *state;
    put_addresses(r, "bad", 10);
    start(r, BAD);
    put(r, "bad", "198.51.100.1\n");
    load(r, BAD);
    is_said(r, "bad", FEED_WAITS, 10, "changed by more than 50 %");
    load(r, BAD "kind = allow\n");
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    assert_int_equal(flags_of(r, "192.0.2.18"), 0);
    assert_int_equal(flags_of(r, "198.51.100.1"), LISTED_ALLOWED);
    put_addresses(r, "bad", 10);
    load(r, BAD "kind = allow\n");
    is_said(r, "bad", FEED_WAITS, 1, "changed by more than 50 %");
}

static void after_a_restart_a_copy_of_another_kind_is_as_good_as_none(void **state)
{
    struct rig *r = *state;
    put_addresses(r, "bad", 10);
    start(r, BAD);
    for (size_t i = 0; i < 3; i++) {
        end(r);
        put_or_take_away(r, "bad", not_taken[i].text);
        start(r, BAD "kind = allow\nshare = 1\n");
        nothing_is_in_force(r, not_taken[i].state, "it was taken as deny");
    }
    end(r);
    start(r, BAD);
    is_said(r, "bad", FEED_UNREADABLE, 10, "");
    assert_true(denied(r, "192.0.2.18"));
    end(r);
    put(r, "bad", "198.51.100.1\n");
    start(r, BAD "kind = allow\n");
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    end(r);
    start(r, BAD);
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    assert_true(denied(r, "198.51.100.1"));
}

static void the_former_kind_finds_its_copy_again(void **state)
{
    struct rig *r = *state;
    put_addresses(r, "bad", 10);
    start(r, BAD);
    take_away(r, "bad");
    load(r, BAD "kind = shared\n");
    assert_int_equal(flags_of(r, "192.0.2.18"), 0);
    load(r, BAD);
    is_said(r, "bad", FEED_UNREADABLE, 10, "No such file");
    assert_int_equal(flags_of(r, "192.0.2.18"), LISTED_OBSERVED); /* clients have come since */
    put_addresses(r, "bad", 4);
    load(r, BAD);
    is_said(r, "bad", FEED_WAITS, 10, "4 entries, and the last good one had 10");
    put_addresses(r, "bad", 11);
    load(r, BAD);
    is_said(r, "bad", FEED_IN_FORCE, 11, "");
    assert_true(denied(r, "192.0.2.18"));
}

static void our_own_addresses_are_left_out_also_of_what_stays(void **state)
{
    struct rig *r = *state;
    put(r, "bad", "198.18.128.0/24\n192.0.2.0/24\n198.51.100.0/24\n");
    start(r, BAD);
    assert_false(denied(r, "198.18.128.2"));
    assert_true(denied(r, "192.0.2.1"));
    assert_int_equal(status_of(r, "bad").left_out, 1);
    take_away(r, "bad");
    load(r, BAD "[backend two]\naddress = 198.18.128.3:8080\n"
                "[service more]\nlisten = 192.0.2.80:80\nbackends = two\n");
    assert_false(denied(r, "192.0.2.1"));
    assert_true(denied(r, "198.51.100.1"));
}

/* ---- copies ---- */

static void after_a_restart_the_last_good_copy_takes_the_place_of_a_missing_file(void **state)
{
    struct rig *r = *state;
    put_addresses(r, "bad", 10);
    start(r, BAD);
    const int64_t written = status_of(r, "bad").written_ms;
    end(r);
    take_away(r, "bad");
    start(r, BAD);
    is_said(r, "bad", FEED_UNREADABLE, 10, "No such file");
    assert_true(status_of(r, "bad").used);
    assert_true(status_of(r, "bad").written_ms == written);
    assert_true(denied(r, "192.0.2.18"));
}

static void after_a_restart_a_file_is_compared_with_the_last_good_copy(void **state)
{
    struct rig *r = *state;
    put_addresses(r, "bad", 10);
    start(r, BAD);
    end(r);
    put_addresses(r, "bad", 4);
    start(r, BAD);
    is_said(r, "bad", FEED_WAITS, 10, "4 entries, and the last good one had 10");
    assert_true(denied(r, "192.0.2.18"));
}

static void a_copy_with_any_byte_changed_is_not_believed(void **state)
{
    struct rig *r = *state;
    char path[128];
    put_addresses(r, "bad", 2);
    start(r, BAD);
    end(r);
    take_away(r, "bad");
    snprintf(path, sizeof path, "%s/state/bad.feed", r->dir);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    int length = 0;
    while (fgetc(file) != EOF)
        length++;
    for (int i = 0; i < length; i++) {
        struct feed_file copy;
        char why[FEED_WHY];
        fseek(file, i, SEEK_SET);
        int byte = fgetc(file);
        fseek(file, i, SEEK_SET);
        fputc(byte ^ 1, file);
        fflush(file);
        snprintf(path, sizeof path, "%s/state", r->dir);
        if (feed_copy_read(path, "bad", LIST_DENY, 4096, &copy, why) != -EBADMSG)
            fail_msg("byte %d", i);
        fseek(file, i, SEEK_SET);
        fputc(byte, file);
        fflush(file);
    }
    fclose(file);
    assert_true(length > 80);
    start(r, BAD);
    is_said(r, "bad", FEED_UNREADABLE, 2, "");
}

/* As gateways wrote them that did not say the kind. */
static void put_first_format(const struct rig *r, const char *bytes)
{
    char path[128], text[ROOM], sum[FEED_HASH_TEXT], wrong[FEED_WHY];
    struct feed_file file;
    snprintf(text, sizeof text, "written_ms=1795341600000 entries=10\n%s", bytes);
    put(r, "summed", text);
    snprintf(path, sizeof path, "%s/summed", r->dir);
    assert_int_equal(feed_file_read(path, sizeof text, &file, wrong), 0);
    feed_hash_print(file.hash, sum);
    feed_file_free(&file);
    snprintf(text, sizeof text,
             "dropgate feed 1 sha256=%s\nwritten_ms=1795341600000 entries=10\n%s", sum, bytes);
    put(r, "state/bad.feed", text);
}

static void a_copy_that_does_not_say_its_kind_is_not_used_as_any(void **state)
{
    struct rig *r = *state;
    put_first_format(r, "192.0.2.18\n");
    start(r, BAD);
    nothing_is_in_force(r, FEED_UNREADABLE, "does not say as what kind it was taken");
    put(r, "bad", "192.0.2.18\n"); /* not compared with it either */
    load(r, BAD);
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    end(r);
    take_away(r, "bad");
    start(r, BAD);
    is_said(r, "bad", FEED_UNREADABLE, 1, "");
    assert_true(denied(r, "192.0.2.18"));
}

static void a_state_directory_that_is_missing_costs_the_copy_only(void **state)
{
    struct rig *r = *state;
    char path[128];
    snprintf(path, sizeof path, "%s/state", r->dir);
    assert_int_equal(rmdir(path), 0);
    put(r, "bad", "192.0.2.1\n");
    start(r, BAD);
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
}

/* ---- time ---- */

static void entries_are_taken_out_when_their_time_is_over(void **state)
{
    struct rig *r = *state;
    char path[128];
    struct timespec now, times[2];
    put(r, "bad", "add s 192.0.2.1 timeout 60\nadd s 192.0.2.5 timeout 3600\n");
    snprintf(path, sizeof path, "%s/bad", r->dir);
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){now.tv_sec - 58, now.tv_nsec};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    start(r, BAD);
    assert_true(denied(r, "192.0.2.1"));
    for (int i = 0; i < 1000 && denied(r, "192.0.2.1"); i++) {
        load(r, BAD);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_false(denied(r, "192.0.2.1"));
    assert_true(denied(r, "192.0.2.5"));
    is_said(r, "bad", FEED_IN_FORCE, 1, "");
    assert_int_equal(status_of(r, "bad").lapsed, 1);
}

/* ---- a check ---- */

static int check(const struct rig *r, const char *name, const char *feeds, char *said)
{
    char path[128];
    FILE *out = fmemopen(said, ROOM, "w");
    struct settings *settings = feeds != NULL ? settings_with(r, feeds) : NULL;
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    int result = feed_check(path, NULL, settings, NULL, out);
    fclose(out);
    if (settings != NULL)
        conf_free(&SETTINGS_SCHEMA, settings);
    return result;
}

static void a_check_says_what_would_become_of_a_file_and_does_nothing(void **state)
{
    struct rig *r = *state;
    char said[ROOM];
    put_addresses(r, "bad", 10);
    start(r, BAD);
    assert_int_equal(check(r, "bad", BAD, said), FEED_CHECK_GOOD);
    assert_non_null(strstr(said, "[feed bad] (deny, enforce) would take it"));
    put_addresses(r, "bad", 3);
    assert_int_equal(check(r, "bad", BAD, said), FEED_CHECK_NOT_TAKEN);
    assert_non_null(strstr(said, "would hold it back: 3 entries, and the last good one had 10"));
    assert_int_equal(check(r, "bad", NULL, said), FEED_CHECK_GOOD);
    assert_int_equal(check(r, "bad", BAD "kind = allow\n", said), FEED_CHECK_GOOD);
    put(r, "new", "10.0.0.0/8\n198.18.128.2\n192.0.2.1\n");
    assert_int_equal(check(r, "new", BAD, said), FEED_CHECK_GOOD);
    assert_non_null(
        strstr(said, "1 left out, would block the gateway or its backends: 198.18.128.2/32"));
    put(r, "new", "192.0.2.1\nwhat?\n");
    assert_int_equal(check(r, "new", NULL, said), FEED_CHECK_NOT_TAKEN);
    assert_non_null(strstr(said, "/new:2: \"what?\""));
    assert_int_equal(check(r, "none", BAD, said), FEED_CHECK_NOT_TAKEN);
    assert_true(denied(r, "192.0.2.18"));
    is_said(r, "bad", FEED_IN_FORCE, 10, "");
}

static void settings_that_make_no_sense_are_refused_by_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *feed, *why;
    } bad[] = {
        {"file = list.txt\n", "test:13: [feed x] file = list.txt: not an absolute path"},
        {"file = /l\nkind = allow\nmode = observe\n",
         "test:15: [feed x] mode = observe: there is nothing"},
        {"file = /l\naccept = 12\n", "test:14: [feed x] accept = 12: not a SHA-256"},
        {"kind = deny\n", "test:12: [feed x]: the key \"file\" is missing"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[ROOM], why[CONF_WHY];
        snprintf(text, sizeof text,
                 "[outside]\ndevice = net_null0\naddresses = 198.18.0.1/17\n"
                 "[inside]\ndevice = net_null1\naddresses = 198.18.128.1/24\n"
                 "[backend one]\naddress = 198.18.128.2:8080\n"
                 "[service shop]\nlisten = 198.18.0.80:80\nbackends = one\n[feed x]\n%s",
                 bad[i].feed);
        assert_null(conf_load_memory(&SETTINGS_SCHEMA, "test", text, strlen(text), why));
        if (strncmp(why, bad[i].why, strlen(bad[i].why)) != 0)
            fail_msg("%s", why);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- beside the rest of policy ---- */

static bool is_published(const struct rig *r, struct builder *builder, void *limits)
{
    enum { PATIENCE_MS = 2000 };
    assert_int_equal(builder_publish(builder, PART_LIMITS, limits), 0);
    for (int ms = 0; ms < PATIENCE_MS && !builder_idle(builder); ms++)
        usleep(1000);
    return builder_idle(builder) && r->slot.row->limits == limits;
}

static void while_a_feed_is_read_the_builder_does_its_work(void **state)
{
    struct rig *r = *state;
    put(r, "bad", "192.0.2.0/24\n");
    start(r, "");
    struct builder *builder = builder_start(&r->slot), *reader = builder_start_reader();
    assert_true(builder != NULL && reader != NULL);
    __atomic_store_n(&r->slow, true, __ATOMIC_RELAXED);
    assert_int_equal(feeds_load(r->feeds, reader, builder, plan_of(r, BAD)), 0);
    assert_int_equal(feeds_load(r->feeds, reader, builder, plan_of(r, BAD)), 0);
    const bool published = is_published(r, builder, calloc(1, sizeof(struct limits)));
    const bool idle = builder_idle(reader);
    __atomic_store_n(&r->slow, false, __ATOMIC_RELEASE);
    builder_stop(reader);
    builder_stop(builder);
    assert_true(published);
    assert_false(idle);
    assert_true(denied(r, "192.0.2.1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_feeds_there_are_no_lists),
        TEST(every_kind_is_in_force_from_the_start),
        TEST(a_new_file_is_taken_with_the_next_reload),
        TEST(what_has_not_changed_is_not_built_again),
        TEST(a_feed_that_is_no_longer_configured_is_gone),
        TEST(a_mode_is_changed_without_a_new_file),
        TEST(a_bad_file_leaves_the_last_good_one_and_others_load),
        TEST(what_is_held_back_is_taken_once_its_hash_is_accepted),
        TEST(what_cannot_be_read_cannot_be_accepted),
        TEST(a_file_that_is_too_long_or_no_file_is_refused),
        TEST(clients_who_are_there_are_not_denied_in_numbers),
        TEST(what_was_only_observed_is_not_enforced_while_its_file_cannot_be_judged),
        TEST(what_allowed_clients_does_not_deny_them_before_it_has_been_judged),
        TEST(what_was_taken_as_one_kind_never_serves_as_another),
        TEST(the_first_file_of_a_kind_is_compared_with_none_of_another),
        TEST(after_a_restart_a_copy_of_another_kind_is_as_good_as_none),
        TEST(the_former_kind_finds_its_copy_again),
        TEST(our_own_addresses_are_left_out_also_of_what_stays),
        TEST(after_a_restart_the_last_good_copy_takes_the_place_of_a_missing_file),
        TEST(after_a_restart_a_file_is_compared_with_the_last_good_copy),
        TEST(a_copy_with_any_byte_changed_is_not_believed),
        TEST(a_copy_that_does_not_say_its_kind_is_not_used_as_any),
        TEST(a_state_directory_that_is_missing_costs_the_copy_only),
        TEST(entries_are_taken_out_when_their_time_is_over),
        TEST(a_check_says_what_would_become_of_a_file_and_does_nothing),
        TEST(settings_that_make_no_sense_are_refused_by_their_line),
        TEST(while_a_feed_is_read_the_builder_does_its_work),
    };
    return cmocka_run_group_tests_name("feeds", tests, NULL, NULL);
}
