/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * ClientHellos: OpenSSL's own, and ones that are built here to be wrong in one place each; in one
 * record and in several, whole and cut anywhere. */
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "dataplane/tls/hello.h"
#include "tests/unit/hello_build.h"

/* What a connection of OpenSSL's begins with. */
static uint32_t openssl_hello(const char *name, int most, uint8_t *bytes, uint32_t room)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_max_proto_version(ssl, most);
    SSL_set_bio(ssl, in, out);
    if (name != NULL)
        SSL_set_tlsext_host_name(ssl, name);
    SSL_set_alpn_protos(ssl, (const unsigned char *)"\2h2\10http/1.1", 12);
    SSL_connect(ssl);
    int length = BIO_read(out, bytes, (int)room);
    SSL_free(ssl);
    SSL_CTX_free(context);
    assert_true(length > 0);
    return (uint32_t)length;
}

/* Reads from memory of exactly that size, so that a byte too far is found. */
static enum hello_result read_exactly(const uint8_t *bytes, uint32_t length, struct hello *out)
{
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    enum hello_result result = hello_read(copy, length, out);
    free(copy);
    return result;
}

static enum hello_result read_built(const struct built *built, struct hello *out)
{
    return read_exactly(built->bytes, built->length, out);
}

static void openssl_is_understood(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_3_VERSION, TLS1_2_VERSION};
    struct hello hello;
    uint8_t bytes[HELLO_MOST];
    for (int i = 0; i < 2; i++) {
        uint32_t length = openssl_hello("Shop.Example", versions[i], bytes, sizeof bytes);
        assert_int_equal(read_exactly(bytes, length, &hello), HELLO_OK);
        assert_int_equal(hello.version, versions[i]);
        assert_string_equal(hello.name, "shop.example");
        assert_true(hello.ciphers.count > 2);
        assert_true(hello.signatures.count > 2);
        assert_int_equal(hello.alpn_first, 'h');
        assert_int_equal(hello.alpn_last, '2');
        for (uint32_t cut = 0; cut < length; cut++)
            assert_int_equal(read_exactly(bytes, cut, &hello), HELLO_MORE);
    }
    uint32_t length = openssl_hello(NULL, TLS1_3_VERSION, bytes, sizeof bytes);
    assert_int_equal(read_exactly(bytes, length, &hello), HELLO_OK);
    assert_false(hello.has_name);
}

static void several_records_are_one_message(void **state)
{
    (void)state;
    struct hello whole, pieces;
    struct built one = built_hello(), cut;
    assert_int_equal(read_built(&one, &whole), HELLO_OK);
    for (uint32_t record = 20; record < one.length; record += 17) {
        cut = built_records(&one, record);
        if (built_record_count(&cut) > HELLO_RECORDS)
            continue;
        for (uint32_t length = 0; length < cut.length; length++)
            assert_int_equal(read_exactly(cut.bytes, length, &pieces), HELLO_MORE);
        assert_int_equal(hello_read(cut.bytes, cut.length, &pieces), HELLO_OK);
        assert_string_equal(pieces.name, whole.name);
        assert_int_equal(pieces.extension_count, whole.extension_count);
        assert_memory_equal(pieces.extensions, whole.extensions,
                            whole.extension_count * sizeof whole.extensions[0]);
        assert_int_equal(pieces.ciphers.count, whole.ciphers.count);
    }
    cut = built_records(&one, 4);
    assert_int_equal(read_built(&cut, &pieces), HELLO_BAD); /* too many of them */
}

static void what_stands_behind_the_message_is_not_read(void **state)
{
    (void)state;
    struct hello hello;
    struct built one = built_hello();
    memset(one.bytes + one.length, 0xff, 40);
    assert_int_equal(read_exactly(one.bytes, one.length + 40, &hello), HELLO_OK);
}

static void another_protocol_is_refused_at_its_first_bytes(void **state)
{
    (void)state;
    struct hello hello;
    static const char *const others[] = {"GET / HTTP/1.1\r\n", "SSH-2.0-x", "\x80\x2e\x01",
                                         "\x15\3\1"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(read_exactly((const uint8_t *)others[i], 1, &hello), HELLO_BAD);
    assert_int_equal(read_exactly((const uint8_t *)"\x16\2", 2, &hello), HELLO_BAD);
    assert_int_equal(read_exactly((const uint8_t *)"\x16\3\1\0\0", 5, &hello), HELLO_BAD);
    assert_int_equal(read_exactly((const uint8_t *)"\x16\3\1\x40\1", 5, &hello), HELLO_BAD);
    assert_int_equal(read_exactly((const uint8_t *)"\x16\3\1\2\0\2", 6, &hello), HELLO_BAD);
    assert_int_equal(read_exactly((const uint8_t *)"\x16\3\1\2\0\1\0\x40\1", 9, &hello), HELLO_BAD);
}

/* A hello with these parts, which must be refused. */
static void refused(const struct hello_parts *parts, int line)
{
    struct hello hello;
    struct built built = built_from(parts);
    if (read_built(&built, &hello) != HELLO_BAD)
        fail_msg("line %d: taken", line);
}
#define REFUSED(...) refused(&(struct hello_parts){HELLO_USUAL, __VA_ARGS__}, __LINE__)

static void each_malformed_part_is_refused(void **state)
{
    (void)state;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
    REFUSED(.version = 0x0300);
    REFUSED(.version = 0x0304);
    REFUSED(.session = 33);
    REFUSED(.ciphers = 0);
    REFUSED(.ciphers = HELLO_CIPHERS + 1);
    REFUSED(.compressions = 0);
    REFUSED(.cut_body = 1);
    REFUSED(.cut_body = 60);
    REFUSED(.extra = 1);
    REFUSED(.server_name = "");
    REFUSED(.server_name = "a..b");
    REFUSED(.server_name = ".a");
    REFUSED(.server_name = "a.");
    REFUSED(.server_name = "a b");
    REFUSED(.server_name = "a/b");
    REFUSED(.server_names = 2);
    REFUSED(.name_type = 1);
    REFUSED(.twice = true);
    REFUSED(.odd_versions = true);
    REFUSED(.empty_alpn = true);
    REFUSED(.more_extensions = HELLO_EXTENSIONS);
    REFUSED(.more_signatures = HELLO_SIGNATURES);
#pragma GCC diagnostic pop
}

static void a_name_with_a_zero_byte_is_refused(void **state)
{
    (void)state;
    struct hello hello;
    struct built built = built_hello();
    uint8_t *name = memmem(built.bytes, built.length, "shop.example", 12);
    assert_non_null(name);
    name[4] = '\0';
    assert_int_equal(read_built(&built, &hello), HELLO_BAD);
}

static void reserved_values_do_not_count_as_a_version(void **state)
{
    (void)state;
    assert_true(hello_is_grease(0x0a0a));
    assert_true(hello_is_grease(0xfafa));
    assert_false(hello_is_grease(0x0a1a));
    assert_false(hello_is_grease(0x1301));
    struct hello hello;
    struct built built = built_hello(); /* offers 0xfafa, 0x0304, 0x0303 */
    assert_int_equal(read_built(&built, &hello), HELLO_OK);
    assert_int_equal(hello.version, 0x0304);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openssl_is_understood),
        cmocka_unit_test(several_records_are_one_message),
        cmocka_unit_test(what_stands_behind_the_message_is_not_read),
        cmocka_unit_test(another_protocol_is_refused_at_its_first_bytes),
        cmocka_unit_test(each_malformed_part_is_refused),
        cmocka_unit_test(a_name_with_a_zero_byte_is_refused),
        cmocka_unit_test(reserved_values_do_not_count_as_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
