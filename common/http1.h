/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Strict, streaming HTTP/1.1 request parser (RFC 9112), one for the gateway and the control
 * service, so that no byte sequence means one thing to one and another to the other. Two layers:
 *   scan  a byte machine with a small state and no pointers: validates every byte, finds where the
 * head, the body and the message end. Any split of the same bytes gives the same result. head
 * slices over a head that scan has accepted and that lies in one piece. It never repairs, guesses
 * or buffers. Pure; any thread. */
#ifndef DROPGATE_COMMON_HTTP1_H
#define DROPGATE_COMMON_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Why a request is refused. HTTP1_OK is no error; the order is stable, http1_error_name names it
 *  (snake_case) and http1_error_status gives the HTTP status that a server would answer. Where RFC
 * 9112 leaves a choice, the strict side is taken: an empty line before the request line (2.2),
 * absolute-form targets (3.2.2), obs-fold (5.2), leading zeros in Content-Length, chunk extensions
 * and trailers are refused. */
enum http1_error {
    HTTP1_OK,
    HTTP1_BAD_METHOD, /* not a token, or over 16 bytes */
    HTTP1_BAD_TARGET, /* not origin-form ("*" with OPTIONS), not visible ASCII, or a '#' */
    HTTP1_TARGET_TOO_LONG,
    HTTP1_BAD_VERSION,     /* not HTTP/1.0 or HTTP/1.1; the HTTP/2 preface */
    HTTP1_BAD_LINE_END,    /* bare CR or bare LF */
    HTTP1_BAD_FIELD_NAME,  /* not a token, or white space before the colon */
    HTTP1_BAD_FIELD_VALUE, /* a control character */
    HTTP1_OBS_FOLD,        /* a line that begins with white space */
    HTTP1_HEAD_TOO_LARGE,
    HTTP1_TOO_MANY_FIELDS,
    HTTP1_BAD_LENGTH,        /* Content-Length twice, empty, or not plain digits */
    HTTP1_LENGTH_AND_CODING, /* Content-Length with Transfer-Encoding */
    HTTP1_BAD_CODING,     /* Transfer-Encoding that is not exactly "chunked" once, or in HTTP/1.0 */
    HTTP1_BAD_CHUNK,      /* chunk size, extension or line end */
    HTTP1_BAD_TRAILER,    /* a trailer section that is not empty */
    HTTP1_BAD_HOST,       /* HTTP/1.1 without exactly one valid Host */
    HTTP1_BODY_TOO_LARGE, /* Content-Length or chunks over the cap */
    HTTP1_UPGRADE,        /* Upgrade, or CONNECT */
    HTTP1_BAD_EXPECT,     /* Expect other than 100-continue */
    HTTP1_ERRORS
};

/** Bounds of a head, the same in every program: a smuggling gap is a difference of opinion. */
enum { HTTP1_MAX_HEAD = 8192, HTTP1_MAX_TARGET = 2048, HTTP1_MAX_FIELDS = 64 };

struct http1_limits {
    uint32_t head;   /* bytes, request line and fields with their line ends */
    uint32_t target; /* bytes */
    uint16_t fields; /* count, up to HTTP1_MAX_FIELDS */
    uint64_t body;   /* bytes, decoded */
};
/** For who keeps bodies: 65,536 bytes. */
extern const struct http1_limits HTTP1_DEFAULT_LIMITS;
/** For who only passes them on: how large a body may be is then the receiver's business. */
extern const struct http1_limits HTTP1_RELAY_LIMITS;

/** What http1_scan stopped for. */
enum http1_event {
    HTTP1_MORE, /* all bytes read, the message goes on */
    HTTP1_HEAD, /* the byte behind the empty line has been reached; framing is known */
    HTTP1_DATA, /* `*data` .. are body bytes (decoded of chunking); may come many times */
    HTTP1_END,  /* the message is complete; the next byte begins the next request */
    HTTP1_LAST, /* behind a request that said that it is the last (RFC 9112 section 9.6): no byte
                   is read, whatever it is; every later call says so again */
    HTTP1_BAD,  /* refused for good: `error`; every later call says so again */
};

/** The machine's whole state, private but for `error`; 32 bytes, so that it can live in a flow. */
struct http1 {
    uint64_t remaining; /* body or chunk bytes still to come; their number while it is read */
    uint64_t body;      /* decoded body bytes so far */
    uint32_t seen;      /* head bytes so far */
    uint32_t scratch;   /* target bytes so far; a port */
    uint16_t flags;
    uint8_t fields;
    uint8_t state;
    uint8_t error; /* enum http1_error */
    uint8_t match; /* progress within a method, name, value or chunk size */
    uint8_t field; /* the known names that still fit; the known field being read */
};

/** Begins with the first byte of a connection; after HTTP1_END it goes on with the next request by
 * itself, unless that one was the last: then comes HTTP1_LAST. */
void http1_init(struct http1 *parser);

/** Reads up to `length` bytes and stops behind the first event; call again with the rest until it
 * says HTTP1_MORE (all bytes were read then), HTTP1_LAST or HTTP1_BAD. `*used` says how many bytes
 * were read: HTTP1_END may read none, and so comes even when `length` is 0; HTTP1_BAD leaves the
 * refused byte and all behind it. For HTTP1_DATA, `*data` points into `bytes` and `*data_length`,
 * above 0, says how many; otherwise they are NULL and 0. */
enum http1_event http1_scan(struct http1 *parser, const struct http1_limits *limits,
                            const void *bytes, size_t length, size_t *used, const void **data,
                            size_t *data_length);

/** Whether another request may follow the one whose head has been read, until its HTTP1_END (RFC
 * 9112 section 9.3): "close" beats all else, HTTP/1.1 stays open, HTTP/1.0 must ask to. */
bool http1_keep_alive(const struct http1 *parser);

/** What the next byte is part of; between two requests, and behind the last, of neither. */
enum http1_part { HTTP1_BETWEEN, HTTP1_IN_HEAD, HTTP1_IN_BODY };
enum http1_part http1_part(const struct http1 *parser);

/** How many bytes of the head that is being read have come, 0 outside of heads; and behind
 * HTTP1_HEAD how many it had. */
uint32_t http1_head_begun(const struct http1 *parser);
uint32_t http1_head_length(const struct http1 *parser);

/** How many of the bytes that come next are body or chunk data, whatever they are; 0 elsewhere. */
uint64_t http1_data_left(const struct http1 *parser);

/** Passes over `count` (up to http1_data_left) of them without a look, as http1_scan would. */
void http1_data_pass(struct http1 *parser, uint64_t count);

/** A run of bytes within a head; not terminated. */
struct http1_slice {
    const char *at;
    size_t length;
};

struct http1_field {
    struct http1_slice name, value; /* value without surrounding white space */
};

/** A head's parts; slices point into the caller's bytes. */
struct http1_head {
    struct http1_slice method, target, path, query; /* query without '?', empty if none */
    int minor;                                      /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;                                /* by version and Connection */
    bool chunked, expect_continue;
    uint64_t content_length; /* 0 if none or chunked */
    size_t field_count;
    struct http1_field fields[HTTP1_MAX_FIELDS];
};

/** Slices a complete head of `length` bytes (up to and with the empty line). Refuses all that scan
 * refuses, so it is safe on bytes that were not scanned. Returns HTTP1_OK or the error;
 * HTTP1_BAD_LINE_END for bytes that stop short of the empty line or go on behind it. `out` is only
 * written on success. */
enum http1_error http1_head(const void *bytes, size_t length, const struct http1_limits *limits,
                            struct http1_head *out);

/** The value of the first field of that name (ASCII case-insensitive), or NULL if none; `*count`
 * (may be NULL) says how many there are, so that a caller can refuse two. */
const struct http1_slice *http1_find(const struct http1_head *head, const char *name,
                                     size_t *count);

const char *http1_error_name(enum http1_error error);
int http1_error_status(enum http1_error error);

#endif
