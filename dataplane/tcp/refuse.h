/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026, the Dropgate authors
 *
 * What a flow keeps of a request that was refused, until its client has the answer. It stands in
 * the place of the parser, for nothing more is read of that client. worker: rw */
#ifndef DROPGATE_DATAPLANE_TCP_REFUSE_H
#define DROPGATE_DATAPLANE_TCP_REFUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/admit/reply.h"
#include "dataplane/net/verdict.h"

/** The answer's parts, so that it is the same bytes each time it is sent; kind, head and html are
 * in flow->refusal. */
struct refused {
    int64_t opens_at;
    uint32_t second;   /* Unix time that it says */
    uint32_t at;       /* FLOW_REFUSED: where it begins, behind all that the backend has said */
    uint32_t until;    /* before it is sent: the client's bytes up to here are to come first. Then:
                          behind it and our FIN */
    uint32_t since_ms; /* when the client has last come nearer to its end; of the answer itself, a
                          byte brings this forward only by so much */
    uint32_t clock;    /* FLOW_REFUSED: the highest TSval that the client may have */
    uint16_t retry_after_s;
    uint8_t tries; /* of what is being sent again */
    bool told;     /* it has been sent */
};

/** A request that was refused, as it was judged. */
struct refused_request {
    struct refusal refusal;
    enum verdict why;
    bool expects; /* 100-continue: its client may be waiting before it sends a body */
};

/** flow->refusal: a kind, and how the client wants to be told. 0: nothing was refused. */
enum { REFUSAL_HEAD = 0x40, REFUSAL_HTML = 0x80 };

/** flow->backend of a flow that has none, nor will have. */
#define BACKEND_NONE UINT16_MAX

#endif
