/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * SHA-256 is nettle's: it works on a context of the caller's and allocates nothing. */
#include "dataplane/tls/ja4.h"

#include <nettle/sha2.h>
#include <string.h>

#include "common/siphash.h"

enum {
    HASH_TEXT = 12,
    NUMBER_TEXT = 5, /* with what stands in front of it */
    COUNT_MOST = 99,
    NUMBERS = HELLO_CIPHERS > HELLO_EXTENSIONS ? HELLO_CIPHERS : HELLO_EXTENSIONS,
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_ALPN = 16,
    PROBES = 8
};

struct numbers {
    uint32_t count;
    uint16_t value[NUMBERS];
};

/* What is hashed: "1301,1302,…", for extensions with "_0403,0804,…" behind. */
struct list {
    uint32_t length;
    char text[(NUMBERS + HELLO_SIGNATURES) * NUMBER_TEXT];
};

static uint16_t number_at(const struct hello_list *list, uint32_t i)
{
    return (uint16_t)(list->at[2 * i] << 8 | list->at[2 * i + 1]);
}

/* A client chooses the order in which they come: finding the place and moving the rest at once
 * costs about the same for all. */
static void add_sorted(struct numbers *numbers, uint16_t value)
{
    uint32_t from = 0, to = numbers->count;
    while (from < to) {
        uint32_t middle = (from + to) / 2;
        if (numbers->value[middle] < value)
            from = middle + 1;
        else
            to = middle;
    }
    memmove(numbers->value + from + 1, numbers->value + from,
            (numbers->count - from) * sizeof value);
    numbers->value[from] = value;
    numbers->count++;
}

static const char digits[] = "0123456789abcdef";

static void print_hex(const uint8_t *bytes, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
}

static void list_add(struct list *list, char before, uint16_t value)
{
    const uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    if (list->length)
        list->text[list->length++] = before;
    print_hex(bytes, sizeof bytes, list->text + list->length);
    list->length += 2 * sizeof bytes;
}

static void list_add_all(struct list *list, const struct numbers *numbers)
{
    for (uint32_t i = 0; i < numbers->count; i++)
        list_add(list, ',', numbers->value[i]);
}

/* The beginning of its SHA-256; an empty list is told by zeros. */
static void print_hash(const struct list *list, char text[HASH_TEXT])
{
    struct sha256_ctx hash;
    uint8_t digest[HASH_TEXT / 2];
    memset(text, '0', HASH_TEXT);
    if (list->length == 0)
        return;
    sha256_init(&hash);
    sha256_update(&hash, list->length, (const uint8_t *)list->text);
    sha256_digest(&hash, sizeof digest, digest);
    print_hex(digest, sizeof digest, text);
}

static const char *version_text(uint16_t version)
{
    switch (version) {
    case 0x0304: return "13";
    case 0x0303: return "12";
    case 0x0302: return "11";
    case 0x0301: return "10";
    default: return "00";
    }
}

static bool alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* First and last character of the first protocol; if one is odd, first and last digit of its hex.
 */
static void print_alpn(const struct hello *hello, char text[2])
{
    uint8_t first = (uint8_t)hello->alpn_first, last = (uint8_t)hello->alpn_last;
    if (first == 0 && last == 0) {
        text[0] = text[1] = '0';
        return;
    }
    bool plain = alphanumeric(hello->alpn_first) && alphanumeric(hello->alpn_last);
    text[0] = plain ? (char)first : digits[first >> 4];
    text[1] = plain ? (char)last : digits[last & 15];
}

static void print_ciphers(const struct numbers *ciphers, char text[HASH_TEXT])
{
    struct list list;
    list.length = 0;
    list_add_all(&list, ciphers);
    print_hash(&list, text);
}

/* Signature algorithms stay in the client's order; where there is no extension, none have come. */
static void print_extensions(const struct numbers *extensions, const struct hello *hello,
                             char text[HASH_TEXT])
{
    struct list list;
    list.length = 0;
    char before = '_';
    list_add_all(&list, extensions);
    for (uint32_t i = 0; extensions->count != 0 && i < hello->signatures.count; i++) {
        uint16_t value = number_at(&hello->signatures, i);
        if (hello_is_grease(value))
            continue;
        list_add(&list, before, value);
        before = ',';
    }
    print_hash(&list, text);
}

static void print_count(uint32_t count, char text[2])
{
    count = count > COUNT_MOST ? COUNT_MOST : count;
    text[0] = digits[count / 10];
    text[1] = digits[count % 10];
}

void ja4_print(const struct hello *hello, char text[JA4_TEXT])
{
    /* where each part stands: t VV d CC EE AA _ cipher hash _ extension hash */
    enum { VERSION = 1, NAME = 3, CIPHERS = 4, EXTENSIONS = 6, ALPN = 8, FIRST = 11, SECOND = 24 };
    struct numbers ciphers, extensions;
    uint32_t extension_count = 0;
    ciphers.count = extensions.count = 0;
    for (uint32_t i = 0; i < hello->ciphers.count; i++)
        if (!hello_is_grease(number_at(&hello->ciphers, i)))
            add_sorted(&ciphers, number_at(&hello->ciphers, i));
    for (uint32_t i = 0; i < hello->extension_count; i++) {
        uint16_t type = hello->extensions[i];
        if (hello_is_grease(type))
            continue;
        extension_count++;
        if (type != EXTENSION_SERVER_NAME && type != EXTENSION_ALPN)
            add_sorted(&extensions, type);
    }
    memset(text, '_', JA4_TEXT - 1);
    text[JA4_TEXT - 1] = '\0';
    text[0] = 't';
    memcpy(text + VERSION, version_text(hello->version), 2);
    text[NAME] = hello->has_name ? 'd' : 'i';
    print_count(ciphers.count, text + CIPHERS);
    print_count(extension_count, text + EXTENSIONS);
    print_alpn(hello, text + ALPN);
    print_ciphers(&ciphers, text + FIRST);
    print_extensions(&extensions, hello, text + SECOND);
}

void ja4_count(struct ja4_table *table, const char text[JA4_TEXT])
{
    static const struct siphash_key spread = {0,
                                              0}; /* a bound is kept anyhow: no need of a secret */
    uint64_t hash = siphash_bytes(&spread, text, JA4_TEXT - 1);
    for (uint32_t i = 0; i < PROBES; i++) {
        uint32_t at = (uint32_t)(hash + i) % JA4_TABLE;
        uint64_t count = table->slot[at].count;
        if (count != 0 && memcmp(table->slot[at].text, text, JA4_TEXT - 1) != 0)
            continue;
        if (count == 0)
            memcpy(table->slot[at].text, text, JA4_TEXT);
        __atomic_store_n(&table->slot[at].count, count + 1, __ATOMIC_RELEASE);
        return;
    }
    table->other++;
}
