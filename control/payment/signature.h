/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * Who has sent a webhook, and when: HMAC-SHA256 (RFC 2104) over "TIME.BODY" under a secret that the
 * provider has too. The time is signed, so an old message cannot be sent again for ever. Pure. Any
 * thread. */
#ifndef DROPGATE_CONTROL_PAYMENT_SIGNATURE_H
#define DROPGATE_CONTROL_PAYMENT_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#define SIGNATURE_FIELD "Dropgate-Signature"

enum {
    SIGNATURE_SECRETS = 2,
    SIGNATURE_SECRET_MIN = 16,
    SIGNATURE_SECRET_MAX = 1024,
    SIGNATURE_FIELD_MAX = 512
};

/** The present secret and, while it is being changed, another. */
struct signature_secrets {
    size_t length[SIGNATURE_SECRETS]; /* 0: there is none */
    char bytes[SIGNATURE_SECRETS][SIGNATURE_SECRET_MAX];
};

enum signature_result {
    SIGNATURE_GOOD,
    SIGNATURE_MALFORMED, /* not t=SECONDS,v1=HEX[,v1=HEX…] */
    SIGNATURE_UNTIMELY,  /* further from `now` than the tolerance */
    SIGNATURE_WRONG,
};

/** Judges the field's value "t=1700000000,v1=…": 1 to 4 signatures of 64 hexadecimal digits, one of
 * which must be right under one of the secrets; what other names there are is passed over. Every
 * signature is compared with every secret's, each in constant time. `now` and the signed time are
 * seconds since 1970, `tolerance` seconds. */
enum signature_result signature_check(const struct signature_secrets *secrets, const char *field,
                                      size_t field_length, const char *body, size_t body_length,
                                      int64_t now, int64_t tolerance);

#endif
