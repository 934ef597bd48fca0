/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Bearer tokens: what another implementation (libjwt) signed is taken, what could be read in two
 * ways is not, and no token chooses how it is checked. Keys are made anew for each run. */
#include "control/api/token.h"

#include <fcntl.h>
#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define OLD_SECRET "0123456789abcdef0123456789abcdef"
#define NEW_SECRET "fedcba9876543210fedcba9876543210-and-more"

enum { NOW = 1800000000 };

static char directory[] = "/tmp/token_test.XXXXXX";
static char old_file[64], new_file[64], rsa_file[64], other_file[64];
static char public_pem[4096], private_pem[4096];
static struct jwt_settings sections[3];
static struct settings settings;
static struct token_keys *keys;

static void put(const char *path, const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode) | close(fd), 0);
}

static void print_pem(EVP_PKEY *key, char public[4096], char private[4096])
{
    BIO *memory = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(memory, key);
    public[BIO_read(memory, public, 4095)] = '\0';
    PEM_write_bio_PrivateKey(memory, key, NULL, NULL, 0, NULL, NULL);
    private[BIO_read(memory, private, 4095)] = '\0';
    BIO_free(memory);
}

static void open_keys(void)
{
    char why[CONF_WHY] = "";
    keys = token_keys_open(&settings, why, sizeof why);
    assert_string_equal(why, "");
    assert_non_null(keys);
}

static int setup_group(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    if (!mkdtemp(directory) || !key)
        return -1;
    print_pem(key, public_pem, private_pem);
    EVP_PKEY_free(key);
    snprintf(old_file, sizeof old_file, "%s/old", directory);
    snprintf(new_file, sizeof new_file, "%s/new", directory);
    snprintf(rsa_file, sizeof rsa_file, "%s/rsa", directory);
    snprintf(other_file, sizeof other_file, "%s/other", directory);
    put(old_file, OLD_SECRET "\n", 0600);
    put(new_file, NEW_SECRET, 0400);
    put(rsa_file, public_pem, 0644);
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    unlink(old_file);
    unlink(new_file);
    unlink(rsa_file);
    unlink(other_file);
    return rmdir(directory);
}

static int setup(void **state)
{
    (void)state;
    sections[0] = (struct jwt_settings){"old", TOKEN_HS256, old_file, "2026-10"};
    sections[1] = (struct jwt_settings){"new", TOKEN_HS256, new_file, "2026-11"};
    sections[2] = (struct jwt_settings){"rsa", TOKEN_RS256, rsa_file, NULL};
    memset(&settings, 0, sizeof settings);
    settings.control.clock_skew = 30000;
    settings.jwt = (struct conf_list){3, sections};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    token_keys_free(keys);
    keys = NULL;
    return 0;
}

/* ---- making tokens ---- */

static size_t encode(const void *bytes, size_t length, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *in = bytes;
    size_t n = 0;
    for (size_t i = 0; i < length; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < length ? (uint32_t)in[i + 1] << 8 : 0) |
                     (i + 2 < length ? in[i + 2] : 0);
        for (int shift = 18, left = (int)(length - i); shift >= 0 && left >= 0; shift -= 6, left--)
            out[n++] = digits[v >> shift & 63];
    }
    out[n] = '\0';
    return n;
}

/* HEADER.CLAIMS, as they are, signed by HMAC with any secret. */
static const char *signed_with(const char *secret, const char *header, const char *claims)
{
    static char text[2 * TOKEN_MAX];
    uint8_t mac[32];
    size_t n = encode(header, strlen(header), text);
    text[n++] = '.';
    n += encode(claims, strlen(claims), text + n);
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const uint8_t *)text, n, mac, NULL);
    text[n++] = '.';
    encode(mac, sizeof mac, text + n);
    return text;
}

static const char *with_claims(const char *claims)
{
    return signed_with(OLD_SECRET, "{\"alg\":\"HS256\"}", claims);
}

static const char *with_header(const char *header)
{
    return signed_with(OLD_SECRET, header, "{\"sub\":\"ann\",\"exp\":1800000060}");
}

static char user[TOKEN_USER_MAX];
static size_t user_length;

static enum token_result verify(const char *token)
{
    memset(user, 0, sizeof user);
    user_length = 0;
    return token_verify(keys, token, strlen(token), NOW, user, &user_length);
}

static void assert_user(const char *expected)
{
    assert_int_equal(user_length, strlen(expected));
    assert_memory_equal(user, expected, user_length);
}

/* ---- tests ---- */

static void tokens_of_another_implementation_are_good(void **state)
{
    (void)state;
    open_keys();
    for (int i = 0; i < 2; i++) {
        jwt_t *jwt;
        assert_int_equal(jwt_new(&jwt), 0);
        assert_int_equal(jwt_add_grant(jwt, "sub", "J\xc3\xbcrgen"), 0);
        assert_int_equal(jwt_add_grant_int(jwt, "exp", NOW + 1), 0);
        const char *key = i ? private_pem : NEW_SECRET;
        assert_int_equal(jwt_set_alg(jwt, i ? JWT_ALG_RS256 : JWT_ALG_HS256,
                                     (const unsigned char *)key, (int)strlen(key)),
                         0);
        char *token = jwt_encode_str(jwt);
        assert_int_equal(verify(token), TOKEN_GOOD);
        assert_user("J\xc3\xbcrgen");
        free(token);
        jwt_free(jwt);
    }
}

static void a_token_does_not_choose_how_it_is_checked(void **state)
{
    (void)state;
    open_keys();
    const char *claims = "{\"sub\":\"ann\",\"exp\":1800000060}";
    /* the public key, known to all, as an HMAC secret */
    assert_int_equal(verify(signed_with(public_pem, "{\"alg\":\"HS256\"}", claims)),
                     TOKEN_SIGNATURE);
    assert_int_equal(verify(signed_with(OLD_SECRET, "{\"alg\":\"RS256\"}", claims)),
                     TOKEN_SIGNATURE);
    static const char *const none[] = {"none", "None", "HS384", "RS512", "ES256", "hs256", ""};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char header[64];
        snprintf(header, sizeof header, "{\"alg\":\"%s\"}", none[i]);
        assert_int_equal(verify(with_header(header)), TOKEN_KEY);
    }
    assert_int_equal(verify(with_header("{}")), TOKEN_MALFORMED);
    assert_int_equal(verify(with_header("{\"alg\":1}")), TOKEN_MALFORMED);
}

static void keys_may_be_rotated(void **state)
{
    (void)state;
    open_keys();
    const char *claims = "{\"sub\":\"ann\",\"exp\":1800000060}";
    const char *old = "{\"alg\":\"HS256\",\"kid\":\"2026-10\"}";
    const char *new = "{\"alg\":\"HS256\",\"kid\":\"2026-11\"}";
    assert_int_equal(verify(signed_with(OLD_SECRET, old, claims)), TOKEN_GOOD);
    assert_int_equal(verify(signed_with(NEW_SECRET, new, claims)), TOKEN_GOOD);
    assert_int_equal(verify(signed_with(OLD_SECRET, new, claims)), TOKEN_SIGNATURE);
    assert_int_equal(verify(signed_with(NEW_SECRET, "{\"alg\":\"HS256\"}", claims)), TOKEN_GOOD);
    assert_int_equal(verify(with_header("{\"alg\":\"HS256\",\"kid\":\"2026-09\"}")), TOKEN_KEY);
    assert_int_equal(verify(with_header("{\"alg\":\"HS256\",\"kid\":7}")), TOKEN_MALFORMED);
    token_keys_free(keys);
    settings.jwt.count = 2;
    settings.jwt.items = sections + 1; /* the old section is taken out */
    open_keys();
    assert_int_equal(verify(signed_with(OLD_SECRET, old, claims)), TOKEN_KEY);
    assert_int_equal(verify(signed_with(NEW_SECRET, new, claims)), TOKEN_GOOD);
}

static enum token_result at_times(const char *times)
{
    char claims[128];
    snprintf(claims, sizeof claims, "{\"sub\":\"ann\"%s}", times);
    return verify(with_claims(claims));
}

static void a_token_lives_from_nbf_to_exp_give_or_take_the_skew(void **state)
{
    (void)state;
    open_keys();
    assert_int_equal(at_times(""), TOKEN_EXPIRY);
    assert_int_equal(at_times(",\"exp\":\"1800000060\""), TOKEN_EXPIRY);
    assert_int_equal(at_times(",\"exp\":null"), TOKEN_EXPIRY);
    assert_int_equal(at_times(",\"exp\":1799999971"), TOKEN_GOOD);
    assert_int_equal(at_times(",\"exp\":1799999970"), TOKEN_EXPIRED);
    assert_int_equal(at_times(",\"exp\":1799999970.5"), TOKEN_GOOD);
    assert_int_equal(at_times(",\"exp\":-1"), TOKEN_EXPIRED);
    assert_int_equal(at_times(",\"exp\":1e300"), TOKEN_GOOD);
    assert_int_equal(at_times(",\"exp\":1e999"), TOKEN_MALFORMED);
    assert_int_equal(at_times(",\"exp\":1800000060,\"nbf\":1800000030"), TOKEN_GOOD);
    assert_int_equal(at_times(",\"exp\":1800000060,\"nbf\":1800000031"), TOKEN_EARLY);
    assert_int_equal(at_times(",\"exp\":1800000060,\"nbf\":\"now\""), TOKEN_EARLY);
}

static enum token_result with_claim(const char *claim)
{
    char claims[256];
    snprintf(claims, sizeof claims, "{\"sub\":\"ann\",\"exp\":1800000060%s}", claim);
    return verify(with_claims(claims));
}

static void issuer_and_audience_are_held_against_the_configuration(void **state)
{
    (void)state;
    char issuer[] = "https://login.shop.example", audience[] = "sale";
    open_keys();
    assert_int_equal(with_claim(",\"iss\":\"anybody\""), TOKEN_GOOD);
    assert_int_equal(with_claim(",\"aud\":\"sale\""), TOKEN_AUDIENCE);
    token_keys_free(keys);
    settings.control.token_issuer = issuer;
    settings.control.token_audience = audience;
    open_keys();
    assert_int_equal(with_claim(""), TOKEN_ISSUER);
    assert_int_equal(with_claim(",\"iss\":\"https://login.shop.example.evil\""), TOKEN_ISSUER);
    assert_int_equal(with_claim(",\"iss\":[\"https://login.shop.example\"]"), TOKEN_ISSUER);
    assert_int_equal(with_claim(",\"iss\":\"https://login.shop.example\""), TOKEN_AUDIENCE);
#define ISSUED ",\"iss\":\"https://login.shop.example\",\"aud\":"
    assert_int_equal(with_claim(ISSUED "\"sale\""), TOKEN_GOOD);
    assert_int_equal(with_claim(ISSUED "[\"mail\",\"sale\"]"), TOKEN_GOOD);
    assert_int_equal(with_claim(ISSUED "[\"mail\",7]"), TOKEN_AUDIENCE);
    assert_int_equal(with_claim(ISSUED "[]"), TOKEN_AUDIENCE);
    assert_int_equal(with_claim(ISSUED "{\"sale\":1}"), TOKEN_AUDIENCE);
}

static enum token_result with_subject(const char *subject)
{
    char claims[1024];
    snprintf(claims, sizeof claims, "{\"exp\":1800000060%s%s}", *subject ? ",\"sub\":" : "",
             subject);
    return verify(with_claims(claims));
}

static void the_subject_is_a_user(void **state)
{
    (void)state;
    char longest[512];
    open_keys();
    assert_int_equal(with_subject("\"a\\u00fc \\ud83d\\udca1\""), TOKEN_GOOD);
    assert_user("a\xc3\xbc \xf0\x9f\x92\xa1");
    static const char *const bad[] = {"",          "\"\"",      "7",           "null",
                                      "[\"ann\"]", "\"a\\nb\"", "\"\\u007f\"", "\"\\u0085\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(with_subject(bad[i]), TOKEN_SUBJECT);
    assert_int_equal(with_subject("\"ann\\u0000bob\""), TOKEN_MALFORMED);
    assert_int_equal(with_subject("\"\\ud800\""), TOKEN_MALFORMED);
    snprintf(longest, sizeof longest, "\"%0255d\"", 0);
    assert_int_equal(with_subject(longest), TOKEN_GOOD);
    assert_int_equal(user_length, 255);
    snprintf(longest, sizeof longest, "\"%0256d\"", 0);
    assert_int_equal(with_subject(longest), TOKEN_SUBJECT);
}

static void what_is_not_a_token_is_refused(void **state)
{
    (void)state;
    open_keys();
    static const char *const bad[] = {"",    ".",        "..",       "...",
                                      "a",   "a.b",      "a.b.c",    "a.b.c.d",
                                      "e30", "e30.e30.", ".e30.e30", "e30..e30"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(verify(bad[i]), TOKEN_MALFORMED);
    assert_int_equal(verify(with_header("[\"HS256\"]")), TOKEN_MALFORMED);
    assert_int_equal(verify(with_header("{\"alg\":\"HS256\",\"alg\":\"HS256\"}")), TOKEN_MALFORMED);
    assert_int_equal(verify(with_header("{\"alg\":\"HS256\"} ")), TOKEN_GOOD);
    assert_int_equal(verify(with_header("{\"alg\":\"HS256\"}x")), TOKEN_MALFORMED);
    assert_int_equal(verify(with_claims("{\"sub\":\"ann\",\"sub\":\"bob\",\"exp\":1800000060}")),
                     TOKEN_MALFORMED);
    assert_int_equal(verify(with_claims("[]")), TOKEN_MALFORMED);
    assert_int_equal(verify(with_header("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}")),
                     TOKEN_CRITICAL);
}

static void every_changed_character_is_noticed(void **state)
{
    (void)state;
    char token[512];
    open_keys();
    snprintf(token, sizeof token, "%s", with_header("{\"alg\":\"HS256\"}"));
    assert_int_equal(verify(token), TOKEN_GOOD);
    for (size_t i = 0; token[i]; i++) {
        char before = token[i];
        static const char others[] = "AZaz09-_.=+/ ";
        for (const char *c = others; *c; c++) {
            token[i] = *c;
            if (*c != before)
                assert_int_not_equal(verify(token), TOKEN_GOOD);
        }
        token[i] = before;
    }
    for (size_t length = 0, all = strlen(token); length < all; length++)
        assert_int_not_equal(token_verify(keys, token, length, NOW, user, &user_length),
                             TOKEN_GOOD);
}

static void a_long_token_is_refused_and_the_longest_is_not(void **state)
{
    (void)state;
    static char claims[TOKEN_MAX];
    open_keys();
    for (int extra = 0; extra < 2; extra++) {
        /* 3 bytes are 4 characters; header, dots and signature take 20 + 2 + 43 of them */
        int length = (TOKEN_MAX - 65) / 4 * 3 + extra;
        int head = snprintf(claims, sizeof claims, "{\"sub\":\"ann\",\"exp\":1800000060,\"x\":\"");
        memset(claims + head, 'x', (size_t)(length - head - 2));
        strcpy(claims + length - 2, "\"}");
        const char *token = with_claims(claims);
        assert_int_equal(verify(token), strlen(token) <= TOKEN_MAX ? TOKEN_GOOD : TOKEN_MALFORMED);
    }
}

static void expect_refused(int algorithm, const char *path, const char *reason)
{
    char why[CONF_WHY] = "", expected[CONF_WHY], name[] = "bad", file[128];
    snprintf(file, sizeof file, "%s", path);
    struct jwt_settings bad = {name, algorithm, file, NULL};
    struct settings s = {.jwt = {1, &bad}};
    assert_null(token_keys_open(&s, why, sizeof why));
    snprintf(expected, sizeof expected, "[jwt bad] file = %s: %s", path, reason);
    assert_string_equal(why, expected);
}

static void unfit_keys_are_refused_with_section_file_and_reason(void **state)
{
    (void)state;
    char public[4096], private[4096];
    static const char no_key[] = "holds no public key in PEM (-----BEGIN PUBLIC KEY-----)";
    expect_refused(TOKEN_HS256, "/nonexistent", "No such file or directory");
    expect_refused(TOKEN_RS256, "/nonexistent", "cannot be read");
    put(other_file, "0123456789abcdef0123456789abcde\n", 0600);
    expect_refused(TOKEN_HS256, other_file, "an HS256 secret has at least 32 bytes");
    expect_refused(TOKEN_RS256, other_file, no_key);
    put(other_file, OLD_SECRET, 0640);
    expect_refused(TOKEN_HS256, other_file, "others than its owner have access to it (chmod 600)");
    put(other_file, private_pem, 0600);
    expect_refused(TOKEN_RS256, other_file, no_key);
    EVP_PKEY *weak = EVP_RSA_gen(1024), *curve = EVP_EC_gen("P-256");
    print_pem(weak, public, private);
    put(other_file, public, 0600);
    expect_refused(TOKEN_RS256, other_file, "an RS256 key has 2,048 to 8,192 bits");
    print_pem(curve, public, private);
    put(other_file, public, 0600);
    expect_refused(TOKEN_RS256, other_file, "is not an RSA key, which RS256 wants");
    EVP_PKEY_free(weak);
    EVP_PKEY_free(curve);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(tokens_of_another_implementation_are_good),
        TEST(a_token_does_not_choose_how_it_is_checked),
        TEST(keys_may_be_rotated),
        TEST(a_token_lives_from_nbf_to_exp_give_or_take_the_skew),
        TEST(issuer_and_audience_are_held_against_the_configuration),
        TEST(the_subject_is_a_user),
        TEST(what_is_not_a_token_is_refused),
        TEST(every_changed_character_is_noticed),
        TEST(a_long_token_is_refused_and_the_longest_is_not),
        TEST(unfit_keys_are_refused_with_section_file_and_reason),
    };
    return cmocka_run_group_tests(tests, setup_group, teardown_group);
}
