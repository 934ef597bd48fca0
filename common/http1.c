/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * The byte machine of http1.h. Runs of ordinary bytes (target, name, value) are passed over in
 * tight loops; each byte that means something goes through one of the step functions, which either
 * moves the machine on or says why the request is refused. A refused byte is not consumed, so a
 * verdict falls on the same byte however the stream was cut. */
#include <string.h>

#include "http1.h"

_Static_assert(sizeof(struct http1) <= 40, "a flow has room for no more");

#define BOUNDS_OF_HEAD \
    .head = HTTP1_MAX_HEAD, .target = HTTP1_MAX_TARGET, .fields = HTTP1_MAX_FIELDS
const struct http1_limits HTTP1_DEFAULT_LIMITS = {BOUNDS_OF_HEAD, .body = 65536};
const struct http1_limits HTTP1_RELAY_LIMITS = {BOUNDS_OF_HEAD, .body = INT64_MAX};

enum { METHOD_MAX = 16, CHUNK_DIGITS_MAX = 16 };

/* Where the machine stands: what it expects next. The order matters: request line, fields, value,
 * body. */
enum state {
    AT_METHOD, /* zero: where http1_init begins */
    AT_TARGET_START,
    AT_TARGET,
    AT_STAR_END,
    AT_VERSION,
    AT_MINOR,
    AT_VERSION_CR,
    AT_LINE_LF,
    AT_FIELD,
    AT_NAME,       /* of a field, as long as it may be a known one */
    AT_OTHER_NAME, /* the rest of one that is not */
    AT_HEAD_LF,
    AT_VALUE,       /* of a field that means nothing here */
    AT_KNOWN_START, /* of one that does: white space before */
    AT_KNOWN,       /* within */
    AT_KNOWN_END,   /* white space behind */
    AT_OPTIONS,     /* within Connection, a list */
    AT_BODY,
    AT_CHUNK_SIZE,
    AT_CHUNK_SIZE_LF,
    AT_CHUNK_DATA,
    AT_CHUNK_CR,
    AT_CHUNK_LF,
    AT_LAST_CR,
    AT_LAST_LF,
    AT_END,
    AT_LAST, /* behind the last request */
    AT_BAD,
};

enum flag {
    FLAG_MINOR_1 = 1 << 0, /* HTTP/1.1 */
    FLAG_OPTIONS = 1 << 1,
    FLAG_STAR = 1 << 2, /* the target is "*" */
    FLAG_HOST = 1 << 3,
    FLAG_LENGTH = 1 << 4,
    FLAG_CHUNKED = 1 << 5,
    FLAG_EXPECT = 1 << 6,
    FLAG_CLOSE = 1 << 7, /* Connection: close */
    FLAG_KEEP = 1 << 8,  /* Connection: keep-alive */
};

/* The names that mean something. While one is read, `field` holds a bit per word that still fits.
 */
enum word {
    WORD_HOST,
    WORD_LENGTH,
    WORD_CODING,
    WORD_EXPECT,
    WORD_UPGRADE,
    WORD_CONNECTION,
    FIELD_WORDS
};
static const char *const field_words[FIELD_WORDS] = {
    "host", "content-length", "transfer-encoding", "expect", "upgrade", "connection"};
enum { METHOD_OPTIONS, METHOD_CONNECT, METHOD_WORDS };
static const char *const method_words[METHOD_WORDS] = {"OPTIONS", "CONNECT"};
enum { OPTION_CLOSE, OPTION_KEEP, OPTION_WORDS };
static const char *const option_words[OPTION_WORDS] = {"close", "keep-alive"};

enum byte_class {
    TOKEN = 1 << 0,  /* RFC 9110 5.6.2 */
    VALUE = 1 << 1,  /* field-value: HTAB, SP, visible ASCII, obs-text */
    TARGET = 1 << 2, /* visible ASCII but '#' */
    DIGIT = 1 << 3,
    HEX = 1 << 4,
    NAME = 1 << 5, /* of a host: letters, digits, '-', '.', '_' */
};

/* clang-format off */
#define W VALUE                  /* white space, and obs-text from 0x80 */
#define P (VALUE | TOKEN)        /* '#', which would begin a fragment in a target */
#define V (VALUE | TARGET)       /* visible, but a delimiter */
#define T (V | TOKEN)
#define N (T | NAME)
#define X (N | HEX)
#define D (X | DIGIT)
static const uint8_t classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, W, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    W, T, V, P, T, T, T, T, V, V, T, T, V, N, N, V,
    D, D, D, D, D, D, D, D, D, D, V, V, V, V, V, V,
    V, X, X, X, X, X, X, N, N, N, N, N, N, N, N, N,
    N, N, N, N, N, N, N, N, N, N, N, V, V, V, T, N,
    T, X, X, X, X, X, X, N, N, N, N, N, N, N, N, N,
    N, N, N, N, N, N, N, N, N, N, N, V, T, V, T, 0,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
    W, W, W, W, W, W, W, W, W, W, W, W, W, W, W, W,
};
#undef W
#undef P
#undef V
#undef T
#undef N
#undef X
#undef D
/* clang-format on */

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

/* Keeps, and returns, the bits in `field` of those words whose byte number `match` is `byte`. */
static unsigned match_word(struct http1 *parser, const char *const *words, uint8_t byte)
{
    unsigned fits = parser->field;
    for (unsigned left = fits; left != 0; left &= left - 1)
        if ((uint8_t)words[__builtin_ctz(left)][parser->match] != byte)
            fits &= ~(left & -left);
    parser->field = (uint8_t)fits;
    parser->match++;
    return fits;
}

/* The one word that has been read to its end, or -1. */
static int matched_word(const struct http1 *parser, const char *const *words)
{
    for (unsigned left = parser->field; left != 0; left &= left - 1)
        if (words[__builtin_ctz(left)][parser->match] == '\0')
            return __builtin_ctz(left);
    return -1;
}

void http1_init(struct http1 *parser)
{
    *parser = (struct http1){.state = AT_METHOD, .field = (1u << METHOD_WORDS) - 1};
}

static enum http1_error step_method(struct http1 *parser, uint8_t byte)
{
    if (classes[byte] & TOKEN) {
        if (parser->match == METHOD_MAX)
            return HTTP1_BAD_METHOD;
        match_word(parser, method_words, byte);
        return HTTP1_OK;
    }
    if (byte != ' ' || parser->match == 0)
        return HTTP1_BAD_METHOD;
    int word = matched_word(parser, method_words);
    if (word == METHOD_CONNECT)
        return HTTP1_UPGRADE;
    if (word == METHOD_OPTIONS)
        parser->flags |= FLAG_OPTIONS;
    parser->state = AT_TARGET_START;
    return HTTP1_OK;
}

static enum http1_error step_target(struct http1 *parser, uint8_t byte)
{
    if (parser->state == AT_TARGET_START) {
        if (byte != '/' && byte != '*')
            return HTTP1_BAD_TARGET;
        if (byte == '*')
            parser->flags |= FLAG_STAR;
        parser->state = byte == '*' ? AT_STAR_END : AT_TARGET;
        parser->scratch = 1;
        return HTTP1_OK;
    }
    if (byte == ' ') {
        parser->state = AT_VERSION;
        parser->match = 0;
        return HTTP1_OK;
    }
    if (byte == '\r' || byte == '\n')
        return HTTP1_BAD_VERSION; /* HTTP/0.9 has none */
    if (parser->state == AT_TARGET && (classes[byte] & TARGET))
        return HTTP1_TARGET_TOO_LONG; /* pass_run left it here */
    return HTTP1_BAD_TARGET;
}

static enum http1_error step_version(struct http1 *parser, uint8_t byte)
{
    static const char prefix[] = "HTTP/1.";
    switch (parser->state) {
    case AT_VERSION:
        if (byte != (uint8_t)prefix[parser->match])
            return HTTP1_BAD_VERSION;
        if (prefix[++parser->match] == '\0')
            parser->state = AT_MINOR;
        return HTTP1_OK;
    case AT_MINOR:
        if (byte != '0' && byte != '1')
            return HTTP1_BAD_VERSION;
        if (byte == '1')
            parser->flags |= FLAG_MINOR_1;
        parser->state = AT_VERSION_CR;
        return HTTP1_OK;
    default:
        if (byte == '\n')
            return HTTP1_BAD_LINE_END;
        if (byte != '\r')
            return HTTP1_BAD_VERSION;
        /* Not sooner, so that the HTTP/2 preface ("PRI * HTTP/2.0") is told by its version. */
        if ((parser->flags & FLAG_STAR) && !(parser->flags & FLAG_OPTIONS))
            return HTTP1_BAD_TARGET;
        parser->state = AT_LINE_LF;
        return HTTP1_OK;
    }
}

/* One option of Connection (RFC 9110 section 7.6.1): `field` holds the words that still fit,
 * `scratch` where we are. */
enum option_part { OPTION_BEGIN, OPTION_NAME, OPTION_NAME_END };

static void begin_option(struct http1 *parser)
{
    parser->scratch = OPTION_BEGIN;
    parser->field = (1u << OPTION_WORDS) - 1;
    parser->match = 0;
}

static void end_option(struct http1 *parser)
{
    int word = parser->match > 0 ? matched_word(parser, option_words) : -1;
    if (word >= 0)
        parser->flags |= word == OPTION_CLOSE ? FLAG_CLOSE : FLAG_KEEP;
}

/* No list of options is refused: what is neither of the words means nothing here. */
static enum http1_error step_options(struct http1 *parser, uint8_t byte)
{
    if (byte == '\n')
        return HTTP1_BAD_LINE_END;
    if (byte == '\r') {
        end_option(parser);
        parser->state = AT_LINE_LF;
        return HTTP1_OK;
    }
    if (!(classes[byte] & VALUE))
        return HTTP1_BAD_FIELD_VALUE;
    if (byte == ',') {
        end_option(parser);
        begin_option(parser);
    } else if (byte == ' ' || byte == '\t') {
        if (parser->scratch == OPTION_NAME)
            parser->scratch = OPTION_NAME_END;
    } else {
        if (parser->scratch == OPTION_NAME_END)
            parser->field = 0; /* two words in one option are neither */
        parser->scratch = OPTION_NAME;
        if (parser->field != 0)
            match_word(parser, option_words, lower(byte));
    }
    return HTTP1_OK;
}

/* The name of a field is complete: decides how its value is read. */
static enum http1_error step_colon(struct http1 *parser)
{
    static const uint16_t seen[FIELD_WORDS] = {FLAG_HOST,   FLAG_LENGTH, FLAG_CHUNKED,
                                               FLAG_EXPECT, 0,           0};
    static const uint8_t twice[FIELD_WORDS] = {HTTP1_BAD_HOST,   HTTP1_BAD_LENGTH, HTTP1_BAD_CODING,
                                               HTTP1_BAD_EXPECT, HTTP1_UPGRADE,    HTTP1_OK};
    int word = matched_word(parser, field_words);
    if (word < 0) {
        parser->state = AT_VALUE;
        return HTTP1_OK;
    }
    if (word == WORD_UPGRADE)
        return HTTP1_UPGRADE;
    if (word == WORD_CONNECTION) {
        parser->state = AT_OPTIONS;
        begin_option(parser);
        return HTTP1_OK;
    }
    if ((parser->flags & seen[word]) != 0)
        return (enum http1_error)twice[word];
    parser->flags |= seen[word];
    if ((parser->flags & FLAG_LENGTH) && (parser->flags & FLAG_CHUNKED))
        return HTTP1_LENGTH_AND_CODING;
    if (word == WORD_CODING && !(parser->flags & FLAG_MINOR_1))
        return HTTP1_BAD_CODING;
    parser->state = AT_KNOWN_START;
    parser->field = (uint8_t)word;
    parser->match = 0;
    parser->scratch = 0;
    return HTTP1_OK;
}

static enum http1_error step_name(struct http1 *parser, uint8_t byte)
{
    if (classes[byte] & TOKEN) {
        if (match_word(parser, field_words, lower(byte)) == 0)
            parser->state = AT_OTHER_NAME;
        return HTTP1_OK;
    }
    return byte == ':' ? step_colon(parser) : HTTP1_BAD_FIELD_NAME;
}

static enum http1_error step_field(struct http1 *parser, const struct http1_limits *limits,
                                   uint8_t byte)
{
    unsigned most = limits->fields < HTTP1_MAX_FIELDS ? limits->fields : HTTP1_MAX_FIELDS;
    if (byte == '\r') {
        parser->state = AT_HEAD_LF;
        return HTTP1_OK;
    }
    if (byte == '\n')
        return HTTP1_BAD_LINE_END;
    if (byte == ' ' || byte == '\t')
        return HTTP1_OBS_FOLD;
    if (!(classes[byte] & TOKEN))
        return HTTP1_BAD_FIELD_NAME;
    if (parser->fields == most)
        return HTTP1_TOO_MANY_FIELDS;
    parser->fields++;
    parser->state = AT_NAME;
    parser->field = (1u << FIELD_WORDS) - 1;
    parser->match = 0;
    return step_name(parser, byte);
}

/* The empty line is complete: what follows? */
static enum http1_error step_head_end(struct http1 *parser)
{
    if ((parser->flags & FLAG_MINOR_1) && !(parser->flags & FLAG_HOST))
        return HTTP1_BAD_HOST;
    parser->body = 0;
    parser->match = 0;
    if (parser->flags & FLAG_CHUNKED)
        parser->state = AT_CHUNK_SIZE;
    else
        parser->state = parser->remaining > 0 ? AT_BODY : AT_END;
    return HTTP1_OK;
}

static enum http1_error length_byte(struct http1 *parser, const struct http1_limits *limits,
                                    uint8_t byte)
{
    /* No leading zero: to some reader "010" is eight. */
    if (!(classes[byte] & DIGIT) || (parser->match == 1 && parser->remaining == 0))
        return HTTP1_BAD_LENGTH;
    parser->match = 1;
    if (__builtin_mul_overflow(parser->remaining, 10, &parser->remaining) ||
        __builtin_add_overflow(parser->remaining, byte - '0', &parser->remaining) ||
        parser->remaining > limits->body)
        return HTTP1_BODY_TOO_LARGE;
    return HTTP1_OK;
}

/* uri-host [":" port] of RFC 9110 7.2, the name cut down to what DNS and people use. `match` is the
 * part. */
enum host_part { HOST_BEGIN, HOST_NAME, HOST_LITERAL, HOST_LITERAL_END, HOST_PORT };

static enum http1_error host_byte(struct http1 *parser, uint8_t byte)
{
    uint8_t class = classes[byte];
    switch (parser->match) {
    case HOST_BEGIN:
        parser->match = byte == '[' ? HOST_LITERAL : HOST_NAME;
        return byte == '[' || (class & NAME) ? HTTP1_OK : HTTP1_BAD_HOST;
    case HOST_LITERAL:
        if (byte == ']' && parser->scratch > 0)
            parser->match = HOST_LITERAL_END;
        else if (!(class & HEX) && byte != ':' && byte != '.')
            return HTTP1_BAD_HOST;
        parser->scratch++;
        return HTTP1_OK;
    case HOST_PORT:
        parser->scratch = parser->scratch * 10 + byte - '0';
        return (class & DIGIT) && parser->scratch <= UINT16_MAX ? HTTP1_OK : HTTP1_BAD_HOST;
    default:
        if (byte == ':') {
            parser->match = HOST_PORT;
            parser->scratch = 0;
            return HTTP1_OK;
        }
        return parser->match == HOST_NAME && (class & NAME) ? HTTP1_OK : HTTP1_BAD_HOST;
    }
}

static const char *literal_of(uint8_t word)
{
    return word == WORD_CODING ? "chunked" : "100-continue";
}

/* One byte of a known value. */
static enum http1_error known_byte(struct http1 *parser, const struct http1_limits *limits,
                                   uint8_t byte)
{
    switch (parser->field) {
    case WORD_HOST: return host_byte(parser, byte);
    case WORD_LENGTH: return length_byte(parser, limits, byte);
    default:
        if (lower(byte) != (uint8_t)literal_of(parser->field)[parser->match])
            return parser->field == WORD_CODING ? HTTP1_BAD_CODING : HTTP1_BAD_EXPECT;
        parser->match++;
        return HTTP1_OK;
    }
}

/* A known value is over: is it whole? */
static enum http1_error known_end(const struct http1 *parser)
{
    switch (parser->field) {
    case WORD_HOST:
        return parser->match != HOST_BEGIN && parser->match != HOST_LITERAL ? HTTP1_OK
                                                                            : HTTP1_BAD_HOST;
    case WORD_LENGTH: return parser->match > 0 ? HTTP1_OK : HTTP1_BAD_LENGTH;
    case WORD_CODING:
        return literal_of(WORD_CODING)[parser->match] == '\0' ? HTTP1_OK : HTTP1_BAD_CODING;
    default: return literal_of(WORD_EXPECT)[parser->match] == '\0' ? HTTP1_OK : HTTP1_BAD_EXPECT;
    }
}

static enum http1_error step_value(struct http1 *parser, const struct http1_limits *limits,
                                   uint8_t byte)
{
    bool known = parser->state != AT_VALUE;
    if (byte == '\n')
        return HTTP1_BAD_LINE_END;
    if (byte == '\r') {
        enum http1_error error = known ? known_end(parser) : HTTP1_OK;
        parser->state = AT_LINE_LF;
        return error;
    }
    if (!(classes[byte] & VALUE))
        return HTTP1_BAD_FIELD_VALUE;
    if (!known)
        return HTTP1_OK;
    if (byte == ' ' || byte == '\t') {
        if (parser->state == AT_KNOWN)
            parser->state = AT_KNOWN_END;
        return HTTP1_OK;
    }
    if (parser->state == AT_KNOWN_START)
        parser->state = AT_KNOWN;
    else if (parser->state == AT_KNOWN_END) /* a second word, such as in "5 5" */
        return known_byte(parser, limits, ' ');
    return known_byte(parser, limits, byte);
}

/* Any byte of the head that is not in the middle of a run. */
static enum http1_error step_head(struct http1 *parser, const struct http1_limits *limits,
                                  uint8_t byte)
{
    switch (parser->state) {
    case AT_METHOD: return step_method(parser, byte);
    case AT_TARGET_START:
    case AT_TARGET:
    case AT_STAR_END: return step_target(parser, byte);
    case AT_VERSION:
    case AT_MINOR:
    case AT_VERSION_CR: return step_version(parser, byte);
    case AT_LINE_LF: parser->state = AT_FIELD; return byte == '\n' ? HTTP1_OK : HTTP1_BAD_LINE_END;
    case AT_FIELD: return step_field(parser, limits, byte);
    case AT_NAME:
    case AT_OTHER_NAME: return step_name(parser, byte);
    case AT_HEAD_LF: return byte == '\n' ? step_head_end(parser) : HTTP1_BAD_LINE_END;
    case AT_OPTIONS: return step_options(parser, byte);
    default: return step_value(parser, limits, byte);
    }
}

/* The first byte from `at` that is not of a field value, or `end`. */
static const uint8_t *pass_value(const uint8_t *at, const uint8_t *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    /* Eight at a time while none of them is below 0x20 or is 0x7f: (x - n) & ~x has a high bit set
     * if and only if some byte is below n. A tab stops this too; the loop behind knows better. */
    for (; end - at >= 8; at += 8) {
        uint64_t eight;
        memcpy(&eight, at, sizeof eight);
        uint64_t del = eight ^ ones * 0x7f;
        if ((((eight - ones * 0x20) & ~eight) | ((del - ones) & ~del)) & highs)
            break;
    }
    while (at < end && (classes[*at] & VALUE))
        at++;
    return at;
}

/* Passes over bytes that change nothing; the first that does is left to step_head. */
static const uint8_t *pass_run(struct http1 *parser, const struct http1_limits *limits,
                               const uint8_t *at, const uint8_t *end)
{
    const uint8_t *start = at;
    uint32_t room;
    switch (parser->state) {
    case AT_VALUE: return pass_value(at, end);
    case AT_OTHER_NAME:
        while (at < end && (classes[*at] & TOKEN))
            at++;
        return at;
    case AT_TARGET:
        room = limits->target > parser->scratch ? limits->target - parser->scratch : 0;
        if ((size_t)(end - at) > room)
            end = at + room;
        while (at < end && (classes[*at] & TARGET))
            at++;
        parser->scratch += (uint32_t)(at - start);
        return at;
    default: return at;
    }
}

static enum http1_event refuse(struct http1 *parser, enum http1_error error)
{
    parser->state = AT_BAD;
    parser->error = (uint8_t)error;
    return HTTP1_BAD;
}

static enum http1_event scan_head(struct http1 *parser, const struct http1_limits *limits,
                                  const uint8_t *bytes, size_t length, size_t *used)
{
    uint32_t room = limits->head > parser->seen ? limits->head - parser->seen : 0;
    const uint8_t *at = bytes, *end = bytes + (length < room ? length : room);
    enum http1_event event = HTTP1_MORE;
    while ((at = pass_run(parser, limits, at, end)) < end) {
        enum http1_error error = step_head(parser, limits, *at);
        if (error != HTTP1_OK) {
            event = refuse(parser, error);
            break;
        }
        at++;
        if (parser->state >= AT_BODY) {
            event = HTTP1_HEAD;
            break;
        }
    }
    *used = (size_t)(at - bytes);
    parser->seen += (uint32_t)*used;
    if (event == HTTP1_MORE && length > *used)
        event = refuse(parser, HTTP1_HEAD_TOO_LARGE);
    return event;
}

static enum http1_error step_chunk_size(struct http1 *parser, const struct http1_limits *limits,
                                        uint8_t byte)
{
    uint8_t class = classes[byte];
    if (class & HEX) {
        if (parser->match == CHUNK_DIGITS_MAX)
            return HTTP1_BAD_CHUNK;
        parser->match++;
        parser->remaining = parser->remaining << 4 |
                            (uint64_t)(class & DIGIT ? byte - '0' : lower(byte) - 'a' + 10);
        if (parser->remaining > limits->body - parser->body)
            return HTTP1_BODY_TOO_LARGE;
        return HTTP1_OK;
    }
    if (byte != '\r' || parser->match == 0)
        return HTTP1_BAD_CHUNK; /* an extension too: nobody needs one, and readers differ on them */
    parser->state = AT_CHUNK_SIZE_LF;
    return HTTP1_OK;
}

/* Any byte between the head and the end of a chunked body that is not data. */
static enum http1_error step_chunk(struct http1 *parser, const struct http1_limits *limits,
                                   uint8_t byte)
{
    static const struct {
        uint8_t state, byte, error, next;
    } line_ends[] = {
        {AT_CHUNK_SIZE_LF, '\n', HTTP1_BAD_CHUNK, AT_CHUNK_DATA},
        {AT_CHUNK_CR, '\r', HTTP1_BAD_CHUNK, AT_CHUNK_LF},
        {AT_CHUNK_LF, '\n', HTTP1_BAD_CHUNK, AT_CHUNK_SIZE},
        {AT_LAST_CR, '\r', HTTP1_BAD_TRAILER, AT_LAST_LF},
        {AT_LAST_LF, '\n', HTTP1_BAD_TRAILER, AT_END},
    };
    if (parser->state == AT_CHUNK_SIZE)
        return step_chunk_size(parser, limits, byte);
    for (size_t i = 0; i < sizeof line_ends / sizeof *line_ends; i++) {
        if (line_ends[i].state != parser->state)
            continue;
        if (byte != line_ends[i].byte)
            return (enum http1_error)line_ends[i].error;
        parser->state = line_ends[i].next;
        break;
    }
    if (parser->state == AT_CHUNK_DATA && parser->remaining == 0)
        parser->state = AT_LAST_CR;
    if (parser->state == AT_CHUNK_SIZE)
        parser->match = 0;
    return HTTP1_OK;
}

enum http1_part http1_part(const struct http1 *parser)
{
    if (parser->state >= AT_END || (parser->state == AT_METHOD && parser->seen == 0))
        return HTTP1_BETWEEN;
    return parser->state < AT_BODY ? HTTP1_IN_HEAD : HTTP1_IN_BODY;
}

uint32_t http1_head_begun(const struct http1 *parser)
{
    return parser->state < AT_BODY ? parser->seen : 0;
}

uint32_t http1_head_length(const struct http1 *parser)
{
    return parser->seen;
}

uint64_t http1_data_left(const struct http1 *parser)
{
    return parser->state == AT_BODY || parser->state == AT_CHUNK_DATA ? parser->remaining : 0;
}

void http1_data_pass(struct http1 *parser, uint64_t count)
{
    parser->remaining -= count;
    parser->body += count;
    if (count > 0 && parser->remaining == 0)
        parser->state = parser->state == AT_BODY ? AT_END : AT_CHUNK_CR;
}

bool http1_keep_alive(const struct http1 *parser)
{
    if (parser->flags & FLAG_CLOSE)
        return false;
    return (parser->flags & (FLAG_MINOR_1 | FLAG_KEEP)) != 0;
}

static enum http1_event scan_body(struct http1 *parser, const struct http1_limits *limits,
                                  const uint8_t *bytes, size_t length, size_t *used,
                                  const void **data, size_t *data_length)
{
    const uint8_t *at = bytes, *end = bytes + length;
    enum http1_event event = HTTP1_MORE;
    for (; at < end && parser->state != AT_END; at++) {
        uint64_t left = http1_data_left(parser);
        if (left > 0) {
            size_t here = (size_t)(end - at);
            *data_length = here < left ? here : (size_t)left;
            *data = at;
            *used = (size_t)(at - bytes) + *data_length;
            http1_data_pass(parser, *data_length);
            return HTTP1_DATA;
        }
        enum http1_error error = step_chunk(parser, limits, *at);
        if (error != HTTP1_OK) {
            event = refuse(parser, error);
            break;
        }
    }
    *used = (size_t)(at - bytes);
    if (parser->state == AT_END) {
        if (http1_keep_alive(parser))
            http1_init(parser);
        else
            parser->state = AT_LAST;
        return HTTP1_END;
    }
    return event;
}

enum http1_event http1_scan(struct http1 *parser, const struct http1_limits *limits,
                            const void *bytes, size_t length, size_t *used, const void **data,
                            size_t *data_length)
{
    *used = 0;
    *data = NULL;
    *data_length = 0;
    if (length == 0)
        bytes = ""; /* NULL is welcome, arithmetic with it is not */
    if (parser->state == AT_BAD)
        return HTTP1_BAD;
    if (parser->state == AT_LAST)
        return HTTP1_LAST;
    if (parser->state < AT_BODY)
        return scan_head(parser, limits, bytes, length, used);
    return scan_body(parser, limits, bytes, length, used, data, data_length);
}
